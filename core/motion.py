"""What drives textures that move: fields on the torus that come back after a lap, so that what follows them loops.

A motion is a network (core/families/recurrent.py) and a *drive*: what is pushed at it in each step. The networks
forget: under a drive that repeats, their states repeat too, once a lap has passed.

    flow      a steady current carries two layers of the material. Each is renewed, from another place of the torus,
              while the other hides it.
    growth    seeds and a tide: while it is in, a coat spreads from seed to seed, over hollows first; then it withdraws.
    shimmer   drops fall on a thin sheet of water over the material.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .maps import Array

# Cells are those of the codec's latent, 4x4 pixels; a step is one turn of the network.
LAP = 48  # steps that a lap takes at least: coats need them to spread and to withdraw, rings to fade
LIFE = 20  # steps, about, between two renewals of a layer: more would stretch it out of shape
SPEED = 0.32  # cells a step, of the current as a whole
EDDIES = 0.55  # speed of the eddies (root of the mean square), as a share of it
FASTEST = 0.95  # cells a step: the network sees one cell far
EDDY = 26.0  # cells from one eddy to the next
UNEVEN = 0.05  # of a life: how much renewals differ from place to place, so that the whole does not pulse
FIRST = 0.15  # age of the first layer, in lives, where a lap begins: there least changes
RENEWING = 3  # steps: until what flows in has been renewed as well
SEED_AREA = 110  # cells for each seed of a coat
DROP_AREA = 110  # cells for each drop of a lap
CALM = 6  # steps with few drops, after which a lap begins
DROP = 1.3  # cells: radius of a drop
TIDE_IN = 0.52  # of a lap: how long a coat grows
EBB = (0.32, 0.75)  # how strongly it is driven back then: at first, and what is added until the lap ends, all bare


@dataclass(frozen=True)
class Lap:
    """The drive of one lap."""

    steps: int  # of the network in a lap
    at: Callable[[int], Array]  # step -> drive (1, D, h, w); step + `steps` gives the same again


def steps_of(frames: int) -> int:
    """Steps between two frames, such that a lap has at least `LAP`."""
    return -(-LAP // frames)


def flow(height: int, width: int, steps: int, random: np.random.Generator) -> Lap:
    """(1, 9, h, w): current in cells a step (across, down), share of the second layer, renewal of each layer (0 or 1),
    and where its cells come from then (across, down, for each layer).
    """
    current = current_of(height, width, random)
    start = UNEVEN * smooth(height, width, EDDY, random)
    lives = max(1, round(steps / LIFE))
    sources = random.integers((-width // 2, -height // 2), (width // 2 + 1, height // 2 + 1), (lives, 2, 2))
    renewing = RENEWING * lives / steps

    def at(step: int) -> Array:
        times = [step * lives / steps + start + half for half in (FIRST, FIRST + 0.5)]
        # Smooth where a layer takes over, and nothing of it is left where it is renewed.
        share = 0.5 + 0.5 * np.cos(2 * np.pi * (times[0] - renewing / 2))
        share = share * share * (3 - 2 * share)
        renewed = [time % 1 < renewing for time in times]
        life = [np.floor(time).astype(np.int64) % lives for time in times]
        places = [sources[life[layer], layer].transpose(2, 0, 1) for layer in (0, 1)]
        return np.concatenate([current, share[None], renewed, *places], dtype=np.float32)[None]

    return Lap(steps, at)


def current_of(height: int, width: int, random: np.random.Generator, speed: float = SPEED) -> Array:
    """A steady current without sources (2, h, w), across and down in cells a step: eddies, and all of it drifts."""
    stream = smooth(height, width, EDDY, random)
    eddies = np.stack([np.roll(stream, -1, 0) - np.roll(stream, 1, 0), np.roll(stream, 1, 1) - np.roll(stream, -1, 1)])
    angle = random.uniform(0, 2 * np.pi)
    drift = np.array([np.cos(angle), np.sin(angle)])[:, None, None]
    current = speed * (EDDIES * eddies / (np.sqrt((eddies**2).sum(0).mean()) + 1e-9) + drift)
    fast = np.maximum(1, np.abs(current).max(0) / FASTEST)
    slowed: Array = (current / fast).astype(np.float32)
    return slowed


def growth(height: int, width: int, steps: int, random: np.random.Generator) -> Lap:
    """(1, 3, h, w): the tide, -1 to 1; how ready each place is, about -1 to 1; seeds, 0 to 1."""
    ready, seeds = ground_of(height, width, random)

    def at(step: int) -> Array:
        return np.stack([np.full_like(ready, tide(step / steps)), ready, seeds])[None]

    return Lap(steps, at)


def tide(time: float) -> float:
    """How strongly a coat is driven on (above 0) or back, at a time in laps."""
    time %= 1
    if time < TIDE_IN:
        return float(np.sin(np.pi * time / TIDE_IN) ** 0.3)
    out = (time - TIDE_IN) / (1 - TIDE_IN)
    return -(EBB[0] + EBB[1] * out) * min(1.0, 6 * out)


def ground_of(height: int, width: int, random: np.random.Generator) -> tuple[Array, Array]:
    """(how ready each place is, seeds), each (h, w)."""
    ready = 0.6 * smooth(height, width, 14, random) + 0.5 * smooth(height, width, 5, random)
    seeds = np.zeros((height, width), np.float32)
    for _ in range(max(1, height * width // SEED_AREA)):
        y, x = int(random.integers(height)), int(random.integers(width))
        seeds = np.maximum(seeds, random.uniform(0.4, 1) * spot(height, width, y, x, random.uniform(0.8, 1.6)))
    return ready.astype(np.float32), seeds


def shimmer(height: int, width: int, steps: int, random: np.random.Generator) -> Lap:
    """(1, 1, h, w): what a step's drops push down."""
    falls: list[list[tuple[int, int, float]]] = [[] for _ in range(steps)]
    for _ in range(max(1, height * width * steps // (DROP_AREA * LAP))):
        place = int(random.integers(height)), int(random.integers(width))
        falls[random.integers(steps)].append((*place, float(random.uniform(0.4, 1))))
    force = np.array([sum(strength for *_, strength in fall) for fall in falls])
    calm = int(np.argmin(sum(np.roll(force, turn) for turn in range(CALM))))
    falls = falls[calm:] + falls[:calm]

    def at(step: int) -> Array:
        return drops(height, width, falls[step % steps])[None, None]

    return Lap(steps, at)


def drops(height: int, width: int, falls: list[tuple[int, int, float]]) -> Array:
    """(h, w): the push of drops given by row, column and strength; what they push down rises around them."""
    pushed = np.zeros((height, width), np.float32)
    for y, x, strength in falls:
        pushed -= strength * (spot(height, width, y, x, DROP) - 0.25 * spot(height, width, y, x, 2 * DROP))
    pushed -= pushed.mean()
    return pushed


def smooth(height: int, width: int, size: float, random: np.random.Generator) -> Array:
    """Periodic noise (h, w) of mean 0 and variance 1 whose hills are about `size` cells apart."""
    size = min(size, max(height, width))
    row, column = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    band = np.exp(-((np.hypot(row, column) * size - 1) ** 2) * 3)
    band[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) * band, s=(height, width))
    found: Array = (field / (field.std() + 1e-9)).astype(np.float32)
    return found


def spot(height: int, width: int, y: float, x: float, radius: float) -> Array:
    """A bell (h, w) of height 1 on the torus."""
    rows = (np.arange(height) - y + height / 2) % height - height / 2
    columns = (np.arange(width) - x + width / 2) % width - width / 2
    bell: Array = np.exp(-(rows[:, None] ** 2 + columns[None, :] ** 2) / (2 * radius**2)).astype(np.float32)
    return bell
