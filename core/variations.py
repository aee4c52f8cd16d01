"""Variations of the materials one has: their latents, laid out anew or mixed, become new maps that tile.

The codec (core/families/vae.py) carries all maps along, so what is re-arranged stays a material.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import joining, layout, planes, relief
from .card import Card
from .errors import InputError
from .families import Runner, Steps, vae
from .layout import Example, Indices
from .maps import Array, Maps
from .motion import smooth
from .torus import Tile

PATCHED = 2  # latent cells that move together on each side, where the sides allow it
FEATURES = 6  # main directions of the latent that a layout is matched by
SPOT = 34.0  # of those from one re-laid spot to the next
EDGE = 7  # of those at the edges of a picture that does not tile: always laid anew
SPOILT = 2  # of those at its very edges, where the codec saw the other side: nothing is taken from there
HOLD = 0.01  # of a laid cell itself, against its differences from its neighbours
# A relief from lightness alone: pixels of height between black and white, and between which sizes in pixels it counts.
BUMPS, FINE, WIDE = 5.0, 2.0, 40.0
SOFT = 0.15  # of the range of what stands out: how soft one material gives way to another


def vary(card: Card, runner: Runner, maps: Maps, amount: float, seed: int, seamless: bool = True) -> Steps:
    """A sibling of a material: `amount` 0 gives it back, 1 lays all of it anew, between, a share of it in spots.

    `seamless` tells whether the maps tile; if not, their edges are always laid anew, and the result tiles.
    """
    if not 0 <= amount <= 1:
        raise InputError(f"The amount of a variation is {amount:g}; give a number from 0 to 1.")
    random = np.random.default_rng(seed)
    latent = vae.encode(card, runner, with_relief(maps))
    yield 0.2
    latent = _arranged(latent, amount, random, seamless)
    yield 0.5
    return vae.decode(card, runner, latent)


def between(card: Card, runner: Runner, first: Maps, second: Maps, amount: float) -> Steps:
    """A material between two of one size: 0 is the first, 1 the second; what stands out gives way last.

    A mean of the two latents would show both as through a veil, so each pixel belongs to one or to the other.
    """
    if not 0 <= amount <= 1:
        raise InputError(f"The amount between two materials is {amount:g}; give a number from 0 to 1.")
    if first.size != second.size:
        sizes = " and ".join("x".join(map(str, maps.size)) for maps in (first, second))
        raise InputError(f"The two materials have different sizes, {sizes}; scale one to the size of the other.")
    whole = []
    for maps in (first, second):
        whole.append(vae.decode(card, runner, vae.encode(card, runner, with_relief(maps))))
        yield 0.4 * len(whole)
    highs = [_standing_out(maps) for maps in whole]
    lead = (amount * 2 - 1) * (1 + SOFT) + (highs[1] - highs[0]) / 2
    share = np.clip((lead + SOFT) / (2 * SOFT), 0, 1).astype(np.float32)
    mixed, other = (planes.from_maps(maps)[0][0] for maps in whole)
    mixed += share * (other - mixed)
    surfaces = planes.Surfaces(*mixed.shape[1:])
    surfaces.put(Tile(0, 0, *mixed.shape[1:]), 1, mixed)
    return surfaces.maps()


def with_relief(maps: Maps) -> Maps:
    """The maps with a normal: from the height where there is one, else from lightness, as if what is light were high.

    The codec alone would leave a plain picture flat.
    """
    if "normal" in maps or ("height" not in maps and "albedo" not in maps):
        return maps
    if "height" in maps:
        surface = maps["height"][..., 0] * (maps.relief or 0.02 * maps.size[0])
    else:
        surface = BUMPS * _band(maps["albedo"].mean(-1), FINE, WIDE)
    normal, _, _ = relief.encode(surface.astype(np.float32))
    return Maps({**maps.images, "normal": normal}, maps.relief)


def _band(image: Array, fine: float, wide: float) -> Array:
    """What an image (H, W) shows between two sizes in pixels, on the torus."""
    height, width = image.shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    keep = np.exp(-((frequency * fine) ** 2)) - np.exp(-((frequency * wide) ** 2))
    band: Array = np.fft.irfft2(np.fft.rfft2(image) * keep, s=image.shape).astype(np.float32)
    return band


def _standing_out(maps: Maps) -> Array:
    """How far each pixel (H, W) lies above its surroundings, by height and by lightness; ranks from -1 to 1."""
    light, height = maps["albedo"].mean(-1), maps["height"][..., 0]
    return _ranks(_band(light, FINE, WIDE)) + _ranks(_band(height, FINE, 2 * WIDE)) - 1


def _ranks(field: Array) -> Array:
    """The field (h, w) with its values spread evenly over 0..1."""
    ranks = np.empty(field.size, np.float32)
    ranks[np.argsort(field, axis=None, kind="stable")] = np.linspace(0, 1, field.size, dtype=np.float32)
    return ranks.reshape(field.shape)


def _arranged(latent: Array, amount: float, random: np.random.Generator, seamless: bool) -> Array:
    """The latent (1, C, h, w) with a share of its cells laid anew; `InputError` when it is too small."""
    if amount == 0 and seamless:
        return latent
    cell = PATCHED if latent.shape[2] % PATCHED == latent.shape[3] % PATCHED == 0 else 1
    cells = _folded(latent, cell)
    height, width = cells.shape[:2]
    if min(height, width) < 4 * EDGE:
        raise InputError("The material is too small to be laid anew; give maps of at least 256 pixels a side.")
    example = Example(_features(cells, seamless), seamless)
    if amount == 1 and seamless:
        chosen = layout.quilt(example, height, width, random)
    else:
        chosen = layout.relay(example, _kept(height, width, amount, random, seamless), random)
    sources = _fine(chosen, width, cell)
    return np.ascontiguousarray(joining.evened(latent[0], sources, HOLD)[None])


def _features(cells: Array, seamless: bool) -> Array:
    """What cells (h, w, D) are compared by: (h, w, 6), their main directions."""
    flat = cells.reshape(-1, cells.shape[-1])
    flat = flat - flat.mean(0)
    _, directions = np.linalg.eigh(flat.T @ flat)
    found: Array = (flat @ directions[:, -FEATURES:]).reshape(*cells.shape[:2], -1)
    if not seamless:  # as far from everything else as is sure never to fit
        spoilt = np.ones(cells.shape[:2], bool)
        spoilt[SPOILT:-SPOILT, SPOILT:-SPOILT] = False
        found[spoilt] += 20 * found.std()
    return found


def _kept(height: int, width: int, amount: float, random: np.random.Generator, seamless: bool) -> NDArray[np.bool_]:
    """Which cells (h, w) stay: spots, and the edges only if the material tiles."""
    kept = _ranks(smooth(height, width, SPOT, random)) >= amount
    if not seamless:
        inside = np.zeros_like(kept)
        inside[EDGE:-EDGE, EDGE:-EDGE] = True
        kept &= inside
    return kept


def _folded(latent: Array, cell: int) -> Array:
    """(1, C, h, w) -> (h/cell, w/cell, C*cell*cell)."""
    channels, height, width = latent.shape[1:]
    parts = latent[0].reshape(channels, height // cell, cell, width // cell, cell)
    cells: Array = parts.transpose(1, 3, 0, 2, 4).reshape(height // cell, width // cell, -1)
    return cells


def _fine(chosen: Indices, columns: int, cell: int) -> Indices:
    """Sources (h, w, 2), row and column, of latent cells, for a layout of cells of `cell` times `cell` of them."""
    inside = np.arange(cell)
    places = np.stack(np.divmod(chosen, columns), -1).repeat(cell, 0).repeat(cell, 1) * cell
    places[..., 0] += np.tile(inside, len(chosen))[:, None]
    places[..., 1] += np.tile(inside, chosen.shape[1])[None, :]
    return places
