"""Judge enlarged maps by true ones, beside bicubic and Lanczos interpolation of the same reduced maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from core import quality
from core.card import Card
from core.families import Runner
from core.families import upscale as family
from core.maps import Array, Maps
from core.progress import finish
from export import materials as photos
from export import training, vae

FACTORS = (2, 4)
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
EDGE = 16  # pixels given that are laid around a picture before it is interpolated
SHOWN = 192  # pixels of a material on a sheet

Figures = dict[str, float]
Shown = list[list[Array]]  # rows of cells (SHOWN, SHOWN, 3)


@dataclass(frozen=True)
class Pair:
    """A material and what is left of it when it is reduced, by means of squares of pixels, in 8 bits."""

    true: Maps
    given: Maps
    factor: int
    tiles: bool


def judge(card: Card, runner: Runner, held_out: Sequence[photos.Material], sheet: Path | None = None) -> Figures:
    """Figures, means over materials that were never trained on.

    PSNR in dB of albedo and roughness, mean angle of normals in degrees, for the network (no ending), bicubic and
    Lanczos interpolation; `gain` is over bicubic, `better` the share of the materials that have one. `seam` is the
    mean seam of the albedo (core/quality.py) of those that tile, beside those of the reduced and of the true ones.
    """
    figures: Figures = {}
    for factor in FACTORS:
        found: dict[str, list[float]] = {}
        rows: Shown = []
        for material in held_out:
            pair = reduced(material, factor)
            made = finish(family.enlarge(card, runner, pair.given, factor, pair.tiles))
            others = {name: interpolated(pair, kind) for name, kind in FILTERS.items()}
            for name, value in _compared(pair, made, others).items():
                found.setdefault(f"x{factor}_{name}", []).append(value)
            rows += _row(pair, made, others["bicubic"])
        figures |= {name: float(np.mean(values)) for name, values in found.items()}
        if sheet:
            training.save_sheet(sheet.with_stem(f"{sheet.stem}_x{factor}"), rows)
    return figures


def reduced(material: photos.Material, factor: int) -> Pair:
    """A material beside itself at a `factor`-th of the size, the maps that are known and are no single value."""
    _, height, width = material.pixels.shape
    planes = material.pixels.astype(np.float32)[:, : height // factor * factor, : width // factor * factor]
    small = planes.reshape(len(planes), height // factor, factor, width // factor, factor).mean((2, 4))
    named = [
        name
        for name, place in photos.PLANES_OF.items()
        if material.known[place].all() and np.ptp(material.pixels[place]) > 0
    ]
    true, given = (_maps(each / np.float32(255), named) for each in (planes, np.rint(small)))
    return Pair(true, given, factor, material.seamless)


def whole_normal(xy: Array) -> Array:
    """Encoded normals (3, H, W) of unit length by their x and y (2, H, W)."""
    flat = xy * 2 - 1
    length = np.maximum(1, np.sqrt((flat**2).sum(0)))
    flat = flat / length
    z = np.sqrt(np.maximum(0, 1 - (flat**2).sum(0)))
    whole: Array = (np.stack([*flat, z]) * 0.5 + 0.5).astype(np.float32)
    return whole


def _maps(planes: Array, names: Sequence[str]) -> Maps:
    """Maps by these names of planes (8, H, W)."""
    images = {}
    for name in names:
        part = planes[photos.PLANES_OF[name]]
        part = whole_normal(part) if name == "normal" else part
        images[name] = np.ascontiguousarray(part.transpose(1, 2, 0))
    return Maps(images)


def interpolated(pair: Pair, kind: Image.Resampling) -> Maps:
    """The given maps enlarged by Pillow, in float32, on the torus where they tile."""
    images = {}
    for name, image in pair.given.items():
        around = ((EDGE, EDGE), (EDGE, EDGE), (0, 0))
        padded = np.pad(image, around, mode="wrap" if pair.tiles else "symmetric")
        size = (padded.shape[1] * pair.factor, padded.shape[0] * pair.factor)
        planes = [np.asarray(Image.fromarray(plane).resize(size, kind)) for plane in np.moveaxis(padded, -1, 0)]
        cut = slice(EDGE * pair.factor, -EDGE * pair.factor)
        images[name] = np.clip(np.stack(planes, -1)[cut, cut], 0, 1)
    return Maps(images)


def _compared(pair: Pair, made: Maps, others: dict[str, Maps]) -> Figures:
    """Figures of one material."""
    figures: Figures = {}
    for name in ("albedo", "roughness"):
        if name in pair.true:
            ours = _decibels(made[name], pair.true[name])
            theirs = {other: _decibels(maps[name], pair.true[name]) for other, maps in others.items()}
            gain = ours - theirs["bicubic"]
            figures |= {f"{name}_psnr": ours, f"{name}_psnr_gain": gain, f"{name}_better": float(gain > 0)}
            figures |= {f"{name}_psnr_{other}": value for other, value in theirs.items()}
    if "normal" in pair.true:
        figures["normal_deg"] = _degrees(made, pair.true)
        figures |= {f"normal_deg_{other}": _degrees(maps, pair.true) for other, maps in others.items()}
    if pair.tiles:
        seams = {"seam": made, "seam_given": pair.given, "seam_true": pair.true}
        figures |= {name: _seam(maps) for name, maps in seams.items()}
    return figures


def _decibels(made: Array, true: Array) -> float:
    return float(-10 * np.log10(max(((made - true) ** 2).mean(dtype=np.float64), 1e-10)))


def _degrees(made: Maps, true: Maps) -> float:
    """Mean angle between normals."""
    both = (torch.from_numpy(np.ascontiguousarray(m["normal"][..., :2].transpose(2, 0, 1))) for m in (made, true))
    return float(vae.angles(*both).mean())


def _seam(maps: Maps) -> float:
    return float(np.mean(quality.measure(maps.only(["albedo"])).seam["albedo"]))


def _row(pair: Pair, made: Maps, bicubic: Maps) -> Shown:
    """Given | bicubic | network | true, from the middle of the albedo, and again of the normals where there are any."""
    side = min(SHOWN, *pair.true.size)
    left, top = ((whole - side) // 2 // pair.factor * pair.factor for whole in pair.true.size)
    rows: Shown = []
    for name in ("albedo", "normal"):
        if name in pair.true:
            given = pair.given[name].repeat(pair.factor, 0).repeat(pair.factor, 1)
            images = (given, bicubic[name], made[name], pair.true[name])
            more = ((0, SHOWN - side), (0, SHOWN - side), (0, 0))
            rows.append([np.pad(image[top : top + side, left : left + side], more) for image in images])
    return rows
