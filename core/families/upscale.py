"""Upscale: maps of two or four times the size that show finer detail and still tile.

The network keeps each pixel given as the mean of the 2x2 pixels that it becomes, and tells their three Haar details
(Guo et al. 2017, "Deep Wavelet Prediction for Image Super-resolution"): a result that is reduced again is what was
given. Four times is two times twice. Colours, normals and data such as roughness go through the same graph.

    pixels float32 (1, 3, H, W), sRGB-encoded or encoded normals or one map three times over, with a halo
        ->  enlarged float32 (1, 3, 2h, 2w), without
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

import numpy as np

from .. import bands, relief, scratch
from ..card import LARGEST, Card
from ..errors import InputError, ModelError
from ..maps import Array, Maps
from ..progress import part
from ..scaling import resized
from ..torus import Tile, window
from ..torus import tiles as cut
from . import Runner, Steps, run_tiles

INPUTS = {"pixels": 4}
OUTPUTS = {"enlarged": 4}
PASSES = {2: 1, 4: 2}  # factor -> how often the network doubles
BROADEST = 16.0  # pixels given: wider shapes of a height are kept, finer ones are those of the normals
# A height that is of one surface with its normals resembles their integral; below this correlation it is another.
RELATED = 0.3
SHALLOW = 0.01  # pixels of relief below which a height tells nothing in common with normals
MOST = 0.95  # share of the work that the network is


@dataclass(frozen=True)
class Options:
    """How maps are enlarged."""

    tile: int = 512  # largest side, in pixels given, that runs in one piece; smaller ones repeat more of their halo


def enlarge(card: Card, runner: Runner, maps: Maps, factor: int, tiles: bool, options: Options | None = None) -> Steps:
    """All maps at `factor` (2 or 4) times the size, the relief with them; a step of work.

    Maps that `tiles` go on tiling. Others are mirrored at their edges. Normals stay of unit length. A height beside
    normals gets its fine shapes from theirs, so that both agree. `InputError` for what cannot be had.
    """
    options = options or Options()
    _check(card, maps, factor)
    alone = [name for name in maps if name != "height" or "normal" not in maps]  # the others follow from these
    depth = (maps.relief or _depth(maps, tiles)) if len(alone) < len(maps) else 0.0
    related = depth >= SHALLOW
    if not related:
        alone = list(maps)
    images: dict[str, Array] = {}
    for number, name in enumerate(alone):
        steps = _enlarged(card, runner, name, maps[name], factor, tiles, options.tile)
        images[name] = yield from part(steps, MOST * number / len(alone), MOST * (number + 1) / len(alone))
    if related:
        images["height"] = _height(maps["height"][..., 0], images["normal"], depth, factor, tiles)[..., None]
    return Maps(images, maps.relief * factor)


def _check(card: Card, maps: Maps, factor: int) -> None:
    if factor not in PASSES:
        raise InputError(f"Maps cannot be enlarged {factor} times; choose {' or '.join(map(str, PASSES))}.")
    if not maps:
        raise InputError("There is no map to enlarge; give at least one.")
    width, height = maps.size
    card.size.check(width, height)
    if max(width, height) * factor > LARGEST:
        raise InputError(
            f"Maps of {width}x{height} enlarged {factor} times are more than {LARGEST} pixels on a side; "
            "choose a smaller factor or smaller maps."
        )


def _enlarged(
    card: Card, runner: Runner, name: str, image: Array, factor: int, tiles: bool, tile: int
) -> Generator[float, None, Array]:
    """One map (H, W, C) enlarged; yields the share that is done."""
    if image.min() == image.max():
        height, width = (factor * side for side in image.shape[:2])
        yield 1.0
        return np.full((height, width, image.shape[2]), image.flat[0], np.float32)
    passes, begun = PASSES[factor], 0.0
    for number in range(passes):
        share = 3 * 4**number / (4**passes - 1)  # each pass has four times the pixels of the one before
        doubled = yield from part(_doubled(card, runner, image, tiles, tile), begun, begun + share)
        bands.each(len(doubled), partial(_even, doubled, name == "normal"), doubled)
        image = doubled
        begun += share
    return image


def _doubled(card: Card, runner: Runner, image: Array, tiles: bool, tile: int) -> Generator[float, None, Array]:
    """What the network makes (2H, 2W, C) of a map (H, W, 3 or 1), not clipped; yields the share that is done."""
    height, width, channels = image.shape
    pixels = np.broadcast_to(image.transpose(2, 0, 1), (3, height, width))
    doubled = scratch.empty((2 * height, 2 * width, channels))

    def feeds(piece: Tile) -> dict[str, Array]:
        return {"pixels": window(pixels, piece, card.size.halo, mirrored=not tiles)[None]}

    for piece, (made, *_), done in run_tiles(runner, list(cut(height, width, max(1, tile))), feeds):
        if made.shape != (1, 3, 2 * piece.height, 2 * piece.width):
            raise ModelError(f"'{card.name}' does not double what it is given; export the model again.")
        planes = made[0] if channels == 3 else made[0].mean(0, keepdims=True)
        doubled[piece.rows(2), piece.columns(2)] = planes.transpose(1, 2, 0)
        scratch.rest(image, doubled)
        yield done
    return doubled


def _even(image: Array, normal: bool, rows: slice) -> None:
    """Bring rows of a map (H, W, C), in place, into range; normals to unit length, none pointing into the surface."""
    band = image[rows]
    if normal:
        band *= 2
        band -= 1
        np.maximum(band[..., 2], 1e-3, out=band[..., 2])
        band *= 0.5 / np.sqrt(np.einsum("hwc,hwc->hw", band, band))[..., None]
        band += 0.5
    else:
        np.clip(band, 0, 1, out=band)


def _depth(maps: Maps, tiles: bool) -> float:
    """Pixels between height 0 and 1 by which the height comes closest to its normals; 0 if it is of another surface."""
    surface, height = relief.of_normals(maps["normal"], tiles), maps["height"][..., 0]
    means = surface.mean(dtype=np.float64), height.mean(dtype=np.float64)

    def work(rows: slice) -> tuple[float, float, float]:
        one, other = (plane[rows] - np.float32(mean) for plane, mean in zip((surface, height), means, strict=True))
        return float((other**2).sum()), float((one**2).sum()), float((other * one).sum())

    own, others, both = np.sum(bands.each(len(height), work, surface, height), 0)
    if both <= RELATED * np.sqrt(own * others) or own <= 1e-9 * height.size:
        return 0.0
    return float(both / own)


def _height(given: Array, normal: Array, depth: float, factor: int, tiles: bool) -> Array:
    """The height (H, W) of enlarged normals, with the broad shapes of the height (h, w) that was given."""
    surface = relief.of_normals(normal, tiles)
    broad = np.concatenate(
        bands.each(
            len(given), lambda rows: _reduced(surface[rows.start * factor : rows.stop * factor], factor), surface
        )
    )
    missing = _smooth(given * np.float32(depth * factor) - broad, tiles)[..., None]
    height, width = surface.shape
    surface += resized(missing, height, width, tiles)[..., 0]
    surface /= np.float32(depth * factor)
    return np.clip(surface, 0, 1, out=surface)


def _reduced(band: Array, factor: int) -> Array:
    """Means of squares of `factor` pixels a side: (h, w) of (H, W)."""
    means: Array = band.reshape(len(band) // factor, factor, -1, factor).mean((1, 3))
    return means


def _smooth(image: Array, tiles: bool) -> Array:
    """A plane (H, W) without what is finer than `BROADEST`."""
    height, width = image.shape
    whole = image if tiles else relief.mirrored(image, 1, 1)
    row, column = np.fft.fftfreq(whole.shape[0])[:, None], np.fft.rfftfreq(whole.shape[1])[None]
    keep = np.exp(-np.log(2) * BROADEST**2 * (row**2 + column**2))  # half at that wavelength
    smooth: Array = np.fft.irfft2(np.fft.rfft2(whole) * keep, s=whole.shape).astype(np.float32)
    return smooth[:height, :width]
