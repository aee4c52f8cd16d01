"""Folders of maps: which file is which map, in the names that Tessera, ambientCG, Poly Haven and others use."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import bands, scaling
from .errors import ImageError, InputError
from .images import MAX_SIDE, read
from .maps import CHANNELS, Array, Maps, flip_green

# Map -> the last words of a file name that mean it, lower case. `normal_dx` is a normal map with Y down.
WORDS: dict[str, tuple[str, ...]] = {
    "albedo": ("albedo", "basecolor", "base_color", "color", "colour", "col", "diffuse", "diff"),
    "normal": ("normal_gl", "normalgl", "normal_opengl", "nor_gl", "normal", "nor", "nrm"),
    "normal_dx": ("normal_dx", "normaldx", "normal_directx", "nor_dx"),
    "height": ("height", "displacement", "disp", "bump"),
    "roughness": ("roughness", "rough"),
    "metallic": ("metallic", "metalness", "metal"),
    "ao": ("ambient_occlusion", "ambientocclusion", "ao"),
}

# The same map in several formats: the first of these is read, the most exact that is quick.
SUFFIXES = (".png", ".tif", ".tiff", ".exr", ".webp", ".jpg", ".jpeg")

MULTIPLE = 8  # pixels: sides that every model takes

PHOTO = 8192  # pixels: more of a photo fill the memory, and no material is made so large

_RESOLUTION = re.compile(r"[_-]\d+k(?:[_-](?:jpg|png|exr))?(?=$|_)")  # `_1K-JPG` of ambientCG, `_1k` of Poly Haven


@dataclass(frozen=True)
class _Found:
    material: str  # what is left of the name, lower case, without the map and the resolution
    kind: str  # a key of WORDS
    path: Path


def check(path: Path | str) -> None:
    """`InputError` when there is neither a file nor a folder."""
    if not Path(path).exists():
        raise InputError(f"There is no file or folder '{path}'; check the path.")


def read_maps(path: Path | str, size: tuple[int, int] | None = None) -> Maps:
    """The maps of a folder, or a picture as albedo alone, at a `size` (width, height).

    Without a size they are brought to the nearest one that every model takes; what tiles goes on tiling. Errors as
    those of `read_folder`, and `InputError` when nothing is there.
    """
    from . import quality  # Blender starts faster without it

    check(path)
    path = Path(path)
    maps = read_folder(path) if path.is_dir() else Maps({"albedo": _as_channels(path, "albedo")})
    nearest = tuple(max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in maps.size)
    wanted = size or (nearest[0], nearest[1])
    return maps if maps.size == wanted else scaling.fitted(maps, *wanted, quality.tiles(maps))


def read_photo(path: Path | str) -> Maps:
    """The maps of a folder or a picture as albedo, of any size: a step that brings them to a size comes first.

    A picture of more than `PHOTO` pixels on a side is reduced. Errors as those of `read_maps`.
    """
    check(path)
    path = Path(path)
    return read_folder(path) if path.is_dir() else Maps({"albedo": _as_channels(path, "albedo", PHOTO)})


def read_folder(folder: Path) -> Maps:
    """Read the maps of one material from a folder, as `Maps` with an OpenGL normal map.

    A file is known by the end of its name: `<name>_<map>.<suffix>` or `<map>.<suffix>`; others, such as previews, are
    ignored. DirectX normals are flipped, and so is `normal` when our own manifest says `dx`. Raises `InputError` when
    the folder holds no map or several materials, and `ImageError` when a file is damaged or the sizes differ.
    """
    found = _choose(folder, _search(folder))
    images = {kind: _as_channels(item.path, kind) for kind, item in found.items()}
    if "normal_dx" in images:
        dx = flip_green(images.pop("normal_dx"))
        images.setdefault("normal", dx)
    elif "normal" in images and _is_dx(_manifest(folder)):
        images["normal"] = flip_green(images["normal"])
    sizes = {kind: f"{image.shape[1]} x {image.shape[0]}" for kind, image in images.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{kind} {size}" for kind, size in sizes.items())
        raise ImageError(f"The maps in '{folder}' differ in size ({listed}); scale them to one size.")
    return Maps(images, _relief(_manifest(folder)))


def _search(folder: Path) -> list[_Found]:
    if not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'; check the path.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    recognised = (_recognise(path) for path in files if not path.name.startswith("."))
    return [item for item in recognised if item]


def _recognise(path: Path) -> _Found | None:
    stem = _RESOLUTION.sub("", path.stem.lower())
    for kind, words in WORDS.items():
        for word in words:
            if stem == word or stem.endswith(("_" + word, "-" + word, " " + word, "." + word)):
                return _Found(stem[: -len(word)].rstrip("_-. "), kind, path)
    return None


def _choose(folder: Path, items: list[_Found]) -> dict[str, _Found]:
    """One file for each kind of map; the manner of the errors is that of `read_folder`."""
    if not items:
        raise InputError(f"There are no maps in '{folder}'; their names must end in one of {', '.join(CHANNELS)}.")
    materials = sorted({item.material for item in items})
    if len(materials) > 1:
        listed = "', '".join(materials[:3])
        raise InputError(f"'{folder}' mixes several materials ('{listed}'); put each in a folder of its own.")
    ranked = sorted(items, key=lambda item: SUFFIXES.index(item.path.suffix.lower()), reverse=True)
    found = {item.kind: item for item in ranked}
    if "normal" in found:
        found.pop("normal_dx", None)  # both conventions are there: no need to read and flip
    return found


def _as_channels(path: Path, kind: str, longest: int = MAX_SIDE) -> Array:
    """Read a file in the channels of its map: greys stored as colour and the other way about."""
    image = read(path, longest)
    bands.each(len(image), lambda rows: np.clip(image[rows], 0, 1, out=image[rows]), image)
    wanted = CHANNELS[kind.removesuffix("_dx")]
    if wanted == 1:
        return np.ascontiguousarray(image[..., :1])
    if image.shape[2] == 1 and kind != "albedo":
        raise ImageError(f"'{path.name}' is grey, so it is no normal map; export it again in colour.")
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], wanted)))


def _manifest(folder: Path) -> Any:
    """What our own manifest says of the maps; {} when there is none."""
    path = folder / "manifest.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{path}' is not valid JSON; restore or remove it.") from error


def _is_dx(manifest: Any) -> bool:
    try:
        return bool(manifest["recipe"]["export"]["normal"] == "dx")
    except (KeyError, TypeError):
        return False  # the manifest of another program


def _relief(manifest: Any) -> float:
    """Pixels between height 0 and height 1; 0 when it is not told."""
    relief = manifest.get("relief") if isinstance(manifest, dict) else None
    return float(relief) if isinstance(relief, (int, float)) and 0 <= relief < 1e6 else 0.0
