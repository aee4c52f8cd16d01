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

import numpy as np

from .. import relief
from ..card import LARGEST, Card
from ..errors import InputError, ModelError
from ..maps import Array, Maps
from ..progress import part
from ..scaling import halved, resized
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
        image = _unit(doubled) if name == "normal" else np.clip(doubled, 0, 1)
        begun += share
    return image


def _doubled(card: Card, runner: Runner, image: Array, tiles: bool, tile: int) -> Generator[float, None, Array]:
    """What the network makes (2H, 2W, C) of a map (H, W, 3 or 1), not clipped; yields the share that is done."""
    height, width, channels = image.shape
    halo, start = card.size.halo, 0
    pixels = np.broadcast_to(image.transpose(2, 0, 1), (3, height, width))
    if not tiles:
        pixels = np.pad(pixels, ((0, 0), (halo, halo), (halo, halo)), mode="symmetric")
        start = halo
    doubled = np.empty((2 * height, 2 * width, channels), np.float32)

    def feeds(piece: Tile) -> dict[str, Array]:
        return {"pixels": window(pixels, piece.scaled(1, start), halo)[None]}

    for piece, (made, *_), done in run_tiles(runner, list(cut(height, width, max(1, tile))), feeds):
        if made.shape != (1, 3, 2 * piece.height, 2 * piece.width):
            raise ModelError(f"'{card.name}' does not double what it is given; export the model again.")
        planes = made[0] if channels == 3 else made[0].mean(0, keepdims=True)
        doubled[piece.rows(2), piece.columns(2)] = planes.transpose(1, 2, 0)
        yield done
    return doubled


def _unit(normal: Array) -> Array:
    """Encoded normals (H, W, 3) at unit length, none of which points into the surface."""
    made = normal * 2 - 1
    made[..., 2] = np.maximum(made[..., 2], 1e-3)
    made *= 0.5 / np.sqrt(np.einsum("hwc,hwc->hw", made, made))[..., None]
    made += 0.5
    return made


def _depth(maps: Maps, tiles: bool) -> float:
    """Pixels between height 0 and 1 by which the height comes closest to its normals; 0 if it is of another surface."""
    surface = _integral(maps["normal"], tiles)
    surface = surface - surface.mean()
    height = maps["height"][..., 0] - maps["height"].mean()
    squares = float((height**2).sum()), float((surface**2).sum())
    both = float((height * surface).sum())
    if both <= RELATED * np.sqrt(squares[0] * squares[1]) or squares[0] <= 1e-9 * height.size:
        return 0.0
    return both / squares[0]


def _height(given: Array, normal: Array, depth: float, factor: int, tiles: bool) -> Array:
    """The height (H, W) of enlarged normals, with the broad shapes of the height (h, w) that was given."""
    surface = _integral(normal, tiles)
    broad = surface[..., None]
    for _ in range(PASSES[factor]):
        broad = halved(broad)
    missing = given * np.float32(depth * factor) - broad[..., 0]
    height, width = surface.shape
    surface = surface + resized(_smooth(missing, tiles)[..., None], height, width, tiles)[..., 0]
    shown: Array = np.clip(surface / np.float32(depth * factor), 0, 1)
    return shown


def _integral(normal: Array, tiles: bool) -> Array:
    """The surface (H, W) in pixels of encoded normals; what does not tile is a quarter of a torus."""
    across, down = relief.slopes(normal[..., 0], normal[..., 1])
    if tiles:
        return relief.integrate(across, down)
    height, width = across.shape
    return relief.integrate(relief.mirrored(across, -1, 1), relief.mirrored(down, 1, -1))[:height, :width]


def _smooth(image: Array, tiles: bool) -> Array:
    """A plane (H, W) without what is finer than `BROADEST`."""
    height, width = image.shape
    whole = image if tiles else relief.mirrored(image, 1, 1)
    row, column = np.fft.fftfreq(whole.shape[0])[:, None], np.fft.rfftfreq(whole.shape[1])[None]
    keep = np.exp(-np.log(2) * BROADEST**2 * (row**2 + column**2))  # half at that wavelength
    smooth: Array = np.fft.irfft2(np.fft.rfft2(whole) * keep, s=whole.shape).astype(np.float32)
    return smooth[:height, :width]
