"""Steps of a recipe that turn a photo into a material."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from . import checks, images, photo, scaling
from .checks import Check
from .errors import InputError
from .families import Steps
from .maps import Array, Maps
from .tools import Tools

_SEED = checks.whole(0, 2**32 - 1)
_SIDE = checks.whole(8, images.MAX_SIDE)


class _Plain:
    """A step that reads no file and runs no network."""

    def moved(self, _move: Callable[[str], str]) -> Self:
        """The same: it reads nothing."""
        return self

    def check(self) -> None:
        """Nothing can be missing."""

    def families(self) -> tuple[str, ...]:
        """No network."""
        return ()


@dataclass(frozen=True)
class Straighten(_Plain):
    """Take what lies between four corners of a photo, as seen from straight above."""

    corners: tuple[
        float, ...
    ]  # x and y of upper left, upper right, lower right, lower left: shares of width and height

    CHECKS: ClassVar[Mapping[str, Check]] = {"corners": checks.numbers(8, 0, 1)}

    def apply(self, maps: Maps, _tools: Tools) -> Steps:
        """See `Step.apply`."""
        if set(maps) != {"albedo"}:
            raise InputError("Only a picture can be straightened: the normals of maps would stand askew.")
        return _made(lambda: Maps({"albedo": photo.straightened(maps["albedo"], self.corners)}))


@dataclass(frozen=True)
class Fit(_Plain):
    """Crop the middle to these proportions and bring it to this size; what tiles is not cropped but stretched."""

    width: int  # pixels
    height: int  # pixels

    CHECKS: ClassVar[Mapping[str, Check]] = {"width": _SIDE, "height": _SIDE}

    def apply(self, maps: Maps, tools: Tools) -> Steps:
        """See `Step.apply`."""
        return _made(lambda: self._fitted(maps, tools))

    def _fitted(self, maps: Maps, tools: Tools) -> Maps:
        if maps.size == (self.width, self.height):
            return maps
        if tools.tiles(maps):
            return scaling.fitted(maps, self.width, self.height, tiles=True)
        fitted = {name: photo.fitted(image, self.width, self.height) for name, image in maps.items()}
        wide = min(maps.size[0], maps.size[1] * self.width / self.height)  # pixels that were kept
        return Maps(fitted, maps.relief * self.width / wide)


@dataclass(frozen=True)
class Even(_Plain):
    """Take out light that falls off over large distances."""

    amount: float = 1.0

    CHECKS: ClassVar[Mapping[str, Check]] = {"amount": checks.number(0, 1)}

    def apply(self, maps: Maps, _tools: Tools) -> Steps:
        """See `Step.apply`."""
        return _made(lambda: Maps({**maps, "albedo": photo.evened(_albedo(maps), self.amount)}, maps.relief))


@dataclass(frozen=True)
class Heal:
    """Mend what a mask marks, take out noise, make a picture tile."""

    mask: str = ""  # path of a picture whose light parts are to be replaced
    denoise: float = 0.0  # 0 changes nothing, 1 smooths strong noise
    seams: bool = False  # the borders are changed so that the picture tiles

    CHECKS: ClassVar[Mapping[str, Check]] = {
        "mask": checks.word,
        "denoise": checks.number(0, 1),
        "seams": checks.truth,
    }

    def moved(self, move: Callable[[str], str]) -> Heal:
        """The step with the path of its mask changed."""
        return replace(self, mask=move(self.mask)) if self.mask else self

    def check(self) -> None:
        """`InputError` when the mask is not there."""
        if self.mask and not Path(self.mask).is_file():
            raise InputError(f"There is no mask '{self.mask}'; check the path.")

    def families(self) -> tuple[str, ...]:
        """The network for noise and narrow holes; wide ones and seams are mended with pieces of the picture itself."""
        return ("restore",)

    def apply(self, maps: Maps, tools: Tools) -> Steps:
        """See `Step.apply`."""
        from . import healing

        mask = _mask(self.mask, maps) if self.mask else None
        return healing.heal(*tools.open("restore"), maps, mask, self.denoise, self.seams)


@dataclass(frozen=True)
class Example(_Plain):
    """Make a new texture that tiles out of pieces of this one."""

    width: int  # pixels
    height: int  # pixels
    seed: int = 0
    like: bool = False  # keep the arrangement and change only what does not meet at the borders

    CHECKS: ClassVar[Mapping[str, Check]] = {"width": _SIDE, "height": _SIDE, "seed": _SEED, "like": checks.truth}

    def apply(self, maps: Maps, _tools: Tools) -> Steps:
        """See `Step.apply`."""
        from . import example

        return example.synthesize(maps, self.width, self.height, self.seed, self.like)


@dataclass(frozen=True)
class Derive(_Plain):
    """Tell the maps that are missing from the albedo."""

    strength: float = 1.0  # of the relief
    delight: float = 1.0  # share of the light and shadow found that is taken out of the albedo

    CHECKS: ClassVar[Mapping[str, Check]] = {"strength": checks.number(0, 4), "delight": checks.number(0, 1)}

    def families(self) -> tuple[str, ...]:
        """The network that reads maps from pictures."""
        return ("material_maps",)

    def apply(self, maps: Maps, tools: Tools) -> Steps:
        """See `Step.apply`."""
        return self._derived(maps, tools)

    def _derived(self, maps: Maps, tools: Tools) -> Steps:
        from .families import material_maps

        options = material_maps.Options(self.strength, self.delight)
        found = yield from material_maps.derive(*tools.open("material_maps"), _albedo(maps), tools.tiles(maps), options)
        given = {name: image for name, image in maps.items() if name != "albedo"}
        own = {name for name in ("normal", "height") if name in given}
        # A surface that is given wholly or by half stays as it is: two that disagree are worse than one.
        kept = {name: image for name, image in found.items() if not own or name not in ("normal", "height")}
        return Maps({**kept, **given}, maps.relief if own else found.relief)


@dataclass(frozen=True)
class Upscale(_Plain):
    """More pixels, with the detail that such surfaces have."""

    factor: int = 2

    CHECKS: ClassVar[Mapping[str, Check]] = {"factor": checks.one_of(2, 4)}

    def families(self) -> tuple[str, ...]:
        """The network that adds detail."""
        return ("upscale",)

    def apply(self, maps: Maps, tools: Tools) -> Steps:
        """See `Step.apply`."""
        from .families import upscale

        return upscale.enlarge(*tools.open("upscale"), maps, self.factor, tools.tiles(maps))


def _made(work: Callable[[], Maps]) -> Generator[float, None, Maps]:
    """A step of work that is done at once."""
    yield 0.0
    return work()


def _albedo(maps: Maps) -> Array:
    if "albedo" not in maps:
        raise InputError("There is no albedo map to work on; add one.")
    return maps["albedo"]


def _mask(path: str, maps: Maps) -> Array:
    """A mask (H, W) in [0, 1] at the size of the maps; `InputError` when its proportions are others."""
    mask = np.clip(images.read(path), 0, 1).mean(2)
    width, height = maps.size
    if abs(mask.shape[1] * height - mask.shape[0] * width) > 0.02 * mask.shape[1] * height:
        raise InputError(
            f"The mask '{Path(path).name}' has {mask.shape[1]} x {mask.shape[0]} pixels and the picture {width} x "
            f"{height}; give one of the same proportions."
        )
    return np.ascontiguousarray(scaling.resized(mask[..., None], height, width)[..., 0])
