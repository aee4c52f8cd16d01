"""The objects that wear a material, and how their coordinates measure their surface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    closed: tuple[bool, bool] = (False, False)  # along u and v: the surface meets itself at the borders of the map

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
        raise InputError(f"'{objects[0].name}' ({kind}) wears no material; select a mesh or a curve.")
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
    keep(former)


def keep(material: bpy.types.Material | None) -> None:
    """Let a material that nothing wears any more stay in the file: Blender would not save it."""
    if material is not None and material.users == 0 and material.is_editable:
        material.use_fake_user = True


def coordinates(obj: bpy.types.Object) -> Coordinates:
    """How the texture coordinates of an object measure its surface, in its present size."""
    if obj.type == "MESH" and (measured := _by_uv(obj)):
        return measured
    return Coordinates(False, tuple(max(side, 1e-3) for side in obj.dimensions))


def coordinates_from(raw: Mapping[str, Any]) -> Coordinates:
    """Coordinates from plain data that may come from a stranger's file: what makes no sense is a metre."""
    metres, ends = (raw.get(key) if isinstance(raw.get(key), list) else [] for key in ("metres", "closed"))
    sides = [side if isinstance(side, (int, float)) and 1e-3 <= side <= 1e6 else 1.0 for side in metres]
    closed = [side is True for side in ends]
    return Coordinates(raw.get("uv") is not False, tuple((sides + [1.0] * 3)[:3]), tuple((closed + [False] * 2)[:2]))


def _by_uv(obj: bpy.types.Object) -> Coordinates | None:
    """What the UV map that renders of a mesh measures; None without a usable map."""
    with _readable(obj) as mesh:
        shown = next((layer for layer in mesh.uv_layers if layer.active_render), None)
        return _measured(obj, mesh, shown) if shown and mesh.polygons else None


@contextmanager
def _readable(obj: bpy.types.Object) -> Iterator[bpy.types.Mesh]:
    """The object's mesh; in Edit Mode a copy, since the mesh itself is empty then."""
    if obj.mode != "EDIT":
        yield obj.data
        return
    obj.update_from_editmode()
    copy = obj.data.copy()
    try:
        yield copy
    finally:
        bpy.data.meshes.remove(copy)


def _measured(obj: bpy.types.Object, mesh: bpy.types.Mesh, layer: bpy.types.MeshUVLoopLayer) -> Coordinates | None:
    mesh.calc_loop_triangles()
    corners = _read(mesh.loop_triangles, "loops", np.int32, 3)
    vertices = _read(mesh.loop_triangles, "vertices", np.int32, 3)
    places = _read(mesh.vertices, "co", np.float32, 3) @ np.array(obj.matrix_world)[:3, :3].T
    flat = _read(layer.uv, "vector", np.float32, 2)
    metres = _metres(places[vertices], flat[corners])
    if metres is None:
        return None
    return Coordinates(True, (*metres, 1.0), _closed(flat, _read(mesh.loops, "vertex_index", np.int32, 1)[:, 0]))


def _metres(surface: np.ndarray, flat: np.ndarray) -> tuple[float, float] | None:
    """Metres that one unit of u and of v cover on triangles `(N, 3, 3)` with UVs `(N, 3, 2)`, on average by area.

    A ball's map, for one, is twice as wide as it is high: one number would stretch what lies on it.
    """
    edges, steps = surface[:, 1:] - surface[:, :1], flat[:, 1:] - flat[:, :1]
    turn = steps[:, 0, 0] * steps[:, 1, 1] - steps[:, 0, 1] * steps[:, 1, 0]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    usable = (np.abs(turn) > 1e-12) & (area > 0)
    if not usable.any():
        return None
    edges, steps, turn, area = edges[usable], steps[usable], turn[usable, None], area[usable]
    along_u = (edges[:, 0] * steps[:, 1, 1:] - edges[:, 1] * steps[:, 0, 1:]) / turn
    along_v = (edges[:, 1] * steps[:, 0, :1] - edges[:, 0] * steps[:, 1, :1]) / turn
    across, down = (float(np.average(np.linalg.norm(a, axis=1), weights=area)) for a in (along_u, along_v))
    return max(across, 1e-3), max(down, 1e-3)


def _closed(flat: np.ndarray, vertices: np.ndarray) -> tuple[bool, bool]:
    """Whether the surface meets itself where its UV map begins and ends, as a ball or a pipe does: along u, along v."""
    found = []
    for values in flat.T:
        low, high = np.full(vertices.max() + 1, np.inf), np.full(vertices.max() + 1, -np.inf)
        np.minimum.at(low, vertices, values)
        np.maximum.at(high, vertices, values)
        found.append(int(((np.abs(low) < 1e-3) & (np.abs(high - 1) < 1e-3)).sum()) >= 2)
    return found[0], found[1]


def _read(items: bpy.types.bpy_prop_collection, attribute: str, kind: type, count: int) -> np.ndarray:
    """An attribute of every item: `(N, count)`."""
    values = np.empty(len(items) * count, kind)
    items.foreach_get(attribute, values)
    return values.reshape(-1, count)
