"""Material maps: what one picture of a material tells of its relief, roughness, occlusion and colour without light.

The network tells slopes, and the height is the surface that has them (core/relief.py): normal and height agree. It
does not tell metals from other surfaces.

    pixels float32 (1, 3, H, W), sRGB-encoded, with a halo
        ->  planes float32 (1, 7, h, w), without: red, green, blue of the albedo, normal x, normal y, roughness, ao
Sides and halo are multiples of the card's `size.multiple`; the halo is its `size.halo`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from .. import bands, relief, scratch
from ..card import Card
from ..errors import InputError, ModelError
from ..maps import Array, Maps
from ..planes import even_borders
from ..torus import Tile, window
from ..torus import tiles as cut
from . import Runner, Steps, run_tiles

INPUTS = {"pixels": 4}
OUTPUTS = {"planes": 4}
PLANES = 7
STRONGEST = 4.0  # times the slopes found: past this, little of a surface is not steep


@dataclass(frozen=True)
class Options:
    """How the maps are derived."""

    strength: float = 1.0  # the slopes found are multiplied by this
    delight: float = 1.0  # share of the light and shadow found that is taken out of the albedo
    tile: int = 1024  # largest side, in pixels, that runs in one piece; smaller ones repeat more of their halo

    def check(self) -> None:
        """`InputError` that says what is allowed, when a number is out of range."""
        if not 0 <= self.strength <= STRONGEST:
            raise InputError(f"A strength of {self.strength:g} cannot be had; choose one from 0 to {STRONGEST:g}.")
        if not 0 <= self.delight <= 1:
            raise InputError(f"Light cannot be taken out by {self.delight:g}; choose a share from 0 to 1.")


def derive(card: Card, runner: Runner, albedo: Array, tiles: bool, options: Options | None = None) -> Steps:
    """All maps but metallic from a picture `(H, W, 3)`, sRGB-encoded in [0, 1]; a step of work.

    A picture that `tiles` gives maps that tile. Any other is mirrored at its edges, and its maps have edges too.
    `InputError` for sizes and options that cannot be had.
    """
    options = options or Options()
    options.check()
    height, width = albedo.shape[:2]
    card.size.check(width, height)
    planes = yield from planes_of(card, runner, albedo, tiles, options.tile)
    if tiles:  # the wrap is the border of a cell, and would stand out from what lies within cells
        cell = card.size.multiple
        for plane in planes[3:]:
            even_borders(plane[..., None], cell)
            even_borders(plane[..., None], cell // 2)
    yield 0.95
    normal, surface, depth = relief.encode(relief.of_normals(planes[3:5].transpose(1, 2, 0), tiles, options.strength))
    colour = scratch.empty((height, width, 3))

    def work(rows: slice) -> None:
        found = np.clip(planes[:3, rows].transpose(1, 2, 0), 0, 1)
        colour[rows] = albedo[rows] + np.float32(options.delight) * (found - albedo[rows])
        np.clip(planes[5:, rows], 0, 1, out=planes[5:, rows])

    bands.each(height, work, albedo, planes, colour)
    data = {"roughness": planes[5, ..., None], "ao": planes[6, ..., None]}
    return Maps({"albedo": colour, "normal": normal, "height": surface, **data}, depth)


def planes_of(
    card: Card, runner: Runner, albedo: Array, tiles: bool, tile: int = Options.tile
) -> Generator[float, None, Array]:
    """What the network tells (7, H, W), not clipped."""
    multiple, halo = card.size.multiple, card.size.halo
    if halo % multiple:
        raise ModelError(f"The halo of '{card.name}' is no multiple of its cells; export the model again.")
    pixels = albedo.transpose(2, 0, 1)[None]
    height, width = albedo.shape[:2]
    planes = scratch.empty((PLANES, height, width))

    def feeds(piece: Tile) -> dict[str, Array]:
        return {"pixels": window(pixels, piece.scaled(multiple), halo, mirrored=not tiles)}

    pieces = list(cut(height // multiple, width // multiple, max(1, tile // multiple)))
    for piece, outputs, done in run_tiles(runner, pieces, feeds):
        planes[:, piece.rows(multiple), piece.columns(multiple)] = outputs[0][0]
        scratch.rest(albedo, planes)
        yield 0.9 * done
    return planes
