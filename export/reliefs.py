"""Surfaces made of nothing but arithmetic and chance, whose maps are exact: what photos of materials are too few for.

Each is a periodic height field of one of a few kinds (courses of bricks or tiles, planks, stones, pebbles, waves, roof
tiles, weaves, rough ground) with what wear and dirt do to its colour. A trainer lays real photos' colours over it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core import relief

Floats = NDArray[np.float32]

SIDE = 256  # pixels


@dataclass(frozen=True)
class Relief:
    """A surface on the torus, and what it does to the colour that is laid over it."""

    planes: Floats  # (3, S, S) normal x, normal y (OpenGL, encoded), ambient occlusion
    tint: Floats  # (3, S, S) factors of the colour: each stone has its own, and dirt lies in the joints


@dataclass(frozen=True)
class _Shape:
    height: Floats  # (S, S) in pixels
    piece: NDArray[np.int64]  # (S, S) which stone, brick or thread a pixel belongs to


def build(random: np.random.Generator, side: int = SIDE) -> Relief:
    """One surface of a random kind, `side` pixels wide and high."""
    shape = KINDS[random.integers(len(KINDS))](random, side)
    rough = random.uniform(0, 0.6) * _smooth(random, side, random.uniform(1, 6))
    height = (shape.height + rough + random.uniform(0, 2) * _smooth(random, side, side / 6)).astype(np.float32)
    normal = relief.encode(height)[0]
    # A place is darker the deeper it lies below what is around it.
    depth = sum(np.maximum(_blurred(height, reach) - height, 0) / reach for reach in (2.0, 6.0, 16.0))
    ao = np.exp(-random.uniform(0.5, 1.5) * depth)
    planes = np.stack([normal[..., 0], normal[..., 1], ao]).astype(np.float32)
    return Relief(planes, _tint(shape, height, depth, random))


def _tint(shape: _Shape, height: Floats, depth: Floats, random: np.random.Generator) -> Floats:
    pieces = int(shape.piece.max()) + 1
    own = 1 + random.uniform(0, 0.25) * random.standard_normal((pieces, 1)) * np.array([1, 1, 1])
    own = own + random.uniform(0, 0.08) * random.standard_normal((pieces, 3))
    factor = own[shape.piece].transpose(2, 0, 1)
    dirt = np.clip(random.uniform(-0.6, 2.0) * depth, -0.5, 0.8)  # now and then the joints are pale
    colour = random.uniform(0.3, 1.0, (3, 1, 1))
    worn = random.uniform(0, 0.25) * np.clip(height - _blurred(height, 3.0), -1, 1)  # edges are rubbed pale
    return np.clip(factor * (1 - dirt * colour) + worn, 0.1, 2).astype(np.float32)


def _courses(random: np.random.Generator, side: int) -> _Shape:
    """Bricks, tiles or paving in rows, each row moved against the last."""
    rows = int(random.integers(2, 13))
    columns = int(np.clip(round(rows / random.uniform(0.9, 3.5)), 1, 12))
    return _lattice(random, side, rows, columns, random.choice([0.0, 0.5, 0.5, 0.33]))


def _planks(random: np.random.Generator, side: int) -> _Shape:
    """Long boards."""
    shape = _lattice(random, side, int(random.integers(2, 9)), int(random.integers(1, 3)), random.uniform(0, 1))
    grain = random.uniform(0, 0.5) * _stretched(random, side)
    return _turned(_Shape((shape.height + grain).astype(np.float32), shape.piece), random)


def _lattice(random: np.random.Generator, side: int, rows: int, columns: int, move: float) -> _Shape:
    y, x = np.mgrid[:side, :side] / side
    bend = random.uniform(0, 0.012)
    y, x = y + bend * _smooth(random, side, side / 12), x + bend * _smooth(random, side, side / 12)
    row = np.floor(y * rows).astype(np.int64)
    # A move by halves closes over an even number of rows only; any other is a random one for each row.
    moves = random.uniform(0, 1, rows) if rows % 2 and move else move * np.arange(rows)
    along = x * columns + moves[row % rows]
    column = np.floor(along).astype(np.int64) % columns
    down, across = (y * rows) % 1, along % 1
    edge = np.minimum(np.minimum(down, 1 - down) * side / rows, np.minimum(across, 1 - across) * side / columns)
    piece = (row % rows) * columns + column
    joint, bevel = random.uniform(0.5, 5), random.uniform(0.7, 6)
    rise = np.clip((edge - joint / 2) / bevel, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    count = rows * columns
    tilt = random.uniform(0, 0.06) * random.standard_normal((count, 2))
    lean = tilt[piece, 0] * (down - 0.5) * side / rows + tilt[piece, 1] * (across - 0.5) * side / columns
    level = random.uniform(0, 0.8) * random.standard_normal(count)
    return _Shape((rise * (random.uniform(1, 7) + lean + level[piece])).astype(np.float32), piece)


def _stones(random: np.random.Generator, side: int) -> _Shape:
    """Stones of all outlines between joints, flat or round."""
    first, second, piece = _cells(random, side, int(random.integers(8, 90)))
    edge = (second - first) / 2
    reach = random.uniform(2, 0.5 * side / np.sqrt(piece.max() + 1.0))
    rise = np.clip((edge - random.uniform(0, 2)) / reach, 0, 1)
    rise = 1 - (1 - rise) ** random.uniform(1.5, 4)
    level = 1 + random.uniform(0, 0.4) * random.standard_normal(int(piece.max()) + 1)
    return _Shape((rise * level[piece] * random.uniform(1.5, 9)).astype(np.float32), piece)


def _pebbles(random: np.random.Generator, side: int) -> _Shape:
    """Round stones that lie on each other."""
    y, x = np.mgrid[:side, :side]
    height = np.zeros((side, side), np.float32)
    piece = np.zeros((side, side), np.int64)
    size = random.uniform(6, 26)
    count = min(240, int(1.6 * (side / size) ** 2))
    for number in range(1, count + 1):
        radius = size * random.uniform(0.4, 1.1)
        top, left = random.uniform(0, side, 2)
        turn, long = random.uniform(0, np.pi), random.uniform(0.6, 1.0)
        dy, dx = ((y - top + side / 2) % side) - side / 2, ((x - left + side / 2) % side) - side / 2
        along, over = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        dome = 1 - (along / radius) ** 2 - (over / (long * radius)) ** 2
        bump = np.sqrt(np.maximum(dome, 0)) * radius * 0.6
        above = (bump > 0) & (bump > height)
        height, piece = np.where(above, bump, height).astype(np.float32), np.where(above, number, piece)
    return _Shape(height * np.float32(random.uniform(0.5, 1.1)), piece)


def _waves(random: np.random.Generator, side: int) -> _Shape:
    """Corrugated sheets, ripples, cords."""
    y, x = np.mgrid[:side, :side] / side
    waves = int(random.integers(3, 26))
    slant = int(random.integers(-2, 3))
    phase = waves * x + slant * y + random.uniform(0, 0.25) * _smooth(random, side, side / 8)
    profile = np.abs(np.sin(np.pi * phase)) ** random.uniform(0.6, 2.5)
    height = profile * random.uniform(0.1, 0.45) * side / waves
    piece = np.floor(phase).astype(np.int64) % (np.gcd(waves, slant) or 1)  # what goes round may come back as another
    return _turned(_Shape(height.astype(np.float32), piece), random)


def _roof(random: np.random.Generator, side: int) -> _Shape:
    """Overlapping rows of flat or round tiles, slats or shingles."""
    y, x = np.mgrid[:side, :side] / side
    rows, columns = int(random.integers(2, 9)), int(random.integers(1, 10))
    row = np.floor(y * rows).astype(np.int64)
    moves = random.uniform(0, 1, rows) * random.integers(0, 2)
    down, along = (y * rows) % 1, x * columns + moves[row]
    across = along % 1
    step = random.uniform(0.05, 0.35) * side / rows
    lip = np.clip((1 - down) * side / rows / random.uniform(1, 4), 0, 1)
    bulge = random.integers(0, 2) * random.uniform(0.1, 0.5) * np.sqrt(np.maximum(np.sin(np.pi * across), 0))
    gap = np.clip(np.minimum(across, 1 - across) * side / columns / random.uniform(0.8, 3), 0, 1)
    piece = row * columns + np.floor(along).astype(np.int64) % columns
    return _turned(_Shape(((step * down + bulge * side / columns) * lip * gap).astype(np.float32), piece), random)


def _weave(random: np.random.Generator, side: int) -> _Shape:
    """Threads over and under each other."""
    threads = 2 * int(random.integers(4, 24))
    y, x = np.mgrid[:side, :side] * threads / side
    row, column = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    float_ = int(random.integers(1, 3))
    over = (row + column) // float_ % 2 == 0
    across = np.where(over, y % 1, x % 1) - 0.5
    along = np.where(over, x % 1, y % 1) - 0.5
    height = np.sqrt(np.clip(1 - 3.4 * across**2, 0, 1)) * (1 - 1.6 * along**2)
    height *= random.uniform(0.15, 0.4) * side / threads
    return _Shape(height.astype(np.float32), np.where(over, row, threads + column))


def _ground(random: np.random.Generator, side: int) -> _Shape:
    """Rough ground, plaster, bark: noise of all sizes, now and then folded into ridges."""
    noise = np.zeros((side, side))
    size, strength = random.uniform(10, 60), random.uniform(0.5, 5)
    fall = random.uniform(0.4, 0.7)
    while size > 1:
        layer = _smooth(random, side, size)
        noise += strength * (np.abs(layer) if fall > 0.6 else layer)
        size, strength = size / 2, strength * fall
    sign = -1 if random.random() < 0.4 else 1
    return _Shape((sign * noise).astype(np.float32), np.zeros((side, side), np.int64))


Kind = Callable[[np.random.Generator, int], _Shape]
KINDS: tuple[Kind, ...] = (  # some twice: what is most often walked on
    *(_courses, _courses, _planks, _stones, _pebbles),
    *(_waves, _roof, _roof, _weave, _ground, _ground),
)


def _cells(random: np.random.Generator, side: int, count: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Distance to the nearest and second nearest of some points on the torus, in pixels, and which is the nearest."""
    points = random.uniform(0, side, (count, 2))
    line = np.arange(side)
    apart = np.abs(line[None] - points[:, :, None])  # (count, 2, S)
    apart = np.minimum(apart, side - apart) ** 2
    square = (apart[:, 0, :, None] + apart[:, 1, None, :]).astype(np.float32)
    nearest = np.sqrt(np.partition(square, 1, 0)[:2])
    return nearest[0], nearest[1], square.argmin(0)


def _smooth(random: np.random.Generator, side: int, size: float) -> Floats:
    """Noise on the torus whose features are about `size` pixels wide; standard deviation 1."""
    noise = _blurred(random.standard_normal((side, side)).astype(np.float32), size / 2)
    return noise / max(float(noise.std()), 1e-6)


def _stretched(random: np.random.Generator, side: int) -> Floats:
    """Noise drawn out along the rows, as the grain of wood is."""
    row = np.fft.fftfreq(side)[:, None]
    column = np.fft.rfftfreq(side)[None]
    spectrum = np.fft.rfft2(random.standard_normal((side, side)))
    spectrum *= np.exp(-2 * (np.pi * 1.2 * row) ** 2 - 2 * (np.pi * 30 * column) ** 2)
    noise = np.fft.irfft2(spectrum, s=(side, side))
    return (noise / max(float(noise.std()), 1e-6)).astype(np.float32)


def _blurred(field: Floats, width: float) -> Floats:
    """A Gaussian mean on the torus; `width` is its standard deviation in pixels."""
    row, column = np.fft.fftfreq(len(field))[:, None], np.fft.rfftfreq(len(field))[None]
    spectrum = np.fft.rfft2(field) * np.exp(-2 * (np.pi * width) ** 2 * (row**2 + column**2))
    return np.fft.irfft2(spectrum, s=field.shape).astype(np.float32)


def _turned(shape: _Shape, random: np.random.Generator) -> _Shape:
    """The shape, or its transpose."""
    return _Shape(shape.height.T.copy(), shape.piece.T.copy()) if random.random() < 0.5 else shape
