"""Emboss: the structure that a picture shows, added to the relief of a material. Dark is deep.

What a picture shows of its own relief is unknown, but joints, cracks and the shadows between strokes are dark.
"""

from __future__ import annotations

import numpy as np

from . import relief
from .maps import Array, Maps

DEEP = 0.6  # slope of the picture's structure, as a share of the relief's own...
FLATTEST = 0.18  # ...and its least, in a plain material
BROADEST = 24.0  # pixels: what is wider is shade or colour, not structure
UNKNOWN = 0.02  # relief, as a share of the width, of a height map that does not tell it
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709


def emboss(maps: Maps, strength: float) -> Maps:
    """The maps with the structure of their albedo in normal and height, which agree; `strength` from 0 to 1."""
    surface, bumps = _surface(maps), _fine(maps["albedo"] @ LUMINANCE)
    own, made = _slope(surface), _slope(bumps)
    if made > 1e-6:
        surface = surface + bumps * np.float32(strength * max(FLATTEST, DEEP * own) / made)
    normal, height, depth = relief.encode(surface)
    return Maps({**maps, "normal": normal, "height": height}, depth)


def _surface(maps: Maps) -> Array:
    """The surface (H, W) in pixels that the maps describe."""
    if "normal" in maps and not (maps.relief and "height" in maps):
        return relief.of_normals(maps["normal"], tiles=True)
    if "height" in maps:
        return maps["height"][..., 0] * np.float32(maps.relief or UNKNOWN * maps.size[0])
    return np.zeros(maps.size[::-1], np.float32)


def _fine(grey: Array) -> Array:
    """A periodic picture (H, W) without its broad shapes."""
    row, column = np.fft.fftfreq(grey.shape[0])[:, None], np.fft.rfftfreq(grey.shape[1])[None]
    keep = 1 - np.exp(-(row**2 + column**2) * (BROADEST * np.pi) ** 2 / 8)
    fine: Array = np.fft.irfft2(np.fft.rfft2(grey) * keep, s=grey.shape).astype(np.float32)
    return fine


def _slope(surface: Array) -> float:
    """Root of the mean squared slope of a periodic surface."""
    steps = [(np.roll(surface, -1, axis) - np.roll(surface, 1, axis)) / 2 for axis in (0, 1)]
    return float(np.sqrt(sum((step**2).mean(dtype=np.float64) for step in steps)))
