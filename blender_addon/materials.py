"""Maps become a material: a Principled BSDF, an image texture for each map, one Mapping node for the scale.

A material made here remembers its recipe, and is found and updated by the names of its nodes: what an artist added or
rewired stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from . import pixels
from .core.errors import InputError
from .core.maps import Maps
from .core.recipe import Recipe, from_dict, is_inside

KEY = "tessera"  # custom property of a material: what it was made from, as JSON
_PREFIX = "Tessera "
_COLUMN, _ROW = 300, 290  # pixels between nodes
_INPUTS = {"albedo": "Base Color", "roughness": "Roughness", "metallic": "Metallic"}
_ORDER = ("albedo", "metallic", "roughness", "ao", "normal", "height")  # from top to bottom, as the sockets stand
_GLTF = "glTF Material Output"  # the node group in which Blender's glTF exporter looks for occlusion


@dataclass(frozen=True)
class Look:
    """How the maps lie on the object."""

    uv: bool  # by the UV map; else boxed, by the bounding box
    mapping: tuple[float, float, float]  # how often the maps repeat in one unit of the coordinates
    relief: str  # "NORMAL": normal map, "BUMP": bump from the height, "DISPLACEMENT": the height moves the surface
    depth: float  # metres between height 0 and height 1
    uv_map: str = ""  # name of the UV map; "" for the one that renders


@dataclass(frozen=True)
class Memory:
    """What a material remembers of how it was made."""

    recipe: Recipe
    sha256: str  # of the model file
    relief: float  # pixels between height 0 and height 1
    mapping: tuple[float, float, float]  # as it was set, before any change by hand
    name: str  # given to the material, before any change by hand
    placing: Mapping[str, Any]  # how it was laid on: the keys of `placing.Placing`
    coordinates: Mapping[str, Any]  # on what: the keys of `targets.Coordinates`


def create(name: str) -> bpy.types.Material:
    """An empty material with nodes."""
    material = bpy.data.materials.new(name)
    use_nodes(material)
    return material


def use_nodes(material: bpy.types.Material) -> None:
    """Let a material show its nodes, and have some."""
    if bpy.app.version < (5, 0, 0) and not material.use_nodes:
        material.use_nodes = True  # later versions always do, and warn


def is_ours(material: bpy.types.Material | None) -> bool:
    """Whether a material says that it was made here."""
    return material is not None and isinstance(material.get(KEY), str)


def dress(material: bpy.types.Material, images: Mapping[str, bpy.types.Image], look: Look) -> None:
    """Put images into a material, in place; images of ours that nothing uses then are removed."""
    use_nodes(material)
    tree = material.node_tree
    former = set(images_of(material).values())
    shader = principled(tree)
    mapping = _mapping(tree, look, shader)
    textures = {}
    for row, name in enumerate(n for n in _ORDER if n in images):
        textures[name] = _texture(tree, name, images[name], look, mapping, shader, row)
    for name in set(_ORDER) - set(images):
        _remove(tree, *_nodes_of(name))
    for name, socket in _INPUTS.items():
        if name in textures:
            _link(tree, textures[name].outputs["Color"], shader.inputs[socket])
    _occlusion(tree, textures.get("ao"), shader)
    _relief(material, textures, look, shader)
    for image in former:
        if image.users == 0 and pixels.is_ours(image):
            bpy.data.images.remove(image)


def play(material: bpy.types.Material, frames: int) -> None:
    """Let the images of a material be sequences of so many frames that begin again; 0 for stills."""
    for name, image in images_of(material).items():
        image.source = "SEQUENCE" if frames else "FILE"
        user = material.node_tree.nodes[_PREFIX + name].image_user
        user.use_auto_refresh = user.use_cyclic = bool(frames)
        user.frame_duration, user.frame_start, user.frame_offset = max(1, frames), 1, 0


def images_of(material: bpy.types.Material | None) -> dict[str, bpy.types.Image]:
    """Map -> the image that a material holds of it."""
    if material is None or material.node_tree is None:
        return {}
    nodes = {name: material.node_tree.nodes.get(_PREFIX + name) for name in _ORDER}
    # An artist may have put another kind of node in the place of ours.
    images = {name: getattr(node, "image", None) for name, node in nodes.items()}
    return {name: image for name, image in images.items() if image is not None}


def maps_of(material: bpy.types.Material) -> Maps:
    """The maps that a material holds, as arrays; `InputError` when there are none or a file is missing."""
    memory = recall(material)
    return pixels.read_maps(images_of(material), memory.relief if memory else 0.0)


def remember(material: bpy.types.Material, memory: Memory) -> None:
    """Write down how a material was made; paths inside the folder of the file are kept as they are from there."""
    kept = memory.recipe.moved(relative)
    material[KEY] = json.dumps({**vars(memory), "recipe": kept.to_dict()})


def relative(path: str) -> str:
    """A path as Blender writes it where it lies in the folder of the file: with // in front; else as it is."""
    folder = bpy.data.filepath and Path(bpy.data.filepath).parent
    return bpy.path.relpath(path) if folder and is_inside(path, folder) else path


def recall(material: bpy.types.Material | None) -> Memory | None:
    """How a material was made; None when not by Tessera. `InputError` when what it says makes no sense."""
    if not is_ours(material):
        return None
    try:
        raw = json.loads(material[KEY])
        recipe = from_dict(raw["recipe"]).moved(bpy.path.abspath)
        x, y, z = (float(value) for value in raw["mapping"])
        places = dict(raw["placing"]), dict(raw["coordinates"])
        return Memory(recipe, str(raw["sha256"]), float(raw["relief"]), (x, y, z), str(raw["name"]), *places)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, InputError) as error:
        raise InputError(
            f"The recipe in the material '{material.name}' cannot be read ({error}); generate a new material."
        ) from None


def memory_of(material: bpy.types.Material | None) -> Memory:
    """How a material was made; `InputError` when it was not made here, or cannot tell."""
    memory = recall(material)
    if memory is None:
        name = f"'{material.name}'" if material else "An empty slot"
        raise InputError(f"{name} does not remember a recipe; generate a texture first.")
    return memory


def mapping_of(material: bpy.types.Material) -> bpy.types.Node | None:
    """The node that sets the scale."""
    node = material.node_tree.nodes.get(_PREFIX + "mapping") if material.node_tree else None
    return node if node is not None and node.bl_idname == "ShaderNodeMapping" else None


def _nodes_of(name: str) -> list[str]:
    """All nodes that exist for a map alone."""
    return [name, *{"normal": ["normal map"], "height": ["bump", "displacement"], "ao": ["occlusion"]}.get(name, [])]


def _node(tree: bpy.types.NodeTree, name: str, kind: str, location: tuple[float, float]) -> bpy.types.Node:
    """The node of ours with this name, new if it is not there."""
    node = tree.nodes.get(_PREFIX + name)
    if node is None or node.bl_idname != kind:
        _remove(tree, name)
        node = tree.nodes.new(kind)
        node.name, node.label, node.location = _PREFIX + name, name.title(), location
    return node


def _remove(tree: bpy.types.NodeTree, *names: str) -> None:
    for name in names:
        if (node := tree.nodes.get(_PREFIX + name)) is not None:
            tree.nodes.remove(node)


def _link(tree: bpy.types.NodeTree, source: bpy.types.NodeSocket, target: bpy.types.NodeSocket) -> None:
    """Connect two sockets, unless the artist has connected something else there."""
    if not target.is_linked or target.links[0].from_node.name.startswith(_PREFIX):
        tree.links.new(source, target)


def _unlink(tree: bpy.types.NodeTree, target: bpy.types.NodeSocket) -> None:
    """Disconnect what we connected."""
    if target.is_linked and target.links[0].from_node.name.startswith(_PREFIX):
        tree.links.remove(target.links[0])


def principled(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """The shader that the output shows, new if there is none."""
    found = [node for node in tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled"]
    shown = [node for node in found if node.outputs["BSDF"].is_linked]
    node = (shown or found or [None])[0] or tree.nodes.new("ShaderNodeBsdfPrincipled")
    if shown:
        return node
    _link(tree, node.outputs["BSDF"], output(tree, node).inputs["Surface"])
    return node


def output(tree: bpy.types.NodeTree, shader: bpy.types.Node) -> bpy.types.Node:
    """The output that is shown, new if there is none."""
    node = tree.get_output_node("ALL")
    if node is None:
        node = tree.nodes.new("ShaderNodeOutputMaterial")
        node.location = shader.location.x + _COLUMN, shader.location.y
    return node


def _at(shader: bpy.types.Node, column: int, row: float = 0) -> tuple[float, float]:
    """Where a node stands, in columns to the left of the shader and rows below its top."""
    return shader.location.x - column * _COLUMN, shader.location.y - row * _ROW


def _mapping(tree: bpy.types.NodeTree, look: Look, shader: bpy.types.Node) -> bpy.types.Node:
    kind = "ShaderNodeUVMap" if look.uv_map else "ShaderNodeTexCoord"
    coordinate = _node(tree, "coordinates", kind, _at(shader, 5, 1))
    if look.uv_map:
        coordinate.uv_map = look.uv_map
    mapping = _node(tree, "mapping", "ShaderNodeMapping", _at(shader, 4, 1))
    mapping.inputs["Scale"].default_value = look.mapping
    _link(tree, coordinate.outputs["UV" if look.uv else "Generated"], mapping.inputs["Vector"])
    return mapping


def _texture(
    tree: bpy.types.NodeTree,
    name: str,
    image: bpy.types.Image,
    look: Look,
    mapping: bpy.types.Node,
    shader: bpy.types.Node,
    row: int,
) -> bpy.types.Node:
    node = _node(tree, name, "ShaderNodeTexImage", _at(shader, 3, row))
    node.image = image
    node.projection = "FLAT" if look.uv else "BOX"
    node.projection_blend = 0.0 if look.uv else 0.25
    _link(tree, mapping.outputs["Vector"], node.inputs["Vector"])
    return node


def _occlusion(tree: bpy.types.NodeTree, texture: bpy.types.Node | None, shader: bpy.types.Node) -> None:
    """Keep occlusion where Blender's glTF exporter finds it: renders have their own, and need no map."""
    if texture is None:
        return
    group = _node(tree, "occlusion", "ShaderNodeGroup", _at(shader, -1, 1))
    group.node_tree = _gltf_group()
    _link(tree, texture.outputs["Color"], group.inputs["Occlusion"])


def _gltf_group() -> bpy.types.NodeTree:
    group = bpy.data.node_groups.get(_GLTF)
    if group is None or group.bl_idname != "ShaderNodeTree" or group.library:
        group = bpy.data.node_groups.new(_GLTF, "ShaderNodeTree")
    if not any(item.name == "Occlusion" for item in group.interface.items_tree):
        group.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
    return group


def _relief(
    material: bpy.types.Material,
    textures: Mapping[str, bpy.types.Node],
    look: Look,
    shader: bpy.types.Node,
) -> None:
    """Connect one source of relief: two would show it twice. The others stand ready, unconnected."""
    tree = material.node_tree
    end = output(tree, shader)
    facing, moved = shader.inputs["Normal"], end.inputs["Displacement"]
    _unlink(tree, facing)
    _unlink(tree, moved)
    if "normal" in textures:
        node = _node(tree, "normal map", "ShaderNodeNormalMap", _at(shader, 1, 3))
        _link(tree, textures["normal"].outputs["Color"], node.inputs["Color"])
        if look.relief == "NORMAL":
            _link(tree, node.outputs["Normal"], facing)
    if material.displacement_method == "BOTH" and look.relief != "DISPLACEMENT":
        material.displacement_method = "BUMP"
    if "height" not in textures:
        return
    height = textures["height"].outputs["Color"]
    if look.relief == "BUMP":
        node = _node(tree, "bump", "ShaderNodeBump", _at(shader, 1, 4))
        node.inputs["Distance"].default_value = look.depth  # its default differs between versions
        _link(tree, height, node.inputs["Height"])
        _link(tree, node.outputs["Normal"], facing)
    if look.relief == "DISPLACEMENT":
        node = _node(tree, "displacement", "ShaderNodeDisplacement", _at(shader, -1, 2))
        node.inputs["Scale"].default_value, node.inputs["Midlevel"].default_value = look.depth, 0.5
        _link(tree, height, node.inputs["Height"])
        _link(tree, node.outputs["Displacement"], moved)
        material.displacement_method = "BOTH"  # what the mesh is too coarse for becomes bump
