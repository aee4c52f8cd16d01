"""Bake what an object wears onto its own UV map, through Cycles, so that games can use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy

from . import materials, pixels, targets
from .core import images
from .core.errors import InputError
from .core.images import Picture
from .core.maps import Array
from .materials import Look

_INPUTS = {"albedo": "Base Color", "roughness": "Roughness", "metallic": "Metallic"}
_SAMPLES = 4  # for the normals; the other values are exact with one
_MARGIN = 16  # pixels baked beyond the borders of the UV islands, so that no seams show when they are filtered
# Else the scene's own settings for baking would count.
_PLAIN = {
    "use_clear": True,
    "use_selected_to_active": False,
    "target": "IMAGE_TEXTURES",
    "normal_space": "TANGENT",
    "normal_r": "POS_X",
    "normal_g": "POS_Y",
    "normal_b": "POS_Z",
}
_TARGET = "Tessera bake"  # name of the node that Cycles bakes into


def bake(context: bpy.types.Context, obj: bpy.types.Object | None, size: int, folder: Path | None = None) -> str:
    """Bake albedo, roughness, metalness and normal, `size` pixels on a side, into a new material that `obj` then wears.

    The images are packed, or saved in `folder`. The materials that the object wears, whoever made them, are read and
    not changed. Returns a sentence. `InputError` when the object cannot be baked; then nothing is changed.
    """
    if obj is None:
        raise InputError("Select the object whose material is to be baked: it must be the active one.")
    if not hasattr(context.scene, "cycles"):
        raise InputError("Baking is done by Cycles, which is switched off; switch it on in the preferences (Add-ons).")
    _check(obj)
    if folder is not None:
        images.check_folder(folder)
    baked = _images(context, obj, size)
    contents = _contents(baked, bpy.path.clean_name(obj.name), folder)
    made = {name: pixels.create(f"{obj.name}_{name}", name, content) for name, content in contents.items()}
    material = materials.create(f"{obj.name} baked")
    look = Look(True, (1.0, 1.0, 1.0), "NORMAL", 0.0, obj.data.uv_layers.active.name)  # the map that was baked onto
    materials.dress(material, made, look)
    for slot in obj.material_slots:
        former = slot.material
        if obj.data.users > 1:
            slot.link = "OBJECT"  # other objects share the mesh, but not what was baked for this one
        slot.material = material
        targets.keep(former)
    return f"Baked {', '.join(made)} of '{obj.name}', {size} x {size}"


def _check(obj: bpy.types.Object) -> None:
    if obj.type != "MESH":
        raise InputError(f"'{obj.name}' is no mesh; convert it first (Object > Convert > Mesh).")
    if not obj.data.uv_layers:
        raise InputError(f"'{obj.name}' has no UV map to bake onto; unwrap it first (UV > Unwrap in Edit Mode).")
    if not any(slot.material for slot in obj.material_slots):
        raise InputError(f"'{obj.name}' wears no material; generate a texture first.")
    if not obj.is_editable or not obj.data.is_editable:
        raise InputError(f"'{obj.name}' is linked from another file; make it local first.")
    for slot in obj.material_slots:
        if slot.material and not _is_plain(slot.material):
            raise InputError(f"'{slot.material.name}' is not one Principled BSDF, whose inputs could be baked.")
    if obj.hide_render or not obj.visible_get():
        raise InputError(f"'{obj.name}' is hidden, and hidden objects cannot be baked; show it first.")


def _is_plain(material: bpy.types.Material) -> bool:
    """Whether what a material shows is a Principled BSDF, or a material without nodes."""
    if material.node_tree is None:
        return True
    output = material.node_tree.get_output_node("ALL")
    links = output.inputs["Surface"].links if output else ()
    return bool(links) and links[0].from_node.bl_idname == "ShaderNodeBsdfPrincipled"


def _images(context: bpy.types.Context, obj: bpy.types.Object, size: int) -> dict[str, Array]:
    """Map -> what Cycles baked, as arrays of `core`."""
    baked = {}
    manager = context.window_manager
    manager.progress_begin(0, len(_INPUTS) + 1)
    try:
        with _prepared(context, obj) as copies:
            for done, name in enumerate((*_INPUTS, "normal")):
                manager.progress_update(done)
                baked[name] = _one(copies, name, size)
    finally:
        manager.progress_end()
    return baked


def _one(copies: list[bpy.types.Material], name: str, size: int) -> Array:
    image = bpy.data.images.new(_TARGET, size, size, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    try:
        for material in copies:
            _aim(material, image, _INPUTS.get(name))
        try:
            bpy.ops.object.bake(type="EMIT" if name in _INPUTS else "NORMAL", margin=_MARGIN, **_PLAIN)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].removeprefix("Error: ").rstrip(".")
            raise InputError(f"Blender could not bake ({reason}); check the object's modifiers and UV map.") from None
        return pixels.read_baked(image, name)
    finally:
        bpy.data.images.remove(image)


def _aim(material: bpy.types.Material, image: bpy.types.Image, socket: str | None) -> None:
    """Let a material bake into an image: one of its shader's inputs as light, or (None) as it is."""
    tree = material.node_tree
    target = tree.nodes.get(_TARGET) or tree.nodes.new("ShaderNodeTexImage")
    target.name, target.image = _TARGET, image
    tree.nodes.active = target
    shader = materials.principled(tree)
    surface = materials.output(tree, shader).inputs["Surface"]
    if socket is None:
        tree.links.new(shader.outputs["BSDF"], surface)
        return
    light = tree.nodes.new("ShaderNodeEmission")
    wanted = shader.inputs[socket]
    if wanted.is_linked:
        tree.links.new(wanted.links[0].from_socket, light.inputs["Color"])
    else:
        value = wanted.default_value
        light.inputs["Color"].default_value = value if socket == "Base Color" else (value, value, value, 1)
    tree.links.new(light.outputs["Emission"], surface)


@contextmanager
def _prepared(context: bpy.types.Context, obj: bpy.types.Object) -> Iterator[list[bpy.types.Material]]:
    """Let `obj` alone be selected and wear copies of its materials, for Cycles; afterwards all is as it was."""
    scene, layer = context.scene, context.view_layer
    former = [slot.material for slot in obj.material_slots]
    selected, active, engine = list(context.selected_objects), layer.objects.active, scene.render.engine
    samples = scene.cycles.samples
    copies = {material: _copy(material) for material in former if material}
    try:
        scene.render.engine, scene.cycles.samples = "CYCLES", _SAMPLES
        for slot in obj.material_slots:
            slot.material = copies[slot.material] if slot.material else _empty(copies)
        for other in selected:
            other.select_set(False)
        obj.select_set(True)
        layer.objects.active = obj
        yield list(copies.values())
    finally:
        for slot, material in zip(obj.material_slots, former, strict=True):
            slot.material = material
        for copy in copies.values():
            bpy.data.materials.remove(copy)
        for other in layer.objects:
            other.select_set(other in selected)
        layer.objects.active = active
        scene.cycles.samples, scene.render.engine = samples, engine


def _copy(material: bpy.types.Material) -> bpy.types.Material:
    """A copy with nodes, of a material with or without."""
    copy = material.copy()
    if copy.node_tree is None:
        materials.use_nodes(copy)
        inputs = materials.principled(copy.node_tree).inputs
        inputs["Base Color"].default_value = material.diffuse_color
        inputs["Roughness"].default_value, inputs["Metallic"].default_value = material.roughness, material.metallic
    return copy


def _empty(copies: dict[bpy.types.Material | None, bpy.types.Material]) -> bpy.types.Material:
    """A stand-in for slots without a material: Cycles bakes none while one slot is empty."""
    if None not in copies:
        copies[None] = materials.create(_TARGET)
    return copies[None]


def _contents(baked: dict[str, Array], stem: str, folder: Path | None) -> dict[str, pixels.Content]:
    encoded = {name: images.encode(Picture(image, 8)) for name, image in baked.items()}
    if folder is None:
        return dict(encoded)
    files = images.write_all(folder, {}, {f"{stem}_baked_{name}.png": data for name, data in encoded.items()})
    return dict(zip(encoded, files, strict=True))
