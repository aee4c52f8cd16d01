"""The command line: `python -m core list | generate | sample | stylize | vary | animate | photo | maps | heal |
example | upscale | run | check`.

Exit status: 0 done, 1 a quality limit is passed, 2 the request cannot be met (one sentence on stderr says why),
130 interrupted. Only this file prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import arguments
from .arguments import PROVIDERS, Parser
from .errors import InputError, TesseraError
from .version import VERSION

if TYPE_CHECKING:  # at run time each command imports what it needs, so that `list` starts at once
    from .card import Card
    from .pipeline import Progress, Saved
    from .recipe import Recipe


MOST_SIBLINGS = 1000


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(words)
    try:
        status: int = options.command(options)
        return status
    except TesseraError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument("--quiet", action="store_true", help="print errors only")
    common.add_argument("--models", type=Path, metavar="DIR", help="a further folder of models, looked at first")
    device = Parser(add_help=False)
    device.add_argument("--provider", choices=PROVIDERS, default="auto", help="where the networks run")
    device.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    parser = Parser(prog="python -m core", description="Tessera: seamless PBR materials made by small neural networks.")
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    listing = commands.add_parser("list", parents=[common], help="models, materials, styles and motions")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=_list)
    generate = commands.add_parser("generate", parents=[common, device], help="make a material")
    generate.add_argument("material", metavar="MATERIAL", help="a name that `list` shows")
    for add in (arguments.source_options, arguments.style_options, arguments.export_options):
        add(generate)
    generate.set_defaults(command=lambda options: _make(arguments.recipe_of(options), options))
    run = commands.add_parser("run", parents=[common, device], help="make what a recipe (TOML) says")
    run.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    run.set_defaults(command=_run)
    _further_commands(commands, [common, device])
    _photo_commands(commands, [common, device])
    check = commands.add_parser("check", parents=[common], help="measure the quality of a folder of maps")
    check.add_argument("folder", type=Path, metavar="DIR")
    check.add_argument("--json", action="store_true", help="as JSON")
    check.set_defaults(command=_check)
    return parser


def _further_commands(commands: Any, parents: list[Parser]) -> None:
    """What is done to maps that one has, and what moves."""
    sample = commands.add_parser("sample", parents=parents, help="make a material at random, or a morph of two")
    sample.add_argument("--seed", type=int, default=0, help="decides everything (0)")
    sample.add_argument("--size", metavar="N|WxH", default="1024", help="pixels (1024)")
    arguments.export_options(sample)
    sample.set_defaults(command=_sample)
    stylize = commands.add_parser("stylize", parents=parents, help="draw maps in the manner of a picture")
    vary = commands.add_parser("vary", parents=parents, help="make siblings of maps")
    animate = commands.add_parser("animate", parents=parents, help="make a texture that moves, as numbered files")
    for parser in (stylize, vary):
        parser.add_argument("path", type=Path, metavar="MAPS", help="a folder of maps, or a picture")
        arguments.export_options(parser)
    arguments.style_options(stylize, needed=True)
    stylize.set_defaults(command=_planned(lambda o: arguments.maps_recipe(o, *arguments.style_step(o))))
    vary.add_argument("--amount", type=float, default=0.5, help="0 gives the maps back, 1 lays all of them anew (0.5)")
    vary.add_argument("--seed", type=int, default=0, help="of the first one (0)")
    vary.add_argument("--count", type=int, default=1, help="seeds, each in a folder of its own if more than one (1)")
    vary.add_argument("--between", type=Path, metavar="OTHER", help="go towards other maps instead")
    vary.add_argument("--steps", type=int, default=3, help="ways between, both ends included (3)")
    vary.set_defaults(command=_vary)
    animate.add_argument("material", metavar="MATERIAL|MAPS", help="a material, a folder of maps, or a picture")
    for add in (arguments.source_options, arguments.motion_options, arguments.style_options, arguments.export_options):
        add(animate)
    animate.set_defaults(command=_animate)


def _photo_commands(commands: Any, parents: list[Parser]) -> None:
    """What starts from a photo. All of it takes folders of maps too, but for `photo`."""
    photo = commands.add_parser("photo", parents=parents, help="make a material out of a photo")
    maps = commands.add_parser("maps", parents=parents, help="tell normal, height, roughness and AO from a picture")
    heal = commands.add_parser("heal", parents=parents, help="mend places, noise and seams")
    example = commands.add_parser("example", parents=parents, help="make a texture of any size out of a picture")
    upscale = commands.add_parser("upscale", parents=parents, help="add pixels and detail")
    for parser in (photo, maps, heal, example, upscale):
        parser.add_argument("path", type=Path, metavar="PHOTO", help="a picture, or a folder of maps")
        arguments.export_options(parser)
    arguments.photo_options(photo)
    arguments.derive_options(maps)
    arguments.heal_options(heal)
    heal.add_argument("--seams", action="store_true", help="make it tile")
    example.add_argument("--size", metavar="N|WxH", default="1024", help="pixels (1024)")
    example.add_argument("--seed", type=int, default=0, help="another one gives another texture (0)")
    example.add_argument("--like", action="store_true", help="keep the arrangement, change only what must change")
    upscale.add_argument("--factor", type=int, default=2, help="2 or 4 (2)")
    photo.set_defaults(command=_planned(arguments.photo_recipe))
    example.set_defaults(command=_planned(arguments.example_recipe))
    steps = {maps: ("maps", "strength", "delight"), heal: ("heal", "mask", "denoise", "seams")}
    for parser, step in {**steps, upscale: ("upscale", "factor")}.items():
        parser.set_defaults(command=_planned(partial(_one_step, step=step)))


def _one_step(options: argparse.Namespace, step: tuple[str, ...]) -> dict[str, Any]:
    return arguments.maps_recipe(options, arguments.step(options, *step))


def _planned(plan: Callable[[argparse.Namespace], dict[str, Any]]) -> Callable[[argparse.Namespace], int]:
    """A command that makes what a plain recipe says."""

    def command(options: argparse.Namespace) -> int:
        from .recipe import from_dict

        return _make(from_dict(plan(options)), options)

    return command


def _list(options: argparse.Namespace) -> int:
    from . import style_pictures
    from .library import Library

    library = Library(_folders(options))
    if options.json:
        print(json.dumps([_described(model.path, model.card) for model in library.models()], indent=1))
    else:
        for model in library.models():
            card = model.card
            print(f"{card.name}  ({card.family}, {card.licence}, {model.path})")
            for material in sorted(card.materials, key=lambda m: (m.category, m.name)):
                print(f"  {material.name:24} {material.category}")
        print("Styles: " + ", ".join(style_pictures.names()))
        print("Motions: " + (", ".join(sorted(library.motions())) or "none"))
        if not library.models() and not options.quiet:
            print("There are no models in " + ", ".join(str(folder) for folder in library.folders) + ".")
    for problem in library.problems():
        print(problem.message, file=sys.stderr)
    return 0


def _described(path: Path, card: Card) -> dict[str, Any]:
    known = {key: getattr(card, key) for key in ("name", "family", "licence", "maps")}
    return known | {
        "file": str(path),
        "materials": [{"name": m.name, "category": m.category} for m in card.materials],
    }


def _sample(options: argparse.Namespace) -> int:
    from .library import Library
    from .recipe import from_dict

    materials = Library(_folders(options)).sampled(options.seed)
    return _make(from_dict(arguments.sample_recipe(options, materials)), options)


def _vary(options: argparse.Namespace) -> int:
    from .recipe import from_dict

    if options.between is None:
        steps = [{"do": "vary", "amount": options.amount, "seed": options.seed + n} for n in range(options.count)]
    else:
        last = max(1, options.steps - 1)
        steps = [{"do": "blend", "other": str(options.between), "amount": n / last} for n in range(options.steps)]
    if not 1 <= len(steps) <= MOST_SIBLINGS:
        raise InputError(f"{len(steps)} siblings cannot be made; give --count or --steps from 1 to {MOST_SIBLINGS}.")
    recipes = [from_dict(arguments.maps_recipe(options, step)) for step in steps]
    folders = [options.out / f"{number:03}" for number in range(1, len(recipes) + 1)]
    return _make_all(dict(zip(folders if len(recipes) > 1 else [options.out], recipes, strict=True)), options)


def _animate(options: argparse.Namespace) -> int:
    from .library import Library
    from .recipe import from_dict

    materials = Library(_folders(options)).materials()
    return _make(from_dict(arguments.moving_recipe(options, materials)), options)


def _run(options: argparse.Namespace) -> int:
    from .recipe import load

    return _make(load(options.recipe), options)


def _check(options: argparse.Namespace) -> int:
    from . import folders, quality

    if not options.folder.is_dir():
        raise InputError(f"There is no folder '{options.folder}'; give one that holds maps.")
    sheet = quality.measure(folders.read_folder(options.folder))
    if options.json:
        print(json.dumps(sheet.to_dict(), indent=1))
    elif not options.quiet:
        for name, value in _rows(sheet.to_dict()):
            print(f"{name:28} {value}")
    for failure in sheet.failures():
        print(failure, file=sys.stderr)
    return 1 if sheet.failures() else 0


def _rows(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested figures as lines of a table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{prefix}{key} ")
        elif key != "failures":  # told as sentences
            values = value if isinstance(value, (list, tuple)) else [value]
            yield prefix + key, "  ".join("-" if v is None else f"{v:.4g}" for v in values)


def _make(recipe: Recipe, options: argparse.Namespace) -> int:
    return _make_all({options.out: recipe}, options)


def _make_all(recipes: dict[Path, Recipe], options: argparse.Namespace) -> int:
    """Make recipes, each into a folder."""
    from . import animation, images, interruptible, pipeline
    from .library import Library
    from .sessions import Sessions

    library, sessions, out = Library(_folders(options)), Sessions(options.provider), options.out

    def begun(recipe: Recipe, folder: Path) -> Generator[Progress, None, Saved]:
        if recipe.animation:
            return animation.save(animation.run(recipe, library, sessions), recipe, folder)
        return pipeline.run_and_save(pipeline.run(recipe, library, sessions), recipe, folder)

    # All recipes are checked here, so that a mistake shows before a folder is made.
    works = {folder: begun(recipe, folder) for folder, recipe in recipes.items()}
    with interruptible.folder(out) as made, _bar(not options.quiet) as show:
        images.check_folder(out)
        for folder, work in works.items():
            saved = interruptible.call(
                partial(interruptible.drive, work, show), sessions, partial(interruptible.leave, folder, made)
            )
            if not options.quiet:
                _report(saved, folder)
    return 0


def _folders(options: argparse.Namespace) -> list[Path]:
    if options.models is None:
        return []
    if not options.models.is_dir():
        raise InputError(f"There is no folder '{options.models}'; give one that holds models (.onnx).")
    return [options.models]


@contextmanager
def _bar(wanted: bool) -> Iterator[Callable[[Progress], None]]:
    """A function that shows progress: on a terminal only."""
    if not wanted or not sys.stderr.isatty():
        yield lambda progress: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda progress: None
        return
    with tqdm(total=100, unit="%", leave=False, bar_format="{desc} {bar} {n:.0f}%") as bar:

        def show(progress: Progress) -> None:
            bar.set_description(progress.stage, refresh=False)
            bar.n = 100 * progress.fraction
            bar.refresh()

        yield show


def _report(saved: Saved, out: Path) -> None:
    result = saved.result
    print(f"{len(saved.files)} files in {out} ({result.provider}, {sum(result.seconds.values()):.1f} s)")
    if result.why_not_cuda:
        print(f"CUDA did not run: {result.why_not_cuda}")
    for note in result.notes:
        print(note)
    for failure in saved.failures:
        print(f"Quality: {failure}", file=sys.stderr)
