"""Holes filled from the rest of the same picture: coarse to fine, each pixel the mean of what the patches around say.

Wexler, Shechtman and Irani 2007, "Space-Time Completion of Video", section 3; at the finer levels whole pieces move
their joints instead (core/matching.py), which is as sharp as the picture.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from . import layout
from .errors import InputError
from .maps import Array
from .matching import REACH, Exemplar, Indices, Mask, Sources, around, correct, widened
from .scaling import halved

THIN = 3  # pixels from a hole's border to its middle at the coarsest level
LEAST = 20  # pixels of the shorter side at the coarsest level
SEARCHED = 2**28  # products of patches for which all of them are looked at
ROUNDS, ROUNDS_FINER = 10, 4  # searches at the coarsest level, and at the finer ones at which pixels are means
PASSES = 4  # corrections at the levels at which pieces are moved
SOFT = 0.5  # how much a patch that fits badly counts: the mean misfit is this many of the weight's deviations


def finer(sources: Sources, height: int, width: int) -> Sources:
    """The same sources at twice the resolution, (height, width, 2): each pixel becomes four, and so does its place."""
    doubled = sources.repeat(2, 0).repeat(2, 1) * 2
    doubled[1::2, :, 0] += 1
    doubled[:, 1::2, 1] += 1
    return np.ascontiguousarray(doubled[:height, :width])


def fill(features: Array, shown: int, hole: Mask, tiles: bool, seed: int) -> Generator[float, None, Sources]:
    """Places (H, W, 2) for each pixel: itself outside the hole, others of the same picture (H, W, C) in it.

    The first `shown` channels are unknown in the hole, the others known. `InputError` when no patch is left outside.
    """
    if tiles:
        return (yield from _fill(features, shown, hole, hole, True, seed))
    margin = REACH * 2 ** _depth(hole)
    edges = ((margin, margin), (margin, margin))
    mirrored = np.pad(features, (*edges, (0, 0)), "symmetric")
    missing = np.pad(hole, edges, "symmetric")
    beyond = np.pad(np.zeros_like(hole), edges, constant_values=True)
    sources = yield from _fill(mirrored, shown, missing, missing | beyond, False, seed)
    return sources[margin:-margin, margin:-margin] - np.int32(margin)


def _depth(hole: Mask) -> int:
    """How often a picture is halved until its hole is thin."""
    depth = 0
    while min(hole.shape) >= 2 * LEAST and (~widened(~hole, THIN)).any():
        hole, depth = _halved(hole), depth + 1
    return depth


def _halved(mask: Mask) -> Mask:
    height, width = (side // 2 * 2 for side in mask.shape)
    parts = mask[:height, :width].reshape(height // 2, 2, width // 2, 2)
    found: Mask = parts.any(3).any(1)
    return found


def _fill(
    features: Array, shown: int, hole: Mask, unusable: Mask, tiles: bool, seed: int
) -> Generator[float, None, Sources]:
    levels = [(features, hole, unusable)]
    for _ in range(_depth(hole)):
        levels.insert(0, (halved(levels[0][0]), _halved(levels[0][1]), _halved(levels[0][2])))
    random = np.random.default_rng(seed)
    sources: Sources | None = None
    for number, (picture, missing, spoilt) in enumerate(levels):
        exemplar = Exemplar(picture, ~spoilt, tiles)
        if not len(exemplar.places):
            raise InputError("The hole leaves nothing of the picture to fill it from; mark less of it.")
        image = picture.copy()
        rows, columns = np.nonzero(widened(missing, REACH))
        if sources is None:
            image[..., :shown] = _smooth(image[..., :shown], missing)
            sources = np.stack(np.indices(missing.shape), -1).astype(np.int32)
        else:
            sources = finer(sources, *missing.shape)
            outside = ~widened(missing, REACH)
            sources[outside] = np.stack(np.nonzero(outside), -1)
            _, there = exemplar.flattened(sources[rows, columns])
            lost = ~there
            sources[rows[lost], columns[lost]] = _random(exemplar, int(lost.sum()), random)
            _vote(exemplar, sources, image[..., :shown], missing, None)
        thorough = len(rows) * len(exemplar.places) <= SEARCHED
        if number == 0 or thorough:
            for turn in range(ROUNDS_FINER if number else ROUNDS):
                distance = _search(exemplar, sources, image, rows, columns, thorough, random)
                _vote(exemplar, sources, image[..., :shown], missing, distance if turn else None)
                yield _told(number, len(levels), turn / ROUNDS)
        if number == len(levels) - 1 or not thorough:
            image[missing] = exemplar.gather(sources[missing])
            places = np.stack(np.nonzero(~missing), -1)
            sources[~missing] = places
            for turn, _ in enumerate(correct(exemplar, sources, image, PASSES, missing)):
                yield _told(number, len(levels), turn / PASSES)
    if sources is None:
        raise ValueError("there is always a level")
    return sources


def _told(number: int, count: int, share: float) -> float:
    """Progress: each level takes four times as long as the one before."""
    return float((4.0**number * (1 + 3 * share)) / 4.0**count)


def _smooth(image: Array, hole: Mask) -> Array:
    """The picture with its hole filled from the border inwards, each ring the mean of what it touches."""
    image = image * ~hole[..., None]
    known = ~hole
    while not known.all():
        total, count = np.zeros_like(image), np.zeros(hole.shape, np.float32)
        for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            total += np.roll(image, (down, across), (0, 1))
            count += np.roll(known, (down, across), (0, 1))
        ring = ~known & (count > 0)
        image[ring] = total[ring] / count[ring, None]
        known = known | ring
    return image


def _random(exemplar: Exemplar, count: int, random: np.random.Generator) -> Sources:
    """Patches drawn at random, (count, 2)."""
    drawn = exemplar.places[random.integers(len(exemplar.places), size=count)]
    return np.stack([drawn // exemplar.width, drawn % exemplar.width], -1).astype(np.int32)


def _search(
    exemplar: Exemplar,
    sources: Sources,
    image: Array,
    rows: Indices,
    columns: Indices,
    thorough: bool,
    random: np.random.Generator,
) -> Array:
    """Find better patches, in place; (H, W) squared distances, 0 where none was looked for."""
    queries = exemplar.project(image, rows, columns)
    if thorough:
        best, lowest = exemplar.nearest(queries)
    else:  # as in Barnes et al. 2009, "PatchMatch": what the neighbours found, and places around it
        best = sources[rows, columns]
        lowest = exemplar.distance(queries, best)
        for candidate in around(sources, rows, columns):
            distance = exemplar.distance(queries, candidate)
            best = np.where((distance < lowest)[:, None], candidate, best)
            lowest = np.minimum(distance, lowest)
    sources[rows, columns] = best
    found = np.zeros(sources.shape[:2], np.float32)
    found[rows, columns] = lowest
    return found


def _vote(exemplar: Exemplar, sources: Sources, image: Array, hole: Mask, distance: Array | None) -> None:
    """Fill the hole, in place, with the mean of what all patches that overlap a pixel say, good ones more."""
    rows, columns = np.nonzero(hole)
    height, width = hole.shape
    total = np.zeros((len(rows), image.shape[2]), np.float32)
    weights = np.zeros((len(rows), 1), np.float32)
    trust = np.ones_like(hole, np.float32)
    if distance is not None and distance.any():
        trust = np.exp(distance * np.float32(-SOFT / distance[distance > 0].mean()))
    for down in range(-REACH, REACH + 1):
        for across in range(-REACH, REACH + 1):
            at = (rows - down) % height, (columns - across) % width
            weight = trust[at][:, None]
            total += weight * exemplar.gather(sources[at] + np.array((down, across), np.int32))[:, : image.shape[2]]
            weights += weight
    image[rows, columns] = total / weights


def fill_quilt(features: Array, shown: int, hole: Mask, tiles: bool, seed: int) -> Generator[float, None, Sources]:
    levels = [(features, hole)]
    while max(levels[0][1].shape) > 1.5 * 128 and min(levels[0][1].shape) >= 2 * 24:
        levels.insert(0, (halved(levels[0][0]), _halved(levels[0][1])))
    margin = 0 if tiles else REACH
    edges = ((margin, margin), (margin, margin))
    sources = None
    for number, (picture, missing) in enumerate(levels):
        spoilt = np.pad(missing, edges, constant_values=True)
        picture = np.pad(picture, (*edges, (0, 0)), "symmetric")
        missing = np.pad(missing, edges, "symmetric")
        exemplar = Exemplar(picture, ~spoilt, tiles)
        if sources is None:
            plan = picture.copy()
            plan[spoilt] += 20 * plan.std()
            kept = ~missing
            flat = layout.relay(layout.Example(plan, tiles), kept, np.random.default_rng(seed))
            sources = np.stack([flat // plan.shape[1], flat % plan.shape[1]], -1).astype(np.int32)
        else:
            inner = tuple(side - 2 * margin for side in missing.shape)
            sources = (
                finer(sources[margin : len(sources) - margin, margin : sources.shape[1] - margin] - margin, *inner)
                + margin
            )
            sources = np.pad(sources, (*edges, (0, 0)), "symmetric")
        sources[~missing] = np.stack(np.nonzero(~missing), -1)
        image = exemplar.gather(sources)
        for turn, _ in enumerate(correct(exemplar, sources, image, PASSES, missing, 0.0 if number else 0.4)):
            yield _told(number, len(levels), turn / PASSES)
    sources = sources[margin : len(sources) - margin, margin : sources.shape[1] - margin] - np.int32(margin)
    return np.clip(sources, 0, np.array(hole.shape) - 1).astype(np.int32)
