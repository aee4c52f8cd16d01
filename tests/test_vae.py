import numpy as np
import pytest
from tiny_networks import codec_card, opened, tiny_codec

from core import relief
from core.errors import InputError, ModelError
from core.families import vae
from core.library import BUNDLED
from core.maps import CHANNELS, Maps
from export import vae as trainer

SHIPPED = BUNDLED / "codec.onnx"
WHOLE, PIECES = 4096, 32  # pixels of a tile


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A codec of random weights: (card, runner)."""
    return tiny_codec(tmp_path_factory.mktemp("models"))


def smooth(seed, low, high, height=96, width=128):
    """Smooth noise on the torus `(H, W)`, from `low` to `high`."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) * 1000), s=(height, width))
    return ((field - field.min()) / np.ptp(field) * (high - low) + low).astype(np.float32)


def material():
    """A material of soft bumps, with every map."""
    normal, height, depth = relief.encode(smooth(1, 0, 6))
    albedo = np.stack([smooth(2, 0.2, 0.7), smooth(3, 0.2, 0.6), smooth(4, 0.1, 0.5)], -1)
    one = {"roughness": smooth(5, 0.3, 0.9), "metallic": smooth(6, 0, 0.1), "ao": smooth(7, 0.8, 1)}
    return Maps(
        {"albedo": albedo, "normal": normal, "height": height} | {k: v[..., None] for k, v in one.items()}, depth
    )


def latent_of(rows=24, columns=32):
    return np.random.default_rng(1).standard_normal((1, trainer.LATENT, rows, columns), dtype=np.float32)


def rolled(maps, rows, columns):
    return Maps({name: np.roll(image, (rows, columns), (0, 1)) for name, image in maps.items()}, maps.relief)


def difference(maps, others):
    return max(float(np.abs(image - others[name]).max()) for name, image in maps.items())


def psnr(one, other):
    return -10 * np.log10(np.mean((one - other) ** 2))


@pytest.mark.parametrize("tile", [PIECES, 20])
def test_encoding_in_tiles_is_the_same_as_in_one_piece(untrained, monkeypatch, tile):
    monkeypatch.setattr(vae, "TILE", WHOLE)
    whole = vae.encode(*untrained, material())
    monkeypatch.setattr(vae, "TILE", tile)
    assert whole.shape == (1, trainer.LATENT, 24, 32)
    assert np.abs(vae.encode(*untrained, material()) - whole).max() <= 1e-5


def test_decoding_in_tiles_is_the_same_as_in_one_piece(untrained, monkeypatch):
    monkeypatch.setattr(vae, "TILE", WHOLE)
    whole = vae.decode(*untrained, latent_of())
    monkeypatch.setattr(vae, "TILE", PIECES)
    assert list(whole) == list(CHANNELS) and whole.size == (128, 96)
    assert difference(vae.decode(*untrained, latent_of()), whole) <= 1e-4


def test_the_latent_rolls_with_the_maps(untrained):
    found = vae.encode(*untrained, rolled(material(), 12, -20))
    assert np.abs(found - np.roll(vae.encode(*untrained, material()), (3, -5), (2, 3))).max() <= 1e-5


def test_the_maps_roll_with_the_latent(untrained):
    found = vae.decode(*untrained, np.roll(latent_of(), (3, -5), (2, 3)))
    assert difference(found, rolled(vae.decode(*untrained, latent_of()), 12, -20)) <= 1e-4


@pytest.mark.parametrize("names", [["albedo"], ["albedo", "normal"], ["roughness"]])
def test_missing_maps_are_accepted_and_told_to_the_network(untrained, names):
    few = vae.encode(*untrained, material().only(names))
    assert few.shape == (1, trainer.LATENT, 24, 32)
    assert np.abs(few - vae.encode(*untrained, material())).max() > 1e-3


def test_a_size_off_the_grid_is_refused(untrained):
    odd = Maps({"albedo": np.zeros((30, 64, 3), np.float32)})
    with pytest.raises(InputError, match="multiple of 4"):
        vae.encode(*untrained, odd)


@pytest.mark.parametrize("wrong", [{"fold": None}, {"channels": "many"}, {"encoder_halo": -1}, {"fold": 10**6}])
def test_a_card_with_wrong_settings_is_a_model_error(untrained, wrong):
    with pytest.raises(ModelError, match="settings"):
        vae.decode(codec_card(**wrong), untrained[1], latent_of())


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"{SHIPPED.name} is not there; export it first")
def test_the_shipped_codec_gives_a_smooth_material_back():
    codec = opened(SHIPPED)
    found = vae.decode(*codec, vae.encode(*codec, material()))
    assert psnr(found["albedo"], material()["albedo"]) > 25
    assert np.corrcoef(found["height"].ravel(), material()["height"].ravel())[0, 1] > 0.95
