import numpy as np
import pytest

from core.errors import ResourceError
from core.families import run_tiles
from core.torus import Tile, tiles

PIECES = list(tiles(40, 64, 32))


class Small:
    """A runner whose memory suffices for tiles of so many cells a side, and for more after a retreat."""

    def __init__(self, most, after=0):
        self.most, self.after, self.tried = most, after, []

    def run(self, feeds):
        side = max(feeds["x"].shape)
        self.tried.append(side)
        if side > self.most:
            raise ResourceError("full", self.retreat)
        return [feeds["x"]]

    def retreat(self):
        self.most, more = max(self.most, self.after), self.after > self.most
        return more


def painted(runner):
    """How often each cell was run, and the shares told."""
    whole, shares = np.zeros((40, 64), int), []

    def feeds(tile):
        return {"x": np.ones((tile.height, tile.width))}

    for tile, (made,), done in run_tiles(runner, PIECES, feeds):
        whole[tile.rows(), tile.columns()] += made.astype(int)
        shares.append(done)
    return whole, shares


@pytest.mark.parametrize("most", [64, 31, 16, 5, 4])
def test_each_cell_is_run_once_however_little_memory_there_is(most):
    whole, shares = painted(Small(most))
    assert (whole == 1).all() and shares == sorted(shares) and shares[-1] == 1


def test_what_does_not_fit_is_tried_once_for_each_size():
    runner = Small(8)
    painted(runner)
    assert [side for side in runner.tried if side > 8] == [32, 16]


def test_after_the_smallest_tile_the_runner_retreats():
    whole, _ = painted(Small(1, after=4))
    assert (whole == 1).all()


def test_where_nothing_helps_the_error_is_told():
    with pytest.raises(ResourceError, match="full"):
        painted(Small(1))


def test_memory_that_runs_out_half_way_repeats_nothing():
    runner = Small(64)
    steps = run_tiles(runner, [Tile(0, 0, 8, 8), Tile(0, 8, 8, 8)], lambda t: {"x": np.ones((t.height, t.width))})
    assert next(steps)[0] == Tile(0, 0, 8, 8)
    runner.most = 4
    assert [tile.left for tile, *_ in steps] == [8, 12, 8, 12]
