import numpy as np
import pytest

from core import example, lattice, quality
from core.errors import InputError
from core.maps import Maps


def noise(seed, height, width, size=20.0):
    """Soft noise on the torus `(H, W)`, 0 to 1."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) * size), s=(height, width))
    return ((field - field.min()) / np.ptp(field)).astype(np.float32)


def spots(seed=1, height=112, width=120):
    """A photo of spots in two colours that does not tile: `(H, W, 3)`."""
    share = noise(seed, 2 * height, 2 * width)[:height, :width, None]
    return (np.float32([0.7, 0.5, 0.3]) * share + np.float32([0.1, 0.2, 0.3]) * (1 - share)).astype(np.float32)


def grid(period, height, width, seed=1):
    """Tiles with thin joints, a little soiled: `(H, W, 3)`."""
    rows, columns = np.arange(height)[:, None] % period, np.arange(width)[None] % period
    grey = np.where((rows < 2) | (columns < 2), 0.2, 0.7) + 0.05 * noise(seed, height, width)
    return np.repeat(grey[..., None], 3, 2).astype(np.float32)


def material(albedo):
    """The albedo and a roughness that is a function of it."""
    return Maps({"albedo": albedo, "roughness": albedo.mean(-1, keepdims=True)})


def finish(steps):
    """The maps of a step of work, and the progress that it told on the way."""
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def made(albedo=None, width=128, height=96, seed=0, like=False):
    return finish(example.synthesize(material(spots() if albedo is None else albedo), width, height, seed, like))[0]


def seamless(albedo):
    return finish(example.seamless(material(albedo)))[0]


def mended(albedo, hole, tiles=False):
    return finish(example.mend(material(albedo), hole, tiles))[0]


def hole(albedo, top, left, side=24):
    marked = np.zeros(albedo.shape[:2], bool)
    marked[top : top + side, left : left + side] = True
    return marked


def seams(maps):
    return max(max(both) for both in quality.measure(maps).seam.values())


@pytest.mark.parametrize("like", [False, True])
def test_what_is_made_tiles_and_has_the_size(like):
    maps = made(like=like)
    assert maps.size == (128, 96) and seams(maps) <= 1
    assert seams(material(spots())) > 1.5


def test_a_photo_that_does_not_tile_comes_out_tiling():
    maps = seamless(spots())
    assert seams(maps) <= 1 and all(0.6 < new / old <= 1 for new, old in zip(maps.size, (120, 112), strict=True))


def test_what_tiles_comes_back_as_it_is():
    albedo = np.repeat(noise(1, 64, 72)[..., None], 3, 2)
    assert (seamless(albedo)["albedo"] == albedo).all()


def test_the_middle_of_a_photo_stays():
    photo = spots()
    height, width = seamless(photo)["albedo"].shape[:2]
    middle = np.s_[112 - height + 4 : height - 4, 120 - width + 4 : width - 4]
    assert np.abs(seamless(photo)["albedo"][middle] - photo[middle]).mean() < 0.01


@pytest.mark.parametrize("like", [False, True])
def test_other_maps_are_taken_from_the_same_places(like):
    maps = made(like=like)
    assert np.abs(maps["roughness"] - maps["albedo"].mean(-1, keepdims=True)).max() < 1e-3


def test_new_textures_have_the_colours_of_the_photo():
    photo, maps = spots(), made(width=200, height=200)
    assert np.abs(maps["albedo"].mean((0, 1)) - photo.mean((0, 1))).max() < 0.05
    assert 0.8 < maps["albedo"].std() / photo.std() < 1.25


def test_periods_are_found():
    for axis in lattice.periods(grid(24, 150, 170)[..., 0], tiles=False):
        assert axis == pytest.approx(24, abs=0.3)
    assert lattice.periods(spots()[..., 0], tiles=False) != (24, 24)


@pytest.mark.parametrize("like", [False, True])
def test_tiles_stay_whole(like):
    maps = made(grid(24, 140, 130), 120, 120, like=like)
    grey = maps["albedo"][..., 0]
    for axis, count in ((0, 5), (1, 5)):
        joints = grey.mean(1 - axis) < 0.55
        assert (joints & ~np.roll(joints, 1)).sum() == count


def test_a_wrap_amid_a_tile_is_not_taken_for_one():
    albedo = grid(24, 108, 108)
    maps = seamless(albedo)
    assert all(abs(side / 24 - round(side / 24)) < 0.05 for side in maps.size)


def test_the_same_seed_gives_the_same_pixels_and_another_one_others():
    first, again, other = made(seed=3), made(seed=3), made(seed=4)
    assert (first["albedo"] == again["albedo"]).all() and np.abs(first["albedo"] - other["albedo"]).mean() > 0.02


def test_normals_stay_of_unit_length():
    x = noise(5, 100, 110) * 0.6 + 0.2
    vector = np.stack([x, 1 - x, np.full_like(x, 0.9)], -1) * 2 - 1
    normal = (vector / np.linalg.norm(vector, axis=-1, keepdims=True) / 2 + 0.5).astype(np.float32)
    maps = Maps({"albedo": spots(1, 100, 110), "normal": normal})
    lengths = np.linalg.norm(finish(example.synthesize(maps, 96, 96))[0]["normal"] * 2 - 1, axis=-1)
    assert np.abs(lengths - 1).max() < 1e-3


@pytest.mark.parametrize("tiles", [False, True])
def test_a_hole_is_filled_and_nothing_else_changes(tiles):
    photo = spots()
    marked = hole(photo, 40, 50)
    filled = mended(np.where(marked[..., None], np.float32(0), photo), marked, tiles)["albedo"]
    assert (filled[~marked] == photo[~marked]).all()
    assert filled[marked].min() > 0.05 and filled[marked].std() > 0.3 * photo.std()


@pytest.mark.parametrize(("top", "left"), [(0, 0), (86, 10), (30, 96)])
def test_holes_at_the_border_are_filled(top, left):
    photo = spots()
    marked = hole(photo, top, left)
    assert mended(np.where(marked[..., None], np.float32(0), photo), marked)["albedo"][marked].min() > 0.05


def test_tiles_are_mended_along_their_joints():
    whole = grid(24, 144, 144)
    marked = hole(whole, 60, 60, 30)
    filled = mended(np.where(marked[..., None], np.float32(1), whole), marked, True)["albedo"]
    assert np.abs(filled - whole)[marked].mean() < 0.05


def test_no_hole_changes_nothing():
    photo = spots()
    assert (mended(photo, np.zeros(photo.shape[:2], bool))["albedo"] == photo).all()


@pytest.mark.parametrize("like", [False, True])
def test_one_colour_stays_one_colour(like):
    assert np.ptp(made(np.full((64, 64, 3), 0.4, np.float32), 80, 72, like=like)["albedo"]) < 1e-5


def test_progress_grows():
    told = finish(example.synthesize(material(spots()), 96, 96))[1]
    assert told == sorted(told) and 0 < told[0] < told[-1] <= 1


def test_work_can_be_cancelled():
    steps = example.synthesize(material(spots()), 96, 96)
    next(steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)


@pytest.mark.parametrize("size", [(8, 64), (64, 20000)])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(InputError, match="32 to 16384"):
        made(width=size[0], height=size[1])


def test_small_photos_and_maps_without_albedo_are_refused():
    with pytest.raises(InputError, match="at least 32"):
        made(spots(1, 16, 64))
    with pytest.raises(InputError, match="needs an albedo"):
        finish(example.seamless(Maps({"height": np.zeros((64, 64, 1), np.float32)})))


def test_a_hole_that_leaves_nothing_is_refused():
    photo = spots()
    with pytest.raises(InputError, match="too little"):
        mended(photo, np.ones(photo.shape[:2], bool))
    with pytest.raises(InputError, match="differ in size"):
        mended(photo, np.ones((8, 8), bool))
