"""Image files: the one file of core that reads and writes them, PNG by itself and the others with OpenImageIO.

Values are taken and written as they are: no colour conversion, no dither, no premultiplication. A set of files is
written completely or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import bands, png, scratch
from .errors import ImageError, OutputError
from .maps import Array
from .progress import finish

MAX_SIDE = 16384  # pixels; a side longer than this is a mistake or an attack, never a material
MAX_BYTES = 2**31  # of a file: 16384 x 16384 of 16 bits, uncompressed, have 1.5 GiB
MAX_PIXELS = 2**28  # 16384 x 16384; as float32 RGB this is already 3 GiB

# File suffix -> the depths in bits that can be written. EXR holds floats: 16 is half. Neither JPEG nor WebP: they lose
# detail, and on a full disk their libraries end the whole process, Blender included, instead of reporting an error.
DEPTHS: dict[str, tuple[int, ...]] = {
    ".png": (8, 16),
    ".exr": (16, 32),
    ".tif": (8, 16),
    ".tiff": (8, 16),
}

BAND = 64  # rows of a reduced picture that are read together
_ORIENTATION = 0x0112  # EXIF tag

# numpy's name of a type -> OpenImageIO's, which silently stores floats in another precision for a name it does not know
_TYPES = {"uint8": "uint8", "uint16": "uint16", "float16": "half", "float32": "float"}


@dataclass(frozen=True)
class Picture:
    """Pixels and the precision at which they are stored."""

    pixels: Array  # float32 (H, W, C) in [0, 1], C is 1, 3 or 4 (RGBA, PNG only); row 0 at the top; clipped on writing
    depth: int = 8  # bits a channel: 8, 16, or 32 (EXR only; an EXR of 16 is half)

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.float32 or self.pixels.ndim != 3 or self.pixels.shape[2] not in (1, 3, 4):
            raise ValueError(f"expected float32 (H, W, 1, 3 or 4), got {self.pixels.dtype} {self.pixels.shape}")
        if self.depth not in (8, 16, 32):
            raise ValueError(f"depth is 8, 16 or 32, not {self.depth}")


def read(path: Path | str, longest: int = MAX_SIDE) -> Array:
    """Read a PNG, JPEG, EXR, TIFF or WebP file as float32 `(H, W, C)`, C 1 or 3, row 0 at the top.

    Integers are scaled to [0, 1]; floats are taken as stored and may lie outside. Photos stand upright, as their EXIF
    says. Alpha is dropped; of layers and frames the first is read. A picture with a side of more than `longest` pixels
    is reduced by a whole number while it is read (means of squares). Raises `ImageError` when the file is missing,
    damaged, too large or not an image.
    """
    path = Path(path)
    _check_file(path)
    try:
        pixels = _decode(path, longest)
    except OSError as error:
        raise ImageError(f"'{path}' cannot be opened ({_reason(error)}); check its permissions.") from error
    if not np.isfinite(pixels).all():
        raise ImageError(f"'{path.name}' contains values that are not numbers (NaN or infinite); export it again.")
    return pixels


def size(path: Path | str) -> tuple[int, int]:
    """(width, height) of a picture that stands upright; only its head is read. Errors as those of `read`."""
    path = Path(path)
    _check_file(path)
    try:
        oiio = _openimageio()
    except ImageError:
        pixels = read(path)
        return pixels.shape[1], pixels.shape[0]
    source = oiio.ImageInput.open(str(path))
    if source is None:
        oiio.geterror()
        raise ImageError(f"'{path.name}' is not an image that can be read; use PNG, JPEG, EXR, TIFF or WebP.")
    spec = source.spec()
    source.close()
    _check_size(path, spec.width, spec.height, spec.depth)
    upright = (spec.getattribute("Orientation") or 1) < 5
    return (spec.width, spec.height) if upright else (spec.height, spec.width)


def write(path: Path | str, picture: Picture) -> None:
    """Write one picture in the format of the suffix, completely or not at all; `OutputError` when it cannot be."""
    path = Path(path)
    write_all(path.parent, {path.name: picture}, {})


def encode(picture: Picture) -> bytes:
    """The bytes of a PNG file; 8 or 16 bits."""
    return b"".join(_png(picture))


def write_all(folder: Path, pictures: Mapping[str, Picture], others: Mapping[str, str | bytes]) -> list[Path]:
    """`writing`, all of it."""
    return finish(writing(folder, pictures, others))


def writing(
    folder: Path, pictures: Mapping[str, Picture], others: Mapping[str, str | bytes]
) -> Generator[float, None, list[Path]]:
    """Write a set of files (name with suffix -> content; texts in UTF-8) and return their paths; yields the share done.

    All or nothing: the files get temporary names and are renamed only when all are complete. On an error or an
    interruption, and when it is closed, the temporaries are removed and files that were there before are as they were.
    The same content gives the same bytes. Raises `OutputError` when the folder or a file cannot be written.
    """
    for name, picture in pictures.items():
        _check_format(name, picture)
    check_folder(folder)
    contents: dict[str, Picture | str | bytes] = {**pictures, **others}
    pending: dict[Path, Path] = {}
    try:
        for name, content in contents.items():
            target = folder / name
            pending[target] = _hidden(target, "new")
            _save(pending[target], content)
            yield len(pending) / len(contents)
        with _undone_on_error() as moved:
            for target, temporary in pending.items():
                _replace(temporary, target, moved)
    except OSError as error:
        message = f"Cannot write to '{folder}' ({_reason(error)}); free some space or choose another folder."
        raise OutputError(message) from error
    finally:
        for temporary in pending.values():
            temporary.unlink(missing_ok=True)
    return list(pending)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder inside `folder` to write files into, one by one; they appear in `folder` together at the end.

    On an error or an interruption nothing appears, and files that were there before are as they were.
    """
    check_folder(folder)
    stage = _hidden(folder / "frames", "new")
    try:
        check_folder(stage)
        yield stage
        _unstage(stage, folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _unstage(stage: Path, folder: Path) -> None:
    try:
        with _undone_on_error() as moved:
            for path in sorted(stage.iterdir()):
                _replace(path, folder / path.name, moved)
    except OSError as error:
        raise OutputError(f"Cannot write to '{folder}' ({_reason(error)}); free some space.") from error


def check_animation() -> None:
    """`OutputError` when Pillow is missing, which `write_animation` needs."""
    _pillow()


def write_animation(path: Path, pictures: Sequence[NDArray[np.uint8]], fps: int) -> None:
    """Write an animated WebP that repeats for ever, of pictures `(H, W, 3)`, sRGB-encoded.

    `OutputError` when it cannot be written.
    """
    first, *others = (_pillow().fromarray(picture) for picture in pictures)
    milliseconds = round(1000 / fps)
    try:
        first.save(path, save_all=True, append_images=others, duration=milliseconds, loop=0, quality=80, method=2)
    except OSError as error:
        raise OutputError(f"Cannot write '{path.name}' ({_reason(error)}); free some space.") from error


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise OutputError("Pillow is missing; install it with 'pip install pillow'.") from error
    return Image


def check_folder(folder: Path) -> None:
    """Make the folder, with its parents, and prove that a file can be written there; else `OutputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = _hidden(folder / "probe", "new")
        probe.write_bytes(b"tessera")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"Cannot write to '{folder}' ({_reason(error)}); choose another folder.") from error


def discard_unfinished(folder: Path) -> None:
    """Remove what a `write_all` of this process has begun in the folder, when the process must end under it."""
    for unfinished in folder.glob(f".*.{os.getpid()}.new*"):
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        with suppress(OSError):
            unfinished.unlink()


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ImageError(f"'{path}' is a folder; choose an image file in it.")
    if not path.is_file():
        raise ImageError(f"There is no file '{path}'; check the name and the folder.")


def _openimageio() -> ModuleType:
    """Import OpenImageIO on first use: it takes a while, and most of core does without."""
    try:
        import OpenImageIO
    except ImportError as error:
        raise ImageError("OpenImageIO is missing; install it with 'pip install openimageio'.") from error
    return OpenImageIO


def _decode(path: Path, longest: int) -> Array:
    if _is_png(path) and path.stat().st_size > MAX_BYTES:
        raise ImageError(f"'{path.name}' is too large; scale it to at most {MAX_SIDE} a side.")
    if _is_png(path) and not png.is_whole(memoryview(path.read_bytes())):  # else libpng prints on stderr by itself
        raise ImageError(f"'{path.name}' is damaged or incomplete; download or export it again.")
    try:
        oiio = _openimageio()
    except ImageError:
        return _decode_with_pillow(path, longest)
    as_stored = oiio.ImageSpec()
    as_stored.attribute("oiio:UnassociatedAlpha", 1)  # else colours are multiplied by the alpha that we drop
    source = oiio.ImageInput.open(str(path), as_stored)
    if source is None:
        oiio.geterror()  # a message left unread is printed on stderr when the process ends
        raise ImageError(f"'{path.name}' is not an image that can be read; use PNG, JPEG, EXR, TIFF or WebP.")
    try:
        spec = source.spec()
        _check_size(path, spec.width, spec.height, spec.depth)
        pixels = _read_by_bands(source, spec, _reduction(spec.width, spec.height, longest))
        if pixels is None or source.has_error:
            raise ImageError(f"'{path.name}' is damaged ({_first_line(source.geterror())}); export it again.")
    finally:
        source.close()
    return _upright(pixels, spec.getattribute("Orientation") or 1)


def _read_by_bands(source: Any, spec: Any, reduction: int) -> Array | None:
    """The pixels of an open file, reduced; None when it is damaged."""
    # Channels that only pad or mask (grey + alpha, RGB + alpha, further layers) are not even read.
    kind, channels = "float", 3 if spec.nchannels >= 3 else 1
    if spec.tile_width:
        whole = source.read_image(0, 0, 0, channels, kind)
        return None if whole is None else _reduced(whole.reshape(spec.height, spec.width, -1), reduction)
    height, width = (max(1, side // reduction) for side in (spec.height, spec.width))
    pixels, done = scratch.empty((height, width, channels)), 0
    while done < height:
        top, lines = done * reduction, min(BAND, height - done)
        bottom = min(top + lines * reduction, spec.height)
        band = source.read_scanlines(spec.y + top, spec.y + bottom, 0, 0, channels, kind)
        if band is None:
            return None
        pixels[done : done + lines] = _reduced(band.reshape(bottom - top, spec.width, -1), reduction)
        scratch.rest(pixels)
        done += lines
    return pixels


def _reduction(width: int, height: int, longest: int) -> int:
    """By how much a picture is reduced so that no side is longer."""
    return -(-max(width, height) // longest)


def _reduced(pixels: Array, reduction: int) -> Array:
    """Means of squares (H, W, C); lines that do not fill one are left out."""
    if reduction == 1:
        return np.ascontiguousarray(pixels, np.float32)
    height, width = (max(1, side // reduction) for side in pixels.shape[:2])
    cut = pixels[: height * reduction, : width * reduction]
    blocks = cut.reshape(height, cut.shape[0] // height, width, cut.shape[1] // width, -1)
    return np.ascontiguousarray(blocks.mean((1, 3), dtype=np.float32))


def _upright(pixels: Array, orientation: int) -> Array:
    """Turned and mirrored as the EXIF tag Orientation (1 to 8) asks for."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _decode_with_pillow(path: Path, longest: int) -> Array:
    """For a Blender that was built without OpenImageIO's Python module; colours of 16 bits are read as 8."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        message = "OpenImageIO is missing; install it with 'pip install openimageio'."
        raise ImageError(message) from error
    try:
        with Image.open(path) as image:
            _check_size(path, image.width, image.height, 1)
            deep = image.mode.startswith("I")
            grey = deep or image.mode in ("1", "L", "LA", "F")
            pixels = np.asarray(image if deep or image.mode == "F" else image.convert("L" if grey else "RGB"))
            orientation = image.getexif().get(_ORIENTATION, 1)
    except UnidentifiedImageError:
        raise ImageError(f"'{path.name}' is not an image that can be read here; use PNG, JPEG, TIFF or WebP.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"'{path.name}' is damaged ({_first_line(str(error))}); export it again.") from None
    scale = 65535 if deep else 1 if pixels.dtype.kind == "f" else 255
    planes = pixels.reshape(*pixels.shape[:2], -1)
    upright = _upright(_reduced(planes, _reduction(planes.shape[1], planes.shape[0], longest)), orientation)
    return upright * np.float32(1 / scale)


def _check_size(path: Path, width: int, height: int, depth: int) -> None:
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS or depth > 1:
        raise ImageError(f"'{path.name}' has {width} x {height} pixels; scale it to at most {MAX_SIDE} a side.")


def _check_format(name: str, picture: Picture) -> None:
    suffix = Path(name).suffix.lower()
    if picture.depth not in DEPTHS.get(suffix, ()):
        known = ", ".join(f"{key[1:]} {'/'.join(map(str, depths))}" for key, depths in DEPTHS.items())
        raise OutputError(f"'{name}' cannot be written with {picture.depth} bits; choose one of: {known}.")


def _save(path: Path, content: Picture | str | bytes) -> None:
    if isinstance(content, str):
        content = content.encode("utf-8")  # bytes: the same line ends on all systems
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix.lower() == ".png":
        with path.open("wb") as file:
            file.writelines(_png(content))
    else:
        _save_by_library(path, content)


def _save_by_library(path: Path, picture: Picture) -> None:
    oiio = _openimageio()
    kind = _kind(picture.depth, floating=path.suffix.lower() == ".exr")
    height, width, channels = picture.pixels.shape
    spec = oiio.ImageSpec(width, height, channels, _TYPES[np.dtype(kind).name])
    spec.attribute("compression", "zip")
    # OpenImageIO dates these files unless told otherwise; the same pixels must give the same bytes.
    spec.attribute("DateTime", "1980:01:01 00:00:00")
    target = oiio.ImageOutput.create(str(path))
    if target is None:
        raise OSError(_first_line(oiio.geterror()))
    written = target.open(str(path), spec) and _write_bands(target, picture, kind)
    if not (target.close() and written):  # close always, and it is there that a full disk often shows
        raise OSError(_first_line(target.geterror() or oiio.geterror()))


def _write_bands(target: Any, picture: Picture, kind: type[np.generic]) -> bool:
    """Write the pixels to an open file; false when that fails."""
    stored = bands.stream(
        len(picture.pixels), lambda rows: (rows, _quantised(picture.pixels[rows], kind)), picture.pixels
    )
    return all(target.write_scanlines(rows.start, rows.stop, 0, pixels) for rows, pixels in stored)


def _png(picture: Picture) -> Iterator[bytes]:
    kind, pixels = _kind(picture.depth, floating=False), picture.pixels
    return png.stream(pixels.shape, kind, lambda rows: _quantised(pixels[rows], kind), pixels)


def _kind(depth: int, floating: bool) -> type[np.generic]:
    """The stored type."""
    kinds: dict[int, type[np.generic]] = {8: np.uint8, 16: np.float16 if floating else np.uint16, 32: np.float32}
    return kinds[depth]


def _quantised(pixels: Array, kind: type[np.generic]) -> NDArray[Any]:
    """To the stored type, to the nearest value: `x * 255` is rounded, so that k / 255 comes back exactly."""
    clipped = np.clip(pixels, 0, 1)
    if not np.isfinite(clipped.max(initial=0)):  # NaN is carried along
        raise ValueError("NaN in a picture to be written")
    if issubclass(kind, np.integer):
        clipped *= np.float32(np.iinfo(kind).max)
        np.rint(clipped, out=clipped)
    return clipped.astype(kind)


def _is_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(png.SIGNATURE)) == png.SIGNATURE


def _hidden(target: Path, word: str) -> Path:
    """A name beside the target that no one sees; it ends in the true suffix, by which OpenImageIO picks the format."""
    return target.with_name(f".{target.stem}.{os.getpid()}.{word}{target.suffix}")


@contextmanager
def _undone_on_error() -> Iterator[list[tuple[Path, Path | None]]]:
    """Collect (target, where its former file is kept) and put the former files back unless all went well."""
    moved: list[tuple[Path, Path | None]] = []
    try:
        yield moved
    except BaseException:
        for target, former in reversed(moved):
            if former is None:
                target.unlink(missing_ok=True)
            elif former.exists():
                os.replace(former, target)
        raise
    for _, former in moved:
        if former is not None:
            former.unlink(missing_ok=True)


def _replace(temporary: Path, target: Path, moved: list[tuple[Path, Path | None]]) -> None:
    if target.is_dir():
        raise IsADirectoryError(f"'{target.name}' is a folder")
    former = _hidden(target, "old") if target.exists() else None
    moved.append((target, former))  # before the renames, so that an interruption between them is undone as well
    if former is not None:
        os.replace(target, former)
    os.replace(temporary, target)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0].rstrip(".") if message.strip() else "no reason given"
