import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from tiny_networks import opened, tiny_cell, tiny_codec

from core import motion, quality
from core.errors import InputError, ModelError
from core.families import recurrent
from core.library import BUNDLED
from core.maps import CHANNELS, Maps
from core.variations import with_relief
from export import materials, motions, onnx_model, vae
from export import recurrent as trainer

MOTIONS = ["flow", "growth", "shimmer"]
FRAMES = 6
SHIPPED = [BUNDLED / f"{name}.onnx" for name in MOTIONS if (BUNDLED / f"{name}.onnx").is_file()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def codec(folder):
    return tiny_codec(folder)


@pytest.fixture(scope="module")
def cells(folder):
    return {name: tiny_cell(folder, name) for name in MOTIONS}


def material(height=96, width=128, seed=1):
    random = np.random.default_rng(seed)
    albedo = np.stack([0.5 + 0.12 * motion.smooth(height, width, 24, random) for _ in range(3)], -1)
    return with_relief(Maps({"albedo": np.clip(albedo, 0, 1).astype(np.float32)}))


def frames(cell, codec, count=FRAMES, seed=1, maps=None, coat=None):
    """The maps of all frames, in order."""
    coat = coat or material(seed=2)
    moments = [m for m in recurrent.animate(*cell, codec, maps or material(), count, seed, coat) if m.maps is not None]
    assert [m.frame for m in moments] == list(range(count)) and moments[-1].fraction == 1
    return [m.maps for m in moments]


def steps(sequence, name="albedo"):
    """Mean absolute difference from each frame to the next, the last one from the last frame to the first."""
    return [np.abs(b[name] - a[name]).mean() for a, b in zip(sequence, [*sequence[1:], sequence[0]], strict=True)]


def rolled(maps, rows, columns):
    return Maps({name: np.roll(image, (rows, columns), (0, 1)) for name, image in maps.items()}, maps.relief)


def difference(maps, others):
    return max(float(np.abs(image - others[name]).max()) for name, image in maps.items())


@pytest.mark.parametrize("name", MOTIONS)
def test_every_frame_has_every_map_and_one_scale_of_height(cells, codec, name):
    found = frames(cells[name], codec)
    assert all(list(f) == list(CHANNELS) and f.size == (128, 96) for f in found)
    assert len({f.relief for f in found}) == 1
    assert steps(found)[0] > 0


@pytest.mark.parametrize("name", MOTIONS)
def test_a_seed_makes_one_animation_and_another_seed_another(cells, codec, name):
    first, again, other = (frames(cells[name], codec, seed=seed)[2] for seed in (1, 1, 2))
    assert difference(first, again) == 0 and difference(first, other) > 1e-5


@pytest.mark.parametrize("name", MOTIONS)
def test_tiles_are_the_same_as_the_whole(cells, codec, monkeypatch, name):
    whole = frames(cells[name], codec)
    monkeypatch.setattr(recurrent, "TILE", 13)
    assert max(difference(a, b) for a, b in zip(whole, frames(cells[name], codec), strict=True)) < 1e-3


@pytest.mark.parametrize("name", ["flow", "shimmer"])
def test_a_lap_comes_back_to_where_it_began(cells, name):
    """The state after a second lap is that after the first: what it started from is forgotten.

    A network that spreads a coat has to learn this; see the shipped ones below.
    """
    card, runner = cells[name]
    settings = recurrent._read(card)
    latent = np.random.default_rng(1).standard_normal((1, vae.LATENT, 24, 32), dtype=np.float32)
    lap = recurrent.LAPS[name](24, 32, motion.LAP, np.random.default_rng(1))
    state = np.zeros((1, settings.state, 24, 32), np.float32)
    after = []
    for step in range(2 * lap.steps):
        state, _ = recurrent._turn(card, settings, runner, state, latent, lap.at(step))
        if (step + 1) % lap.steps == 0:
            after.append(state)
    assert np.abs(after[1] - after[0]).max() < 1e-3


@pytest.mark.parametrize("count", [0, 1, -3, 10**6])
def test_a_number_of_frames_out_of_range_is_refused(cells, codec, count):
    with pytest.raises(InputError, match="frames"):
        frames(cells["flow"], codec, count)


def test_growth_without_a_coat_is_refused(cells, codec):
    with pytest.raises(InputError, match="coat"):
        next(recurrent.animate(*cells["growth"], codec, material(), FRAMES, 1))


def test_a_coat_of_another_size_is_refused(cells, codec):
    with pytest.raises(InputError, match="sizes"):
        frames(cells["growth"], codec, coat=material(64, 64))


@pytest.mark.parametrize("wrong", [{"motion": "dance"}, {"state": 0}, {"halo": -1}, {"state": 3}, {"halo": "wide"}])
def test_a_card_with_wrong_settings_is_a_model_error(cells, codec, wrong):
    card, runner = cells["flow"]
    card = replace(card, settings={**card.settings, **wrong})
    with pytest.raises(ModelError):
        next(recurrent.animate(card, runner, codec, material(), FRAMES, 1))


@pytest.mark.parametrize("name", MOTIONS)
@pytest.mark.parametrize(("height", "width"), [(24, 32), (5, 9)])
def test_drives_come_back_after_a_lap(name, height, width):
    lap = recurrent.LAPS[name](height, width, 50, np.random.default_rng(1))
    channels = trainer.DRIVES[name] - (vae.LATENT if name == "growth" else 0)
    assert all(lap.at(step).shape == (1, channels, height, width) for step in range(50))
    assert all(lap.at(step).dtype == np.float32 for step in (0, 7))
    assert np.allclose(lap.at(3), lap.at(53), atol=1e-5)


def test_a_layer_is_renewed_only_where_the_other_hides_it():
    lap = motion.flow(32, 32, 48, np.random.default_rng(1))
    drives = np.concatenate([lap.at(step) for step in range(48)])
    share, first, second = drives[:, 2], drives[:, 3], drives[:, 4]
    assert first.any(0).all() and second.any(0).all()
    assert share[first > 0].min() > 0.9 and share[second > 0].max() < 0.1


def test_no_current_is_faster_than_the_network_sees():
    current = motion.current_of(64, 48, np.random.default_rng(1), speed=3.0)
    assert np.abs(current).max() <= motion.FASTEST + 1e-6
    divergence = (np.roll(current[0], -1, 1) - np.roll(current[0], 1, 1)) + (
        np.roll(current[1], -1, 0) - np.roll(current[1], 1, 0)
    )
    calm = motion.current_of(64, 48, np.random.default_rng(1), speed=0.1)
    assert np.isfinite(divergence).all() and np.abs(calm.mean((1, 2))).max() > 0.01


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of eight small materials, so that the split keeps one out."""
    place = tmp_path_factory.mktemp("data")
    for index in range(8):
        (place / f"stone_{index}").mkdir()
        pixels = np.rint(material(96, 96, index)["albedo"] * 255).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"stone_{index}" / "color.png")
    return place


@pytest.fixture(scope="module")
def codec_run(tmp_path_factory):
    """An untrained codec, as a run keeps it."""
    run = tmp_path_factory.mktemp("codec")
    (run / "settings.json").write_text(json.dumps({"width": 24}))
    torch.save({"average": vae.Codec(24).state_dict()}, run / "checkpoint.pt")
    return run


@pytest.mark.parametrize("name", MOTIONS)
def test_a_run_can_be_resumed_judged_and_exported(data, codec_run, codec, tmp_path, name, monkeypatch):
    monkeypatch.setattr(motions, "KEPT", 2)
    common = ["--data", str(data), "--codec", str(codec_run), "--run", str(tmp_path / name)]
    small = ["--motion", name, "--width", "8", "--side", "12", "--batch", "1", "--unroll", "2", "--quiet"]
    trainer.main(["train", *common, *small, "--steps", "2"])
    trainer.main(["train", *common, *small, "--steps", "4"])
    assert (tmp_path / name / "sheet_000004.png").is_file()
    monkeypatch.setattr(trainer, "JUDGED", (1, 2))
    trainer.main(["export", *common, "--out", str(tmp_path / "models" / f"{name}.onnx")])
    card, runner = opened(tmp_path / "models" / f"{name}.onnx")
    assert card.training["steps"] == 4 and card.figures["psnr_db"] > 0
    assert len(frames((card, runner), codec, 2)) == 2


def teacher(name, data, codec_run):
    codec = vae.load_average(codec_run)
    loaded = [materials.load(f, 512) for f in materials.find_materials(data)]
    return motions.Teacher(name, codec, loaded, 12, 1)


@pytest.mark.parametrize("name", MOTIONS)
def test_clips_have_the_shapes_that_the_network_takes(data, codec_run, name):
    clip = teacher(name, data, codec_run).clip(2, 3)
    assert [s.shape for s in clip.states] == [(2, trainer.STATES[name], 12, 12)] * 4
    assert [m.shape for m in clip.materials] == [(2, trainer.MATERIALS[name], 12, 12)] * 3
    assert [d.shape for d in clip.drives] == [(2, trainer.DRIVES[name], 12, 12)] * 3
    assert [z.shape for z in clip.latents] == [(2, vae.LATENT, 12, 12)] * 3


def test_the_state_of_a_current_follows_its_teacher_exactly(data, codec_run):
    clip = teacher("flow", data, codec_run).clip(2, 3)
    found, _ = trainer.make_cell("flow", 8)(clip.states[0], clip.materials[0], clip.drives[0])
    assert (found - clip.states[1]).abs().max() < 1e-4


def test_a_whole_number_of_cells_moves_a_latent_exactly():
    latent = torch.randn(1, 3, 8, 9)
    shift = torch.tensor([2.0, -1.0])[None, :, None, None].expand(1, 2, 8, 9)
    assert torch.equal(motions.gathered(latent, shift)[:, :3], latent.roll((1, -2), (2, 3)))


def test_pixels_moved_by_whole_pixels_are_the_pixels_rolled():
    pixels = torch.rand(1, 8, 16, 20) * 0.4 + 0.3
    shift = torch.tensor([3.0, -2.0])[None, :, None, None].expand(1, 2, 16, 20)
    assert (motions.deform(pixels, shift) - pixels.roll((2, -3), (2, 3))).abs().max() < 1e-4


def test_waves_die_down_within_a_lap():
    state = torch.zeros(1, 2, 24, 24)
    state[0, 0, 5, 7] = -1
    for _ in range(motion.LAP):
        state = motions.swing(state, torch.zeros(1, 1, 24, 24))
    assert state.abs().max() < 0.02


def test_a_coat_grows_with_the_tide_and_withdraws_within_a_lap():
    random = np.random.default_rng(1)
    ground = torch.from_numpy(np.stack(motion.ground_of(32, 32, random)))[None]
    state, covered = torch.zeros(1, 2, 32, 32), []
    for step in range(motion.LAP):
        tide = torch.full((1, 1, 32, 32), motion.tide(step / motion.LAP))
        state = motions.spread(state, tide, ground, torch.zeros(1, 1, 32, 32))
        covered.append(float((state[:, 0] > 0.5).float().mean()))
    assert max(covered) > 0.5 and covered[-1] < 0.01


@pytest.mark.skipif(not SHIPPED, reason="no recurrent model is there; export it first")
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_model_loops_and_tiles(path):
    found = frames(opened(path), opened(BUNDLED / "codec.onnx"), 12)
    for name in ("albedo", "normal", "height", "roughness"):
        between = steps(found, name)
        assert between[-1] < 2 * np.mean(between[:-1]) and max(between) < 3 * np.mean(between)
    sheet = quality.measure(found[5])
    assert max(max(pair) for pair in sheet.seam.values()) < 1.2


def test_a_file_written_anew_moves_as_before_and_keeps_its_card(tmp_path):
    before, path = tiny_cell(tmp_path, "flow"), tmp_path / "flow.onnx"
    feeds = {name: tensor.numpy() for name, tensor in trainer.samples("flow")[0].items()}
    trainer.renew(path)
    after = opened(path)
    assert after[0] == before[0]
    for old, new in zip(before[1].run(feeds), after[1].run(feeds), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)


def test_a_file_that_would_change_is_left_alone(tmp_path):
    tiny_cell(tmp_path, "flow")
    path = tmp_path / "flow.onnx"
    model = onnx.load(path)
    bend = next(node for node in model.graph.node if node.op_type == "LeakyRelu")
    bend.attribute[0].f = 0.3
    onnx.save(model, path)
    before = path.read_bytes()
    with pytest.raises(onnx_model.NotEqualError, match="would change"):
        trainer.renew(path)
    assert path.read_bytes() == before
