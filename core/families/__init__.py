"""One file for each kind of model: how to run it, and nothing else. A card names its family; only these files count."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..card import Card
from ..errors import ModelError, ResourceError
from ..maps import Maps
from ..torus import Tile

DEEPEST = 8  # parts that a tile's side is cut into at most where memory runs out: the halo is most of smaller tiles

# A step of work: yields progress in 0..1, returns the maps. Closing it cancels the work.
Steps = Generator[float, None, Maps]


@dataclass(frozen=True)
class Request:
    """What a generating family is asked to make."""

    material: str
    width: int  # pixels
    height: int  # pixels
    seed: int
    morph: str | None = None  # second material
    amount: float = 0.0  # 0 is all `material`, 1 is all `morph`
    tile: int = 512  # largest side, in pixels, that runs in one piece; 1024 was no faster and took twice the memory


class Runner(Protocol):
    """An open session, as a family sees it."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Run the graph: input name -> array, to the outputs in the graph's order.

        An array that cannot be written to may stay on the device for as long as the same one is given.
        """

    def tensor(self, name: str) -> NDArray[Any]:
        """A constant stored in the model file under `name`."""


class Family(Protocol):
    """The module of a family."""

    # Graph inputs and outputs that the family needs, name -> number of axes; checked when a session opens.
    INPUTS: Mapping[str, int]
    OUTPUTS: Mapping[str, int]

    def generate(self, card: Card, runner: Runner, request: Request) -> Steps:
        """Make the maps; the request has been checked against the card."""


def run_tiles(
    runner: Runner, tiles: Sequence[Tile], feeds: Callable[[Tile], Mapping[str, NDArray[Any]]]
) -> Iterator[tuple[Tile, list[NDArray[np.float32]], float]]:
    """Run the graph on what `feeds` gives for each tile: yields the tile, its outputs, and the share done by then.

    Where memory runs out the tiles that are left are cut smaller, and then the runner retreats, to the CPU if it can.
    """
    left = list(tiles)
    first = side = max(max(tile.height, tile.width) for tile in tiles)
    cells, done = sum(tile.height * tile.width for tile in tiles), 0
    while left:
        try:
            outputs = runner.run(feeds(left[0]))
        except ResourceError as error:
            if side > 1 and (side + 1) // 2 * DEEPEST >= first:
                side = (side + 1) // 2
                left = [part for tile in left for part in tile.cut(side)]
            elif not error.retreat():
                raise
            continue
        tile = left.pop(0)
        done += tile.height * tile.width
        yield tile, outputs, done / cells


def zeros(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Inputs that do not matter. They cannot be written to, so each may stay on the device."""
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def names() -> list[str]:
    """The families there are: the modules of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def load(name: str, source: str) -> Family:
    """The module of a family. The name comes from a file (`source`), so it is looked up in our own list first."""
    if name not in names():
        raise ModelError(
            f"{source} is of the family '{name}', which this version does not have; it knows {', '.join(names())}. "
            "Update Tessera or use another model."
        )
    return cast(Family, importlib.import_module(f".{name}", __package__))


def coder_settings(card: Card) -> tuple[int, int, int, int]:
    """What the card of an encoder and its decoder says, checked; for the families that have both.

    (pixels in a cell, channels, halo of the encoder in cells, halo of the decoder in cells).
    """
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
