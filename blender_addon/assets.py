"""Materials in the asset browser: preview, tags, catalog."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import bpy

from . import engine, gallery, materials
from .core import images
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
    """Make a material an asset; returns a sentence that says where it stands.

    The catalogs of a saved file are written beside it; `OutputError` when they cannot be.
    """
    category = _category(material)
    blend = Path(bpy.data.filepath) if bpy.data.filepath else None
    if blend:
        write_catalogs(blend.parent, [category])
    material.asset_mark()
    gallery.fill(material.preview_ensure(), ball)
    data = material.asset_data
    data.catalog_id = catalog_id(category)
    data.description = "Seamless material made by Tessera"
    for tag in _tags(material, category):
        data.tags.new(tag, skip_if_exists=True)
    where = f"the catalog {catalog(category)}"
    return f"'{material.name}' is an asset in {where}" + ("" if blend else "; save the file to see the catalog")


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


def _category(material: bpy.types.Material) -> str:
    memory = materials.recall(material)
    known = engine.library().materials()
    return known[memory.recipe.material].category if memory and memory.recipe.material in known else "other"


def _tags(material: bpy.types.Material, category: str) -> list[str]:
    memory = materials.recall(material)
    if memory is None:
        raise InputError(f"'{material.name}' does not remember a recipe; generate a texture first.")
    return ["Tessera", "seamless", category, *filter(None, (memory.recipe.material, memory.recipe.morph))]
