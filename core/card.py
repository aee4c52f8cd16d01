"""The card: what a model file says of itself, as a JSON object under one ONNX metadata key.

Everything that belongs to the weights stands here, so that the code holds no constants of theirs. A card comes
from a file that may be a stranger's: it is checked field by field and never trusted further than its types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import InputError, ModelError
from .maps import CHANNELS

KEY = "tessera_card"
SCHEMA = 1
OTHER = "other"  # category of materials that name none
LARGEST = 16384  # pixels on a side: past this no map fits an ordinary machine's memory


@dataclass(frozen=True)
class SizeRule:
    """Sizes a model can make, in pixels. Width and height need not be equal, nor powers of two."""

    multiple: int  # both sides are multiples of this
    minimum: int  # smallest side
    halo: int  # receptive field: pixels around a tile that influence it

    def check(self, width: int, height: int) -> None:
        """`InputError` that says what is allowed, when a size breaks the rule."""
        for side in (width, height):
            if not self.minimum <= side <= LARGEST or side % self.multiple:
                near = min(LARGEST, max(self.minimum, round(side / self.multiple) * self.multiple))
                raise InputError(
                    f"A size of {width}x{height} cannot be made: each side must be a multiple of {self.multiple} "
                    f"from {self.minimum} to {LARGEST} pixels; try {near}."
                )


@dataclass(frozen=True)
class Material:
    """One material that a model can make."""

    name: str
    category: str
    metres: float  # real-world width of `pixels` pixels
    pixels: int


@dataclass(frozen=True)
class Card:
    """What a model file says of itself."""

    family: str  # name of the module of core/families that runs it
    name: str  # what people call the model
    maps: tuple[str, ...]  # maps it makes
    size: SizeRule
    licence: str  # SPDX identifier of the weights
    data: str  # what it was trained on
    precision: str = "float32"  # of the stored weights
    half: bool = False  # whether a GPU may compute it in half precision, as export/half.py measured
    materials: tuple[Material, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)  # quality, as measured by export/
    training: Mapping[str, Any] = field(default_factory=dict)  # script, settings, seed
    settings: Mapping[str, Any] = field(default_factory=dict)  # what the family's module needs to run it
    schema: int = SCHEMA

    def material(self, name: str) -> Material:
        """The material called `name`; `KeyError` when the model does not know it."""
        return next(m for m in self.materials if m.name == name)

    def to_json(self) -> str:
        """The text that goes into the file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)


def parse(text: str, source: str) -> Card:
    """Read a card; `ModelError` names `source` and the field that is wrong."""
    try:
        raw = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise ModelError(f"The card in {source} is not valid JSON; export the model again.") from None
    if not isinstance(raw, dict):
        raise ModelError(f"The card in {source} is not a JSON object; export the model again.")
    schema = raw.get("schema")
    if schema != SCHEMA:
        raise ModelError(
            f"The card in {source} has schema {schema!r} and this version reads {SCHEMA}; "
            "update Tessera or export the model again."
        )
    get = _Reader(raw, source)
    maps = tuple(get.items("maps", str))
    unknown = [name for name in maps if name not in CHANNELS]
    if unknown:
        raise get.error("maps", f"one of {', '.join(CHANNELS)}, not '{unknown[0]}'")
    size = _Reader(get.value("size", dict), source, "size.")
    rule = SizeRule(*(size.value(key, int) for key in ("multiple", "minimum", "halo")))
    if rule.multiple < 1 or rule.minimum < 1 or not 0 <= rule.halo <= 4096:
        raise get.error("size", "positive numbers of pixels")
    return Card(
        family=get.value("family", str),
        name=get.value("name", str),
        maps=maps,
        size=rule,
        licence=get.value("licence", str),
        data=get.value("data", str),
        precision=get.value("precision", str),
        half=get.truth("half"),
        materials=tuple(_material(m, source) for m in get.items("materials", dict)),
        figures=get.value("figures", dict),
        training=get.value("training", dict),
        settings=get.value("settings", dict),
    )


def _material(raw: dict[str, Any], source: str) -> Material:
    get = _Reader(raw, source, "materials.")
    material = Material(
        get.value("name", str),
        get.value("category", str) or OTHER,
        float(get.value("metres", (int, float))),
        get.value("pixels", int),
    )
    for key in ("name", "category"):  # they become names of files and of catalogs
        text = getattr(material, key)
        if not text.replace("_", "").replace("-", "").isalnum() or not text.isascii():
            raise get.error(key, "letters, digits, - and _ only")
    if not (material.metres > 0 and material.pixels > 0):
        raise get.error("metres", "positive, like pixels")
    return material


class _Reader:
    """Typed access to a JSON object, with errors that name the field."""

    def __init__(self, raw: Mapping[str, Any], source: str, prefix: str = "") -> None:
        self.raw, self.source, self.prefix = raw, source, prefix

    def error(self, key: str, expected: str) -> ModelError:
        return ModelError(
            f"The card in {self.source} is broken: '{self.prefix}{key}' must be {expected}; export the model again."
        )

    def value(self, key: str, kind: Any) -> Any:
        value = self.raw.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            names = [k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,))]
            raise self.error(key, "of type " + " or ".join(names))
        return value

    def truth(self, key: str) -> bool:
        """False where it is absent."""
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def items(self, key: str, kind: Any) -> list[Any]:
        values = self.value(key, list)
        if not all(isinstance(value, kind) for value in values):
            raise self.error(key, f"a list of {kind.__name__}")
        return list(values)
