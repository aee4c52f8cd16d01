"""Textures by example: what they keep, what they make anew."""

import numpy as np
import pytest

from core import example, period, quality
from core.errors import InputError
from core.maps import Maps


def grain(seed=1, height=150, width=170, size=2.0):
    """Coloured noise that does not tile (H, W, 3)."""
    random = np.random.default_rng(seed)
    wide = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None])
    fall = np.exp(-((wide * size * 3) ** 2))[..., None]
    noise = np.fft.irfft2(np.fft.rfft2(random.standard_normal((256, 256, 3)), axes=(0, 1)) * fall, axes=(0, 1))
    return (0.5 + 0.12 * noise / noise.std()).clip(0, 1).astype(np.float32)[:height, :width]


def tiles(side=23, height=150, width=170):
    """Grey tiles with dark joints, each tile of its own brightness."""
    y, x = np.mgrid[:height, :width]
    shade = np.random.default_rng(2).uniform(0.5, 0.8, (20, 20))[y // side, x // side]
    joint = (y % side < 2) | (x % side < 2)
    picture = np.where(joint, 0.15, shade)[..., None].repeat(3, 2).astype(np.float32)
    return picture + 0.02 * grain(1, height, width)


def finish(steps):
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def made(picture, width=128, height=128, **options):
    return finish(example.synthesize(Maps({"albedo": picture}), width, height, **options))[0]["albedo"]


def seam(picture):
    return max(quality.measure(Maps({"albedo": picture})).seam["albedo"])


@pytest.mark.parametrize("like", [True, False])
def test_what_is_made_tiles_and_the_example_does_not(like):
    assert seam(grain()) > 1.1 >= seam(made(grain(), like=like))


def test_any_size_is_made():
    assert made(grain(), 200, 72).shape == (72, 200, 3)
    assert made(grain(), 65, 33, like=True).shape == (33, 65, 3)


def test_colours_stay():
    texture = made(grain())
    assert np.abs(texture.mean((0, 1)) - grain().mean((0, 1))).max() < 0.03
    assert 0.85 < texture.std() / grain().std() < 1.15


def test_a_seed_decides_everything():
    first, again, other = made(grain(), seed=3), made(grain(), seed=3), made(grain(), seed=4)
    assert (first == again).all() and np.abs(first - other).mean() > 0.05


def test_like_keeps_the_middle_as_it_is():
    kept, new = (made(grain(), 170, 150, like=like)[50:100, 50:120] for like in (True, False))
    assert np.abs(kept - grain()[50:100, 50:120]).mean() < 0.01 < np.abs(new - grain()[50:100, 50:120]).mean()


def test_every_map_is_laid_the_same_way():
    albedo = grain()
    other = {"roughness": albedo[..., :1] * 0.5 + 0.2, "metallic": 1 - albedo[..., :1]}
    maps = finish(example.synthesize(Maps({"albedo": albedo, **other}), 128, 128))[0]
    assert np.abs(maps["roughness"] - (maps["albedo"][..., :1] * 0.5 + 0.2)).max() < 1e-5
    assert np.abs(maps["metallic"] - (1 - maps["albedo"][..., :1])).max() < 1e-5


def test_normal_and_height_agree():
    from core import relief

    normal, height, depth = relief.encode(grain()[..., 0] * 10)
    maps = finish(example.synthesize(Maps({"albedo": grain(), "normal": normal, "height": height}, depth), 128, 128))[0]
    assert np.abs(relief.encode(maps["height"][..., 0] * maps.relief)[0] - maps["normal"]).max() < 1e-3
    assert maps.relief > 1


@pytest.mark.parametrize("side", [17, 23, 31])
def test_periods_are_found(side):
    lattice = period.find(tiles(side, 200, 240))
    assert abs(lattice.down - side) < 0.3 and abs(lattice.across - side) < 0.3


def test_noise_has_no_period():
    assert period.find(grain()) == period.Lattice(0.0, 0.0)
    assert period.find(np.full((64, 64, 3), 0.5, np.float32)) == period.Lattice(0.0, 0.0)


def joints(texture):
    """Columns that are dark all the way."""
    return np.flatnonzero(texture.mean((0, 2)) < 0.3)


@pytest.mark.parametrize("like", [True, False])
def test_tiles_come_out_whole(like):
    texture = made(tiles(), 120, 120, like=like)  # five and a bit, of 23 pixels
    steps = np.diff(joints(texture))
    assert len(steps[steps > 2]) == 4 and np.abs(steps[steps > 2] + 1 - 24).max() <= 2


def hole(height=150, width=170):
    mask = np.zeros((height, width), bool)
    mask[40:75, 60:100] = True
    return mask


def test_a_hole_is_filled_and_nothing_else_changes():
    spoiled = grain()
    spoiled[hole()] = 1.0
    filled = finish(example.mend(Maps({"albedo": spoiled}), hole(), False))[0]["albedo"]
    assert (filled[~hole()] == spoiled[~hole()]).all()
    assert filled[hole()].max() < 0.99 and abs(filled[hole()].std() / grain().std() - 1) < 0.25


def test_a_hole_at_the_edge_is_filled_from_its_own_side():
    spoiled = np.where(np.arange(170)[None, :, None] < 85, 0.2, 0.8).astype(np.float32) + 0.2 * (grain() - 0.5)
    mask = np.zeros((150, 170), bool)
    mask[60:90, :25] = True
    filled = finish(example.mend(Maps({"albedo": spoiled.astype(np.float32)}), mask, False))[0]["albedo"]
    assert filled[mask].max() < 0.5


def test_no_hole_changes_nothing():
    assert (finish(example.mend(Maps({"albedo": grain()}), hole() & False, True))[0]["albedo"] == grain()).all()


def test_a_hole_that_is_everything_is_told():
    with pytest.raises(InputError, match="Too little is left"):
        finish(example.mend(Maps({"albedo": grain()}), hole() | True, True))


def test_progress_grows():
    told = finish(example.synthesize(Maps({"albedo": grain()}), 128, 128))[1]
    assert told == sorted(told) and len(told) > 5 and told[-1] <= 1


def test_one_colour_stays_one():
    assert np.abs(made(np.full((64, 80, 3), 0.4, np.float32)) - 0.4).max() < 1e-6


@pytest.mark.parametrize("sides", [((16, 200), (128, 128)), ((150, 170), (128, 8))])
def test_too_few_pixels_are_told(sides):
    (height, width), (wide, high) = sides
    with pytest.raises(InputError, match="too few"):
        made(grain(1, height, width), wide, high)


def test_maps_without_colour_are_told():
    with pytest.raises(InputError, match="no albedo"):
        finish(example.synthesize(Maps({"height": grain()[..., :1].copy()}), 64, 64))
