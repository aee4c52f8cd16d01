import numpy as np
import pytest

from core.maps import Maps
from core.preview import ball, picture


def plain(colour=(0.5, 0.5, 0.5), size=(32, 32), **values):
    """Maps of one value each."""
    images = {"albedo": np.broadcast_to(np.float32(colour), (*size, 3))}
    return Maps(images | {name: np.full((*size, 1), value, np.float32) for name, value in values.items()})


def front(image):
    """Mean colour of the middle of the ball."""
    side = image.shape[0]
    return image[side * 2 // 5 : side * 3 // 5, side * 2 // 5 : side * 3 // 5].mean(axis=(0, 1))


@pytest.mark.parametrize("size", [(32, 32), (72, 200), (7, 3), (1, 1)])
def test_a_picture_has_its_size_and_range_whatever_the_maps_have(size):
    result = picture(plain(size=size), side=50)
    assert result.shape == (50, 100, 3) and result.dtype == np.float32
    assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 1


def test_the_left_half_is_the_albedo_twice_across_and_down():
    albedo = np.random.default_rng(0).random((32, 32, 3), dtype=np.float32)
    tiled = picture(Maps({"albedo": albedo}), side=64)[:, :64]
    assert np.abs(tiled - np.tile(albedo, (2, 2, 1))).max() < 0.01


def test_maps_without_an_albedo_give_a_grey_ball():
    middle = front(ball(Maps({"height": np.zeros((8, 8, 1), np.float32)}), 48))
    assert 0.2 < middle.mean() < 0.9 and np.ptp(middle) < 0.1


def test_the_ball_has_the_colour_of_the_albedo():
    red, green, blue = front(ball(plain((0.8, 0.3, 0.2)), 48))
    assert red > green + 0.2 > blue + 0.2


def test_light_comes_from_the_upper_left():
    image = ball(plain(roughness=0.9), 64).mean(axis=2)
    assert image[18, 22] > image[46, 42] + 0.15


def test_a_smooth_surface_has_a_sharper_highlight_than_a_rough_one():
    smooth, rough = (ball(plain((0.1,) * 3, roughness=value), 64)[14:34, 14:34].max() for value in (0.15, 0.9))
    assert smooth > rough + 0.2


def test_a_metal_has_no_diffuse_light_but_reflects_in_its_colour():
    metal, paint = (ball(plain((1.0, 0.7, 0.3), metallic=value, roughness=0.2), 64) for value in (1, 0))
    highlight = np.unravel_index(metal[8:34, 8:34].sum(axis=2).argmax(), (26, 26))
    assert metal[8:34, 8:34][highlight].mean() > 0.8
    assert front(metal).mean() != pytest.approx(front(paint).mean(), abs=0.02)


def test_a_bump_is_lit_on_the_side_that_faces_the_light():
    def tilted(green):
        normal = np.broadcast_to(np.float32([0.5, green, 0.85]), (8, 8, 3))
        return front(ball(Maps({**plain(size=(8, 8)).images, "normal": normal}), 48)).mean()

    assert tilted(0.75) > tilted(0.25) + 0.05  # Y+: a green above one half leans to the top, where the light is


def test_occlusion_darkens():
    assert front(ball(plain(ao=0.3), 48)).mean() < front(ball(plain(ao=1.0), 48)).mean() - 0.03


def test_the_ball_casts_a_shadow_on_a_neutral_floor():
    image = ball(plain((0.9, 0.1, 0.1)), 64)
    assert image[58, 34].mean() < image[58, 2].mean() - 0.1
    assert np.ptp(image[2, 2]) < 0.01


def test_the_outline_is_antialiased():
    row = ball(plain((0.0,) * 3, roughness=1.0), 64).mean(axis=2)[30]
    assert len(np.unique(np.round(row[3:12], 2))) > 3


def test_the_texture_is_whole_where_the_tiles_meet():
    albedo = 0.5 + 0.4 * np.sin(np.arange(64, dtype=np.float32) / 64 * 2 * np.pi)[None, :, None]
    maps = Maps({"albedo": np.broadcast_to(albedo, (64, 64, 3)).astype(np.float32)})
    middle = ball(maps, 96)[48, 25:70].mean(axis=1)
    assert np.abs(np.diff(middle, n=2)).max() < 0.03  # tiles meet at the centre; a step would be far above
