"""Recipes: what to make, as data. The panel, the command line and scripts all run them, so the same recipe gives
the same pixels everywhere. Everything about a recipe is checked here, before anything runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import checks, steps
from .card import LARGEST
from .checks import Check
from .errors import InputError, RecipeError
from .photo_steps import Even, Fit, Straighten
from .steps import Animation, Step

_LONGEST = 1 << 20  # bytes of a recipe file
_MOST_STEPS = 64


@dataclass(frozen=True)
class Recipe:
    """What to make and how to write it; made by `from_dict` or `load`, which check it."""

    material: str = ""  # what to generate; "" for maps that are read
    model: str | None = None  # name of the model; None for the first that makes the material
    seed: int = 0  # 0..2**32-1
    width: int = 1024  # pixels
    height: int = 1024  # pixels
    morph: str | None = None  # second material
    amount: float = 0.5  # of the second material, 0..1; without one it means nothing
    maps: tuple[str, ...] = ()  # maps to write; () for all that the model makes
    depth: int | None = None  # bits a channel; None for 8, and 16 for the height, whose slopes would stair-step
    normal: str = "gl"  # "gl": Y+, "dx": Y-
    format: str = "png"  # "exr" holds floats: of 32 bits, or of 16 by `depth`
    path: str = ""  # of a folder of maps or of a picture, instead of a material
    steps: tuple[Step, ...] = ()  # what is done to the maps then, in this order
    animation: Animation | None = None  # how the maps move then

    @property
    def title(self) -> str:
        """What people and files call the result."""
        if self.path:
            return re.sub(r"[^A-Za-z0-9-]+", "_", Path(self.path).stem).strip("_") or "maps"
        return f"{self.material}-{self.morph}" if self.morph else self.material

    @property
    def is_photo(self) -> bool:
        """Whether the path is of a picture that is cropped, straightened or evened out first."""
        return bool(self.path and self.steps) and isinstance(self.steps[0], (Straighten, Fit, Even))

    def moved(self, move: Callable[[str], str]) -> Recipe:
        """The same recipe with every path that it reads changed by `move`."""
        moving = self.animation
        if moving and moving.coat_path:
            moving = replace(moving, coat_path=move(moving.coat_path))
        further = tuple(step.moved(move) for step in self.steps)
        return replace(self, path=move(self.path) if self.path else "", steps=further, animation=moving)

    def paths(self) -> list[str]:
        """Every path that it reads."""
        found: list[str] = []

        def note(path: str) -> str:
            found.append(path)
            return path

        self.moved(note)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The same recipe as plain data, without what is left at its default; `from_dict` reads it back."""
        keys = ("path",) if self.path else ("material", "model", "seed", "width", "height")
        source: dict[str, Any] = {key: getattr(self, key) for key in keys}
        if self.morph is not None:
            source |= {"morph": self.morph, "amount": self.amount}
        export = {"maps": list(self.maps) or None, "depth": self.depth, "normal": self.normal, "format": self.format}
        tables = {"source": source, "export": export}
        data: dict[str, Any] = {
            name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items()
        }
        if self.steps:
            data["steps"] = [steps.to_dict(step) for step in self.steps]
        if self.animation:
            data["animation"] = asdict(self.animation)
        return data

    def to_toml(self) -> str:
        """The text of a recipe file."""
        data = self.to_dict()
        tables = [("[source]", data["source"]), *(("[[steps]]", step) for step in data.get("steps", ()))]
        lines = []
        tables += [(f"[{name}]", data[name]) for name in ("animation", "export") if name in data]
        for header, table in tables:
            # JSON's strings, numbers, lists, true and false are also TOML's.
            lines += [header, *(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in table.items()), ""]
        return "\n".join(lines)


def load(path: Path) -> Recipe:
    """Read a recipe file (TOML); `RecipeError` names the file, the line and the key that is wrong."""
    import tomllib  # here, and difflib below: Blender starts faster without them

    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise RecipeError(f"{path} is too long for a recipe; give a TOML file with a [source] table.")
        text = data.decode()
        raw = tomllib.loads(text)
    except OSError as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error.strerror}; check the path.") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path} is not a text file in UTF-8; give a TOML file with a [source] table.") from None
    except RecursionError:
        raise RecipeError(f"{path} is nested too deeply for a recipe.") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}.") from None
    return _inside(_read(raw, _Place(str(path), text)), path.parent)


def from_dict(raw: Mapping[str, Any]) -> Recipe:
    """A recipe from plain data: tables `source`, `animation` and `export`, and the list `steps`, each with a `do`.

    `RecipeError` names the key that is wrong.
    """
    return _read(raw, _Place("", ""))


def parse_size(value: int | str) -> tuple[int, int]:
    """Width and height in pixels from `1024`, "1024" or "1024x512"; `InputError` says what is wrong."""
    match = re.fullmatch(r"\s*(-?\d{1,9})(?:\s*[xX×]\s*(-?\d{1,9}))?\s*", str(value), re.ASCII)
    if isinstance(value, bool) or match is None:
        raise InputError(
            f"A size is a number of pixels, as 1024, or 1024x512 for width and height, not {_short(value)}."
        )
    width, height = int(match[1]), int(match[2] or match[1])
    if not (0 < width <= LARGEST and 0 < height <= LARGEST):
        raise InputError(f"A size of {width}x{height} cannot be made: each side must be from 1 to {LARGEST} pixels.")
    return width, height


_SIDE = checks.whole(1, LARGEST)
_SOURCE: dict[str, Check] = {
    "material": checks.text,
    "path": checks.text,
    "model": checks.text,
    "seed": checks.whole(0, 2**32 - 1),
    "size": parse_size,
    "width": _SIDE,
    "height": _SIDE,
    "morph": checks.text,
    "amount": checks.number(0, 1),
}
_EXPORT: dict[str, Check] = {
    "maps": checks.map_names,
    "depth": checks.one_of(8, 16),
    "normal": checks.one_of("gl", "dx"),
    "format": checks.one_of("png", "exr"),
}
_TABLES = {"source": _SOURCE, "export": _EXPORT}
_KNOWN = [*_TABLES, "steps", "animation"]


@dataclass(frozen=True)
class _Place:
    """Where a recipe stands, to name the line of a mistake."""

    file: str
    text: str

    def error(self, message: str, table: str, key: str = "") -> RecipeError:
        line = self._line(table, key)
        where = self.file and (f"{self.file}, line {line}: " if line else f"{self.file}: ")
        return RecipeError(where + message)

    def _line(self, table: str, key: str) -> int | None:
        current = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := re.match(r"\s*\[+\s*[\"']?([^\"'\].]+)", line):
                current = header[1].strip()
                if not key and current == table:
                    return number
            elif name := re.match(r"\s*[\"']?([^\"'=]*?)[\"']?\s*=", line):
                full = f"{current}.{name[1]}".lstrip(".")
                if full.startswith(f"{table}.{key}" if key else table):
                    return number
        return None


def _read(raw: Mapping[str, Any], place: _Place) -> Recipe:
    if unknown := [name for name in raw if name not in _KNOWN]:
        raise place.error(_unknown(unknown[0], "", _KNOWN), unknown[0])
    values: dict[str, Any] = {}
    for table, checked in _TABLES.items():
        values |= _table(raw.get(table, {}), table, checked, place)
    if ("material" in values) == ("path" in values):
        raise place.error("A recipe needs a 'material' or a 'path' in its [source] table, and not both.", "source")
    if "path" in values and (odd := next((key for key in _SOURCE if key in values and key != "path"), None)):
        raise place.error(f"'{odd}' is for materials; maps that are read from a 'path' have their own.", "source", odd)
    if "amount" in values and "morph" not in values:
        raise place.error("'amount' is the share of a second material, so it needs 'morph' too.", "source", "amount")
    if values.get("format") == "exr" and values.get("depth") == 8:
        raise place.error("'depth' must be 16, or left out for 32, when the format is exr.", "export", "depth")
    moving = _animation(raw["animation"], place) if "animation" in raw else None
    return Recipe(**_with_sides(values, place), steps=_steps(raw.get("steps", ()), place), animation=moving)


def _steps(raw: Any, place: _Place) -> tuple[Step, ...]:
    if not isinstance(raw, (list, tuple)) or len(raw) > _MOST_STEPS:
        raise place.error(f"'steps' must be a list of at most {_MOST_STEPS} tables: [[steps]].", "steps")
    return tuple(_step(step, place) for step in raw)


def _step(raw: Any, place: _Place) -> Step:
    known = ", ".join(steps.KINDS)
    kind = raw.get("do") if isinstance(raw, Mapping) else None
    if not isinstance(kind, str) or kind not in steps.KINDS:
        raise place.error(f"A step needs a 'do', one of {known}, not {_short(kind)}.", "steps", "do")
    made = steps.KINDS[kind]
    values = _table({key: value for key, value in raw.items() if key != "do"}, "steps", made.CHECKS, place)
    try:
        step: Step = made(**values)
    except TypeError:  # a field without a default
        raise place.error(f"The step '{kind}' needs a '{next(iter(made.CHECKS))}'.", "steps") from None
    return step


def _animation(raw: Any, place: _Place) -> Animation:
    values = _table(raw, "animation", Animation.CHECKS, place)
    if "motion" not in values:
        raise place.error("An animation needs a 'motion'.", "animation")
    return Animation(**values)


def _inside(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe of a file, its paths made to start at the file's folder, which they may not leave."""

    def move(text: str) -> str:
        if not is_inside(text, folder):
            raise RecipeError(f"The path '{text}' leads out of the recipe's folder; put the file beside the recipe.")
        return str((folder / text).resolve())

    return recipe.moved(move)


def is_inside(path: str, folder: Path) -> bool:
    """Whether a path, taken from `folder` on, stays in it."""
    return (folder / path).resolve().is_relative_to(folder.resolve())


def _table(table: Any, name: str, known: Mapping[str, Check], place: _Place) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise place.error(f"'{name}' must be a table, not {_short(table)}.", name)
    values = {}
    for key, value in table.items():
        if key not in known:
            raise place.error(_unknown(str(key), name, list(known)), name, str(key))
        try:
            values[key] = known[key](value)
        except ValueError as expected:
            raise place.error(f"'{key}' must be {expected}, not {_short(value)}.", name, key) from None
        except InputError as error:
            raise place.error(f"'{key}': {error}", name, key) from None
    return values


def _with_sides(values: dict[str, Any], place: _Place) -> dict[str, Any]:
    """`size` replaced by `width` and `height`."""
    if "size" in values and ("width" in values or "height" in values):
        raise place.error("Give either 'size' or 'width' and 'height', not both.", "source", "size")
    if ("width" in values) != ("height" in values):
        given = "width" if "width" in values else "height"
        raise place.error("'width' and 'height' are needed together; for a square give 'size'.", "source", given)
    size = values.pop("size", None)
    return values if size is None else {**values, "width": size[0], "height": size[1]}


def _unknown(key: str, table: str, known: list[str]) -> str:
    """The sentence for a key that means nothing where it stands."""
    home = next((name for name, checked in _TABLES.items() if key in checked and name != table), None)
    where = f" in [{table}]" if table else ""
    if home is not None:
        return f"'{key}' belongs into the table [{home}]{', not' + where if table else ''}."
    import difflib

    near = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}."
    return f"{_short(key)} is not known{where}; {hint}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
