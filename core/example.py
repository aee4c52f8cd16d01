"""Texture by example: a photo made to tile, grown to any size, or mended, from nothing but its own pixels.

What is made is first a map of places: where in the photo each pixel is taken from. All maps of the material are laid
by the same places, so they stay aligned, and they are as sharp as the photo. Nothing is trained.

`synthesize` lays a new texture (image quilting in core/layout.py at a coarse level, the joints then corrected level by
level, core/matching.py); `seamless` keeps the photo and lets its borders meet (core/wrapping.py) or fills them anew;
`mend` fills a hole coarse to fine (Wexler et al. 2007, "Space-Time Completion of Video").
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from . import joining, lattice, laying, mending, wrapping
from .card import LARGEST
from .emboss import LUMINANCE
from .errors import InputError
from .families import Steps
from .maps import Array, Maps
from .matching import Exemplar, Mask, Sources, correct, joins
from .quality import tiles as tiling
from .scaling import fitted, halved

SMALLEST = 32  # pixels on a side of a photo, and of what is made
COARSE = 128  # pixels of the longer side at which a new texture is laid
LEAST = 24  # pixels of the shorter side at any level
SLOPES = 0.5  # weight of the normal map's x and y beside the colours when patches are compared
PASSES = 3  # corrections of the joints at each level
HOLD = 0.02  # of a pixel's own value against its differences from its neighbours, when joints are evened out
STRETCH = 0.2  # largest change of scale that makes whole periods fit


@dataclass(frozen=True)
class _Level:
    """An exemplar's features at one resolution, and the size of what is made."""

    features: Array  # (h, w, C)
    height: int
    width: int


def synthesize(maps: Maps, width: int, height: int, seed: int = 0, like: bool = False) -> Steps:
    """A texture of `width` x `height` pixels that tiles, from maps whose albedo need not tile; a step of work.

    A new one of the same kind, at the same scale; or with `like`, the photo itself with its layout, made to tile and
    scaled so that it fits the size a whole number of times. Periods, as of bricks, come out whole. `InputError` when
    there is no albedo, or a size is out of range.
    """
    _check(maps)
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise InputError(
            f"A size of {width}x{height} cannot be made: each side must have from {SMALLEST} to {LARGEST} pixels."
        )
    if like:
        whole = yield from seamless(maps)
        return _repeated(whole, width, height)
    tiles = _tiles(maps)
    maps, periods = _whole_periods(maps, width, height, tiles)
    sources = yield from _new(maps, width, height, periods, tiles, np.random.default_rng(seed))
    made = _laid(maps, sources, tiles)
    yield 1.0
    return made


def seamless(maps: Maps) -> Steps:
    """The same picture, made to tile; a step of work. `InputError` when there is no albedo or it is too small.

    What tiles already comes back as it is. Otherwise the middle stays and the borders change: they are laid over each
    other and cut where it shows least, which makes the picture smaller, or the wrap is filled anew from the rest,
    whichever looks more like the photo.
    """
    _check(maps)
    if _tiles(maps):
        return maps
    features = _features(maps)
    sources = _cut(features, lattice.periods(maps["albedo"] @ LUMINANCE, tiles=False))
    exemplar = Exemplar(features, np.ones(features.shape[:2], bool), tiles=False)
    yield 0.5
    image = exemplar.gather(sources)
    for _ in correct(exemplar, sources, image, PASSES):
        yield 0.8
    return _laid(maps, sources, tiles=False)


def mend(maps: Maps, hole: Mask, tiles: bool) -> Steps:
    """The maps with a `hole` (H, W) filled from the rest of the same picture; a step of work.

    Nothing outside the hole changes. `tiles` tells whether the picture wraps around its edges. `InputError` when
    nothing is left to fill the hole from.
    """
    _check(maps)
    if hole.shape != maps["albedo"].shape[:2]:
        raise InputError("The hole and the maps differ in size; scale one to the size of the other.")
    if not hole.any():
        return maps
    if not mending.enough(hole, tiles):
        raise InputError("The hole leaves too little of the picture to fill it from; mark less of it.")
    features = _features(maps)
    features = np.where(hole[..., None], features[~hole].mean(0), features)
    periods = lattice.periods(features[..., :3] @ LUMINANCE, tiles)
    sources = yield from mending.fill(laying.with_phases(features, periods), features.shape[2], hole, tiles)
    return _laid(maps, sources, tiles, hole)


def _tiles(maps: Maps) -> bool:
    """Whether the maps tile; a wrap amid a tile or a board shows no seam, and yet it breaks the pattern."""
    if not tiling(maps):
        return False
    albedo = maps["albedo"]
    periods = lattice.periods(albedo @ LUMINANCE, tiles=False)
    return not any(period and wrapping.breaks(albedo, axis, period) for axis, period in enumerate(periods))


def _check(maps: Maps) -> None:
    if "albedo" not in maps:
        raise InputError("A texture by example needs an albedo map, or a picture, to take from; add one.")
    if min(maps.size) < SMALLEST:
        raise InputError(f"The picture is too small to take from; give one of at least {SMALLEST} pixels a side.")


def _features(maps: Maps) -> Array:
    """What pixels (H, W, C) are compared by: colour, and where there is a normal map, slope."""
    if "normal" not in maps:
        return maps["albedo"]
    return np.concatenate([maps["albedo"], SLOPES * maps["normal"][..., :2]], -1)


def _whole_periods(maps: Maps, width: int, height: int, tiles: bool) -> tuple[Maps, lattice.Periods]:
    """The maps scaled a little, so that a whole number of their periods (down, across) fits the size; and those."""
    periods = lattice.periods(maps["albedo"] @ LUMINANCE, tiles)
    have_width, have_height = maps.size
    scales, scaled = [], []
    for period, size in zip(periods, (height, width), strict=True):
        scale = size / (period * max(1, round(size / period))) if period else 1.0
        scale = scale if abs(np.log(scale)) <= STRETCH else 1.0
        scales.append(scale)
        scaled.append(period * scale if period else None)
    maps = _stretched(maps, round(have_width * scales[1]), round(have_height * scales[0]), tiles)
    return maps, (scaled[0], scaled[1])


def _stretched(maps: Maps, width: int, height: int, tiles: bool) -> Maps:
    """The maps at another size, the slopes of the surface changing with it as those of a drawn-out one do."""
    down, across = height / maps.size[1], width / maps.size[0]
    made = fitted(maps, width, height, tiles)
    if "normal" not in made or made is maps or down == across:
        return made
    normal = made["normal"] * 2 - 1
    middle = np.float32(np.sqrt(down * across))  # a surface scaled as a whole keeps its slopes
    normal[..., 0] *= middle / np.float32(across)
    normal[..., 1] *= middle / np.float32(down)
    return Maps({**made, "normal": _unit(normal)}, made.relief)


def _unit(normal: Array) -> Array:
    """Encoded normals of length 1 from vectors (H, W, 3)."""
    length = np.maximum(np.sqrt(np.einsum("hwc,hwc->hw", normal, normal)), np.float32(1e-6))
    encoded: Array = normal / (2 * length[..., None]) + np.float32(0.5)
    return encoded


def _repeated(maps: Maps, width: int, height: int) -> Maps:
    """Maps that tile, a whole number of times in a size, which they are scaled to fit."""
    across, down = max(1, round(width / maps.size[0])), max(1, round(height / maps.size[1]))
    if width % across == 0 and height % down == 0:
        one = _stretched(maps, width // across, height // down, tiles=True)
        return Maps({name: np.tile(image, (down, across, 1)) for name, image in one.items()}, one.relief)
    whole = Maps({name: np.tile(image, (down, across, 1)) for name, image in maps.items()}, maps.relief)
    return _stretched(whole, width, height, tiles=True)


def _levels(features: Array, width: int, height: int) -> list[_Level]:
    """The exemplar and the size of what is made at every resolution, coarse first."""
    levels = [_Level(features, height, width)]
    while max(features.shape[:2]) > 1.5 * COARSE and min(features.shape[:2]) >= 2 * LEAST:
        features, height, width = halved(features), -(-height // 2), -(-width // 2)
        levels.insert(0, _Level(features, height, width))
    return levels


def _new(
    maps: Maps,
    width: int,
    height: int,
    periods: lattice.Periods,
    tiles: bool,
    random: np.random.Generator,
) -> Generator[float, None, Sources]:
    """Places (height, width, 2) of a new texture."""
    levels = _levels(_features(maps), width, height)
    first = levels[0]
    factor = 2 ** (len(levels) - 1)
    coarse = [period / factor if period else None for period in periods]
    sources = laying.lay(first.features, (coarse[0], coarse[1]), first.height, first.width, tiles, random)
    yield 0.2
    done, whole = 0, sum(4**number for number in range(len(levels)))
    for number, level in enumerate(levels):
        if number:
            sources = mending.finer(sources, level.height, level.width)
        exemplar = Exemplar(level.features, np.ones(level.features.shape[:2], bool), tiles)
        image = exemplar.gather(sources)
        for turn, _ in enumerate(correct(exemplar, sources, image, PASSES)):
            yield 0.2 + 0.7 * (done + 4**number * (turn + 1) / PASSES) / whole
        done += 4**number
    return sources


def _cut(features: Array, periods: lattice.Periods) -> Sources:
    """Places of the picture laid over its own borders, in both axes."""
    length = wrapping.lengths(features, 1, periods[1])
    columns, _ = wrapping.lay(features, 1, length, closed=False)
    wrapped = np.take_along_axis(features, columns[..., None], 1)
    tall = wrapping.lengths(features, 0, periods[0])
    rows, _ = wrapping.lay(wrapped, 0, tall, closed=True)
    return np.stack([rows, np.take_along_axis(columns, rows, 0)], -1).astype(np.int32)


def _laid(maps: Maps, sources: Sources, tiles: bool, changing: Mask | None = None) -> Maps:
    """All maps as `sources` lay them, with the joints between the pieces evened out."""
    width, height = maps.size
    joined = bool(joins(sources, height, width).any())
    made = {}
    for name, image in maps.items():
        source = np.moveaxis(image, -1, 0)
        if joined:
            planes = np.clip(joining.evened(source, sources, HOLD, tiles, changing), 0, 1)
        else:
            planes = joining.laid(source, sources)
        made[name] = np.ascontiguousarray(np.moveaxis(planes, 0, -1))
        if name == "normal" and joined:
            made[name] = _unit(made[name] * 2 - 1)
    return Maps(made, maps.relief)
