"""Recipes: what to make, as data. The panel, the command line and scripts all run them, so the same recipe gives
the same pixels everywhere. Everything about a recipe is checked here, before anything runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .card import LARGEST
from .errors import InputError, RecipeError
from .maps import CHANNELS

_LONGEST = 1 << 20  # bytes of a recipe file


@dataclass(frozen=True)
class Recipe:
    """What to make and how to write it; made by `from_dict` or `load`, which check it."""

    material: str
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

    @property
    def title(self) -> str:
        """What people and files call the result."""
        return f"{self.material}-{self.morph}" if self.morph else self.material

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The same recipe as plain data, without what is left at its default; `from_dict` reads it back."""
        source: dict[str, Any] = {key: getattr(self, key) for key in ("material", "model", "seed", "width", "height")}
        if self.morph is not None:
            source |= {"morph": self.morph, "amount": self.amount}
        export = {"maps": list(self.maps) or None, "depth": self.depth, "normal": self.normal, "format": self.format}
        tables = {"source": source, "export": export}
        return {name: {k: v for k, v in table.items() if v is not None} for name, table in tables.items()}

    def to_toml(self) -> str:
        """The text of a recipe file."""
        lines = []
        for name, table in self.to_dict().items():
            # JSON's strings, numbers and lists are also TOML's.
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in table.items()), ""]
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
    return _read(raw, _Place(str(path), text))


def from_dict(raw: Mapping[str, Any]) -> Recipe:
    """A recipe from plain data, with the tables `source` and `export`; `RecipeError` names the key that is wrong."""
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


# A check takes a value and returns it, or raises ValueError with what the value must be.
_Check = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("text")
    return value


def _whole(low: int, high: int) -> _Check:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def _share(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1")
    return float(value)


def _one_of(*choices: Any) -> _Check:
    def check(value: Any) -> Any:
        if isinstance(value, (bool, float)) or value not in choices:
            raise ValueError("one of " + ", ".join(str(choice) for choice in choices))
        return value

    return check


def _map_names(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) and name in CHANNELS for name in names):
        raise ValueError("a list of some of " + ", ".join(CHANNELS))
    return tuple(name for name in CHANNELS if name in names)


_SIDE = _whole(1, LARGEST)
_SOURCE: dict[str, _Check] = {
    "material": _text,
    "model": _text,
    "seed": _whole(0, 2**32 - 1),
    "size": parse_size,
    "width": _SIDE,
    "height": _SIDE,
    "morph": _text,
    "amount": _share,
}
_EXPORT: dict[str, _Check] = {
    "maps": _map_names,
    "depth": _one_of(8, 16),
    "normal": _one_of("gl", "dx"),
    "format": _one_of("png", "exr"),
}
_TABLES = {"source": _SOURCE, "export": _EXPORT}


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
    if unknown := [name for name in raw if name not in _TABLES]:
        raise place.error(_unknown(unknown[0], "", list(_TABLES)), unknown[0])
    values: dict[str, Any] = {}
    for table, checks in _TABLES.items():
        values |= _table(raw.get(table, {}), table, checks, place)
    if "material" not in values:
        raise place.error("A recipe needs a 'material' in its [source] table.", "source")
    if "amount" in values and "morph" not in values:
        raise place.error("'amount' is the share of a second material, so it needs 'morph' too.", "source", "amount")
    if values.get("format") == "exr" and values.get("depth") == 8:
        raise place.error("'depth' must be 16, or left out for 32, when the format is exr.", "export", "depth")
    return Recipe(**_with_sides(values, place))


def _table(table: Any, name: str, checks: Mapping[str, _Check], place: _Place) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise place.error(f"'{name}' must be a table, not {_short(table)}.", name)
    values = {}
    for key, value in table.items():
        if key not in checks:
            raise place.error(_unknown(str(key), name, list(checks)), name, str(key))
        try:
            values[key] = checks[key](value)
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
    home = next((name for name, checks in _TABLES.items() if key in checks and name != table), None)
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
