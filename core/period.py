"""What repeats regularly in a picture, as bricks, tiles and weaves do: found, and fitted to a size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import scaling
from .emboss import LUMINANCE
from .maps import Array, Maps

SHORTEST = 8  # pixels of a period; finer weaves need no help
FEWEST = 2  # repetitions that must be seen
CLEAR = 0.13  # by how much a picture is more alike whole periods on than half ones, from which it counts as regular
NEARLY = 0.85  # a shorter period is taken if it is so nearly as clear as the clearest
MOST = 1.2  # a picture is not stretched or shrunk by more than this to fit
BROAD = 1 / 12  # of the shorter side: what is wider is shade, not pattern


@dataclass(frozen=True)
class Lattice:
    """How many pixels on a picture shows the same again; 0 where nothing repeats."""

    down: float
    across: float


def find(picture: Array) -> Lattice:
    """The periods of a picture (H, W, 3), each straight down or across."""
    grey = picture @ LUMINANCE
    # Courses of bricks are alike wherever one goes along them: what does not change along a way is left out.
    return Lattice(_period(grey - grey.mean(0)), _period((grey - grey.mean(1)[:, None]).T))


def _period(grey: Array) -> float:
    """After how many rows a picture (H, W) shows the same again, to a fraction of one; 0 where nothing repeats."""
    alike = _alike(grey)
    lags = np.arange(SHORTEST, (len(alike) - 1) / FEWEST, 0.25)
    if not len(lags):
        return 0.0
    places = np.arange(len(alike), dtype=np.float32)
    contrast = np.array([_contrast(alike, places, lag) for lag in lags])
    if contrast.max() < CLEAR:
        return 0.0
    first = int(np.flatnonzero(contrast >= NEARLY * contrast.max())[0])
    near = slice(first, first + int(0.2 * lags[first] / 0.25) + 1)  # on to the top of that peak
    return float(lags[near][contrast[near].argmax()])


def _contrast(alike: Array, places: Array, lag: float) -> float:
    """How much more alike the picture is whole lags on than half ones."""
    count = np.arange(1, int((len(alike) - 1) / lag) + 1)
    whole, half = (np.interp(count * lag - shift, places, alike) for shift in (0, lag / 2))
    return float(whole.mean() - half.mean())


def _alike(grey: Array) -> Array:
    """How alike a picture (H, W) is to itself so many rows on: 1 at 0, up to two thirds of the rows; without shades."""
    height = len(grey)
    row = np.fft.rfftfreq(2 * height)[:, None]
    broad = np.exp(-2 * (np.pi * BROAD * height * row) ** 2)
    ones = np.fft.rfft(np.ones((height, 1)), 2 * height, 0)
    weight = np.fft.irfft(ones * broad, 2 * height, 0)[:height]
    shade = np.fft.irfft(np.fft.rfft(grey, 2 * height, 0) * broad, 2 * height, 0)[:height] / weight
    power = (np.abs(np.fft.rfft(grey - shade, 2 * height, 0)) ** 2).mean(1)
    # The picture does not meet itself over its edges; what overlaps gets less and less.
    overlap = np.fft.irfft(np.abs(ones[:, 0]) ** 2, 2 * height)[: height * 2 // 3]
    alike = np.fft.irfft(power, 2 * height)[: height * 2 // 3] / overlap
    return (alike / max(float(alike[0]), 1e-12)).astype(np.float32)


def fitted(maps: Maps, width: int, height: int) -> tuple[Maps, Lattice]:
    """Maps stretched a little so that a whole number of their periods fills a size, and these periods."""
    lattice = find(maps["albedo"])
    wide, across = _stretched(maps.size[0], lattice.across, width)
    high, down = _stretched(maps.size[1], lattice.down, height)
    return scaling.fitted(maps, wide, high, tiles=False), Lattice(down, across)


def _stretched(side: int, period: float, wanted: int) -> tuple[int, float]:
    """(Pixels of a side, its period) so that a whole number of periods is as long as wanted."""
    if not period:
        return side, 0.0
    exact = wanted / max(1, round(wanted / period))
    if not 1 / MOST <= exact / period <= MOST:
        return side, 0.0
    return round(side * exact / period), exact
