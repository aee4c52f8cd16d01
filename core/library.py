"""The models that are there. Only their cards are read, never their weights, so listing is immediate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import card as cards
from . import families
from .card import Card, Material
from .errors import InputError, ModelError
from .int8 import is_companion
from .onnx_file import read_metadata

BUNDLED = Path(__file__).parent / "models"
VARIABLE = "TESSERA_MODELS"  # environment variable with more folders, separated as in PATH


@dataclass(frozen=True)
class Model:
    """A model file that can be run."""

    path: Path
    card: Card


@dataclass(frozen=True)
class Problem:
    """A file among the models that cannot be used, and the sentence that says why."""

    path: Path
    message: str


class Library:
    """Models of some folders. Earlier folders win: those of the caller, of `TESSERA_MODELS`, then the bundled ones."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        named = [Path(text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
        self.folders = [*folders, *named, BUNDLED]
        self._models: list[Model] | None = None
        self._problems: list[Problem] = []

    def refresh(self) -> None:
        """Forget what was read; the folders are read anew when they are next asked about."""
        self._models = None

    def models(self) -> list[Model]:
        """Every usable model, folder by folder, in the order of file names."""
        models = self._models  # another thread may refresh meanwhile
        if models is None:
            models, self._problems = _scan(self.folders)
            self._models = models
        return list(models)

    def problems(self) -> list[Problem]:
        """Files that cannot be used; they do not hide the others."""
        self.models()
        return list(self._problems)

    def materials(self) -> dict[str, Material]:
        """Name -> what can be made, as told by the first model that makes it."""
        found: dict[str, Material] = {}
        for model in self.models():
            for material in model.card.materials:
                found.setdefault(material.name, material)
        return found

    def of_family(self, family: str) -> Model:
        """The first model of a family; `InputError` when there is none."""
        found = [model for model in self.models() if model.card.family == family]
        if not found:
            places = ", ".join(str(folder) for folder in self.folders)
            raise InputError(f"No model of the family '{family}' is installed; put one into one of: {places}.")
        return found[0]

    def sampled(self, seed: int) -> dict[str, Any]:
        """A material drawn at random or, half of the time, a morph of two: entries of a recipe's source.

        This is the prior over materials that there is: every one that was learned as likely as any other.
        """
        import numpy as np

        if not 0 <= seed < 2**32:
            raise InputError(f"A seed of {seed} cannot be used; give a whole number from 0 to {2**32 - 1}.")
        if not self.materials():
            raise InputError(self._missing("Nothing can be drawn", "", ()))
        random = np.random.default_rng(seed)
        first = str(random.choice(sorted(self.materials())))
        partners = [m.name for m in self.find(first).card.materials if m.name != first]
        if not partners or random.random() < 0.5:
            return {"material": first}
        amount = round(float(random.uniform(0.2, 0.8)), 3)
        return {"material": first, "morph": str(random.choice(sorted(partners))), "amount": amount}

    def motions(self) -> dict[str, Model]:
        """Motion -> the first model that makes it."""
        models = [model for model in self.models() if model.card.family == "recurrent"]
        return {str(model.card.settings.get("motion")): model for model in reversed(models)}

    def find(self, material: str, model: str | None = None) -> Model:
        """The first model that makes `material`; see `makers`."""
        return self.makers(material, model)[0]

    def makers(self, material: str, model: str | None = None) -> list[Model]:
        """Models that make `material`, at least one; only those called `model`, by card or file, if that is given.

        `InputError` suggests the nearest names; `ModelError` when `model` is there but broken.
        """
        among = self.models() if model is None else self._called(model)
        found = [m for m in among if any(made.name == material for made in m.card.materials)]
        if not found:
            names = [made.name for m in among for made in m.card.materials]
            where = f" in the model '{model}'" if model else ""
            raise InputError(self._missing(f"There is no material called '{material}'{where}", material, names))
        return found

    def _called(self, name: str) -> list[Model]:
        found = [m for m in self.models() if name in (m.card.name, m.path.stem, m.path.name)]
        if not found:
            for problem in self.problems():
                if name in (problem.path.stem, problem.path.name):
                    raise ModelError(problem.message)
            names = [m.card.name for m in self.models()]
            raise InputError(self._missing(f"There is no model called '{name}'", name, names))
        return found

    def _missing(self, start: str, name: str, names: Iterable[str]) -> str:
        if not self.models() and not self._problems:
            places = ", ".join(str(folder) for folder in self.folders)
            return f"{start}, as no models are installed; put .onnx files of Tessera into one of: {places}."
        import difflib  # takes a while, and is for mistakes only

        near = difflib.get_close_matches(name, sorted(set(names)), 3, 0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        broken = f", and {len(self._problems)} file(s) that cannot be used" if self._problems else ""
        return f"{start}{hint} The command `list` shows all there are{broken}."


def _scan(folders: Iterable[Path]) -> tuple[list[Model], list[Problem]]:
    models, problems, seen = [], [], set()
    known = families.names()
    for path in (path for folder in folders for path in sorted(folder.glob("*.onnx"))):
        if (real := path.resolve()) in seen or is_companion(path):
            continue
        seen.add(real)
        try:
            models.append(Model(path, _card(path, known)))
        except ModelError as error:
            problems.append(Problem(path, str(error)))
    return models, problems


def _card(path: Path, known: Sequence[str]) -> Card:
    text = read_metadata(path).get(cards.KEY)
    if text is None:
        raise ModelError(f"{path.name} has no card, so it is not a model of Tessera; move it out of {path.parent}.")
    card = cards.parse(text, path.name)
    if card.family not in known:
        families.load(card.family, path.name)  # raises, in the words used wherever a family is unknown
    if card.materials and not hasattr(families.load(card.family, path.name), "generate"):
        raise ModelError(
            f"{path.name} promises materials, which its family '{card.family}' cannot make; export it again."
        )
    return card
