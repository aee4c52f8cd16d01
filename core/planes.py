"""Planes: how networks see maps, as one array of eight channels; and back to maps that agree with each other.

In order: red, green, blue (sRGB-encoded), normal x, normal y (OpenGL, encoded n/2+1/2), roughness, ao, metallic, all
in [0, 1]. There is no height: it is the surface whose slopes the normals are (core/relief.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from . import bands, relief, scratch
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
SPARSE = 5  # one point of so many is measured: enough for a mean, and odd, so that none is preferred

_Pair = tuple[Array, Array]  # views of lines and of those that follow them
_Made = TypeVar("_Made")


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
        self.albedo = scratch.empty((height, width, 3))
        self.across, self.down = scratch.empty((height, width)), scratch.empty((height, width))
        self.data = {name: scratch.empty((height, width, 1)) for name in ("roughness", "ao", "metallic")}

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
        scratch.rest(*self._images())

    def even_borders(self, cell: int) -> Iterator[float]:
        """Bring the steps at the borders of cells, and half way between, down to the size of the others.

        Yields progress.
        What a network makes of neighbouring cells never quite meets; video codecs even such borders out as well
        (List et al. 2003, "Adaptive deblocking filter"). How much is measured, for each map and axis.
        """
        images = self._images()
        for done, image in enumerate(images, 1):
            even_borders(image.reshape(*image.shape[:2], -1), cell, (0, cell // 2), SPARSE)
            yield done / len(images)

    def maps(self) -> Maps:
        """All maps; the collected slopes are given up on the way."""
        surface = relief.integrate(self.across, self.down)
        del self.across, self.down
        normal, height, depth = relief.encode(surface)
        return Maps({"albedo": self.albedo, "normal": normal, "height": height, **self.data}, depth)

    def _images(self) -> list[Array]:
        return [self.albedo, self.across, self.down, *self.data.values()]


def even_borders(image: Array, cell: int, borders: Sequence[int] = (0,), sparse: int = 1) -> None:
    """Even out, in place, the steps at borders of the cells of a periodic image (H, W, C), down and across.

    They lie before the `borders`-th line of every cell. One point of `sparse` is measured; with all of them it does not
    matter where the torus begins.
    """
    for border in dict.fromkeys(borders):
        for axis in (0, 1):
            _even_border(image, axis, border, cell, sparse)


def _even_border(image: Array, axis: int, border: int, cell: int, sparse: int) -> None:
    """Even out, in place, the steps along an axis to the `border`-th line of every cell."""
    pairs = _pairs(image, axis, border, cell)
    usual, size = (
        _step(_pairs(image, axis, (border + cell // 4) % cell, cell), axis, sparse),
        _step(pairs, axis, sparse),
    )
    if size <= usual:
        return
    share = np.float32((1 - usual / size) / 2)

    def work(before: Array, after: Array) -> None:
        step = (after - before) * share
        before += step
        after -= step

    _each(pairs, work)


def _step(pairs: list[_Pair], axis: int, sparse: int) -> float:
    """Mean absolute step between pairs of lines along an axis, by some of their points."""
    some = (slice(None), slice(None, None, sparse)) if axis == 0 else (slice(None, None, sparse),)
    measured = [(before[some], after[some]) for before, after in pairs]
    sums = _each(measured, lambda before, after: float(np.abs(after - before).sum(dtype=np.float64)))
    return sum(sums) / max(1, sum(before.size for before, _ in measured))


def _each(pairs: list[_Pair], work: Callable[[Array, Array], _Made]) -> list[_Made]:
    """What the work makes of each part of the pairs, one channel at a time: numpy is slow where rows are short."""
    made: list[_Made] = []
    for before, after in pairs:

        def part(rows: slice, before: Array = before, after: Array = after) -> list[_Made]:
            return [work(before[rows, :, c], after[rows, :, c]) for c in range(before.shape[2])]

        made += chain.from_iterable(bands.each(len(before), part, before))
    return made


def _pairs(image: Array, axis: int, border: int, cell: int) -> list[_Pair]:
    """The lines before and at the `border`-th line of every cell, as views (n, W, C), or (H, n, C) across."""
    lines = image.swapaxes(0, axis)
    before, after = lines[(border - 1) % cell :: cell], lines[border::cell]
    pairs = [(before, after)] if border else [(before[:-1], after[1:]), (before[-1:], after[:1])]
    return [(one.swapaxes(0, axis), other.swapaxes(0, axis)) for one, other in pairs]
