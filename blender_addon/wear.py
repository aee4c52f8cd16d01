"""From maps that are ready to objects that wear them. Either all of it happens, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from . import engine, making, materials, pixels, placing, recipes, targets
from .core import images as files
from .core.errors import InputError, OutputError
from .core.recipe import Recipe, is_inside
from .making import Made, stem
from .materials import Memory
from .placing import Placing
from .preferences import preferences
from .targets import Coordinates

_read: set[str] = set()  # paths that were read since Blender was started: someone has allowed it


@dataclass(frozen=True)
class Wearing:
    """Where maps will go, taken down when the work begins. By name: undo may replace Blender's data meanwhile."""

    objects: tuple[str, ...]  # names; empty for a material that nothing wears yet
    material: str | None  # updated in place; None for a new one
    placing: Placing
    coordinates: Coordinates  # of the first object
    folder: Path | None  # for images; None for inside the file

    def make(self, recipe: Recipe) -> making.Steps:
        """Run a recipe to maps that `finish` takes; `OutputError` at once when the folder cannot be written."""
        if self.folder is not None:
            files.check_folder(self.folder)
        return making.make(recipe, engine.library(), engine.sessions(), self.folder)

    def finish(self, made: Made) -> bpy.types.Material:
        """Put the maps into the material and the material onto the objects that are still there.

        `OutputError` before anything is changed when images cannot be made, `InputError` when all objects are gone.
        """
        objects = [bpy.data.objects[name] for name in self.objects if name in bpy.data.objects]
        if self.objects and not objects:
            raise InputError("The objects were removed meanwhile, so nothing was changed; select others.")
        if self.material is not None and self.material not in bpy.data.materials:
            raise InputError(f"The material '{self.material}' was removed or renamed meanwhile; nothing was changed.")
        images = _images(made, self.folder)
        material = bpy.data.materials[self.material] if self.material else materials.create(made.recipe.title)
        former = materials.recall(material)
        look = placing.look(
            self.placing, self.coordinates, made.result.metres, made.result.maps.relief / made.result.maps.size[0]
        )
        materials.dress(material, images, replace(look, mapping=_as_changed(material, former, look.mapping)))
        materials.play(material, made.recipe.animation.frames if made.recipe.animation else 0)
        _rename(material, former, made.recipe.title)
        materials.remember(material, self._memory(made, look, material.name))
        for obj in objects:
            targets.assign(obj, material)
        _read.update(made.recipe.paths())
        return material

    def _memory(self, made: Made, look: materials.Look, name: str) -> Memory:
        return Memory(
            made.recipe,
            made.result.models[0].sha256 if made.result.models else "",
            made.result.maps.relief,
            look.mapping,
            name,
            self.placing.to_dict(),
            self.coordinates.to_dict(),
        )


def plan(objects: Sequence[bpy.types.Object], how: Placing, folder: Path | None = None, new: bool = False) -> Wearing:
    """Dress objects: update what the first of them wears of ours in place, unless a `new` material is wanted."""
    worn = None if new else updatable(objects)
    measured = targets.coordinates(objects[0]) if objects else Coordinates(True, (1.0, 1.0, 1.0))
    return Wearing(tuple(o.name for o in objects), worn.name if worn else None, how, measured, folder)


def again(material: bpy.types.Material) -> tuple[Wearing, Recipe]:
    """Make a material's maps anew where they are: the plan, and the recipe that the material remembers.

    `InputError` when it cannot be: a recipe may come from a stranger's file, and reads nothing but what was read before
    in this session or lies in the folder of the file, until someone has looked at the path.
    """
    if not material.is_editable:
        raise InputError(f"'{material.name}' is linked from another file; make it local first.")
    memory = materials.memory_of(material)
    for path in memory.recipe.paths():
        home = bpy.data.filepath and Path(bpy.data.filepath).parent
        if not (path in _read or (home and is_inside(path, home)) or preferences().trust_paths):
            raise InputError(f"This material reads '{path}'; if you trust it, allow that in Tessera's preferences.")
    where = targets.coordinates_from(memory.coordinates)
    folder = recipes.image_folder(sequence=memory.recipe.animation is not None)
    return Wearing((), material.name, placing.from_dict(memory.placing), where, folder), memory.recipe


def updatable(objects: Sequence[bpy.types.Object]) -> bpy.types.Material | None:
    """The material of the first object that generating again updates in place: made here, and of this file."""
    material = targets.material_of(objects)
    if material is None or not material.is_editable:
        return None
    with suppress(InputError):  # an unreadable recipe: leave that material alone
        return material if materials.recall(material) else None
    return None


def _images(made: Made, folder: Path | None) -> dict[str, bpy.types.Image]:
    contents = dict(made.contents)
    if folder is not None and made.recipe.format == "exr":
        contents = _written(made, folder)
    images: dict[str, bpy.types.Image] = {}
    try:
        for name, content in contents.items():
            images[name] = pixels.create(f"{stem(made.recipe)}_{name}", name, content)
    except RuntimeError as error:  # Blender's own, such as a file that vanished
        for image in images.values():
            bpy.data.images.remove(image)
        raise OutputError(f"The images could not be made ({error}); check the folder in the preferences.") from None
    return images


def _written(made: Made, folder: Path) -> dict[str, Path]:
    """Write EXR files through Blender: all of them or none."""
    names = {name: f"{stem(made.recipe)}_{name}.exr" for name in made.contents}
    try:
        with files.staged(folder) as stage:
            for name, file in names.items():
                pixels.save_exr(stage / file, made.contents[name])
    except RuntimeError as error:  # Blender's own
        raise OutputError(f"Cannot write to '{folder}' ({error}); choose another folder in the preferences.") from None
    return {name: folder / file for name, file in names.items()}


def _as_changed(
    material: bpy.types.Material, former: Memory | None, mapping: tuple[float, float, float]
) -> tuple[float, float, float]:
    """The new mapping, changed in the same proportion as the artist has changed the former one."""
    node = materials.mapping_of(material)
    if former is None or node is None:
        return mapping
    now = node.inputs["Scale"].default_value
    return tuple(new * (n / was if was else 1.0) for new, n, was in zip(mapping, now, former.mapping, strict=True))


def _rename(material: bpy.types.Material, former: Memory | None, name: str) -> None:
    """Call the material by what it shows, unless someone has given it a name."""
    if former is not None and material.name == former.name and former.name.split(".")[0] != name:
        material.name = name
