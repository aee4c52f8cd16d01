"""The buttons: each reads the settings, calls one function and reports. What they do stands in the other files."""

from __future__ import annotations

import random
from typing import Any

import bpy
from bpy.props import EnumProperty, FloatProperty, IntProperty, StringProperty

from . import (
    assets,
    baking,
    engine,
    exporting,
    gallery,
    jobs,
    making,
    materials,
    settings,
    targets,
    variations,
    wear,
)
from .core.errors import TesseraError
from .core.recipe import parse_size
from .jobs import JobOperator, Steps
from .making import Made

LARGEST_SEED = 2**31 - 1  # of Blender's whole numbers


class TESSERA_OT_generate(JobOperator, bpy.types.Operator):
    """Make a new texture and put it on the selected objects. What they wear of Tessera is updated in place"""

    bl_idname = "tessera.generate"
    bl_label = "Generate Texture"
    bl_options = {"UNDO"}
    title = "Generating"

    # Scripts give what differs from the panel's settings.
    material: StringProperty(name="Material", description="What to make; as in the panel if left out")
    seed: IntProperty(name="Seed", description="As in the panel if left out", min=0)
    size: StringProperty(name="Size", description="Pixels, as 1024 or 1024x512; as in the panel if left out")
    morph: StringProperty(name="Second material", description="What grows over the first; as in the panel if left out")
    amount: FloatProperty(name="Amount", description="How much of the second material", min=0, max=1)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """An object is needed."""
        return super().poll(context) and _has_object(cls, context)

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down what is asked for and where it goes."""
        chosen = settings.of(context)
        self._wearing = wear.plan(
            targets.selected(context), settings.placing(chosen), settings.image_folder(), new=chosen.new_material
        )
        keys = ("material", "seed", "size", "morph", "amount")
        given = {key: getattr(self, key) for key in keys if self.properties.is_property_set(key)}
        return self._wearing.make(settings.recipe(chosen, **given))

    def finish(self, context: bpy.types.Context, result: Made) -> None:
        """Dress the objects."""
        self._wearing.finish(result)
        self.report({"INFO"}, making.told(result))


class TESSERA_OT_regenerate(JobOperator, bpy.types.Operator):
    """Make the same texture again from the recipe that the material remembers, at another size"""

    bl_idname = "tessera.regenerate"
    bl_label = "Regenerate"
    bl_options = {"UNDO"}
    title = "Regenerating"

    size: StringProperty(name="Size", description="Pixels on a side, as 4096 or 4096x2048; as before if left out")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A material of ours is needed."""
        return super().poll(context) and _has_material(cls, context)

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down which material, and what it remembers."""
        material = _material(context)
        self._wearing, recipe = wear.again(material, settings.image_folder(materials.moves(material)))
        width, height = parse_size(self.size) if self.size else (recipe.width, recipe.height)
        return self._wearing.make(settings.resized(recipe, width, height))

    def finish(self, context: bpy.types.Context, result: Made) -> None:
        """Put the new maps into the material."""
        self._wearing.finish(result)
        self.report({"INFO"}, making.told(result))


class TESSERA_OT_vary(JobOperator, bpy.types.Operator):
    """Lay a share of this material anew: a sibling with the same stones elsewhere"""

    bl_idname = "tessera.vary"
    bl_label = "Vary"
    bl_options = {"UNDO"}
    title = "Varying"

    amount: FloatProperty(
        name="Amount", description="Share that is laid anew; as in the panel if left out", min=0, max=1
    )
    seed: IntProperty(name="Seed", description="Drawn at random if left out", min=0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A material of ours is needed."""
        return super().poll(context) and _has_material(cls, context)

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down which material, and what it remembers."""
        self._wearing, recipe = wear.again(_material(context), settings.image_folder())
        given = self.properties.is_property_set
        amount = self.amount if given("amount") else settings.of(context).vary_amount
        return self._wearing.make(settings.varied(recipe, amount, self.seed if given("seed") else _seed()))

    def finish(self, context: bpy.types.Context, result: Made) -> None:
        """Put the new maps into the material."""
        self._wearing.finish(result)
        self.report({"INFO"}, making.told(result))


class TESSERA_OT_animate(JobOperator, bpy.types.Operator):
    """Make the texture of the panel move: sequences of images that begin again, written into a folder"""

    bl_idname = "tessera.animate"
    bl_label = "Animate"
    bl_options = {"UNDO"}
    title = "Animating"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """An object is needed, and a model that moves."""
        if not engine.motions():
            cls.poll_message_set("No model that makes textures move is installed")
            return False
        return super().poll(context) and _has_object(cls, context)

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down what is asked for and where it goes."""
        chosen = settings.of(context)
        folder = settings.image_folder(sequence=True)
        self._wearing = wear.plan(targets.selected(context), settings.placing(chosen), folder, new=chosen.new_material)
        return self._wearing.make(settings.animated(chosen, settings.recipe(chosen)))

    def finish(self, context: bpy.types.Context, result: Made) -> None:
        """Dress the objects."""
        self._wearing.finish(result)
        self.report({"INFO"}, f"{result.recipe.animation.frames} frames in {self._wearing.folder}")


class TESSERA_OT_variations(JobOperator, bpy.types.Operator):
    """Show what other seeds would make, as small pictures. Click one to take it"""

    bl_idname = "tessera.variations"
    bl_label = "Show Variations"
    title = "Making variations"

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down what is asked for."""
        recipe = settings.recipe(settings.of(context))
        return variations.make(recipe, engine.library(), engine.sessions())

    def step(self, context: bpy.types.Context) -> None:
        """Show each picture as soon as it is there."""
        variations.show()

    def finish(self, context: bpy.types.Context, result: None) -> None:
        """Show the last one as well."""
        variations.show()


class TESSERA_OT_take_variation(bpy.types.Operator):
    """Take this seed and generate the texture with it"""

    bl_idname = "tessera.take_variation"
    bl_label = "Take This Variation"
    bl_options = {"INTERNAL"}

    seed: IntProperty(min=0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """As for generating."""
        return JobOperator.poll.__func__(cls, context) and _has_object(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Set the seed and click the button."""
        settings.of(context).seed = self.seed
        return bpy.ops.tessera.generate("INVOKE_DEFAULT")


class TESSERA_OT_cancel(bpy.types.Operator):
    """Stop the work; nothing is changed. Esc does the same"""

    bl_idname = "tessera.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Something must run."""
        cls.poll_message_set("Nothing runs")
        return jobs.current() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """The operator that runs sees it at its next look."""
        jobs.current().cancel()
        return {"FINISHED"}


class TESSERA_OT_dice(bpy.types.Operator):
    """Draw another seed"""

    bl_idname = "tessera.dice"
    bl_label = "Random Seed"
    bl_options = {"UNDO", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Change the panel."""
        settings.of(context).seed = _seed()
        return {"FINISHED"}


class TESSERA_OT_recall(bpy.types.Operator):
    """Set the panel to the recipe that the material of the active object was made from"""

    bl_idname = "tessera.recall"
    bl_label = "Recall Settings"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A material of ours is needed."""
        return _has_material(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read the recipe into the panel."""
        return _reported(self, lambda: settings.put(settings.of(context), materials.recall(_material(context))))


class TESSERA_OT_free_memory(bpy.types.Operator):
    """Close the models and forget the pictures of variations; they are opened again when needed"""

    bl_idname = "tessera.free_memory"
    bl_label = "Free Memory"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Not under the feet of a job."""
        return JobOperator.poll.__func__(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Give back what is held."""
        engine.release()
        variations.clear()
        self.report({"INFO"}, "The models are closed")
        return {"FINISHED"}


class TESSERA_OT_refresh(bpy.types.Operator):
    """Look for new models in the folders"""

    bl_idname = "tessera.refresh"
    bl_label = "Refresh Materials"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read the folders again, and say what is wrong with a file."""
        gallery.refresh()
        for problem in engine.library().problems():
            self.report({"WARNING"}, problem.message)
        return {"FINISHED"}


class TESSERA_OT_thumbnails(JobOperator, bpy.types.Operator):
    """Make pictures for the materials that have none, such as those you trained"""

    bl_idname = "tessera.thumbnails"
    bl_label = "Make Missing Thumbnails"
    title = "Making thumbnails"

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Those that are missing."""
        return gallery.draw_missing()

    def finish(self, context: bpy.types.Context, result: None) -> None:
        """Load them."""
        gallery.refresh()


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
        self._name = material.name
        return assets.picture(materials.maps_of(material))

    def finish(self, context: bpy.types.Context, result: Any) -> None:
        """Mark it, with the picture that was drawn."""
        place = assets.mark(bpy.data.materials[self._name], result)
        self.report({"INFO"}, place)


class TESSERA_OT_bake(bpy.types.Operator):
    """Bake what the active object wears onto its own UV map, as images for games"""

    bl_idname = "tessera.bake"
    bl_label = "Bake to UVs"
    bl_options = {"UNDO"}

    size: IntProperty(name="Size", description="Pixels on a side; as in the panel if left out", min=0, max=8192)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A mesh that wears something is needed."""
        return JobOperator.poll.__func__(cls, context) and _has_object(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Bake; this is Cycles' work and holds the window for some seconds."""
        size = self.size or int(settings.of(context).bake_size)
        return _reported(self, lambda: baking.bake(context, context.active_object, size, settings.image_folder()))


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
            settings.absolute(self.folder or chosen.export_folder),
            self.engine or chosen.engine,
            None if normal == "AUTO" else normal,
        )

    def finish(self, context: bpy.types.Context, result: list) -> None:
        """Say where they are."""
        self.report({"INFO"}, f"{len(result)} files in {result[0].parent}")


class TESSERA_OT_message(bpy.types.Operator):
    """Hide this message"""

    bl_idname = "tessera.hide_message"
    bl_label = "Hide"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Forget it."""
        jobs.clear_message()
        return {"FINISHED"}


def _seed() -> int:
    """A random seed: four digits are enough to never meet one twice, and few enough to remember."""
    return random.randrange(10_000)


def _has_object(cls: type, context: bpy.types.Context) -> bool:
    if not context.selected_objects and context.view_layer.objects.active is None:
        cls.poll_message_set("Select an object that is to wear the material")
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


def _reported(operator: bpy.types.Operator, work: Any) -> set[str]:
    """Do short work; an error becomes one sentence."""
    try:
        said = work()
    except TesseraError as error:
        return jobs.failed(operator, error)
    jobs.clear_message()
    if said:
        operator.report({"INFO"}, said)
    return {"FINISHED"}


_CLASSES = (
    TESSERA_OT_generate,
    TESSERA_OT_regenerate,
    TESSERA_OT_vary,
    TESSERA_OT_animate,
    TESSERA_OT_variations,
    TESSERA_OT_take_variation,
    TESSERA_OT_cancel,
    TESSERA_OT_dice,
    TESSERA_OT_recall,
    TESSERA_OT_free_memory,
    TESSERA_OT_refresh,
    TESSERA_OT_thumbnails,
    TESSERA_OT_mark_asset,
    TESSERA_OT_bake,
    TESSERA_OT_export,
    TESSERA_OT_message,
)

register, unregister = bpy.utils.register_classes_factory(_CLASSES)
