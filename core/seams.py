"""Seams: tone that makes a photo's edges differ, and how well the place where they were joined hides.

A photo that was made to tile is looked at rolled by half, so that its edges meet in a cross in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .filling import Mask
from .maps import Array
from .quality import SEAM_LIMIT
from .scaling import halved

SIDE = 7  # pixels of the patches that are compared
DIRECTIONS = 24  # main directions of the patches that they are compared by
KEYS, QUERIES = 4000, 800  # patches of the photo, and of the healed place, drawn at random
PARTS = 10  # of the photo's patches by contrast
LIVELY = 0.75  # share of the photo's detail that a place has by chance
FLOOR = 0.1  # of the size of the patches: nearer than that all are alike
SCALES = 3  # resolutions at which patches are compared, each half of the last
DEPTH = 16  # a side over this is how deep the strips are whose tone is evened
TONE = 6  # a side over this is the finest tone that is evened along an edge


def even(image: Array) -> Array:
    """An image (H, W, C) in [0, 1] whose broad tone goes on from each edge to the opposite one.

    The difference of the edges' tones is spread over the whole image, so that it shows nowhere: the smooth part of
    Moisan 2011, "Periodic plus Smooth Image Decomposition".
    """
    height, width = image.shape[:2]
    jumps = np.zeros(image.shape)
    for axis, lines in ((1, image), (0, image.swapaxes(0, 1))):
        deep = max(1, lines.shape[1] // DEPTH)
        jump = _broad(lines[:, :deep].mean(1, dtype=np.float64) - lines[:, -deep:].mean(1, dtype=np.float64))
        target = jumps if axis == 1 else jumps.swapaxes(0, 1)
        target[:, 0] -= jump
        target[:, -1] += jump
    row = np.cos(2 * np.pi * np.fft.fftfreq(height))[:, None]
    column = np.cos(2 * np.pi * np.fft.rfftfreq(width))[None]
    wave = 2 * (row + column) - 4
    wave[0, 0] = 1
    spectrum = np.fft.rfft2(jumps, axes=(0, 1)) / wave[..., None]
    spectrum[0, 0] = 0
    smooth = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    return np.clip(image - smooth, 0, 1).astype(np.float32)


def _broad(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line of values (n, C), mirrored at its ends, without what is finer than the tone that is evened."""
    count = len(line)
    both = np.fft.rfft(np.concatenate([line, line[::-1]]), axis=0)
    keep = np.exp(-((np.fft.rfftfreq(2 * count) * 2 * count / TONE) ** 2))
    return np.fft.irfft(both * keep[:, None], n=2 * count, axis=0)[:count]


def bands(height: int, width: int, wide: int, across: bool = True, down: bool = True) -> Mask:
    """Bands (H, W), `wide` pixels each, around the lines where the edges in x and in y meet, on the torus."""
    rows, columns = (np.minimum(np.arange(side), side - 1 - np.arange(side)) < wide / 2 for side in (height, width))
    return (rows & down)[:, None] | (columns & across)[None]


def badness(picture: Array, photo: Array, place: Mask) -> float:
    """How much the healed place (H, W) of a periodic picture (H, W, C) stands out from its photo; 0 is not at all.

    The roughest of its lines beyond the limit of core/quality.py; how much farther its patches are from the photo's
    patches than these are from each other; and how much of its detail is lost. The last two at several resolutions.
    """
    total = max(0.0, roughness(picture, photo, place) - SEAM_LIMIT)
    for _ in range(SCALES):
        if min(photo.shape[:2]) < 4 * SIDE:
            break
        strange, dull = strangeness(picture, photo, place) - 1, LIVELY - liveliness(picture, photo, place)
        total += (max(0.0, strange) + 2 * max(0.0, dull)) / SCALES
        picture, photo = halved(picture), halved(photo)
        place = halved(place[..., None].astype(np.float32))[..., 0] > 0
    return total


def roughness(picture: Array, photo: Array, place: Mask) -> float:
    """Mean step at the roughest line along the place, over the 99th percentile of the photo's lines; 0 without any."""
    worst = 0.0
    for axis in (0, 1):
        steps = np.abs(picture - np.roll(picture, 1, axis)).mean((1 - axis, 2))
        usual = np.percentile(np.abs(np.diff(photo, axis=axis)).mean((1 - axis, 2)), 99)
        lines = place.mean(1 - axis) > 0.5
        lines = lines | np.roll(lines, 1)
        if lines.any():
            worst = max(worst, float(steps[lines].max()) / max(float(usual), 1e-4))
    return worst


def liveliness(picture: Array, photo: Array, place: Mask) -> float:
    """Mean step between neighbouring pixels of the place over that of the photo; a blur has little of it."""
    steps = [np.abs(picture - np.roll(picture, 1, axis))[place].mean() for axis in (0, 1)]
    usual = [np.abs(np.diff(photo, axis=axis)).mean() for axis in (0, 1)]
    return float(sum(steps)) / max(float(sum(usual)), 1e-4)


def strangeness(picture: Array, photo: Array, place: Mask) -> float:
    """Mean distance from the place's patches to the photo's nearest, over that among the photo's of like contrast."""
    random = np.random.default_rng(0)
    known = _patches(photo, _inside(photo.shape[0], photo.shape[1]))
    wrapped = np.pad(picture, ((0, SIDE), (0, SIDE), (0, 0)), mode="wrap")
    asked = _patches(wrapped, (np.argwhere(place) - SIDE // 2) % place.shape)
    known = known[random.permutation(len(known))[: KEYS + QUERIES]]
    asked = asked[random.permutation(len(asked))[:QUERIES]]
    others, known = known[: len(known) // 6], known[len(known) // 6 :]
    centre = known.mean(0)
    directions = np.linalg.eigh((known - centre).T @ (known - centre))[1][:, -DIRECTIONS:]
    keys, queries, usual = ((patches - centre) @ directions for patches in (known, asked, others))
    expected = _expected(others.std(1), _nearest(usual, keys), asked.std(1))
    # In a lattice whose cells are all alike the usual is next to nothing.
    floor = max(FLOOR * float(np.sqrt((keys**2).sum(1).mean())), 1e-4)
    return float(_nearest(queries, keys).mean()) / max(float(expected.mean()), floor)


def _expected(contrasts: Array, distances: Array, asked: Array) -> Array:
    """The mean distance of patches whose contrast is among the same tenth; joints are rarer than what they enclose."""
    order = np.argsort(contrasts)
    parts = [part for part in np.array_split(order, PARTS) if len(part)]
    means = np.array([distances[part].mean() for part in parts], np.float32)
    return np.interp(asked, [float(contrasts[part].mean()) for part in parts], means).astype(np.float32)


def _nearest(queries: Array, keys: Array) -> Array:
    """Distances (n,) to the nearest key."""
    squares = (queries**2).sum(1)[:, None] + (keys**2).sum(1)[None] - 2 * queries @ keys.T
    distances: Array = np.sqrt(np.maximum(squares.min(1), 0))
    return distances


def _inside(height: int, width: int) -> NDArray[np.int64]:
    """The corners (n, 2) of all patches of a picture that does not tile."""
    rows, columns = np.mgrid[: height - SIDE + 1, : width - SIDE + 1]
    return np.stack([rows.ravel(), columns.ravel()], 1)


def _patches(picture: Array, corners: NDArray[np.int64]) -> Array:
    """Patches (n, SIDE * SIDE * C) of a picture; at most four times as many as are compared."""
    most = 4 * (KEYS + QUERIES)
    if len(corners) > most:
        corners = corners[np.random.default_rng(1).permutation(len(corners))[:most]]
    return np.stack([part.ravel() for part in _cut(picture, corners)])


def _cut(picture: Array, corners: NDArray[np.int64]) -> Iterator[Array]:
    for row, column in corners:
        yield picture[row : row + SIDE, column : column + SIDE]
