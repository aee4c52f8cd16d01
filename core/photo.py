"""A photo made ready to become a material: straightened, cropped, and evenly lit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import scaling, srgb
from .emboss import LUMINANCE
from .errors import InputError
from .maps import Array

Corners = NDArray[np.float64]

SHADOW = 0.12  # of the shorter side: shades wider than about five times this are taken for light, not for texture
COARSE = 96  # pixels of the shorter side of the picture that light is looked for in
BRIGHTEST = 4.0  # a shade is made brighter, or a glare darker, by at most this
BAND = 256  # rows that are straightened together
SMALLEST = 16  # pixels on a side of what four corners may enclose


def straightened(picture: Array, corners: Sequence[float]) -> Array:
    """What lies between four corners of a photo (H, W, C), as seen from straight above.

    `corners` are x and y of the upper left, upper right, lower right and lower left one, as shares of width and height
    from the upper left. The result has the length of the longer ones of opposite sides. `InputError` when the corners
    do not go round a convex outline, or enclose next to nothing.
    """
    height, width = picture.shape[:2]
    points = np.array(corners, np.float64).reshape(4, 2) * (width, height)
    turns = [_cross(points[n - 2], points[n - 1], points[n]) for n in range(4)]
    sides = [float(np.hypot(*(points[n] - points[n - 1]))) for n in range(4)]  # left, top, right, bottom
    wide, high = round(max(sides[1], sides[3])), round(max(sides[0], sides[2]))
    if min(turns) <= 0 or min(wide, high) < SMALLEST:
        raise InputError(
            "The four corners enclose no surface; give them in this order: upper left, upper right, lower right, "
            "lower left."
        )
    back = _homography(points, wide, high)
    made = np.empty((high, wide, picture.shape[2]), np.float32)
    column = np.arange(wide) + 0.5
    for top in range(0, high, BAND):
        row = np.arange(top, min(top + BAND, high)) + 0.5
        x, y, scale = (back[n, 0] * column[None] + back[n, 1] * row[:, None] + back[n, 2] for n in range(3))
        made[top : top + BAND] = _sampled(picture, y / scale - 0.5, x / scale - 0.5)
    return made


def _cross(first: Corners, second: Corners, third: Corners) -> float:
    """Above 0 where the way turns clockwise, as pictures are seen."""
    (ax, ay), (bx, by) = second - first, third - second
    return float(ax * by - ay * bx)


def _homography(points: Corners, width: int, height: int) -> Corners:
    """The 3x3 matrix that takes a rectangle of this size to four points (Hartley and Zisserman 2004, section 4.1)."""
    rows, values = [], []
    for (x, y), (u, v) in zip(((0, 0), (width, 0), (width, height), (0, height)), points, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows, np.float64), np.array(values)), 1.0).reshape(3, 3)


def _sampled(picture: Array, y: Corners, x: Corners) -> Array:
    """Bilinear means at places (h, w); past the border the border goes on."""
    height, width = picture.shape[:2]
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = np.minimum(y.astype(np.int64), max(0, height - 2)), np.minimum(x.astype(np.int64), max(0, width - 2))
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, along = ((place - start).astype(np.float32)[..., None] for place, start in ((y, top), (x, left)))
    upper = picture[top, left] * (1 - along) + picture[top, right] * along
    lower = picture[below, left] * (1 - along) + picture[below, right] * along
    sampled: Array = upper * (1 - down) + lower * down
    return sampled


def fitted(picture: Array, width: int, height: int) -> Array:
    """The largest middle part (H, W, C) of these proportions, at this size."""
    have_high, have_wide = picture.shape[:2]
    scale = min(have_wide / width, have_high / height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (have_wide - wide) // 2, (have_high - high) // 2
    return np.ascontiguousarray(scaling.resized(picture[top : top + high, left : left + wide], height, width))


def evened(picture: Array, amount: float) -> Array:
    """A photo (H, W, 3), sRGB-encoded, without the light that falls off over large distances.

    Linear colours are divided by a broad mean of their luminance (homomorphic filtering), to the power `amount`; the
    mean brightness stays.
    """
    if amount == 0:
        return picture
    height, width = picture.shape[:2]
    linear = srgb.decode(picture)
    reduction = max(1.0, min(height, width) / COARSE)
    small = scaling.resized((linear @ LUMINANCE)[..., None], *(max(1, round(n / reduction)) for n in (height, width)))
    broad = _broad(small[..., 0], SHADOW * min(small.shape[:2]))
    light = np.clip(broad / max(float(broad.mean()), 1e-6), 1 / BRIGHTEST, BRIGHTEST) ** np.float32(-amount)
    gain = scaling.resized(light[..., None], height, width)
    evened = linear * gain
    evened *= float(linear.mean(dtype=np.float64)) / max(float(evened.mean(dtype=np.float64)), 1e-6)
    return srgb.encode(np.clip(evened, 0, 1, out=evened))


def _broad(grey: Array, width: float) -> Array:
    """A Gaussian mean (h, w) of standard deviation `width`; the picture is mirrored at its edges."""
    for axis in (0, 1):
        count = grey.shape[axis]
        mirrored = np.concatenate([grey, np.flip(grey, axis)], axis)
        frequency = np.fft.fftfreq(2 * count)
        fall = np.exp(-2 * (np.pi * width * frequency) ** 2).reshape((-1, 1) if axis == 0 else (1, -1))
        blurred = np.fft.ifft(np.fft.fft(mirrored, axis=axis) * fall, axis=axis).real
        grey = blurred.take(np.arange(count), axis).astype(np.float32)
    return grey
