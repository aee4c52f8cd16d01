"""What the other tests in this folder rely on."""

import importlib.util
from pathlib import Path

import bpy
import numpy
import pytest
from run import NUMPY

SERIES = ".".join(map(str, bpy.app.version[:2]))


@pytest.mark.parametrize("time", ["first", "second"])
def test_each_test_begins_with_the_default_cube(cube, time):
    assert bpy.context.object == cube and cube.select_get()
    assert cube.data.uv_layers.active.name == "UVMap"
    assert len(bpy.data.meshes) == 1 and "left behind" not in bpy.data.materials
    bpy.data.materials.new("left behind")
    bpy.data.objects.remove(cube)
    bpy.ops.mesh.primitive_cube_add()


def test_the_engine_is_the_installed_one(addon, core, installed):
    assert core.__name__ == f"{addon.__name__}.core"
    assert Path(core.__file__).is_relative_to(bpy.utils.user_resource("EXTENSIONS"))
    assert importlib.util.find_spec("core") is None


def test_numpy_is_the_one_that_blender_ships():
    assert numpy.__version__ == NUMPY[SERIES]
