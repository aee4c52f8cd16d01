"""What starts from a photo, by the road that users take: the command line and files."""

import json

import numpy as np
import pytest
from PIL import Image

from core import folders, quality
from core.cli import main


def run(*words, status=0):
    """A command that ends with this status."""
    assert main([str(word) for word in (*words, "--quiet", "--provider", "cpu")]) == status


def stones(height=144, width=200):
    """A photo that does not tile: blots of many sizes in the light of a window (H, W, 3)."""
    random = np.random.default_rng(5)
    wide = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None])
    spectrum = np.fft.rfft2(random.standard_normal((256, 256, 3)), axes=(0, 1)) / (wide + 0.02)[..., None]
    noise = np.fft.irfft2(spectrum, axes=(0, 1))[:height, :width]
    light = np.linspace(0.7, 1.2, width)[None, :, None]
    return ((0.45 + 0.12 * noise / noise.std()) * light).clip(0, 1).astype(np.float32)


def saved(path, pixels, mode="RGB", **options):
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).convert(mode).save(path, **options)
    return path


@pytest.fixture
def photo(tmp_path):
    return saved(tmp_path / "stones.jpg", stones(), quality=95)


def test_a_photo_becomes_a_whole_material_that_tiles(photo, tmp_path):
    run("photo", photo, "--size", "128", "--out", tmp_path / "a")
    maps = folders.read_folder(tmp_path / "a")
    assert set(maps) == {"albedo", "normal", "height", "roughness", "ao"} and maps.size == (128, 128)
    assert quality.tiles(maps)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert [step["do"] for step in manifest["recipe"]["steps"]] == ["fit", "even", "heal", "maps", "fit"]
    assert manifest["quality"]["seam"] and (tmp_path / "a" / "preview.png").is_file()


def test_a_photo_can_be_arranged_anew(photo, tmp_path):
    for name, words in {"a": (), "b": ("--fresh",)}.items():
        run("photo", photo, "--size", "128", "--without", "maps", *words, "--out", tmp_path / name)
    kept, fresh = (folders.read_folder(tmp_path / name)["albedo"][40:90, 40:90] for name in "ab")
    assert np.abs(kept - fresh).mean() > 0.03


def test_a_small_photo_becomes_a_large_material(photo, tmp_path):
    run("photo", photo, "--size", "400x240", "--out", tmp_path / "a")
    maps = folders.read_folder(tmp_path / "a")
    assert maps.size == (400, 240) and quality.tiles(maps)


def test_the_recipe_in_the_manifest_makes_the_same_pixels(photo, tmp_path):
    from core.recipe import from_dict

    run("photo", photo, "--size", "96", "--denoise", "0.2", "--out", tmp_path / "a")
    again = from_dict(json.loads((tmp_path / "a" / "manifest.json").read_text())["recipe"])
    (tmp_path / "r.toml").write_text(again.to_toml().replace(str(photo), photo.name))
    run("run", tmp_path / "r.toml", "--out", tmp_path / "b")
    first, second = (folders.read_folder(tmp_path / name) for name in "ab")
    assert all((first[name] == second[name]).all() for name in first)


def test_corners_are_pixels_of_the_photo(photo, tmp_path):
    corners = ("--corners", 20, 10, 120, 10, 120, 110, 20, 110)
    run("photo", photo, "--size", "96", *corners, "--without", "even,seamless,maps", "--out", tmp_path / "a")
    cut = Image.fromarray(np.rint(stones()[10:110, 20:120] * 255).astype(np.uint8)).resize((96, 96), Image.BILINEAR)
    albedo = folders.read_folder(tmp_path / "a")["albedo"]
    assert np.abs(albedo - np.asarray(cut) / 255).mean() < 0.035  # JPEG keeps little of colours


def test_maps_are_told_from_a_picture(photo, tmp_path):
    run("maps", photo, "--out", tmp_path / "a")
    maps = folders.read_folder(tmp_path / "a")
    assert set(maps) == {"albedo", "normal", "height", "roughness", "ao"} and maps.size == (200, 144)
    run("maps", photo, "--strength", "0", "--delight", "0", "--out", tmp_path / "b")
    flat = folders.read_folder(tmp_path / "b")
    assert flat["normal"][..., 2].min() > 0.999 > maps["normal"][..., 2].min()
    assert np.abs(flat["albedo"] - folders.read_maps(photo)["albedo"]).max() < 0.01


def test_maps_that_are_there_stay(tmp_path):
    (tmp_path / "set").mkdir()
    saved(tmp_path / "set" / "wall_albedo.png", stones())
    saved(tmp_path / "set" / "wall_roughness.png", np.full((144, 200), 0.25, np.float32), "L")
    run("maps", tmp_path / "set", "--out", tmp_path / "a")
    maps = folders.read_folder(tmp_path / "a")
    assert np.abs(maps["roughness"] - 0.25).max() < 0.01 and "normal" in maps


def test_a_place_is_mended(tmp_path):
    spoiled = stones()
    spoiled[60:70, 80:120] = (1, 0, 0)
    mask = np.zeros((144, 200), np.float32)
    mask[56:74, 76:124] = 1
    words = saved(tmp_path / "a.png", spoiled), "--mask", saved(tmp_path / "m.png", mask, "L")
    run("heal", *words, "--out", tmp_path / "a")
    healed = folders.read_folder(tmp_path / "a")["albedo"]
    assert np.abs(healed - spoiled)[mask == 0].max() < 0.01
    place = healed[60:70, 80:120]
    assert (place[..., 0] - place[..., 1]).max() < 0.6 and abs(place.mean() - stones().mean()) < 0.15


def test_noise_is_taken_out(tmp_path):
    clean = np.repeat(stones()[:, :, :1], 3, 2)
    noisy = (clean + 0.08 * np.random.default_rng(1).standard_normal(clean.shape)).clip(0, 1)
    run("heal", saved(tmp_path / "a.png", noisy), "--denoise", "0.4", "--out", tmp_path / "a")
    healed = folders.read_folder(tmp_path / "a")["albedo"]
    assert np.square(healed - clean).mean() < 0.5 * np.square(noisy - clean).mean()


def test_a_photo_is_made_to_tile(photo, tmp_path):
    assert not quality.tiles(folders.read_maps(photo))
    run("heal", photo, "--seams", "--out", tmp_path / "a")
    maps = folders.read_folder(tmp_path / "a")
    assert quality.tiles(maps) and maps.size == (200, 144)


def test_a_texture_is_made_by_example(photo, tmp_path):
    for name, words in {"a": (), "b": ("--seed", "1"), "c": ("--like",)}.items():
        run("example", photo, "--size", "160x128", *words, "--out", tmp_path / name)
    first, other, like = (folders.read_folder(tmp_path / name) for name in "abc")
    assert first.size == (160, 128) and all(quality.tiles(maps) for maps in (first, other, like))
    assert np.abs(first["albedo"] - other["albedo"]).mean() > 0.02


@pytest.mark.parametrize("factor", [2, 4])
def test_a_folder_of_maps_is_enlarged(tmp_path, factor):
    run("generate", "fieldstone", "--size", "64", "--out", tmp_path / "a")
    run("upscale", tmp_path / "a", "--factor", factor, "--out", tmp_path / "b")
    small, large = (folders.read_folder(tmp_path / name) for name in "ab")
    assert set(large) == set(small) and large.size == (64 * factor, 64 * factor)
    assert np.abs(large["albedo"].mean((0, 1)) - small["albedo"].mean((0, 1))).max() < 0.01


@pytest.mark.parametrize("mode", ["CMYK", "P", "RGBA", "L"])
def test_pictures_of_all_modes_are_taken(tmp_path, mode):
    path = saved(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), stones(), mode)
    run("photo", path, "--size", "64", "--without", "seamless", "--out", tmp_path / "a")
    assert folders.read_folder(tmp_path / "a").size == (64, 64)


def test_a_photo_of_one_colour_becomes_a_flat_material(tmp_path):
    run("photo", saved(tmp_path / "a.png", np.full((80, 90, 3), 0.4)), "--size", "64", "--out", tmp_path / "a")
    maps = folders.read_folder(tmp_path / "a")
    assert maps["normal"][..., 2].min() > 0.98 and np.abs(maps["albedo"] - 0.4).max() < 0.05


def test_a_photo_of_one_pixel_is_taken_as_far_as_it_goes(tmp_path):
    path = saved(tmp_path / "a.png", np.full((1, 1, 3), 0.4))
    run("photo", path, "--size", "64", "--out", tmp_path / "a")
    assert np.abs(folders.read_folder(tmp_path / "a")["albedo"] - 0.4).max() < 0.05


WRONG = {
    ("photo", "missing.jpg"): "no file 'missing.jpg'",
    ("photo", "text.jpg"): "not an image",
    ("photo", "cut.jpg"): "damaged",
    ("photo", "folder"): "is a folder; give one photo",
    ("photo", "photo.png", "--size", "0"): "from 1 to",
    ("photo", "photo.png", "--without", "shine"): "no step 'shine'",
    ("photo", "photo.png", "--denoise", "2"): "'denoise' must be",
    ("photo", "photo.png", "--corners", "0", "0", "9", "9", "9", "0", "0", "9"): "in this order",
    ("photo", "photo.png", "--corners", "0", "0"): "expected 8 arguments",
    ("photo", "photo.png", "--mask", "missing.png"): "no mask 'missing.png'",
    ("heal", "photo.png", "--mask", "tall.png"): "same proportions",
    ("heal", "photo.png", "--mask", "all.png"): "mask less of it",
    ("maps", "folder"): "no maps in",
    ("maps", "photo.png", "--strength", "9"): "'strength' must be",
    ("example", "photo.png", "--size", "8"): "A size of 8x8 cannot be made",
    ("upscale", "photo.png", "--factor", "3"): "'factor' must be",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_mistakes_are_one_sentence_and_leave_nothing(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    saved("photo.png", stones())
    saved("tall.png", np.ones((200, 50)), "L")
    saved("all.png", np.ones((144, 200)), "L")
    saved("whole.jpg", stones(), quality=95)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:3000])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "folder").mkdir()
    try:
        run(*words, "--out", tmp_path / "a", status=2)
    except SystemExit as end:  # argparse
        assert end.code == 2
    errors = capsys.readouterr().err
    assert WRONG[words] in errors and errors.count("\n") == 1 and not (tmp_path / "a").exists()
