import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import opened

from core import filling
from core.card import Card, SizeRule
from core.errors import InputError, ModelError
from core.families import restore
from core.families.restore import Options
from core.library import BUNDLED
from export import damage, restore_judge
from export import restore as trainer

SHIPPED = BUNDLED / "restore.onnx"


def picture(seed=1, height=96, width=136, size=60):
    """A smooth colour picture `(H, W, 3)` on the torus, in [0.1, 0.9]."""
    rows, columns = np.fft.fftfreq(height)[:, None, None], np.fft.rfftfreq(width)[None, :, None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width, 3)), axes=(0, 1))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) * size), s=(height, width), axes=(0, 1))
    return ((field - field.min()) / np.ptp(field) * 0.8 + 0.1).astype(np.float32)


def holes(height=96, width=136):
    """A cross, as of a rolled picture, and a spot."""
    hole = np.zeros((height, width), bool)
    hole[height // 2 - 3 : height // 2 + 3] = hole[:, 60:66] = hole[:9, :14] = True
    return hole


def finish(steps):
    """The picture of a step of work, and the progress that it told on the way."""
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return end.value, told


def healed(model, image=None, mask=None, denoise=0.0, tiles=True, **options):
    image = picture() if image is None else image
    return finish(restore.heal(*model, image, mask, denoise, tiles, Options(**options)))[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of random weights, exported as the shipped one is: (card, runner)."""
    torch.manual_seed(1)
    network = trainer.Network(width=8, deep=8)
    torch.nn.init.normal_(network.leave.weight, std=0.05)
    path = tmp_path_factory.mktemp("models") / "restore.onnx"
    trainer.write_model(network, path, data="none")
    return opened(path)


@pytest.mark.parametrize("mask", [None, np.zeros((96, 136), bool), np.zeros((96, 136), np.float32)])
def test_with_nothing_to_do_the_picture_comes_back(model, mask):
    assert (healed(model, mask=mask) == picture()).all()


@pytest.mark.parametrize("tiles", [True, False])
def test_only_holes_change_without_denoising(model, tiles):
    changed = (healed(model, mask=holes(), tiles=tiles) != picture()).any(2)
    assert not changed[~holes()].any() and changed[holes()].mean() > 0.9


def test_what_stands_in_a_hole_does_not_matter(model):
    other = np.where(holes()[..., None], np.float32(0.3), picture())
    assert np.abs(healed(model, other, holes()) - healed(model, mask=holes())).max() < 1e-6


def test_a_soft_mask_mixes_what_is_found_with_what_was_there(model):
    half = healed(model, mask=holes() * np.float32(0.5))
    assert np.allclose(half, (picture() + healed(model, mask=holes())) / 2, atol=1e-6)


def test_denoising_changes_all_and_begins_at_nothing(model):
    changes = [np.abs(healed(model, denoise=d) - picture()).mean() for d in (0, 1e-4, 0.05, 0.1)]
    assert changes[0] == 0 and changes[1] < 1e-3 * changes[3] and 0.3 < changes[2] / changes[3] < 0.7


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("denoise", [0.0, 0.5])
def test_tiles_are_the_same_as_one_piece(model, tiles, denoise):
    pieces = healed(model, mask=holes(), denoise=denoise, tiles=tiles, tile=40)
    assert np.abs(pieces - healed(model, mask=holes(), denoise=denoise, tiles=tiles)).max() < 1e-5


@pytest.mark.parametrize("shift", [(16, -48), (40, 64)])
def test_the_picture_rolls(model, shift):
    rolled = [np.roll(image, shift, (0, 1)) for image in (picture(), holes())]
    expected = np.roll(healed(model, mask=holes(), denoise=0.3), shift, (0, 1))
    assert np.abs(healed(model, *rolled, denoise=0.3) - expected).max() < 1e-5


@pytest.mark.parametrize("size", [(61, 45), (1, 3), (16, 200)])
def test_pictures_with_edges_have_any_size(model, size):
    mask = np.zeros(size, bool)
    mask[0, :2] = True
    made = healed(model, picture()[: size[0], : size[1]].repeat(2, 1)[:, : size[1]], mask[:, : size[1]], 0.2, False)
    assert made.shape[0] == size[0] and np.isfinite(made).all()


def test_sizes_that_cannot_tile_are_refused(model):
    with pytest.raises(InputError, match="multiple of 8"):
        healed(model, picture()[:61], holes()[:61])


def test_a_mask_of_another_size_is_refused(model):
    with pytest.raises(InputError, match="20x30 pixels and the picture 136x96"):
        healed(model, mask=np.ones((30, 20), bool))


def test_a_mask_of_everything_is_refused(model):
    with pytest.raises(InputError, match="nothing to heal it from"):
        healed(model, mask=np.ones((96, 136), bool))


@pytest.mark.parametrize("denoise", [-0.1, 1.5, float("nan")])
def test_a_denoising_out_of_range_is_refused(model, denoise):
    with pytest.raises(InputError, match="from 0 to 1"):
        healed(model, denoise=denoise)


def test_a_halo_off_the_grid_is_a_model_error(model):
    card = Card("restore", "odd", ("albedo",), SizeRule(8, 16, 111), "CC0-1.0", "none")
    with pytest.raises(ModelError, match="halo"):
        healed((card, model[1]), mask=holes())


def test_progress_grows(model):
    told = finish(restore.heal(*model, picture(), holes(), 0.2, True, Options(tile=40)))[1]
    assert told == sorted(told) and len(told) > 4 and told[-1] == 1


@pytest.mark.parametrize("tiles", [True, False])
def test_one_colour_is_filled_with_itself(tiles):
    plain = np.full((3, 96, 136), 0.4, np.float32)
    assert np.abs(filling.fill(np.where(holes(), 0, plain), holes(), tiles) - 0.4).max() < 1e-6


def test_a_far_corner_is_filled_from_the_near_side():
    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (1, 64, 64))
    hole = np.zeros((64, 64), bool)
    hole[:40, :40] = True
    filled = filling.fill(np.where(hole, 0, ramp), hole, tiles=False)[0]
    assert filled[0, 39] > 0.55 and filled[39, 0] < 0.05 and 0.3 < filled[0, 0] < 0.7


def test_the_fill_rolls():
    planes = picture().transpose(2, 0, 1)
    expected = np.roll(filling.fill(planes, holes(), True), (5, -31), (1, 2))
    made = filling.fill(np.roll(planes, (5, -31), (1, 2)), np.roll(holes(), (5, -31), (0, 1)), True)
    assert np.abs(made - expected).max() < 1e-6


@pytest.mark.parametrize("tiles", [True, False])
def test_the_heat_equation_is_solved(tiles):
    even = restore_judge.laplace(picture(), holes(), tiles)
    around = sum(np.roll(even, step, axis) for step in (-1, 1) for axis in (0, 1)) / 4
    apart = holes()
    if not tiles:  # the edges have other neighbours
        apart[[0, -1]] = apart[:, [0, -1]] = False
    assert np.abs(around - even)[apart].max() < 1e-4 and (even == picture())[~holes()].all()


def test_noise_has_the_level_that_is_told():
    random = np.random.default_rng(1)
    true = picture(height=64, width=64).transpose(2, 0, 1)
    made = [damage.noisy(true, random) for _ in range(60)]
    levels = np.array([level for _, level in made])
    assert (levels == 0).any() and levels.max() > 0.15
    # What is cut off at black and white is missing.
    assert all(0.6 * level <= (noisy - true).std() <= 1.15 * level + 1e-6 for noisy, level in made)


def test_every_kind_of_damage_makes_holes():
    random = np.random.default_rng(1)
    shares = [damage.holes(128, random).mean() for _ in range(60)]
    assert 0.03 < np.median(shares) < 0.4
    for paint in restore_judge.HOLES.values():
        assert 0.02 < paint(512, 512, random).mean() < 0.15


def materials(folder):
    """Two small materials."""
    for seed, name in enumerate(("One", "Two")):
        (folder / name).mkdir(parents=True)
        pixels = np.rint(picture(seed, 96, 96, 5) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name / "color.png")
    return folder


def test_a_run_is_resumed_judged_and_exported(tmp_path, capsys):
    data, run = materials(tmp_path / "photos"), tmp_path / "run"
    common = ["--data", str(data), "--run", str(run)]
    small = ["--crop", "64", "--batch", "2", "--width", "8", "--deep", "8", "--quiet"]
    for steps in ("2", "3"):
        trainer.main(["train", *common, *small, "--steps", steps])
    assert trainer.training.load_checkpoint(run / "checkpoint.pt")["step"] == 3
    assert len(list(run.glob("sheet_*.png"))) == 2
    (run / "held_out.json").write_text('["One"]')
    trainer.main(["judge", *common])
    figures = json.loads(capsys.readouterr().out)
    assert figures["blobs_laplace_db_mean"] > 10 and (run / "held_out.png").is_file()
    trainer.main(["export", *common, "--out", str(tmp_path / "restore.onnx")])
    card, runner = opened(tmp_path / "restore.onnx")
    assert card.training["steps"] == 3 and str(tmp_path) not in card.to_json()
    graph = trainer.Unexported(trainer.Graph(trainer.load_average(run)))
    assert np.abs(healed((card, graph), mask=holes()) - healed((card, runner), mask=holes())).max() < 2e-3


def test_a_dry_run_prints_the_settings_and_writes_nothing(tmp_path, capsys):
    trainer.main(["train", "--data", "photos", "--run", str(tmp_path / "run"), "--dry-run"])
    assert "longest" in capsys.readouterr().out and not (tmp_path / "run").exists()


@pytest.mark.skipif(not SHIPPED.is_file(), reason=f"{SHIPPED.name} is not there; export it first")
@pytest.mark.parametrize(("sigma", "left"), [(10, 0.7), (25, 0.4), (50, 0.4)])
def test_the_shipped_network_takes_noise_out(sigma, left):
    noise = np.random.default_rng(1).standard_normal((96, 136, 3)).astype(np.float32) * np.float32(sigma / 255)
    made = healed(opened(SHIPPED), picture() + noise, denoise=sigma / 50)
    assert np.abs(made - picture()).mean() < left * np.abs(noise).mean()
