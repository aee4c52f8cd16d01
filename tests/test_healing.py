import numpy as np
import pytest

from core import healing, overlap, quality, relief, seams
from core.card import Card, SizeRule
from core.errors import InputError
from core.maps import Maps

HALO = 16
CARD = Card("restore", "still", ("albedo",), SizeRule(8, 16, HALO), "CC0-1.0", "none")


class Still:
    """A network that leaves pictures as they were filled."""

    def run(self, feeds):
        return [feeds["pixels"][:, :, HALO:-HALO, HALO:-HALO]]


def smooth(seed, height=96, width=136, size=60):
    """Smooth noise `(H, W, 1)` on the torus, in [0.1, 0.9]."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) * size), s=(height, width))
    return ((field - field.min()) / np.ptp(field) * 0.8 + 0.1).astype(np.float32)[..., None]


def material(height=96, width=136):
    """Maps that tile."""
    normal, surface, depth = relief.encode(8 * smooth(5, height, width)[..., 0])
    albedo = np.concatenate([smooth(seed, height, width) for seed in range(3)], 2)
    return Maps({"albedo": albedo, "normal": normal, "height": surface, "roughness": smooth(4, height, width)}, depth)


def photo(height=96, width=136, **more):
    """A part of larger maps, which does not tile."""
    whole = material(2 * height, 2 * width)
    images = {name: np.ascontiguousarray(image[:height, :width]) for name, image in whole.items()}
    return Maps({**images, **more}, whole.relief)


def lattice(height=160, width=200, cell=24, joint=3):
    """Tiles with dark joints and a little grain, of which no whole number fits."""
    rows, columns = np.arange(height)[:, None] % cell < joint, np.arange(width)[None] % cell < joint
    picture = np.where((rows | columns)[..., None], 0.2, 0.6) + 0.03 * (smooth(1, height, width, 1) - 0.5)
    return Maps({"albedo": np.repeat(picture, 3, 2).astype(np.float32)})


def holes(height=96, width=136):
    """A hairline and a spot."""
    hole = np.zeros((height, width), bool)
    hole[20:22] = hole[50:75, 60:85] = True
    return hole


def finish(steps):
    """What a step of work returns, and the progress that it told on the way."""
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def healed(maps, *args, **options):
    return finish(healing.heal(CARD, Still(), maps, *args, **options))[0]


def difference(maps, others):
    return max(float(np.abs(image - others[name]).max()) for name, image in maps.items())


@pytest.mark.parametrize("mask", [None, np.zeros((96, 136), bool)])
@pytest.mark.parametrize("maps", [material(), photo()])
def test_with_nothing_to_do_the_maps_come_back(maps, mask):
    assert difference(healed(maps, mask), maps) == 0


@pytest.mark.parametrize("maps", [material(), photo()])
def test_all_maps_change_in_the_holes_alone(maps):
    made = healed(maps, holes())
    for name, image in made.items():
        changed = (image != maps[name]).any(2)
        assert changed[holes()].mean() > 0.9 and not changed[~holes()].any()


def test_what_stands_in_a_hole_does_not_matter():
    spoilt = {name: np.where(holes()[..., None], np.float32(0.5), image) for name, image in material().items()}
    other = healed(Maps(spoilt, material().relief), holes())
    assert difference(other, healed(material(), holes())) < 1e-5


def test_a_soft_mask_mixes_what_is_made_with_what_was_there():
    whole, half = healed(material(), holes()), healed(material(), holes() * np.float32(0.5))
    assert np.abs(half["albedo"] - (whole["albedo"] + material()["albedo"]) / 2).max() < 1e-6


def test_holes_are_wide_where_a_square_fits():
    wide = healing._wide(holes(), tiles=True)
    assert not wide[20:22].any() and wide[50:75, 60:85].all()


def test_wide_holes_wrap_where_the_maps_do():
    hole = np.zeros((96, 136), bool)
    hole[:2] = hole[-2:] = True
    assert healing._wide(hole, tiles=True)[hole].all()


def test_normal_and_height_agree_in_a_narrow_hole():
    scratch = np.zeros((96, 136), bool)
    scratch[30:32] = True
    made = healed(material(), scratch)
    normal = relief.encode(made["height"][..., 0] * made.relief)[0]
    assert np.abs(normal - made["normal"])[30:32].max() < 1e-4


def test_a_photo_comes_out_tiling_at_its_size():
    made = healed(photo(), seams=True)
    assert made.size == (136, 96) and set(made) == set(photo())
    assert not quality.tiles(photo()) and quality.tiles(made)
    assert quality.measure(made).failures() == []


def test_what_tiles_stays_as_it_is():
    assert difference(healed(material(), seams=True), material()) == 0


def test_what_tiles_one_way_is_joined_the_other_way_only():
    half = Maps({name: np.ascontiguousarray(image[:, :100]) for name, image in material().items()}, material().relief)
    assert quality.tiling(half) == (False, True)
    made, place = overlap.lay(half, across=True, down=False)
    assert made.size[1] == 96 and made.size[0] < 100 and place.any(1).all()
    assert quality.tiles(healed(half, seams=True))


def test_one_colour_stays_one_colour():
    plain = Maps({"albedo": np.full((96, 136, 3), 0.4, np.float32)})
    assert difference(healed(plain, holes(), seams=True), plain) < 1e-6


def test_an_overlap_keeps_the_cells_of_a_lattice():
    made, _ = overlap.lay(lattice())
    assert made.size[0] % 24 == made.size[1] % 24 == 0


def test_what_is_stretched_keeps_its_waves():
    wave = (0.5 + 0.3 * np.sin(2 * np.pi * np.arange(60) / 20)).astype(np.float32)
    made = overlap.stretched(Maps({"roughness": np.tile(wave[:, None, None], (1, 40, 1))}), 50, 90)
    expected = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(90) / 30)
    assert made.size == (50, 90) and np.abs(made["roughness"][:, 7, 0] - expected).max() < 1e-5


def test_broad_tone_is_evened_and_detail_stays():
    light = 0.3 * np.linspace(-1, 1, 136, dtype=np.float32)[None, :, None]
    plain = 0.5 + 0.1 * (smooth(1, size=2) - 0.5)
    made = seams.even(plain + light)
    assert abs(made[:, :9].mean() - made[:, -9:].mean()) < 0.1
    assert np.abs(np.diff(made - plain, axis=1)).max() < 0.05


def test_a_seam_is_worse_than_none():
    whole = material()["albedo"]
    place = seams.bands(96, 136, 12)
    shifted = np.ascontiguousarray(photo()["albedo"])
    assert seams.badness(shifted, shifted, place) > 0.5 > 0.25 > seams.badness(whole, whole, place)


def test_the_same_picture_is_healed_the_same():
    assert difference(healed(photo(), holes()), healed(photo(), holes())) == 0


def test_maps_without_albedo_are_refused():
    with pytest.raises(InputError, match="no albedo"):
        healed(material().only(["height"]), holes())


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(InputError, match="the picture's size"):
        healed(material(), holes()[:50])


def test_a_mask_of_everything_is_refused():
    with pytest.raises(InputError, match="nothing to heal it from"):
        healed(material(), np.ones((96, 136), bool))


def test_what_is_too_small_to_tile_is_refused():
    with pytest.raises(InputError, match="at least 64"):
        healed(photo(40, 136), seams=True)


def test_progress_grows():
    told = finish(healing.heal(CARD, Still(), photo(), holes(), 0.2, seams=True))[1]
    assert told == sorted(told) and told[0] > 0 and told[-1] <= 1
