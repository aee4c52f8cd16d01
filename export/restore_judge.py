"""Judge healed pictures by whole ones, beside simple means: the heat equation in holes, a Gaussian on noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core import filling
from core.card import Card
from core.families import Runner
from core.families import restore as family
from core.filling import Mask
from core.maps import Array
from core.progress import finish
from export import damage, training
from export import materials as photos

SIGMAS = (10, 25, 40)  # standard deviations of the noise, of 255
WIDTHS = np.geomspace(0.3, 3, 15)  # pixels: of the Gaussian whose best is taken, for each picture and noise
SHOWN = 256  # pixels of a material on a sheet

HOLES = {"scratches": damage.thin_scratches, "blobs": damage.wide_blobs}

Figures = dict[str, float]


def judge(card: Card, runner: Runner, held_out: Sequence[photos.Material], sheet: Path | None = None) -> Figures:
    """PSNR in dB over materials that were never trained on, mean and median; in holes, their pixels alone count.

    `..._laplace` solves the heat equation in the holes; `..._gaussian` is a blur of the best width for each picture.
    """
    figures: Figures = {}
    rows: list[list[Array]] = [[] for _ in held_out]
    for name, paint in HOLES.items():
        found, plain = [], []
        for index, material in enumerate(held_out):
            true = _picture(material)
            height, width = true.shape[:2]
            hole = paint(height, width, np.random.default_rng(index))
            damaged = np.where(hole[..., None], np.float32(0), true)
            healed = finish(family.heal(card, runner, damaged, hole, 0, material.seamless))
            even = laplace(true, hole, material.seamless)
            found.append(_psnr(healed[hole], true[hole]))
            plain.append(_psnr(even[hole], true[hole]))
            if sheet:
                rows[index] += [damaged, even, healed, true]
        figures |= _both(f"{name}_db", found) | _both(f"{name}_laplace_db", plain)
    for sigma in SIGMAS:
        found, plain = [], []
        for index, material in enumerate(held_out):
            true = _picture(material)
            noise = np.random.default_rng(index).standard_normal(true.shape).astype(np.float32)
            noisy = true + noise * np.float32(sigma / 255)
            healed = finish(family.heal(card, runner, noisy, None, sigma / 255 / family.STRONGEST, material.seamless))
            blurs = [blurred(noisy, width) for width in WIDTHS]
            best = max(blurs, key=lambda blur: _psnr(blur, true))
            found.append(_psnr(healed, true))
            plain.append(_psnr(best, true))
            if sheet and sigma == SIGMAS[1]:
                rows[index] += [noisy, best, healed]
        figures |= _both(f"noise{sigma}_db", found) | _both(f"noise{sigma}_gaussian_db", plain)
    if sheet:
        training.save_sheet(sheet, [[_shown(cell) for cell in row] for row in rows])
    return figures


def laplace(picture: Array, hole: Mask, tiles: bool) -> Array:
    """A picture (H, W, 3) with the heat equation solved in its holes, by conjugate gradients."""
    start = filling.fill(np.ascontiguousarray(picture.transpose(2, 0, 1)), hole, tiles).astype(np.float64)
    beside = filling.neighbours(hole, tiles)
    flat = start.reshape(3, -1)
    inside = np.flatnonzero(hole)

    def excess(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return 4 * values[:, inside] - np.sum([values[:, place] for place in beside], 0)

    residual = -excess(flat)
    way = np.zeros_like(flat)
    way[:, inside] = residual
    energy = (residual**2).sum()
    for _ in range(500):
        if energy < 1e-9 * max(1, len(inside)):
            break
        product = excess(way)
        length = energy / (way[:, inside] * product).sum()
        flat[:, inside] += length * way[:, inside]
        residual = residual - length * product
        before, energy = energy, (residual**2).sum()
        way[:, inside] = residual + (energy / before) * way[:, inside]
    return np.ascontiguousarray(flat.reshape(start.shape).transpose(1, 2, 0)).astype(np.float32)


def blurred(picture: Array, width: float) -> Array:
    """A picture (H, W, C) under a Gaussian of this standard deviation in pixels, on the torus."""
    row, column = np.fft.fftfreq(picture.shape[0])[:, None], np.fft.rfftfreq(picture.shape[1])[None]
    keep = np.exp(-2 * (np.pi * width) ** 2 * (row**2 + column**2))[..., None]
    blur = np.fft.irfft2(np.fft.rfft2(picture, axes=(0, 1)) * keep, s=picture.shape[:2], axes=(0, 1))
    return blur.astype(np.float32)


def _both(name: str, values: list[float]) -> Figures:
    return {f"{name}_mean": float(np.mean(values)), f"{name}_median": float(np.median(values))}


def _psnr(made: Array, true: Array) -> float:
    """Peak signal-to-noise ratio in dB; at most 60."""
    return float(-10 * np.log10(max(float(((made - true) ** 2).mean(dtype=np.float64)), 1e-6)))


def _picture(material: photos.Material) -> Array:
    """(H, W, 3) in [0, 1]."""
    return np.ascontiguousarray(material.pixels[:3].transpose(1, 2, 0)).astype(np.float32) / np.float32(255)


def _shown(image: Array) -> Array:
    """A picture cut or filled up to (256, 256, 3)."""
    part = image[:SHOWN, :SHOWN]
    return np.pad(part, ((0, SHOWN - part.shape[0]), (0, SHOWN - part.shape[1]), (0, 0)))
