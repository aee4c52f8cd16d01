import numpy as np
import pytest

from core.torus import Tile, tiles, window


def covered(height, width, largest):
    """How often each cell lies in a tile."""
    count = np.zeros((height, width), int)
    for tile in tiles(height, width, largest):
        count[tile.rows(), tile.columns()] += 1
    return count


@pytest.mark.parametrize(("height", "width", "largest"), [(1, 1, 1), (7, 5, 3), (64, 48, 17), (10, 3, 100), (9, 30, 1)])
def test_tiles_cover_every_cell_once(height, width, largest):
    assert (covered(height, width, largest) == 1).all()
    assert max(max(tile.height, tile.width) for tile in tiles(height, width, largest)) <= largest


def test_tiles_have_few_shapes_and_no_sliver():
    shapes = {(tile.height, tile.width) for tile in tiles(130, 128, 64)}
    assert shapes == {(44, 64), (42, 64)}


@pytest.mark.parametrize("halo", [0, 1, 2])
def test_a_window_is_the_tile_with_what_lies_around_it(halo):
    whole = np.arange(8 * 9).reshape(1, 8, 9)
    inside = whole[:, 3 - halo : 5 + halo, 2 - halo : 6 + halo]
    assert np.array_equal(window(whole, Tile(3, 2, 2, 4), halo), inside)


def test_a_window_at_the_edge_continues_on_the_other_side():
    whole = np.arange(4 * 5).reshape(4, 5)
    found = window(whole, Tile(0, 0, 4, 5), 1)
    assert np.array_equal(found, np.pad(whole, 1, mode="wrap"))


def test_a_halo_may_be_larger_than_the_torus():
    whole = np.arange(2 * 3).reshape(2, 3)
    assert np.array_equal(window(whole, Tile(0, 0, 2, 3), 7), np.pad(whole, 7, mode="wrap"))


def test_a_window_keeps_the_type_and_is_ready_for_onnx_runtime():
    found = window(np.zeros((2, 6, 6), np.int64), Tile(0, 0, 3, 3), 1)
    assert found.dtype == np.int64 and found.flags["C_CONTIGUOUS"]


def test_rows_and_columns_are_those_of_the_pixels():
    tile = Tile(2, 3, 4, 5)
    assert (tile.rows(), tile.columns()) == (slice(2, 6), slice(3, 8))
    assert (tile.rows(8), tile.columns(8)) == (slice(16, 48), slice(24, 64))


def test_a_tile_is_cut_into_tiles_that_cover_it_once():
    covered = np.zeros((9, 12), int)
    parts = Tile(2, 3, 5, 8).cut(3)
    for part in parts:
        covered[part.rows(), part.columns()] += 1
    assert covered.sum() == 40 and (covered[2:7, 3:11] == 1).all()
    assert max(max(part.height, part.width) for part in parts) == 3 and Tile(1, 2, 3, 3).cut(3) == [Tile(1, 2, 3, 3)]


def test_a_scaled_tile_is_the_same_place_in_finer_cells():
    assert Tile(2, 3, 4, 5).scaled(8) == Tile(16, 24, 32, 40)


def test_a_mirrored_window_shows_what_symmetric_padding_shows():
    array, wide = np.random.default_rng(0).random((2, 5, 7)), 12  # wider than the picture
    padded = np.pad(array, ((0, 0), (wide, wide), (wide, wide)), mode="symmetric")
    assert np.array_equal(window(array, Tile(0, 0, 5, 7), wide, mirrored=True), padded)
