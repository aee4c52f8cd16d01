"""The maps of a material as files for a game engine."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import bpy

from . import materials
from .core import images, packing
from .core.errors import InputError
from .core.maps import Maps
from .core.pipeline import Progress

Steps = Generator[Progress, None, list[Path]]


def export(material: bpy.types.Material, folder: Path, engine: str, normal: str | None = None) -> Steps:
    """Steps that write the maps and return the files; reads Blender's images at once, then touches `bpy` no more.

    `normal`, "gl" or "dx", overrides what the engine expects. `InputError` for an unknown engine or missing maps,
    `OutputError` when the folder cannot be written.
    """
    if engine not in packing.ENGINES:
        raise InputError(f"'{engine}' is not known; choose from {', '.join(packing.ENGINES)}.")
    maps = materials.maps_of(material)
    if not packing.takes(engine, maps):
        raise InputError(f"This material has none of the maps that {packing.ENGINES[engine].label} takes.")
    images.check_folder(folder)
    return _write(maps, folder, engine, bpy.path.clean_name(material.name), normal)


def _write(maps: Maps, folder: Path, engine: str, name: str, normal: str | None) -> Steps:
    yield Progress("encoding", 0.0)
    pictures = packing.pack(maps, engine, name, normal)
    files: dict[str, bytes] = {}
    for name, picture in pictures.items():
        files[name] = images.encode(picture)
        yield Progress("encoding", len(files) / len(pictures))
    return images.write_all(folder, {}, files)
