import numpy as np
import pytest
import torch

from core import families, relief
from core.card import Card, SizeRule
from core.errors import InputError, ModelError
from core.families import vae
from core.library import BUNDLED, Library
from core.maps import CHANNELS, Maps
from core.sessions import Sessions
from export import onnx_model
from export import vae as trainer

SHIPPED = BUNDLED / "codec.onnx"
WHOLE, PIECES = 4096, 32  # pixels of a tile


def card_of(**settings):
    named = {"fold": trainer.FOLD, "channels": trainer.LATENT}
    named |= {"encoder_halo": trainer.ENCODER_HALO, "decoder_halo": trainer.DECODER_HALO}
    size = SizeRule(trainer.FOLD, 16, trainer.DECODER_HALO * trainer.FOLD)
    return Card("vae", "codec", tuple(CHANNELS), size, "CC0-1.0", "none", settings=named | settings)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A codec of random weights, exported as the shipped one is: (card, runner)."""
    torch.manual_seed(1)
    samples = []
    for height, width in ((13, 15), (17, 14)):
        planes = torch.rand(1, 8, height * trainer.FOLD, width * trainer.FOLD)
        latent = torch.randn(1, trainer.LATENT, height, width)
        samples.append({"planes": planes, "known": torch.ones(1, 8, 1, 1), "latent": latent})
    axes = {"planes": {2: "H", 3: "W"}, "latent": {2: "h", 3: "w"}}
    axes |= {"encoded": {2: "eh", 3: "ew"}, "decoded": {2: "DH", 3: "DW"}}
    graph = trainer.Graph(trainer.Codec(width=24))
    path = tmp_path_factory.mktemp("models") / "codec.onnx"
    onnx_model.save(onnx_model.export_graph(graph, samples, ["encoded", "decoded"], axes), card_of(), path)
    return opened(path)


def opened(path):
    model = next(m for m in Library([path.parent]).models() if m.path == path)
    return model.card, Sessions("cpu").open(model, families.load("vae", "the test"))


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
        vae.decode(card_of(**wrong), untrained[1], latent_of())


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"{SHIPPED.name} is not there; export it first")
def test_the_shipped_codec_gives_a_smooth_material_back():
    codec = opened(SHIPPED)
    found = vae.decode(*codec, vae.encode(*codec, material()))
    assert psnr(found["albedo"], material()["albedo"]) > 25
    assert np.corrcoef(found["height"].ravel(), material()["height"].ravel())[0, 1] > 0.95
