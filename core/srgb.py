"""The sRGB curve (IEC 61966-2-1), both ways."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def decode(image: Floats) -> Floats:
    """SRGB-encoded values in [0, 1] to linear light; to the nearest of 4096 steps."""
    value = np.linspace(0, 1, 4096, dtype=np.float32)  # a table: powers of millions of pixels take too long
    table = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[(np.clip(image, 0, 1) * np.float32(4095) + np.float32(0.5)).astype(np.uint16)]


def encode(image: Floats) -> Floats:
    """Linear light to sRGB-encoded values."""
    encoded: Floats = np.where(
        image <= 0.0031308, image * 12.92, 1.055 * np.maximum(image, 0.0031308) ** (1 / 2.4) - 0.055
    )
    return encoded.astype(np.float32, copy=False)
