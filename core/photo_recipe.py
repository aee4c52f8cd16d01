"""The recipe that turns a photo into a material: the same for the command line, Blender and scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import images
from . import steps as kinds
from .arguments import PARTS
from .errors import InputError
from .photo_steps import Heal
from .recipe import Recipe, from_dict
from .steps import Step

MULTIPLE = 8  # pixels: sides that every network takes
LARGEST = 2048  # pixels on a side that are worked at; beyond that detail is added, which takes far less time
SMALLEST = 64  # pixels on a side that are worked at, if so many are wanted
ENOUGH = 0.75  # of the pixels asked for: a photo that has them is only scaled
EXEMPLAR = 1024  # pixels of the longer side of what textures are made of by example
DERIVED = ("normal", "height", "roughness", "ao")  # maps that are told from a photo

# The steps that `steps` makes, in its order; "mend" is the one that heals by a mask.
_PLAN = re.compile("(fit mend )?(straighten )?fit (even )?(heal )?(example )?(maps )?(upscale )?(fit )?")


@dataclass(frozen=True)
class Wishes:
    """What becomes of a photo."""

    width: int  # pixels of the result
    height: int  # pixels
    corners: Sequence[float] = ()  # see `photo_steps.Straighten`; none for the middle of the photo
    mask: str = ""  # path of a picture whose light parts are mended
    denoise: float = 0.0
    strength: float = 1.0  # of the relief
    delight: float = 1.0  # share of light and shadow that is taken out of the colours
    seed: int = 0  # of a fresh arrangement
    fresh: bool = False  # a new arrangement, by example, that tiles; else the photo is changed at its borders only
    without: frozenset[str] = field(default_factory=frozenset)  # some of `PARTS`

    def __post_init__(self) -> None:
        if odd := sorted(self.without - set(PARTS)):
            raise InputError(f"There is no step '{odd[0]}' to leave out; choose from {', '.join(PARTS)}.")

    @property
    def maps(self) -> tuple[str, ...]:
        """The maps that come of it."""
        return ("albedo", *(() if "maps" in self.without else DERIVED))


def steps(path: Path, wishes: Wishes) -> list[dict[str, Any]]:
    """The steps of the recipe, as plain data, of which `wishes_of` reads the wishes; errors as those of `images.size`.

    The last step brings the result to its size where it may be enlarged or the networks took another one.
    """
    if path.is_dir():
        raise InputError(f"'{path}' is a folder; give one photo.")
    width, height = images.size(path)
    made: list[dict[str, Any]] = []
    if wishes.mask:  # marks places of the whole photo
        wide, high = reduced(width, height, 2 * max(wishes.width, wishes.height))
        made += [_fit(wide, high), {"do": "heal", "mask": wishes.mask}]
        width, height = wide, high
    if wishes.corners:
        made.append({"do": "straighten", "corners": list(wishes.corners)})
    share = _share(_available(width, height, wishes), wishes)
    factor = next(n for n in (1, 2, 4) if n * share >= 1)
    worked = _fit(_rounded(wishes.width * share), _rounded(wishes.height * share))
    made.append(worked)
    if "even" not in wishes.without:
        made.append({"do": "even"})
    heal: dict[str, Any] = {"denoise": wishes.denoise} if wishes.denoise else {}
    seamless = "seamless" not in wishes.without
    if seamless and not wishes.fresh:
        heal |= {"seams": True}
    if heal:
        made.append({"do": "heal", **heal})
    if seamless and wishes.fresh:
        made.append({**worked, "do": "example", "seed": wishes.seed})
    if "maps" not in wishes.without:
        made.append({"do": "maps", "strength": wishes.strength, "delight": wishes.delight})
    if factor > 1:
        made.append({"do": "upscale", "factor": factor})
    last = _fit(wishes.width, wishes.height)
    return made if "upscale" in wishes.without and worked == last else [*made, last]


def wishes_of(recipe: Recipe) -> Wishes | None:
    """What was wished of the photo of a recipe; None when its steps do not begin as those of `steps` do.

    What left no trace has its default: a seed that nothing was drawn by, and the leave to enlarge where the sides are
    no multiples of 8.
    """
    plan = _plan(recipe)
    done: dict[str, Any] = dict(plan)
    fits: list[Any] = [step for name, step in plan if name == "fit"]
    worked = fits[1 if "mend" in done else 0 :]
    fresh, mend, heal, derive = done.get("example"), done.get("mend"), done.get("heal", Heal()), done.get("maps")
    if not worked or (fresh and (fresh.width, fresh.height) != (worked[0].width, worked[0].height)):
        return None
    there = {
        "even": "even" in done,
        "seamless": fresh is not None or heal.seams,
        "maps": derive is not None,
        "upscale": len(worked) > 1,
    }
    return Wishes(
        worked[-1].width,
        worked[-1].height,
        done["straighten"].corners if "straighten" in done else (),
        mend.mask if mend else "",
        heal.denoise,
        seed=fresh.seed if fresh else 0,
        fresh=fresh is not None,
        without=frozenset(part for part, is_there in there.items() if not is_there),
        **({"strength": derive.strength, "delight": derive.delight} if derive else {}),
    )


def resized(recipe: Recipe, width: int, height: int) -> Recipe:
    """The recipe of a photo at another size, with the same wishes and the same further steps.

    `InputError` when its steps are not those of `steps`; other errors as those of `images.size`.
    """
    wishes = wishes_of(recipe)
    if wishes is None:
        raise InputError("This was read from files and has the size of those or of its steps; make it without another.")
    further = [kinds.to_dict(step) for step in recipe.steps[len(_plan(recipe)) :]]
    made = steps(Path(recipe.path), replace(wishes, width=width, height=height))
    return from_dict({**recipe.to_dict(), "steps": [*made, *further]})


def _plan(recipe: Recipe) -> list[tuple[str, Step]]:
    """The first steps of a recipe, with their names, as far as they are those of a photo."""
    names = ["mend" if isinstance(step, Heal) and step.mask else kinds.kind_of(step) for step in recipe.steps]
    found = _PLAN.match("".join(f"{name} " for name in names)) if recipe.path else None
    return list(zip(found[0].split(), recipe.steps, strict=False)) if found else []


def example_steps(path: Path, width: int, height: int, seed: int, like: bool) -> list[dict[str, Any]]:
    """The steps that make a texture by example; a photo with more pixels than the texture is reduced first."""
    example = {"do": "example", "width": width, "height": height, "seed": seed, "like": like}
    if path.is_dir():
        return [example]
    size = images.size(path)
    fitted = reduced(*size, min(EXEMPLAR, max(width, height, SMALLEST)))
    return [_fit(*fitted), example]


def reduced(width: int, height: int, longest: int) -> tuple[int, int]:
    """A size of nearly these proportions, its sides multiples of 8 and the longer one at most `longest`, or 8."""
    scale = min(1.0, longest / max(width, height))
    return _rounded(width * scale), _rounded(height * scale)


def _rounded(side: float) -> int:
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)


def _fit(width: int, height: int) -> dict[str, Any]:
    return {"do": "fit", "width": width, "height": height}


def _available(width: int, height: int, wishes: Wishes) -> float:
    """Pixels of the photo for each pixel of the result, along a side."""
    if wishes.corners:
        x, y = ([share * side for share in wishes.corners[n::2]] for n, side in ((0, width), (1, height)))
        width, height = round(max(x) - min(x)), round(max(y) - min(y))
    return min(width / wishes.width, height / wishes.height)


def _share(available: float, wishes: Wishes) -> float:
    """Pixels that are worked at for each pixel of the result, along a side, from a quarter to 1.

    As many as the photo has, as long as it takes no time for nothing; the rest is added in the end.
    """
    if "upscale" in wishes.without:
        return 1.0
    enough = 1.0 if available >= ENOUGH else available
    least = max(0.25, SMALLEST / min(wishes.width, wishes.height))
    return min(1.0, max(least, min(enough, LARGEST / max(wishes.width, wishes.height))))
