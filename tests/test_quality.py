import json

import numpy as np
import pytest

from core.errors import ImageError, InputError
from core.folders import read_folder
from core.images import Picture, write
from core.maps import Maps, flip_green
from core.quality import measure

GREY = np.array([0.5, 0.4, 0.3], np.float32)


def bumpy(height=96, width=128, seed=0):
    """Smooth noise on the torus, `(H, W)` in [0.1, 0.9]."""
    rows, columns = np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) / 150), s=(height, width))
    return ((field - field.min()) / np.ptp(field) * 0.8 + 0.1).astype(np.float32)


def normal_of(height, relief):
    """OpenGL normal map of a height by central differences on the torus."""
    x, row = ((np.roll(height, -1, axis) - np.roll(height, 1, axis)) / 2 * relief for axis in (1, 0))
    vectors = np.stack([-x, row, np.ones_like(x)], axis=-1)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) / 2 + 0.5).astype(np.float32)


def good(relief=10.0, **size):
    height = bumpy(**size)
    grain = np.random.default_rng(1).random(height.shape, dtype=np.float32)[..., None] * 0.2
    one = height[..., None]
    maps = {"albedo": GREY + grain, "normal": normal_of(height, relief), "height": one, "roughness": one}
    return Maps(maps | {"metallic": np.zeros_like(one)}, relief)


def changed(maps, **images):
    return Maps({**maps.images, **{name: image.astype(np.float32) for name, image in images.items()}})


def eight_bit(maps):
    return changed(maps, **{name: np.rint(image * 255) / 255 for name, image in maps.items()})


@pytest.mark.parametrize("relief", [0.5, 3.0, 10.0, 40.0])
def test_a_sound_set_passes_also_when_rounded_to_8_bits(relief):
    assert measure(good(relief)).failures() == []
    assert measure(eight_bit(good(relief))).failures() == []


def test_any_size_can_be_measured():
    assert measure(good(height=72, width=200)).failures() == []
    assert measure(Maps({"albedo": np.full((1, 1, 3), 0.5, np.float32)})).failures() == []


@pytest.mark.parametrize(("axis", "words"), [(1, "left and right"), (0, "top and bottom")])
@pytest.mark.parametrize("name", ["albedo", "roughness", "height"])
def test_a_ramp_over_a_map_is_a_seam_on_that_axis_only(axis, words, name):
    maps = good()
    ramp = np.linspace(-0.2, 0.2, maps[name].shape[axis]).reshape((1, -1, 1) if axis else (-1, 1, 1))
    found = [line for line in measure(changed(maps, **{name: maps[name] + ramp})).failures() if "seam" in line]
    assert len(found) == 1 and words in found[0] and name in found[0]


def test_a_seam_in_an_otherwise_flat_map_is_found_and_finite():
    step = np.full((64, 64, 1), 0.5, np.float32)
    step[:, :32] = 0.45
    step = np.concatenate([step] * 3, axis=2)
    sheet = measure(Maps({"albedo": step + np.linspace(0, 0.1, 64, dtype=np.float32)[None, :, None]}))
    assert 1.1 < sheet.seam["albedo"][0] < 1e4 and sheet.seam["albedo"][1] == 0


def test_flat_maps_have_no_figures_to_fail():
    flat = np.full((32, 32, 1), 0.5, np.float32)
    up = np.broadcast_to(np.array([0.5, 0.5, 1], np.float32), (32, 32, 3))
    sheet = measure(Maps({"albedo": np.repeat(flat, 3, axis=2), "normal": up, "height": flat}))
    assert (sheet.agreement, sheet.repetition, sheet.failures()) == (0, 0, [])


def test_copied_pixels_are_a_repetition_and_noise_is_not():
    maps = good(height=64, width=64)
    twice = Maps({"albedo": np.tile(maps["albedo"], (1, 2, 1))})
    assert measure(twice).repetition > 0.99 and "repeats" in measure(twice).failures()[0]
    assert measure(maps).repetition < 0.2


def test_bricks_that_differ_in_tone_are_not_a_repetition():
    tones = np.random.default_rng(0).random((8, 4), dtype=np.float32)
    wall = np.kron(tones * 0.3 + 0.3, np.ones((16, 32), np.float32))
    wall[::16] = wall[:, ::32] = 0.7
    assert 0.3 < measure(Maps({"albedo": np.repeat(wall[..., None], 3, axis=2)})).repetition < 0.9


@pytest.mark.parametrize("relief", [4.0, 10.0, 40.0])
@pytest.mark.parametrize("rounding", [eight_bit, lambda maps: maps])
def test_a_flipped_green_channel_disagrees_with_the_height(relief, rounding):
    maps = good(relief)
    flipped = rounding(changed(maps, normal=flip_green(maps["normal"])))
    assert "disagree" in measure(flipped).failures()[0]


def test_the_normal_of_another_surface_disagrees_with_the_height():
    maps = changed(good(), normal=normal_of(bumpy(seed=5), 10))
    assert "disagree" in measure(maps).failures()[0]


def test_a_surface_that_rises_to_the_top_leans_to_the_bottom():
    rows = np.arange(64, dtype=np.float32)[:, None] / 64
    height = np.repeat(0.5 + 0.4 * np.cos(2 * np.pi * rows), 64, axis=1)  # highest at row 0, so it falls below it
    normal = normal_of(height, 10)
    assert normal[16, 0, 1] < 0.5  # at row 16 the surface rises towards the top of the picture
    assert measure(Maps({"normal": normal, "height": height[..., None]})).agreement < 0.1


def test_normals_of_wrong_length_or_facing_down_fail():
    maps = good()
    short = changed(maps, normal=(maps["normal"] - 0.5) * 0.9 + 0.5)
    down = changed(maps, normal=1 - maps["normal"])
    assert any("unit length" in line for line in measure(short).failures())
    assert any("into the surface" in line for line in measure(down).failures())


def test_clipping_is_a_fault_in_albedo_and_height_but_not_in_roughness():
    maps = good()
    clipped = {name: np.clip(maps[name] * 3 - 1, 0, 1) for name in ("height", "roughness")}
    lines = [line for line in measure(changed(maps, **clipped)).failures() if "clipped" in line]
    assert lines and all("height" in line for line in lines)


def test_a_nan_is_named_with_its_map():
    maps = good()
    maps["height"][2, 3] = np.nan
    with pytest.raises(ImageError, match="height"):
        measure(maps)


def test_the_sheet_is_json():
    data = json.loads(json.dumps(measure(good()).to_dict(), allow_nan=False))
    assert data["size"] == [128, 96] and data["failures"] == [] and set(data["ranges"]) == set(good())


def save(folder, names, size=(8, 8)):
    """Files of these names, each of a colour of its own: 0.1, 0.2 ..."""
    for index, name in enumerate(names):
        write(folder / name, Picture(np.full((*size, 3), (index + 1) / 10, np.float32)))


@pytest.mark.parametrize(
    "names",
    [
        ("brick_7_albedo.png", "brick_7_normal.png", "brick_7_height.png", "brick_7_ao.png"),
        ("B036_1K-PNG_Color.png", "B036_NormalGL.png", "B036_Displacement.png", "B036_1K-PNG_AmbientOcclusion.png"),
        ("wall_diff_1k.png", "wall_nor_gl_1k.png", "wall_disp_1k.png", "wall_ao_1k.png"),
        ("color.png", "normal.png", "height.png", "ao.png"),
    ],
)
def test_names_of_several_sources_are_known(tmp_path, names):
    save(tmp_path, [*names, "brick_7_preview.png", "thumbnail.png"])
    maps = read_folder(tmp_path)
    assert [round(float(image.mean()), 1) for image in maps.values()] == [0.1, 0.2, 0.3, 0.4]


def test_a_directx_normal_is_flipped_unless_the_other_is_there(tmp_path):
    save(tmp_path, ["X_NormalDX.png"])
    assert np.allclose(read_folder(tmp_path)["normal"][0, 0], [0.1, 0.9, 0.1], atol=0.01)
    save(tmp_path, ["X_NormalGL.png"])
    assert np.allclose(read_folder(tmp_path)["normal"][0, 0], 0.1, atol=0.01)


def test_our_manifest_tells_of_a_directx_normal(tmp_path):
    save(tmp_path, ["brick_7_normal.png"])
    (tmp_path / "manifest.json").write_text('{"recipe": {"export": {"normal": "dx"}}}')
    assert np.allclose(read_folder(tmp_path)["normal"][0, 0], [0.1, 0.9, 0.1], atol=0.01)


def test_a_folder_that_is_not_one_set_of_maps_is_refused(tmp_path):
    with pytest.raises(InputError, match="no maps"):
        read_folder(tmp_path)
    save(tmp_path, ["a_color.png"])
    save(tmp_path, ["a_ao.png"], size=(4, 4))
    with pytest.raises(ImageError, match="ao 4 x 4"):
        read_folder(tmp_path)
    save(tmp_path, ["b_color.png"])
    with pytest.raises(InputError, match="several materials"):
        read_folder(tmp_path)
