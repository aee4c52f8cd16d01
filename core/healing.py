"""Healing: what spoils a material or a photo is taken away, and a photo can be made to tile.

Three means, each where it is good. Noise, dead pixels and hairlines are for the network (family `restore`). What is
wider it only begins, as its best guess is soft there, and patches of the same picture take over (core/example.py). A
photo tiles when its edges are laid over one another (core/overlap.py), or when patches are laid where they meet
(core/example.py again): whichever hides best, as measured (core/seams.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import example, filling, overlap, progress, quality, relief
from .card import Card
from .errors import InputError
from .families import Runner, Steps, restore
from .filling import Mask
from .maps import Array, Maps
from .seams import badness, bands, even

NARROW = 3  # pixels: holes in which no square of this side fits are left to the network alone
AROUND = 6  # pixels around such squares that are filled with patches too
BAND = 12  # a side over this is how wide the bands are in which the edges of a photo are looked at
HIDDEN = 0.06  # badness below which nobody finds a seam: no other way is tried
SMALLEST = 64  # pixels: sides of a photo that can be made to tile


def heal(
    card: Card,
    runner: Runner,
    maps: Maps,
    mask: Mask | Array | None = None,
    denoise: float = 0.0,
    seams: bool = False,
) -> Steps:
    """Maps, or a photo as an albedo alone, healed.

    `mask` (H, W) is true, or above 0, where all maps are to be made anew; below 1 it mixes what is made with what was
    there. `denoise` from 0 to 1 takes noise out of the albedo. With `seams`, those between the edges are closed: what
    does not tile comes out tiling, at the same size. Nothing else changes. `InputError` for what cannot be had.
    """
    if "albedo" not in maps:
        raise InputError("There is no albedo to heal; give a picture, or a folder of maps with one.")
    restore.check(maps["albedo"], mask, denoise, False, card)
    if seams and min(maps.size) < SMALLEST:
        raise InputError(
            f"A picture of {'x'.join(map(str, maps.size))} is too small to be made to tile; "
            f"give one of at least {SMALLEST} pixels a side."
        )
    hole = None if mask is None or not (mask > 0).any() else mask > 0
    tiling = _tiling(maps, hole, card)
    healed = yield from progress.part(_restored(card, runner, maps, hole, denoise, all(tiling)), 0.0, 0.3)
    if mask is not None and hole is not None:
        wide = _wide(hole, all(tiling))
        if wide.any():
            healed = yield from progress.part(example.mend(healed, wide, all(tiling)), 0.3, 0.6)
        healed = _mixed(maps, healed, mask, denoise)
    if seams and not all(tiling):
        healed = yield from progress.part(_closed(healed, *tiling), 0.6, 1.0)
    return healed


def _tiling(maps: Maps, hole: Mask | None, card: Card) -> tuple[bool, bool]:
    """Whether the maps tile in x, and in y, but for the hole; sizes that the network cannot wrap are mirrored."""
    if hole is not None:
        filled = {name: filling.fill(image.transpose(2, 0, 1), hole, True) for name, image in maps.items()}
        maps = Maps({name: image.transpose(1, 2, 0) for name, image in filled.items()})
    across, down = quality.tiling(maps)
    fits = all(side % card.size.multiple == 0 and side >= card.size.minimum for side in maps.size)
    return across and fits, down and fits


def _restored(card: Card, runner: Runner, maps: Maps, hole: Mask | None, denoise: float, tiles: bool) -> Steps:
    """The albedo healed by the network, the other maps filled smoothly."""
    albedo = yield from restore.heal(card, runner, maps["albedo"], hole, denoise, tiles)
    made = {**maps.images, "albedo": albedo}
    if hole is None:
        return Maps(made, maps.relief)
    for name in maps:
        if name not in ("albedo", "normal"):
            made[name] = filling.fill(maps[name].transpose(2, 0, 1), hole, tiles).transpose(1, 2, 0)
    if "normal" in maps:
        made["normal"] = _bent(maps, made.get("height"), hole, tiles)
    return Maps({name: np.ascontiguousarray(image) for name, image in made.items()}, maps.relief)


def _bent(maps: Maps, height: Array | None, hole: Mask, tiles: bool) -> Array:
    """The normal map with its hole filled: from the filled height where that is told, else by its slopes."""
    slopes = relief.slopes(maps["normal"][..., 0], maps["normal"][..., 1])
    if height is not None and maps.relief:
        filled = relief.encode(height[..., 0] * np.float32(maps.relief))[0]
    else:
        filled = overlap.normal_of(*filling.fill(np.stack(slopes), hole, tiles))
    return np.where(hole[..., None], filled, maps["normal"])


def _mixed(maps: Maps, healed: Maps, mask: Mask | Array, denoise: float) -> Maps:
    """What was made, as far as the mask says; outside it only the albedo can have changed, by denoising."""
    share = np.clip(mask, 0, 1).astype(np.float32)[..., None]
    mixed = {}
    for name, image in healed.items():
        below = image if name == "albedo" and denoise else maps[name]
        mixed[name] = below + share * (image - below)
    return Maps(mixed, healed.relief)


def _wide(hole: Mask, tiles: bool) -> Mask:
    """The parts of a hole (H, W) that are wide: where a square fits, and a little around."""
    rim = NARROW + AROUND
    padded = np.pad(hole, rim, mode="wrap" if tiles else "symmetric")
    full = _boxes(padded, NARROW) == NARROW**2
    near = np.pad(full, NARROW - 1 + AROUND)
    found = _boxes(near, NARROW + 2 * AROUND) > 0
    wide: Mask = found[rim : rim + hole.shape[0], rim : rim + hole.shape[1]] & hole
    return wide


def _boxes(mask: Mask, side: int) -> NDArray[np.int64]:
    """How many pixels are true in each square (H - side + 1, W - side + 1)."""
    sums = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes: NDArray[np.int64] = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return boxes


def _closed(maps: Maps, across: bool, down: bool) -> Steps:
    """Maps that tile; `across` and `down` say where they do already."""
    width, height = maps.size
    flat = {name: image if name in ("normal", "metallic") else even(image) for name, image in maps.items()}
    photo = Maps(flat, maps.relief)
    smaller, place = overlap.lay(photo, not across, not down)
    best, least = smaller, badness(smaller["albedo"], photo["albedo"], place)
    yield 0.2
    if least > HIDDEN:
        made = yield from progress.part(example.synthesize(photo, width, height, like=True), 0.2, 1.0)
        wide = max(height, width) // BAND
        if badness(made["albedo"], photo["albedo"], bands(height, width, wide, not across, not down)) < least:
            best = made
    return overlap.stretched(best, width, height)
