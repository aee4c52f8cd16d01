"""Verbs that these tests share. Small sizes: 64 pixels take a tenth of a second."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import bpy
import numpy as np
import pytest

PACKAGE = "bl_ext.user_default.tessera"
MAPS = ("albedo", "normal", "height", "roughness", "metallic", "ao")


def part(name):
    """A module of the installed add-on."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def generate(material="fieldstone", size="64", seed=7, **given):
    """Click the button, as a script does."""
    return bpy.ops.tessera.generate(material=material, size=size, seed=seed, **given)


def refused(call, *arguments, **given):
    """The sentence with which an operator fails."""
    with pytest.raises(RuntimeError) as caught:
        call(*arguments, **given)
    return " ".join(str(caught.value).removeprefix("Error: ").split())


def worn(obj=None):
    """The material of an object, of the active one by default."""
    return (obj or bpy.context.view_layer.objects.active).active_material


def arrays(material):
    """Map -> the pixels that a material holds, `(H, W, C)`."""
    return dict(part("materials").maps_of(material))


def same(first, second, tolerance=0.0):
    """Whether two sets of maps are alike."""
    return first.keys() == second.keys() and all(np.abs(first[k] - second[k]).max() <= tolerance for k in first)


def linked(node_or_tree, socket):
    """Name of the node that feeds an input."""
    links = node_or_tree.inputs[socket].links
    return links[0].from_node.name if links else None


def count():
    """How many data-blocks there are, by kind."""
    kinds = ("materials", "images", "node_groups", "textures", "objects", "meshes")
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


def command_line(*arguments):
    """`python -m core` with the add-on's own core, in a process without Blender."""
    folder = Path(part("core").__file__).parent.parent
    wheels = Path(bpy.utils.user_resource("EXTENSIONS")) / ".local"
    places = [str(folder), *map(str, wheels.rglob("site-packages"))]
    code = f"import sys; sys.path[:0] = {places!r}; from core.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=120, env=dict(os.environ))
    assert result.returncode == 0, result.stderr
    return result.stdout


class Layout(mock.MagicMock):
    """Stands for a UILayout: remembers what was drawn, and knows which properties and operators there are."""

    def prop(self, data, name, **given):
        assert name in data.bl_rna.properties, name
        self.drawn(name, **given)

    def template_icon_view(self, data, name, **given):
        self.prop(data, name)

    def operator(self, name, **given):
        module, function = name.split(".")
        assert function in dir(getattr(bpy.ops, module)), name
        self.drawn(name, **given)
        return mock.MagicMock()


def draw(panel):
    """Draw a panel without a window; everything that was asked of the layout, as text."""
    layout = Layout()
    for cls in (c for c in part("panel")._CLASSES if panel in c.bl_idname and c.bl_space_type == "VIEW_3D"):
        stand_in = SimpleNamespace(layout=layout)
        cls.draw(stand_in, bpy.context)
        if hasattr(cls, "draw_header"):
            cls.draw_header(stand_in, bpy.context)
    return str(layout.mock_calls)
