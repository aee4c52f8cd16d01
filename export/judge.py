"""Judge a texture GAN by the photos it learned from: contact sheets for the eye, figures for the card.

    python -m export.judge --data DIR --model core/models/atlas.onnx --out sheets   # one sheet a material
    python -m export.judge … --write-card                                           # figures into the card
    python -m export.judge --model FILE --gallery gallery.jpg                       # balls, no photos
    python -m export.judge --model FILE --thumbnails                                # a ball a file, beside the model

A sheet shows: photo | three seeds | one of them tiled 2x2. Sheets hold photos, so they go to a folder that git ignores.
Figures guard against colour drift, copies and repetition; which texture is good, only a look can tell.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core import card, pipeline, preview, progress, quality, thumbnails
from core.library import Library
from core.maps import Array, Maps
from core.recipe import from_dict
from core.sessions import Sessions
from export import materials as photos
from export import onnx_model, training

SEEDS = (1, 2, 3)
PATCH = 7  # pixels on a side of the patches that the Wasserstein distance compares


def make(library: Library, sessions: Sessions, material: str, seed: int, size: int) -> Maps:
    """One result of the product itself, by the same road that users take."""
    recipe = from_dict({"source": {"material": material, "seed": seed, "size": size}})
    return progress.finish(pipeline.run(recipe, library, sessions)).maps


def correlation(first: Array, second: Array) -> float:
    """Highest correlation of two grey pictures `(H, W)` of one size over all shifts of the torus; 1 for a copy."""
    spectra = [np.fft.rfft2((p - p.mean()) / (p.std() + 1e-6)) for p in (first, second)]
    return float(np.fft.irfft2(spectra[0] * np.conj(spectra[1]), s=first.shape).max() / first.size)


def patch_distance(first: Array, second: Array) -> float:
    """Sliced Wasserstein distance of the patches of two pictures `(H, W, 3)` (Rabin et al. 2011), in [0, 1] units.

    Blind to where things stand, it sees colours and fine structure.
    """
    random = np.random.default_rng(0)
    directions = random.standard_normal((64, PATCH * PATCH * 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    quantiles = np.linspace(0, 1, 512)
    projected = [np.quantile(_patches(p, random) @ directions.T, quantiles, axis=0) for p in (first, second)]
    return float(np.abs(projected[0] - projected[1]).mean() / PATCH)


def _patches(picture: Array, random: np.random.Generator, count: int = 8000) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(picture, (PATCH, PATCH), (0, 1))
    y, x = (random.integers(side, size=count) for side in windows.shape[:2])
    return windows[y, x].reshape(count, -1)


def figures(photo: Array, made: list[Maps]) -> dict[str, float]:
    """What the card says of one material. `photo` (H, W, 3) is cut or compared at the size of the results."""
    albedos = [m["albedo"] for m in made]
    height, width = min(photo.shape[0], albedos[0].shape[0]), min(photo.shape[1], albedos[0].shape[1])
    grey = [p[:height, :width].mean(-1) for p in (photo, *albedos)]
    sheet = quality.measure(made[0])
    halves = patch_distance(photo[: photo.shape[0] // 2], photo[photo.shape[0] // 2 :])
    return {
        "colour_difference": float(np.abs(albedos[0].mean((0, 1)) - photo.mean((0, 1))).max()),
        "patch_distance": patch_distance(photo, albedos[0]),
        "patch_distance_within_photo": halves,
        "copy_of_photo": correlation(grey[0], grey[1]),
        "copy_between_seeds": correlation(grey[1], grey[2]),
        "worst_seam": max(max(pair) for pair in sheet.to_dict()["seam"].values()),
        "repetition": sheet.repetition,
    }


def sheet_of(photo: Array, made: list[Maps]) -> list[Array]:
    """Photo | three seeds | 2x2 tiling, each of one size."""
    side = made[0].size[0]
    shown = np.zeros((side, side, 3), np.float32)
    shown[: photo.shape[0], : photo.shape[1]] = photo[:side, :side]
    tiled = np.tile(made[0]["albedo"], (2, 2, 1))
    halved = tiled.reshape(side, 2, side, 2, 3).mean((1, 3), dtype=np.float32)
    return [shown, *(m["albedo"] for m in made), halved, *(m["normal"] for m in made[:1])]


def write_gallery(library: Library, sessions: Sessions, names: list[str], path: Path, columns: int = 7) -> None:
    """A grid of balls, one for each material, with its name below."""
    side = 200
    rows = -(-len(names) // columns)
    page = Image.new("RGB", (columns * side, rows * (side + 22)), (24, 24, 26))
    draw = ImageDraw.Draw(page)
    for index, name in enumerate(names):
        ball = preview.ball(make(library, sessions, name, 7, 512), side, repeats=1.2)
        x, y = index % columns * side, index // columns * (side + 22)
        page.paste(Image.fromarray(np.rint(ball * 255).astype(np.uint8)), (x, y))
        draw.text((x + side // 2, y + side + 10), name.replace("_", " "), fill=(225, 225, 225), anchor="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path, quality=88)


def write_card(path: Path, mean: dict[str, float]) -> None:
    """Put figures into a model's card, beside those that it has."""
    model = onnx.load(path)
    entry = next(p for p in model.metadata_props if p.key == card.KEY)
    old = card.parse(entry.value, path.name)
    model.metadata_props.remove(entry)
    onnx_model.save(model, replace(old, figures={**old.figures, **mean}), path)


def load_photo(data: Path, sources: dict[str, photos.MaterialFiles], source: str, longest: int) -> Array:
    """The albedo `(H, W, 3)` of a training photo at the size that the model learned it."""
    pixels: NDArray[np.uint8] = photos.load(sources[source], longest).pixels[:3]
    return pixels.transpose(1, 2, 0).astype(np.float32) / np.float32(255)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the photos")
    parser.add_argument("--model", type=Path, required=True, help="ONNX file of a texture GAN")
    parser.add_argument("--out", type=Path, default=Path("sheets"), help="folder for sheets and figures (sheets)")
    parser.add_argument("--write-card", action="store_true", help="write the mean figures into the model's card")
    parser.add_argument("--gallery", type=Path, help="write only this picture: a ball of each material")
    parser.add_argument("--thumbnails", action="store_true", help="write only the thumbnails that the model ships with")
    options = parser.parse_args(arguments)
    library, sessions = Library([options.model.parent]), Sessions("auto", int8=False)
    model = next(m for m in library.models() if m.path.name == options.model.name)
    names = [m.name for m in model.card.materials]
    if options.gallery:
        write_gallery(library, sessions, names, options.gallery)
        return
    if options.thumbnails:
        for _ in thumbnails.draw([(name, thumbnails.shipped(model, name)) for name in names], library, sessions):
            pass
        return
    if options.data is None:
        parser.error("--data is needed to compare with photos")
    sources = {f.name: f for f in photos.find_materials(options.data)}
    rows = {}
    for place in model.card.settings["memory"]:
        name, size = place["material"], model.card.material(place["material"]).pixels
        photo = load_photo(options.data, sources, place["source"], size)
        made = [make(library, sessions, name, seed, size) for seed in SEEDS]
        training.save_sheet(options.out / f"{name}.jpg", [sheet_of(photo, made)])
        rows[name] = figures(photo, made)
        print(name, json.dumps({k: round(v, 3) for k, v in rows[name].items()}))
    (options.out / "figures.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    mean = {f"mean_{key}": float(np.mean([row[key] for row in rows.values()])) for key in next(iter(rows.values()))}
    print("mean", json.dumps({k: round(v, 3) for k, v in mean.items()}))
    if options.write_card:
        write_card(options.model, mean)


if __name__ == "__main__":
    main()
