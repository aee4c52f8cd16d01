"""Holes filled smoothly: the mean of what is known around, near things first.

Normalised convolution (Knutsson and Westin 1993) with kernels that double their width, laid over one another as in
the push-pull pyramids of Gortler et al. 1996, "The Lumigraph". All levels keep the full resolution (`à trous`), so that
it does not matter where the torus begins. A few sweeps of the heat equation take the last corners away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .maps import Array

SWEEPS = 16  # of the heat equation
ENOUGH = 0.25  # share of known pixels under a kernel past which wider ones have no say

Mask = NDArray[np.bool_]


def fill(planes: Array, hole: Mask, tiles: bool) -> Array:
    """Planes (C, H, W) with the pixels of the hole (H, W) replaced; what does not tile is mirrored at its edges.

    Outside the hole nothing changes. There must be a pixel outside.
    """
    if not hole.any():
        return planes
    if hole.all():
        raise ValueError("nothing is known outside the hole")
    weight = (~hole).astype(np.float32)[None]
    sums = np.concatenate([np.where(hole, np.float32(0), planes), weight])
    found = np.zeros_like(sums)
    left = np.ones(hole.shape, np.float32)
    step = 1
    while float(left[hole].max()) > 1e-3:
        sums = _blurred(_blurred(sums, step, 1, tiles), step, 2, tiles)
        share = left * np.minimum(1, sums[-1] / np.float32(ENOUGH))
        found += sums * (share / np.maximum(sums[-1], np.float32(1e-12)))
        left = left - share
        step *= 2
    filled: Array = np.where(hole, found[:-1] / np.maximum(found[-1], np.float32(1e-12)), planes)
    return _relaxed(filled, hole, tiles)


def neighbours(hole: Mask, tiles: bool) -> list[NDArray[np.int64]]:
    """Flat places of the pixels above, below, left and right of each pixel of a hole (H, W)."""
    (height, width), places = hole.shape, np.argwhere(hole)
    found = []
    for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        row, column = (places + step).T
        if tiles:
            row, column = row % height, column % width
        else:
            row, column = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
        found.append(row * width + column)
    return found


def _relaxed(planes: Array, hole: Mask, tiles: bool) -> Array:
    """Planes (C, H, W) whose pixels in the hole came nearer to the mean of their neighbours (Jacobi's method)."""
    flat = planes.reshape(len(planes), -1)
    inside, beside = np.flatnonzero(hole), neighbours(hole, tiles)
    for _ in range(SWEEPS):
        flat[:, inside] = np.float32(0.25) * (
            (flat[:, beside[0]] + flat[:, beside[1]]) + (flat[:, beside[2]] + flat[:, beside[3]])
        )
    return flat.reshape(planes.shape)


def _blurred(planes: Array, step: int, axis: int, tiles: bool) -> Array:
    """Planes under the kernel (1, 2, 1) / 4 with `step` pixels between its taps."""
    count = planes.shape[axis]
    taps = [np.arange(count) + way * step for way in (-1, 1)]
    if tiles:
        taps = [tap % count for tap in taps]
    else:
        taps = [np.minimum(tap % (2 * count), 2 * count - 1 - tap % (2 * count)) for tap in taps]
    beside: Array = planes.take(taps[0], axis)
    beside += planes.take(taps[1], axis)
    beside *= np.float32(0.5)
    beside += planes
    beside *= np.float32(0.5)
    return beside
