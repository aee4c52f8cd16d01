"""Pictures of the materials, and the lists in which the panel offers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bpy
import bpy.utils.previews
import numpy as np

from . import engine, jobs, later
from .core.errors import ModelError, TesseraError
from .core.maps import Array

if TYPE_CHECKING:
    from .core.library import Model

style_pictures, thumbnails = map(later.module, (".core.style_pictures", ".core.thumbnails"))

_THUMBNAILS = "thumbnails"  # folder of the user's for thumbnails that were made here
ALL = "ALL"  # the category that holds everything

Item = tuple[str, str, str, int, int]  # as Blender's EnumProperty takes it


class _Cache:
    """Blender keeps no references to the strings of a dynamic list: they must live here as long as it may look."""

    previews: bpy.utils.previews.ImagePreviewCollection | None = None
    items: dict[tuple[str, str], list[Item]]
    missing: list[str] | None = None  # materials without a thumbnail, once it is known
    numbers: dict[str, int]  # material -> its number in every list, as long as this Blender runs


def names(category: str = ALL, search: str = "") -> list[str]:
    """Materials of a category whose name or category holds every word of `search`, in the order they are shown."""
    words = search.lower().replace("_", " ").split()
    known = engine.library().materials().values()
    fitting = [
        m
        for m in known
        if category in (ALL, m.category)
        and all(word in f"{m.name} {m.category}".lower().replace("_", " ") for word in words)
    ]
    return [m.name for m in sorted(fitting, key=lambda m: (m.category, m.name))]


def categories() -> list[str]:
    """Every category there is."""
    return sorted({m.category for m in engine.library().materials().values()})


def title(name: str) -> str:
    """A name as people write it."""
    return name.replace("_", " ").replace("-", " ").capitalize()


def items(category: str, search: str, chosen: str) -> list[Item]:
    """The list of a gallery; the chosen material is always in it, so that it can be shown."""
    key = (category, search)
    if key not in _Cache.items:
        _Cache.items[key] = [_item(name) for name in names(category, search)]
    found = _Cache.items[key]
    if chosen in engine.library().materials() and all(item[0] != chosen for item in found):
        key = (category, f"{search}\n{chosen}")
        if key not in _Cache.items:
            _Cache.items[key] = [_item(chosen), *found]
        found = _Cache.items[key]
    return found


def styles(own: str) -> list[Item]:
    """The built-in styles, and `own` for a picture of one's own."""
    key = ("styles", own)
    if key not in _Cache.items:
        built_in = [
            (name, title(name), "A built-in style", _loaded(f"style {name}", style_pictures.path(name)), number(name))
            for name in style_pictures.names()
        ]
        _Cache.items[key] = [*built_in, (own, "Own picture", "A picture of your own", "IMAGE_DATA", number(own))]
    return _Cache.items[key]


def number(name: str) -> int:
    """The number that stands for a material in every list."""
    return _Cache.numbers.setdefault(name, len(_Cache.numbers))


def by_number(value: int) -> str:
    """The material that a number stands for, or ""."""
    return next((name for name, other in _Cache.numbers.items() if other == value), "")


def icon(name: str) -> int:
    """Blender's number of a material's picture; 0 without one."""
    if name in _Cache.previews:
        return _Cache.previews[name].icon_id
    path = _thumbnail(name)
    return _loaded(name, path) if path else 0


def _loaded(key: str, path: Path) -> int:
    """Blender's number of a picture file."""
    if key not in _Cache.previews:
        _Cache.previews.load(key, str(path), "IMAGE")
    return _Cache.previews[key].icon_id


def show(key: str, picture: Array) -> int:
    """Keep a picture `(H, W, 3)`, sRGB-encoded in [0, 1], under a key, and return Blender's number of it."""
    if key not in _Cache.previews:
        _Cache.previews.new(key)
    fill(_Cache.previews[key], picture)
    return _Cache.previews[key].icon_id


def fill(target: bpy.types.ImagePreview, picture: Array) -> None:
    """Put a picture `(H, W, 3)`, sRGB-encoded in [0, 1], into a preview of Blender's."""
    height, width, _ = picture.shape
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = picture[::-1]
    target.image_size = width, height
    target.image_pixels_float.foreach_set(rgba.ravel())


def without_picture() -> list[str]:
    """Materials that have no thumbnail yet: those of models that people trained themselves."""
    if _Cache.missing is None:
        _Cache.missing = [name for name in engine.library().materials() if _thumbnail(name) is None]
    return _Cache.missing


def refresh() -> None:
    """Look into the folders again."""
    engine.library().refresh()
    _Cache.items.clear()
    _Cache.missing = None
    if _Cache.previews is not None:
        _Cache.previews.clear()


def draw_missing() -> jobs.Steps:
    """Make the thumbnails that are missing, into the user's folder of this extension; touches no `bpy` in between."""
    library = engine.library()
    bpy.utils.extension_path_user(__package__, path=_THUMBNAILS, create=True)
    try:
        targets = [(name, _made(library.find(name), name)) for name in without_picture()]
    except OSError as error:
        raise ModelError(f"A model is gone ({error}); press Refresh Materials.") from None
    return thumbnails.draw(targets, library, engine.sessions())


def _item(name: str) -> Item:
    material = engine.library().materials()[name]
    tip = f"{title(material.category)}; {material.pixels} pixels are {material.metres:.2g} m wide"
    return name, title(name), tip, icon(name), number(name)


def _thumbnail(name: str) -> Path | None:
    try:
        model = engine.library().find(name)
        places = thumbnails.shipped(model, name), _made(model, name)
        return next((path for path in places if path.is_file()), None)
    except (TesseraError, OSError):
        return None


def _made(model: Model, name: str) -> Path:
    """Where the thumbnail of a material lies that was made here; another when its model is trained further."""
    folder = Path(bpy.utils.extension_path_user(__package__, path=_THUMBNAILS))
    return folder / f"{model.path.stem}_{model.path.stat().st_mtime_ns:x}_{name}.png"


def register() -> None:
    """Start with no pictures."""
    _Cache.items, _Cache.numbers = {}, {}
    _Cache.previews = bpy.utils.previews.new()


def unregister() -> None:
    """Give the pictures back."""
    bpy.utils.previews.remove(_Cache.previews)
    _Cache.previews = None
    _Cache.items, _Cache.numbers = {}, {}
