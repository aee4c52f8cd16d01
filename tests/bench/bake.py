"""Bakes four maps of a procedural material with Cycles and prints the seconds as JSON; for the Python of a Blender.

python tests/bench/bake.py 1024
"""

import json
import sys
import time

import bpy

SAMPLES = 1


def material(kind):
    """Bricks with noise on a plane; `kind` is what their colour output shows as emission."""
    made = bpy.data.materials.new(kind)
    made.use_nodes = True
    tree = made.node_tree
    tree.nodes.clear()
    bricks, noise, mix = (tree.nodes.new(f"ShaderNode{name}") for name in ("TexBrick", "TexNoise", "Mix"))
    noise.inputs["Scale"].default_value, noise.inputs["Detail"].default_value = 40, 8
    mix.data_type = "RGBA"
    tree.links.new(bricks.outputs["Color"], mix.inputs["A"])
    tree.links.new(noise.outputs["Color"], mix.inputs["B"])
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    if kind == "normal":
        bump, shader = tree.nodes.new("ShaderNodeBump"), tree.nodes.new("ShaderNodeBsdfPrincipled")
        tree.links.new(mix.outputs["Result"], bump.inputs["Height"])
        tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])
    else:
        shader = tree.nodes.new("ShaderNodeEmission")
        tree.links.new(mix.outputs["Result"], shader.inputs["Color"])
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    return made


def bake(plane, kind, side):
    plane.data.materials.clear()
    plane.data.materials.append(material(kind))
    tree = plane.data.materials[0].node_tree
    target = tree.nodes.new("ShaderNodeTexImage")
    target.image = bpy.data.images.new(kind, side, side)
    tree.nodes.active = target
    bpy.ops.object.bake(type="NORMAL" if kind == "normal" else "EMIT")


def main():
    side = int(sys.argv[-1])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module="cycles")
    bpy.ops.mesh.primitive_plane_add()
    plane, scene = bpy.context.object, bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.render.bake.margin = "CYCLES", SAMPLES, 0
    bake(plane, "warm up", 64)
    start = time.perf_counter()
    for kind in ("albedo", "roughness", "height", "normal"):
        bake(plane, kind, side)
    print(json.dumps({"seconds": time.perf_counter() - start, "version": bpy.app.version_string, "samples": SAMPLES}))


main()
