"""The command line: `python -m core list | generate | run | check`.

Exit status: 0 done, 1 a quality limit is passed, 2 the request cannot be met (one sentence on stderr says why),
130 interrupted. Only this file prints.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import InputError, TesseraError
from .version import VERSION

if TYPE_CHECKING:  # at run time each command imports what it needs, so that `list` starts at once
    from .card import Card
    from .pipeline import Progress, Result, Saved
    from .recipe import Recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
        return status
    except TesseraError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


class Parser(argparse.ArgumentParser):
    """Tells mistakes in one sentence, and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        """One sentence, without the usage text in front."""
        self.exit(2, f"{self.prog}: {message}; --help shows how it is used.\n")


def _parser() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument("--quiet", action="store_true", help="print errors only")
    common.add_argument("--models", type=Path, metavar="DIR", help="a further folder of models, looked at first")
    device = Parser(add_help=False)
    device.add_argument("--provider", choices=("auto", "cpu", "cuda"), default="auto", help="where the networks run")
    device.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    parser = Parser(prog="python -m core", description="Tessera: seamless PBR materials made by small neural networks.")
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    listing = commands.add_parser("list", parents=[common], help="models and the materials they make")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=_list)
    generate = commands.add_parser("generate", parents=[common, device], help="make a material")
    recipe_options(generate)
    generate.set_defaults(command=_generate)
    run = commands.add_parser("run", parents=[common, device], help="make what a recipe (TOML) says")
    run.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    run.set_defaults(command=_run)
    check = commands.add_parser("check", parents=[common], help="measure the quality of a folder of maps")
    check.add_argument("folder", type=Path, metavar="DIR")
    check.add_argument("--json", action="store_true", help="as JSON")
    check.set_defaults(command=_check)
    return parser


def recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `recipe_of` reads."""
    parser.add_argument("material", metavar="MATERIAL", help="a name that `list` shows")
    parser.add_argument("--seed", type=int, help="0 to 4294967295; the same seed gives the same pixels (0)")
    parser.add_argument("--size", metavar="N|WxH", help="pixels (1024)")
    parser.add_argument("--morph", metavar="OTHER", help="a second material to mix in")
    parser.add_argument("--amount", type=float, help="of the second material, 0 to 1 (0.5)")
    parser.add_argument("--model", metavar="NAME", help="the model to use (the first that makes the material)")
    parser.add_argument("--maps", metavar="A,B,...", help="maps to write (all)")
    parser.add_argument("--depth", type=int, help="bits: 8 or 16 (8, height 16; EXR 32)")
    parser.add_argument("--normal", help="gl (Y+) or dx (Y-) (gl)")
    parser.add_argument("--format", help="png or exr (png)")


def _list(options: argparse.Namespace) -> int:
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


def _generate(options: argparse.Namespace) -> int:
    return _make(recipe_of(options), options)


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The recipe that the arguments of `recipe_options` ask for; `RecipeError` when it is wrong."""
    from .recipe import from_dict

    export = {key: getattr(options, key) for key in ("depth", "normal", "format")}
    export["maps"] = None if options.maps is None else [name.strip() for name in options.maps.split(",")]
    source = {key: getattr(options, key) for key in ("material", "model", "seed", "size", "morph", "amount")}
    given = {"source": source, "export": export}
    return from_dict({name: _given(table) for name, table in given.items()})


def _given(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


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
    from . import images, interruptible, pipeline
    from .library import Library
    from .sessions import Sessions

    library, sessions, out = Library(_folders(options)), Sessions(options.provider), options.out
    pipeline.choose(recipe, library)  # a mistake shows before a folder is made
    with interruptible.folder(out) as made, _bar(not options.quiet) as show:
        images.check_folder(out)

        def work(stopped: threading.Event) -> tuple[Result, Saved]:
            result = interruptible.drive(pipeline.run(recipe, library, sessions), show, stopped)
            return result, pipeline.save(result, recipe, out)

        result, saved = interruptible.call(work, sessions, lambda: interruptible.leave(out, made))
    if not options.quiet:
        _report(result, saved, out)
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


def _report(result: Result, saved: Saved, out: Path) -> None:
    print(f"{len(saved.files)} files in {out} ({result.provider}, {sum(result.seconds.values()):.1f} s)")
    if result.why_not_cuda:
        print(f"CUDA did not run: {result.why_not_cuda}")
    for failure in saved.failures:
        print(f"Quality: {failure}", file=sys.stderr)
