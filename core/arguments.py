"""Arguments of command lines, and the recipes they ask for: shared by `python -m core` and `blender -c tessera`."""

from __future__ import annotations

import argparse
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # at run time only the functions that make recipes import them, so that `list` starts at once
    from .recipe import Recipe


PROVIDERS = ("auto", "cpu", "cuda", "tensorrt")
PARTS = ("even", "seamless", "maps", "upscale")  # of what is done to a photo; any can be left out
_CORNERS = "x and y, in pixels, of the upper left, upper right, lower right and lower left corner of what to take"


class Parser(argparse.ArgumentParser):
    """Tells mistakes in one sentence, and exits with status 2."""

    def error(self, message: str) -> NoReturn:
        """One sentence, without the usage text in front."""
        self.exit(2, f"{self.prog}: {message}; --help shows how it is used.\n")


def export_options(parser: argparse.ArgumentParser) -> None:
    """Arguments of every command that writes maps."""
    parser.add_argument("--maps", metavar="A,B,...", help="maps to write (all)")
    parser.add_argument("--depth", type=int, help="bits: 8 or 16 (8, height 16; EXR 32)")
    parser.add_argument("--normal", help="gl (Y+) or dx (Y-) (gl)")
    parser.add_argument("--format", help="png or exr (png)")


def source_options(parser: argparse.ArgumentParser) -> None:
    """Arguments of every command that generates."""
    parser.add_argument("--seed", type=int, help="0 to 4294967295; the same seed gives the same pixels (0)")
    parser.add_argument("--size", metavar="N|WxH", help="pixels (1024)")
    parser.add_argument("--morph", metavar="OTHER", help="a second material to mix in")
    parser.add_argument("--amount", type=float, help="of the second material, 0 to 1 (0.5)")
    parser.add_argument("--model", metavar="NAME", help="the model to use (the first that makes the material)")


def style_options(parser: argparse.ArgumentParser, needed: bool = False) -> None:
    """Arguments of a style; `needed` where the command makes no sense without one."""
    what = "a built-in style that `list` shows, or a picture"
    parser.add_argument("--style", metavar="NAME|FILE", required=needed, help=what)
    parser.add_argument("--strength", type=float, help="of the style, 0 to 1 (0.8)")
    parser.add_argument("--keep-color", action="store_true", default=None, help="keep the colours, take the rest")
    parser.add_argument("--style-scale", type=float, metavar="S", help="2 makes the style twice as large (1)")
    parser.add_argument("--relief", action="store_true", default=None, help="the style shapes normal and height too")


def motion_options(parser: argparse.ArgumentParser) -> None:
    """Arguments of an animation."""
    parser.add_argument("--motion", metavar="NAME", required=True, help="one that `list` shows, as flow")
    parser.add_argument("--frames", type=int, help="after the last the first comes again (48)")
    parser.add_argument("--fps", type=int, help="frames a second, for the preview (24)")
    parser.add_argument("--coat", metavar="MATERIAL|PATH", help="what grows over the maps, for growth")


def photo_options(parser: argparse.ArgumentParser) -> None:
    """Arguments of what becomes of a photo."""
    parser.add_argument("--size", metavar="N|WxH", default="1024", help="pixels (1024)")
    parser.add_argument("--corners", type=float, nargs=8, metavar="N", help=_CORNERS)
    parser.add_argument("--without", metavar="A,B,...", default="", help="leave out some of: " + ", ".join(PARTS))
    parser.add_argument("--fresh", action="store_true", help="a new arrangement, by example")
    parser.add_argument("--seed", type=int, default=0, help="of a fresh arrangement (0)")
    heal_options(parser)
    derive_options(parser)


def heal_options(parser: argparse.ArgumentParser) -> None:
    """Arguments of what is mended."""
    parser.add_argument("--mask", metavar="FILE", help="a picture that is light where something is to be replaced")
    parser.add_argument("--denoise", type=float, metavar="D", help="take out noise, 0 to 1 (0)")


def derive_options(parser: argparse.ArgumentParser) -> None:
    """Arguments of maps that are told from a picture."""
    parser.add_argument("--strength", type=float, metavar="S", help="of the relief, 0 to 4 (1)")
    parser.add_argument("--delight", type=float, metavar="D", help="share of the light taken out, 0 to 1 (1)")


def photo_recipe(options: argparse.Namespace) -> dict[str, Any]:
    """The plain recipe that `photo_options` ask for."""
    from . import images, photo_recipe
    from .recipe import parse_size

    width, height = parse_size(options.size)
    corners: list[float] = []
    if options.corners:
        sides = images.size(options.path)
        corners = [number / sides[n % 2] for n, number in enumerate(options.corners)]
    without = frozenset(word.strip() for word in options.without.split(",") if word.strip())
    numbers = _given({key: getattr(options, key) for key in ("mask", "denoise", "strength", "delight")})
    numbers |= {"seed": options.seed, "fresh": options.fresh}
    wishes = photo_recipe.Wishes(width, height, corners, without=without, **numbers)
    return maps_recipe(options, *photo_recipe.steps(options.path, wishes))


def example_recipe(options: argparse.Namespace) -> dict[str, Any]:
    """The plain recipe of a texture by example."""
    from . import photo_recipe
    from .recipe import parse_size

    width, height = parse_size(options.size)
    steps = photo_recipe.example_steps(options.path, width, height, options.seed, options.like)
    return maps_recipe(options, *steps)


def step(options: argparse.Namespace, kind: str, *names: str) -> dict[str, Any]:
    """A step with those of these options that were given."""
    return {"do": kind, **_given({name: getattr(options, name) for name in names})}


def _material_recipe(options: argparse.Namespace) -> dict[str, Any]:
    """The plain recipe that `export_options`, `source_options` and `style_options` ask for, of a material."""
    source = {key: getattr(options, key) for key in ("material", "model", "seed", "size", "morph", "amount")}
    return {"source": _given(source), "export": _export(options), "steps": style_step(options)}


def sample_recipe(options: argparse.Namespace, source: dict[str, Any]) -> dict[str, Any]:
    """The plain recipe of what was drawn as `source`, in the size and the format asked for."""
    return {"source": {**source, "seed": options.seed, "size": options.size}, "export": _export(options)}


def maps_recipe(options: argparse.Namespace, *steps: dict[str, Any]) -> dict[str, Any]:
    """The plain recipe of maps that are read, with further steps."""
    return {"source": {"path": str(options.path)}, "export": _export(options), "steps": list(steps)}


def style_step(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The step of `style_options`; none without a style."""
    if options.style is None:
        return []
    names = {"strength": "strength", "keep_color": "keep_color", "scale": "style_scale", "relief": "relief"}
    return [{"do": "stylize", "style": options.style, **_given({k: getattr(options, v) for k, v in names.items()})}]


def moving_recipe(options: argparse.Namespace, materials: Container[str]) -> dict[str, Any]:
    """The plain recipe of one of the `materials`, or else of maps where a path of that name is, with its animation."""
    plain = _material_recipe(options)
    if options.material not in materials and Path(options.material).exists():
        # What is for materials only stays, and is told when the recipe is checked; the seed is the animation's, too.
        source = {key: value for key, value in plain["source"].items() if key not in ("material", "seed")}
        plain["source"] = {"path": options.material, **source}
    return {**plain, "animation": _animation(options, materials)}


def _animation(options: argparse.Namespace, materials: Container[str]) -> dict[str, Any]:
    table = _given({key: getattr(options, key) for key in ("motion", "frames", "fps", "seed")})
    if options.coat is not None:
        is_path = options.coat not in materials and Path(options.coat).exists()
        table["coat_path" if is_path else "coat"] = options.coat
    return table


def _given(table: dict[str, Any]) -> dict[str, Any]:
    """What was given of a table."""
    return {key: value for key, value in table.items() if value is not None}


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The checked recipe of a material; `RecipeError` when it is wrong."""
    from .recipe import from_dict

    return from_dict(_material_recipe(options))


def _export(options: argparse.Namespace) -> dict[str, Any]:
    export = {key: getattr(options, key) for key in ("depth", "normal", "format")}
    export["maps"] = None if options.maps is None else [name.strip() for name in options.maps.split(",")]
    return _given(export)
