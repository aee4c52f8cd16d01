import numpy as np
import pytest
from tiny_networks import opened, tiny_codec

from core import quality, variations
from core.errors import InputError
from core.families import vae
from core.library import BUNDLED
from core.maps import CHANNELS, Maps
from core.motion import smooth

SHIPPED = BUNDLED / "codec.onnx"


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return tiny_codec(tmp_path_factory.mktemp("models"))


def material(height=256, width=320, seed=1):
    """A smooth albedo on the torus, with a normal."""
    random = np.random.default_rng(seed)
    albedo = np.stack([0.5 + 0.12 * smooth(height, width, 24, random) for _ in range(3)], -1)
    return variations.with_relief(Maps({"albedo": np.clip(albedo, 0, 1).astype(np.float32)}))


def photo(seed=1):
    """A cut-out, which does not tile."""
    whole = material(512, 512, seed)["albedo"]
    return Maps({"albedo": np.ascontiguousarray(whole[:256, :320])})


def made(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def differences(one, other):
    """Mean absolute difference of the albedo at each pixel."""
    return np.abs(one["albedo"] - other["albedo"]).mean(-1)


def test_amount_0_is_the_reconstruction(codec):
    found = made(variations.vary(*codec, material(), 0, 1))
    assert differences(found, vae.decode(*codec, vae.encode(*codec, material()))).max() == 0
    assert list(found) == list(CHANNELS) and found.size == (320, 256)


@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_a_seed_makes_one_variation_and_another_seed_another(codec, amount):
    first, again, other = (made(variations.vary(*codec, material(), amount, seed)) for seed in (1, 1, 2))
    assert differences(first, again).max() == 0
    assert differences(first, other).mean() > 1e-3


def test_a_small_amount_leaves_most_as_it_is_and_a_larger_one_less(codec):
    plain = made(variations.vary(*codec, material(), 0, 1))
    changed = [(differences(made(variations.vary(*codec, material(), a, 1)), plain) > 0.02).mean() for a in (0.3, 1)]
    assert changed[0] < changed[1]


def test_sizes_of_odd_cells_are_made_as_they_are(codec):
    assert made(variations.vary(*codec, material(252, 260), 0.5, 1)).size == (260, 252)


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"{SHIPPED.name} is not there; export it first")
@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0])
def test_a_picture_that_does_not_tile_becomes_a_material_that_does(amount):
    assert quality.measure(photo()).failures()
    assert not quality.measure(made(variations.vary(*opened(SHIPPED), photo(), amount, 1, seamless=False))).failures()


@pytest.mark.parametrize("amount", [-0.1, 2.0, float("nan")])
def test_an_amount_out_of_range_is_refused(codec, amount):
    with pytest.raises(InputError, match="0 to 1"):
        made(variations.vary(*codec, material(), amount, 1))
    with pytest.raises(InputError, match="0 to 1"):
        made(variations.between(*codec, material(), material(), amount))


def test_a_material_too_small_to_be_laid_anew_is_refused(codec):
    with pytest.raises(InputError, match="too small"):
        made(variations.vary(*codec, material(64, 64), 0.5, 1))


def test_between_two_materials_the_ends_are_the_materials(codec):
    first, second = material(seed=1), material(seed=2)
    for amount, end in ((0, first), (1, second)):
        found = made(variations.between(*codec, first, second, amount))
        assert differences(found, vae.decode(*codec, vae.encode(*codec, end))).max() < 1e-5


def test_half_way_each_material_shows_in_places(codec):
    first, second = material(seed=1), material(seed=2)
    ends = [vae.decode(*codec, vae.encode(*codec, end)) for end in (first, second)]
    found = made(variations.between(*codec, first, second, 0.5))
    assert all(0.1 < (differences(found, end) < 0.01).mean() < 0.9 for end in ends)


def test_materials_of_different_sizes_have_nothing_between_them(codec):
    with pytest.raises(InputError, match="sizes"):
        made(variations.between(*codec, material(), material(256, 256), 0.5))


def test_a_plain_picture_gets_a_relief_from_its_lightness():
    albedo = material()["albedo"]
    found = variations.with_relief(Maps({"albedo": albedo}))
    slope = -(found["normal"][..., 0] - 0.5)
    light = np.roll(albedo.mean(-1), -1, 1) - np.roll(albedo.mean(-1), 1, 1)
    assert np.corrcoef(slope.ravel(), light.ravel())[0, 1] > 0.9


def test_a_material_with_a_height_gets_its_normal_from_it():
    height = 0.5 + 0.1 * smooth(64, 64, 16, np.random.default_rng(1))[..., None]
    found = variations.with_relief(Maps({"height": height.astype(np.float32)}, relief=20.0))
    assert not quality.measure(found).failures()
