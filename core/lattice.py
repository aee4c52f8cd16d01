"""Periods: after how many pixels a picture of bricks, tiles or planks resembles itself, found by autocorrelation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .maps import Array

BROAD = 3.0  # shading broader than this share of a side (1 / BROAD) says nothing of periods
SHORTEST = 6  # pixels
LONGEST = 0.6  # of a side: less than that much overlap proves nothing
PROMINENT = 0.12  # how far a peak must stand above the valley before it; 1 is the whole of a picture like itself
EQUAL = 0.85  # of the highest peak: the first one as high as this is the period, the others are its multiples

Floats = NDArray[np.float64]
Periods = tuple[float | None, float | None]  # down, across; in pixels


def periods(grey: Array, tiles: bool) -> Periods:
    """(down, across) in pixels for a grey picture (H, W), with or without edges; None where none stands out."""
    alike = _autocorrelation(grey, tiles)
    found = []
    for axis, side in enumerate(grey.shape):
        # A picture that is turned by a hair is met one line beside the axis.
        beside = np.stack([np.roll(alike, step, 1 - axis).take(0, 1 - axis) for step in (-1, 0, 1)]).max(0)
        length = _first_peak(beside[: int(side * LONGEST)])
        found.append(side / round(side / length) if tiles and length else length)
    return found[0], found[1]


def _autocorrelation(grey: Array, tiles: bool) -> Floats:
    """How much a picture resembles itself at each shift; 1 at none, 0 for what has nothing in common."""
    height, width = grey.shape
    rows, columns = np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width
    spectrum = np.fft.rfft2(grey - grey.mean())
    spectrum *= 1 - np.exp(-(rows**2 + columns**2) / (2 * BROAD**2))
    fine = np.fft.irfft2(spectrum, s=grey.shape)
    size = (height, width) if tiles else (2 * height, 2 * width)
    alike: Floats = np.fft.irfft2(np.abs(np.fft.rfft2(fine, s=size)) ** 2, s=size)
    alike = alike[:height, :width] if tiles else alike
    if not tiles:  # the fewer pixels overlap, the less their sum tells: it is a mean that counts
        down, across = (np.maximum(side - np.minimum(np.arange(2 * side), 2 * side - np.arange(2 * side)), 1) / side
                        for side in (height, width))  # fmt: skip
        alike = alike / (down[:, None] * across[None])
    return alike / max(float(alike[0, 0]), 1e-9)


def _first_peak(alike: Floats) -> float | None:
    """Where a curve that falls from 1 first rises again as high as it ever does, to a fraction of a pixel."""
    inner = alike[1:-1]
    tops = 1 + np.flatnonzero((inner > alike[:-2]) & (inner >= alike[2:]))
    tops = tops[tops >= SHORTEST]
    tops = tops[alike[tops] - np.minimum.accumulate(alike)[tops] >= PROMINENT]
    if not len(tops):
        return None
    first = int(tops[alike[tops] >= EQUAL * alike[tops].max()][0])
    # A later multiple tells the period more exactly.
    length = _between(alike, first)
    for count in range(2, int(len(alike) / length)):
        near = [top for top in tops.tolist() if abs(top / count - length) * count <= max(2.0, 0.1 * length)]
        if not near:
            break
        length = _between(alike, max(near, key=lambda top: alike[top])) / count
    return length


def _between(alike: Floats, top: int) -> float:
    """The top of the parabola through three neighbours."""
    before, here, after = alike[top - 1 : top + 2]
    bend = before - 2 * here + after
    return float(top + (before - after) / (2 * bend)) if bend < 0 else float(top)
