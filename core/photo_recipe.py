"""The recipe that turns a photo into a material: the same for the command line, Blender and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import images
from .arguments import PARTS
from .errors import InputError

MULTIPLE = 8  # pixels: sides that every network takes
LARGEST = 2048  # pixels on a side that are worked at; beyond that detail is added, which takes far less time
ENOUGH = 0.75  # of the pixels asked for: a photo that has them is only scaled
EXEMPLAR = 1024  # pixels of the longer side of what textures are made of by example


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
    seed: int = 0
    without: frozenset[str] = field(default_factory=frozenset)  # some of `PARTS`

    def __post_init__(self) -> None:
        if odd := sorted(self.without - set(PARTS)):
            raise InputError(f"There is no step '{odd[0]}' to leave out; choose from {', '.join(PARTS)}.")


def steps(path: Path, wishes: Wishes) -> list[dict[str, Any]]:
    """The steps of the recipe, as plain data; errors as those of `images.size`."""
    if path.is_dir():
        raise InputError(f"'{path}' is a folder; give one photo.")
    width, height = images.size(path)
    made: list[dict[str, Any]] = []
    if wishes.mask:  # marks places of the whole photo
        wide, high = reduced(width, height, 2 * max(wishes.width, wishes.height))
        made += [_fit(wide, high), {"do": "heal", "mask": wishes.mask, "seed": wishes.seed}]
        width, height = wide, high
    if wishes.corners:
        made.append({"do": "straighten", "corners": list(wishes.corners)})
    factor = _factor(_available(width, height, wishes), wishes)
    made.append(_fit(_rounded(wishes.width / factor), _rounded(wishes.height / factor)))
    if "even" not in wishes.without:
        made.append({"do": "even"})
    heal: dict[str, Any] = {"denoise": wishes.denoise} if wishes.denoise else {}
    if "seamless" not in wishes.without:
        heal |= {"seams": True, "seed": wishes.seed}
    if heal:
        made.append({"do": "heal", **heal})
    if "maps" not in wishes.without:
        made.append({"do": "maps", "strength": wishes.strength, "delight": wishes.delight})
    if factor > 1:
        made.append({"do": "upscale", "factor": factor})
    made.append(_fit(wishes.width, wishes.height))
    return made


def example_steps(path: Path, width: int, height: int, seed: int, like: bool) -> list[dict[str, Any]]:
    """The steps that make a texture by example; a photo with more pixels than the texture is reduced first."""
    example = {"do": "example", "width": width, "height": height, "seed": seed, "like": like}
    if path.is_dir():
        return [example]
    size = images.size(path)
    fitted = reduced(*size, min(EXEMPLAR, max(width, height)))
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


def _factor(available: float, wishes: Wishes) -> int:
    """By how much detail is added at the end."""
    if "upscale" in wishes.without:
        return 1
    needed = max(ENOUGH / max(available, 1e-6), max(wishes.width, wishes.height) / LARGEST)
    return 1 if needed <= 1 else 2 if needed <= 2 else 4
