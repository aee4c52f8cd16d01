"""Which of a few places each pixel is taken from, so that the joints between the pieces show least.

The sum over neighbours of what a joint between them shows (Kwatra et al. 2003, "Graphcut Textures", section 3) is made
small by min-sum belief propagation (Felzenszwalb and Huttenlocher 2006, "Efficient Belief Propagation for Early
Vision"): no graph cut without loops in Python, and any number of pieces at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .maps import Array
from .matching import Indices, Mask, Sources

ROUNDS = 40
DAMPING = 0.5  # of a message that is kept from the round before: without, loops swing
NOWHERE = 100.0  # what a place that cannot be taken costs, in units of the features' deviation
STEPS = ((0, 1), (1, 0))

_Pairs = tuple[Indices, Indices, Array]  # pixels, their neighbours, and what each pair of places shows (K, K, m)


@dataclass(frozen=True)
class Stock:
    """What can be taken from: features (h, w, C) and which of them are usable; wraps if it `tiles`."""

    features: Array
    usable: Mask
    tiles: bool

    def at(self, places: Sources) -> tuple[Array, Mask]:
        """(features (..., C), whether they are usable (...)) at places (..., 2)."""
        size = np.array(self.usable.shape, np.int32)
        inside = places % size
        number = inside[..., 0].astype(np.int64) * size[1] + inside[..., 1]
        there = self.usable.reshape(-1).take(number)
        if not self.tiles:
            there &= (inside == places).all(-1)
        return self.features.reshape(-1, self.features.shape[2]).take(number, 0), there


def choose(stock: Stock, free: Mask, places: Sources, dislike: Array, known: Array | None) -> tuple[Indices, float]:
    """Numbers (n,) of the places chosen for the n pixels of a torus that are `free` (H, W), in their order.

    And what is seen of the joints between them, as a mean over the pixels.

    `places` (n, K, 2) are the choices and `dislike` (n, K) what each costs by itself, in units of the features'
    deviation. Where the torus is not free it shows `known` (H, W, C).
    """
    height, width = free.shape
    unit = np.float32(max(float(np.sqrt(stock.features.var((0, 1)).sum())), 1e-6))
    number = np.full((height, width), -1, np.int64)
    rows, columns = np.nonzero(free)
    number[rows, columns] = np.arange(len(rows))
    _, there = stock.at(places)
    cost = dislike + np.where(there, np.float32(0), np.float32(NOWHERE))
    pairs: list[_Pairs] = []
    for down, across in (*STEPS, (0, -1), (-1, 0)):
        beside = number[(rows + down) % height, (columns + across) % width]
        step = np.array((down, across), np.int32)
        if (down, across) in STEPS:
            first = np.flatnonzero(beside >= 0)
            second = beside[first]
            pairs.append((first, second, _shown(stock, places[first], places[second], step, unit)))
        edge = np.flatnonzero(beside < 0)
        if known is not None and len(edge):
            found, there = stock.at(places[edge] + step)
            other = known[(rows[edge] + down) % height, (columns[edge] + across) % width]
            difference = np.sqrt(((found - other[:, None]) ** 2).sum(-1)) / unit
            cost[edge] += np.where(there, difference, np.float32(1))
    chosen = _passed(np.ascontiguousarray(cost.T), pairs)
    seen = sum(float(shown[chosen[one], chosen[other], np.arange(len(one))].sum()) for one, other, shown in pairs)
    return chosen, seen / len(chosen)


def _shown(stock: Stock, first: Sources, second: Sources, step: NDArray[np.int32], unit: np.float32) -> Array:
    """(K, K, m) what a joint shows between pixels taken from `first` (m, K, 2) and, one step on, from `second`."""
    here, _ = stock.at(first)
    on, on_there = stock.at(first + step)
    there, _ = stock.at(second)
    back, back_there = stock.at(second - step)
    choices = first.shape[1]
    shown = np.empty((choices, choices, len(first)), np.float32)
    for one in range(choices):
        for other in range(choices):
            before = _distance(here[:, one], back[:, other])
            after = _distance(on[:, one], there[:, other])
            before = np.where(back_there[:, other], before, unit)
            after = np.where(on_there[:, one], after, unit)
            same = (first[:, one] + step == second[:, other]).all(-1)
            shown[one, other] = np.where(same, np.float32(0), (before + after) / unit)
    return shown


def _distance(one: Array, other: Array) -> Array:
    difference = one - other
    distance: Array = np.sqrt(np.einsum("nc,nc->n", difference, difference))
    return distance


def _passed(cost: Array, pairs: list[_Pairs]) -> Indices:
    """The choices (n,) of least cost (K, n), as messages between neighbours find them."""
    messages = [(np.zeros_like(cost), np.zeros_like(cost)) for _ in pairs]
    for _ in range(ROUNDS):
        total = cost + sum(forth + back for forth, back in messages)
        for (first, second, shown), (forth, back) in zip(pairs, messages, strict=True):
            # `forth` tells a pixel what the one before it along the step thinks, `back` the one after it.
            onwards = _least(shown, (total - back)[:, first])
            backwards = _least(shown.swapaxes(0, 1), (total - forth)[:, second])
            for message, at, told in ((forth, second, onwards), (back, first, backwards)):
                told -= told.min(0)
                message[:, at] = DAMPING * message[:, at] + (1 - DAMPING) * told
    total = cost + sum(forth + back for forth, back in messages)
    chosen: Indices = total.argmin(0)
    return chosen


def _least(shown: Array, thought: Array) -> Array:
    """(K, m): for each choice of the second pixel the least of what is shown (K, K, m) and thought (K, m) of the first.

    One choice of the first after the other: sums over a short axis would take many times longer.
    """
    least: Array = shown[0] + thought[0]
    for one in range(1, len(shown)):
        np.minimum(least, shown[one] + thought[one], out=least)
    return least
