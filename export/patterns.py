"""Draw the built-in styles: patterns made of nothing but arithmetic and chance.

    python -m export.patterns --out core/styles

The other built-in styles (rust, moss) are textures that the atlas generated, at 256 pixels with seed 3.
Each is a function of a random generator that gives a picture (SIZE, SIZE, 3), sRGB-encoded in [0, 1]. It shows, in a
small space, light and dark, wide and narrow, and every direction of its strokes: patches are taken from it, and what it
lacks no material can be redrawn with.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 256  # pixels
FINE = 3  # pixels that are drawn for each one that is kept, on each side
COLOURS = 128  # of a stored picture: what is saved on them lets more styles fit

Floats = NDArray[np.float64]
Palette = Sequence[tuple[float, float, float]]


def ink_hatching(random: np.random.Generator) -> Floats:
    """Layers of pen strokes, crossed where it is darker."""
    side = SIZE * FINE
    dark = levelled(smooth(random, side, 90))
    ink = np.zeros((side, side))
    y, x = np.mgrid[:side, :side]
    for layer, angle in enumerate(np.radians([35, 125, 80, 5])):
        along = np.hypot(x, y) * np.cos(np.arctan2(y, x) - angle) + 6 * smooth(random, side, 120)
        wave = np.abs((along / (6 * FINE)) % 1 - 0.5) * 6
        pressure = 0.55 + 0.3 * smooth(random, side, 25)
        drawn = np.clip((pressure - wave) * 2 + 0.4, 0, 1) * np.clip((dark - 0.22 * layer - 0.05) * 12, 0, 1)
        ink = np.maximum(ink, drawn)
    paper = 0.94 + 0.012 * random.standard_normal((side, side))
    return reduced(mixed(ink, paper[..., None] * [1.0, 0.98, 0.93], [0.10, 0.11, 0.17]))


def woodcut(random: np.random.Generator) -> Floats:
    """Furrows that follow a flow, broader where it is lighter."""
    side = SIZE * FINE
    flow = 5.5 * smooth(random, side, 130) + np.mgrid[:side, :side][0] / (9.0 * FINE)
    light = levelled(smooth(random, side, 80))
    ridge = np.abs((flow + 0.15 * smooth(random, side, 14)) % 1 - 0.5) * 2
    cut = np.clip((light * 1.25 - 0.1 - ridge) * 6 + 0.5, 0, 1)
    ragged = np.clip(cut + 0.10 * smooth(random, side, 5), 0, 1)
    return reduced(mixed(ragged, [0.13, 0.09, 0.08], [0.93, 0.86, 0.72]))


def brush_strokes(random: np.random.Generator) -> Floats:
    """Thick paint laid on along a swirling flow, in a night's blues and yellows."""
    palette = [(0.06, 0.10, 0.28), (0.10, 0.22, 0.48), (0.20, 0.42, 0.68), (0.55, 0.72, 0.80), (0.93, 0.82, 0.36)]
    angle = 2.2 * np.pi * smooth(random, SIZE * FINE, 150)
    tone = levelled(smooth(random, SIZE * FINE, 110))
    picture = np.tile(np.array(palette[1]), (SIZE * FINE, SIZE * FINE, 1))
    for _ in range(5200):
        y, x = random.integers(SIZE * FINE, size=2)
        value = np.clip(tone[y, x] + random.normal(0, 0.09), 0, 1)
        colour = from_palette(np.array(value), palette) + random.normal(0, 0.025, 3)
        stroke(picture, (y, x), angle[y, x] + random.normal(0, 0.10), (11.0 * FINE, 2.3 * FINE), colour, random)
    return reduced(np.clip(picture, 0, 1))


def dry_pastel(random: np.random.Generator) -> Floats:
    """Short crayon strokes over a warm ground that shows through."""
    palette = [(0.32, 0.18, 0.30), (0.66, 0.27, 0.30), (0.90, 0.52, 0.30), (0.97, 0.80, 0.52), (0.62, 0.80, 0.74)]
    tone = levelled(smooth(random, SIZE * FINE, 70))
    angle = 0.9 + 0.9 * smooth(random, SIZE * FINE, 120)
    picture = np.tile(np.array([0.45, 0.33, 0.30]), (SIZE * FINE, SIZE * FINE, 1))
    for _ in range(4600):
        y, x = random.integers(SIZE * FINE, size=2)
        value = np.clip(tone[y, x] + random.normal(0, 0.07), 0, 1)
        colour = from_palette(np.array(value), palette) + random.normal(0, 0.03, 3)
        stroke(picture, (y, x), angle[y, x] + random.normal(0, 0.2), (7.0 * FINE, 2.0 * FINE), colour, random, 0.55)
    return reduced(np.clip(picture, 0, 1))


def mosaic(random: np.random.Generator) -> Floats:
    """Small cut stones in mortar, sorted by colour along a flow."""
    palette = [(0.10, 0.22, 0.30), (0.16, 0.45, 0.50), (0.78, 0.72, 0.58), (0.80, 0.45, 0.20), (0.45, 0.14, 0.12)]
    distance, cell, centres = cells(random, 15.0, 0.25)
    tone = levelled(smooth(random, SIZE * FINE, 90))
    value = tone[tuple((centres % (SIZE * FINE)).astype(int).T)] + random.normal(0, 0.08, len(centres))
    stones = from_palette(np.clip(value, 0, 1), palette) + random.normal(0, 0.03, (len(centres), 1))
    lit = 1 + 0.07 * smooth(random, SIZE * FINE, 9)[..., None]
    inside = np.clip((distance - 1.2 * FINE) / FINE, 0, 1)
    return reduced(np.clip(mixed(inside, [0.82, 0.79, 0.73], stones[cell] * lit), 0, 1))


def stained_glass(random: np.random.Generator) -> Floats:
    """Panes of glowing glass held by lead."""
    palette = [(0.05, 0.10, 0.42), (0.05, 0.42, 0.55), (0.12, 0.55, 0.25), (0.95, 0.72, 0.12), (0.75, 0.10, 0.12)]
    distance, cell, centres = cells(random, 30.0, 0.9)
    panes = from_palette(random.random(len(centres)), palette)
    glow = 1 + 0.22 * smooth(random, SIZE * FINE, 24)[..., None] + 0.05 * smooth(random, SIZE * FINE, 4)[..., None]
    lead = np.clip((distance - 1.7 * FINE) / FINE, 0, 1)
    shine = np.clip(1 - np.abs(distance - 0.7 * FINE) / FINE, 0, 1)[..., None] * 0.12
    return reduced(np.clip(mixed(lead, [0.07, 0.07, 0.08], panes[cell] * glow) + shine, 0, 1))


def woven(random: np.random.Generator) -> Floats:
    """Threads over and under each other, in stripes of four colours."""
    thread = 8 * FINE
    palette = [(0.78, 0.70, 0.55), (0.55, 0.20, 0.16), (0.16, 0.24, 0.36), (0.84, 0.80, 0.70)]
    y, x = np.mgrid[: SIZE * FINE, : SIZE * FINE] + 0.8 * FINE * np.stack([smooth(random, SIZE * FINE, 60)] * 2)
    row, column = (y // thread).astype(int), (x // thread).astype(int)
    over = (row + column) % 2 == 0
    stripes = np.array([0, 0, 1, 1, 0, 3, 2, 2, 2, 3, 0, 1])
    colour = np.where(over, stripes[row % 12], stripes[(column + 5) % 12])
    across = np.where(over, (y / thread) % 1, (x / thread) % 1) - 0.5
    along = np.where(over, (x / thread) % 1, (y / thread) % 1) - 0.5
    height = np.sqrt(np.clip(1 - 3.4 * across**2, 0, 1)) * np.sqrt(np.clip(1 - 2.6 * along**2, 0, 1))
    fibres = 0.10 * np.sin(2 * np.pi * (3 * across + 1.4 * along)) + 0.06 * smooth(random, SIZE * FINE, 2)
    return reduced(np.clip(np.array(palette)[colour] * (0.28 + 0.8 * height + fibres)[..., None], 0, 1))


def smooth(random: np.random.Generator, side: int, size: float) -> Floats:
    """Noise (side, side) of mean 0 and deviation 1, with spots of about `size` pixels; it wraps around."""
    y, x = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    keep = np.exp(-(y**2 + x**2) * size**2 * 4)
    field = np.fft.irfft2(np.fft.rfft2(random.standard_normal((side, side))) * keep, s=(side, side))
    field -= field.mean()
    noise: Floats = field / field.std()
    return noise


def levelled(field: Floats) -> Floats:
    """A field with every value from 0 to 1 equally often."""
    ranks = np.empty(field.size)
    ranks[np.argsort(field, axis=None)] = np.linspace(0, 1, field.size)
    return ranks.reshape(field.shape)


def cells(random: np.random.Generator, size: float, unrest: float) -> tuple[Floats, NDArray[np.intp], Floats]:
    """(distance to the nearest border, number of the cell, centres) of Voronoi cells of about `size` pixels."""
    step = size * FINE
    grid = np.mgrid[-1 : SIZE / size + 2, -1 : SIZE / size + 2].reshape(2, -1).T
    grid[:, 1] += 0.5 * (grid[:, 0] % 2)
    centres = (grid + unrest * random.uniform(-0.5, 0.5, grid.shape)) * step
    nearest = np.empty((SIZE * FINE, SIZE * FINE), np.intp)
    border = np.empty((SIZE * FINE, SIZE * FINE))
    for row in range(SIZE * FINE):
        close = np.flatnonzero(np.abs(centres[:, 0] - row) < 3 * step)
        offset = centres[close][None] - np.stack([np.full(SIZE * FINE, row), np.arange(SIZE * FINE)], -1)[:, None]
        squared = (offset**2).sum(-1)
        order = np.argsort(squared, axis=1)[:, :4]
        first = np.take_along_axis(squared, order[:, :1], 1)
        # Distance to the line half way between the nearest centre and each of the next ones.
        apart = np.linalg.norm(centres[close][order[:, 1:]] - centres[close][order[:, :1]], axis=-1)
        border[row] = ((np.take_along_axis(squared, order[:, 1:], 1) - first) / (2 * apart)).min(1)
        nearest[row] = close[order[:, 0]]
    return border, nearest, centres


def stroke(
    picture: Floats,
    place: tuple[int, int],
    angle: float,
    size: tuple[float, float],
    colour: Floats,
    random: np.random.Generator,
    cover: float = 0.95,
) -> None:
    """Lay one stroke on, in place: bristles along it, light on one flank."""
    reach = int(size[0]) + 1
    rows, columns = (np.arange(centre - reach, centre + reach) % len(picture) for centre in place)
    y, x = np.mgrid[-reach:reach, -reach:reach]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    shape = (along / size[0]) ** 4 + (across / size[1]) ** 2
    bristles = random.standard_normal(64)[((across / size[1]) * 7).astype(int) % 64]
    ragged = shape + 0.25 * bristles * np.clip(along / size[0] + 0.2, 0, 1)
    paint = np.clip((1 - ragged) * 3, 0, 1)[..., None] * cover
    lit = colour * (1 + 0.07 * bristles + 0.16 * across / size[1])[..., None]
    window = np.ix_(rows, columns)
    picture[window] += paint * (lit - picture[window])


def from_palette(value: Floats, palette: Palette) -> Floats:
    """Colours (…, 3) at `value` in [0, 1] along a palette."""
    places = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(value, places, channel) for channel in np.array(palette).T], -1)


def mixed(share: Floats, nothing: Floats | list[float], everything: Floats | list[float]) -> Floats:
    """(H, W, 3): one colour where `share` (H, W) is 0, the other where it is 1."""
    picture: Floats = np.asarray(nothing) * (1 - share[..., None]) + np.asarray(everything) * share[..., None]
    return picture


def reduced(picture: Floats) -> Floats:
    """Means of FINE x FINE pixels."""
    mean: Floats = picture.reshape(SIZE, FINE, SIZE, FINE, 3).mean((1, 3))
    return mean


STYLES: dict[str, Callable[[np.random.Generator], Floats]] = {
    function.__name__: function
    for function in (ink_hatching, woodcut, brush_strokes, dry_pastel, mosaic, stained_glass, woven)
}


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, draw in STYLES.items():
        pixels = np.rint(np.clip(draw(np.random.default_rng(options.seed)), 0, 1) * 255).astype(np.uint8)
        stored = Image.fromarray(pixels).quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        stored.save(options.out / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
