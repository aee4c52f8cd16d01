"""Restore: holes closed and noise taken out of a picture, by one network.

A convolutional U-Net on folded pixels. It sees the picture with its holes filled smoothly (core/filling.py), a plane
that tells the holes, and one that tells how strong the noise is (Zhang et al. 2018, "FFDNet"). Narrow holes come out
sharp, wide ones as a soft guess.

    pixels float32 (1, 3, H, W), sRGB-encoded; hole (1, 1, H, W), 1 in it; noise (1, 1, H, W), standard deviation
        ->  healed float32 (1, 3, h, w), without the halo that the inputs carry
Sides and halo are multiples of the card's `size.multiple`; the halo is its `size.halo`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from .. import filling
from ..card import Card
from ..errors import InputError, ModelError
from ..filling import Mask
from ..maps import Array
from ..torus import Tile, window
from ..torus import tiles as cut
from . import Runner, run_tiles

INPUTS = {"pixels": 4, "hole": 4, "noise": 4}
OUTPUTS = {"healed": 4}
STRONGEST = 50 / 255  # standard deviation of the noise that a denoising of 1 takes out
FADE = 0.1  # denoising below this is mixed with the picture, so that it begins at nothing


@dataclass(frozen=True)
class Options:
    """How the work is cut up; the pixels do not depend on it."""

    tile: int = 512  # largest side, in pixels, that runs in one piece; smaller ones repeat more of their halo


def heal(
    card: Card,
    runner: Runner,
    image: Array,
    mask: Mask | Array | None,
    denoise: float,
    tiles: bool,
    options: Options | None = None,
) -> Generator[float, None, Array]:
    """A picture (H, W, 3), sRGB-encoded in [0, 1], healed; yields progress.

    `mask` (H, W) is true, or above 0, in the holes; below 1 it mixes what is found with what was there. `denoise` from
    0 to 1 says how much noise is taken out everywhere. Without both the picture comes back as it is. One that `tiles`
    goes on tiling; any other is mirrored at its edges, and may have any size. `InputError` for what cannot be had.
    """
    share = check(image, mask, denoise, tiles, card)
    if float(share.max()) == 0:
        return image
    hole = np.zeros(image.shape[:2], bool) if mask is None else mask.astype(np.float32) > 0
    filled = filling.fill(np.ascontiguousarray(image.transpose(2, 0, 1)), hole, tiles)
    yield 0.1
    found = yield from _network(card, runner, filled, hole, denoise, tiles, (options or Options()).tile)
    healed: Array = np.clip(found.transpose(1, 2, 0), 0, 1) - image
    healed *= share[..., None]
    healed += image
    return healed


def check(image: Array, mask: Mask | Array | None, denoise: float, tiles: bool, card: Card) -> Array:
    """How much of each pixel (H, W) is taken from the network, 0..1; `InputError` for what cannot be had."""
    height, width = image.shape[:2]
    if not 0 <= denoise <= 1:
        raise InputError(f"A denoising of {denoise:g} cannot be had; choose one from 0 to 1.")
    if tiles:
        card.size.check(width, height)
    share = np.full((height, width), min(1.0, denoise / FADE), np.float32)
    if mask is None:
        return share
    if mask.shape != (height, width):
        raise InputError(
            f"The mask has {'x'.join(map(str, mask.shape[1::-1]))} pixels and the picture {width}x{height}; "
            "give a mask of the picture's size."
        )
    if np.all(mask > 0):
        raise InputError("The mask covers the whole picture, which leaves nothing to heal it from; mask less of it.")
    return np.maximum(share, np.clip(mask, 0, 1).astype(np.float32))


def _network(
    card: Card, runner: Runner, filled: Array, hole: Mask, denoise: float, tiles: bool, tile: int
) -> Generator[float, None, Array]:
    """What the network makes of a filled picture (3, H, W), not clipped; the same where there is nothing to do."""
    multiple, halo = card.size.multiple, card.size.halo
    if halo % multiple:
        raise ModelError(f"The halo of '{card.name}' is no multiple of its cells; export the model again.")
    planes = np.concatenate([filled, hole[None]])[None]
    height, width = (side + -side % multiple for side in hole.shape)
    found = np.pad(filled, ((0, 0), (0, height - hole.shape[0]), (0, width - hole.shape[1])))

    def feeds(piece: Tile) -> dict[str, Array]:
        seen = window(planes, piece.scaled(multiple), halo, mirrored=not tiles)
        noise = np.full_like(seen[:, :1], denoise * STRONGEST)
        return {"pixels": seen[:, :3], "hole": seen[:, 3:], "noise": noise}

    pieces = cut(height // multiple, width // multiple, max(1, tile // multiple))
    needed = [p for p in pieces if denoise > 0 or hole[p.rows(multiple), p.columns(multiple)].any()]
    for piece, outputs, done in run_tiles(runner, needed, feeds):
        found[:, piece.rows(multiple), piece.columns(multiple)] = outputs[0][0]
        yield 0.1 + 0.9 * done
    return found[:, : hole.shape[0], : hole.shape[1]]
