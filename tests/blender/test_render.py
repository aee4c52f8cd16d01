"""Cycles renders a ball before a wall, both in a generated material.

TESSERA_RENDER=render.png python tests/blender/run.py -- test_render.py     # large enough to look at
"""

import os
from math import radians

import bpy
import numpy as np
from verbs import generate


def stage(material):
    """A ball on a floor before a wall, a camera and soft light; the wall and the ball wear the material."""
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    bpy.ops.mesh.primitive_plane_add(size=7, location=(0, 1.6, 2.5), rotation=(radians(90), 0, 0))
    generate(material, size="1024")
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.9, segments=96, ring_count=48, location=(0.55, -0.4, 0.9))
    bpy.ops.object.shade_smooth()
    generate(os.environ.get("TESSERA_BALL", "red_brick"), size="1024", seed=8)
    bpy.ops.mesh.primitive_plane_add(size=14)
    floor = bpy.data.materials.new("floor")
    floor.use_nodes = True
    floor.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.06, 0.06, 0.06, 1)
    bpy.context.object.data.materials.append(floor)
    bpy.ops.object.light_add(type="AREA", location=(-3.4, -3.2, 4.4), rotation=(radians(48), 0, radians(-46)))
    bpy.context.object.data.energy, bpy.context.object.data.size = 700, 1.0
    bpy.context.scene.world.node_tree.nodes["Background"].inputs["Strength"].default_value = 2.5
    bpy.ops.object.camera_add(location=(-0.4, -5.2, 1.5), rotation=(radians(87), 0, radians(-5)))
    bpy.context.object.data.lens = 42
    bpy.context.scene.camera = bpy.context.object


def render(path, width, height, samples):
    """What Cycles makes of the scene: `(H, W, 3)`, as it is seen."""
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", samples, True
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    return np.array(image.pixels[:]).reshape(height, width, 4)[::-1, :, :3]


def test_a_ball_and_a_wall_show_the_material(scene, tmp_path):
    wanted = os.environ.get("TESSERA_RENDER")
    stage(os.environ.get("TESSERA_MATERIAL", "fieldstone"))
    picture = render(wanted or tmp_path / "a.png", *((1120, 630, 64) if wanted else (160, 90, 8)))
    wall = picture[: len(picture) // 3]
    assert 0.05 < wall.mean() < 0.8 and wall.std() > 0.05
    magenta = (picture[..., 0] > 0.8) & (picture[..., 1] < 0.2) & (picture[..., 2] > 0.8)
    assert not magenta.any()  # what Blender shows for a missing image
