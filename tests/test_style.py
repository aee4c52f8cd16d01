import json

import numpy as np
import pytest
import torch
from PIL import Image

from core import families, images, patches, quality, relief, scaling, style_pictures, transport
from core.card import Card, SizeRule
from core.errors import InputError, ModelError
from core.families import style
from core.families.style import Options
from core.library import BUNDLED, Library
from core.maps import Maps
from core.sessions import Sessions
from export import onnx_model, patterns
from export import style as trainer

SHIPPED = BUNDLED / "style.onnx"


def smooth(seed, low, high, height=192, width=256, size=1000):
    """Smooth noise on the torus `(H, W)`, from `low` to `high`."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) * size), s=(height, width))
    return ((field - field.min()) / np.ptp(field) * (high - low) + low).astype(np.float32)


def picture(seed, height=192, width=256, size=1000):
    """A smooth colour picture `(H, W, 3)` on the torus."""
    return np.stack([smooth(seed + i, 0.1, 0.4 + 0.2 * i, height, width, size) for i in range(3)], -1)


def material():
    """A material of soft bumps."""
    normal, height, depth = relief.encode(smooth(9, 0, 6))
    return Maps({"albedo": picture(2), "normal": normal, "height": height}, depth)


def rolled(maps, rows, columns):
    return Maps({name: np.roll(image, (rows, columns), (0, 1)) for name, image in maps.items()}, maps.relief)


def difference(maps, others):
    return max(float(np.abs(image - others[name]).max()) for name, image in maps.items())


def finish(steps):
    """The maps of a step of work, and the progress that it told on the way."""
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def stylized(model, maps=None, like=None, **options):
    return finish(style.stylize(*model, maps or material(), stripes() if like is None else like, Options(**options)))[0]


def stripes(height=100, width=140):
    """A style with edges: red and white stripes over a slope."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    wave = 0.5 + 0.5 * np.sin(x + 0.4 * y)
    return np.stack([np.full_like(x, 0.85), wave, wave * y / height], -1)


def exported(network, path):
    samples = [trainer.sample(17, 19), trainer.sample(21, 15)]
    model = onnx_model.export_graph(trainer.Graph(network), samples, trainer.OUTPUTS, trainer.AXES)
    onnx_model.save(model, trainer.card_of("style", data="none"), path)
    return opened(path)


def opened(path):
    model = next(m for m in Library([path.parent]).models() if m.path == path)
    return model.card, Sessions("cpu").open(model, families.load("style", "the test"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that knows the principal components of soft noise, exported as the shipped one is: (card, runner)."""
    torch.manual_seed(1)
    network = trainer.Style(trainer.Settings(data="", encoder_width=16, decoder_width=16, judge_width=8))
    network.start_linear(torch.nn.functional.interpolate(torch.rand(8, 3, 24, 24), size=(64, 64), mode="bicubic"))
    return exported(network, tmp_path_factory.mktemp("models") / "style.onnx")


def test_a_style_model_is_listed_and_makes_no_material(model):
    assert model[0].family == "style" and model[0].materials == ()


def test_no_strength_gives_the_content_back(model):
    assert difference(stylized(model, strength=0), material()) == 0


def test_full_strength_has_the_colours_of_the_style_and_leaves_the_geometry(model):
    maps = stylized(model)
    means = [image.mean((0, 1)) for image in (maps["albedo"], stripes(), material()["albedo"])]
    assert np.abs(means[0] - means[1]).max() < 0.1 < np.abs(means[2] - means[1]).max()
    assert all((maps[name] == material()[name]).all() for name in ("normal", "height"))
    assert maps.relief == material().relief


@pytest.mark.parametrize("options", [{}, {"keep_color": True, "strength": 0.4}])
def test_tiles_are_the_same_as_one_piece(model, options):
    assert difference(stylized(model, tile=72, **options), stylized(model, tile=4096, **options)) <= 1e-3


@pytest.mark.parametrize("shift", [(16, -48), (128, 64)])
def test_the_result_rolls_with_the_content(model, shift):
    found = stylized(model, rolled(material(), *shift), relief=True)
    assert difference(found, rolled(stylized(model, relief=True), *shift)) <= 1e-3


def test_the_result_tiles(model):
    seams = quality.measure(stylized(model, relief=True)).seam
    assert all(max(both) <= quality.SEAM_LIMIT for both in seams.values())


def test_kept_colours_are_the_contents(model):
    content, found = material()["albedo"], stylized(model, keep_color=True)["albedo"]
    inside = ((found > 0) & (found < 1)).all(-1)
    change = (found - content)[inside]
    assert inside.mean() > 0.5 and np.abs(change - change.mean(-1, keepdims=True)).max() < 1e-5
    assert np.abs(change).max() > 0.05


def test_relief_moves_normal_and_height_and_they_agree(model):
    maps = stylized(model, relief=True)
    assert quality.measure(maps).agreement < 0.1
    assert all(np.abs(maps[name] - material()[name]).mean() > 1e-3 for name in ("normal", "height"))


@pytest.mark.parametrize("names", [["albedo"], ["albedo", "normal"], ["albedo", "height"]])
def test_relief_makes_the_geometry_that_is_not_there(model, names):
    maps = stylized(model, material().only(names), relief=True)
    assert {"normal", "height"} <= set(maps) and maps.relief > 0


def test_progress_grows_up_to_the_end(model):
    told = finish(style.stylize(*model, material(), stripes(), Options(tile=64)))[1]
    assert told == sorted(told) and 0 <= told[0] < told[-1] <= 1


@pytest.mark.parametrize("shape", [(5, 7), (3, 400), (700, 90), (134, 257)])
def test_styles_of_any_size_are_taken(model, shape):
    assert stylized(model, like=stripes(*shape))["albedo"].shape == (192, 256, 3)


def test_a_grey_style_and_values_out_of_range_are_taken(model):
    like = stripes()[..., 1:2] * 3 - 1
    assert np.isfinite(stylized(model, like=like)["albedo"]).all()


@pytest.mark.parametrize("like", [np.full((1, 1, 3), 0.5), np.full((80, 90, 1), 0.2)])
def test_a_style_of_one_colour_is_refused(model, like):
    with pytest.raises(InputError, match="one colour"):
        stylized(model, like=like.astype(np.float32))


@pytest.mark.parametrize(
    "wrong", [{"strength": 2}, {"strength": -1}, {"strength": float("nan")}, {"style_scale": 0}, {"style_scale": 99}]
)
def test_options_out_of_range_are_refused(model, wrong):
    with pytest.raises(InputError, match="choose one from"):
        stylized(model, **wrong)


def test_flat_content_is_not_filled_with_one_patch(model):
    flat = Maps({"albedo": np.full((128, 128, 3), 0.5, np.float32)})
    like = np.random.default_rng(1).random((100, 100, 3), np.float32)
    found = stylized(model, flat, like)["albedo"]
    assert len(np.unique(found[::4, ::4, 0].round(4))) > 100
    assert max(quality.measure(Maps({"albedo": found})).seam["albedo"]) <= quality.SEAM_LIMIT


def test_content_without_albedo_is_refused(model):
    with pytest.raises(InputError, match="albedo"):
        stylized(model, material().only(["normal"]))


def test_a_size_off_the_grid_is_refused(model):
    with pytest.raises(InputError, match="multiple of 4"):
        stylized(model, Maps({"albedo": picture(1, 66, 64)}))


@pytest.mark.parametrize("wrong", [{"fold": None}, {"channels": "many"}, {"encoder_halo": -1}, {"fold": 10**6}])
def test_a_card_with_wrong_settings_is_a_model_error(model, wrong):
    card = Card("style", "style", ("albedo",), SizeRule(4, 32, 24), "CC0-1.0", "none", settings=wrong)
    with pytest.raises(ModelError, match="settings"):
        stylized((card, model[1]))


def test_transport_gives_the_statistics_of_the_style():
    content, goal = picture(1, size=10), picture(5, size=10) ** 2
    found = transport.carry(content, goal)
    assert np.abs(found.mean((0, 1)) - goal.mean((0, 1))).max() < 0.01
    assert np.abs(np.cov(found.reshape(-1, 3).T) - np.cov(goal.reshape(-1, 3).T)).max() < 0.002


def test_transport_to_itself_changes_little():
    content = picture(1, size=10)
    assert np.abs(transport.carry(content, content) - content).max() < 0.02


def test_a_picture_is_made_of_its_own_patches():
    features = np.random.default_rng(1).standard_normal((12, 15, 4)).astype(np.float32)
    among = patches.Patches(features, 1000)
    centres = np.stack(np.mgrid[1:11, 1:14], -1).astype(np.int32)
    numbers = np.arange(130).reshape(10, 13)
    queries = among.keys.reshape(10, 13, -1)
    assert (among.sources(numbers) == centres).all()
    assert (among.cohere(queries, centres, None, 1.0) == centres).all()
    assert (among.gather(centres) == features[1:11, 1:14]).all()
    assert np.abs(among.vote(centres)[1:-1, 1:-1] - features[2:10, 2:13]).max() < 1e-5


def test_pieces_grow_where_they_fit_nearly_as_well():
    features = np.random.default_rng(1).standard_normal((12, 15, 4)).astype(np.float32)
    among = patches.Patches(features, 1000)
    centres = np.stack(np.mgrid[1:11, 1:14], -1).astype(np.int32)
    torn = centres.copy()
    torn[5, 5] = 1, 1
    assert (among.cohere(among.keys.reshape(10, 13, -1), torn, None, 1.0) == centres).all()


def test_finer_sources_keep_pieces_whole():
    centres = np.stack(np.mgrid[1:4, 2:7], -1).astype(np.int32)
    assert (patches.finer(centres) == np.stack(np.mgrid[2:8, 4:14], -1)).all()


def test_halves_are_means_and_leave_an_odd_line_out():
    steps = np.arange(5, dtype=np.float32)[:, None, None] + np.zeros((5, 4, 1), np.float32)
    assert (scaling.halved(steps)[..., 0] == [[0.5, 0.5], [2.5, 2.5]]).all()


@pytest.mark.parametrize("size", [(40, 90), (64, 64), (200, 300)])
def test_a_resized_slope_is_a_slope(size):
    slope = np.linspace(0, 1, 64, dtype=np.float32)[:, None, None] + np.zeros((64, 64, 3), np.float32)
    found = scaling.resized(slope, *size)
    steps = np.diff(found[..., 0], axis=0)[3:-3]
    assert found.shape == (*size, 3) and np.abs(steps / steps.mean() - 1).max() < 0.1


def photos(folder):
    for name in ("One", "Two"):
        (folder / name).mkdir(parents=True)
        pixels = np.rint(picture(len(name) + ord(name[0]), 64, 64, 30) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name / "color.png")
    return folder


def test_a_run_is_resumed_and_exported(tmp_path):
    data, run = photos(tmp_path / "photos"), tmp_path / "run"
    options = [
        "--data",
        str(data),
        "--run",
        str(run),
        "--crop",
        "48",
        "--batch",
        "2",
        "--adversary-from",
        "1",
        "--quiet",
    ]
    options += ["--encoder-width", "8", "--decoder-width", "8", "--judge-width", "8"]
    for steps in ("2", "3"):
        trainer.main(["train", *options, "--steps", steps])
    assert trainer.training.load_checkpoint(run / "checkpoint.pt")["step"] == 3
    assert json.loads((run / "settings.json").read_text())["crop"] == 48
    assert len(list(run.glob("sheet_*.png"))) == 2
    (run / "held_out.json").write_text('["One"]')
    trainer.main(["export", "--data", str(data), "--run", str(run), "--out", str(tmp_path / "style.onnx")])
    card, _ = opened(tmp_path / "style.onnx")
    assert card.figures["reconstruction_psnr_db"] > 10 and card.training["steps"] == 3
    assert str(tmp_path) not in card.to_json()


def test_a_pattern_is_drawn_alike_each_time():
    one, other = (patterns.mosaic(np.random.default_rng(1)) for _ in range(2))
    assert (one == other).all() and one.shape == (patterns.SIZE, patterns.SIZE, 3)


def test_every_pattern_is_built_in():
    assert set(patterns.STYLES) <= set(style_pictures.names())


@pytest.mark.parametrize("name", style_pictures.names())
def test_a_built_in_style_is_a_small_picture(name):
    path = style_pictures.path(name)
    assert images.read(path).shape == (patterns.SIZE, patterns.SIZE, 3)
    assert path.stat().st_size < 2**16


def test_a_dry_run_prints_the_settings_and_writes_nothing(tmp_path, capsys):
    trainer.main(["train", "--data", "photos", "--run", str(tmp_path / "run"), "--dry-run"])
    assert "adversary" in capsys.readouterr().out and not (tmp_path / "run").exists()


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"{SHIPPED.name} is not there; export it first")
def test_the_shipped_style_paints_with_the_styles_structure():
    """Steps from pixel to pixel: a smooth content gets those of a style full of edges."""
    shipped = opened(SHIPPED)
    found = stylized(shipped)["albedo"]
    steps = [float(np.abs(np.diff(image, axis=1)).mean()) for image in (found, stripes(), material()["albedo"])]
    assert steps[0] > 0.5 * steps[1] > 2 * steps[2]
