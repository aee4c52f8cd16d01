"""Materials in the asset browser: preview, tags, catalog."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import bpy

from . import engine, gallery, materials
from .core import images
from .core.card import OTHER
from .core.errors import InputError, OutputError
from .core.maps import Array, Maps
from .core.pipeline import Progress

BALL = 256  # pixels: side of the picture that an asset shows
_REPEATS = 1.2  # of the maps across the ball
_CATALOGS = "blender_assets.cats.txt"  # Blender's name for the file of catalogs, beside the .blend file
# A catalog of the same name has the same number in every library, so that libraries can be merged.
_NAMESPACE = "5f0ad3d6-5b52-4a0e-9c9e-6f8ad0a6c1de"


def picture(maps: Maps) -> Generator[Progress, None, Array]:
    """Draw the ball that an asset shows: float32 (BALL, BALL, 3), sRGB-encoded; touches no `bpy`."""
    from .core import preview

    yield Progress("drawing", 0.0)
    return preview.ball(maps, BALL, _REPEATS)


def mark(material: bpy.types.Material, ball: Array) -> str:
    """Make a material an asset and return its category, whose catalog is for the caller to write.

    `InputError`, before anything is changed, when it cannot be; see `category_of`.
    """
    category = category_of(material)
    material.asset_mark()
    gallery.fill(material.preview_ensure(), ball)
    material.asset_data.catalog_id = catalog_id(category)
    material.asset_data.description = "Seamless material made by Tessera"
    _tag(material, category)
    return category


def _tag(material: bpy.types.Material, category: str) -> None:
    """Give an asset our tags, in place of those of what the material was before."""
    tags, known = material.asset_data.tags, engine.library().materials()
    for tag in list(tags):
        if tag.name in known or tag.name in gallery.categories():
            tags.remove(tag)
    recipe = materials.memory_of(material).recipe
    for name in ("Tessera", "seamless", category, recipe.material, recipe.morph):
        if name:
            tags.new(name, skip_if_exists=True)


def mark_in_file(material: bpy.types.Material, ball: Array) -> str:
    """Make a material an asset of this file, and return a sentence that says where it stands."""
    category = category_of(material)
    where = f"'{material.name}' is an asset in the catalog {catalog(category)}"
    if bpy.data.filepath:
        write_catalogs(Path(bpy.data.filepath).parent, [category])
    mark(material, ball)
    return where if bpy.data.filepath else f"{where}; save the file to see the catalog"


def category_of(material: bpy.types.Material) -> str:
    """What a material is called under; `InputError` when it is of another file, or not made here."""
    if not material.is_editable:
        raise InputError(f"'{material.name}' is linked from another file; make it local first.")
    recipe, known = materials.memory_of(material).recipe, engine.library().materials()
    return known[recipe.material].category if recipe.material in known else OTHER


def catalog(category: str) -> str:
    """Path of a catalog in the asset browser."""
    return f"Tessera/{gallery.title(category)}"


def catalog_id(category: str) -> str:
    """The UUID by which Blender knows a catalog."""
    import uuid

    return str(uuid.uuid5(uuid.UUID(_NAMESPACE), catalog(category)))


def write_catalogs(folder: Path, categories: Iterable[str]) -> None:
    """Add catalogs to the file that lists them in a folder, and keep those of others."""
    path = folder / _CATALOGS
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else ["VERSION 1", ""]
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"'{path}' cannot be read ({error}); repair it or move it away.") from None
    known = {line.split(":")[0] for line in lines}
    wanted = {catalog_id(category): catalog(category) for category in categories}
    new = [f"{key}:{name}:{name.replace('/', '-')}" for key, name in sorted(wanted.items()) if key not in known]
    if new:
        images.write_all(folder, {}, {_CATALOGS: "\n".join([*lines, *new]) + "\n"})
