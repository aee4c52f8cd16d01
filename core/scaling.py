"""Pictures (H, W, C) at other sizes."""

from __future__ import annotations

import numpy as np

from .maps import Array, Maps


def halved(picture: Array) -> Array:
    """Means of 2x2 pixels; an odd last line is left out. What tiles goes on tiling if its sides are even."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    even = picture[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) * np.float32(0.25)


def fitted(maps: Maps, width: int, height: int, tiles: bool) -> Maps:
    """The maps at another size; those that tile go on tiling. Slopes stay as they are, so the relief is scaled too."""
    if maps.size == (width, height):
        return maps
    scaled = {name: np.ascontiguousarray(resized(image, height, width, tiles)) for name, image in maps.items()}
    return Maps(scaled, maps.relief * width / maps.size[0])


def resized(picture: Array, height: int, width: int, tiles: bool = False) -> Array:
    """Any size; the picture is taken to have edges, unless it `tiles`.

    A pixel is a mean under a triangle as wide as the coarser grid: nothing is left out and nothing repeated. Much
    larger pictures are halved first, which takes far less time.
    """
    while picture.shape[0] >= 4 * height and picture.shape[1] >= 4 * width:
        picture = halved(picture)
    return _lines(_lines(picture, height, tiles).swapaxes(0, 1), width, tiles).swapaxes(0, 1)


def _lines(picture: Array, count: int, tiles: bool) -> Array:
    """The picture with `count` lines along its first axis."""
    have = len(picture)
    if count == have:
        return picture
    width = max(1.0, have / count)
    reach = int(np.ceil(width))
    centre = (np.arange(count) + 0.5) * have / count - 0.5
    taps = np.floor(centre).astype(np.int64)[:, None] + np.arange(-reach, reach + 2)  # lines that a mean may take in
    weight = np.maximum(0, 1 - np.abs(taps - centre[:, None]) / width)
    if not tiles:
        weight[(taps < 0) | (taps >= have)] = 0
    weight = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
    lines = np.zeros((count, *picture.shape[1:]), np.float32)
    for tap, share in zip(taps.T % have, weight.T, strict=True):
        lines += share.reshape(-1, *[1] * (picture.ndim - 1)) * picture[tap]
    return lines
