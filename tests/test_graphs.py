"""Graphs that a GPU runs from end to end: no node for the CPU to do, no copies to and fro."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from core.library import BUNDLED

MODELS = sorted(path for path in BUNDLED.glob("*.onnx") if not path.stem.endswith(".int8"))
OPSET = 18
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16}
NUMBERS = FLOATS | {TensorProto.INT64}
ANY = NUMBERS | {TensorProto.BOOL}
# Operator -> types of its data that ONNX Runtime's CUDA provider has a kernel for at opset 18, of those that occur
# (docs/OperatorKernels.md of microsoft/onnxruntime). What a model needs beyond these is looked up and added here.
KERNELS = {
    **dict.fromkeys(("Abs", "Add", "Clip", "Div", "Greater", "Mul", "ReduceSum", "Sub", "Where"), NUMBERS),
    **dict.fromkeys(("ArgMax", "Conv", "ConvTranspose", "Floor", "LeakyRelu", "MatMul", "Relu"), FLOATS),
    **dict.fromkeys(("Concat", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"), ANY),
}
# Inputs that the CUDA provider reads on the CPU, from this one on: constants, or the GPU waits for the CPU.
READ_FIRST = dict.fromkeys(("ReduceSum", "Reshape", "Slice", "Split", "Squeeze", "Unsqueeze"), 1)
SELECTS = {"Where", "Gather"}  # their data are not all of one type: a condition before, places behind


def complaints(model, folder):
    """What of a model the CUDA provider would leave to the CPU, after the optimisation that every provider does."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    graph = shape_inference.infer_shapes(onnx.load(folder / "optimised.onnx"), strict_mode=True).graph
    constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
    types = constants | {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    found = []
    for node in graph.node:
        read = READ_FIRST.get(node.op_type, len(node.input))
        data = {types[name] for name in node.input[:read]}
        if node.op_type in SELECTS:
            data = {types[node.input[1 if node.op_type == "Where" else 0]]}
        halves = {TensorProto.FLOAT16 if kind == TensorProto.FLOAT else kind for kind in data}
        if not data | halves <= KERNELS.get(node.op_type, set()):
            found.append(f"{node.op_type} {node.name} has no kernel")
        found += [f"{node.op_type} {node.name} waits for {n}" for n in node.input[read:] if n and n not in constants]
    return found


def drawn(nodes, **constants):
    """A model of these nodes from x (1, 2, h, w) to y."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, f"{n}h", f"{n}w"]) for n in "xy")
    initializers = [numpy_helper.from_array(np.array(v), n) for n, v in constants.items()]
    graph = helper.make_graph([helper.make_node(*n[:3], **n[3]) for n in nodes], "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_gpu_runs_every_node_of_a_bundled_model(path, tmp_path):
    model = onnx.load(path)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [OPSET]
    assert complaints(model, tmp_path) == []


def test_arithmetic_on_shapes_is_found(tmp_path):
    nodes = [("Shape", ["x"], ["s"], {}), ("Expand", ["c", "s"], ["e"], {}), ("Add", ["x", "e"], ["y"], {})]
    found = complaints(drawn(nodes, c=np.ones((1, 2, 1, 1), "f4")), tmp_path)
    assert [line.split()[0] for line in found] == ["Shape", "Expand"]


def test_a_bound_that_is_computed_is_found(tmp_path):
    nodes = [("ArgMax", ["x"], ["a"], {"axis": 3, "keepdims": 0}), ("Reshape", ["a", "flat"], ["f"], {})]
    nodes += [("Slice", ["f", "zero", "one"], ["end"], {}), ("Slice", ["x", "zero", "end", "last"], ["y"], {})]
    found = complaints(drawn(nodes, flat=[-1], zero=[0], one=[1], last=[3]), tmp_path)
    assert len(found) == 1 and found[0].endswith("waits for end")


def test_an_operator_without_a_kernel_is_found(tmp_path):
    model = drawn([("Asinh", ["x"], ["y"], {})])
    assert complaints(model, tmp_path) == ["Asinh  has no kernel"]
