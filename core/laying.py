"""A new texture laid of large pieces of an exemplar, on a torus and at a coarse level.

The pieces are those of image quilting (core/layout.py), or where the exemplar repeats itself in both axes, one for each
of its periods; which of the pieces around it each pixel belongs to is chosen so that joints show least
(core/labelling.py).
"""

from __future__ import annotations

import numpy as np

from . import labelling, layout
from .lattice import Periods
from .layout import Example
from .maps import Array
from .matching import Mask, Sources, around

STRIDE = 9  # pixels from one to the next of the places whose pieces a pixel may belong to
FINEST = 4.0  # pixels: shorter periods are not laid one by one
LONGEST = 0.45  # of a side of an exemplar that does not tile: longer ones leave no choice
PHASE = 2.0  # weight of where in its period a pixel stands, in standard deviations of the colours
FREEDOM = 0.6  # joints as a share of what a periodic texture has, below which another one is taken
LIKING = 0.25  # what a pixel gains where it belongs to the piece drawn for its period, in deviations of the features


def lay(
    features: Array, periods: Periods, height: int, width: int, tiles: bool, random: np.random.Generator
) -> Sources:
    """Places (height, width, 2) in an exemplar (h, w, C) for each pixel of a new texture.

    `periods` (down, across) are those of both; the texture has a whole number of them, and keeps to them unless
    pieces that do not meet far better.
    """
    down, across = periods
    free: Mask = np.ones((height, width), bool)
    stock = labelling.Stock(features, np.ones(features.shape[:2], bool), tiles)
    ways = []
    if down and across and _fits(down, features.shape[0], tiles) and _fits(across, features.shape[1], tiles):
        ways.append(_periodic(features.shape[:2], (down, across), height, width, tiles, random))
    if not ways and (down or across):
        ways.append(_quilted(with_phases(features, periods), height, width, tiles, random))
    ways.append(_quilted(features, height, width, tiles, random))
    best, least = ways[0][0][:, 0], np.inf
    for number, (places, dislike) in enumerate(ways):
        chosen, seen = labelling.choose(stock, free, places, dislike, None)
        if seen < least * (FREEDOM if number else 1.0):
            best, least = places[np.arange(len(places)), chosen], seen
    size = np.array(features.shape[:2], np.int32)
    found = best.reshape(height, width, 2)
    return found % size if tiles else np.clip(found, 0, size - 1)


def with_phases(features: Array, periods: Periods) -> Array:
    """The features (h, w, C) and where in its period each pixel stands: two waves for each axis that has periods."""
    size = np.float32(PHASE * features.std((0, 1)).max())
    planes = [features]
    for axis, period in enumerate(periods):
        if period:
            angle = 2 * np.pi * np.arange(features.shape[axis]) / period
            waves = size * np.stack([np.sin(angle), np.cos(angle)], -1).astype(np.float32)
            planes.append(np.broadcast_to(np.expand_dims(waves, 1 - axis), (*features.shape[:2], 2)))
    return np.concatenate(planes, -1)


def _fits(period: float, side: int, tiles: bool) -> bool:
    return period >= FINEST and (period <= side / 2 + 1 if tiles else period <= LONGEST * side)


def _quilted(
    features: Array, height: int, width: int, tiles: bool, random: np.random.Generator
) -> tuple[Sources, Array]:
    """((n, 9, 2) places, (n, 9) dislikes): where quilting takes each pixel from, and where the pieces around go on."""
    laid = layout.quilt(Example(features, tiles), height, width, random)
    sources = np.stack([laid // features.shape[1], laid % features.shape[1]], -1).astype(np.int32)
    rows, columns = (part.ravel() for part in np.indices((height, width)))
    beside = list(around(sources, rows, columns, STRIDE))
    places = np.stack([sources.reshape(-1, 2), *beside], 1)
    return places, np.zeros(places.shape[:2], np.float32)


def _periodic(
    have: tuple[int, ...],
    periods: tuple[float, float],
    height: int,
    width: int,
    tiles: bool,
    random: np.random.Generator,
) -> tuple[Sources, Array]:
    """((n, 9, 2) places, (n, 9) dislikes): for each pixel the piece drawn for its period, and those around it.

    Each is a whole number of periods of the exemplar away, so the pattern goes on.
    """
    counts = [max(1, round(side / period)) for side, period in zip((height, width), periods, strict=True)]
    stock = [
        max(1, round(side / period) if tiles else int((side + 0.25) / period))
        for side, period in zip(have, periods, strict=True)
    ]
    drawn = _drawn(counts, stock, random)
    rows, columns = (part.ravel() for part in np.indices((height, width)))
    at = [
        np.minimum((part / period).astype(np.int64), count - 1)
        for part, period, count in zip((rows, columns), periods, counts, strict=True)
    ]
    places = []
    for step in [(0, 0), *((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if (down, across) != (0, 0))]:
        beside = [part + move for part, move in zip(at, step, strict=True)]  # past the border when it wraps
        piece = drawn[beside[0] % counts[0], beside[1] % counts[1]]
        moved = [
            part + np.round((piece[:, axis] - beside[axis]) * periods[axis]).astype(np.int64)
            for axis, part in enumerate((rows, columns))
        ]
        places.append(np.stack(moved, -1).astype(np.int32))
    dislike = np.full((len(rows), len(places)), LIKING, np.float32)
    dislike[:, 0] = 0
    return np.stack(places, 1), dislike


def _drawn(counts: list[int], stock: list[int], random: np.random.Generator) -> Sources:
    """For each period of what is made, (rows, columns, 2): one of the exemplar's, all of them about equally often."""
    needed, choices = counts[0] * counts[1], stock[0] * stock[1]
    rounds = [random.permutation(choices) for _ in range(-(-needed // choices))]
    numbers = np.concatenate(rounds)[:needed].reshape(counts)
    return np.stack([numbers // stock[1], numbers % stock[1]], -1).astype(np.int32)
