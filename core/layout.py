"""Lay out a new torus from an example's cells: where each cell of a new material comes from.

Image quilting (Efros and Freeman 2001, "Image Quilting for Texture Synthesis and Transfer", section 2) on a torus
and in a small feature space rather than on pixels: patches are placed one after another where they fit what already
stands, among all positions of the example at once (correlation by FFT). The joins then move to where they show least
(a coherent search, Ashikhmin 2001, section 3). What is left of them is for the generator to heal.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .maps import Array

Indices = NDArray[np.int64]

PATCH = 18  # cells on a side of a patch
RING = 5  # cells around a patch that must fit
TOLERANCE = 1.1  # patches up to this factor worse than the best one are drawn from as well
EVEN = 0.05  # of the mean misfit, added to every misfit before reuse multiplies it
REUSE = 0.4  # how much dearer a place gets with each use
APART = 10  # cells: a patch must come from another place than its neighbour's continuation
PASSES = 6  # of moving the joins


@dataclass(frozen=True)
class Example:
    """What a layout is made from."""

    features: Array  # (H, W, D), one vector for each cell
    seamless: bool = True  # the example is a torus itself, so that patches may wrap around its edges


def quilt(example: Example, height: int, width: int, random: np.random.Generator) -> Indices:
    """A new layout of `height` x `width` cells: `(height, width)` flat indices into the example's cells.

    Neighbouring cells come from neighbouring cells of the example but for the joins; the layout is a torus.
    """
    offsets = _place(example, height, width, random)
    _move_joins(example, offsets)
    return _calm_edges(example, _sources(example, offsets))


def relay(example: Example, kept: NDArray[np.bool_], random: np.random.Generator) -> Indices:
    """The example's own layout, laid anew where it is not `kept` (rows, columns): `(rows, columns)` flat indices.

    What is laid fits what stays, on a torus: an example that does not tile does so after its edges are laid anew.
    """
    height, width = kept.shape
    offsets = _place(example, height, width, random, kept)
    _move_joins(example, offsets)
    return _sources(example, offsets)


def _calm_edges(example: Example, sources: Indices) -> Indices:
    """Roll a layout so that its edges lie where least happens: a torus has no corner, but a picture has."""
    laid = example.features.reshape(-1, example.features.shape[-1])[sources]
    for axis in (0, 1):
        steps = ((laid - np.roll(laid, 1, axis)) ** 2).sum(-1).mean(1 - axis)
        calmest = -int(np.argmin(steps))
        laid, sources = np.roll(laid, calmest, axis), np.roll(sources, calmest, axis)
    return sources


def _sources(example: Example, offsets: Indices) -> Indices:
    """(h, w, 2) offsets to (h, w) flat indices into the example."""
    rows, columns = example.features.shape[:2]
    height, width = offsets.shape[:2]
    y = (np.arange(height)[:, None] + offsets[..., 0]) % rows
    x = (np.arange(width)[None, :] + offsets[..., 1]) % columns
    sources: Indices = y * columns + x
    return sources


def _edges(length: int, longest: int) -> Indices:
    """Cut a circle of `length` cells into nearly equal patches of at most `longest`."""
    count = max(1 if length < 4 else 2, -(-length // longest))
    return np.round(np.linspace(0, length, count + 1)).astype(np.int64)


def _place(
    example: Example, height: int, width: int, random: np.random.Generator, kept: NDArray[np.bool_] | None = None
) -> Indices:
    """Offsets (h, w, 2) of patches that fit their neighbours, placed row by row; cells that are `kept` stay as is."""
    rows, columns, depth = example.features.shape
    # The plain features and their squared length: all that the sum of squared differences needs.
    spectrum = np.fft.rfft2(example.features, axes=(0, 1))
    power = np.fft.rfft2((example.features**2).sum(-1))
    longest = max(1, min(PATCH, rows // 2, columns // 2))
    ring = min(RING, longest // 2)
    down, across = _edges(height, longest), _edges(width, longest)
    offsets = np.zeros((height, width, 2), np.int64)
    target = np.zeros((height, width, depth), np.float32)
    filled = np.zeros((height, width), bool) if kept is None else kept.copy()
    if kept is not None:
        target[kept] = example.features[kept]
    used = np.zeros((rows, columns), np.float32)  # how often each cell of the example stands in the layout
    for top, bottom in pairwise(down):
        for left, right in pairwise(across):
            free = slice(top, bottom), slice(left, right)
            mine = np.ones((bottom - top, right - left), bool) if kept is None else ~kept[free]
            if not mine.any():
                continue
            corner = np.array([top - ring, left - ring])
            y = np.arange(top - ring, min(bottom + ring, top - ring + height))[:, None]
            x = np.arange(left - ring, min(right + ring, left - ring + width))[None, :]
            window = y % height, x % width
            mask = filled[window]
            # cost[y, x]: the window's corner taken from the example's (y, x).
            cost = _misfit(spectrum, power, target[window], mask, (rows, columns))
            cost = _spread(cost, used, (bottom - top, right - left), ring)
            _forbid(cost, _across(offsets, y, x)[mask] + corner, example.seamless, mask.shape)
            offset = np.array(_draw(cost, random)) - corner
            source = np.ix_((np.arange(top, bottom) + offset[0]) % rows, (np.arange(left, right) + offset[1]) % columns)
            offsets[free][mine] = offset
            filled[free] = True
            target[free][mine] = example.features[source][mine]
            used[source] += 1
    return offsets


def _across(offsets: Indices, y: Indices, x: Indices) -> Indices:
    """Offsets at places that may lie past the layout's edge, such that they hold on this side of it."""
    height, width = offsets.shape[:2]
    beyond = np.stack(np.broadcast_arrays(y % height - y, x % width - x), -1)
    found: Indices = offsets[y % height, x % width] + beyond
    return found


def _misfit(
    spectrum: NDArray[np.complexfloating],
    power: NDArray[np.complexfloating],
    known: Array,
    mask: NDArray[np.bool_],
    shape: tuple[int, int],
) -> Array:
    """Sum of squared differences of the known cells with the example, for each position of the window's corner."""
    known_spectrum = np.fft.rfft2(known, s=shape, axes=(0, 1))
    mask_spectrum = np.fft.rfft2(mask.astype(np.float32), s=shape)
    product = np.conj(mask_spectrum) * power - 2 * (np.conj(known_spectrum) * spectrum).sum(-1)
    misfit: Array = np.fft.irfft2(product, s=shape).astype(np.float32) + np.float32((known**2).sum())
    return np.maximum(misfit, 0)


def _spread(cost: Array, used: Array, patch: tuple[int, int], ring: int) -> Array:
    """Make what has been used before cost more, so that the eye does not meet the same stone again and again.

    `used` (rows, columns) counts; `patch` is the part of the window that will be taken, `ring` cells inside it.
    """
    box = np.zeros_like(used)
    box[: patch[0], : patch[1]] = 1 / (patch[0] * patch[1])
    counts = np.fft.irfft2(np.fft.rfft2(used) * np.conj(np.fft.rfft2(box)), s=used.shape).astype(np.float32)
    counts = np.roll(counts, (-ring, -ring), (0, 1))
    # A little of the mean keeps a perfect fit from being free: only copies fit perfectly.
    spread: Array = (cost + EVEN * cost.mean()) * (1 + REUSE * (counts - counts.min()))
    return spread


def _forbid(cost: Array, continuations: Indices, seamless: bool, window: tuple[int, ...]) -> None:
    """Rule out, in place, the neighbours' own continuations and what would leave an example that does not tile."""
    rows, columns = cost.shape
    if not seamless:
        cost[max(1, rows - window[0] + 1) :] = np.inf
        cost[:, max(1, columns - window[1] + 1) :] = np.inf
    allowed = cost.copy()
    reach = min(APART, rows // 4, columns // 4)
    near = np.arange(1 - reach, reach)
    for place in np.unique(continuations[:, 0] % rows * columns + continuations[:, 1] % columns):
        row, column = divmod(int(place), columns)
        cost[np.ix_((row + near) % rows, (column + near) % columns)] = np.inf
    if not np.isfinite(cost).any():  # a small example: better the neighbour's own continuation than a torn patch
        cost[:] = allowed


def _draw(cost: Array, random: np.random.Generator) -> tuple[int, int]:
    """One of the positions that fit nearly as well as the best."""
    best = float(cost.min())
    good = np.flatnonzero(cost <= best * TOLERANCE + 1e-6)
    y, x = divmod(int(good[random.integers(len(good))]), cost.shape[1])
    return y, x


def _move_joins(example: Example, offsets: Indices) -> None:
    """Let cells at a join take a neighbour's offset, in place, wherever that fits their surroundings better."""
    height, width = offsets.shape[:2]
    rows, columns, depth = example.features.shape
    flat = example.features.reshape(-1, depth)
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    for turn in range(PASSES):
        y, x = _at_joins(offsets, turn % 2)
        places = [((y + dy) % height, (x + dx) % width) for dy, dx in around]
        standing = flat[_sources(example, offsets)[tuple(np.array(places).swapaxes(0, 1))]]  # (8, n, D)
        best, lowest = offsets[y, x], np.full(len(y), np.inf, np.float32)
        beside = [_across(offsets, y + dy, x + dx) for dy, dx in [(0, 0), *around] if 0 in (dy, dx)]
        for candidate in beside:
            cost = np.zeros(len(y), np.float32)
            if not example.seamless:  # no cell may come from past the photo's edge
                outside = ((y + candidate[:, 0]) // rows != 0) | ((x + candidate[:, 1]) // columns != 0)
                cost[outside] = np.finfo(np.float32).max
            for (dy, dx), there in zip(around, standing, strict=True):
                row, column = (y + dy + candidate[:, 0]) % rows, (x + dx + candidate[:, 1]) % columns
                difference = flat[row * columns + column] - there
                cost += np.einsum("nd,nd->n", difference, difference)
            better = cost < lowest
            best[better], lowest[better] = candidate[better], cost[better]
        offsets[y, x] = best


def _at_joins(offsets: Indices, half: int) -> tuple[Indices, Indices]:
    """Rows and columns of the cells at a join; every other one, so that two neighbours never swap places."""
    differs = np.zeros(offsets.shape[:2], bool)
    for axis in (0, 1):
        step = (offsets != np.roll(offsets, 1, axis)).any(-1)
        differs |= step | np.roll(step, -1, axis)
    y, x = np.nonzero(differs)
    mine = (y + x) % 2 == half
    return y[mine], x[mine]
