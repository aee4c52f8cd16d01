"""Maps: the aligned images of one material, and what each of them means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import bands, scratch
from .errors import InputError

Array = NDArray[np.float32]

# Name -> channels, in the order in which they are shown and written. `albedo` is sRGB-encoded colour;
# `normal` is OpenGL (Y+), encoded n/2+1/2; all but the albedo are linear data.
CHANNELS: dict[str, int] = {"albedo": 3, "normal": 3, "height": 1, "roughness": 1, "metallic": 1, "ao": 1}


@dataclass(frozen=True)
class Maps(Mapping[str, Array]):
    """Aligned images of one material: name -> float32 `(H, W, C)` in [0, 1], row 0 at the top.

    Every map is periodic in both axes.
    """

    images: Mapping[str, Array]
    relief: float = 0.0  # pixels between height 0 and height 1, so that the slopes of the height give the normal

    def __post_init__(self) -> None:
        shapes = {image.shape[:2] for image in self.images.values()}
        if len(shapes) > 1:
            raise ValueError(f"maps of different sizes: {sorted(shapes)}")
        for name, image in self.images.items():
            if image.dtype != np.float32 or image.ndim != 3 or image.shape[2] != CHANNELS[name]:
                raise ValueError(f"{name}: expected float32 (H, W, {CHANNELS[name]}), got {image.dtype} {image.shape}")

    def __getitem__(self, name: str) -> Array:
        return self.images[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in CHANNELS if name in self.images)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = next(iter(self.images.values())).shape[:2]
        return width, height

    def only(self, names: Sequence[str]) -> Maps:
        """The maps named, in the usual order; `InputError` when one is not there."""
        for name in names:
            if name not in self.images:
                raise InputError(f"There is no map called '{name}'; choose from {', '.join(self)}.")
        return Maps({name: self.images[name] for name in self if name in names}, self.relief)


def flip_green(normal: Array) -> Array:
    """Turn an OpenGL (Y+) normal map into a DirectX (Y-) one, or back; `(H, W, 3)` encoded n/2+1/2."""
    flipped = scratch.empty(normal.shape)

    def work(rows: slice) -> None:
        flipped[rows] = normal[rows]
        flipped[rows, :, 1] = 1 - normal[rows, :, 1]

    bands.each(len(normal), work, normal, flipped)
    return flipped
