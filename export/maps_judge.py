"""Judge derived maps by true ones, beside what simple means give: Sobel slopes, mean roughness, the lit albedo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core import relief
from core.card import Card
from core.emboss import LUMINANCE
from core.families import Runner
from core.families import material_maps as family
from core.maps import Array, Maps
from core.progress import finish
from export import materials as photos
from export import relighting, training, vae

LIGHTS = (  # fixed, so that figures can be compared: a low sun, a bright sky, a lamp
    relighting.Light(np.radians(135), np.radians(25), 0.35),
    relighting.Light(np.radians(20), np.radians(55), 0.6),
    relighting.Light(np.radians(250), np.radians(40), 0.2),
)
# Slopes for each step of luminance: what a Sobel filter's strength, and its sign, are chosen from.
STRENGTHS = np.concatenate([-np.geomspace(8, 0.1, 14), [0.0], np.geomspace(0.1, 8, 14)])
BLURS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # pixels
SPARSE = 3  # of so many rows and columns, one is enough to fit them
SHOWN = 256  # pixels of a material on a sheet

Figures = dict[str, float]


@dataclass(frozen=True)
class View:
    """A picture of a material, and the maps derived from it."""

    material: photos.Material
    picture: Array  # (3, H, W), sRGB-encoded
    maps: Maps

    @property
    def true(self) -> Array:
        """The planes (8, H, W) in [0, 1]."""
        return _planes(self.material)


def judge(
    card: Card,
    runner: Runner,
    held_out: Sequence[photos.Material],
    means: Figures,
    heights: Mapping[str, Array],
    sheet: Path | None = None,
) -> Figures:
    """Figures, means over materials that were never trained on.

    `means` are of the roughness and AO trained on, `heights` the true heights (H, W) of those that have them, by name.

    `..._sobel` is the best that one strength and sign, fitted to these very materials, can do; `..._flat` no relief.
    """
    plain = [_view(card, runner, m, _planes(m)[:3]) for m in held_out]
    shaped = [m for m in held_out if m.known[3]]
    relit = [_view(card, runner, m, relighting.lit(_planes(m), light)) for light in LIGHTS for m in shaped]
    figures = _normals("normal_angle", [view for view in plain if view.material.known[3]])
    figures |= _normals("lit_normal_angle", relit)
    figures |= _albedos(relit)
    figures |= _heights(plain, heights)
    for name, mean in means.items():
        figures |= _data(name, plain, mean)
    if sheet:
        write_sheet(relit[: len(shaped)], sheet)
    return figures


def means_of(materials: Sequence[photos.Material]) -> Figures:
    """Mean roughness and AO of the materials that have them: the best constants."""
    means = {}
    for name in ("roughness", "ao"):
        plane = photos.PLANES_OF[name].start
        known = [float(m.pixels[plane].mean()) / 255 for m in materials if m.known[plane]]
        if known:
            means[name] = float(np.mean(known))
    return means


def sobel(picture: Array, tiles: bool) -> tuple[Array, Array]:
    """(across, down) by Sobel's filter: luminance of a picture (3, H, W) for each pixel, each (H, W)."""
    grey: Array = np.tensordot(LUMINANCE, picture, 1).astype(np.float32)
    grey = np.pad(grey, 1, mode="wrap" if tiles else "edge")
    rows: Array = grey[:-2] + 2 * grey[1:-1] + grey[2:]
    columns: Array = grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]
    return (rows[:, 2:] - rows[:, :-2]) * np.float32(0.125), (columns[2:] - columns[:-2]) * np.float32(0.125)


def _view(card: Card, runner: Runner, material: photos.Material, picture: Array) -> View:
    pixels = np.ascontiguousarray(picture.transpose(1, 2, 0))
    return View(material, picture, finish(family.derive(card, runner, pixels, material.seamless)))


def _normals(name: str, views: Sequence[View]) -> Figures:
    """Mean angles in degrees between true normals and those of the network, of Sobel's filter, and of no relief."""
    angles, others = [], []
    for view in views:
        true = view.true[3:5]
        angles.append(_angle(view.maps["normal"][..., :2], true))
        steps = [step[::SPARSE, ::SPARSE] for step in sobel(view.picture, view.material.seamless)]
        true = np.ascontiguousarray(true[:, ::SPARSE, ::SPARSE])
        others.append([_angle(_leaning(*(strength * step for step in steps)), true) for strength in STRENGTHS])
    if not angles:
        return {}
    table = np.mean(others, 0)
    return {
        f"{name}_deg": float(np.mean(angles)),
        f"{name}_sobel_deg": float(table.min()),
        f"{name}_flat_deg": float(table[len(STRENGTHS) // 2]),
    }


def _albedos(views: Sequence[View]) -> Figures:
    """Root mean squared differences from the true albedo, of the network's and of the lit picture itself."""
    found = [_square(view.maps["albedo"].transpose(2, 0, 1), view.true[:3]) for view in views]
    given = [_square(view.picture, view.true[:3]) for view in views]
    if not found:
        return {}
    return {"lit_albedo_rmse": float(np.sqrt(np.mean(found))), "lit_albedo_rmse_input": float(np.sqrt(np.mean(given)))}


def _heights(views: Sequence[View], heights: Mapping[str, Array]) -> Figures:
    """Correlation with the true height, and that of the luminance under the best blur and sign for these materials."""
    found, others = [], []
    for view in views:
        if view.material.name in heights:
            true = heights[view.material.name]
            found.append(_alike(view.maps["height"][..., 0], true))
            grey = np.tensordot(LUMINANCE, view.picture, 1).astype(np.float32)
            others.append([_alike(relighting.blurred(grey, width), true) for width in BLURS])
    if not found:
        return {}
    return {
        "height_correlation": float(np.mean(found)),
        "height_correlation_luminance": float(np.abs(np.mean(others, 0)).max()),
    }


def _alike(made: Array, true: Array) -> float:
    """Correlation of two fields, 0 where one of them is flat."""
    made, true = made - made.mean(), true - true.mean()
    return float((made * true).mean() / max(float(made.std() * true.std()), 1e-6))


def _data(name: str, views: Sequence[View], mean: float) -> Figures:
    """Root mean squared errors of roughness or AO, and of their mean in training."""
    plane = photos.PLANES_OF[name].start
    views = [view for view in views if view.material.known[plane]]
    found = [_square(view.maps[name][..., 0], view.true[plane]) for view in views]
    constant = [_square(mean, view.true[plane]) for view in views]
    if not found:
        return {}
    return {f"{name}_rmse": float(np.sqrt(np.mean(found))), f"{name}_rmse_mean": float(np.sqrt(np.mean(constant)))}


def _square(made: Array | float, true: Array) -> float:
    return float(((made - true) ** 2).mean())


def write_sheet(views: Sequence[View], path: Path) -> None:
    """Lit picture | albedo found, true | normal found, true | height | roughness found, true."""
    rows = []
    for view in views:
        maps, true = view.maps, view.true.transpose(1, 2, 0)
        bent = relief.encode(relief.integrate(*relief.slopes(true[..., 3], true[..., 4])))[0]
        cells = [view.picture.transpose(1, 2, 0), maps["albedo"], true[..., :3], maps["normal"], bent, maps["height"]]
        cells += [maps["roughness"], true[..., 5:6]]
        rows.append([_shown(cell) for cell in cells])
    training.save_sheet(path, rows)


def _shown(image: Array) -> Array:
    """A picture (H, W, 1 or 3) cut or filled up to (256, 256, 3)."""
    cut = np.broadcast_to(image[:SHOWN, :SHOWN], (*image[:SHOWN, :SHOWN].shape[:2], 3))
    return np.pad(cut, ((0, SHOWN - cut.shape[0]), (0, SHOWN - cut.shape[1]), (0, 0)))


def _planes(material: photos.Material) -> Array:
    """(8, H, W) in [0, 1]."""
    return material.pixels.astype(np.float32) / np.float32(255)


def _leaning(across: Array, down: Array) -> Array:
    """Encoded x and y (H, W, 2) of the normals with these slopes."""
    length = np.sqrt(1 + across**2 + down**2)
    return np.stack([0.5 - 0.5 * across / length, 0.5 + 0.5 * down / length], -1)


def _angle(made: Array, true: Array) -> float:
    """Mean angle in degrees between encoded normals (H, W, 2) and (2, H, W)."""
    moved = torch.from_numpy(np.ascontiguousarray(made.transpose(2, 0, 1))).float()
    return float(vae.angles(moved, torch.from_numpy(true)).mean())
