"""What steps work with: the models there are, opened when a step asks for one."""

from __future__ import annotations

from dataclasses import dataclass

from . import families
from .card import Card
from .library import Library, Model
from .sessions import Session, Sessions


@dataclass(frozen=True)
class Tools:
    """Models by their family."""

    library: Library
    sessions: Sessions

    def open(self, family: str) -> tuple[Card, Session]:
        """The first model of a family, ready to run; `InputError` when there is none."""
        model = self.library.of_family(family)
        return model.card, self.session(model)

    def session(self, model: Model) -> Session:
        """A model, ready to run."""
        return self.sessions.open(model, families.load(model.card.family, model.path.name))
