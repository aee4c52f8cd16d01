import dataclasses
import json

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from tiny import command
from torch import nn

from core import quality
from core.folders import read_folder
from core.library import Library
from core.onnx_file import read_tensor
from export import materials, onnx_model, texture_gan, training, vae

SIDE = 64
NAMINGS = {
    "Brick_1K-JPG": {"color": "Brick_1K_Color", "dx": "Brick_1K_NormalDX", "arm": ""},
    "brick_wall": {"color": "brick_wall_diff_1k", "gl": "brick_wall_nor_gl_1k", "arm": "brick_wall_arm_1k"},
    "ours": {"color": "color", "gl": "normal", "arm": ""},
    "crooked": {"color": "color", "dx": "normal_dx", "arm": ""},
}
APART = {  # where there is no arm
    "Brick_1K-JPG": ("Brick_1K_AmbientOcclusion", "Brick_1K_Roughness", "Brick_1K_Metalness"),
    "ours": ("ao", "roughness", "metallic"),
    "crooked": ("ao", "rough", "metal"),
}


def picture(height=SIDE, width=SIDE, seed=1):
    """(8, H, W) uint8: every plane of a material, smooth but for a little grain, on the torus."""
    random = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    soft = np.exp(-(rows**2 + columns**2) * 200) + 0.02
    field = np.fft.irfft2(np.fft.rfft2(random.standard_normal((8, height, width))) * soft, s=(height, width))
    return np.clip(128 + 40 * field / field.std((1, 2), keepdims=True), 0, 255).astype(np.uint8)


def jpeg(path, *planes):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = planes[0] if len(planes) == 1 else np.stack(planes, -1)
    Image.fromarray(pixels).save(path.with_suffix(".jpg"), quality=100, subsampling=0)


def save(folder, planes, color, arm, gl="", dx=""):
    """A material in a naming; the three data maps are packed if `arm` is a name."""
    flat = np.full_like(planes[0], 255)
    jpeg(folder / color, *planes[:3])
    if gl:
        jpeg(folder / gl, *planes[3:5], flat)
    if dx:
        jpeg(folder / dx, planes[3], 255 - planes[4], flat)
    if arm:
        jpeg(folder / arm, planes[6], planes[5], planes[7])
    else:
        for name, index in zip(APART[folder.name], (6, 5, 7), strict=True):
            jpeg(folder / name, planes[index])


def data(folder, alike=True, **size):
    """Four materials in four namings; `alike` makes them all of one picture."""
    for seed, (name, naming) in enumerate(NAMINGS.items()):
        save(folder / name, picture(seed=1 if alike else seed, **size), **naming)
    return folder


def loaded(folder, longest=SIDE):
    return {f.name: materials.load(f, longest) for f in materials.find_materials(folder)}


@pytest.mark.parametrize("name", NAMINGS)
def test_every_naming_reads_alike(tmp_path, name):
    found = loaded(data(tmp_path))[name]
    assert np.abs(found.pixels.astype(int) - picture()).max() <= 6  # JPEG
    assert found.known.all() and found.seamless and found.category == ""


def test_a_wide_photo_is_reduced_and_keeps_its_shape(tmp_path):
    found = loaded(data(tmp_path, height=80, width=200), longest=100)["ours"]
    assert found.pixels.shape == (8, 40, 96)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    save(tmp_path / "ours", picture(), **NAMINGS["ours"])
    (tmp_path / "ours" / "roughness.jpg").unlink()
    wide = np.linspace(0, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
    Image.fromarray(wide).save(tmp_path / "ours" / "roughness.png")
    found = loaded(tmp_path)["ours"].pixels[5]
    assert np.abs(found.astype(int) - wide // 257).max() <= 1


def test_a_manifest_tells_category_and_whether_a_photo_tiles(tmp_path):
    data(tmp_path)
    (tmp_path / "manifest.csv").write_text("material_id,category,seamless_robust\nours,wood,no\n")
    found = loaded(tmp_path)
    assert (found["ours"].category, found["ours"].seamless) == ("wood", False)
    assert (found["crooked"].category, found["crooked"].seamless) == ("", True)


def test_what_is_not_there_is_neutral_and_unknown(tmp_path):
    jpeg(tmp_path / "stone" / "color", *picture()[:3])
    found = loaded(tmp_path)["stone"]
    assert found.known.tolist() == [True] * 3 + [False] * 5
    assert np.allclose(found.pixels[3:, 0, 0] / 255, materials.NEUTRAL[3:], atol=0.005)


def test_wood_without_a_map_is_known_to_be_no_metal(tmp_path):
    jpeg(tmp_path / "oak" / "color", *picture()[:3])
    (tmp_path / "manifest.csv").write_text("material_id,category\noak,wood\n")
    found = loaded(tmp_path)["oak"]
    assert found.known[7] and (found.pixels[7] == 0).all()


def test_pictures_that_are_no_maps_are_left_alone(tmp_path):
    jpeg(tmp_path / "stone" / "stone_preview", *picture()[:3])
    (tmp_path / "stone" / "color.txt").write_text("blue")
    assert materials.find_materials(tmp_path) == []


def material(seamless):
    return materials.Material("x", "", seamless, picture(), np.ones(8, bool))


@pytest.mark.parametrize("seamless", [True, False])
def test_crops_wrap_only_where_the_photo_tiles(seamless):
    tiled = np.tile(picture(), (1, 2, 2))
    places = np.lib.stride_tricks.sliding_window_view(tiled[0], (48, 48))[:SIDE, :SIDE]
    random = np.random.default_rng(0)
    corners = []
    for _ in range(20):
        crop = materials.random_crop(material(seamless), 48, random)
        corners.append(np.argwhere((places == crop[0]).all((2, 3)))[0])
    assert (np.max(corners) > SIDE - 48) == seamless


def test_photos_smaller_than_a_crop_are_told_and_not_waited_for():
    with pytest.raises(ValueError, match="smaller crop"):
        materials.Crops([material(True)], SIDE + 1, seed=1)


def loss(pixels, known, seed=1):
    """The codec's loss for given pixels, with the same weights and the same chance each time."""
    torch.manual_seed(seed)
    codec = vae.Codec(width=24)
    return vae.loss_of(codec, pixels, known, vae.Settings("", forget=0.0))[0].item()


def test_unknown_planes_do_not_change_the_loss():
    pixels, known = torch.rand(2, 8, 32, 32), torch.ones(2, 8, 1, 1)
    known[:, 5:] = 0
    other = pixels.clone()
    other[:, 5:] = torch.rand(2, 3, 32, 32)
    assert loss(pixels, known) == loss(other, known)
    assert loss(pixels, torch.ones_like(known)) != loss(other, torch.ones_like(known))


class Plain(nn.Module):
    """A convolution, and beside it a constant that is large enough to be halved."""

    def __init__(self, broken=False):
        super().__init__()
        self.memory = nn.Parameter(torch.rand(30, 4))
        self.look = nn.Conv2d(4, 8, 3)
        self.broken = broken

    def forward(self, cells):
        x = self.look(self.memory[cells].permute(0, 3, 1, 2))
        # Tracing keeps the number it saw.
        return x + (float(x.mean()) if self.broken else 0)


def exported(network):
    samples = [{"cells": torch.randint(30, (1, h, w))} for h, w in ((6, 8), (7, 5))]
    free = {"cells": {1: "h", 2: "w"}, "made": {2: "H", 3: "W"}}
    return onnx_model.export_graph(network, samples, ["made"], free), samples


def test_a_graph_that_differs_from_its_network_is_refused():
    with pytest.raises(onnx_model.NotEqualError, match="differ"):
        exported(Plain(broken=True))


def test_halved_weights_are_nearly_the_same_and_the_memory_keeps_its_name(tmp_path):
    network = Plain()
    model, samples = exported(network)
    half = onnx_model.halve_weights(model)
    onnx.save(half, tmp_path / "half.onnx")
    stored = read_tensor(tmp_path / "half.onnx", "memory")
    assert stored.dtype == np.float16 and np.allclose(stored, network.memory.detach(), atol=1e-3)
    assert 0 < max(onnx_model.compare(network, half, feeds) for feeds in samples) < 0.01


def test_only_large_constants_are_halved():
    kinds = {
        t.name: numpy_helper.to_array(t).dtype for t in onnx_model.halve_weights(exported(Plain())[0]).graph.initializer
    }
    assert kinds["look.bias"] == np.float32 and kinds["look.weight_half"] == np.float16


class Trained:
    """Both trainers, run for a few steps, stopped, run on, and exported."""

    TINY = ("--longest", SIDE, "--batch", 2, "--quiet")

    def __init__(self, folder):
        self.folder, self.photos = folder, data(folder / "photos", alike=False)
        self.codec, self.gan, self.models = folder / "codec", folder / "gan", folder / "models"

    def train_codec(self, steps):
        self._call(vae, "train", "--run", self.codec, *self.TINY, "--crop", 32, "--width", 24, "--steps", steps)
        return self.step(self.codec)

    def train_gan(self, steps):
        small = ("--window", 8, "--adversary-from", 1, "--layouts", 1, "--width", 16, "--judge-width", 8, "--atlas", "")
        run = ("--run", self.gan, "--codec", self.codec, "--steps", steps)
        self._call(texture_gan, "train", *run, *self.TINY, *small)
        return self.step(self.gan)

    def export(self):
        self._call(vae, "export", "--run", self.codec, "--out", self.models / "codec.onnx")
        out = ("--out", self.models / "tiny.onnx", "--name", "tiny")
        self._call(texture_gan, "export", "--run", self.gan, "--codec", self.codec, *out)
        ours = [model for model in Library([self.models]).models() if model.path.parent == self.models]
        return {model.card.name: model.card for model in ours}

    def step(self, run):
        """How far a run's checkpoint is."""
        return training.load_checkpoint(run / "checkpoint.pt")["step"]

    def _call(self, trainer, *words):
        trainer.main([str(word) for word in (words[0], "--data", self.photos, *words[1:])])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Its steps so far, and the cards of what was exported."""
    made = Trained(tmp_path_factory.mktemp("trained"))
    made.steps = [made.train_codec(3), made.train_codec(5), made.train_gan(3), made.train_gan(5)]
    made.cards = made.export()
    return made


def test_a_training_run_stops_and_goes_on_where_it_was(trained):
    assert trained.steps == [3, 5, 3, 5]


@pytest.mark.parametrize("run", ["codec", "gan"])
def test_a_run_holds_its_settings_and_finite_weights(trained, run):
    folder = trained.folder / run
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["steps"], settings["batch"]) == (5, 2)
    weights = training.load_checkpoint(folder / "checkpoint.pt")["average"]
    assert all(torch.isfinite(w).all() for w in weights.values())


def test_exported_models_are_listed_with_what_they_make(trained):
    codec, gan = trained.cards["codec"], trained.cards["tiny"]
    assert (codec.family, gan.family) == ("vae", "texture_gan")
    assert [m.name for m in gan.materials] == sorted(texture_gan.plain_name(name) for name in NAMINGS)
    assert gan.training["steps"] == codec.training["steps"] == 5
    assert np.isfinite(list(codec.figures.values())).all() and 0 < gan.figures["largest_rounding_difference"] < 0.1


def test_cards_name_no_folder_of_the_machine_they_were_made_on(trained):
    assert all(str(trained.folder) not in card.to_json() for card in trained.cards.values())


def test_an_exported_model_generates_files_that_tile(trained, tmp_path):
    words = ("generate", "ours", "--models", trained.models, "--model", "tiny", "--size", "128x64", "--out", tmp_path)
    done = command(*words, "--provider", "cpu")
    assert done.returncode == 0, done.stderr
    sheet = quality.measure(read_folder(tmp_path))
    seams = [figure for both in sheet.seam.values() for figure in both]
    # So few and so blocky pixels have no usual line: one or two may be above the limit, as where nothing is a seam.
    assert sheet.size == (128, 64) and np.mean(np.array(seams) > quality.SEAM_LIMIT) < 0.3


def test_a_photo_smaller_than_a_crop_is_refused_unless_it_tiles():
    bank = object.__new__(texture_gan.Bank)
    bank.entries = [texture_gan.Entry("wall", "Wall", "", 1.0)]
    bank.latents, bank.seamless = [torch.zeros(vae.LATENT, 16, 40)], [True]
    bank.check_sizes(9)
    bank.seamless = [False]
    with pytest.raises(ValueError, match=r"Wall.*--window"):
        bank.check_sizes(9)


@pytest.mark.parametrize("trainer", [vae, texture_gan])
def test_a_dry_run_prints_every_setting_and_writes_nothing(trainer, tmp_path, capsys):
    words = ["train", "--data", "photos", "--run", str(tmp_path / "run"), "--dry-run", "--steps", "12"]
    trainer.main([*words, *(["--codec", "codec"] if trainer is texture_gan else [])])
    shown = capsys.readouterr().out
    assert "12" in shown and all(f.name in shown for f in dataclasses.fields(trainer.Settings))
    assert list(tmp_path.iterdir()) == []
