"""The buttons: each reads the settings, calls one function and reports. What they do stands in the other files."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import FloatProperty, IntProperty, StringProperty

from . import engine, gallery, jobs, later, settings, variations
from .jobs import JobOperator, Steps

if TYPE_CHECKING:
    from .making import Made

making, recipes, targets, wear = map(later.module, (".making", ".recipes", ".targets", ".wear"))


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
            targets.selected(context), recipes.placed(chosen), recipes.image_folder(), new=chosen.new_material
        )
        given = _given(self, "material", "seed", "size", "morph", "amount")
        return self._wearing.make(recipes.asked(chosen, **given))

    def finish(self, context: bpy.types.Context, result: Made) -> None:
        """Dress the objects."""
        self._wearing.finish(result)
        settings.of(context).seed = min(result.recipe.seed, recipes.LARGEST_SEED)
        self.report({"INFO"}, making.told(result))


class TESSERA_OT_from_photo(JobOperator, bpy.types.Operator):
    """Make a material out of the panel's photo and put it on the selected objects, in place of one of Tessera"""

    bl_idname = "tessera.from_photo"
    bl_label = "Material From Photo"
    bl_options = {"UNDO"}
    title = "Working on the photo"

    photo: StringProperty(name="Photo", description="As in the panel if left out", subtype="FILE_PATH")
    size: StringProperty(name="Size", description="Pixels, as 1024 or 1024x512; as in the panel if left out")
    seed: IntProperty(name="Seed", description="As in the panel if left out", min=0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """An object is needed."""
        return super().poll(context) and _has_object(cls, context)

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down what is asked for and where it goes."""
        chosen = settings.of(context)
        how = recipes.placed(chosen, chosen.photo_width)
        self._wearing = wear.plan(targets.selected(context), how, recipes.image_folder(), new=chosen.new_material)
        return self._wearing.make(recipes.photographed(chosen, **_given(self, "photo", "size", "seed")))

    def finish(self, _context: bpy.types.Context, result: Made) -> None:
        """Dress the objects."""
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
        folder = recipes.image_folder(sequence=True)
        self._wearing = wear.plan(targets.selected(context), recipes.placed(chosen), folder, new=chosen.new_material)
        return self._wearing.make(recipes.animated(chosen, recipes.asked(chosen)))

    def finish(self, context: bpy.types.Context, result: Made) -> None:
        """Dress the objects."""
        self._wearing.finish(result)
        frames = f"{result.recipe.animation.frames} frames in {self._wearing.folder}"
        self.report({"INFO"}, " ".join([f"{frames}.", *result.result.notes]))


class TESSERA_OT_variations(JobOperator, bpy.types.Operator):
    """Show what other seeds would make, as small pictures. Click one to take it"""

    bl_idname = "tessera.variations"
    bl_label = "Show Variations"
    title = "Making variations"

    def prepare(self, context: bpy.types.Context) -> Steps:
        """Take down what is asked for."""
        recipe = recipes.asked(settings.of(context))
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
        """Click the button with this seed."""
        return bpy.ops.tessera.generate("INVOKE_DEFAULT", seed=self.seed)


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
        settings.of(context).seed = random_seed()
        return {"FINISHED"}


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

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Not under the feet of a job."""
        return JobOperator.poll.__func__(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read the folders again, and say what is wrong with a file."""
        _refresh()
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
        _refresh()


class TESSERA_OT_message(bpy.types.Operator):
    """Hide this message"""

    bl_idname = "tessera.hide_message"
    bl_label = "Hide"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Forget it."""
        jobs.clear_message()
        return {"FINISHED"}


def _given(operator: bpy.types.Operator, *keys: str) -> dict[str, Any]:
    """What a script gave of these."""
    return {key: getattr(operator, key) for key in keys if operator.properties.is_property_set(key)}


def _refresh() -> None:
    """Read the folders again; the pictures of variations go with the gallery's."""
    gallery.refresh()
    variations.clear()


def random_seed() -> int:
    """A random seed: four digits are enough to never meet one twice, and few enough to remember."""
    return random.randrange(10_000)


def _has_object(cls: type, context: bpy.types.Context) -> bool:
    if not context.selected_objects and context.view_layer.objects.active is None:
        cls.poll_message_set("Select an object that is to wear the material")
        return False
    return True


_CLASSES = (
    TESSERA_OT_generate,
    TESSERA_OT_from_photo,
    TESSERA_OT_animate,
    TESSERA_OT_variations,
    TESSERA_OT_take_variation,
    TESSERA_OT_cancel,
    TESSERA_OT_dice,
    TESSERA_OT_free_memory,
    TESSERA_OT_refresh,
    TESSERA_OT_thumbnails,
    TESSERA_OT_message,
)

register, unregister = bpy.utils.register_classes_factory(_CLASSES)
