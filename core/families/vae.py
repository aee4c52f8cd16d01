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
from ..errors import ModelError
from ..maps import Array, Maps
from ..torus import tiles, window
from . import Runner

INPUTS = {"planes": 4, "known": 4, "latent": 4}
OUTPUTS = {"encoded": 4, "decoded": 4}

TILE = 1024  # pixels


def encode(card: Card, runner: Runner, maps: Maps) -> Array:
    """Latent (1, C, H/fold, W/fold) of maps whose size keeps the card's rule; missing maps are allowed."""
    card.size.check(*maps.size)
    fold, channels, halo, _ = _read(card)
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
    fold, _, _, halo = _read(card)
    height, width = latent.shape[2:]
    surfaces = planes.Surfaces(height * fold, width * fold)
    for tile in tiles(height, width, TILE // fold):
        surfaces.put(tile, fold, runner.run({**_idle(card), "latent": window(latent, tile, halo)})[1][0])
    return surfaces.maps()


def _idle(card: Card) -> dict[str, Array]:
    """The smallest inputs: one latent cell for either half."""
    fold, channels, encoder, decoder = _read(card)
    pixels, cells = (2 * encoder + 1) * fold, 2 * decoder + 1
    return {
        "planes": np.zeros((1, planes.PLANES, pixels, pixels), np.float32),
        "known": np.zeros((1, planes.PLANES, 1, 1), np.float32),
        "latent": np.zeros((1, channels, cells, cells), np.float32),
    }


def _read(card: Card) -> tuple[int, int, int, int]:
    """(pixels in a cell, channels, halo of the encoder in cells, halo of the decoder in cells)."""
    try:
        fold, channels, encoder, decoder = (
            int(card.settings[key]) for key in ("fold", "channels", "encoder_halo", "decoder_halo")
        )
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"The card of '{card.name}' lacks its 'fold', 'channels' or halo settings; export the model again."
        ) from None
    if not (1 <= fold <= 64 and 1 <= channels <= 1024 and 0 <= encoder <= 64 and 0 <= decoder <= 64):
        raise ModelError(f"The card of '{card.name}' has settings out of range; export the model again.")
    return fold, channels, encoder, decoder
