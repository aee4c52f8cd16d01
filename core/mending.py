"""Holes filled with large pieces of the rest of the same picture.

For each block of the hole, the shifts at which its surroundings stand elsewhere too (He and Sun 2012, "Statistics of
Patch Offsets for Image Completion", but found by correlation), then the choice among them that shows the fewest
joints (core/labelling.py), at a coarse level; finer levels move the joints (core/matching.py). Pieces are copied, so
the filling is as sharp as the picture.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray

from . import labelling
from .maps import Array
from .matching import REACH, Exemplar, Mask, Sources, correct, widened
from .scaling import halved

COARSE = 128  # pixels of the longer side of the level at which pieces are chosen
LEAST = 24  # pixels of the shorter side of it
BLOCK = 20  # pixels on a side of a block of the hole
RING = 5  # pixels around a block, or more where nothing is known so near, that must fit
OWN, WHOLE = 3, 3  # shifts that are looked for for each block, and for the hole as a whole
APART = 3  # pixels between two shifts
COVERED = 0.9  # of a block that a shift must be able to fill
PASSES = 4  # corrections of the joints at each level

Boxes = tuple[slice, slice]


def fill(features: Array, shown: int, hole: Mask, tiles: bool) -> Generator[float, None, Sources]:
    """Places (H, W, 2) for each pixel: itself outside the hole, others of the same picture (H, W, C) in it.

    The first `shown` channels are unknown in the hole, the others known.
    """
    masks = _masks(hole)
    pictures = [features]
    while len(pictures) < len(masks):
        pictures.insert(0, halved(pictures[0]))
    levels = list(zip(pictures, masks, strict=True))
    sources = _chosen(*levels[0], shown, tiles)
    yield 0.3
    for number, (picture, missing) in enumerate(levels):
        if number:
            sources = finer(sources, *missing.shape)
        sources[~missing] = np.argwhere(~missing)
        sources = _corrected(picture, missing, sources, tiles)
        yield 0.3 + 0.7 * 4.0 ** (number + 1 - len(levels))
    return sources


def enough(hole: Mask, tiles: bool) -> bool:
    """Whether anything is left to fill a hole (H, W) from: at the coarse level, too, a patch without a hole in it."""
    levels = _masks(hole)
    return all((~widened(mask, REACH))[() if tiles else np.s_[REACH:-REACH, REACH:-REACH]].any() for mask in levels)


def _masks(hole: Mask) -> list[Mask]:
    """The hole at every resolution, coarse first."""
    levels = [hole]
    while max(levels[0].shape) > 1.5 * COARSE and min(levels[0].shape) >= 2 * LEAST:
        levels.insert(0, _halved(levels[0]))
    return levels


def finer(sources: Sources, height: int, width: int) -> Sources:
    """The same sources at twice the resolution, (height, width, 2): each pixel becomes four, and so does its place.

    Odd lines that the coarser level left out go on from the last ones.
    """
    doubled = sources.repeat(2, 0).repeat(2, 1) * 2
    doubled[1::2, :, 0] += 1
    doubled[:, 1::2, 1] += 1
    extra = height - min(height, len(doubled)), width - min(width, doubled.shape[1])
    if any(extra):
        doubled = np.pad(doubled, ((0, extra[0]), (0, extra[1]), (0, 0)), "edge")
    return np.ascontiguousarray(doubled[:height, :width])


def _themselves(height: int, width: int) -> Sources:
    rows, columns = np.meshgrid(np.arange(height, dtype=np.int32), np.arange(width, dtype=np.int32), indexing="ij")
    return np.stack([rows, columns], -1)


def _halved(mask: Mask) -> Mask:
    height, width = (side // 2 * 2 for side in mask.shape)
    even = mask[:height, :width]
    found: Mask = even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]
    return found


def _corrected(picture: Array, hole: Mask, sources: Sources, tiles: bool) -> Sources:
    """The sources with better joints. A picture with edges gets a mirrored margin, from which nothing is taken."""
    margin = 0 if tiles else REACH
    edges = ((margin, margin), (margin, margin))
    inside = np.s_[margin : margin + hole.shape[0], margin : margin + hole.shape[1]]
    wide = np.pad(picture, (*edges, (0, 0)), "symmetric")
    exemplar = Exemplar(wide, ~np.pad(hole, edges, constant_values=True), tiles)
    places = _themselves(*wide.shape[:2])
    places[inside] = sources + np.int32(margin)
    image = wide.copy()
    image[inside] = exemplar.gather(places[inside])
    free = np.zeros(wide.shape[:2], bool)
    free[inside] = hole
    for _ in correct(exemplar, places, image, PASSES, free):
        pass
    found: Sources = places[inside] - np.int32(margin)
    return found


def _chosen(picture: Array, hole: Mask, shown: int, tiles: bool) -> Sources:
    """Places (H, W, 2) that the pixels of a hole are taken from, in large pieces."""
    usable = ~hole
    search = _Search(picture, usable, shown, tiles)
    rows, columns = np.nonzero(hole)
    blocks = {}
    whole = search.shifts(hole, WHOLE)
    for box in _blocks(hole):
        part = np.zeros_like(hole)
        part[box] = hole[box]
        blocks[box[0].start // BLOCK, box[1].start // BLOCK] = search.shifts(part, OWN)
    empty = np.full((OWN, 2), 0, np.int32)
    choices = [np.broadcast_to(whole, (len(rows), *whole.shape))]
    count = [-(-side // BLOCK) for side in hole.shape]
    for down, across, most in ((0, 0, OWN), (0, 1, 1), (0, -1, 1), (1, 0, 1), (-1, 0, 1)):
        numbers = (rows // BLOCK + down) % count[0], (columns // BLOCK + across) % count[1]
        table = np.zeros((*count, most, 2), np.int32)
        for at in np.ndindex(*count):
            table[at] = blocks.get(at, empty)[:most]
        choices.append(table[numbers])
    places = np.concatenate(choices, 1) + np.stack([rows, columns], -1)[:, None].astype(np.int32)
    known = picture[..., :shown]
    stock = labelling.Stock(known, usable, tiles)
    dislike = np.zeros(places.shape[:2], np.float32)
    chosen, _ = labelling.choose(stock, hole, places, dislike, known)
    sources = _themselves(*hole.shape)
    found = places[np.arange(len(rows)), chosen]
    size = np.array(hole.shape, np.int32)
    sources[rows, columns] = found % size if tiles else np.clip(found, 0, size - 1)
    return sources


def _blocks(hole: Mask) -> Iterator[Boxes]:
    """The blocks that hold a part of the hole."""
    for top in range(0, hole.shape[0], BLOCK):
        for left in range(0, hole.shape[1], BLOCK):
            box = np.s_[top : top + BLOCK, left : left + BLOCK]
            if hole[box].any():
                yield box


class _Search:
    """Correlation of parts of a picture with all of it."""

    def __init__(self, picture: Array, usable: Mask, shown: int, tiles: bool) -> None:
        self.picture, self.usable, self.shown, self.tiles = picture, usable, shown, tiles
        height, width = usable.shape
        self.size = (height, width) if tiles else (2 * height, 2 * width)
        there = usable.astype(np.float32)
        self.there = self._spectrum(there)
        self.values = [self._spectrum(plane * there) for plane in np.moveaxis(picture, -1, 0)]
        self.squares = [self._spectrum(plane**2 * there) for plane in np.moveaxis(picture, -1, 0)]

    def shifts(self, part: Mask, count: int) -> NDArray[np.int32]:
        """The `count` best (down, across) at which the surroundings of a `part` of the hole stand elsewhere too."""
        ring, reach = part, 0
        while not reach or not ring.any():
            reach += RING
            ring = self._widened(part, reach) & self.usable
        around = self._widened(part, RING)  # of the channels that are known in the hole too
        error = np.zeros(self.size)
        rings = [self._spectrum(mask.astype(np.float32)) for mask in (ring, around)]
        for channel, (values, squares) in enumerate(zip(self.values, self.squares, strict=True)):
            known = channel >= self.shown
            mask = around if known else ring
            plane = self.picture[..., channel] * mask
            error += self._correlation(rings[int(known)], squares) - 2 * self._correlation(
                self._spectrum(plane), values
            )
            error += self._correlation(self._spectrum(plane**2), self.there)
        compared = self._correlation(rings[0], self.there)
        covered = self._correlation(self._spectrum(part.astype(np.float32)), self.there) / max(int(part.sum()), 1)
        mean = np.maximum(error, 0) / np.maximum(compared, 1)
        least = min(COVERED, 0.999 * float(covered.max()))
        mean[(covered < least) | (compared < 0.5 * ring.sum())] = np.inf
        if not np.isfinite(mean).any():
            mean = np.where(covered >= 0.999 * covered.max(), 0.0, np.inf)
        found = []
        for _ in range(count):
            at = np.unravel_index(int(mean.argmin()), mean.shape)
            found.append(
                [int(step) - size if step >= size // 2 else int(step) for step, size in zip(at, self.size, strict=True)]
            )
            near = [(int(step) + np.arange(-APART, APART + 1)) % size for step, size in zip(at, self.size, strict=True)]
            mean[np.ix_(*near)] = np.inf
        return np.array(found, np.int32)

    def _widened(self, mask: Mask, reach: int) -> Mask:
        if self.tiles:
            return widened(mask, reach)
        padded = np.pad(mask, reach)
        return widened(padded, reach)[reach:-reach, reach:-reach]

    def _spectrum(self, plane: Array) -> NDArray[np.complexfloating]:
        found: NDArray[np.complexfloating] = np.fft.rfft2(plane, s=self.size)
        return found

    def _correlation(
        self, first: NDArray[np.complexfloating], second: NDArray[np.complexfloating]
    ) -> NDArray[np.float64]:
        """For each shift, the sum of the first times the second that far on."""
        found: NDArray[np.float64] = np.fft.irfft2(np.conj(first) * second, s=self.size)
        return found
