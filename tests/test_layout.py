import numpy as np
import pytest

from core.layout import Example, quilt, relay


def example(height=64, width=64, seamless=True, seed=0):
    """Smooth features on the torus."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((4, height, width)))
    field = np.fft.irfft2(spectrum * np.exp(-(rows**2 + columns**2) * 60), s=(height, width))
    return Example((field / (field.std() + 1e-9)).transpose(1, 2, 0).astype(np.float32), seamless)


def laid(of, height, width, seed=1):
    """Rows and columns of the example that a layout takes its cells from."""
    flat = quilt(of, height, width, np.random.default_rng(seed))
    assert flat.shape == (height, width) and flat.dtype == np.int64
    assert flat.min() >= 0 and flat.max() < of.features.shape[0] * of.features.shape[1]
    return np.divmod(flat, of.features.shape[1])


def steps(sources, of, axis):
    """From each cell to the next along an axis of the layout: (rows, columns) moved in the example's torus."""
    return [(np.roll(s, -1, axis) - s) % side for s, side in zip(sources, of.features.shape, strict=False)]


def joined(sources, of, axis):
    """Which cells are followed by their neighbour in the example."""
    rows, columns = steps(sources, of, axis)
    return (rows == (axis == 0) % of.features.shape[0]) & (columns == (axis == 1) % of.features.shape[1])


def commonest(sources, of):
    """Share of the cells that the best single shift of the example explains."""
    height, width = sources[0].shape
    rows, columns = of.features.shape[:2]
    shift = (sources[0] - np.arange(height)[:, None]) % rows * columns + (sources[1] - np.arange(width)) % columns
    return np.bincount(shift.ravel()).max() / shift.size


SIZES = [(1, 1), (1, 7), (3, 50), (48, 48), (31, 17)]
EXAMPLES = [(64, 64), (40, 72), (9, 30), (2, 2)]


@pytest.mark.parametrize("seamless", [True, False])
@pytest.mark.parametrize(("rows", "columns"), EXAMPLES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_layout_has_the_asked_shape_and_only_cells_of_the_example(rows, columns, height, width, seamless):
    laid(example(rows, columns, seamless), height, width)  # which asserts it


def test_a_seed_makes_one_layout_and_another_seed_another():
    first, again, other = (laid(example(), 32, 32, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert (np.array(first) != np.array(other)).any(0).mean() > 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("height", "width"), [(48, 48), (64, 64), (40, 72)])
def test_a_layout_is_no_shifted_copy_of_its_example(height, width, seed):
    for of in (example(), example(40, 72)):
        assert commonest(laid(of, height, width, seed), of) < 0.5


@pytest.mark.parametrize("seamless", [True, False])
@pytest.mark.parametrize("axis", [0, 1])
def test_most_cells_keep_their_neighbours(axis, seamless):
    of = example(40, 72, seamless)
    assert joined(laid(of, 48, 48), of, axis).mean() > 0.6


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (32, 48)])
def test_an_example_that_does_not_tile_is_never_wrapped_inside_a_patch(rows, columns, seed):
    of = example(rows, columns, seamless=False, seed=seed)
    sources = laid(of, 48, 48, seed)
    for axis in (0, 1):
        assert not (joined(sources, of, axis) & (sources[axis] == of.features.shape[axis] - 1)).any()


def test_an_example_that_tiles_may_be_wrapped():
    of = example(32, 32)
    sources = laid(of, 64, 64)
    assert any((joined(sources, of, axis) & (sources[axis] == 31)).any() for axis in (0, 1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("axis", [0, 1])
def test_the_wrap_is_no_rougher_than_the_median_line_within(axis, seed):
    of = example(seed=seed)
    made = of.features[laid(of, 48, 40, seed)]
    rough = ((made - np.roll(made, 1, axis)) ** 2).sum(-1).mean(1 - axis)  # the first is the wrap
    assert rough[0] <= np.median(rough[1:])


def test_joins_fit_far_better_than_chance():
    of = example()
    made = of.features[laid(of, 48, 48)]
    rough = ((made - np.roll(made, 1, 1)) ** 2).sum(-1).mean()
    shuffled = np.random.default_rng(0).permutation(of.features.reshape(-1, 4)).reshape(of.features.shape)
    assert rough < 0.2 * ((shuffled - np.roll(shuffled, 1, 1)) ** 2).sum(-1).mean()


def relaid(of, kept, seed=1):
    flat = relay(of, kept, np.random.default_rng(seed))
    return np.divmod(flat, of.features.shape[1])


def spots(height=64, width=64):
    """All cells kept but for a square."""
    kept = np.ones((height, width), bool)
    kept[20:44, 20:44] = False
    return kept


def test_what_is_kept_stays_but_for_the_joins():
    rows, columns = relaid(example(), spots())
    same = (rows == np.arange(64)[:, None]) & (columns == np.arange(64))
    assert same[spots()].mean() > 0.9 and same[24:40, 24:40].mean() < 0.5


def test_an_example_that_does_not_tile_does_after_its_edges_are_laid_anew():
    of = example(seamless=False)
    of.features[:, -1] += 20  # a step where it wraps
    kept = np.zeros((64, 64), bool)
    kept[8:-8, 8:-8] = True
    rows, columns = relaid(of, kept)
    laid_anew = of.features[rows, columns]
    assert np.abs(laid_anew[:, 0] - laid_anew[:, -1]).mean() < 5


def test_keeping_all_is_the_example_itself():
    rows, columns = relaid(example(), np.ones((64, 64), bool))
    assert (rows == np.arange(64)[:, None]).all() and (columns == np.arange(64)).all()
