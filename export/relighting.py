"""Photos of known materials under random light: what a network that looks through light learns from.

Lambert's law on the material's own normals, with ambient light that its own occlusion dims. There are no cast shadows
and no highlights: what is rendered is exact for a matt and shallow surface only.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import relief, srgb
from export import materials as photos

Floats = NDArray[np.float32]

XY, AO = photos.PLANES_OF["normal"], photos.PLANES_OF["ao"]


@dataclass(frozen=True)
class Light:
    """One far light and a dome of even light; a flat surface keeps its brightness under any of them."""

    azimuth: float  # radians from the right, anticlockwise: where the light stands
    elevation: float  # radians above the surface
    ambient: float  # share of the dome's light


def random_light(random: np.random.Generator) -> Light:
    """From the low sun of an evening to a bright sky."""
    elevation = np.radians(random.uniform(15, 75))
    return Light(random.uniform(0, 2 * np.pi), elevation, random.uniform(0.15, 0.7))


def lit(planes: Floats, light: Light) -> Floats:
    """The albedo of planes (8, H, W) under a light: (3, H, W), sRGB-encoded and clipped to [0, 1]."""
    x, y = planes[XY] * 2 - 1
    z = np.sqrt(np.maximum(1 - x * x - y * y, 1e-4))
    level = np.cos(light.elevation)
    facing = level * (np.cos(light.azimuth) * x + np.sin(light.azimuth) * y) + np.sin(light.elevation) * z
    received = light.ambient * planes[AO][0] + (1 - light.ambient) * np.maximum(facing, 0)
    received /= light.ambient + (1 - light.ambient) * np.sin(light.elevation)
    return srgb.encode(np.clip(srgb.decode(planes[:3]) * received.astype(np.float32), 0, 1))


def turned(planes: Floats, random: np.random.Generator) -> Floats:
    """Planes (8, S, S) in one of the eight positions of a square; normals turn with the picture."""
    planes = planes.copy()
    if random.random() < 0.5:
        planes = planes[:, :, ::-1].copy()
        planes[3] = 1 - planes[3]
    if random.random() < 0.5:
        planes = planes[:, ::-1].copy()
        planes[4] = 1 - planes[4]
    if random.random() < 0.5:
        # What rises to the right now rises downwards, where y is negative.
        planes = planes.swapaxes(1, 2).copy()
        planes[XY] = 1 - planes[XY][::-1]
    return planes


def overlaid(normal: Floats, other: Floats) -> Floats:
    """Encoded x and y (2, S, S) of the normals of two reliefs that lie on each other: their slopes add up."""
    across, down = (a + b for a, b in zip(relief.slopes(*normal), relief.slopes(*other), strict=True))
    length = 2 * np.sqrt(1 + across**2 + down**2)
    return np.stack([0.5 - across / length, 0.5 + down / length]).astype(np.float32)


def recoloured(pictures: Sequence[Floats], random: np.random.Generator) -> list[Floats]:
    """Pictures (3, H, W), all with the same random exposure, contrast and tint, and now and then in strange colours."""
    order = random.permutation(3) if random.random() < 0.25 else np.arange(3)
    gain = random.uniform(0.7, 1.3) * random.uniform(0.9, 1.1, (3, 1, 1))
    gamma = random.uniform(0.75, 1.35)
    return [np.clip(gain * picture[order] ** gamma, 0, 1).astype(np.float32) for picture in pictures]


def photographed(picture: Floats, random: np.random.Generator) -> Floats:
    """A picture (3, H, W) as a camera keeps it: with noise, and often as a JPEG."""
    noisy = picture + random.uniform(0, 0.012) * random.standard_normal(picture.shape)
    pixels = np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
    if random.random() < 0.4:
        stream = io.BytesIO()
        Image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "JPEG", quality=int(random.integers(50, 96)))
        pixels = np.asarray(Image.open(stream)).transpose(2, 0, 1)
    return pixels.astype(np.float32) / np.float32(255)
