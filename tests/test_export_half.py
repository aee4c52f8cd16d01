import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny import tiny_model

from core.maps import Maps
from export import half


def saved(folder, *nodes, **constants):
    """A graph from x to y, of these nodes and constants."""
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])] for name in "xy"]
    kept = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph([helper.make_node(op, i.split(), [o]) for op, i, o in nodes], "g", *ends, kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


def test_every_input_constant_and_node_is_rounded(tmp_path):
    path = saved(tmp_path, ("Mul", "x a", "m"), ("Add", "m b", "s"), ("Exp", "s", "y"), a=1 / 3, b=0.7)
    x = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    a, b = np.float16(1 / 3), np.float16(0.7)
    product = (x.astype(np.float16).astype(np.float32) * np.float32(a)).astype(np.float16)
    total = (product.astype(np.float32) + np.float32(b)).astype(np.float16)
    (made,), (exact,) = half.Rounded(path).run({"x": x}), half.Exact(path).run({"x": x})
    assert np.array_equal(made, made.astype(np.float16)) and not np.array_equal(exact, exact.astype(np.float16))
    np.testing.assert_allclose(made, np.exp(total.astype(np.float64)), rtol=2**-11 * 1.01)  # the last rounding alone
    once = np.exp((x / 3 + 0.7).astype(np.float64)).astype(np.float16)
    assert not np.array_equal(made, once)


def test_what_half_cannot_hold_becomes_infinite_as_on_a_gpu(tmp_path):
    path = saved(tmp_path, ("Mul", "x a", "m"), ("Mul", "m b", "y"), a=1e4, b=1e-4)
    made = half.Rounded(path).run({"x": np.array([1.0, 10.0], np.float32)})[0]
    assert made[0] == pytest.approx(1, rel=1e-2) and np.isinf(made[1])


def test_integers_stay(tmp_path):
    nodes = [("Shape", "x", "n"), ("ConstantOfShape", "n", "z"), ("Add", "x z", "y")]
    assert half.Rounded(saved(tmp_path, *nodes)).run({"x": np.ones(5000, np.float32)})[0].shape == (5000,)


def maps(normal, ao):
    return Maps({"normal": np.tile(np.float32(normal), (100, 100, 1)), "ao": np.full((100, 100, 1), ao, np.float32)})


def test_the_map_that_loses_most_decides():
    found = half.loss([maps((0.5, 0.5, 1), 0.5)], [maps((0.5, 0.5, 1), 0.5 + 1 / 255)])
    assert found.mean == pytest.approx(1, abs=1e-3) and found.degrees == 0 and not found.small


def test_a_few_wrong_values_decide_too():
    one, other = maps((0.5, 0.5, 1), 0.5), maps((0.5, 0.5, 1), 0.5)
    other["ao"][:20, 0] = 1  # a five-hundredth
    found = half.loss([one], [other])
    assert found.mean < half.MEAN and found.most > 100 and not found.small


def test_normals_are_told_in_degrees():
    tilted = (0.5 + np.sin(0.1) / 2, 0.5, 0.5 + np.cos(0.1) / 2)
    assert half.loss([maps((0.5, 0.5, 1), 1)], [maps(tilted, 1)]).degrees == pytest.approx(np.degrees(0.1), rel=1e-3)


def test_a_mark_changes_the_card_alone(tmp_path):
    path = tiny_model(tmp_path)
    shutil.copy(path, tmp_path / "before.onnx")
    half.mark(path, half.read_card(path), True)
    assert half.read_card(path).half and onnx.load(path).graph == onnx.load(tmp_path / "before.onnx").graph
    half.mark(path, half.read_card(path), False)
    assert not half.read_card(path).half
