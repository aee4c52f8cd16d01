"""The sidebar tab "Tessera", in the 3D View and in the Shader Editor."""

from __future__ import annotations

import textwrap

import bpy

from . import engine, gallery, jobs, later, settings, variations
from .core.errors import InputError

materials, recipes = map(later.module, (".materials", ".recipes"))

_COLUMNS = 3  # of variations in a row
_LETTER = 6.5  # pixels that a letter of a label takes, on average, at the usual scale of the interface
_BORDERS = 75  # pixels of a sidebar that no text can have


class _Tab:
    """Where panels stand; the classes below are made for each editor."""

    bl_region_type = "UI"
    bl_category = "Tessera"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In node editors, for shaders only."""
        space = context.space_data
        return space is None or space.type != "NODE_EDITOR" or space.tree_type == "ShaderNodeTree"


class _Generate(_Tab):
    """Choose, generate."""

    bl_label = "Tessera"

    def draw(self, context: bpy.types.Context) -> None:
        """From the material to the button, top to bottom."""
        chosen, layout = settings.of(context), self.layout
        _draw_gallery(layout, chosen)
        column = _split(layout)
        row = column.row(align=True)
        row.prop(chosen, "seed")
        row.operator("tessera.dice", text="", icon="FILE_REFRESH")
        column.prop(chosen, "size")
        if chosen.size == settings.CUSTOM:
            sides = column.column(align=True)
            sides.prop(chosen, "width")
            sides.prop(chosen, "height")
        column.prop(chosen, "mode")
        column.prop(chosen, "scale")
        _draw_button(layout, context)
        _draw_message(layout)
        _draw_device(layout)


class _Variations(_Tab):
    """Other seeds, as pictures."""

    bl_label = "Variations"
    bl_parent = "generate"

    def draw(self, context: bpy.types.Context) -> None:
        """A grid of pictures, each with the button that takes it."""
        chosen, layout = settings.of(context), self.layout
        layout.operator("tessera.variations", icon="IMGDISPLAY")
        try:
            found = variations.of(recipes.asked(chosen))
        except InputError:
            return
        if not found:
            return
        grid = layout.grid_flow(row_major=True, columns=_COLUMNS, even_columns=True, align=True)
        for variation in found:
            cell = grid.column(align=True)
            cell.template_icon(variation.icon, scale=4.4)
            cell.operator("tessera.take_variation", text=str(variation.recipe.seed)).seed = variation.recipe.seed
        for _ in range(len(found), _COLUMNS):
            grid.column()  # else few pictures fill the row


class _Photo(_Tab):
    """A photo becomes a material."""

    bl_label = "From Photo"
    bl_parent = "generate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The photo, what is done to it in this order, and the button."""
        chosen, layout = settings.of(context), self.layout
        layout.prop(chosen, "photo_path", text="")
        column = _split(layout)
        column.prop(chosen, "photo_mask")
        column.prop(chosen, "photo_straighten")
        if chosen.photo_straighten:
            for side in ("upper_left", "upper_right", "lower_right", "lower_left"):
                column.row().prop(chosen, f"photo_{side}")
        column.prop(chosen, "photo_even")
        column.prop(chosen, "photo_denoise", slider=True)
        column.prop(chosen, "photo_seamless")
        _part(column, chosen.photo_seamless).row().prop(chosen, "photo_arrangement", expand=True)
        column.prop(chosen, "photo_maps")
        derived = _part(column, chosen.photo_maps)
        derived.prop(chosen, "photo_strength", slider=True)
        derived.prop(chosen, "photo_delight", slider=True)
        column.prop(chosen, "photo_upscale")
        _part(column, chosen.mode == "REAL").prop(chosen, "photo_width")
        _draw_work(layout, "tessera.from_photo", "IMAGE_DATA")


class _Morph(_Tab):
    """A second material."""

    bl_label = "Morph"
    bl_parent = "generate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header(self, context: bpy.types.Context) -> None:
        """Whether there is one."""
        self.layout.prop(settings.of(context), "use_morph", text="")

    def draw(self, context: bpy.types.Context) -> None:
        """Which, and how much of it."""
        chosen, layout = settings.of(context), self.layout
        layout.active = chosen.use_morph
        layout.template_icon_view(chosen, "morph_gallery", show_labels=True, scale=5.0, scale_popup=5.0)
        _draw_centred(layout, gallery.title(chosen.morph))
        layout.prop(chosen, "amount", slider=True)


class _Style(_Tab):
    """The manner of a picture."""

    bl_label = "Style"
    bl_parent = "generate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header(self, context: bpy.types.Context) -> None:
        """Whether there is one."""
        self.layout.prop(settings.of(context), "use_style", text="")

    def draw(self, context: bpy.types.Context) -> None:
        """Which, and how much of it."""
        chosen, layout = settings.of(context), self.layout
        layout.active = chosen.use_style
        layout.template_icon_view(chosen, "style_gallery", show_labels=True, scale=5.0, scale_popup=5.0)
        if chosen.style == settings.OWN:
            layout.prop(chosen, "style_path", text="")
        else:
            _draw_centred(layout, gallery.title(chosen.style))
        column = _split(layout)
        column.prop(chosen, "strength", slider=True)
        column.prop(chosen, "style_scale")
        column.prop(chosen, "keep_color")
        column.prop(chosen, "style_relief")


class _Animate(_Tab):
    """The texture moves."""

    bl_label = "Animate"
    bl_parent = "generate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """How, how long, and the button."""
        chosen, layout = settings.of(context), self.layout
        if not engine.motions():
            _draw_text(layout, "No model that makes textures move is installed.", "INFO")
            return
        column = _split(layout)
        column.prop(chosen, "motion")
        if chosen.motion == settings.GROWTH:
            layout.template_icon_view(chosen, "coat_gallery", show_labels=True, scale=4.0, scale_popup=5.0)
            _draw_centred(layout, gallery.title(chosen.coat))
        column = _split(layout)
        column.prop(chosen, "frames")
        column.prop(chosen, "animation_size")
        layout.operator("tessera.animate", icon="PLAY")


class _Maps(_Tab):
    """Which maps, and how the relief shows."""

    bl_label = "Maps"
    bl_parent = "generate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Switches and a choice."""
        chosen, layout = settings.of(context), self.layout
        grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
        grid.prop(chosen, "maps")
        column = _split(layout)
        column.prop(chosen, "relief")
        column.prop(chosen, "new_material")


class _Material(_Tab):
    """What can be done with the material that the active object wears."""

    bl_label = "This Material"

    def draw(self, context: bpy.types.Context) -> None:
        """Recipe, sizes, assets, baking, files."""
        chosen, layout = settings.of(context), self.layout
        _draw_recipe(layout, context)
        row = layout.row(align=True)
        for size in ("1024", "2048", "4096"):
            row.operator("tessera.regenerate", text=f"{int(size) // 1024}K", icon="FILE_REFRESH").size = size
        layout.operator("tessera.upscale", icon="FULLSCREEN_ENTER")
        row = layout.row(align=True)
        row.operator("tessera.vary", icon="MOD_NOISE")
        row.prop(chosen, "vary_amount", text="", slider=True)
        layout.operator("tessera.recall", icon="EYEDROPPER")
        layout.operator("tessera.mark_asset", icon="ASSET_MANAGER")
        column = _split(layout)
        column.prop(chosen, "bake_size")
        layout.operator("tessera.bake", icon="RENDER_STILL")
        column = _split(layout)
        column.prop(chosen, "engine")
        column.prop(chosen, "normal")
        column.prop(chosen, "export_folder")
        layout.operator("tessera.export", icon="EXPORT")


class _Models(_Tab):
    """The models and their memory."""

    bl_label = "Models"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, _context: bpy.types.Context) -> None:
        """What is there, and buttons to look again and to close."""
        layout = self.layout
        for model in engine.library().models():
            if model.card.materials:
                layout.label(text=f"{model.card.name}: {len(model.card.materials)} materials, {model.card.licence}")
        for problem in engine.library().problems():
            _draw_text(layout, problem.message, "ERROR")
        if gallery.without_picture():
            layout.operator("tessera.thumbnails", icon="IMAGE_DATA")
        row = layout.row(align=True)
        row.operator("tessera.refresh", icon="FILE_REFRESH")
        row.operator("tessera.free_memory", icon="TRASH")


def _split(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """A column whose fields have their names to the left."""
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


def _part(layout: bpy.types.UILayout, active: bool) -> bpy.types.UILayout:
    """Fields that count only when they are active."""
    column = layout.column()
    column.active = active
    return column


def _draw_gallery(layout: bpy.types.UILayout, chosen: settings.TesseraSettings) -> None:
    if not engine.library().materials():
        _draw_text(layout, "No models are installed; put .onnx files into the folder of the preferences.", "ERROR")
        return
    row = layout.row(align=True)
    row.prop(chosen, "category", text="")
    row.prop(chosen, "search", text="", icon="VIEWZOOM")
    layout.template_icon_view(chosen, "gallery", show_labels=True, scale=7.0, scale_popup=5.0)
    _draw_centred(layout, gallery.title(chosen.material))


def _draw_centred(layout: bpy.types.UILayout, text: str) -> None:
    row = layout.row()
    row.alignment = "CENTER"
    row.label(text=text)


def _draw_work(layout: bpy.types.UILayout, button: str, icon: str) -> None:
    """A tall button, or how far the work is."""
    job = jobs.current()
    row = layout.row(align=True)
    row.scale_y = 1.8
    if job is None:
        row.operator(button, icon=icon)
    else:
        row.progress(factor=job.progress.fraction, text=f"{job.title}: {job.progress.stage}")
        row.operator("tessera.cancel", text="", icon="X")


def _draw_button(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    _draw_work(layout, "tessera.generate", "MATERIAL")
    obj = context.view_layer.objects.active
    if obj and obj.type == "MESH" and not obj.data.uv_layers:
        _draw_text(layout, "No UV map: the texture is projected from four sides. Unwrap for normal maps.", "INFO")


def _draw_message(layout: bpy.types.UILayout) -> None:
    if jobs.message():
        box = layout.box()
        _draw_text(box, jobs.message(), "ERROR")
        box.operator("tessera.hide_message", icon="CHECKMARK")


def _draw_device(layout: bpy.types.UILayout) -> None:
    column = layout.column(align=True)
    column.active = False
    _draw_text(column, engine.device() or "Asking what runs the networks …", "NONE")


def _draw_recipe(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    obj = context.view_layer.objects.active
    try:
        memory = materials.recall(obj.active_material if obj else None)
    except InputError as error:
        _draw_text(layout, str(error), "ERROR")
        return
    if memory is not None:
        recipe = memory.recipe
        seed = f", seed {recipe.seed}" if recipe.material else ""
        layout.label(text=f"{gallery.title(recipe.title)}{seed}", icon="MATERIAL")
        width, height = recipes.size_of(recipe)
        layout.label(text=f"{width} x {height} pixels; regenerate at:")


def _draw_text(layout: bpy.types.UILayout, text: str, icon: str) -> None:
    """A sentence, broken into lines: labels do not wrap."""
    region, scale = bpy.context.region, bpy.context.preferences.system.ui_scale
    width = region.width / scale if region else 300
    column = layout.column(align=True)
    column.scale_y = 0.8
    for line in textwrap.wrap(text, max(20, int((width - _BORDERS) / _LETTER))):
        column.label(text=line, icon=icon)
        icon = "BLANK1" if icon != "NONE" else icon


_PANELS = {
    "generate": _Generate,
    "variations": _Variations,
    "photo": _Photo,
    "morph": _Morph,
    "style": _Style,
    "animate": _Animate,
    "maps": _Maps,
    "material": _Material,
    "models": _Models,
}
_EDITORS = {"VIEW3D": "VIEW_3D", "NODE": "NODE_EDITOR"}


def _classes() -> list[type]:
    """Each panel for each editor."""
    made = []
    for prefix, space in _EDITORS.items():
        for name, panel in _PANELS.items():
            fields = {"bl_idname": f"{prefix}_PT_tessera_{name}", "bl_space_type": space, "__doc__": panel.__doc__}
            if parent := getattr(panel, "bl_parent", None):
                fields["bl_parent_id"] = f"{prefix}_PT_tessera_{parent}"
            made.append(type(fields["bl_idname"], (panel, bpy.types.Panel), fields))
    return made


_CLASSES = _classes()

register, unregister = bpy.utils.register_classes_factory(_CLASSES)
