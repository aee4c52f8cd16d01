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
from ..torus import tiles, window
from . import Runner, coder_settings

INPUTS = {"planes": 4, "known": 4, "latent": 4}
OUTPUTS = {"encoded": 4, "decoded": 4}

TILE = 1024  # pixels


def encode(card: Card, runner: Runner, maps: Maps) -> Array:
    """Latent (1, C, H/fold, W/fold) of maps whose size keeps the card's rule; missing maps are allowed."""
    card.size.check(*maps.size)
    fold, channels, halo, _ = coder_settings(card)
    whole, known = planes.from_maps(maps)
    width, height = maps.size
    latent = np.empty((1, channels, height // fold, width // fold), np.float32)
    for tile in tiles(height // fold, width // fold, TILE // fold):
        rows = np.arange((tile.top - halo) * fold, (tile.top + tile.height + halo) * fold) % height
        columns = np.arange((tile.left - halo) * fold, (tile.left + tile.width + halo) * fold) % width
        feeds = {**_idle(card), "planes": whole[:, :, rows[:, None], columns], "known": known}
        latent[:, :, tile.rows(), tile.columns()] = runner.run(feeds)[0]
    return latent


def decode(card: Card, runner: Runner, latent: Array) -> Maps:
    """All maps of a periodic latent (1, C, h, w)."""
    fold, _, _, halo = coder_settings(card)
    height, width = latent.shape[2:]
    surfaces = planes.Surfaces(height * fold, width * fold)
    for tile in tiles(height, width, TILE // fold):
        surfaces.put(tile, fold, runner.run({**_idle(card), "latent": window(latent, tile, halo)})[1][0])
    return surfaces.maps()


def _idle(card: Card) -> dict[str, Array]:
    """The smallest inputs: one latent cell for either half."""
    fold, channels, encoder, decoder = coder_settings(card)
    pixels, cells = (2 * encoder + 1) * fold, 2 * decoder + 1
    return {
        "planes": np.zeros((1, planes.PLANES, pixels, pixels), np.float32),
        "known": np.zeros((1, planes.PLANES, 1, 1), np.float32),
        "latent": np.zeros((1, channels, cells, cells), np.float32),
    }
