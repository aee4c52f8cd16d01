"""Patches of one picture: how near each of them comes to the surroundings of a pixel, and which one comes nearest.

A source is a place (row, column) in the exemplar; sources, an int32 array (H, W, 2), say for each pixel of a torus
where it is taken from. Neighbours whose sources are neighbours too copy a whole piece. How the pieces meet better and
better is the correction of Lefebvre and Hoppe 2005, "Parallel Controllable Texture Synthesis", section 3.3: each pixel
at a join may take what its neighbours' pieces have in its place, if that fits its surroundings better.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .maps import Array

SIDE = 7  # pixels on a side of a patch
REACH = SIDE // 2
DEPTH = 24  # main directions of the patches that they are compared by
SAMPLE = 4096  # patches that those directions are found from
CHUNK = 16384  # patches that are projected together
KEEP = 0.999  # a pixel changes its piece only for a better fit than this share of its own
AROUND = tuple((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1) if (down, across) != (0, 0))

Sources = NDArray[np.int32]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Exemplar:
    """All patches of a picture at one resolution."""

    def __init__(self, features: Array, usable: Mask, tiles: bool) -> None:
        """`features` (h, w, C); patches that hold a pixel that is not `usable` (h, w) count for nothing.

        Unless the picture `tiles`, neither do those past its edges.
        """
        self.features, self.tiles = features, tiles
        self.height, self.width, self.depth = features.shape
        self.flat: Array = features.reshape(-1, self.depth)
        unusable = widened(~usable, REACH)
        if not tiles:
            unusable[:REACH], unusable[-REACH:], unusable[:, :REACH], unusable[:, -REACH:] = True, True, True, True
        self.valid: Mask = ~unusable
        self.places: Indices = np.flatnonzero(self.valid)
        draw = np.random.default_rng(0).permutation(len(self.places))[:SAMPLE]
        sample = _windows(features)[np.divmod(self.places[draw], self.width)].reshape(len(draw), -1)
        self.centre: Array = sample.mean(0)
        sample = sample - self.centre
        _, directions = np.linalg.eigh(sample.T @ sample)
        self.projection: Array = np.ascontiguousarray(directions[:, ::-1][:, :DEPTH], np.float32)
        rows, columns = np.divmod(np.arange(self.height * self.width), self.width)
        self.keys: Array = self.project(features, rows, columns)

    def project(self, image: Array, rows: Indices, columns: Indices) -> Array:
        """(n, D): the surroundings of pixels of a torus (H, W, C), as patches are compared."""
        found = np.empty((len(rows), self.projection.shape[1]), np.float32)
        offset = self.centre @ self.projection
        windows = _windows(image)
        for part in range(0, len(rows), CHUNK):
            here = slice(part, part + CHUNK)
            around = windows[rows[here], columns[here]]
            np.matmul(around.reshape(len(around), -1), self.projection, out=found[here])
        found -= offset
        return found

    def flattened(self, sources: Sources) -> tuple[Indices, Mask]:
        """(n,) numbers of sources (n, 2) and whether there are patches: wrapped where the exemplar tiles."""
        row, column = sources[..., 0].astype(np.int64), sources[..., 1].astype(np.int64)
        if self.tiles:
            number = row % self.height * self.width + column % self.width
            return number, self.valid.take(number)
        inside = (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)
        number = np.where(inside, row * self.width + column, 0)
        return number, inside & self.valid.take(number)

    def distance(self, queries: Array, sources: Sources) -> Array:
        """(n,) squared distances of queries (n, D) to the patches at sources (n, 2); infinite where there is none."""
        number, there = self.flattened(sources)
        difference = self.keys.take(number, 0)
        difference -= queries
        return np.where(there, np.einsum("nd,nd->n", difference, difference), np.float32(np.inf))

    def wrapped(self, sources: Sources) -> Sources:
        """The same places, inside the picture."""
        return sources % np.array((self.height, self.width), np.int32)

    def gather(self, sources: Sources) -> Array:
        """(..., C) what stands at the sources, in a picture that wraps."""
        row, column = sources[..., 0] % self.height, sources[..., 1] % self.width
        found: Array = self.flat.take(row.astype(np.int64) * self.width + column, 0)
        return found


def _windows(image: Array) -> Array:
    """(H, W, SIDE, SIDE * C), a view: the surroundings of all pixels of a torus (H, W, C)."""
    padded = np.pad(image, ((REACH, REACH), (REACH, REACH), (0, 0)), "wrap")
    lines = padded.reshape(len(padded), -1)
    windows: Array = np.lib.stride_tricks.sliding_window_view(lines, (SIDE, SIDE * image.shape[2]))
    return windows[:, :: image.shape[2]]


def widened(mask: Mask, reach: int) -> Mask:
    """The mask (H, W) of a torus with all that lies within `reach` pixels of it, in both axes."""
    for axis in (0, 1):
        wide = mask.copy()
        for step in range(1, reach + 1):
            wide |= np.roll(mask, step, axis) | np.roll(mask, -step, axis)
        mask = wide
    return mask


def joins(sources: Sources, height: int, width: int) -> Mask:
    """Pixels (H, W) of a torus that do not go on where one of their four neighbours is, in an exemplar that wraps."""
    found = np.zeros(sources.shape[:2], bool)
    for axis in (0, 1):
        step = sources - np.roll(sources, 1, axis)
        step[..., axis] -= 1
        step[..., 0] %= height
        step[..., 1] %= width
        broken = step.any(-1)
        found |= broken | np.roll(broken, -1, axis)
    return found


def around(sources: Sources, rows: Indices, columns: Indices, stride: int = 1) -> Iterator[Sources]:
    """For each of eight neighbours, `stride` pixels away, (n, 2): what stands at these pixels if its piece goes on."""
    height, width = sources.shape[:2]
    for down, across in np.array(AROUND) * stride:
        beside = sources[(rows + down) % height, (columns + across) % width]
        yield beside - np.array((down, across), np.int32)


def correct(
    exemplar: Exemplar,
    sources: Sources,
    image: Array,
    passes: int,
    free: Mask | None = None,
) -> Iterator[None]:
    """Let pieces meet better, in place: sources (H, W, 2) and the image (H, W, C) that they lay on the torus.

    Only what is `free` (H, W) changes. One yield for each pass.
    """
    for _ in range(passes):
        for half in (0, 1):  # every other pixel, so that two neighbours never swap places
            near = widened(joins(sources, exemplar.height, exemplar.width), REACH)
            if free is not None:
                near &= free
            rows, columns = np.nonzero(near)
            mine = (rows + columns) % 2 == half
            rows, columns = rows[mine], columns[mine]
            if not len(rows):
                continue
            queries = exemplar.project(image, rows, columns)
            best = sources[rows, columns]
            lowest = exemplar.distance(queries, best)
            for candidate in around(sources, rows, columns):
                distance = exemplar.distance(queries, candidate)
                better = distance < lowest * KEEP
                best = np.where(better[:, None], candidate, best)
                lowest = np.where(better, distance, lowest)
            best = exemplar.wrapped(best)
            sources[rows, columns] = best
            image[rows, columns] = exemplar.gather(best)
        yield
