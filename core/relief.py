"""Relief: the one surface behind a normal map and a height map, so that the two always agree.

Networks predict normals, which real materials have more often and more finely than heights. The height is the
periodic surface whose slopes come closest (Frankot and Chellappa 1988, "A Method for Enforcing Integrability in Shape
from Shading Algorithms"), and the final normal is taken from that height again: what no surface can have is gone.
"""

from __future__ import annotations

import numpy as np

from .maps import Array

# Slopes are cut at 80 degrees: a normal that looks sideways would tear the surface.
STEEPEST = 5.7
# Shapes wider than this many pixels are flattened: they come from small, consistent errors of the slopes.
WIDEST = 512.0
# Damping at the finest frequencies, which central differences cannot see.
FINEST = 0.2
BAND = 256  # rows turned into normals together: whole copies of large maps fill the memory


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
    column = np.float32(2 * np.pi) * np.fft.rfftfreq(width).astype(np.float32)[None, :]
    spectrum = np.fft.rfft2(across)
    spectrum *= np.sin(column)
    other = np.fft.rfft2(down)
    other *= np.sin(row)
    spectrum += other
    del other  # large maps: no array is kept longer than it is needed
    spectrum *= -1j
    wave = row**2 + column**2
    spectrum *= wave / (wave + np.float32(2 * np.pi / WIDEST) ** 2)
    wave = np.sin(row) ** 2 + np.sin(column) ** 2 + FINEST * (np.sin(row / 2) ** 4 + np.sin(column / 2) ** 4)
    wave[0, 0] = 1
    spectrum /= wave
    spectrum[0, 0] = 0
    return np.fft.irfft2(spectrum, s=across.shape).astype(np.float32)


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
    low, high = float(surface.min()), float(surface.max())
    relief = high - low if high - low > 1e-4 else 0.0
    height = (surface - low) / relief if relief else np.full_like(surface, 0.5)
    normal = np.empty((*surface.shape, 3), np.float32)
    for top in range(0, len(surface), BAND):
        rows = np.arange(top, min(top + BAND, len(surface)))
        band = normal[rows[0] : rows[-1] + 1]
        band[..., 0] = (np.roll(surface[rows], 1, 1) - np.roll(surface[rows], -1, 1)) / 2
        band[..., 1] = (surface[(rows + 1) % len(surface)] - surface[rows - 1]) / 2
        band[..., 2] = 1
        band *= 0.5 / np.sqrt(np.einsum("hwc,hwc->hw", band, band))[..., None]
        band += 0.5
    return normal, height[..., None].astype(np.float32), relief
