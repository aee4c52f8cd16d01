"""Patches of a style: which of them stand where in a picture that is made of nothing else.

Sources are places in the style, an int32 array (h, w, 2) of (row, column) for each cell of a torus. Neighbours whose
sources are neighbours too copy a whole piece of the style; how such pieces grow is the coherence search of Ashikhmin
2001, "Synthesizing Natural Textures", weighed against the best match as in Hertzmann et al. 2001, "Image Analogies".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .maps import Array

SIDE = 3  # cells on a side of a patch
DEPTH = 32  # main directions of the patches that they are compared by
# A piece of the style goes on while its distance is at most 1 + this many times that of the best patch.
COHERENCE = 1.0
# Perfect matches, as in flat parts, would leave no room for that: a share of the patches' variance is free.
FREE = 0.02
PASSES = 3  # cells by which a piece may grow before the picture is looked at anew
AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1))

Sources = NDArray[np.int32]


class Patches:
    """All patches of a style at one resolution."""

    def __init__(self, features: Array, most: int) -> None:
        """`features` (H, W, C) of the style, at least 3x3; the search for the best looks at `most` patches."""
        self.features = features
        self.rows, self.columns = features.shape[0] - SIDE + 1, features.shape[1] - SIDE + 1
        windows = np.lib.stride_tricks.sliding_window_view(features, (SIDE, SIDE), (0, 1))  # rows, columns, C, 3, 3
        vectors = windows.reshape(self.rows * self.columns, -1)
        draw = np.random.default_rng(0).permutation(len(vectors))
        self.searched = np.sort(draw[:most])  # at random: a regular choice would miss the same part of every brick
        sample = vectors[self.searched]
        centre = sample.mean(0)
        sample = sample - centre
        directions = np.linalg.eigh(sample.T @ sample)[1][:, ::-1][:, :DEPTH]
        self.projection: Array = directions.T.reshape(-1, features.shape[2], SIDE, SIDE).copy()
        self.projection.flags.writeable = False  # like `search`, so that a GPU gets it once
        self.keys: Array = vectors @ directions  # (patches, D)
        self.free = FREE * float(self.keys.var(0).sum())

    @cached_property
    def search(self) -> tuple[Array, Array]:
        """(keys (D, n), penalty (n,)): the nearest patch has the greatest product with a query, less its penalty."""
        keys = self.keys[self.searched]
        found = np.ascontiguousarray(keys.T), (keys**2).sum(1) / 2
        for array in found:
            array.flags.writeable = False
        return found

    def sources(self, nearest: NDArray[np.int64]) -> Sources:
        """Centres of the patches found: numbers (h, w) among the searched ones to sources."""
        patch = self.searched[nearest]
        centre = SIDE // 2
        return np.stack([patch // self.columns + centre, patch % self.columns + centre], -1).astype(np.int32)

    def cohere(self, queries: Array, best: Sources, before: Sources | None, loyalty: float) -> Sources:
        """Let pieces of the style grow, where they fit nearly as well as the best patches of the search.

        `queries` (h, w, D) are projected; what stood there `before` stays if it fits as well. `loyalty` from 0 to 1
        says how much worse a fit is taken to keep pieces whole. All cells decide at once, so that it matters nowhere
        where the torus begins.
        """
        distance = self._distance(queries, best)
        allowed = (1 + loyalty * COHERENCE) * (distance + loyalty * self.free)
        found = best
        if before is not None:
            former = self._distance(queries, before)
            stays = former <= allowed
            found, distance = np.where(stays[..., None], before, best), np.where(stays, former, distance)
        for _ in range(PASSES):
            lowest, nearest, agree = np.full_like(distance, np.inf), found, np.zeros(distance.shape, np.int8)
            for candidate in _continued(found):
                agree += (candidate == found).all(-1)
                other = self._distance(queries, candidate)
                better = other < lowest
                lowest = np.where(better, other, lowest)
                nearest = np.where(better[..., None], candidate, nearest)
            joins = (lowest <= allowed) & ((agree < 2) | (lowest < distance))
            found = np.where(joins[..., None], nearest, found)
            distance = np.where(joins, lowest, distance)
        return found

    def vote(self, sources: Sources) -> Array:
        """(h, w, C) the mean of what all patches that overlap a cell say of it."""
        votes = self.gather(sources)
        for step in _ring():
            votes = votes + self.gather(_from(sources, step))
        votes /= SIDE**2
        return votes

    def gather(self, sources: Sources) -> Array:
        """(h, w, C) features that stand at the sources, or at the border where they lie past it."""
        height, width = self.features.shape[:2]
        row, column = np.clip(sources[..., 0], 0, height - 1), np.clip(sources[..., 1], 0, width - 1)
        flat: Array = self.features.reshape(-1, self.features.shape[2]).take(row * width + column, 0)
        return flat

    def _distance(self, queries: Array, sources: Sources) -> Array:
        """(h, w) squared distance of projected queries to the patches at the sources; infinite past the border."""
        row, column = sources[..., 0] - SIDE // 2, sources[..., 1] - SIDE // 2
        inside = (row >= 0) & (row < self.rows) & (column >= 0) & (column < self.columns)
        difference = self.keys.take(np.where(inside, row * self.columns + column, 0), 0)
        difference -= queries
        return np.where(inside, np.einsum("hwd,hwd->hw", difference, difference), np.float32(np.inf))


def finer(sources: Sources) -> Sources:
    """The same sources at twice the resolution: each cell becomes four, and so does its place in the style."""
    doubled = sources.repeat(2, 0).repeat(2, 1) * 2
    doubled[1::2, :, 0] += 1
    doubled[:, 1::2, 1] += 1
    return doubled


def _continued(sources: Sources) -> Iterator[Sources]:
    """For each of four neighbours, what would stand here if its piece of the style went on."""
    for step in AROUND:
        yield _from(sources, step)


def _from(sources: Sources, step: tuple[int, int]) -> Sources:
    """What the patch `step` cells back says should stand here."""
    return np.roll(sources, step, (0, 1)) + np.array(step, np.int32)


def _ring() -> Iterator[tuple[int, int]]:
    reach = range(-(SIDE // 2), SIDE // 2 + 1)
    return ((down, across) for down in reach for across in reach if (down, across) != (0, 0))
