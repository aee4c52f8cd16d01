"""What the panel asks for, kept with the scene and so with the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from . import engine, gallery
from .core.maps import CHANNELS
from .core.packing import ENGINES
from .preferences import RELATIVE

CUSTOM = "CUSTOM"
SIZES = (256, 512, 1024, 2048, 4096, 8192)
_SIZE_ITEMS = [(str(n), f"{n} px" if n < 1024 else f"{n // 1024}K", f"{n} x {n} pixels") for n in SIZES]
_CATEGORY_ITEMS: list[tuple[str, str, str]] = []  # Blender keeps no references to strings of a dynamic list
_MOTION_ITEMS: list[tuple[str, str, str]] = []
_MOTION_TIPS = {
    "flow": "A current carries the material along: water, lava, sand",
    "growth": "A second material spreads over the first and withdraws: moss, rust, snow",
    "shimmer": "Rings run over the surface, as drops fall",
}
OWN, GROWTH = "OWN", "growth"
_MAP_ITEMS = [
    ("albedo", "Albedo", "Colour without light and shadow"),
    ("normal", "Normal", "Which way the surface faces (OpenGL, Y+)"),
    ("height", "Height", "How high the surface stands, for bump or displacement"),
    ("roughness", "Roughness", "How dull reflections are"),
    ("metallic", "Metallic", "Where the surface is metal"),
    ("ao", "AO", "Where little light comes in; for glTF and games, renders do without"),
]


def _categories(_self: TesseraSettings, _context: bpy.types.Context) -> list[tuple[str, str, str]]:
    found = [(gallery.ALL, "All", "Every material there is")]
    found += [(name, gallery.title(name), f"Materials of the category {name}") for name in gallery.categories()]
    if found != _CATEGORY_ITEMS:
        _CATEGORY_ITEMS[:] = found
    return _CATEGORY_ITEMS


def _materials(self: TesseraSettings, _context: bpy.types.Context) -> list[gallery.Item]:
    return gallery.items(self.category, self.search, self.material)


def _partners(self: TesseraSettings, _context: bpy.types.Context) -> list[gallery.Item]:
    return gallery.items(gallery.ALL, "", self.morph)


def _coats(self: TesseraSettings, _context: bpy.types.Context) -> list[gallery.Item]:
    return gallery.items(gallery.ALL, "", self.coat)


def _styles(_self: TesseraSettings, _context: bpy.types.Context) -> list[gallery.Item]:
    return gallery.styles(OWN)


def _motions(_self: TesseraSettings, _context: bpy.types.Context) -> list[tuple[str, str, str]]:
    found = [(name, gallery.title(name), _MOTION_TIPS.get(name, "")) for name in engine.motions()]
    if found != _MOTION_ITEMS:
        _MOTION_ITEMS[:] = found
    return _MOTION_ITEMS


def _chosen(field: str) -> dict[str, Callable[..., Any]]:
    """Getter and setter of a gallery: the truth is the name of a material, which outlives every list."""

    def get(self: TesseraSettings) -> int:
        return gallery.number(getattr(self, field))

    def put(self: TesseraSettings, value: int) -> None:
        setattr(self, field, gallery.by_number(value))

    return {"get": get, "set": put}


def _corner(name: str, x: float, y: float) -> Any:
    """A corner of what is taken of a photo."""
    return FloatVectorProperty(
        name=name,
        description="Share of the photo's width from the left, and of its height from above",
        size=2,
        default=(x, y),
        min=0.0,
        max=1.0,
    )


class TesseraSettings(bpy.types.PropertyGroup):
    """The panel's fields."""

    material: StringProperty(name="Material", description="What to make", default="fieldstone")
    gallery: EnumProperty(
        name="Material", description="Pick a material by its picture", items=_materials, **_chosen("material")
    )
    category: EnumProperty(name="Category", description="Show materials of one category only", items=_categories)
    search: StringProperty(
        name="Search",
        description="Show materials whose name or category has these words",
        options={"TEXTEDIT_UPDATE"},
    )
    seed: IntProperty(
        name="Seed",
        description="Another number is another arrangement; the same number gives the same pixels again",
        min=0,
    )
    size: EnumProperty(
        name="Size",
        description="Pixels on a side; a larger texture shows more of the material, not finer grain",
        items=[
            *_SIZE_ITEMS,
            (CUSTOM, "Custom", "Width and height of your own"),
        ],
        default="1024",
    )
    width: IntProperty(name="Width", description="Pixels across", default=1024, min=64, max=16384, step=8)
    height: IntProperty(name="Height", description="Pixels down", default=1024, min=64, max=16384, step=8)
    maps: EnumProperty(
        name="Maps",
        description="Maps that the material gets",
        items=_MAP_ITEMS,
        options={"ENUM_FLAG"},
        default=set(CHANNELS),
    )
    use_morph: BoolProperty(name="Morph", description="Let a second material grow over the first")
    morph: StringProperty(name="Second material", description="What grows over the first", default="lawn")
    morph_gallery: EnumProperty(
        name="Second material",
        description="Pick the second material by its picture",
        items=_partners,
        **_chosen("morph"),
    )
    amount: FloatProperty(
        name="Amount",
        description="How much of the second material: 0 is all the first, 1 all the second",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    new_material: BoolProperty(
        name="New material",
        description="Make a new material, even where the object wears one of Tessera that could be updated",
    )
    mode: EnumProperty(
        name="Fit",
        description="How large the texture lies on the object",
        items=[
            ("REAL", "Real-world size", "Stones as large as true stones, whatever the object's size"),
            ("FIT", "Once", "Once over the UV map or, without one, over the longest side of the object"),
        ],
    )
    scale: FloatProperty(
        name="Scale",
        description="2 makes everything on the texture twice as large",
        default=1.0,
        min=0.001,
        max=1000.0,
        soft_min=0.1,
        soft_max=10.0,
    )
    relief: EnumProperty(
        name="Relief",
        description="By what the surface shows its relief",
        items=[
            ("NORMAL", "Normal map", "Fast and exact; needs a UV map, else Bump is used"),
            ("BUMP", "Bump", "From the height map; follows the scale of the texture"),
            ("DISPLACEMENT", "Displacement", "The height map moves the surface; needs a finely divided mesh"),
        ],
    )
    use_style: BoolProperty(name="Style", description="Draw the texture in the manner of a picture")
    style: StringProperty(name="Style", description="A built-in style, or the sign for a picture", default="woodcut")
    style_gallery: EnumProperty(
        name="Style", description="Pick a style by its picture", items=_styles, **_chosen("style")
    )
    style_path: StringProperty(
        name="Picture", description="Picture to take the style from", subtype="FILE_PATH", options=RELATIVE
    )
    strength: FloatProperty(
        name="Strength",
        description="How much of the style: 0 changes nothing, 1 redraws everything",
        default=0.8,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    keep_color: BoolProperty(name="Keep colours", description="Take light and dark from the style, but not its colours")
    style_scale: FloatProperty(
        name="Style scale",
        description="2 makes what is seen in the style twice as large",
        default=1.0,
        min=0.25,
        max=4.0,
    )
    style_relief: BoolProperty(name="Relief", description="Let the style shape the normal and height maps as well")
    vary_amount: FloatProperty(
        name="Amount",
        description="How much of the material is laid anew",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    motion: EnumProperty(name="Motion", description="How the texture moves", items=_motions)
    coat: StringProperty(name="Coat", description="What grows over the material", default="rusty_metal")
    coat_gallery: EnumProperty(
        name="Coat", description="Pick what grows by its picture", items=_coats, **_chosen("coat")
    )
    frames: IntProperty(
        name="Frames",
        description="Length of the sequence; after the last the first comes again",
        default=48,
        min=2,
        max=4096,
    )
    animation_size: EnumProperty(
        name="Size",
        description="Pixels on a side of every frame",
        items=_SIZE_ITEMS[:4],
        default="512",
    )
    bake_size: EnumProperty(
        name="Size",
        description="Pixels on a side of the baked images",
        items=_SIZE_ITEMS,
        default="1024",
    )
    photo_path: StringProperty(
        name="Photo", description="Photo to make a material of", subtype="FILE_PATH", options=RELATIVE
    )
    photo_straighten: BoolProperty(
        name="Straighten", description="Take what lies between four corners, as seen from straight above"
    )
    photo_upper_left: _corner("Upper Left", 0, 0)
    photo_upper_right: _corner("Upper Right", 1, 0)
    photo_lower_right: _corner("Lower Right", 1, 1)
    photo_lower_left: _corner("Lower Left", 0, 1)
    photo_mask: StringProperty(
        name="Mask",
        description="Picture that is light where something in the photo is to be replaced; none if left out",
        subtype="FILE_PATH",
        options=RELATIVE,
    )
    photo_denoise: FloatProperty(
        name="Denoise",
        description="How much noise is taken out: 0 changes nothing",
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    photo_even: BoolProperty(
        name="Even Out Light", description="Take out light that falls off over large distances", default=True
    )
    photo_seamless: BoolProperty(name="Make Seamless", description="Let the texture tile", default=True)
    photo_arrangement: EnumProperty(
        name="Arrangement",
        description="What becomes of the photo so that it tiles",
        items=[
            ("KEEP", "Keep", "As in the photo, but for its borders"),
            ("NEW", "New", "Laid anew out of pieces of the photo; another seed is another texture"),
        ],
    )
    photo_maps: BoolProperty(
        name="Make Maps", description="Tell normal, height, roughness and AO from the photo", default=True
    )
    photo_strength: FloatProperty(
        name="Relief Strength", description="2 makes slopes twice as steep", default=1.0, min=0.0, max=4.0
    )
    photo_delight: FloatProperty(
        name="Remove Light",
        description="Share of light and shadow that is taken out of the colours",
        default=1.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    photo_upscale: BoolProperty(
        name="Upscale", description="Add detail where the photo has too few pixels for the size", default=True
    )
    photo_width: FloatProperty(
        name="Real Width",
        description="How wide the finished texture is in the real world, which no photo tells",
        default=1.0,
        min=0.001,
        max=1000.0,
        soft_max=10.0,
        subtype="DISTANCE",
    )
    engine: EnumProperty(
        name="For",
        description="Names and packing of the files",
        items=[(key, engine.label, engine.description) for key, engine in ENGINES.items()],
    )
    normal: EnumProperty(
        name="Normals",
        description="Direction of green in the normal map",
        items=[
            ("AUTO", "As usual there", "DirectX for Unreal, OpenGL for the others"),
            ("gl", "OpenGL (Y+)", "Green is up"),
            ("dx", "DirectX (Y-)", "Green is down"),
        ],
    )
    export_folder: StringProperty(
        name="Folder",
        description="Where the files go; // is where the .blend file is",
        subtype="DIR_PATH",
        default="//export",
        options=RELATIVE,
    )


def of(context: bpy.types.Context) -> TesseraSettings:
    """The settings of the scene."""
    return context.scene.tessera


def register() -> None:
    """One property on the scene is all that a file gets to see."""
    bpy.utils.register_class(TesseraSettings)
    bpy.types.Scene.tessera = PointerProperty(type=TesseraSettings)


def unregister() -> None:
    """Take it away; what files say in it is kept in the files."""
    del bpy.types.Scene.tessera
    bpy.utils.unregister_class(TesseraSettings)
