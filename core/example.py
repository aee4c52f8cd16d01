"""Texture by example: a picture that tiles, of any size, made of pieces of another; no network, no training.

Coarse levels first, every place gets the patch of the example that fits best what is there (texture optimisation;
Kwatra et al. 2005, "Texture Optimization for Example-based Synthesis"), and pieces of the example grow as long as they
fit nearly as well (core/patches.py). A new texture begins as blocks laid at random, one that is to stay as it is as the
example itself; what repeats regularly does so a whole number of times (core/period.py). What stands where is known in
the end, and every map is laid the same way.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import period, relief, scaling
from .errors import InputError
from .maps import Array, Maps
from .patches import Mask, Patches, Sources, finer, vote
from .period import Lattice

SIDE = 7  # pixels on a side of a patch
BLEND = 5  # the same where pieces are faded into each other in the end
COARSEST = 48  # pixels: an example whose shorter side would be less is not halved again
SMALLEST = 32  # pixels of an example, and of what is made
SEARCHED = 5000  # patches that each place is compared with
COMPARED = 70_000  # places of a level up to which they are compared; finer ones go on with what the coarser ones found
BLOCK = 0.25  # side of the blocks that a new texture begins with, as a share of the example's shorter side
LONG, NARROW = 0.55, 0.1  # the same along and across boards, corrugated sheets and such, which repeat one way only
ROUNDS = (6, 4, 2)  # searches at each level, coarse first; the last number stands for all further ones
PHASE = 0.5  # how much the phase of a regular pattern counts, in standard deviations of the picture
LOYALTY = 1.0  # how much worse a fit is taken to keep pieces whole; see `Patches.cohere`
PLAIN = 1 / 255  # standard deviation below which an example is one colour
CHUNK = 512  # places that are compared at once
MARGIN = 32  # pixels of its mirror image around a picture with edges


@dataclass(frozen=True)
class _Level:
    """Example and result at one resolution."""

    example: Array  # (h, w, C): colours, and the phases of what repeats
    phases: Array  # (H, W, C - 3) those of the result
    known: Mask | None = None  # (h, w) where the result shows the example as it is, and where patches may be taken from


def synthesize(maps: Maps, width: int, height: int, seed: int = 0, like: bool = False) -> Generator[float, None, Maps]:
    """Maps of another size that tile, made of pieces of these; yields progress.

    With `like` the arrangement stays, repeated or cropped where the size differs, and only what does not meet is laid
    anew; else all of it is new, and another `seed` gives another one. `InputError` for what cannot be made.
    """
    _check(maps, width, height)
    if float(maps["albedo"].std((0, 1)).max()) < PLAIN:  # nothing to arrange
        yield 1.0
        return _laid(maps, _repeated(height, width, maps.size[1], maps.size[0]))
    maps, lattice = period.fitted(maps, width, height)
    start = (0, 0)
    if like:
        rows, columns = _whole(maps.size[1], lattice.down), _whole(maps.size[0], lattice.across)
        start = (maps.size[1] - rows) // 2, (maps.size[0] - columns) // 2  # the middle: patches end at the edges
        sources = _repeated(height, width, rows, columns) + np.array(start, np.int32)
    else:
        sources = _blocks(maps.size[::-1], (height, width), lattice, np.random.default_rng(seed))
    strength = PHASE * float(maps["albedo"].std())
    own, made = _phases(*maps.size[::-1], lattice, (0, 0)), _phases(height, width, lattice, start)
    finest = _Level(np.concatenate([maps["albedo"], strength * own], 2), strength * made)
    sources = yield from _optimised(_levels(finest), sources, lattice, start)
    return _laid(maps, sources)


def seamless(maps: Maps, seed: int = 0) -> Generator[float, None, Maps]:
    """Maps that tile, of the same size and arrangement; see `synthesize`."""
    return synthesize(maps, *maps.size, seed=seed, like=True)


def mend(maps: Maps, hole: Mask, tiles: bool, seed: int = 0) -> Generator[float, None, Maps]:
    """Maps whose `hole` (H, W) is filled with pieces of the rest; nothing else changes, and what tiles goes on tiling.

    Coarse levels first (after Wexler et al. 2007, "Space-Time Completion of Video"). `InputError` when too little is
    left to take from.
    """
    _check(maps, *maps.size)
    if not hole.any():
        yield 1.0
        return maps
    margin = 0 if tiles else MARGIN
    around = ((margin, margin), (margin, margin))
    padded = {name: np.pad(image, (*around, (0, 0)), mode="symmetric") for name, image in maps.items()}
    wide = Maps({name: np.ascontiguousarray(image) for name, image in padded.items()}, maps.relief)
    unknown = np.pad(hole, around, mode="symmetric")
    height, width = unknown.shape
    levels = _levels(_Level(wide["albedo"], np.empty((height, width, 0), np.float32), ~unknown))
    first = levels[0]
    assert first.known is not None
    spots = np.argwhere(np.lib.stride_tricks.sliding_window_view(first.known, (SIDE, SIDE)).all((2, 3))) + SIDE // 2
    if not len(spots):
        raise InputError("Too little is left beside what the mask marks; mark less of the picture.")
    sources = _repeated(height, width, height, width)
    scale = height // first.known.shape[0]
    draw = np.random.default_rng(seed).integers(len(spots), size=int(unknown.sum()))
    sources[unknown] = spots[draw] * scale
    sources = yield from _optimised(levels, sources, Lattice(0.0, 0.0), (0, 0))
    made = _laid(wide, sources)
    inside = np.s_[margin : margin + hole.shape[0], margin : margin + hole.shape[1]]
    filled = {name: np.where(hole[..., None], image[inside], maps[name]) for name, image in made.items()}
    return Maps(filled, maps.relief)


def _check(maps: Maps, width: int, height: int) -> None:
    if "albedo" not in maps:
        raise InputError("There is no albedo to take pieces from; give a picture, or a folder of maps with one.")
    for sides in (maps.size, (width, height)):
        if min(sides) < SMALLEST:
            raise InputError(f"{sides[0]} x {sides[1]} pixels are too few for pieces; {SMALLEST} a side are needed.")


def _levels(finest: _Level) -> list[_Level]:
    """The example and the result at every resolution, coarse first."""
    levels = [finest]
    while min(*levels[0].example.shape[:2], *levels[0].phases.shape[:2]) >= 2 * COARSEST:
        last = levels[0]
        example = np.ascontiguousarray(scaling.halved(last.example))
        known = None if last.known is None else _halved(last.known)
        levels.insert(0, _Level(example, scaling.halved(last.phases), known))
    return levels


def _phases(height: int, width: int, lattice: Lattice, start: tuple[int, int]) -> Array:
    """(H, W, 4) cosine and sine of the phase of what repeats down and across; zeros where nothing does."""
    planes = []
    for axis, (length, step) in enumerate(((height, lattice.down), (width, lattice.across))):
        angle = 2 * np.pi * (np.arange(length) + start[axis]) / (step or 1)
        for wave in (np.cos(angle), np.sin(angle)):
            line = (wave if step else 0 * wave).astype(np.float32)
            planes.append(np.broadcast_to(line[:, None] if axis == 0 else line[None], (height, width)))
    return np.stack(planes, -1)


def _halved(known: Mask) -> Mask:
    """A cell is known where all four of its pixels are."""
    height, width = known.shape[0] // 2, known.shape[1] // 2
    cells = known[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    halved: Mask = np.logical_and.reduce(cells, axis=(1, 3))
    return halved


def _whole(side: int, step: float) -> int:
    """The longest part of a side that is a whole number of steps."""
    return side if not step or step > side else max(1, round(int(side / step + 1e-3) * step))


def _repeated(height: int, width: int, rows: int, columns: int) -> Sources:
    """Sources of a result that shows so much of the example as it is, again and again where it is larger."""
    row, column = np.arange(height) % rows, np.arange(width) % columns
    return np.stack(np.broadcast_arrays(row[:, None], column[None]), -1).astype(np.int32)


def _blocks(room: tuple[int, int], sides: tuple[int, int], lattice: Lattice, random: np.random.Generator) -> Sources:
    """Sources of a result of these sides, of blocks from all over an example of `room`, moved by whole periods.

    Each block comes from another part of the example, in a random order, so that none is shown much more often.
    """
    sources = _repeated(*sides, *sides)
    steps = np.array([lattice.down, lattice.across])
    edges = [_edges(sides[axis], room[axis], min(room), steps[axis], steps[1 - axis]) for axis in (0, 1)]
    rows, columns = len(edges[0]) - 1, len(edges[1]) - 1
    for number, part in enumerate(random.permutation(rows * columns)):
        row, column = divmod(number, columns)
        start, end = np.array([edges[0][row], edges[1][column]]), np.array([edges[0][row + 1], edges[1][column + 1]])
        most = np.maximum(0, np.array(room) - (end - start))
        move = (np.array(divmod(int(part), columns)) + random.random(2)) / (rows, columns) * most - start
        whole = np.where(steps > 0, np.round(move / np.maximum(steps, 1)) * steps, move)
        whole += np.where((steps > 0) & (start + whole < 0), steps, 0)  # back into the example
        whole -= np.where((steps > 0) & (start + whole > most), steps, 0)
        sources[start[0] : end[0], start[1] : end[1]] += np.rint(whole).astype(np.int32)
    for axis in (0, 1):
        if steps[axis] and not steps[1 - axis]:  # boards do not all end at the same place
            for low, high in zip(edges[axis][:-1], edges[axis][1:], strict=True):
                line = np.s_[low:high] if axis == 0 else np.s_[:, low:high]
                sources[line] = np.roll(sources[line], random.integers(sides[1 - axis]), 1 - axis)
    return np.clip(sources, 0, np.array(room, np.int32) - 1)


def _edges(side: int, room: int, shorter: int, step: float, other: float) -> NDArray[np.int64]:
    """Where blocks begin and end along a side: boards are long and narrow, and a block that ends breaks them."""
    block = max(SIDE, BLOCK * shorter)
    if other and not step:
        block = LONG * room
    elif step:
        block = max(1, round((block if other else NARROW * shorter) / step)) * step
    return np.linspace(0, side, max(1, round(side / block)) + 1).astype(np.int64)


def _optimised(
    levels: list[_Level], sources: Sources, lattice: Lattice, start: tuple[int, int]
) -> Generator[float, None, Sources]:
    """Sources at the finest level, from a guess at them; yields progress."""
    work = np.cumsum([4.0**number for number in range(len(levels))])
    sources = _coarse(sources, levels)
    for number, level in enumerate(levels):
        if number:
            sources = _grown(sources, level)
        sources = _snapped(sources, lattice, start, 0.5 ** (len(levels) - 1 - number))
        patches = Patches(level.example, SEARCHED, SIDE, level.known)
        rounds = ROUNDS[min(number, len(ROUNDS) - 1)]
        for turn in range(rounds):
            sources = _improved(level, patches, sources)
            yield 0.95 * float((work[number] - 4.0**number * (1 - (turn + 1) / rounds)) / work[-1])
    return sources


def _coarse(sources: Sources, levels: list[_Level]) -> Sources:
    """The sources of the finest level as they are at the coarsest."""
    scale = 2 ** (len(levels) - 1)
    height, width = levels[0].phases.shape[:2]
    coarse: Sources = sources[scale // 2 :: scale, scale // 2 :: scale][:height, :width] // scale
    return coarse


def _grown(sources: Sources, level: _Level) -> Sources:
    """Sources at twice the resolution; what is known stands where it is."""
    height, width = level.phases.shape[:2]
    grown = finer(sources)
    grown = np.pad(grown, ((0, height - len(grown)), (0, width - grown.shape[1]), (0, 0)), mode="edge")  # an odd line
    return grown if level.known is None else _kept(grown, level.known)


def _kept(sources: Sources, known: Mask) -> Sources:
    own = _repeated(*known.shape, *known.shape)
    return np.where(known[..., None], own, sources)


def _snapped(sources: Sources, lattice: Lattice, start: tuple[int, int], scale: float) -> Sources:
    """Sources that were moved by `start` and nearly whole steps of a lattice, moved by whole ones; at a resolution."""
    own = _repeated(*sources.shape[:2], *sources.shape[:2])
    snapped = sources.copy()
    for axis, step in enumerate((lattice.down, lattice.across)):
        if step:
            move = sources[..., axis] - own[..., axis]
            steps = np.rint((move / scale - start[axis]) / step)
            whole = np.rint((steps * step + start[axis]) * scale).astype(np.int32)
            snapped[..., axis] = np.where(np.abs(move - whole) <= 2, own[..., axis] + whole, sources[..., axis])
    return snapped


def _improved(level: _Level, patches: Patches, sources: Sources) -> Sources:
    """One round: what the patches say together, and the patches that fit it better."""
    height, width = sources.shape[:2]
    estimate = patches.vote(sources)
    estimate[..., 3:] = level.phases
    around = SIDE // 2
    queries = patches.project(np.pad(estimate, ((around, around), (around, around), (0, 0)), mode="wrap"))
    best = (
        patches.sources(_nearest(patches, queries)).reshape(height, width, 2) if len(queries) <= COMPARED else sources
    )
    improved = patches.cohere(queries.reshape(height, width, -1), best, sources, LOYALTY)
    return improved if level.known is None else _kept(improved, level.known)


def _nearest(patches: Patches, queries: Array) -> NDArray[np.int64]:
    """For each query (n, D) the number of the nearest patch among the searched ones."""
    keys, penalty = patches.search
    nearest = np.empty(len(queries), np.int64)
    for top in range(0, len(queries), CHUNK):
        product = queries[top : top + CHUNK] @ keys
        product -= penalty
        nearest[top : top + CHUNK] = product.argmax(1)
    return nearest


def _laid(maps: Maps, sources: Sources) -> Maps:
    """All maps, their pixels taken from the sources, and faded where pieces meet."""
    made = {}
    for name, image in maps.items():
        if name == "normal":
            continue
        made[name] = np.clip(vote(np.ascontiguousarray(image), sources, BLEND), 0, 1)
    depth = maps.relief
    if "normal" in maps:
        slopes = np.stack(relief.slopes(maps["normal"][..., 0], maps["normal"][..., 1]), -1)
        laid = vote(slopes, sources, BLEND)
        # Heights of pieces that meet differ, though their slopes agree: the surface is built anew from the slopes.
        made["normal"], height, own = relief.encode(relief.integrate(laid[..., 0], laid[..., 1]))
        if "height" in maps:
            made["height"], depth = height, own
    return Maps(made, depth)
