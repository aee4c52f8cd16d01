import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny import tiny_card, tiny_model

from core import card
from core.errors import ModelError
from core.half import LARGEST, halved
from core.library import BUNDLED, Library
from core.sessions import _CRASHING, CPU

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
NOISE = {"cells": np.zeros((2, 10, 10), np.int64), "share": np.ones((2, 1, 10, 10)), "noise": np.ones((1, 2, 10, 10))}


def model(nodes, constants=(), inner=FLOAT):
    """A model of one input and one output."""
    ends = [[helper.make_tensor_value_info(name, FLOAT, ["n"])] for name in "xy"]
    graph = helper.make_graph(
        nodes, "g", *ends, constants, value_info=[helper.make_tensor_value_info("v", inner, None)]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def opened(data):
    return onnxruntime.InferenceSession(data, providers=[CPU], disabled_optimizers=_CRASHING)


def run(data, feeds, dtype):
    session = opened(data)
    fit = {name: array if array.dtype == np.int64 else array.astype(dtype) for name, array in feeds.items()}
    return session.run(None, fit)


def types(data):
    """Every element type that a model names."""
    graph = onnx.load_from_string(data).graph
    found = {tensor.data_type for tensor in graph.initializer}
    found |= {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info)}
    for node in graph.node:
        found |= {a.i for a in node.attribute if a.name == "to"} | {
            a.t.data_type for a in node.attribute if a.HasField("t")
        }
    return found


def test_a_whole_model_becomes_half_and_makes_the_same(tmp_path):
    data = tiny_model(tmp_path, extra="wide").read_bytes()
    small = halved(data, "tiny.onnx")
    onnx.checker.check_model(onnx.load_from_string(small), full_check=True)
    (made,), (expected,) = run(small, NOISE, np.float16), run(data, NOISE, np.float32)
    assert made.dtype == np.float16 and np.abs(made - expected).max() < 4e-3


@pytest.mark.parametrize("path", [model.path for model in Library([BUNDLED]).models()], ids=lambda path: path.stem)
def test_a_shipped_model_becomes_half(path):
    small = halved(path.read_bytes(), path.name)
    assert types(small) <= {HALF, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}
    onnx.checker.check_model(onnx.load_from_string(small), full_check=True)
    assert all(value.type in ("tensor(float16)", "tensor(int64)") for value in opened(small).get_inputs())


def test_metadata_and_names_stay(tmp_path):
    data = tiny_model(tmp_path).read_bytes()
    before, after = (onnx.load_from_string(d) for d in (data, halved(data, "x")))
    assert before.metadata_props == after.metadata_props and before.opset_import == after.opset_import
    assert [n.name for n in before.graph.node] == [n.name for n in after.graph.node]


@pytest.mark.parametrize("raw", [True, False])
def test_constants_are_rounded_in_either_encoding(raw):
    values = np.array([1 / 3, 1e9, -1e9, np.inf, 1e-9], np.float32)
    kept = numpy_helper.from_array(values, "c")
    if not raw:
        kept = helper.make_tensor("c", FLOAT, [5], values)
    data = halved(model([helper.make_node("Add", ["x", "c"], ["y"])], [kept]), "x")
    expected = np.array([np.float16(1 / 3), LARGEST, -LARGEST, np.inf, 0], np.float16)
    assert np.array_equal(run(data, {"x": np.zeros(5)}, np.float16)[0], expected)


def test_attributes_casts_and_values_change_and_integers_stay():
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32(2), "t"))
    whole = helper.make_node("Cast", ["x"], ["v"], to=TensorProto.INT64)
    back = helper.make_node("Cast", ["v"], ["w"], to=FLOAT)
    data = halved(
        model([constant, whole, back, helper.make_node("Mul", ["w", "c"], ["y"])], inner=TensorProto.INT64), "x"
    )
    assert types(data) == {HALF, TensorProto.INT64}
    assert run(data, {"x": np.array([3.7])}, np.float16)[0] == 6


def test_graphs_within_graphs_change_too():
    inside = helper.make_tensor_value_info("z", FLOAT, None)
    branches = [helper.make_graph([helper.make_node(op, ["x"], ["z"])], op, [], [inside]) for op in ("Identity", "Neg")]
    yes = numpy_helper.from_array(np.array(False), "yes")
    chosen = helper.make_node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1])
    assert run(halved(model([chosen], [yes]), "x"), {"x": np.ones(1)}, np.float16)[0] == -1


@pytest.mark.parametrize("kind", ["value_float", "value_floats"])
def test_what_cannot_be_rewritten_is_refused(kind):
    value = 1.0 if kind == "value_float" else [1.0]
    with pytest.raises(ModelError, match="does not support"):
        halved(model([helper.make_node("Constant", [], ["y"], **{kind: value})]), "x.onnx")


def test_numbers_in_another_file_are_refused():
    far = numpy_helper.from_array(np.zeros(3, np.float32), "c")
    far.data_location = TensorProto.EXTERNAL
    with pytest.raises(ModelError, match="does not support"):
        halved(model([], [far]), "x.onnx")


def test_hostile_bytes_are_a_model_error_or_bytes(tmp_path):
    data, random = tiny_model(tmp_path).read_bytes(), np.random.default_rng(0)
    broken = [data[:end] for end in range(0, len(data), 97)]
    for _ in range(100):
        wrong = bytearray(data)
        for place in random.integers(0, len(data), 4):
            wrong[place] = random.integers(256)
        broken.append(bytes(wrong))
    for some in [*broken, *(random.bytes(n) for n in (1, 10, 1000) * 10)]:
        try:
            halved(some, "bad.onnx")
        except ModelError as error:
            assert "bad.onnx" in str(error) and "\n" not in str(error)


def test_deep_nesting_is_refused():
    graph = b""
    for _ in range(1000):
        graph = field(1, field(5, field(6, graph)))  # a graph in an attribute of a node of a graph
    with pytest.raises(ModelError, match="nested too deeply"):
        halved(field(7, graph), "x")


def field(number, data):
    """A field of a message that holds bytes."""
    size, groups = len(data), []
    while size > 127:
        groups.append(size & 127 | 128)
        size >>= 7
    return bytes([8 * number + 2, *groups, size]) + data


def test_the_card_says_whether_half_is_allowed():
    assert not card.parse(json.dumps(tiny_card()), "x").half
    assert card.parse(json.dumps(tiny_card(half=True)), "x").half
    with pytest.raises(ModelError, match="true or false"):
        card.parse(json.dumps(tiny_card(half=1)), "x")
