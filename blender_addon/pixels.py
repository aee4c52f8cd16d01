"""Arrays and Blender's images: the one file that knows rows, precision and colour spaces of both sides.

Arrays are float32 `(H, W, C)` in [0, 1], row 0 at the top; the albedo is sRGB-encoded, every other map linear data.
Blender's row 0 is the bottom one. A byte image gives its stored values; a float image with the colour space sRGB gives
linear light.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np

from .core.errors import InputError
from .core.images import Picture
from .core.maps import CHANNELS, Array, Maps
from .core.recipe import is_inside
from .core.srgb import encode as encode_srgb

_OURS = "tessera"  # custom property of images that were made here
Content = bytes | Path | Picture  # an encoded file, a file on disk, or pixels that only Blender can encode (EXR)


def colour_space(name: str) -> str:
    """Blender's colour space of a map."""
    return "sRGB" if name == "albedo" else "Non-Color"


def create(label: str, name: str, content: Content) -> bpy.types.Image:
    """A new image called `label` that holds the map `name`, packed or, from a path, linked to the file."""
    if isinstance(content, Path):
        image = bpy.data.images.load(str(content.absolute()))  # else Blender takes it from the .blend file's folder
        make_relative(image)
        image.name = label
    elif isinstance(content, Picture):
        image = _packed_exr(label, content)
    else:
        # The encoded file itself becomes the packed file: a copy of bytes, where `Image.pack` alone would encode again.
        image = bpy.data.images.new(label, 1, 1)
        image.pack(data=content, data_len=len(content))
        image.source = "FILE"
        image.filepath_raw = f"//{label}.png"  # the name that unpacking gives
    image.alpha_mode = "NONE"
    image.colorspace_settings.name = colour_space(name)
    image[_OURS] = True
    return image


def is_ours(image: bpy.types.Image) -> bool:
    """Whether an image was made here, and may be removed when nothing uses it."""
    return bool(image.get(_OURS))


def make_relative(image: bpy.types.Image) -> None:
    """Let an image be found again after the folder of the .blend file was moved, if it lies in it."""
    path = bpy.path.abspath(image.filepath)
    if bpy.data.filepath and path and is_inside(path, Path(bpy.data.filepath).parent):
        image.filepath = bpy.path.relpath(path)


def _packed_exr(label: str, picture: Picture) -> bpy.types.Image:
    image = bpy.data.images.new(label, picture.pixels.shape[1], picture.pixels.shape[0], float_buffer=True)
    image.colorspace_settings.name = "Non-Color"  # before the pixels, which it would wipe; values go in as they are
    image.file_format = "OPEN_EXR"
    half = picture.depth == 16  # Blender writes floats of 32 bits here; their values are those of 16
    image.pixels.foreach_set(to_blender(picture.pixels.astype(np.float16) if half else picture.pixels))
    image.update()
    image.pack()
    image.source = "FILE"
    return image


def save_exr(path: Path, picture: Picture) -> None:
    """Write an EXR through Blender, its values as they are; `RuntimeError` when Blender cannot."""
    image = _packed_exr(path.stem, picture)
    try:
        image.filepath_raw = str(path)
        image.save()
    finally:
        bpy.data.images.remove(image)


def to_blender(pixels: Array) -> Array:
    """`(H, W, C)` as Blender's flat RGBA, bottom row first."""
    height, width, channels = pixels.shape
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., : max(3, channels)] = pixels[::-1]
    return rgba.ravel()


def read(image: bpy.types.Image, name: str) -> Array:
    """The map `name` held by an image, or by the first file of a sequence; `InputError` when its file is missing."""
    if image.source == "SEQUENCE":
        return _read_first(image, name)
    width, height = image.size
    if not (width and height):
        raise _missing(image)
    pixels = _pixels(image, name)
    return encode_srgb(pixels) if image.is_float and image.colorspace_settings.name == "sRGB" else pixels


def _read_first(sequence: bpy.types.Image, name: str) -> Array:
    try:
        still = bpy.data.images.load(bpy.path.abspath(sequence.filepath, library=sequence.library))
    except RuntimeError:
        raise _missing(sequence) from None
    try:
        still.colorspace_settings.name = sequence.colorspace_settings.name
        return read(still, name)
    finally:
        bpy.data.images.remove(still)


def _missing(image: bpy.types.Image) -> InputError:
    return InputError(f"The file of the image '{image.name}' is missing; find it again, or regenerate the material.")


def read_baked(image: bpy.types.Image, name: str) -> Array:
    """The map `name` that Cycles baked into a float image with the colour space Non-Color: colours are linear there."""
    pixels = _pixels(image, name)
    return encode_srgb(pixels) if name == "albedo" else pixels


def _pixels(image: bpy.types.Image, name: str) -> Array:
    """The image's values, clipped to [0, 1], in the channels of a map."""
    width, height = image.size
    flat = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(flat)
    pixels = flat.reshape(height, width, 4)[::-1, :, : CHANNELS[name]]
    return np.ascontiguousarray(np.clip(pixels, 0, 1), np.float32)


def read_maps(images: Mapping[str, bpy.types.Image], relief: float = 0.0) -> Maps:
    """All maps of a material; `InputError` when a file is missing or the sizes differ."""
    if not images:
        raise InputError("This material has no maps of Tessera; generate a texture first.")
    found = {name: read(image, name) for name, image in images.items()}
    if len({pixels.shape[:2] for pixels in found.values()}) > 1:
        raise InputError("The maps of this material have different sizes; regenerate the material.")
    return Maps(found, relief)
