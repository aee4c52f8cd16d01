"""A photo made to tile by laying its opposite edges over one another.

How far they overlap is chosen, so that courses of bricks or threads meet their like; within the overlap one edge gives
way to the other along the path of least difference (Efros and Freeman 2001, "Image Quilting", section 2.2). The
smaller texture is stretched to the photo's size by its spectrum, which blurs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import relief
from .filling import Mask
from .maps import Array, Maps
from .scaling import halved

MOST, LEAST = 0.33, 0.04  # of a side that overlaps
COARSE = 256  # pixels at most of a line's reduced length, on which the overlap is sought first
TRIED = 3  # of the best overlaps there are looked at in full
ALIKE = 0.5  # weight of the whole overlap beside the path: a path through plain tiles does not see that one is too wide
DEAR = 0.5  # losing all of a side costs this much more of the difference
NEAR = 8  # pixels from a join within which it may be seen
FEATHER = 3  # pixels over which one edge gives way to the other
SLOPES = 0.5  # weight of normals and height beside colour

Path = NDArray[np.int64]


@dataclass(frozen=True)
class Join:
    """How the ends of lines (H, W) are laid over one another."""

    period: int  # pixels that are left of W
    path: Path  # (H,): left of it the far end is seen, from it on the near one
    cost: float


def lay(maps: Maps, across: bool = True, down: bool = True) -> tuple[Maps, Mask]:
    """Smaller maps that tile, and where they were joined (h, w); `across` and `down` say in which directions.

    In a direction that is not to be joined the maps tile already.
    """
    images: Mapping[str, Array] = maps.images
    place = np.zeros(maps.size[::-1], bool)
    for joins, closed, axes in ((across, not down, (0, 1)), (down, True, (1, 0))):
        if joins:
            lines = {name: image.transpose(*axes, 2) for name, image in images.items()}
            join = _best(_guide(lines), closed)
            images = {name: _joined(image, join, closed).transpose(*axes, 2) for name, image in lines.items()}
            place = (place.transpose(axes)[:, -join.period :] | _near(join)).transpose(axes)
    return Maps({name: np.ascontiguousarray(image) for name, image in images.items()}, maps.relief), place


def stretched(maps: Maps, width: int, height: int) -> Maps:
    """Maps that tile at a larger size; the relief grows as the mean of both sides does."""
    if maps.size == (width, height):
        return maps
    made = {name: _finer(image, height, width) for name, image in maps.items()}
    wide, tall = width / maps.size[0], height / maps.size[1]
    mean = float(np.sqrt(wide * tall))
    if "normal" in made:
        across, down = relief.slopes(made["normal"][..., 0], made["normal"][..., 1])
        made["normal"] = normal_of(across * np.float32(mean / wide), down * np.float32(mean / tall))
    return Maps(made, maps.relief * mean)


def normal_of(across: Array, down: Array) -> Array:
    """Encoded OpenGL normals (H, W, 3) of slopes (H, W), as those of core/relief.py."""
    normal = np.stack([-across, down, np.ones_like(down)], -1)
    normal *= 0.5 / np.sqrt((normal**2).sum(-1, keepdims=True))
    normal += 0.5
    return normal


def _guide(images: Mapping[str, Array]) -> Array:
    """What the edges are compared by (H, W, C)."""
    parts = [images["albedo"]] if "albedo" in images else []
    parts += [np.float32(SLOPES) * images[name][..., :2] for name in ("normal", "height") if name in images]
    return np.concatenate(parts or list(images.values()), -1)


def _best(guide: Array, closed: bool) -> Join:
    """The overlap of least difference along the lines of a guide (H, W, C); `closed` where line H - 1 meets line 0."""
    reduced, scale = guide, 1
    while reduced.shape[1] > COARSE and min(reduced.shape[:2]) >= 32:
        reduced, scale = halved(reduced), 2 * scale
    width = reduced.shape[1]
    coarse = [_join(reduced, overlap, closed) for overlap in range(max(2, int(LEAST * width)), int(MOST * width) + 1)]
    coarse = sorted(coarse, key=lambda join: join.cost)[:TRIED]
    near = {
        overlap
        for join in coarse
        for overlap in range((width - join.period - 1) * scale, (width - join.period + 1) * scale + 1)
        if 2 <= overlap <= guide.shape[1] // 2
    }
    return min((_join(guide, overlap, closed) for overlap in sorted(near)), key=lambda join: join.cost)


def _join(guide: Array, overlap: int, closed: bool) -> Join:
    """The path of least difference through an overlap."""
    width = guide.shape[1]
    squares = ((guide[:, :overlap] - guide[:, width - overlap :]) ** 2).sum(-1)
    path, cost = _path(squares, closed)
    whole = float(np.sqrt(squares.mean()))
    return Join(
        width - overlap, path, (float(np.sqrt(cost / len(squares))) + ALIKE * whole) * (1 + DEAR * overlap / width)
    )


def _path(squares: Array, closed: bool) -> tuple[Path, float]:
    """The path down through costs (H, W) that moves by at most one column a row, and what it costs.

    One that is closed ends where it begins: in the middle of the best open one.
    """
    if not closed:
        return _open_path(squares)
    half = len(squares) // 2
    rolled = np.roll(squares, -half, 0)
    start = int(_open_path(squares)[0][half])
    fenced = rolled.copy()
    far = np.abs(np.arange(squares.shape[1]) - start)
    fenced[0][far > 0] = fenced[-1][far > 1] = 1e6
    path, cost = _open_path(fenced)
    return np.roll(path, half), cost


def _open_path(squares: Array) -> tuple[Path, float]:
    height, width = squares.shape
    fenced = np.full(width + 2, np.inf)  # costs so far, between two columns that no path takes
    total = fenced[1:-1]
    total[:] = squares[0]
    ways = np.zeros((height, width), np.int8)
    for row in range(1, height):
        left, right = fenced[:-2], fenced[2:]
        beside = np.minimum(left, right)
        ways[row] = np.where(beside < total, np.where(left <= right, -1, 1), 0)
        total[:] = squares[row] + np.minimum(beside, total)
    path = np.empty(height, np.int64)
    path[-1] = int(total.argmin())
    for row in range(height - 1, 0, -1):
        path[row - 1] = path[row] + ways[row, path[row]]
    return path, float(total.min())


def _joined(image: Array, join: Join, closed: bool) -> Array:
    """An image (H, W, C) whose lines tile (H, period, C)."""
    overlap = image.shape[1] - join.period
    far = (np.arange(overlap)[None] <= join.path[:, None]).astype(np.float32)
    share = np.pad(far, ((FEATHER // 2,) * 2, (0, 0)), mode="wrap" if closed else "edge")
    share = np.pad(share, ((0, 0), (FEATHER // 2,) * 2), mode="edge")
    share = np.lib.stride_tricks.sliding_window_view(share, (FEATHER, FEATHER)).mean((2, 3))
    share[:, 0] = 1  # what comes before is the far end
    made = image[:, : join.period].copy()
    made[:, :overlap] += share[..., None] * (image[:, join.period :] - made[:, :overlap])
    return made


def _near(join: Join) -> Mask:
    """The pixels (H, period) near a join."""
    away = np.abs(np.arange(join.period)[None] - join.path[:, None])
    near: Mask = np.minimum(away, join.period - away) <= NEAR
    return near


def _finer(image: Array, height: int, width: int) -> Array:
    """A periodic image (H, W, C) at a larger size, by zeros around its spectrum."""
    for axis, count in ((0, height), (1, width)):
        have = image.shape[axis]
        if count == have:
            continue
        spectrum = np.fft.rfft(image, axis=axis)
        if have % 2 == 0:  # the finest wave now has a partner
            spectrum[(slice(None),) * axis + (-1,)] *= 0.5
        image = (np.fft.irfft(spectrum, n=count, axis=axis) * (count / have)).astype(np.float32)
    return np.clip(image, 0, 1)
