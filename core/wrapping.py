"""Wraps: how much of a photo to take so that its opposite borders, laid over each other, meet; and the cut between.

The cut is the path of least error of Efros and Freeman 2001, "Image Quilting for Texture Synthesis and Transfer",
section 2.1, through the overlap of a photo with itself.
"""

from __future__ import annotations

import numpy as np

from .maps import Array
from .matching import Indices
from .scaling import halved

COARSE = 128  # pixels of the side along which lengths are first tried
LEAST, MOST = 0.05, 0.3  # of a side that the overlap takes
SHORTER = 1.5  # how much worse a fit is reckoned for each share of the photo that it leaves out
PATH = 1.0  # weight of the mean error along the cut beside that of the whole overlap
ASTRAY = 0.04  # of a period: further from a whole number of them...
WORSE = 1.3  # times the largest error within: an error across the wrap that shows a broken pattern
BROKEN = 5.0  # ...a fit is reckoned so much worse


def whole(length: int, period: float) -> bool:
    """Whether a length is a whole number of periods, or so short that it cannot be."""
    return length < period or abs(length / period - round(length / period)) <= ASTRAY


def breaks(image: Array, axis: int, period: float) -> bool:
    """Whether a picture (H, W, C) resembles itself one period further on less across its wrap than anywhere within."""
    step = round(period)
    errors = ((image - np.roll(image, -step, axis)) ** 2).sum(2).mean(1 - axis)
    if len(errors) < 3 * step:  # too few to compare with
        return False
    means = np.convolve(errors, np.full(step, 1 / step), "valid")
    return bool(means[-1] > WORSE * means[:-step].max())


def lengths(image: Array, axis: int, period: float | None) -> int:
    """How many lines of a picture (H, W, C) to take along an axis so that the overlap of the others fits best.

    A whole number of periods, if there is one.
    """
    image = image.swapaxes(0, 1) if axis == 0 else image
    small, factor = image, 1
    while small.shape[1] >= 2 * COARSE:
        small, factor = halved(small), factor * 2
    width = small.shape[1]
    tried = range(int(width * (1 - MOST)), int(width * (1 - LEAST)) + 1)
    best = min(tried, key=lambda length: _misfit(small, length, period / factor if period else None))
    if factor == 1:
        return best
    near = range(max(1, (best - 1) * factor), min(image.shape[1] - 2, (best + 1) * factor) + 1)
    return min(near, key=lambda length: _misfit(image, length, period))


def lay(image: Array, axis: int, length: int, closed: bool) -> tuple[Indices, float]:
    """Which line of a picture (H, W, C) each pixel of the wrapped one is taken from, and the mean error of the cut.

    The first is (H, length) for axis 1 and (length, W) for axis 0. The cut is `closed` when the picture already wraps
    along the other axis.
    """
    image = image.swapaxes(0, 1) if axis == 0 else image
    errors = _errors(image, length)
    overlap = errors.shape[1]
    path, cost = _path(errors, closed)
    lines = np.broadcast_to(np.arange(length), (len(image), length)).copy()
    first = np.arange(overlap) < path[:, None]
    lines[:, :overlap][first] += length
    return (lines.T if axis == 0 else lines), cost


def _misfit(image: Array, length: int, period: float | None) -> float:
    errors = _errors(image, length)
    left_out = errors.shape[1] / image.shape[1]
    cost = float(errors.mean()) + PATH * _path(errors, closed=False)[1]
    broken = period is not None and not whole(length, period)
    return float(cost * (1 + SHORTER * left_out) * (BROKEN if broken else 1.0))


def _errors(image: Array, length: int) -> Array:
    """(H, overlap) squared differences of a picture's left border and of what lies `length` to the right of it."""
    overlap = image.shape[1] - length
    difference = image[:, :overlap] - image[:, length:]
    errors: Array = np.einsum("hwc,hwc->hw", difference, difference)
    return errors


def _path(errors: Array, closed: bool) -> tuple[Indices, float]:
    """The path down errors (H, B) with the least sum: its column in each row, and the mean error beside it."""
    # Between two columns, a step shows as much as both of them differ.
    steps = errors[:, :-1] + errors[:, 1:] if errors.shape[1] > 1 else errors
    if closed:  # the middle one of three rounds
        steps = np.concatenate([steps] * 3)
    rows, columns = steps.shape
    total = np.full((rows, columns + 2), np.inf, np.float32)
    total[0, 1:-1] = steps[0]
    for row in range(1, rows):
        before = total[row - 1]
        np.minimum(before[:-2], before[1:-1], out=total[row, 1:-1])
        np.minimum(total[row, 1:-1], before[2:], out=total[row, 1:-1])
        total[row, 1:-1] += steps[row]
    path = np.empty(rows, np.int64)
    path[-1] = int(total[-1].argmin())
    for row in range(rows - 2, -1, -1):
        at = path[row + 1]
        path[row] = at - 1 + int(total[row, at - 1 : at + 2].argmin())
    if closed:
        path = path[rows // 3 : 2 * rows // 3]
    return path, float(steps[np.arange(len(path)), path - 1].mean()) / 2
