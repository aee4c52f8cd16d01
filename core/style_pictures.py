"""Pictures that styles are taken from: the built-in ones, by name, and any other, by path."""

from __future__ import annotations

from pathlib import Path

from . import images
from .errors import InputError
from .maps import Array

FOLDER = Path(__file__).parent / "styles"


def names() -> list[str]:
    """The built-in styles."""
    return sorted(path.stem for path in FOLDER.glob("*.png"))


def path(style: str) -> Path:
    """Where a style lies: a built-in one by its name, else the path itself; `InputError` when it is neither."""
    if style in names():
        return FOLDER / f"{style}.png"
    if not Path(style).is_file():
        raise InputError(f"There is no style '{style}'; give a picture, or one of {', '.join(names())}.")
    return Path(style)


def load(style: str) -> Array:
    """The picture, float32 `(H, W, 3)`, sRGB-encoded in [0, 1]; `ImageError` when it cannot be read."""
    picture = images.read(path(style))
    return picture.clip(0, 1) if picture.shape[2] == 3 else picture.clip(0, 1).repeat(3, axis=2)
