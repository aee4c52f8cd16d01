import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import opened

from core import quality, relief
from core.card import LARGEST
from core.errors import InputError, ModelError
from core.families import upscale
from core.families.upscale import Options
from core.library import BUNDLED
from core.maps import Maps
from core.scaling import halved
from export import materials as photos
from export import upscale as trainer
from export import upscale_judge

SHIPPED = BUNDLED / "upscale.onnx"


def smooth(seed, low, high, height=40, width=56, size=100):
    """Smooth noise on the torus `(H, W)`, from `low` to `high`."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) * size), s=(height, width))
    return ((field - field.min()) / np.ptp(field) * (high - low) + low).astype(np.float32)


def material(height=40, width=56, seed=1, size=100):
    """All maps of one soft surface."""
    normal, surface, depth = relief.encode(smooth(seed, 0, 8, height, width, size))
    grey = {
        name: smooth(seed + 5 + i, 0.3, 0.7, height, width)[..., None]
        for i, name in enumerate(("roughness", "metallic", "ao"))
    }
    albedo = np.stack([smooth(seed + 10 + i, 0.3, 0.7, height, width) for i in range(3)], -1)
    return Maps({"albedo": albedo, "normal": normal, "height": surface, **grey}, depth)


def finish(steps):
    """The maps of a step of work, and the progress that it told on the way."""
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def enlarged(model, maps=None, factor=2, tiles=True, **options):
    return finish(upscale.enlarge(*model, material() if maps is None else maps, factor, tiles, Options(**options)))[0]


def difference(maps, others):
    return max(float(np.abs(image - others[name]).max()) for name, image in maps.items())


def rolled(maps, *shift):
    return Maps({name: np.roll(image, shift, (0, 1)) for name, image in maps.items()}, maps.relief)


def exported(folder, network):
    """A network's (card, runner), exported as the shipped one is."""
    trainer.write_model(network, folder / "upscale.onnx", data="none")
    return opened(folder / "upscale.onnx")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of random weights: its details are nonsense, of every pixel that it sees."""
    torch.manual_seed(1)
    network = trainer.Network(width=8, blocks=1)
    torch.nn.init.normal_(network.leave.weight, std=0.01)
    return exported(tmp_path_factory.mktemp("random"), network)


@pytest.fixture(scope="module")
def bicubic(tmp_path_factory):
    """A network that has learned nothing yet."""
    return exported(tmp_path_factory.mktemp("bicubic"), trainer.Network(width=8, blocks=1))


@pytest.fixture(scope="module")
def nearest(tmp_path_factory):
    """A network that tells no details, so that each pixel becomes four."""
    network = trainer.Network(width=8, blocks=1)
    torch.nn.init.zeros_(network.linear.weight)
    return exported(tmp_path_factory.mktemp("nearest"), network)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("tiles", [True, False])
def test_without_details_pixels_are_repeated(nearest, factor, tiles):
    maps = material().only(["albedo", "roughness"])
    found = enlarged(nearest, maps, factor, tiles)
    for name, image in maps.items():
        assert np.abs(found[name] - image.repeat(factor, 0).repeat(factor, 1)).max() < 1e-6


@pytest.mark.parametrize("factor", [2, 4])
def test_all_maps_grow_and_the_relief_with_them(model, factor):
    found, given = enlarged(model, factor=factor), material()
    assert list(found) == list(given) and found.size == (56 * factor, 40 * factor)
    assert found.relief == given.relief * factor
    assert all(image.min() >= 0 and image.max() <= 1 for image in found.values())


def test_what_is_reduced_again_is_what_was_given(model):
    found, given = enlarged(model), material()
    for name in ("albedo", "roughness", "ao"):
        assert np.abs(halved(found[name]) - given[name]).max() < 1e-6
        assert np.abs(found[name] - given[name].repeat(2, 0).repeat(2, 1)).max() > 0.01


@pytest.mark.parametrize("factor", [2, 4])
def test_normals_are_of_unit_length(model, factor):
    normal = enlarged(model, factor=factor)["normal"] * 2 - 1
    assert np.abs((normal**2).sum(-1) - 1).max() < 1e-5 and normal[..., 2].min() > 0


@pytest.mark.parametrize(("factor", "shift"), [(2, (7, -19)), (4, (1, 30))])
def test_the_maps_roll_with_what_is_given(model, factor, shift):
    found = enlarged(model, rolled(material(), *shift), factor)
    assert difference(found, rolled(enlarged(model, factor=factor), *(factor * s for s in shift))) <= 1e-4


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("tiles", [True, False])
def test_tiles_are_the_same_as_one_piece(model, factor, tiles):
    pieces = enlarged(model, factor=factor, tiles=tiles, tile=17)
    assert difference(pieces, enlarged(model, factor=factor, tiles=tiles)) <= 1e-4


def test_maps_that_tile_go_on_tiling(bicubic):
    seams = quality.measure(enlarged(bicubic, factor=4)).seam
    assert all(max(both) <= quality.SEAM_LIMIT for both in seams.values())


def test_a_picture_with_edges_does_not_see_across_them(bicubic):
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 40, dtype=np.float32)[None, :, None], (24, 40, 3))
    open_, closed = (enlarged(bicubic, Maps({"albedo": ramp}), 2, tiles)["albedo"][0] for tiles in (False, True))
    assert np.diff(open_[:, 0]).min() >= 0 and np.diff(closed[:, 0]).min() < -0.01


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("factor", [2, 4])
def test_height_and_normal_agree_and_broad_shapes_stay(bicubic, factor, tiles):
    given, found = material(size=300), enlarged(bicubic, material(size=300), factor, tiles)
    normal = relief.encode(found["height"][..., 0] * found.relief)[0]
    inside = (slice(8, -8), slice(8, -8))  # without edges there is no slope across them
    assert np.abs(normal - found["normal"])[inside].mean() < 0.005
    reduced = halved(found["height"]) if factor == 2 else halved(halved(found["height"]))
    assert np.abs(reduced - given["height"])[inside].mean() < 0.005


def test_the_fine_shapes_of_a_height_are_those_of_the_normals(bicubic):
    fine = smooth(3, 0, 2, size=10)
    broad = smooth(4, 0, 20, size=1000)
    given = Maps({"normal": relief.encode(broad + fine)[0], "height": broad[..., None] / 20}, 20.0)
    height = halved(enlarged(bicubic, given)["height"])[..., 0] * 20
    missing = fine - fine.mean()
    assert np.corrcoef((height - broad).ravel(), missing.ravel())[0, 1] > 0.9


def test_a_height_without_relief_is_measured_by_its_normals(bicubic):
    unknown = enlarged(bicubic, Maps(dict(material())))
    assert unknown.relief == 0
    assert difference(unknown.only(["height"]), enlarged(bicubic)) < 0.02


@pytest.mark.parametrize("wrong", [lambda h: 1 - h, lambda h: np.roll(h, 20, 1)])
def test_a_height_of_another_surface_is_enlarged_by_itself(model, wrong):
    other = wrong(material()["height"])
    both = enlarged(model, Maps({**material(), "height": other}))
    assert difference(enlarged(model, Maps({"height": other})), both) == 0


def test_a_height_alone_is_enlarged(nearest):
    height = material()["height"]
    found = enlarged(nearest, Maps({"height": height}, 3.0))
    assert np.abs(halved(found["height"]) - height).max() < 1e-6 and found.relief == 6


def test_a_map_of_one_value_keeps_it(model):
    flat = np.full((9, 12, 1), 0.3, np.float32)
    found = enlarged(model, Maps({"metallic": flat}), 4)["metallic"]
    assert found.shape == (36, 48, 1) and (found == np.float32(0.3)).all()


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (131, 10)])
@pytest.mark.parametrize("tiles", [True, False])
def test_sides_of_any_length_are_taken(model, size, tiles):
    assert enlarged(model, material(*size), 4, tiles).size == (4 * size[1], 4 * size[0])


def test_the_same_maps_give_the_same_pixels(model):
    assert difference(enlarged(model, factor=4), enlarged(model, factor=4)) == 0


@pytest.mark.parametrize("factor", [2, 4])
def test_progress_grows(model, factor):
    told = finish(upscale.enlarge(*model, material(), factor, True, Options(tile=20)))[1]
    assert told == sorted(told) and 0 < told[0] < 0.1 and 0.9 < told[-1] <= 1


@pytest.mark.parametrize("factor", [0, 1, 3, 8, -2])
def test_other_factors_are_refused(model, factor):
    with pytest.raises(InputError, match="choose 2 or 4"):
        enlarged(model, factor=factor)


def test_no_maps_are_refused(model):
    with pytest.raises(InputError, match="no map to enlarge"):
        enlarged(model, Maps({}))


def test_maps_too_small_are_refused(model):
    with pytest.raises(InputError, match="from 8"):
        enlarged(model, material(7, 64))


def test_results_too_large_are_refused(model):
    wide = Maps({"ao": np.broadcast_to(np.float32(0.5), (8, LARGEST // 4 + 1, 1))})
    with pytest.raises(InputError, match="smaller factor"):
        enlarged(model, wide, 4)


def test_a_graph_that_does_not_double_is_a_model_error(model):
    class Same:
        def run(self, feeds):
            return [feeds["pixels"]]

    with pytest.raises(ModelError, match="double"):
        enlarged((model[0], Same()))


def test_training_starts_at_bicubic_interpolation_that_agrees_with_what_is_given(bicubic):
    given = Maps({"albedo": material(size=5)["albedo"]})
    pair = upscale_judge.Pair(given, given, 2, tiles=True)
    theirs = upscale_judge.interpolated(pair, Image.Resampling.BICUBIC)["albedo"]
    theirs = theirs + (given["albedo"] - halved(theirs)).repeat(2, 0).repeat(2, 1)
    assert np.abs(enlarged(bicubic, given)["albedo"] - theirs).max() < 1e-3  # weights are stored in half precision


def test_interpolation_is_aligned_and_wraps():
    columns = (np.arange(64) + 0.5) * 2 * np.pi / 64
    wave = np.broadcast_to((0.5 + 0.3 * np.cos(columns))[None, :, None], (32, 64, 1)).astype(np.float32)
    given = Maps({"ao": halved(wave)})
    for kind in upscale_judge.FILTERS.values():
        made = upscale_judge.interpolated(upscale_judge.Pair(given, given, 2, tiles=True), kind)["ao"]
        assert np.abs(made - wave).max() < 2e-3


def test_some_crops_are_enlarged_from_what_the_network_made():
    s = trainer.Settings("", twice=0.5, other=0.0)
    network = trainer.Network(8, 1)
    true = torch.rand(4, 3, 32, 32)
    given = trainer.reduced(network, true, s)
    halves = torch.nn.functional.avg_pool2d(true, 2)
    assert (given[2:] - halves[2:]).abs().max() < 0.003 and (given[:2] - halves[:2]).abs().mean() > 0.02


def test_a_smooth_crop_counts_as_much_as_a_rough_one():
    true = torch.zeros(2, 3, 32, 32)
    for worse in ((0.02, 0.2), (0.01, 0.4)):  # twice the error here, half of it there
        made = torch.tensor(worse)[:, None, None, None].expand_as(true)
        assert abs(float(trainer.loss_of(made, true)) - np.log(0.02 * 0.2)) < 0.01


def photographs(folder):
    """Two small materials with maps."""
    for seed, name in enumerate(("One", "Two")):
        (folder / name).mkdir(parents=True)
        maps = material(96, 96, seed, size=20)
        for kind, image in {"color": maps["albedo"], **maps.only(["normal", "roughness", "ao"])}.items():
            pixels = np.rint(image * 255).astype(np.uint8)
            Image.fromarray(pixels if image.shape[2] == 3 else pixels[..., 0]).save(folder / name / f"{kind}.png")
    return folder


def test_a_material_is_reduced_by_means(tmp_path):
    files = photos.find_materials(photographs(tmp_path))[0]
    pair = upscale_judge.reduced(photos.load(files, 96), 4)
    assert pair.given.size == (24, 24) and list(pair.given) == ["albedo", "normal", "roughness", "ao"]
    means = halved(halved(pair.true["albedo"]))
    assert np.abs(pair.given["albedo"] - means).max() < 0.003


def test_a_run_is_resumed_judged_and_exported(tmp_path, capsys):
    data, run = photographs(tmp_path / "photos"), tmp_path / "run"
    common = ["--data", str(data), "--run", str(run)]
    small = ["--crop", "48", "--batch", "4", "--width", "8", "--blocks", "1", "--quiet"]
    for steps in ("2", "3"):
        trainer.main(["train", *common, *small, "--steps", steps])
    assert trainer.training.load_checkpoint(run / "checkpoint.pt")["step"] == 3
    assert len(list(run.glob("sheet_*.png"))) == 2
    (run / "held_out.json").write_text('["One"]')
    trainer.main(["judge", *common])
    figures = json.loads(capsys.readouterr().out)
    assert figures["x4_albedo_psnr"] < figures["x2_albedo_psnr"] and figures["x2_normal_deg_bicubic"] > 0
    assert (run / "held_out_x2.png").is_file() and (run / "held_out_x4.png").is_file()
    trainer.main(["export", *common, "--out", str(tmp_path / "upscale.onnx")])
    card, runner = opened(tmp_path / "upscale.onnx")
    assert card.training["steps"] == 3 and str(tmp_path) not in card.to_json()
    given = trainer.sample(20, 33, card.size.halo)
    theirs = trainer.Graph(trainer.load_average(run))(given["pixels"]).detach().numpy()
    assert np.abs(runner.run({"pixels": given["pixels"].numpy()})[0] - theirs).max() < 1e-3


def test_a_dry_run_prints_the_settings_and_writes_nothing(tmp_path, capsys):
    trainer.main(["train", "--data", "photos", "--run", str(tmp_path / "run"), "--dry-run"])
    assert "twice" in capsys.readouterr().out and not (tmp_path / "run").exists()


def test_photos_smaller_than_a_crop_are_told():
    small = photos.Material("x", "", True, np.zeros((8, 32, 32), np.uint8), np.ones(8, bool))
    with pytest.raises(ValueError, match="smaller crop"):
        trainer.Pictures([small], trainer.Settings("", crop=64), 1)


def pebbles(side=192):
    """Shaded discs on the torus (S, S, 3), drawn four times as large and reduced."""
    random, large = np.random.default_rng(2), 4 * side
    rows, columns = np.mgrid[:large, :large].astype(np.float32)
    picture = np.full((large, large, 3), 0.2, np.float32)
    for _ in range(150):
        y, x, radius, grey = *random.uniform(0, large, 2), random.uniform(16, 60), random.uniform(0.35, 0.85)
        far = [(line - at + large / 2) % large - large / 2 for line, at in ((rows, y), (columns, x))]
        inside = np.hypot(*far) < radius
        tint = grey * random.uniform(0.9, 1.1, 3)
        picture[inside] = (tint * (1 - 0.3 * (far[0] + far[1]) / radius)[..., None])[inside]
    return halved(halved(np.clip(picture, 0, 1)))


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"{SHIPPED.name} is not there; export it first")
@pytest.mark.parametrize("factor", [2, 4])
def test_the_shipped_network_beats_interpolation_on_what_is_no_photo(factor):
    true = pebbles()
    small = halved(true) if factor == 2 else halved(halved(true))
    pair = upscale_judge.Pair(Maps({"albedo": true}), Maps({"albedo": small}), factor, tiles=True)
    made = enlarged(opened(SHIPPED), pair.given, factor)
    theirs = [upscale_judge.interpolated(pair, kind) for kind in upscale_judge.FILTERS.values()]
    errors = [float(((maps["albedo"] - true) ** 2).mean()) for maps in (made, *theirs)]
    assert errors[0] < 0.8 * min(errors[1:])
