import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import opened

from core import relief
from core.card import Card, SizeRule
from core.errors import InputError, ModelError
from core.families import material_maps
from core.families.material_maps import Options
from core.library import BUNDLED
from core.maps import Maps
from export import maps_judge, reliefs, relighting
from export import material_maps as trainer

SHIPPED = BUNDLED / "material_maps.onnx"
MADE = ("albedo", "normal", "height", "roughness", "ao")


def smooth(seed, low, high, height=96, width=136, size=300):
    """Smooth noise on the torus `(H, W)`, from `low` to `high`."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) * size), s=(height, width))
    return ((field - field.min()) / np.ptp(field) * (high - low) + low).astype(np.float32)


def picture(seed=1, height=96, width=136, size=300):
    """A smooth colour picture `(H, W, 3)` on the torus."""
    return np.stack([smooth(seed + i, 0.1, 0.9, height, width, size) for i in range(3)], -1)


def finish(steps):
    """The maps of a step of work, and the progress that it told on the way."""
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def derived(model, albedo=None, tiles=True, **options):
    albedo = picture() if albedo is None else albedo
    return finish(material_maps.derive(*model, albedo, tiles, Options(**options)))[0]


def difference(maps, others):
    return max(float(np.abs(image - others[name]).max()) for name, image in maps.items())


def rolled(maps, *shift):
    return Maps({name: np.roll(image, shift, (0, 1)) for name, image in maps.items()}, maps.relief)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of random weights, exported as the shipped one is: (card, runner)."""
    torch.manual_seed(1)
    network = trainer.Network(width=12, deep=12)
    torch.nn.init.normal_(network.leave.weight, std=0.1)
    path = tmp_path_factory.mktemp("models") / "material_maps.onnx"
    trainer.write_model(network, path, data="none")
    return opened(path)


def test_the_model_is_listed_and_tells_its_maps(model):
    assert model[0].family == "material_maps" and model[0].maps == MADE


@pytest.mark.parametrize("tiles", [True, False])
def test_all_maps_are_made_in_range(model, tiles):
    maps = derived(model, tiles=tiles)
    assert tuple(sorted(maps)) == tuple(sorted(MADE)) and maps.size == (136, 96)
    assert all(image.min() >= 0 and image.max() <= 1 for image in maps.values())


@pytest.mark.parametrize("tiles", [True, False])
def test_normal_and_height_agree(model, tiles):
    maps = derived(model, tiles=tiles)
    heights = maps["height"][..., 0] * maps.relief
    normal = relief.encode(heights)[0]
    assert np.abs(normal - maps["normal"])[1:-1, 1:-1].max() < 1e-4 and np.ptp(heights) > 0.1


@pytest.mark.parametrize("tiles", [True, False])
def test_tiles_are_the_same_as_one_piece(model, tiles):
    assert difference(derived(model, tiles=tiles, tile=40), derived(model, tiles=tiles)) <= 1e-4


@pytest.mark.parametrize("shift", [(16, -48), (40, 64)])
def test_the_maps_roll_with_the_picture(model, shift):
    found = derived(model, np.roll(picture(), shift, (0, 1)))
    assert difference(found, rolled(derived(model), *shift)) <= 1e-4


def wrap_over_others(planes, axis):
    """The step over the edge of (C, H, W), over the largest within: cells of random networks have borders, too."""
    steps = np.abs(np.diff(planes, axis=axis, append=planes.take([0], axis))).mean((0, 3 - axis))
    return steps[-1] / steps[:-1].max()


@pytest.mark.parametrize("name", MADE)
def test_maps_of_a_picture_that_tiles_tile(model, name):
    planes = derived(model)[name].transpose(2, 0, 1)
    assert max(wrap_over_others(planes, axis) for axis in (1, 2)) <= 1.1


def test_strength_makes_slopes_steeper(model):
    reliefs = [derived(model, strength=strength).relief for strength in (0, 0.5, 1)]
    assert reliefs[0] == 0 and 1.9 < reliefs[2] / reliefs[1] < 2.1


def test_without_delight_the_albedo_is_the_picture(model):
    assert (derived(model, delight=0)["albedo"] == picture()).all()
    assert np.abs(derived(model)["albedo"] - picture()).max() > 0.01


def test_progress_grows(model):
    told = finish(material_maps.derive(*model, picture(), True, Options(tile=40)))[1]
    assert told == sorted(told) and 0 < told[0] < told[-1] <= 1


@pytest.mark.parametrize("size", [(16, 16), (24, 264)])
def test_pictures_smaller_than_the_halo_are_taken(model, size):
    for tiles in (True, False):
        assert derived(model, picture(1, *size), tiles).size == size[::-1]


@pytest.mark.parametrize("size", [(60, 64), (64, 4), (8, 8)])
def test_sizes_off_the_grid_are_refused(model, size):
    with pytest.raises(InputError, match="multiple of 8"):
        derived(model, picture(1, *size))


@pytest.mark.parametrize("wrong", [{"strength": -1}, {"strength": float("nan")}, {"delight": 2}])
def test_options_out_of_range_are_refused(model, wrong):
    with pytest.raises(InputError, match="from 0 to"):
        derived(model, **wrong)


def test_a_halo_off_the_grid_is_a_model_error(model):
    card = Card("material_maps", "odd", MADE, SizeRule(8, 16, 111), "CC0-1.0", "none")
    with pytest.raises(ModelError, match="halo"):
        derived((card, model[1]))


def planes(seed=1, size=64):
    """Planes (8, S, S) of a material of soft bumps."""
    normal = relief.encode(smooth(seed, 0, 8, size, size))[0]
    made = np.full((8, size, size), 0.5, np.float32)
    made[3:5] = normal[..., :2].transpose(2, 0, 1)
    made[6], made[7] = 1, 0
    return made


def test_light_comes_from_where_it_stands():
    lit = relighting.lit(planes(), relighting.Light(0, np.radians(45), 0.2))[0]
    right, left = planes()[3] > 0.6, planes()[3] < 0.4
    assert lit[right].min() > 0.5 > lit[left].max()


def test_flat_surfaces_keep_their_colour_under_any_light():
    flat = planes()
    flat[3:5] = 0.5
    for light in maps_judge.LIGHTS:
        assert np.abs(relighting.lit(flat, light) - flat[:3]).max() < 2e-3


@pytest.mark.parametrize("seed", range(8))
def test_turned_normals_are_those_of_the_turned_surface(seed):
    surface = smooth(5, 0, 8, 64, 64)
    both = planes()
    both[0] = surface
    both[3:5] = relief.encode(surface)[0][..., :2].transpose(2, 0, 1)
    made = relighting.turned(both, np.random.default_rng(seed))
    assert np.abs(relief.encode(made[0])[0][..., :2].transpose(2, 0, 1) - made[3:5]).max() < 1e-5


def test_an_untrained_network_tells_the_slopes_of_a_ramp():
    ramp = torch.arange(64) * 0.01 * torch.ones(1, 3, 64, 64)
    made = trainer.Network(8, 8)(ramp)[0, 3:5, 16:-16, 16:-16].detach()
    share = sum(share for _, _, share in trainer.GRADIENTS)
    assert torch.allclose(made[0], torch.tensor(0.5 - 0.005 * share), atol=1e-4) and (made[1] - 0.5).abs().max() < 1e-4


def test_reliefs_that_lie_on_each_other_add_their_slopes():
    flat, bent = np.full((2, 64, 64), 0.5, np.float32), planes()[3:5]
    assert np.abs(relighting.overlaid(bent, flat) - bent).max() < 1e-5
    doubled = relief.slopes(*relighting.overlaid(bent, bent))[0]
    assert np.abs(doubled - 2 * relief.slopes(*bent)[0]).max() < 1e-3


@pytest.mark.parametrize("number", range(len(reliefs.KINDS)))
def test_drawn_reliefs_tile_and_are_not_flat(number, monkeypatch):
    monkeypatch.setattr(reliefs, "KINDS", reliefs.KINDS[number : number + 1])
    made = reliefs.build(np.random.default_rng(number), 96)
    planes = np.concatenate([made.planes, made.tint])
    assert max(wrap_over_others(planes, axis) for axis in (1, 2)) <= 1.3
    assert made.planes[:2].std() > 0.01 and made.planes.min() >= 0 and made.planes.max() <= 1


def test_sobel_finds_the_slopes_of_a_ramp():
    wave = np.sin(2 * np.pi * np.arange(64) / 64).astype(np.float32)
    across, down = maps_judge.sobel(np.broadcast_to(wave, (3, 64, 64)), True)
    assert np.abs(down).max() < 1e-6 and np.abs(across[5] - np.gradient(wave))[1:-1].max() < 1e-5


def materials(folder):
    """Two small materials with maps."""
    for seed, name in enumerate(("One", "Two")):
        (folder / name).mkdir(parents=True)
        surface = smooth(seed, 0, 6, 96, 96)
        grey = {
            "height": surface / 6,
            "roughness": smooth(seed + 5, 0.2, 0.8, 96, 96),
            "ao": smooth(seed + 6, 0.5, 1, 96, 96),
        }
        images = {"color": picture(seed, 96, 96), "normal": relief.encode(surface)[0], **grey}
        for kind, image in images.items():
            Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(folder / name / f"{kind}.png")
    return folder


def test_a_run_is_resumed_judged_and_exported(tmp_path, capsys):
    data, run = materials(tmp_path / "photos"), tmp_path / "run"
    common = ["--data", str(data), "--run", str(run)]
    small = ["--crop", "64", "--batch", "2", "--width", "8", "--deep", "8", "--quiet"]
    for steps in ("2", "3"):
        trainer.main(["train", *common, *small, "--steps", steps])
    assert trainer.training.load_checkpoint(run / "checkpoint.pt")["step"] == 3
    assert json.loads((run / "settings.json").read_text())["crop"] == 64
    assert len(list(run.glob("sheet_*.png"))) == 2
    (run / "held_out.json").write_text('["One"]')
    trainer.main(["judge", *common])
    figures = json.loads(capsys.readouterr().out)
    assert figures["normal_angle_sobel_deg"] > 1 and (run / "held_out.png").is_file()
    assert 0 <= figures["height_correlation_luminance"] <= 1 and -1 <= figures["height_correlation"] <= 1
    trainer.main(["export", *common, "--out", str(tmp_path / "material_maps.onnx")])
    card, _ = opened(tmp_path / "material_maps.onnx")
    assert card.training["steps"] == 3 and card.figures["roughness_rmse"] > 0
    assert str(tmp_path) not in card.to_json()


def test_a_dry_run_prints_the_settings_and_writes_nothing(tmp_path, capsys):
    trainer.main(["train", "--data", "photos", "--run", str(tmp_path / "run"), "--dry-run"])
    assert "strange" in capsys.readouterr().out and not (tmp_path / "run").exists()


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"{SHIPPED.name} is not there; export it first")
@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_a_picture_of_one_colour_is_flat(colour):
    maps = derived(opened(SHIPPED), np.full((64, 64, 3), colour, np.float32))
    assert maps["normal"][..., 2].min() > 0.98


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"{SHIPPED.name} is not there; export it first")
def test_the_shipped_network_lays_dark_joints_low():
    plates = np.full((256, 256, 3), 0.6, np.float32)
    joints = (np.arange(256) % 64 < 4)[:, None] | (np.arange(256) % 64 < 4)[None, :]
    plates[joints] = 0.2
    height = derived(opened(SHIPPED), plates)["height"][..., 0]
    assert height[joints].mean() < height[~joints].mean() - 0.1
