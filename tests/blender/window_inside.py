"""Runs inside the Blender that window.py drives: does what it asks, and tells what it sees."""

import importlib
import json
import os
from pathlib import Path

import addon_utils
import bpy

PACKAGE = "bl_ext.user_default.tessera"
FOLDER = Path(__file__).parent
MARK = (1.0, 0.0, 1.0)

addon_utils.enable(PACKAGE, default_set=True)
bpy.context.preferences.view.show_splash = False
_theme = {}


def part(name):
    return importlib.import_module(f"{PACKAGE}.{name}")


def areas(kind):
    return [area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == kind]


def sidebar(area):
    return next(region for region in area.regions if region.type == "UI")


def open_tab():
    (area,) = areas("VIEW_3D")
    area.spaces[0].show_region_ui = True
    bpy.app.timers.register(lambda: choose_tab(area), first_interval=0.5)
    view = area.spaces[0].region_3d
    view.view_distance = 5.5


def choose_tab(area):
    sidebar(area).active_panel_category = "Tessera"
    area.tag_redraw()


def show_buttons():
    """Paint every button in a colour that nothing else has."""
    for kind in ("wcol_tool", "wcol_regular"):
        colours = getattr(bpy.context.preferences.themes[0].user_interface, kind)
        _theme[kind] = tuple(colours.inner), colours.show_shaded
        colours.inner, colours.show_shaded = (*MARK, 1.0), False


def hide_buttons():
    for kind, (inner, shaded) in _theme.items():
        colours = getattr(bpy.context.preferences.themes[0].user_interface, kind)
        colours.inner, colours.show_shaded = inner, shaded


def shade():
    (area,) = areas("VIEW_3D")
    area.spaces[0].shading.type = "MATERIAL"


def show_nodes():
    (area,) = areas("VIEW_3D")
    area.ui_type = "ShaderNodeTree"
    bpy.app.timers.register(lambda: frame_nodes(area), first_interval=1.0)


def frame_nodes(area):
    area.spaces[0].show_region_ui = True
    sidebar(area).active_panel_category = "Tessera"
    region = next(region for region in area.regions if region.type == "WINDOW")
    window = bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.node.view_all()


def state():
    job = part("jobs").current()
    obj = bpy.context.view_layer.objects.active
    material = obj.active_material if obj else None
    return {
        "ready": True,
        "busy": job is not None,
        "progress": job.progress.fraction if job else 0.0,
        "material": material.name if material else "",
        "images": sorted(image.name for image in part("materials").images_of(material).values()),
        "seed": bpy.context.scene.tessera.seed,
        "variations": len(part("variations").of(part("recipes").asked(bpy.context.scene.tessera))),
        "message": part("jobs").message(),
    }


def look():
    """Do what is asked and tell how things stand, many times a second."""
    asked = FOLDER / "ask.py"
    if asked.exists():
        code = asked.read_text()
        window = bpy.context.window_manager.windows[0]
        area = (areas("VIEW_3D") or areas("NODE_EDITOR"))[0]
        try:
            with bpy.context.temp_override(window=window, area=area, region=sidebar(area)):
                exec(code, globals())
        finally:
            asked.unlink()
    new = FOLDER / "state.new"
    new.write_text(json.dumps(state()))
    os.replace(new, FOLDER / "state.json")
    return 0.05


bpy.app.timers.register(look, first_interval=3.0)
