"""Damage done to pictures whose whole is known: what a network that heals learns from, and is judged by."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.filling import Mask

Floats = NDArray[np.float32]
Painter = Callable[[ImageDraw.ImageDraw, int, np.random.Generator], None]

NOISIEST = 50 / 255  # standard deviation
LETTERS = "ABCDEFGHKLMNPRSTUXYZabdeghknprstuxyz0123456789"


def holes(side: int, random: np.random.Generator) -> Mask:
    """One to three kinds of holes in a square (side, side)."""
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    kinds = [scratches, strokes, blobs, letters, bands, dots]
    count = int(random.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
    for index in random.choice(len(kinds), count, replace=False, p=[0.27, 0.18, 0.25, 0.08, 0.12, 0.1]):
        kinds[index](draw, side, random)
    return np.asarray(image) > 0


def scratches(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """A few long thin lines, 1 to 8 pixels wide, bent once."""
    for _ in range(int(random.integers(1, 6))):
        _line(draw, _walk(side, 3, 0.6 * side, 0.4, random), int(random.integers(1, 9)))


def strokes(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """Strokes of a brush, 4 to 16 pixels wide, that wander."""
    for _ in range(random.integers(1, 4)):
        _line(draw, _walk(side, 7, 0.15 * side, 1.2, random), int(random.integers(4, 17)))


def blobs(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """Round spots with uneven edges, 8 to 40 pixels across."""
    for _ in range(random.integers(1, 6)):
        _blob(draw, random.uniform(0, side, 2), random.uniform(4, 20), random)


def letters(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """A word in some size, as of a watermark."""
    word = "".join(random.choice(list(LETTERS), random.integers(2, 7)))
    place = random.uniform(-0.1 * side, 0.8 * side, 2)
    size, bold = random.uniform(12, 60), float(random.integers(0, 3))
    draw.text((float(place[0]), float(place[1])), word, fill=255, font_size=float(size), stroke_width=bold)


def bands(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """A band all across, 4 to 48 pixels wide, or the cross of two: where the edges of a rolled picture meet."""
    ways = random.choice(3)
    for way in (0, 1):
        if ways in (way, 2):
            wide, start = random.uniform(4, 48), random.uniform(0, side)
            box = [start, 0, start + wide, side] if way else [0, start, side, start + wide]
            draw.rectangle(box, fill=255)


def dots(draw: ImageDraw.ImageDraw, side: int, random: np.random.Generator) -> None:
    """Dead pixels and crumbs, up to 4 pixels across."""
    for x, y in random.uniform(0, side, (int(side**2 * 10 ** random.uniform(-3.5, -2)), 2)):
        wide = random.integers(0, 4)
        draw.rectangle([x, y, x + wide, y + wide], fill=255)


def noisy(picture: Floats, random: np.random.Generator) -> tuple[Floats, float]:
    """A picture (3, H, W) with noise of some kind, and its standard deviation: none, sensor's, or a JPEG's.

    Often it grows with the light, as that of photons does, or comes in grains of more than a pixel.
    """
    if random.random() < 0.3:
        return picture, 0.0
    level = random.uniform(0, NOISIEST)
    noise = random.standard_normal(picture.shape).astype(np.float32)
    if random.random() < 0.2:
        noise = noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2)
    if random.random() < 0.15:
        noise = np.broadcast_to(noise[:1], noise.shape)
    if random.random() < 0.3:
        noise = noise * np.sqrt(picture + np.float32(0.02))
    damaged = picture + noise * np.float32(level / max(float(noise.std()), 1e-6))
    if random.random() < 0.2:
        damaged = jpeg(picture + (damaged - picture) * np.float32(0.4), int(random.integers(15, 90)))
        level = float((damaged - picture).std())
    elif random.random() < 0.5:
        damaged = np.clip(damaged, 0, 1)
    return damaged.astype(np.float32), min(level, NOISIEST)


def jpeg(picture: Floats, quality: int) -> Floats:
    """A picture (3, H, W) as a JPEG keeps it."""
    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)).transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def painted(painter: Callable[[ImageDraw.ImageDraw], None], height: int, width: int) -> Mask:
    """The holes (height, width) that a painter draws."""
    image = Image.new("L", (width, height))
    painter(ImageDraw.Draw(image))
    return np.asarray(image) > 0


def thin_scratches(height: int, width: int, random: np.random.Generator) -> Mask:
    """For judging: scratches of 3 to 8 pixels, about a twentieth of the picture."""

    def paint(draw: ImageDraw.ImageDraw) -> None:
        for _ in range(max(1, height * width // 13000)):
            _line(draw, _walk(min(height, width), 3, 80, 0.4, random), int(random.integers(3, 9)))

    return painted(paint, height, width)


def wide_blobs(height: int, width: int, random: np.random.Generator) -> Mask:
    """For judging: spots of 16 to 32 pixels across, about a twentieth of the picture."""

    def paint(draw: ImageDraw.ImageDraw) -> None:
        for _ in range(max(1, height * width // 10000)):
            _blob(draw, random.uniform(0, 1, 2) * (width, height), random.uniform(8, 16), random)

    return painted(paint, height, width)


def _walk(side: int, count: int, step: float, bend: float, random: np.random.Generator) -> list[tuple[float, float]]:
    """Points of a path through a square that turns by about `bend` radians at each."""
    place, angle = random.uniform(0, side, 2), random.uniform(0, 2 * np.pi)
    points = [(float(place[0]), float(place[1]))]
    for _ in range(count - 1):
        angle += bend * random.standard_normal()
        place = place + step * random.uniform(0.5, 1) * np.array([np.cos(angle), np.sin(angle)])
        points.append((float(place[0]), float(place[1])))
    return points


def _line(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], wide: int) -> None:
    draw.line(points, fill=255, width=wide, joint="curve")


def _blob(draw: ImageDraw.ImageDraw, centre: NDArray[np.float64], radius: float, random: np.random.Generator) -> None:
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    wave = 1 + 0.15 * np.sin(2 * angles + random.uniform(0, 6.3)) + 0.1 * np.sin(3 * angles + random.uniform(0, 6.3))
    points = centre + radius * wave[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    draw.polygon([(float(x), float(y)) for x, y in points], fill=255)
