"""What holds for every file: where images go, what runs the networks, where more models lie."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty


def preferences() -> TesseraPreferences | _Defaults:
    """The add-on's preferences; what they ship with when Blender was told to enable us by `--addons`, for one run."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon else _Defaults()


class _Defaults:
    """The preferences as they ship."""

    def __getattr__(self, name: str) -> Any:
        return TesseraPreferences.bl_rna.properties[name].default


def _changed(_self: TesseraPreferences, _context: bpy.types.Context) -> None:
    from . import engine

    engine.forget()


# Without it, later versions warn of the // that names the folder of the file; the first ones do not know it.
RELATIVE = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()


class TesseraPreferences(bpy.types.AddonPreferences):
    """Shown in Preferences > Add-ons > Tessera."""

    bl_idname = __package__

    storage: EnumProperty(
        name="Images",
        description="Where the images of generated materials are kept",
        items=[
            ("PACKED", "Packed", "Inside the .blend file: nothing to lose, nothing to copy along"),
            ("FOLDER", "Folder", "As files in a folder, which other programs can read"),
        ],
    )
    folder: StringProperty(
        name="Folder",
        description="Folder for image files; // is where the .blend file is",
        subtype="DIR_PATH",
        default="//textures",
        options=RELATIVE,
    )
    format: EnumProperty(
        name="Format",
        description="Precision of the images",
        items=[
            ("PNG", "PNG", "8 bits; the height has 16, since its slopes would show steps"),
            ("PNG16", "PNG, 16 bits", "16 bits for every map: no banding, twice the memory"),
            ("EXR", "OpenEXR, float", "32-bit floats for every map"),
        ],
    )
    trust_paths: BoolProperty(
        name="Read pictures anywhere",
        description="Let Regenerate, Vary and Upscale read pictures anywhere; a stranger's file may name any",
    )
    provider: EnumProperty(
        name="Run on",
        description="What runs the networks",
        items=[
            ("auto", "Automatic", "CUDA where it works, else the CPU"),
            ("cpu", "CPU", "Always the processor"),
            ("cuda", "CUDA", "An NVIDIA GPU; generating fails with the reason where it cannot be used"),
            (
                "tensorrt",
                "TensorRT",
                "The same through TensorRT, if it is installed; each new size takes long at first",
            ),
        ],
        update=_changed,
    )
    threads: IntProperty(
        name="Threads",
        description="Processor threads for the networks; 0 is one for each core",
        min=0,
        max=256,
        update=_changed,
    )
    cuda_folder: StringProperty(
        name="CUDA libraries",
        description="Folder with the libraries of CUDA 12 and cuDNN 9, for the CUDA build of the extension",
        subtype="DIR_PATH",
        update=_changed,
    )
    models_folder: StringProperty(
        name="More models",
        description="Folder with further models (.onnx), such as those trained on your own photos",
        subtype="DIR_PATH",
        update=_changed,
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """The preferences' page."""
        column = self.layout.column()
        column.use_property_split = True
        column.prop(self, "storage", expand=True)
        folder = column.column()
        folder.active = self.storage == "FOLDER"
        folder.prop(self, "folder")
        column.prop(self, "format")
        column.separator()
        column.prop(self, "provider")
        column.prop(self, "threads")
        column.prop(self, "cuda_folder")
        column.prop(self, "models_folder")
        column.prop(self, "trust_paths")


def register() -> None:
    """Add the page."""
    bpy.utils.register_class(TesseraPreferences)


def unregister() -> None:
    """Take it away."""
    bpy.utils.unregister_class(TesseraPreferences)
