"""Planes: how networks see maps, as one array of eight channels; and back to maps that agree with each other.

In order: red, green, blue (sRGB-encoded), normal x, normal y (OpenGL, encoded n/2+1/2), roughness, ao, metallic, all
in [0, 1]. There is no height: it is the surface whose slopes the normals are (core/relief.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import relief
from .maps import Array, Maps
from .torus import Tile

PLANES = 8
# Map -> its planes, and the neutral value of a map that is not there: flat, mid-rough, unoccluded, not a metal.
PLACES = {
    "albedo": slice(0, 3),
    "normal": slice(3, 5),
    "roughness": slice(5, 6),
    "ao": slice(6, 7),
    "metallic": slice(7, 8),
}
NEUTRAL = {"albedo": 0.5, "normal": 0.5, "roughness": 0.5, "ao": 1.0, "metallic": 0.0}
# Surfaces are metals or they are not: what a network leaves this close to 0 or 1 is its error.
GREY_METAL = 0.06
BAND = 64  # lines worked on at a time
SPARSE = 5  # one point of so many is measured: enough for a mean, and odd, so that none is preferred


def from_maps(maps: Maps) -> tuple[Array, Array]:
    """(planes (1, 8, H, W), known (1, 8, 1, 1)): missing maps are neutral and marked 0."""
    width, height = maps.size
    planes = np.empty((1, PLANES, height, width), np.float32)
    known = np.zeros((1, PLANES, 1, 1), np.float32)
    for name, place in PLACES.items():
        if name in maps:
            planes[0, place] = maps[name][..., : place.stop - place.start].transpose(2, 0, 1)
            known[0, place] = 1
        else:
            planes[0, place] = NEUTRAL[name]
    return planes, known


class Surfaces:
    """Collects tiles of planes, then turns them into maps; holds each pixel once so that 4096x4096 fits in memory."""

    def __init__(self, height: int, width: int) -> None:
        self.albedo = np.empty((height, width, 3), np.float32)
        self.across = np.empty((height, width), np.float32)
        self.down = np.empty((height, width), np.float32)
        self.data = {name: np.empty((height, width, 1), np.float32) for name in ("roughness", "ao", "metallic")}

    def put(self, tile: Tile, cell: int, planes: Array) -> None:
        """Take in the planes (8, H, W) of a tile, whose cells cover `cell` pixels each."""
        place = tile.rows(cell), tile.columns(cell)
        np.clip(planes[:3].transpose(1, 2, 0), 0, 1, out=self.albedo[place])
        self.across[place], self.down[place] = relief.slopes(planes[3], planes[4])
        for name, data in self.data.items():
            plane = planes[PLACES[name]].transpose(1, 2, 0)
            if name == "metallic":
                plane = (plane - GREY_METAL) / (1 - 2 * GREY_METAL)
            np.clip(plane, 0, 1, out=data[place])

    def even_borders(self, cell: int) -> None:
        """Bring the steps at the borders of cells, and half way between, down to the size of the others.

        What a network makes of neighbouring cells never quite meets; video codecs even such borders out as well
        (List et al. 2003, "Adaptive deblocking filter"). How much is measured, for each map and axis.
        """
        for image in (self.albedo, self.across, self.down, *self.data.values()):
            for border in {0, cell // 2}:
                even_borders(image, cell, border, SPARSE)

    def maps(self) -> Maps:
        """All maps; the collected slopes are given up on the way."""
        surface = relief.integrate(self.across, self.down)
        del self.across, self.down
        normal, height, depth = relief.encode(surface)
        return Maps({"albedo": self.albedo, "normal": normal, "height": height, **self.data}, depth)


def even_borders(image: Array, cell: int, border: int = 0, sparse: int = 1) -> None:
    """Even out, in place, the steps at the borders of the cells of a periodic image (H, W, ...), down and across.

    One point of `sparse` is measured; with all of them it does not matter where the torus begins.
    """
    for lines in (image, image.swapaxes(0, 1)):
        _even_border(lines, cell, border, sparse)


def _even_border(lines: Array, cell: int, border: int, sparse: int) -> None:
    """Even out, in place, the steps between lines `border` - 1 and `border` of every cell along the first axis."""
    after = np.arange(border, len(lines), cell)
    usual, size = _step(lines, (after + cell // 4) % len(lines), sparse), _step(lines, after, sparse)
    if size <= usual:
        return
    share = np.float32((1 - usual / size) / 2)
    for start in range(0, lines.shape[1], BAND):  # a band stays in the processor's cache
        band = lines[:, start : start + BAND]
        step = (band[after] - band[after - 1]) * share
        band[after - 1] += step
        band[after] -= step


def _step(lines: Array, after: NDArray[np.int64], sparse: int) -> float:
    """Mean absolute step to some lines from those before them, by some of their points."""
    some = lines[:, ::sparse]
    return float(np.abs(some[after] - some[after - 1]).mean())
