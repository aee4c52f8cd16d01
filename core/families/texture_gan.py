"""Texture GAN: a new layout of a material's memory, plus noise, becomes all of its maps at once.

Graph inputs, for a tile of h x w cells and its halo (already added):
    cells  int64   (B, h, w)       rows of the memory, for each of B materials (two in a morph)
    share  float32 (B, 1, mh, mw)  weights of the materials, which sum to 1; m of them on each side of a cell
    noise  float32 (1, N, h, w)    standard normal
Graph output, the halo cropped off:
    planes float32 (1, 8, H, W)    as core/planes.py lists them
Stored constant: memory (rows, D), a row for each cell of each material.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..card import Card
from ..errors import ModelError
from ..layout import Example, Indices, quilt
from ..maps import Array
from ..planes import PLANES, Surfaces
from ..torus import Tile, tiles, window
from . import Request, Runner, Steps, run_tiles

INPUTS = {"cells": 3, "share": 4, "noise": 4}
OUTPUTS = {"planes": 4}

FEATURES = 6  # main directions of a material's codes that a layout is matched by
SOFT = 0.16  # width of the border between two morphed materials, in units of the mask's range
SPOT = 10.0  # cells: size of the spots of a morph's mask


@dataclass(frozen=True)
class _Settings:
    """What the card says of the graph."""

    cell: int  # pixels a cell covers on each side
    mix: int  # pixels a weight of `share` covers on each side
    noise: int  # channels of the noise
    memory: dict[str, tuple[int, int, int, bool]]  # material -> first row, rows, columns, seamless


def generate(card: Card, runner: Runner, request: Request) -> Steps:
    """Make all maps of a material, or of a morph between two (see `core.families.Family`)."""
    settings = _read(card)
    # A generator for each use: a morph of amount 0 is the material alone, noise and all.
    layout, grain = (np.random.default_rng(s) for s in np.random.SeedSequence(request.seed).spawn(2))
    height, width = request.height // settings.cell, request.width // settings.cell
    cells, share = _lay_out(settings, runner, request, height, width, layout)
    noise = grain.standard_normal((1, settings.noise, height, width), dtype=np.float32)
    yield 0.1
    surfaces = Surfaces(request.height, request.width)
    for tile, planes, done in _painted(card, settings, runner, request.tile, cells, share, noise):
        surfaces.put(tile, settings.cell, planes)
        yield 0.1 + 0.7 * done
    for evened in surfaces.even_borders(settings.cell):
        yield 0.8 + 0.1 * evened
    return surfaces.maps()


def _painted(
    card: Card, settings: _Settings, runner: Runner, largest: int, cells: Indices, share: Array, noise: Array
) -> Iterator[tuple[Tile, Array, float]]:
    """Tiles, their planes (8, H, W), and the share done by then."""
    halo, scale = card.size.halo // settings.cell, settings.cell // settings.mix

    def feeds(tile: Tile) -> dict[str, NDArray[Any]]:
        fine = window(share, tile.scaled(scale), halo * scale)
        return {"cells": window(cells, tile, halo), "share": fine, "noise": window(noise, tile, halo)}

    height, width = cells.shape[1:]
    pieces = list(tiles(height, width, max(1, largest // settings.cell)))
    for tile, (planes, *_), done in run_tiles(runner, pieces, feeds):
        expected = (1, PLANES, tile.height * settings.cell, tile.width * settings.cell)
        if planes.shape != expected:
            raise ModelError(
                f"The model '{card.name}' made planes of shape {planes.shape} instead of {expected}; "
                "its card is wrong, export it again."
            )
        yield tile, planes[0], done


def _lay_out(
    settings: _Settings, runner: Runner, request: Request, height: int, width: int, random: np.random.Generator
) -> tuple[Indices, Array]:
    """(cells, share) of the whole torus, see the top of this file."""
    memory = runner.tensor("memory")
    scale = settings.cell // settings.mix
    cells = [_layout_of(settings, memory, request.material, height, width, random)]
    if request.morph is None:
        return np.stack(cells), np.ones((1, 1, height * scale, width * scale), np.float32)
    cells.append(_layout_of(settings, memory, request.morph, height, width, random))
    mask = _spots(height * scale, width * scale, SPOT * scale, random)
    second = np.clip((request.amount * (1 + SOFT) - mask) / SOFT, 0, 1)
    return np.stack(cells), np.stack([1 - second, second])[:, None]


def _layout_of(
    settings: _Settings, memory: Array, material: str, height: int, width: int, random: np.random.Generator
) -> Indices:
    """Rows of the memory (height, width) for a new layout of one material."""
    start, rows, columns, seamless = settings.memory[material]
    if start + rows * columns > len(memory):
        raise ModelError(f"The card's memory of '{material}' lies outside the model's; export the model again.")
    codes = np.asarray(memory[start : start + rows * columns], np.float32)
    codes = codes - codes.mean(0)
    _, directions = np.linalg.eigh(codes.T @ codes)
    features = (codes @ directions[:, -FEATURES:]).reshape(rows, columns, -1)
    return start + quilt(Example(features, seamless), height, width, random)


def _spots(height: int, width: int, size: float, random: np.random.Generator) -> Array:
    """A periodic field (height, width) of ragged spots of about `size`, its values spread evenly over 0..1."""
    row, column = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    # Flat up to the size of the spots, then falling like the outlines of clouds and coasts.
    fall = (1 + (row**2 + column**2) * (2 * size) ** 2) ** -1.4
    field = np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) * fall, s=(height, width))
    ranks = np.empty(field.size, np.float32)
    ranks[np.argsort(field, axis=None, kind="stable")] = np.linspace(0, 1, field.size, dtype=np.float32)
    return ranks.reshape(field.shape)


def _read(card: Card) -> _Settings:
    """Check the part of the card that is this family's own."""
    try:
        raw: Any = card.settings
        memory = {
            str(m["material"]): (int(m["start"]), int(m["height"]), int(m["width"]), bool(m.get("seamless", True)))
            for m in raw["memory"]
        }
        settings = _Settings(int(raw["cell"]), int(raw["mix"]), int(raw["noise"]), memory)
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"The card of '{card.name}' lacks its 'cell', 'mix', 'noise' or 'memory' settings; export the model again."
        ) from None
    numbers = [settings.cell, settings.mix, settings.noise, *(n for m in memory.values() for n in m[1:3])]
    if (
        min(numbers) < 1
        or max(numbers) > 4096
        or settings.cell % settings.mix
        or any(m[0] < 0 for m in memory.values())
    ):
        raise ModelError(
            f"The card of '{card.name}' has 'cell', 'mix', 'noise' or 'memory' settings out of range; "
            "export the model again."
        )
    missing = [m.name for m in card.materials if m.name not in memory]
    if missing:
        raise ModelError(
            f"The card of '{card.name}' promises '{missing[0]}' but has no memory of it; export the model again."
        )
    return settings
