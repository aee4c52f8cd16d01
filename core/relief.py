"""Relief: the one surface behind a normal map and a height map, so that the two always agree.

Networks predict normals, which real materials have more often and more finely than heights. The height is the
periodic surface whose slopes come closest (Frankot and Chellappa 1988, "A Method for Enforcing Integrability in Shape
from Shading Algorithms"), and the final normal is taken from that height again: what no surface can have is gone.
"""

from __future__ import annotations

import numpy as np

from . import bands, scratch
from .maps import Array

# Slopes are cut at 80 degrees: a normal that looks sideways would tear the surface.
STEEPEST = 5.7
# Shapes wider than this many pixels are flattened: they come from small, consistent errors of the slopes.
WIDEST = 512.0
# Damping at the finest frequencies, which central differences cannot see.
FINEST = 0.2
FEW = 16  # columns solved together: they lie far apart in memory


def slopes(x: Array, y: Array) -> tuple[Array, Array]:
    """(dz/dcolumn, dz/drow) of encoded OpenGL normals given by their x and y, each `(H, W)` in [0, 1]."""
    x, y = x * 2 - 1, y * 2 - 1
    z = np.sqrt(np.maximum(1 - x * x - y * y, 1 / (1 + STEEPEST**2)))
    # Row 0 is the top, so a surface that rises downwards faces up: green is above one half.
    return np.clip(-x / z, -STEEPEST, STEEPEST), np.clip(y / z, -STEEPEST, STEEPEST)


def integrate(across: Array, down: Array) -> Array:
    """The periodic surface `(H, W)` in pixels whose central differences come closest to the slopes; mean 0."""
    height, width = across.shape
    # Angular frequencies in radians for each pixel.
    row = np.float32(2 * np.pi) * np.fft.fftfreq(height).astype(np.float32)[:, None]
    column = np.float32(2 * np.pi) * np.fft.rfftfreq(width).astype(np.float32)
    spectra = [scratch.empty((height, len(column)), np.complex64) for _ in range(2)]
    surface = scratch.empty((height, width))

    def forward(rows: slice) -> None:
        for spectrum, slope in zip(spectra, (across, down), strict=True):
            spectrum[rows] = np.fft.rfft(slope[rows])

    def solve(columns: slice) -> None:
        u = column[columns]
        wave = row**2 + u**2
        weight = wave / (wave + np.float32(2 * np.pi / WIDEST) ** 2)
        wave = np.sin(row) ** 2 + np.sin(u) ** 2 + FINEST * (np.sin(row / 2) ** 4 + np.sin(u / 2) ** 4)
        wave[wave == 0] = 1  # the mean, whose weight is 0
        found = np.fft.fft(spectra[0][:, columns], axis=0) * np.sin(u)
        found += np.fft.fft(spectra[1][:, columns], axis=0) * np.sin(row)
        spectra[0][:, columns] = np.fft.ifft(found * (-1j * weight / wave), axis=0)

    def back(rows: slice) -> None:
        surface[rows] = np.fft.irfft(spectra[0][rows], width)

    bands.each(height, forward, across, down, *spectra)
    bands.each(len(column), solve, band=FEW)
    bands.each(height, back, spectra[0], surface)
    return surface


def of_normals(normal: Array, tiles: bool, strength: float = 1.0) -> Array:
    """The surface `(H, W)` in pixels, mean 0, of encoded normals `(H, W, 2 or 3)` whose slopes are times `strength`.

    What does not tile is a quarter of a torus: itself and its mirror images, where slopes across the mirror turn round.
    """
    across, down = (scratch.empty(normal.shape[:2]) for _ in range(2))

    def work(rows: slice) -> None:
        for slope, found in zip((across, down), slopes(normal[rows, :, 0], normal[rows, :, 1]), strict=True):
            np.multiply(found, np.float32(strength), out=slope[rows])

    bands.each(len(normal), work, normal, across, down)
    if tiles:
        return integrate(across, down)
    height, width = across.shape
    return integrate(mirrored(across, -1, 1), mirrored(down, 1, -1))[:height, :width]


def mirrored(plane: Array, across: int, down: int) -> Array:
    """A plane (H, W) and its mirror images (2H, 2W), times these signs (1 or -1) to the right and below.

    What has edges is so a quarter of a torus; slopes across the mirror turn round, heights do not.
    """
    wide = np.concatenate([plane, across * plane[:, ::-1]], 1)
    return np.concatenate([wide, down * wide[::-1]], 0)


def encode(surface: Array) -> tuple[Array, Array, float]:
    """(normal `(H, W, 3)`, height `(H, W, 1)`, relief in pixels) of a periodic surface `(H, W)` in pixels.

    The height fills [0, 1]; a flat surface gets one half. The slopes are central differences on the torus.
    """
    height, normal = scratch.empty((*surface.shape, 1)), scratch.empty((*surface.shape, 3))
    lows, highs = zip(*bands.each(len(surface), lambda rows: _range(surface[rows]), surface), strict=True)
    low, high = min(lows), max(highs)
    relief = high - low if high - low > 1e-4 else 0.0

    def work(rows: slice) -> None:
        lines = np.arange(rows.start, rows.stop)
        height[rows, :, 0] = (surface[rows] - low) / relief if relief else 0.5
        band = normal[rows]
        band[..., 0] = (np.roll(surface[rows], 1, 1) - np.roll(surface[rows], -1, 1)) / 2
        band[..., 1] = (surface[(lines + 1) % len(surface)] - surface[lines - 1]) / 2
        band[..., 2] = 1
        band *= 0.5 / np.sqrt(np.einsum("hwc,hwc->hw", band, band))[..., None]
        band += 0.5

    bands.each(len(surface), work, surface, height, normal)
    return normal, height, relief


def _range(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())
