"""What steps work with: the models there are, opened when a step asks for one."""

from __future__ import annotations

from dataclasses import dataclass

from . import families
from .card import Card
from .library import Library, Model
from .maps import Maps
from .sessions import Session, Sessions


@dataclass(frozen=True)
class Tools:
    """Models by their family."""

    library: Library
    sessions: Sessions
    tiling: bool = False  # the maps were made to tile, whatever a measure says of them

    def tiles(self, maps: Maps) -> bool:
        """Whether the maps tile, as far as is known or measured."""
        from . import quality  # Blender starts faster without it

        return self.tiling or quality.tiles(maps)

    def open(self, family: str) -> tuple[Card, Session]:
        """The first model of a family, ready to run; `InputError` when there is none."""
        model = self.library.of_family(family)
        return model.card, self.session(model)

    def session(self, model: Model) -> Session:
        """A model, ready to run."""
        return self.sessions.open(model, families.load(model.card.family, model.path.name))
