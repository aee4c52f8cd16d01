import numpy as np
import pytest

from core import quality, relief
from core.maps import Maps

SIZES = [(96, 96), (64, 129), (63, 50), (101, 77)]


def surface(height, width, deep=6.0, seed=0):
    """A smooth surface on the torus, `(H, W)` in pixels, `deep` from its lowest to its highest point."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) * 400), s=(height, width))
    return (field / np.ptp(field) * deep).astype(np.float32)


def rebuilt(normal):
    """The surface behind an encoded normal map."""
    return relief.integrate(*relief.slopes(normal[..., 0], normal[..., 1]))


def likeness(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_surface_comes_back_from_its_normals(height, width):
    true = surface(height, width)
    found = rebuilt(relief.encode(true)[0])
    assert found.shape == true.shape and found.dtype == np.float32
    assert likeness(found, true) > 0.99 and 0.9 < np.ptp(found) / np.ptp(true) < 1.05


@pytest.mark.parametrize(("axis", "slope"), [(1, (1.0, 0.0)), (0, (0.0, 1.0))])
def test_slopes_point_along_the_columns_and_down_the_rows(axis, slope):
    wave = 5 * np.cos(2 * np.pi * np.arange(64) / 64)
    true = np.repeat(wave[:, None], 64, 1) if axis == 0 else np.repeat(wave[None], 64, 0)
    found = relief.slopes(*relief.encode(true.astype(np.float32))[0].transpose(2, 0, 1)[:2])
    step = np.gradient(true, axis=axis)[16, 16]  # central differences
    assert [float(s[16, 16]) for s in found] == pytest.approx([s * step for s in slope], abs=1e-3)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("deep", [0.5, 6.0, 40.0])
def test_normal_and_height_agree(height, width, deep):
    normal, even, _ = relief.encode(surface(height, width, deep))
    sheet = quality.measure(Maps({"normal": normal, "height": even}))
    assert sheet.agreement < 0.5 and sheet.failures() == []


def test_a_surface_that_rises_towards_the_top_has_green_below_one_half():
    rising = np.cos(2 * np.pi * np.arange(64, dtype=np.float32) / 64)[:, None].repeat(32, 1)  # highest at the top
    green = relief.encode(rising)[0][..., 1]
    assert (green[1:31] < 0.5).all() and (green[33:63] > 0.5).all()


def test_a_surface_that_rises_to_the_right_has_red_below_one_half():
    rising = -np.cos(2 * np.pi * np.arange(64, dtype=np.float32) / 64)[None].repeat(32, 0)  # lowest at the left
    assert (relief.encode(rising)[0][:, 1:31, 0] < 0.5).all()


def test_a_flat_surface_has_height_one_half_and_no_relief():
    normal, height, depth = relief.encode(np.full((16, 24), 3.0, np.float32))
    assert depth == 0 and (height == 0.5).all()
    assert np.allclose(normal, [0.5, 0.5, 1.0])


def test_the_relief_scales_the_height_back_to_pixels():
    true = surface(48, 64)
    _, height, depth = relief.encode(true)
    assert (height.min(), height.max()) == (0, 1)
    assert np.allclose(height[..., 0] * depth, true - true.min(), atol=1e-4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_rolled_slopes_give_the_rolled_surface(height, width):
    across, down = (surface(height, width, 2, seed) for seed in (1, 2))  # of no surface: it must hold for any
    whole = relief.integrate(across, down)
    rolled = relief.integrate(*(np.roll(s, (7, -13), (0, 1)) for s in (across, down)))
    assert np.abs(rolled - np.roll(whole, (7, -13), (0, 1))).max() <= 1e-4 * np.ptp(whole)


def test_normals_that_no_surface_can_have_are_cut():
    x = np.array([[0.0, 1.0, 0.5, 1.0]], np.float32)
    across, down = relief.slopes(x, np.array([[1.0, 0.0, 0.5, 0.5]], np.float32))
    assert np.isfinite([across, down]).all() and np.abs([across, down]).max() <= relief.STEEPEST
    assert (across[0, 2], down[0, 2]) == (0, 0)


def leaning(across, down):
    """The encoded normals of slopes."""
    normal = np.stack([-across, down, np.ones_like(down)], -1)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True) / 2 + 0.5


def test_a_slope_all_one_way_needs_edges():
    normal = leaning(np.full((96, 136), 0.3, np.float32), np.zeros((96, 136), np.float32))
    depths = [relief.encode(relief.of_normals(normal, tiles))[2] for tiles in (True, False)]
    assert depths[0] == 0 and 0.7 < depths[1] / (0.3 * 136) < 1.05


@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_the_mirrored_surface_has_the_slopes_times_their_strength(strength):
    true = surface(192, 272, 20)[:96, :136]
    found = relief.of_normals(leaning(*np.gradient(true)[::-1]), False, strength)
    assert likeness(found, true) > 0.99 and 0.8 < np.ptp(found) / np.ptp(true) / strength < 1.2
