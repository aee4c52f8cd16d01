"""The buttons for the material that the active object wears. What they do stands in the other files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import EnumProperty, FloatProperty, IntProperty, StringProperty

from . import later, settings
from .core.errors import InputError
from .jobs import JobOperator, Steps, reported
from .operators import random_seed

if TYPE_CHECKING:
    from .making import Made

assets, baking, exporting = map(later.module, (".assets", ".baking", ".exporting"))
making, materials, recipes, wear = map(later.module, (".making", ".materials", ".recipes", ".wear"))


class _MaterialOperator(JobOperator):
    """Mixin for what makes the maps of a material anew, where they are."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A material of ours is needed."""
        return super().poll(context) and _has_recipe(cls, context)

    def finish(self, _context: bpy.types.Context, result: Made) -> None:
        """Put the new maps into the material."""
        self._wearing.finish(result)
        self.report({"INFO"}, making.told(result))


class TESSERA_OT_regenerate(_MaterialOperator, bpy.types.Operator):
    """Make the same texture again from the recipe that the material remembers, at another size"""

    bl_idname = "tessera.regenerate"
    bl_label = "Regenerate"
    bl_options = {"UNDO"}
    title = "Regenerating"

    size: StringProperty(name="Size", description="Pixels on a side, as 4096 or 4096x2048; as before if left out")

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down which material, and what it remembers."""
        self._wearing, recipe = wear.again(_material(context))
        return self._wearing.make(recipes.resized(recipe, self.size))


class TESSERA_OT_vary(_MaterialOperator, bpy.types.Operator):
    """Lay a share of this material anew: a sibling with the same stones elsewhere"""

    bl_idname = "tessera.vary"
    bl_label = "Vary"
    bl_options = {"UNDO"}
    title = "Varying"

    amount: FloatProperty(
        name="Amount", description="Share that is laid anew; as in the panel if left out", min=0, max=1
    )
    seed: IntProperty(name="Seed", description="Drawn at random if left out", min=0)

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down which material, and what it remembers."""
        self._wearing, recipe = wear.again(_material(context))
        given = self.properties.is_property_set
        amount = self.amount if given("amount") else settings.of(context).vary_amount
        return self._wearing.make(recipes.varied(recipe, amount, self.seed if given("seed") else random_seed()))


class TESSERA_OT_upscale(_MaterialOperator, bpy.types.Operator):
    """Give this material twice the pixels on each side, with the detail that such surfaces have"""

    bl_idname = "tessera.upscale"
    bl_label = "Upscale 2x"
    bl_options = {"UNDO"}
    title = "Adding detail"

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down which material, and what it remembers."""
        self._wearing, recipe = wear.again(_material(context))
        return self._wearing.make(recipes.resized(recipes.enlarged(recipe), ""))


class TESSERA_OT_recall(bpy.types.Operator):
    """Set the panel to the recipe that the material of the active object was made from"""

    bl_idname = "tessera.recall"
    bl_label = "Recall Settings"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A material of ours is needed."""
        return _has_recipe(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read the recipe into the panel."""
        return reported(self, lambda: recipes.recall(settings.of(context), materials.memory_of(_material(context))))


class TESSERA_OT_mark_asset(JobOperator, bpy.types.Operator):
    """Put the material into the asset browser, with preview, tags and catalog"""

    bl_idname = "tessera.mark_asset"
    bl_label = "Mark as Asset"
    bl_options = {"UNDO"}
    title = "Making a preview"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A material of ours is needed."""
        return super().poll(context) and _has_material(cls, context)

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Read the maps."""
        material = _material(context)
        assets.category_of(material)  # what cannot become an asset is told before the work
        self._name = material.name
        return assets.picture(materials.maps_of(material))

    def finish(self, context: bpy.types.Context, result: Any) -> None:
        """Mark it, with the picture that was drawn."""
        material = bpy.data.materials.get(self._name)
        if material is None:
            raise InputError(f"The material '{self._name}' was removed or renamed meanwhile; nothing was changed.")
        self.report({"INFO"}, assets.mark_in_file(material, result))


class TESSERA_OT_bake(bpy.types.Operator):
    """Bake what the active object wears onto its own UV map, as images for games"""

    bl_idname = "tessera.bake"
    bl_label = "Bake to UVs"
    bl_options = {"UNDO"}

    size: IntProperty(name="Size", description="Pixels on a side; as in the panel if left out", min=0, max=8192)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A mesh that wears something is needed."""
        if context.view_layer.objects.active is None:
            cls.poll_message_set("Select the object that is to be baked")
            return False
        return JobOperator.poll.__func__(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Bake; this is Cycles' work and holds the window for some seconds."""
        size = self.size or int(settings.of(context).bake_size)
        return reported(self, lambda: baking.bake(context, context.active_object, size, recipes.image_folder()))


class TESSERA_OT_export(JobOperator, bpy.types.Operator):
    """Write the maps of the material into a folder, named and packed as the chosen engine wants them"""

    bl_idname = "tessera.export"
    bl_label = "Export Maps"
    title = "Exporting"

    folder: StringProperty(name="Folder", description="As in the panel if left out", subtype="DIR_PATH")
    engine: StringProperty(name="For", description="plain, gltf, unreal, unity or godot; as in the panel if left out")
    normal: EnumProperty(
        name="Normals",
        items=[("AUTO", "As usual there", ""), ("gl", "OpenGL", ""), ("dx", "DirectX", "")],
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A material with maps is needed."""
        return super().poll(context) and _has_material(cls, context)

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Read the maps."""
        chosen = settings.of(context)
        normal = self.normal if self.properties.is_property_set("normal") else chosen.normal
        return exporting.export(
            _material(context),
            recipes.absolute(self.folder or chosen.export_folder),
            self.engine or chosen.engine,
            None if normal == "AUTO" else normal,
        )

    def finish(self, context: bpy.types.Context, result: list) -> None:
        """Say where they are."""
        self.report({"INFO"}, f"{len(result)} files in {result[0].parent}")


def _has_recipe(cls: type, context: bpy.types.Context) -> bool:
    obj = context.view_layer.objects.active
    material = obj.active_material if obj else None
    # One whose images are gone can be made again, and one without a recipe is told of when the button is pressed.
    if not materials.is_ours(material) and not materials.images_of(material):
        cls.poll_message_set("Select an object that wears a material of Tessera")
        return False
    return True


def _has_material(cls: type, context: bpy.types.Context) -> bool:
    obj = context.view_layer.objects.active
    if not materials.images_of(obj.active_material if obj else None):
        cls.poll_message_set("Select an object that wears a material of Tessera")
        return False
    return True


def _material(context: bpy.types.Context) -> bpy.types.Material:
    return context.view_layer.objects.active.active_material


_CLASSES = (
    TESSERA_OT_regenerate,
    TESSERA_OT_vary,
    TESSERA_OT_upscale,
    TESSERA_OT_recall,
    TESSERA_OT_mark_asset,
    TESSERA_OT_bake,
    TESSERA_OT_export,
)

register, unregister = bpy.utils.register_classes_factory(_CLASSES)
