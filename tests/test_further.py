"""Further steps and animations by the road that users take: recipes, the command line, files."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from core import folders, images, quality, scaling, style_pictures
from core.cli import main
from core.images import Picture
from core.library import Library
from core.maps import CHANNELS, Maps


@pytest.fixture(scope="module")
def stones(tmp_path_factory):
    """A folder of generated maps, 256 pixels on a side."""
    folder = tmp_path_factory.mktemp("maps") / "stones"
    run("generate", "fieldstone", "--size", "256", "--out", folder)
    return folder


def run(*words, status=0):
    """A command that ends with this status."""
    assert main([str(word) for word in (*words, "--quiet", "--provider", "cpu")]) == status


def difference(first, second):
    return {name: float(np.abs(first[name] - second[name]).mean()) for name in first}


def test_stylize_redraws_colours_and_keeps_the_geometry(stones, tmp_path):
    run("stylize", stones, "--style", "woodcut", "--out", tmp_path / "a")
    changed = difference(folders.read_folder(stones), folders.read_folder(tmp_path / "a"))
    assert changed["albedo"] > 0.1 and changed["normal"] < 0.002 and changed["height"] < 0.002


def test_no_strength_changes_nothing_to_speak_of(stones, tmp_path):
    run("stylize", stones, "--style", "woodcut", "--strength", "0", "--out", tmp_path / "a")
    first, second = folders.read_folder(stones)["albedo"], folders.read_folder(tmp_path / "a")["albedo"]
    assert -10 * np.log10(np.mean((first - second) ** 2) + 1e-12) > 30


def test_a_style_can_shape_the_relief(stones, tmp_path):
    run("stylize", stones, "--style", "woven", "--relief", "--out", tmp_path / "a")
    changed = difference(folders.read_folder(stones), folders.read_folder(tmp_path / "a"))
    assert changed["normal"] > 0.01


def test_generate_takes_a_style_and_a_picture_of_ones_own(stones, tmp_path):
    picture = tmp_path / "my style.png"
    shutil.copy(style_pictures.path("rust"), picture)
    for name, style in (("a", "rust"), ("b", picture)):
        run("generate", "fieldstone", "--size", "256", "--style", style, "--out", tmp_path / name)
    first, second = (folders.read_folder(tmp_path / name) for name in "ab")
    assert difference(first, second)["albedo"] == 0 and difference(first, folders.read_folder(stones))["albedo"] > 0.02


def test_a_sample_is_decided_by_its_seed(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        run("sample", "--seed", seed, "--size", "64", "--out", tmp_path / name)
    first, again, other = ({path.name for path in (tmp_path / name).glob("*.png")} for name in "abc")
    assert first == again != other
    drawn = [tuple(Library().sampled(seed).items()) for seed in range(40)]
    assert len(set(drawn)) > 30 and 8 < sum(len(source) == 3 for source in drawn) < 32


def test_siblings_differ_and_tile(stones, tmp_path):
    run("vary", stones, "--amount", "1", "--count", "2", "--out", tmp_path / "a")
    first, second = (folders.read_folder(tmp_path / "a" / name) for name in ("001", "002"))
    assert difference(first, second)["albedo"] > 0.02 and set(first) == set(CHANNELS)
    assert quality.tiles(first) and quality.tiles(second)


def test_a_sibling_of_a_photo_that_does_not_tile_tiles(tmp_path):
    slope = np.linspace(0.2, 0.6, 300, dtype=np.float32)
    grain = np.random.default_rng(1).random((300, 300, 3), dtype=np.float32) * 0.2
    photo = Maps({"albedo": np.clip(slope[:, None, None] + grain, 0, 1)})
    assert not quality.tiles(photo)
    images.write(tmp_path / "photo.png", Picture(photo["albedo"]))
    run("vary", tmp_path / "photo.png", "--amount", "0.5", "--out", tmp_path / "a")
    made = folders.read_folder(tmp_path / "a")
    assert made.size == (304, 304) and quality.tiles(Maps({"albedo": made["albedo"]}))


def test_between_two_materials_lie_as_many_as_asked(stones, tmp_path):
    run("generate", "lawn", "--size", "256", "--out", tmp_path / "lawn")
    run("vary", stones, "--between", tmp_path / "lawn", "--steps", "3", "--out", tmp_path / "a")
    ways = [folders.read_folder(tmp_path / "a" / f"00{n}") for n in (1, 2, 3)]
    ends = folders.read_folder(stones), folders.read_folder(tmp_path / "lawn")
    far = [[difference(end, way)["albedo"] for end in ends] for way in ways]
    assert far[0][0] < 0.05 < far[0][1] and far[2][1] < 0.05 < far[2][0] and far[0][0] < far[1][0] < far[2][0]


def test_an_animation_is_numbered_files_a_preview_and_a_manifest(tmp_path):
    run("animate", "fieldstone", "--motion", "flow", "--frames", "3", "--size", "128", "--out", tmp_path / "a")
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {f"fieldstone_{name}_000{n}.png" for name in CHANNELS for n in (1, 2, 3)} < names
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert set(manifest["files"]) == names and manifest["recipe"]["animation"]["frames"] == 3
    assert Image.open(tmp_path / "a" / "preview.webp").n_frames == 3


def test_an_animation_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def failing(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "write_animation", failing)
    words = ("animate", "fieldstone", "--motion", "flow", "--frames", "2", "--size", "64", "--out", tmp_path / "a")
    run(*words, status=130)
    assert not (tmp_path / "a").exists()


def test_a_disk_that_fills_up_under_an_animation_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    words = ("animate", "fieldstone", "--motion", "flow", "--frames", "2", "--size", "64", "--out", tmp_path / "a")
    run(*words, status=2)
    errors = capsys.readouterr().err
    assert "No space left" in errors and errors.count("\n") == 1 and not (tmp_path / "a").exists()


WRONG = {
    ("stylize", "nothing", "--style", "woodcut"): "no file or folder 'nothing'",
    ("stylize", "stones", "--style", "woodcuts"): "no style 'woodcuts'",
    ("stylize", "stones", "--style", "woodcut", "--strength", "2"): "'strength' must be",
    ("vary", "stones", "--amount", "-1"): "'amount' must be",
    ("vary", "stones", "--count", "0"): "--count",
    ("sample", "--seed", "-1"): "whole number from 0",
    ("animate", "fieldstone", "--motion", "dance"): "no motion 'dance'",
    ("animate", "fieldstone", "--motion", "flow", "--frames", "1"): "'frames' must be",
    ("animate", "feldstone", "--motion", "flow"): "did you mean fieldstone",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_mistakes_are_one_sentence_and_leave_nothing(stones, tmp_path, capsys, words):
    named = [stones if word == "stones" else word for word in words]
    run(*named, "--out", tmp_path / "a", status=2)
    errors = capsys.readouterr().err
    assert WRONG[words] in errors and errors.count("\n") == 1 and not (tmp_path / "a").exists()


def test_a_family_that_is_not_installed_is_told():
    from core.errors import InputError

    library = Library()
    library._models = []
    with pytest.raises(InputError, match="No model of the family 'style'"):
        library.of_family("style")


def test_what_tiles_goes_on_tiling_at_another_size():
    wave = np.sin(2 * np.pi * np.arange(40) / 40)[:, None] + np.cos(2 * np.pi * np.arange(50) / 50)[None]
    maps = Maps({"height": (wave[..., None] / 4 + 0.5).astype(np.float32)}, 3.0)
    scaled = scaling.fitted(maps, 64, 64, True)
    assert quality.tiles(scaled) and scaled.size == (64, 64) and scaled.relief == pytest.approx(3.0 * 64 / 50)
