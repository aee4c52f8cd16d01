"""The codec: a variational autoencoder between the maps of a material and a small latent grid.

One graph holds both halves; the input of the half that is not wanted gets the smallest array that passes.
    planes float32 (1, 8, H, W), known float32 (1, 8, 1, 1)  ->  encoded float32 (1, C, h, w)
    latent float32 (1, C, h, w)                              ->  decoded float32 (1, 8, H, W)
with h = H / fold.
Inputs carry a halo, outputs do not. The encoder gives the mean of the posterior.
"""

from __future__ import annotations

import numpy as np

from .. import planes
from ..card import Card
from ..maps import Array, Maps
from ..torus import Tile, tiles, window
from . import Runner, coder_settings, run_tiles, zeros

INPUTS = {"planes": 4, "known": 4, "latent": 4}
OUTPUTS = {"encoded": 4, "decoded": 4}

TILE = 1024  # pixels


def encode(card: Card, runner: Runner, maps: Maps) -> Array:
    """Latent (1, C, H/fold, W/fold) of maps whose size keeps the card's rule; missing maps are allowed."""
    card.size.check(*maps.size)
    fold, channels, halo, _ = coder_settings(card)
    whole, known = planes.from_maps(maps)
    known.flags.writeable = False
    idle = _idle(card)
    width, height = (side // fold for side in maps.size)
    latent = np.empty((1, channels, height, width), np.float32)

    def feeds(tile: Tile) -> dict[str, Array]:
        return {**idle, "planes": window(whole, tile.scaled(fold), halo * fold), "known": known}

    for tile, outputs, _ in run_tiles(runner, list(tiles(height, width, TILE // fold)), feeds):
        latent[:, :, tile.rows(), tile.columns()] = outputs[0]
    return latent


def decode(card: Card, runner: Runner, latent: Array) -> Maps:
    """All maps of a periodic latent (1, C, h, w)."""
    fold, _, _, halo = coder_settings(card)
    height, width = latent.shape[2:]
    surfaces = planes.Surfaces(height * fold, width * fold)
    idle = _idle(card)

    def feeds(tile: Tile) -> dict[str, Array]:
        return {**idle, "latent": window(latent, tile, halo)}

    for tile, outputs, _ in run_tiles(runner, list(tiles(height, width, TILE // fold)), feeds):
        surfaces.put(tile, fold, outputs[1][0])
    return surfaces.maps()


def _idle(card: Card) -> dict[str, Array]:
    """The smallest inputs: one latent cell for either half."""
    fold, channels, encoder, decoder = coder_settings(card)
    pixels, cells = (2 * encoder + 1) * fold, 2 * decoder + 1
    shapes = {
        "planes": (1, planes.PLANES, pixels, pixels),
        "known": (1, planes.PLANES, 1, 1),
        "latent": (1, channels, cells, cells),
    }
    return zeros(shapes)
