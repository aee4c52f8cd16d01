"""The objects that wear a material, and how their coordinates measure their surface."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import bpy
import numpy as np

from .core.errors import InputError

_WEARERS = {"MESH", "CURVE", "CURVES", "SURFACE", "FONT", "META", "VOLUME", "POINTCLOUD"}


@dataclass(frozen=True)
class Coordinates:
    """The texture coordinates of an object."""

    uv: bool  # a UV map; else Generated, which spans the bounding box
    metres: tuple[float, float, float]  # that one unit of them covers, along each axis

    def to_dict(self) -> dict[str, Any]:
        """Plain data, to be remembered."""
        return asdict(self)


def selected(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The objects to dress: all selected ones that can wear a material, the active one first."""
    active = context.view_layer.objects.active
    chosen = [o for o in context.view_layer.objects if o.select_get()] or ([active] if active else [])
    chosen.sort(key=lambda o: o != active)
    return wearers(chosen)


def named(names: Iterable[str]) -> list[bpy.types.Object]:
    """Objects of this file by name; `InputError` says which is not there."""
    found = []
    for name in names:
        if (obj := bpy.data.objects.get(name)) is None:
            there = ", ".join(sorted(o.name for o in bpy.data.objects if o.type in _WEARERS)[:8]) or "none"
            raise InputError(f"There is no object called '{name}' in this file; it has: {there}.")
        found.append(obj)
    return wearers(found)


def wearers(objects: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    """Those that can wear a material; `InputError` when none of them can."""
    if not objects:
        raise InputError("Select an object first: the material needs something to wear it.")
    able = [o for o in objects if o.type in _WEARERS]
    if not able:
        kind = objects[0].type.lower().replace("_", " ")
        raise InputError(f"'{objects[0].name}' is a {kind}, which wears no material; select a mesh or a curve.")
    free = [o for o in able if o.is_editable and (o.data.is_editable or o.material_slots)]
    if not free:
        raise InputError(
            f"'{able[0].name}' is linked from another file; make it local (Object > Relations > Make Local) first."
        )
    return free


def material_of(objects: Sequence[bpy.types.Object]) -> bpy.types.Material | None:
    """The material that the first object wears in its active slot."""
    return objects[0].active_material if objects else None


def assign(obj: bpy.types.Object, material: bpy.types.Material) -> None:
    """Put a material into the active slot; the one it replaces stays in the file."""
    former = obj.active_material
    if former == material:
        return
    if not obj.material_slots:
        obj.data.materials.append(material)
        return
    slot = obj.material_slots[obj.active_material_index]
    if not obj.data.is_editable:
        slot.link = "OBJECT"  # the mesh belongs to another file, the slot of the object to this one
    slot.material = material
    if former is not None and former.users == 0 and former.is_editable:
        former.use_fake_user = True  # Blender would not save a material that nothing uses


def coordinates(obj: bpy.types.Object) -> Coordinates:
    """How the texture coordinates of an object measure its surface, in its present size."""
    if obj.type == "MESH" and (metres := _uv_metres(obj)):
        return Coordinates(True, (metres,) * 3)
    return Coordinates(False, tuple(max(side, 1e-3) for side in obj.dimensions))


def coordinates_from(raw: Mapping[str, Any]) -> Coordinates:
    """Coordinates from plain data that may come from a stranger's file: what makes no sense is a metre."""
    sides = [side if isinstance(side, (int, float)) and 1e-3 <= side <= 1e6 else 1.0 for side in raw.get("metres", ())]
    return Coordinates(raw.get("uv") is not False, tuple((sides + [1.0] * 3)[:3]))


def _uv_metres(obj: bpy.types.Object) -> float:
    """Metres that one unit of the active UV map covers on the surface, on average; 0 without a usable map."""
    mesh = obj.data
    if mesh.uv_layers.active is None or not mesh.polygons:
        return 0.0
    mesh.calc_loop_triangles()
    corners = _read(mesh.loop_triangles, "loops", np.int32).reshape(-1, 3)
    vertices = _read(mesh.loop_triangles, "vertices", np.int32).reshape(-1, 3)
    places = _read(mesh.vertices, "co", np.float32, 3).reshape(-1, 3) @ np.array(obj.matrix_world)[:3, :3].T
    flat = _read(mesh.uv_layers.active.uv, "vector", np.float32, 2).reshape(-1, 2)
    surface, map_area = _area(places[vertices]), _area(np.pad(flat, ((0, 0), (0, 1)))[corners])
    return float(np.sqrt(surface / map_area)) if surface > 0 and map_area > 1e-12 else 0.0


def _read(items: bpy.types.bpy_prop_collection, attribute: str, kind: type, count: int = 3) -> np.ndarray:
    values = np.empty(len(items) * count, kind)
    items.foreach_get(attribute, values)
    return values


def _area(triangles: np.ndarray) -> float:
    """Sum of the areas of triangles `(N, 3, 3)`."""
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return float(np.linalg.norm(np.cross(first, second), axis=1).sum() / 2)
