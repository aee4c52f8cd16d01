"""`blender -b FILE.blend -c tessera generate | animate | photo | run | library`: the same work without a window.

Exit status: 0 done, 2 the request cannot be met (one sentence on stderr says why).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from . import assets, engine, gallery, making, materials, pixels, placing, targets, wear
from .core import arguments, images, interruptible, recipe
from .core.arguments import Parser, recipe_of
from .core.errors import InputError, TesseraError
from .core.pipeline import Progress
from .core.recipe import Recipe
from .jobs import Steps


def main(words: Sequence[str]) -> int:
    """Run one command and return the exit status."""
    try:
        options = _parser().parse_args(list(words))
        options.images = options.images.resolve() if options.images else None
        engine.choose(options.provider, options.models)
        gallery.refresh()
        options.command(options)
    except TesseraError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except SystemExit as end:  # argparse
        return int(end.code or 0)
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument("--quiet", action="store_true", help="print errors only")
    common.add_argument("--provider", choices=arguments.PROVIDERS, help="where the networks run")
    common.add_argument("--models", type=Path, metavar="DIR", help="a further folder of models, looked at first")
    common.add_argument("--images", type=Path, metavar="DIR", help="folder for the images (packed into the file)")
    common.add_argument("--save", type=Path, metavar="FILE.blend", help="save the file here (nothing is saved)")
    dress = Parser(add_help=False)
    dress.add_argument("--object", action="append", metavar="NAME", help="wears it; may be repeated (the active one)")
    dress.add_argument("--new", action="store_true", help="a new material, where one of ours could be updated")
    dress.add_argument("--fit", action="store_true", help="once over the UV map instead of real-world size")
    dress.add_argument("--scale", type=float, default=1.0, help="2 makes everything twice as large (1)")
    dress.add_argument("--show-relief", choices=("normal", "bump", "displacement"), default="normal", help="(normal)")
    dress.add_argument("--asset", action="store_true", help="mark the material as an asset")
    parser = Parser(prog="blender -c tessera", description="Tessera: seamless materials made by small neural networks.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    generate = commands.add_parser("generate", parents=[common, dress], help="make a material and dress objects")
    animate = commands.add_parser(
        "animate", parents=[common, dress], help="the same, as sequences of images in --images"
    )
    for making_one in (generate, animate):
        making_one.add_argument("material", metavar="MATERIAL", help="a name of the panel's gallery")
        for add in (arguments.source_options, arguments.style_options, arguments.export_options):
            add(making_one)
    arguments.motion_options(animate)
    generate.set_defaults(command=lambda o: _dress(recipe_of(o), o))
    animate.set_defaults(command=lambda o: _dress(_moving(o), o))
    photo = commands.add_parser("photo", parents=[common, dress], help="make a material out of a photo")
    photo.add_argument("path", type=Path, metavar="PHOTO", help="a picture")
    arguments.photo_options(photo)
    arguments.export_options(photo)
    photo.set_defaults(command=lambda o: _dress(recipe.from_dict(arguments.photo_recipe(o)), o))
    run = commands.add_parser("run", parents=[common, dress], help="make what a recipe (TOML) says")
    run.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    run.set_defaults(command=lambda o: _dress(recipe.load(o.recipe), o))
    library = commands.add_parser("library", parents=[common], help="make many materials as assets")
    library.add_argument("--materials", default="all", metavar="A,B,...", help="names or categories (all)")
    library.add_argument("--seed", type=int, default=0, help="of the first one of each (0)")
    library.add_argument("--count", type=int, default=1, help="seeds of each material (1)")
    library.add_argument("--size", default="1024", metavar="N|WxH", help="pixels (1024)")
    library.set_defaults(command=_library)
    return parser


def _moving(options: argparse.Namespace) -> Recipe:
    return recipe.from_dict(arguments.moving_recipe(options, engine.library().materials()))


def _dress(wanted: Recipe, options: argparse.Namespace) -> None:
    wanted = wanted.moved(lambda path: str(Path(path).resolve()))  # the file may be opened from anywhere
    how = _placing(options)
    objects = targets.named(options.object) if options.object else targets.selected(bpy.context)
    plan = wear.plan(objects, how, options.images, new=options.new)
    _check_save(options)
    material, categories = _make(plan, wanted, options, asset=options.asset)
    _save(options, categories, material)
    _say(options, f"{', '.join(o.name for o in objects)} wears '{material.name}'")


def _placing(options: argparse.Namespace) -> placing.Placing:
    if not 1e-3 <= options.scale <= 1e3:
        raise InputError(f"A scale of {options.scale} cannot be used; give a number from 0.001 to 1000.")
    return placing.Placing("FIT" if options.fit else "REAL", options.scale, options.show_relief.upper())


def _library(options: argparse.Namespace) -> None:
    if options.save is None:
        raise InputError("A library needs a place; give one with --save FILE.blend.")
    if options.count < 1:
        raise InputError("There must be at least one of each material; give --count 1 or more.")
    _check_save(options)
    names = _chosen(options.materials)
    recipes = [
        recipe.from_dict({"source": {"material": name, "seed": options.seed + number, "size": options.size}})
        for name in names
        for number in range(options.count)
    ]
    if not bpy.data.filepath:  # what Blender starts with belongs into no library
        bpy.data.batch_remove([*bpy.data.objects, *bpy.data.meshes, *bpy.data.materials])
    categories: set[str] = set()
    for done, wanted in enumerate(recipes, 1):
        categories |= _make(wear.plan([], placing.Placing(), options.images), wanted, options, asset=True)[1]
        _say(options, f"{done}/{len(recipes)} {wanted.title}, seed {wanted.seed}")
    _save(options, categories)


def _chosen(text: str) -> list[str]:
    """Names of materials from "all", names and categories; `InputError` for one that is neither."""
    known = engine.library().materials()
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words == ["all"]:
        return gallery.names()
    found: list[str] = []
    for word in words:
        if word in gallery.categories():
            found += gallery.names(word)
        else:
            engine.library().find(word)  # raises, with the nearest names
            found.append(word)
    if not found:
        raise InputError("No material is named; give --materials all, or names and categories.")
    return [name for name in dict.fromkeys(found) if name in known]


def _make(
    plan: wear.Wearing, wanted: Recipe, options: argparse.Namespace, asset: bool
) -> tuple[bpy.types.Material, set[str]]:
    """Run a recipe, with progress lines, and put it into a material; also the categories of assets that it makes."""
    made = _finished(plan.make(wanted), _progress(options, wanted.title), options)
    material = plan.finish(made)
    _say(options, making.told(made))
    if made.result.why_not_cuda and options.provider != "cpu":
        _say(options, f"CUDA did not run: {made.result.why_not_cuda}")
    if not asset:
        return material, set()
    ball = _finished(assets.picture(made.result.maps), lambda _: None, options)
    return material, {assets.mark(material, ball)}


def _finished(steps: Steps, show: Callable[[Progress], None], options: argparse.Namespace) -> Any:
    """Drive steps in a thread, so that Ctrl-C ends them at once."""
    return interruptible.call(
        lambda stopped: interruptible.drive(steps, show, stopped),
        engine.sessions(),
        lambda: interruptible.leave(options.images or Path(), made=False),
    )


def _progress(options: argparse.Namespace, title: str) -> Callable[[Progress], None]:
    """Prints a line at each further tenth of the work."""
    last = [-1]

    def show(progress: Progress) -> None:
        tenth = int(progress.fraction * 10)
        if tenth > last[0]:
            last[0] = tenth
            _say(options, f"{title}: {progress.stage} {10 * tenth} %")

    return show


def _check_save(options: argparse.Namespace) -> None:
    """A place that cannot be written is told before the work."""
    if options.save is not None:
        if options.save.suffix != ".blend":
            raise InputError(f"'{options.save}' is not the name of a Blender file; let it end in .blend.")
        images.check_folder(options.save.resolve().parent)


def _save(options: argparse.Namespace, categories: set[str], material: bpy.types.Material | None = None) -> None:
    """Save the file; what a `material` was read from is found again from its new place."""
    if options.save is None:
        return
    memory = materials.recall(material)
    path = options.save.resolve()
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False)
    except RuntimeError as error:
        reason = str(error).strip().removeprefix("Error: ").rstrip(".")
        raise InputError(f"'{path}' cannot be saved ({reason}); choose another place.") from None
    outside = [image for image in bpy.data.images if pixels.is_ours(image) and not image.packed_file]
    read = memory is not None and memory.recipe.paths()
    if outside or read:  # only a saved file knows what lies beside it
        for image in outside:
            pixels.make_relative(image)
        if read:
            materials.remember(material, memory)
        bpy.ops.wm.save_mainfile()
    if categories:
        assets.write_catalogs(path.parent, categories)
    _say(options, f"Saved {path}")


def _say(options: argparse.Namespace, line: str) -> None:
    if not options.quiet:
        print(line, flush=True)
