"""Write an ONNX model file: graph from PyTorch, proven equal to it, weights in half precision, card inside.

The proof comes first and in float32: what is stored afterwards differs by rounding to half precision only, and
by how much is measured too and written into the card.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from core.card import KEY, Card, parse

LARGEST_DIFFERENCE = 1e-4  # between PyTorch and ONNX Runtime, float32
LARGEST_CHANGE = 1e-5  # between a file and the same drawn anew, of the largest number that it makes
OPSET = 18
SMALL = 64  # tensors with fewer numbers stay in float32: biases, shapes

Feeds = Mapping[str, torch.Tensor]


class NotEqualError(Exception):
    """The exported graph does not compute what the network computes."""


def export_graph(
    network: nn.Module, samples: Sequence[Feeds], outputs: Sequence[str], free: Mapping[str, Mapping[int, str]]
) -> onnx.ModelProto:
    """Export a network and prove it on every sample, at least two of different sizes.

    `samples` are inputs by name in the order of `forward`; `free` names the axes that may change size.
    """
    network = network.eval()
    first = samples[0]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is old, not wrong: the proof below decides
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            network,
            tuple(first.values()),
            path,
            input_names=list(first),
            output_names=list(outputs),
            dynamic_axes={k: dict(v) for k, v in free.items()},
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(path)
    shuffle_by_convolution(model)
    onnx.checker.check_model(model)
    difference = max(compare(network, model, feeds) for feeds in samples)
    if difference > LARGEST_DIFFERENCE:
        raise NotEqualError(f"ONNX Runtime and PyTorch differ by {difference:.2e}, more than {LARGEST_DIFFERENCE:.0e}.")
    return model


def shuffle_by_convolution(model: onnx.ModelProto) -> None:
    """Replace, in place, every DepthToSpace by a transposed convolution that moves the same numbers.

    ONNX Runtime's CPU provider runs the former on one core; a grouped convolution with ones and zeros took a
    quarter to two thirds of the time.
    """
    graph = model.graph
    for index, node in enumerate(graph.node):
        if node.op_type != "DepthToSpace":
            continue
        side = next(a.i for a in node.attribute if a.name == "blocksize")
        channels = _channels_into(graph, node.input[0])
        weight = np.eye(side * side, dtype=np.float32).reshape(side * side, 1, side, side)
        name = f"shuffle_{index}"
        graph.initializer.append(numpy_helper.from_array(np.tile(weight, (channels // side**2, 1, 1, 1)), name))
        moved = helper.make_node(
            "ConvTranspose",
            [node.input[0], name],
            list(node.output),
            name=node.name,
            strides=[side, side],
            group=channels // side**2,
        )
        node.CopyFrom(moved)


def _channels_into(graph: onnx.GraphProto, value: str) -> int:
    """Channels of a value that a convolution makes, perhaps with a sum behind it."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    maker = next(node for node in graph.node if value in node.output)
    if maker.op_type == "Conv":
        return int(shapes[maker.input[1]][0])
    return _channels_into(graph, maker.input[0])


@torch.no_grad()
def compare(network: nn.Module, model: onnx.ModelProto, feeds: Feeds) -> float:
    """Largest absolute difference between the outputs of a network and of its graph."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    made = session.run(None, {name: tensor.numpy() for name, tensor in feeds.items()})
    expected = network(*feeds.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    return max(float(np.abs(m - e.numpy()).max()) for m, e in zip(made, expected, strict=True))


def halve_weights(model: onnx.ModelProto, only: Container[str] | None = None) -> onnx.ModelProto:
    """Store large float32 constants in half precision, each followed by a cast back; ONNX Runtime folds the casts.

    All of them, or `only` those with these names.
    """
    small = onnx.ModelProto()
    small.CopyFrom(model)
    casts = []
    for tensor in small.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size >= SMALL and (only is None or tensor.name in only):
            name = tensor.name
            stored = numpy_helper.from_array(array.astype(np.float16), f"{name}_half" if name != "memory" else name)
            used = name if name != "memory" else f"{name}_float"
            tensor.CopyFrom(stored)
            casts.append(helper.make_node("Cast", [stored.name], [used], to=TensorProto.FLOAT))
    for node in small.graph.node:
        node.input[:] = ["memory_float" if name == "memory" else name for name in node.input]
    nodes = [*casts, *small.graph.node]
    del small.graph.node[:]
    small.graph.node.extend(nodes)
    onnx.checker.check_model(small)
    return small


def renew(
    path: Path,
    network: nn.Module,
    samples: Sequence[Feeds],
    outputs: Sequence[str],
    free: Mapping[str, Mapping[int, str]],
) -> None:
    """Write a file anew with the graph as its exporter draws it now: same constants, same card, the figures with it.

    The constants are the file's own, to the bit, and the new graph is held against the old one on every sample.
    `network` is of the same kind, its weights do not matter.
    """
    old = onnx.load(path)
    stored = {tensor.name.removesuffix("_half"): numpy_helper.to_array(tensor) for tensor in old.graph.initializer}
    known = stored.keys() & network.state_dict().keys()  # zeros and ones may have been folded away; the proof tells
    network.load_state_dict({name: torch.from_numpy(stored[name].astype(np.float32)) for name in known}, strict=False)
    new = halve_weights(export_graph(network, samples, outputs, free))
    for feeds in samples:
        arrays = {name: tensor.numpy() for name, tensor in feeds.items()}
        for before, after in zip(run(old, arrays), run(new, arrays), strict=True):
            change = float(np.abs(after - before).max() / np.abs(before).max())
            if change > LARGEST_CHANGE:
                raise NotEqualError(f"{path.name} would change by {change:.1e}; train and export it again instead.")
    save(new, card_in(old), path)


def add_renew(commands: Any) -> None:
    """Give a trainer's command line the command `renew`."""
    command = commands.add_parser("renew", help="write a file anew with the graph as it is drawn now, same weights")
    command.add_argument("--model", type=Path, required=True, help="ONNX file to write anew")


def card_in(model: onnx.ModelProto) -> Card:
    """The card that a model carries."""
    return parse(next(entry.value for entry in model.metadata_props if entry.key == KEY), "the model")


def save(model: onnx.ModelProto, card: Card, path: Path) -> None:
    """Write the model with its card, to a temporary name first."""
    parse(card.to_json(), path.name)  # what we could not read back, we do not write
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, card.to_json()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(model.SerializeToString())
    os.replace(temporary, path)


def run(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Run a graph once on the CPU."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))
