"""Previews: the tiled albedo beside a ball of the material, lit as in a photo studio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from . import bands
from .maps import Array, Maps
from .shading import KEY, Floats, Surface, backdrop, dot, shade, tone_map, unit
from .srgb import decode, encode

RADIUS = 0.80  # of the ball, in half sides of the picture
CENTRE = 0.05  # the ball stands a little above the middle, to leave room for its shadow
SAMPLES = 2  # squared, for each pixel of the picture
RELIEF = 0.02  # of the width, when the maps do not say how high their relief is
MAX_RELIEF = 0.06  # of the ball's radius: more would need true ray tracing

_LAMP = np.array([-0.5, 0.5, 0.707], np.float32)  # direction to the lamp of a flat picture
_HALFWAY = np.array([-0.271, 0.271, 0.924], np.float32)  # between it and the eye above
_BROAD = 0.45  # roughness below which a flat picture's reflections get no sharper

Indices = NDArray[np.int64]  # (N,)

_BLOCK = 32768  # points shaded at a time; they stay in the processor's cache


def picture(maps: Maps, side: int = 512) -> Array:
    """The albedo tiled 2 x 2 and the ball, side by side: float32 `(side, 2 * side, 3)`, sRGB-encoded in [0, 1]."""
    maps = _at_most(maps, 4 * side)
    return np.concatenate([tiled(maps, side), ball(maps, side)], axis=1)


def _at_most(maps: Maps, longest: int) -> Maps:
    """The maps, reduced if they are much finer than any preview shows: whole copies of large maps fill the memory."""
    factor = max(maps.size) // longest
    if factor < 2:
        return maps
    return Maps({name: _banded(image, factor) for name, image in maps.items()}, maps.relief / factor)


def _banded(image: Array, factor: int, prepare: Callable[[Floats], Floats] = lambda band: band) -> Array:
    """The prepared image, `_reduced`, a few lines of the result at a time."""
    count = max(1, len(image) // factor)
    starts = np.append(np.arange(count) * len(image) // count, len(image))

    def work(lines: slice) -> Array:
        return _reduced(prepare(image[starts[lines.start] : starts[lines.stop]]), factor)

    return np.concatenate(bands.each(count, work, image, band=max(1, bands.BAND // factor)))


def ball(maps: Maps, side: int, repeats: float = 2.0) -> Array:
    """A lit ball with `repeats` tiles across its front: float32 `(side, side, 3)`, sRGB-encoded in [0, 1].

    Maps that are missing have neutral values; without an albedo the ball is grey.
    """
    fine = side * SAMPLES
    texture = _texture(maps, per_tile=fine * RADIUS / repeats, repeats=repeats)
    light = np.empty((3, fine, fine), np.float32)

    def work(rows: slice) -> None:
        light[:, rows] = _rows(rows, fine, texture)

    bands.each(fine, work, band=max(1, _BLOCK // fine))
    light = tone_map(light).reshape(3, side, SAMPLES, side, SAMPLES).mean(axis=(2, 4))
    return np.ascontiguousarray(encode(light).transpose(1, 2, 0))


@dataclass(frozen=True)
class _Texture:
    """The maps, linear, ready for sampling on the ball."""

    layers: Array  # (H * W, 9): base 3, normal 3 in [-1, 1], roughness, metallic, ao
    height: Array  # (H * W,) in ball radii, mean 0
    shape: tuple[int, int]  # (H, W)
    tile: tuple[float, float]  # height and width of a tile in ball radii

    @property
    def relief(self) -> float:
        return float(np.ptp(self.height))


def _texture(maps: Maps, per_tile: float, repeats: float) -> _Texture:
    width, height = maps.size
    per_row = max(1, round(width / per_tile))
    reduced = {name: _banded(image, per_row, partial(_prepared, name)) for name, image in maps.items()}
    rows, columns = next(iter(reduced.values())).shape[:2]
    neutral = {"albedo": (0.5,) * 3, "normal": (0, 0, 1), "roughness": (0.6,), "metallic": (0,), "ao": (1,)}
    layers = [
        reduced.get(name, np.broadcast_to(np.array(value, np.float32), (rows, columns, len(value))))
        for name, value in neutral.items()
    ]
    tile = 2 / repeats
    relief = (maps.relief / width if maps.relief else RELIEF) * tile
    bumps = reduced.get("height", np.zeros((rows, columns, 1), np.float32)).ravel()
    return _Texture(
        np.concatenate(layers, axis=2).reshape(rows * columns, -1),
        (bumps - bumps.mean()) * np.float32(min(relief, MAX_RELIEF)),
        (rows, columns),
        (tile * height / width, tile),
    )


def _prepared(name: str, image: Floats) -> Floats:
    """Values that may be averaged: linear colour, normals as vectors of length 1."""
    if name == "albedo":
        return decode(image)
    if name == "normal":
        vectors = image * 2 - 1
        length = np.sqrt(np.einsum("hwc,hwc->hw", vectors, vectors))[..., None]
        normal: Floats = vectors / np.maximum(length, np.float32(1e-3))
        return normal
    return image


def _reduced(image: Floats, factor: int) -> Floats:
    """Mean over boxes of `factor` pixels a side, or a pixel more here and there where it does not divide the size."""
    for axis in (0, 1):
        size = image.shape[axis]
        count = max(1, size // factor)
        if size == count * factor:
            image = _box_mean(image, axis, factor)
        else:
            starts = np.arange(count) * size // count
            lengths = np.diff(starts, append=size).astype(np.float32)
            image = np.add.reduceat(image, starts, axis=axis) / np.expand_dims(lengths, (1 - axis, 2))
    return image


def _box_mean(image: Floats, axis: int, factor: int) -> Floats:
    """Mean over `factor` neighbours; sums of strided views, since numpy's reductions over short axes are slow."""
    views = [image[start::factor] if axis == 0 else image[:, start::factor] for start in range(factor)]
    return sum(views[1:], start=views[0]) / np.float32(factor)


def _rows(rows: slice, fine: int, texture: _Texture) -> Floats:
    """Linear light `(3, rows, fine)` of some rows of a picture of `fine` x `fine` points."""
    line = ((np.arange(fine, dtype=np.float32) + 0.5) / fine * 2 - 1) / np.float32(RADIUS)
    x, y = (grid.ravel() for grid in np.meshgrid(line, -line[rows] - np.float32(CENTRE / RADIUS)))
    across = x**2 + y**2
    light = np.zeros((3, x.size), np.float32)
    around = np.flatnonzero(across > (1 - texture.relief) ** 2)
    light[:, around] = backdrop(x[around], y[around])
    near = np.flatnonzero(across < (1 + texture.relief) ** 2)
    if near.size:
        where, hit = _meet(x[near], y[near], texture)
        light[:, near[hit]] = shade(_surface(where[:, hit], texture))
    return light.reshape(3, -1, fine)


def _meet(x: Floats, y: Floats, texture: _Texture) -> tuple[Floats, NDArray[np.bool_]]:
    """Where the rays meet the ball with its relief: directions `(3, N)` from its centre, and which rays do."""
    radius = np.full_like(x, 1 + texture.height.max(initial=0))
    across = x**2 + y**2
    for _ in range(3 if texture.relief else 1):  # each time the ball is as large as the relief where it was last met
        depth = np.sqrt(np.maximum(radius**2 - across, 0))
        where = unit(np.stack([x, y, depth]))
        lower = 0.35 + 0.65 * where[2]  # towards the outline, where rays graze and a few steps do not find the surface
        radius = 1 + texture.height[_nearest(*_plane(where), texture)] * lower
    return where, across < radius**2


def _plane(where: Floats) -> tuple[Floats, Floats]:
    """The ball's front laid flat: Lambert's azimuthal equal-area projection, without poles on the visible side."""
    scale = np.sqrt(2 / (1 + where[2]))
    return where[0] * scale, where[1] * scale


def _surface(where: Floats, texture: _Texture) -> Surface:
    u, v = _plane(where)
    layers = _bilinear(u, v, texture)
    right, up = _tangents(u, v)
    bent = unit(right * layers[3] + up * layers[4] + where * np.maximum(layers[5], 0.05))
    # Averaging shortens normals that differ; what they differ by is roughness (Toksvig 2005).
    length = np.clip(np.sqrt(dot(layers[3:6], layers[3:6])), 0.5, 1)
    alpha = np.clip(layers[6], 0, 1) ** 2
    roughness = np.sqrt(np.sqrt(np.minimum(alpha**2 + (1 - length) / length, 1)))
    lit = _relief_shade(u, v, right, up, where, texture)
    return Surface(layers[:3], bent, where, roughness, layers[7], layers[8], lit)


def _tangents(u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Unit directions on the ball in which u and v grow: derivatives of the inverse of `_plane`."""
    k = np.sqrt(np.maximum(1 - (u**2 + v**2) / 4, 0.05))
    mixed = -u * v / (4 * k)
    return unit(np.stack([k - u**2 / (4 * k), mixed, -u])), unit(np.stack([mixed, k - v**2 / (4 * k), -v]))


def _relief_shade(u: Floats, v: Floats, right: Floats, up: Floats, where: Floats, texture: _Texture) -> Floats:
    """Visibility `(N,)` of the key light over the relief, by a few steps towards it; soft like the light."""
    lit = np.ones_like(u)
    if not texture.relief:
        return lit
    key = unit(np.array(KEY.towards, np.float32)[:, None])
    du, dv, rise = dot(right, key), dot(up, key), np.maximum(dot(where, key), 0.15)
    here = texture.height[_nearest(u, v, texture)]
    for step in (0.5, 1.0, 1.7, 2.6):
        reach = np.float32(step * texture.relief)
        above = texture.height[_nearest(u + du * reach, v + dv * reach, texture)] - here - rise * reach
        lit = np.minimum(lit, 1 - np.clip(above / np.float32(0.35 * reach), 0, 0.85))
    return lit


def _nearest(u: Floats, v: Floats, texture: _Texture) -> Indices:
    (height, width), (tall, wide) = texture.shape, texture.tile
    column = np.floor(u * np.float32(width / wide)).astype(np.int64) % width
    row = np.floor(-v * np.float32(height / tall)).astype(np.int64) % height
    indices: Indices = row * width + column
    return indices


def _bilinear(u: Floats, v: Floats, texture: _Texture) -> Floats:
    """Layers `(9, N)` at points of the plane, interpolated on the torus."""
    (height, width), (tall, wide) = texture.shape, texture.tile
    column, row = u * np.float32(width / wide) - 0.5, -v * np.float32(height / tall) - 0.5
    left, top = np.floor(column), np.floor(row)
    right_part, low_part = (column - left)[:, None], (row - top)[:, None]
    x0, y0 = left.astype(np.int64) % width, top.astype(np.int64) % height
    x1, y1 = (x0 + 1) % width, (y0 + 1) % height
    upper = _mixed(texture.layers, y0 * width + x0, y0 * width + x1, right_part)
    lower = _mixed(texture.layers, y1 * width + x0, y1 * width + x1, right_part)
    return np.ascontiguousarray((upper + (lower - upper) * low_part).T)


def _mixed(layers: Floats, first: Indices, second: Indices, part: Floats) -> Floats:
    one = np.take(layers, first, axis=0)  # twice as fast as indexing with whole rows
    mixed: Floats = one + (np.take(layers, second, axis=0) - one) * part
    return mixed


def lit(maps: Maps, side: int) -> Array:
    """The maps once, flat, under a lamp to the upper left: `(side, side, 3)`, sRGB-encoded. Quick, for sequences."""
    maps = _at_most(maps, side)
    width, height = maps.size
    rows, columns = ((np.arange(side) * length // side) for length in (height, width))
    place = np.ix_(rows, columns)
    colour = decode(maps["albedo"][place])
    facing = maps["normal"][place] * 2 - 1 if "normal" in maps else np.array([0, 0, 1], np.float32)
    rough = maps["roughness"][place] if "roughness" in maps else np.float32(0.5)
    metal = maps["metallic"][place] if "metallic" in maps else np.float32(0)
    diffuse = np.maximum(facing @ _LAMP, 0)[..., None]
    # A broad lamp, so that slight slopes show: rings on water, say.
    shine = np.maximum(facing @ _HALFWAY, 0)[..., None] ** (2 / np.maximum(rough, _BROAD) ** 3) * (1 - rough)
    light = colour * (0.3 + diffuse) * (1 - 0.6 * metal) + (0.3 + metal * colour) * shine
    return encode(light.clip(0, 1))


def tiled(maps: Maps, side: int, repeats: float = 2.0) -> Array:
    """The albedo `repeats` times across, `(side, side, 3)`, sRGB-encoded; down as often as its shape asks."""
    albedo = maps.images.get("albedo", np.full((*maps.size[::-1], 3), 0.5, np.float32))
    height, width = albedo.shape[:2]
    scale = repeats * width / side
    linear = _banded(albedo, max(1, round(scale)), decode)
    rows = (((np.arange(side) + 0.5) * scale) % height / height * linear.shape[0]).astype(np.int64)
    columns = (((np.arange(side) + 0.5) * scale) % width / width * linear.shape[1]).astype(np.int64)
    return encode(linear[rows[:, None], columns[None]])
