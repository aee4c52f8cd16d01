"""Joints of a picture laid from pieces of another: evened out in tone, so that no step shows where pieces meet.

The result is the torus whose differences from pixel to pixel are those within the pieces (gradient-domain blending,
Perez et al. 2003, "Poisson Image Editing", here by FFT), held near the plain layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .maps import Array

Mask = NDArray[np.bool_]
Places = NDArray[np.signedinteger[Any]]  # (h, w, 2): row and column in the source that each pixel is taken from


def laid(source: Array, sources: Places) -> Array:
    """The source (C, H, W) as `sources` lay it, (C, h, w)."""
    return source[:, sources[..., 0], sources[..., 1]]


def evened(
    source: Array,
    sources: Places,
    hold: float,
    tiles: bool = True,
    changing: Mask | None = None,
) -> Array:
    """The source (C, H, W) laid out by `sources`, (C, h, w), without steps in tone where pieces meet.

    `hold` is the weight of a pixel's own value against its differences: tones are carried about 1/sqrt(hold) pixels.
    A source that does not tile has nothing past its edges. With `changing`, a mask of both the source and of what is
    laid, only those pixels change, and what the source has there counts for nothing.
    """
    plain = laid(source, sources)
    height, width = plain.shape[1:]
    spectrum: Any = 0
    total = np.full((height, width // 2 + 1), hold)
    for axis, count in enumerate((height, width)):
        step = np.exp(2j * np.pi * np.fft.fftfreq(count))
        wave = (step[:, None] if axis == 0 else step[None, : width // 2 + 1]) - 1
        missing = _steps(source, plain, sources, axis, tiles, changing)
        if changing is not None:  # one side of a joint takes all of the step where the other has to stay
            both = changing + np.roll(changing, -1, axis).astype(np.float32)
            missing *= np.where(both == 1, np.float32(2), np.float32(both > 0))
        spectrum = spectrum + np.conj(wave) * np.fft.rfft2(missing)
        total += np.abs(wave) ** 2
    change = np.fft.irfft2(spectrum / total, s=(height, width)).astype(np.float32)
    if changing is not None:
        change *= changing
    return plain + change


def _steps(source: Array, plain: Array, sources: Places, axis: int, tiles: bool, unknown: Mask | None) -> Array:
    """What the differences from each laid pixel (C, h, w) to the next along an axis lack; nothing within a piece.

    At a joint the difference should be the mean of what either piece has there.
    """
    following = np.roll(sources, -1, axis)
    size = np.array(source.shape[1:])
    unit = np.eye(2, dtype=np.int64)[axis]
    own, own_counts = _at(source, sources + unit, size, tiles, unknown)
    other, other_counts = _at(source, following - unit, size, tiles, unknown)
    next_one = np.roll(plain, -1, axis + 1)
    own, other = (own - plain) * own_counts, (next_one - other) * other_counts
    counts = own_counts + other_counts
    wanted = (own + other) / np.maximum(counts, 1)
    return np.where(counts > 0, wanted - (next_one - plain), np.float32(0))


def _at(source: Array, places: Places, size: Places, tiles: bool, unknown: Mask | None) -> tuple[Array, Array]:
    """What the source has at places (h, w, 2), and 1 where that is known, else 0."""
    inside = places % size
    known = np.ones(places.shape[:2], bool) if tiles else (inside == places).all(-1)
    if unknown is not None:
        known &= ~unknown[inside[..., 0], inside[..., 1]]
    return laid(source, inside), known.astype(np.float32)
