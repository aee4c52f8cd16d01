"""The quality sheet of a material: seams, repetition, agreement of the maps and ranges, measured and not assumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import bands
from .errors import ImageError
from .maps import Array, Maps

# A sound wrap line is a line like any other, so its figure is near 0.9 and seldom above 1. The tenth above 1 is for
# rounding to 8 bits and for the one line in a hundred that is above the 99th percentile by its nature. In 27 materials
# cut to tile by their makers, 1.1 % of the lines are above 1.0 and 0.1 % above 1.1; of crops that do not tile, 93 % and
# 89 % are. JPEG itself makes seams of up to 1.6, as its blocks end at the wrap.
SEAM_LIMIT = 1.1
# Regular bricks and tiles resemble themselves one brick further on, at 0.5 to 0.9. Only copies of pixels come closer.
REPETITION_LIMIT = 0.92
# Degrees. Rounding both maps to 8 bits costs up to half a degree, a wrong normal map 10 and more...
AGREEMENT_LIMIT = 5.0
# ...but in a faint or one-directional relief (brushed metal) a wrong one costs only half its own mean tilt or more:
# there the limit is a share of the tilt,
AGREEMENT_SHARE = 0.35
# though never less than what two maps that are flat but for rounding or JPEG differ by.
AGREEMENT_FLOOR = 1.0
# Rounding to 8 bits makes the mean length err by 0.002, JPEG by up to 0.01.
UNIT_LIMIT = 0.015
# A surface seen from above never faces down; a few pixels in ten thousand are noise.
INWARD_LIMIT = 0.001
# More black or white than this, as a share of the pixels, is detail that was cut off. Roughness, metallic and ao rest
# at 0 or 1 by nature, and so they have no such limit.
CLIPPED_LIMIT = {"albedo": 0.03, "height": 0.05}

Grid = NDArray[np.floating[Any]]  # (H, W), one channel without its axis

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709


@dataclass(frozen=True)
class Range:
    """The values of one map."""

    low: float  # least value, in [0, 1]
    high: float  # greatest value
    mean: float
    zeros: float  # share of the pixels that are 0 in all channels
    ones: float  # share of the pixels that are 1 in all channels


@dataclass(frozen=True)
class Sheet:
    """What was measured; None where the maps needed are not there."""

    size: tuple[int, int]  # (width, height) in pixels
    seam: dict[str, tuple[float, float]]  # map -> roughness of the wrap line in x and in y; 1 is the roughest within
    repetition: float | None  # how much the albedo resembles itself elsewhere, 0 to 1
    agreement: float | None  # mean angle between the normal map and the normal of the height, degrees
    tilt: float | None  # mean angle between the normal map and straight up, degrees
    unit: float | None  # mean error of the length of the normals
    inward: float | None  # share of the normals that point into the surface
    ranges: dict[str, Range]  # map -> its values

    def to_dict(self) -> dict[str, Any]:
        """The sheet as JSON-ready data, rounded to four places, with the failures in words."""
        rounded: dict[str, Any] = _rounded(asdict(self))
        return rounded | {"failures": self.failures()}

    def failures(self) -> list[str]:
        """One sentence for each limit that is passed; empty when the set is sound."""
        return [*self._torus_failures(), *self._normal_failures(), *self._range_failures()]

    def _torus_failures(self) -> list[str]:
        found = []
        for name, both in self.seam.items():
            for axis, value in zip(("left and right", "top and bottom"), both, strict=True):
                if value > SEAM_LIMIT:
                    found.append(f"The {name} map has a seam between {axis}: {value:.2f}, limit {SEAM_LIMIT}.")
        if self.repetition is not None and self.repetition > REPETITION_LIMIT:
            found.append(f"The albedo repeats itself: {self.repetition:.2f}, limit {REPETITION_LIMIT}.")
        return found

    def _normal_failures(self) -> list[str]:
        found = []
        if self.agreement is not None and self.tilt is not None:
            limit = float(np.clip(AGREEMENT_SHARE * self.tilt, AGREEMENT_FLOOR, AGREEMENT_LIMIT))
            if self.agreement > limit:
                found.append(f"Normal and height disagree by {self.agreement:.1f} degrees, limit {limit:.1f}.")
        if self.unit is not None and self.unit > UNIT_LIMIT:
            found.append(f"The normals are not of unit length: mean error {self.unit:.3f}, limit {UNIT_LIMIT}.")
        if self.inward is not None and self.inward > INWARD_LIMIT:
            found.append(f"{self.inward:.1%} of the normals point into the surface, limit {INWARD_LIMIT:.1%}.")
        return found

    def _range_failures(self) -> list[str]:
        found = []
        for name, limit in CLIPPED_LIMIT.items():
            values = self.ranges.get(name)
            if values is None or values.high - values.low == 0:  # one value throughout is flat, not cut off
                continue
            for word, share in (("0", values.zeros), ("1", values.ones)):
                if share > limit:
                    found.append(f"{share:.1%} of the {name} map is clipped to {word}, limit {limit:.0%}.")
        return found


def measure(maps: Maps) -> Sheet:
    """Measure a set of maps of any size; `ImageError` when a map holds values that are not numbers."""
    ranges = {name: _range(image) for name, image in maps.items()}
    for name, values in ranges.items():
        if not np.isfinite([values.low, values.high]).all():  # which carry NaN along
            raise ImageError(f"The {name} map contains values that are not numbers; make it again.")
    tilt, unit, inward = _normal_figures(maps["normal"]) if "normal" in maps else (None, None, None)
    both = "normal" in maps and "height" in maps
    return Sheet(
        size=maps.size,
        seam={name: _seam(image) for name, image in maps.items()},
        repetition=_repetition(maps["albedo"]) if "albedo" in maps else None,
        agreement=_agreement(maps["normal"], maps["height"][..., 0]) if both else None,
        tilt=tilt,
        unit=unit,
        inward=inward,
        ranges=ranges,
    )


def tiles(maps: Maps) -> bool:
    """Whether the maps tile: whether none has a seam that `check` would complain of."""
    return all(tiling(maps))


def tiling(maps: Maps) -> tuple[bool, bool]:
    """Whether the maps tile in x, and in y."""
    seams = np.array([_seam(image) for image in maps.values()])
    worst = seams.max(0)
    return bool(worst[0] <= SEAM_LIMIT), bool(worst[1] <= SEAM_LIMIT)


def _with_halo(rows: slice, height: int, halo: int) -> NDArray[np.int64]:
    """The numbers of some rows of the torus and of `halo` more on both sides."""
    return np.arange(rows.start - halo, rows.stop + halo) % height


def _seam(image: Array) -> tuple[float, float]:
    """For x and y: mean step across the wrap over the 99th percentile of the steps between neighbouring lines within.

    `image` is `(H, W, C)`. 0 when nothing changes anywhere.
    """
    height, width, channels = image.shape

    def work(rows: slice) -> tuple[Grid, Grid]:
        band = image[_with_halo(rows, height, 1)[:-1]].reshape(-1, width * channels)
        here = band[1:]
        across = np.abs(here - np.roll(here, channels, 1)).sum(0).reshape(width, channels).sum(1)
        return across, np.abs(here - band[:-1]).mean(1)

    # Of line i: mean absolute step to it from line i - 1; line 0 is the wrap.
    across, down = zip(*bands.each(height, work, image), strict=True)
    return _wrap_over_usual(np.sum(across, 0) / (height * channels)), _wrap_over_usual(np.concatenate(down))


def _wrap_over_usual(steps: Grid) -> float:
    usual = np.percentile(steps[1:], 99) if len(steps) > 1 else 0.0
    floor = 1e-4  # a step of a fortieth of an 8-bit level, so that a seam in a flat picture is large and yet finite
    return float(steps[0] / max(usual, floor))


def _normal_figures(normal: Array) -> tuple[float, float, float]:
    """(mean tilt in degrees, mean error of the length, share that points inwards) of an encoded normal map."""

    def work(rows: slice) -> tuple[float, float, float]:
        x, y, z = np.moveaxis(normal[rows] * 2 - 1, -1, 0)
        flat = np.hypot(x, y)
        return np.degrees(np.arctan2(flat, z)).sum(), np.abs(np.hypot(flat, z) - 1).sum(), (z <= 0).sum()

    tilt, unit, inward = np.array(bands.each(len(normal), work, normal)).sum(0) / normal[..., 0].size
    return float(tilt), float(unit), float(inward)


def _repetition(albedo: Array) -> float:
    """Highest normalised autocorrelation on the torus away from the origin, by the Wiener-Khinchin theorem.

    `albedo` is `(H, W, 3)`. Broad shading is taken out first, since it correlates with itself at every distance.
    """
    grey = _reduced(albedo, 512)
    height, width = grey.shape
    rows, columns = np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width
    power = np.abs(np.fft.rfft2(grey)) ** 2
    power *= 1 - np.exp(-(rows**2 + columns**2) / 32)  # high-pass: half at about five periods a side
    correlation = np.fft.irfft2(power, s=grey.shape)
    if correlation[0, 0] <= 1e-9 * grey.size:
        return 0.0
    far = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None] * width)
    away = far >= max(4.0, 0.06 * min(height, width))
    return float(np.clip((correlation[away] / correlation[0, 0]).max(initial=0), 0, 1))


def _reduced(albedo: Array, most: int) -> Grid:
    """Luminance, the mean of whole blocks, so that no side is much longer than `most`.

    Sides are halved while they can be: a side that is left with a rest would be a torus no more.
    """
    tall, wide = (_blocks(side, most) for side in albedo.shape[:2])

    def work(rows: slice) -> Grid:
        grey = albedo[rows.start * tall : rows.stop * tall] @ _LUMINANCE
        blocks: Grid = grey.reshape(-1, tall, grey.shape[1] // wide, wide).mean((1, 3))
        return blocks

    return np.concatenate(bands.each(len(albedo) // tall, work, albedo, band=max(1, bands.BAND // tall)))


def _blocks(side: int, most: int) -> int:
    """Lines in a block: the least power of two that brings the side down to `most`, if it divides it."""
    size = 1
    while side // size > most and side % (2 * size) == 0:
        size *= 2
    return size


def _agreement(normal: Array, height: Grid) -> float:
    """Mean angle in degrees between the normal map and the normal of the height at the best-fitting relief.

    `normal` is `(H, W, 3)` encoded, `height` `(H, W)`. A normal is (-dz/dx, -dz/dy, 1) with y up, and rows count
    down, so the green channel is +dz/drow. Both are compared as slopes, smoothed alike: smoothing commutes with
    differences, so it takes rounding away and leaves true agreement exact.
    """
    passes = 4 if _is_eight_bit(height) else 1
    halo = passes + 1

    def slopes(rows: slice) -> tuple[Grid, Grid]:
        """Those `(2, rows, W)` that the normal map gives and that the height has at a relief of 1."""
        around = _with_halo(rows, len(height), halo)
        x, y, z = np.moveaxis(normal[around] * 2 - 1, -1, 0)
        steep = np.maximum(z, 0.1)
        given = np.stack([_smoothed(slope, passes) for slope in (-x / steep, y / steep)])
        even = _smoothed(height[around], passes)
        made = np.stack([(np.roll(even, -1, axis) - np.roll(even, 1, axis)) / 2 for axis in (1, 0)])
        return given[:, halo:-halo], made[:, halo:-halo]

    def products(rows: slice) -> tuple[float, float]:
        given, made = slopes(rows)
        return (given * made).sum(dtype=np.float64), (made**2).sum(dtype=np.float64)

    def angles(rows: slice) -> float:
        given, made = slopes(rows)
        made *= relief
        dot = (given * made).sum(0) + 1
        squares = ((given**2).sum(0) + 1) * ((made**2).sum(0) + 1)
        return float(np.degrees(np.arccos(np.clip(dot / np.sqrt(squares), -1, 1))).sum())

    both, own = np.sum(bands.each(len(height), products, normal, height), 0)
    relief = max(both, 0.0) / own if own > 1e-14 * height.size else 0.0
    return float(sum(bands.each(len(height), angles, normal, height)) / height.size)


def _smoothed(image: Grid, passes: int) -> Grid:
    """Blur on the torus with the binomial kernel (1, 2, 1) / 4 in both axes, `passes` times."""
    for _ in range(passes):
        for axis in (0, 1):
            image = (np.roll(image, 1, axis) + np.roll(image, -1, axis)) / 4 + image / 2
    return image


def _is_eight_bit(image: Grid) -> bool:
    levels = image[:64] * 255  # a strip is enough to tell
    return bool(np.abs(levels - np.rint(levels)).max() < 1e-3)


def _range(image: Array) -> Range:
    def work(rows: slice) -> tuple[float, ...]:
        band = image[rows]
        planes = [band[..., channel] for channel in range(band.shape[2])]  # much faster than `all` over the last axis
        zeros, ones = (np.logical_and.reduce([plane == value for plane in planes]).sum() for value in (0, 1))
        return band.min(), band.max(), band.sum(dtype=np.float64), zeros, ones

    lows, highs, *sums = np.array(bands.each(len(image), work, image), np.float64).T
    total, zeros, ones = (float(each.sum()) for each in sums)
    pixels = image[..., 0].size
    return Range(float(lows.min()), float(highs.max()), total / image.size, zeros / pixels, ones / pixels)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
