import numpy as np
import pytest

from core import planes, relief
from core.maps import Maps
from core.torus import tiles

HEIGHT, WIDTH = 48, 64


def wavy(height=HEIGHT, width=WIDTH):
    """A smooth surface in pixels."""
    rows, columns = (2 * np.pi * np.arange(n, dtype=np.float32) / n for n in (height, width))
    return 2 * np.sin(2 * rows)[:, None] + np.cos(rows[:, None] + 3 * columns[None])


def whole():
    """Every map, each with values of its own."""
    random = np.random.default_rng(1)
    normal, height, depth = relief.encode(wavy())
    data = {name: random.random((HEIGHT, WIDTH, 1), dtype=np.float32) for name in ("roughness", "metallic", "ao")}
    data["metallic"] = np.rint(data["metallic"])  # a surface is a metal or it is not
    albedo = random.random((HEIGHT, WIDTH, 3), dtype=np.float32)
    return Maps({"albedo": albedo, "normal": normal, "height": height, **data}, depth)


def collected(array, cell, largest):
    """Maps of planes (1, 8, H, W) that come in tiles of at most `largest` cells."""
    surfaces = planes.Surfaces(*array.shape[2:])
    for tile in tiles(array.shape[2] // cell, array.shape[3] // cell, largest):
        surfaces.put(tile, cell, array[0][:, tile.rows(cell), tile.columns(cell)])
    return surfaces.maps()


@pytest.mark.parametrize(("cell", "largest"), [(8, 100), (8, 3), (1, 13)])
def test_maps_come_back_from_their_planes(cell, largest):
    maps = whole()
    found = collected(planes.from_maps(maps)[0], cell, largest)
    assert list(found) == list(maps) and found.size == (WIDTH, HEIGHT)
    for name in ("albedo", "roughness", "metallic", "ao"):
        assert np.array_equal(found[name], maps[name])
    assert np.abs(found["normal"] - maps["normal"]).max() < 0.02
    assert np.corrcoef(found["height"].ravel(), maps["height"].ravel())[0, 1] > 0.99
    assert found.relief == pytest.approx(maps.relief, rel=0.05)


def test_all_planes_of_a_whole_set_are_known():
    array, known = planes.from_maps(whole())
    assert array.shape == (1, 8, HEIGHT, WIDTH) and known.shape == (1, 8, 1, 1)
    assert array.dtype == known.dtype == np.float32 and (known == 1).all()


@pytest.mark.parametrize("name", list(planes.PLACES))
def test_a_missing_map_is_neutral_and_unknown(name):
    maps = whole()
    array, known = planes.from_maps(maps.only([other for other in maps if other != name]))
    missing = np.zeros(8, bool)
    missing[planes.PLACES[name]] = True
    assert (array[0, missing] == planes.NEUTRAL[name]).all()
    assert np.array_equal(known[0, :, 0, 0] == 0, missing)


def test_every_plane_belongs_to_one_map():
    places = [index for place in planes.PLACES.values() for index in range(place.start, place.stop)]
    assert places == list(range(planes.PLANES)) and set(planes.NEUTRAL) == set(planes.PLACES)


def test_values_out_of_range_are_clipped():
    found = collected(np.full((1, 8, 16, 16), 3.0, np.float32), 8, 2)
    assert (found["albedo"] == 1).all() and (found["ao"] == 1).all()
    assert all(np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1 for image in found.values())


@pytest.mark.parametrize(("made", "meant"), [(0.05, 0), (0.95, 1), (0.5, 0.5)])
def test_nearly_a_metal_is_a_metal_and_nearly_none_is_none(made, meant):
    found = collected(np.full((1, 8, 16, 16), made, np.float32), 8, 2)
    assert np.allclose(found["metallic"], meant) and np.allclose(found["ao"], made)


def test_the_trainers_and_the_core_agree_on_the_planes():
    from export import materials

    neutral = [planes.NEUTRAL[name] for name, place in planes.PLACES.items() for _ in range(place.stop - place.start)]
    assert materials.PLANES_OF == planes.PLACES and list(materials.NEUTRAL) == neutral


def test_steps_at_the_borders_of_cells_are_no_larger_than_others_afterwards():
    surfaces, random = planes.Surfaces(64, 48), np.random.default_rng(0)
    for image in (surfaces.across, surfaces.down, *surfaces.data.values()):
        image[:] = 0
    blocks = random.random((8, 6, 3)).repeat(8, 0).repeat(8, 1)
    surfaces.albedo[:] = blocks + random.normal(0, 0.1, (64, 48, 3))
    before = _border_steps(surfaces.albedo)
    assert list(surfaces.even_borders(8))[-1] == 1
    assert before > 1.5 and _border_steps(surfaces.albedo) < 1.05


def _border_steps(image):
    """Mean step between cells of eight rows over that in their middle."""
    step = np.abs(image - np.roll(image, 1, 0)).mean((1, 2))
    return step[::8].mean() / step[2::8].mean()
