"""Further steps of a recipe: what is done to maps after they were generated or read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol, Self, cast

from . import checks, folders, style_pictures
from .checks import Check
from .families import Steps
from .maps import Maps
from .photo_steps import Derive, Even, Example, Fit, Heal, Straighten, Upscale
from .tools import Tools


@dataclass(frozen=True)
class Stylize:
    """Draw the maps in the manner of a picture."""

    style: str  # a built-in style, or the path of a picture
    strength: float = 0.8  # 0 changes nothing, 1 leaves little of the maps
    keep_color: bool = False  # the maps' own colours, the style's light and dark
    scale: float = 1.0  # 2 makes what is seen in the style twice as large
    relief: bool = False  # the style's structure also shapes normal and height

    CHECKS: ClassVar[Mapping[str, Check]] = {
        "style": checks.text,
        "strength": checks.number(0, 1),
        "keep_color": checks.truth,
        "scale": checks.number(0.25, 4),
        "relief": checks.truth,
    }

    def moved(self, move: Callable[[str], str]) -> Stylize:
        """The step with the path it reads, if it reads one, changed."""
        return self if self.style in style_pictures.names() else replace(self, style=move(self.style))

    def check(self) -> None:
        """`InputError` when the picture is not there."""
        style_pictures.path(self.style)

    def families(self) -> tuple[str, ...]:
        """The network that turns pictures into features and back."""
        return ("style",)

    def apply(self, maps: Maps, tools: Tools) -> Steps:
        """See `Step.apply`."""
        from .families import style

        options = style.Options(self.strength, self.keep_color, self.scale, self.relief)
        return style.stylize(*tools.open("style"), maps, style_pictures.load(self.style), options)


@dataclass(frozen=True)
class Vary:
    """Lay a share of the maps anew."""

    amount: float = 0.5  # 0 gives them back, 1 lays all of it anew
    seed: int = 0

    CHECKS: ClassVar[Mapping[str, Check]] = {"amount": checks.number(0, 1), "seed": checks.whole(0, 2**32 - 1)}

    def moved(self, _move: Callable[[str], str]) -> Vary:
        """The same: it reads nothing."""
        return self

    def check(self) -> None:
        """Nothing can be missing."""

    def families(self) -> tuple[str, ...]:
        """The codec."""
        return ("vae",)

    def apply(self, maps: Maps, tools: Tools) -> Steps:
        """See `Step.apply`."""
        from . import variations

        return variations.vary(*tools.open("vae"), maps, self.amount, self.seed, tools.tiles(maps))


@dataclass(frozen=True)
class Blend:
    """Go towards other maps, which are brought to the size of these."""

    other: str  # path of a folder of maps or of a picture
    amount: float = 0.5  # 0 is all the maps so far, 1 all the others

    CHECKS: ClassVar[Mapping[str, Check]] = {"other": checks.text, "amount": checks.number(0, 1)}

    def moved(self, move: Callable[[str], str]) -> Blend:
        """The step with the path it reads changed."""
        return replace(self, other=move(self.other))

    def check(self) -> None:
        """`InputError` when the other maps are not there."""
        folders.check(self.other)

    def families(self) -> tuple[str, ...]:
        """The codec."""
        return ("vae",)

    def apply(self, maps: Maps, tools: Tools) -> Steps:
        """See `Step.apply`."""
        from . import variations

        other = folders.read_maps(self.other, maps.size)
        return variations.between(*tools.open("vae"), maps, other, self.amount)


@dataclass(frozen=True)
class Animation:
    """How maps move: a sequence that goes on from its last frame to its first. Made by core/animation.py."""

    motion: str  # one that a recurrent model makes
    frames: int = 48
    fps: int = 24  # frames a second, for previews
    seed: int = 0
    coat: str = ""  # material that grows over the maps, for the motion that wants one
    coat_path: str = ""  # the same, from a folder of maps or a picture

    CHECKS: ClassVar[Mapping[str, Check]] = {
        "motion": checks.text,
        "frames": checks.whole(2, 4096),
        "fps": checks.whole(1, 240),
        "seed": checks.whole(0, 2**32 - 1),
        "coat": checks.word,
        "coat_path": checks.word,
    }


class Step(Protocol):
    """What all of them can do; each is a frozen dataclass."""

    CHECKS: ClassVar[Mapping[str, Check]]  # field -> what it must be

    def moved(self, move: Callable[[str], str]) -> Self:
        """The step with the paths that it reads changed."""

    def check(self) -> None:
        """`InputError` when a file is not there."""

    def families(self) -> tuple[str, ...]:
        """The networks that it needs."""

    def apply(self, maps: Maps, tools: Tools) -> Steps:
        """Steps of work that return the changed maps; errors as those of the family, and of reading the files named."""


KINDS: dict[str, Any] = {
    "stylize": Stylize,
    "vary": Vary,
    "blend": Blend,
    "straighten": Straighten,
    "fit": Fit,
    "even": Even,
    "heal": Heal,
    "example": Example,
    "maps": Derive,
    "upscale": Upscale,
}


def kind_of(step: Step) -> str:
    """The key of `KINDS`."""
    return next(name for name, known in KINDS.items() if type(step) is known)


def closes(step: Step) -> bool:
    """Whether what comes of it tiles, by how it is made."""
    return isinstance(step, (Vary, Example)) or (isinstance(step, Heal) and step.seams)


def to_dict(step: Step) -> dict[str, Any]:
    """The step as plain data, with its kind under `do`."""
    return {"do": kind_of(step), **asdict(cast(Any, step))}
