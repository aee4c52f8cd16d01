"""The torus: every map wraps around, and networks never need to know.

Graphs use plain convolutions. The input is wrapped once, with a halo as wide as the receptive field, and the graph
gives back what lies inside the halo. The same lines serve seamlessness and tiles: a tile is a window of the torus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# Blender 4.2 runs Python 3.11, which has no type parameters.
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Tile:
    """A rectangle of the torus, in cells."""

    top: int
    left: int
    height: int
    width: int

    def rows(self, scale: int = 1) -> slice:
        """Its rows, where a cell covers `scale` of them."""
        return slice(self.top * scale, (self.top + self.height) * scale)

    def columns(self, scale: int = 1) -> slice:
        """Its columns, where a cell covers `scale` of them."""
        return slice(self.left * scale, (self.left + self.width) * scale)

    def scaled(self, scale: int) -> Tile:
        """The same rectangle in cells of which `scale` make one of these."""
        return Tile(*(scale * side for side in (self.top, self.left, self.height, self.width)))

    def cut(self, largest: int) -> list[Tile]:
        """Tiles that cover it, of at most `largest` cells a side."""
        parts = tiles(self.height, self.width, largest)
        return [Tile(self.top + part.top, self.left + part.left, part.height, part.width) for part in parts]


def tiles(height: int, width: int, largest: int) -> Iterator[Tile]:
    """Cut `height` x `width` cells into tiles of at most `largest` cells a side, as equal as can be.

    Few different shapes matter: ONNX Runtime plans its memory anew for each shape it meets.
    """
    for top, tall in _spans(height, largest):
        for left, wide in _spans(width, largest):
            yield Tile(top, left, tall, wide)


def window(array: NDArray[Scalar], tile: Tile, halo: int, mirrored: bool = False) -> NDArray[Scalar]:
    """A tile of the last two axes (h, w) of a torus, with `halo` cells around it taken from the other side.

    What is `mirrored` at its edges is no torus: behind each edge lies its mirror image.
    """
    rows = _around(tile.top - halo, tile.top + tile.height + halo, array.shape[-2], mirrored)
    columns = _around(tile.left - halo, tile.left + tile.width + halo, array.shape[-1], mirrored)
    return np.ascontiguousarray(array[..., rows[:, None], columns])


def _around(first: int, last: int, length: int, mirrored: bool) -> NDArray[np.int64]:
    """The lines of an axis that stand for those from `first` to `last`, which may lie past its ends."""
    lines = np.arange(first, last)
    if not mirrored:
        return lines % length
    lines = lines % (2 * length)
    return np.minimum(lines, 2 * length - 1 - lines)


def _spans(length: int, largest: int) -> list[tuple[int, int]]:
    size = -(-length // -(-length // largest))
    return [(start, min(size, length - start)) for start in range(0, length, size)]
