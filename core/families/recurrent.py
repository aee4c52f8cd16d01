"""Textures that move: a convolutional recurrent network takes a material's latent from one moment to the next.

Graph inputs, for a tile of h x w cells and its halo (already added), C the channels of the codec's latent:
    state     float32 (1, S, h, w)   what the network remembers
    material  float32 (1, C, h, w)   latent of the material that moves; or, of a network that looks elsewhere, for every
                                     two channels of the state (a way across and down, in cells) the four cells there
    drive     float32 (1, D, h, w)   what is pushed at it, see core/motion.py; for growth, then the latent of the coat
Graph outputs, the halo cropped off:
    next      float32 (1, S, h, w)   the state one step later
    latent    float32 (1, C, h, w)   shows the state that was given
The whole torus takes a step before the next one begins, so the halo of every step is fresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .. import motion
from ..card import Card
from ..errors import InputError, ModelError
from ..maps import Array, Maps
from ..motion import Lap
from ..torus import Tile, tiles, window
from ..variations import with_relief
from . import Runner, run_tiles, vae

INPUTS = {"state": 4, "material": 4, "drive": 4}
OUTPUTS = {"next": 4, "latent": 4}

LAPS = {"flow": motion.flow, "growth": motion.growth, "shimmer": motion.shimmer}
FEWEST, MOST = 2, 4096  # frames
TILE = 256  # cells
LOOKS = 6  # frames of the lap before the first that are looked at for the range of heights
MARGIN = 1.1  # on that range


@dataclass(frozen=True)
class Moment:
    """How far an animation is, and the frame that is ready, if one is."""

    fraction: float  # 0..1
    frame: int = -1
    maps: Maps | None = None


@dataclass(frozen=True)
class _Settings:
    """What the card says of the graph."""

    motion: str  # name of its drive
    state: int  # channels
    halo: int  # cells
    gathered: bool  # the state holds places, and `material` is what lies there


def animate(
    card: Card,
    runner: Runner,
    codec: tuple[Card, Runner],
    maps: Maps,
    frames: int,
    seed: int,
    coat: Maps | None = None,
) -> Iterator[Moment]:
    """All maps of each frame, one frame after another: frame `frames` would be frame 0 again.

    `maps` tile and may lack some maps; `coat` is the material that grows over them, of the same size. A first lap
    without pictures lets the state settle. Heights of all frames have one scale, so `Maps.relief` is the same for all.
    """
    settings = _read(card)
    if not FEWEST <= frames <= MOST:
        raise InputError(f"An animation of {frames} frames cannot be made; ask for {FEWEST} to {MOST}.")
    material = vae.encode(*codec, with_relief(maps))
    stride = motion.steps_of(frames)
    height, width = material.shape[2:]
    lap = LAPS[settings.motion](height, width, frames * stride, np.random.default_rng(seed))
    lap = _with_coat(settings, lap, codec, maps, coat)
    state = np.zeros((1, settings.state, height, width), np.float32)
    reach = 0.0
    for step in range(lap.steps):
        yield Moment(0.3 * step / lap.steps)
        state, latent = _turn(card, settings, runner, state, material, lap.at(step))
        if (step + 1) % max(1, lap.steps // LOOKS) == 0:
            reach = max(reach, MARGIN * vae.decode(*codec, latent).relief)
    for step in range(lap.steps):
        state, latent = _turn(card, settings, runner, state, material, lap.at(step))
        if step % stride == 0:
            frame = step // stride
            left = (frames - frame - 1) / frames
            yield Moment(1 - 0.7 * left, frame, _scaled(vae.decode(*codec, latent), reach))


def wants_coat(card: Card) -> bool:
    """Whether the model's motion needs a second material."""
    return _read(card).motion == "growth"


def _with_coat(settings: _Settings, lap: Lap, codec: tuple[Card, Runner], maps: Maps, coat: Maps | None) -> Lap:
    """The lap whose drive carries the latent of the coat, for the motion that has one."""
    if settings.motion != "growth":
        return lap
    if coat is None:
        raise InputError("Growth needs a second material that grows over the first; give it a coat, rust or moss say.")
    if coat.size != maps.size:
        sizes = " and ".join("x".join(map(str, both.size)) for both in (maps, coat))
        raise InputError(f"The material and its coat have different sizes, {sizes}; make them the same.")
    latent = vae.encode(*codec, with_relief(coat))
    return Lap(lap.steps, lambda step: np.concatenate([lap.at(step), latent], 1))


def _turn(
    card: Card, settings: _Settings, runner: Runner, state: Array, material: Array, drive: Array
) -> tuple[Array, Array]:
    """(next state, latent) of the whole torus."""
    following, latent = np.empty_like(state), np.empty_like(material)
    height, width = state.shape[2:]

    def feeds(tile: Tile) -> dict[str, Array]:
        seen = {"state": window(state, tile, settings.halo), "drive": window(drive, tile, settings.halo)}
        if settings.gathered:
            return {**seen, "material": _gathered(material, seen["state"], tile, settings.halo)}
        return {**seen, "material": window(material, tile, settings.halo)}

    for tile, found, _ in run_tiles(runner, list(tiles(height, width, TILE)), feeds):
        place = np.s_[:, :, tile.rows(), tile.columns()]
        for whole, part in zip((following, latent), found, strict=True):
            if part.shape != whole[place].shape:
                raise ModelError(
                    f"The model '{card.name}' made an array of shape {part.shape} instead of {whole[place].shape}; "
                    "its card is wrong, export it again."
                )
            whole[place] = part
    return following, latent


def _gathered(material: Array, state: Array, tile: Tile, halo: int) -> Array:
    """What lies where a tile's state points: (1, S/2 * 4C, h, w), for each place its four cells, row by row."""
    height, width = material.shape[2:]
    rows, columns = (np.arange(size) - halo for size in state.shape[2:])
    parts = []
    for across, down in state[0].reshape(-1, 2, *state.shape[2:]):
        y = np.floor(down).astype(np.int64) + tile.top + rows[:, None]
        x = np.floor(across).astype(np.int64) + tile.left + columns[None, :]
        parts += [material[:, :, (y + dy) % height, (x + dx) % width] for dy in (0, 1) for dx in (0, 1)]
    return np.concatenate(parts, 1)


def _scaled(maps: Maps, reach: float) -> Maps:
    """The maps with a height around one half whose range 0..1 is `reach` pixels, whatever this frame's own range is."""
    if not reach:
        return maps
    height = maps["height"]
    height = np.clip(0.5 + (height - height.mean()) * np.float32(maps.relief / reach), 0, 1)
    return Maps({**maps.images, "height": height}, reach)


def _read(card: Card) -> _Settings:
    """Check the part of the card that is this family's own."""
    try:
        raw = card.settings
        settings = _Settings(str(raw["motion"]), int(raw["state"]), int(raw["halo"]), bool(raw["gathered"]))
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"The card of '{card.name}' lacks its 'motion', 'state', 'halo' or 'gathered' settings; "
            "export the model again."
        ) from None
    if settings.motion not in LAPS:
        raise ModelError(
            f"'{card.name}' makes the motion '{settings.motion}', which this version does not know; it knows "
            f"{', '.join(LAPS)}. Update Tessera or use another model."
        )
    odd = settings.gathered and settings.state % 2
    if odd or not (1 <= settings.state <= 1024 and 0 <= settings.halo <= 64):
        raise ModelError(f"The card of '{card.name}' has settings out of range; export the model again.")
    return settings
