"""Verbs that tests share: a model of a few kilobytes, made on the spot, and the command line in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.card import KEY

ROOT = Path(__file__).parent.parent
CELL, NOISE, DEPTH, GRID = 8, 2, 4, 16
MATERIALS = {"cobblestone": "paving", "oak": "wood", "sand": "ground"}
Changes = dict[str, Any]


def tiny_card(**changes: Any) -> Changes:
    """The card of a tiny texture_gan as plain data; `changes` replace its entries."""
    cells = GRID * GRID
    memory = [{"material": m, "start": i * cells, "height": GRID, "width": GRID} for i, m in enumerate(MATERIALS)]
    card = {
        "schema": 1,
        "family": "texture_gan",
        "name": "tiny",
        "maps": ["albedo", "normal", "height", "roughness", "metallic", "ao"],
        "size": {"multiple": CELL, "minimum": 64, "halo": CELL},
        "licence": "CC0-1.0",
        "data": "random numbers",
        "precision": "float32",
        "materials": [{"name": m, "category": c, "metres": 2.0, "pixels": 1024} for m, c in MATERIALS.items()],
        "figures": {},
        "training": {},
        "settings": {"cell": CELL, "mix": CELL, "noise": NOISE, "memory": memory},
    }
    return card | changes


def tiny_model(
    folder: Path, file: str = "tiny.onnx", drop: str = "", extra: str = "", card: str | None = None, **changes: Any
) -> Path:
    """Write a tiny valid texture_gan and return its path.

    `changes` replace entries of the card, `card` its whole text; `drop` renames an input or output of the graph;
    `extra` is "endless" for a graph that never ends, "stubborn" for one node that takes long, "nan" for NaN out,
    "wide" for a convolution that sees the cells around each cell, so that the halo counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(_graph(drop, extra), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {KEY: json.dumps(tiny_card(**changes)) if card is None else card})
    onnx.save(model, folder / file)
    return folder / file


def command(*arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m core` with these arguments, to its end."""
    return subprocess.run(line(*arguments), capture_output=True, text=True, timeout=60, **_process(environment))


def started(*arguments: Any) -> subprocess.Popen[str]:
    """`python -m core` with these arguments, still running."""
    return subprocess.Popen(line(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **_process({}))


def line(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "core", *(str(argument) for argument in arguments)]


def _process(environment: dict[str, str]) -> dict[str, Any]:
    return {"cwd": ROOT, "env": {**os.environ, **environment}}


def _smooth(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Periodic noise without its high frequencies."""
    values = random.standard_normal(shape)
    for axis in (-3, -2):
        values = (np.roll(values, 1, axis) + values + np.roll(values, -1, axis)) / 2
    return values.astype(np.float32)


def _constants() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {
        "memory": _smooth(random, len(MATERIALS), GRID, GRID, DEPTH).reshape(-1, DEPTH),
        "halo": np.array([CELL, CELL]),
        "minus_halo": np.array([-CELL, -CELL]),
        "sides": np.array([2, 3]),
        "batch": np.array([0]),
        "paint": random.standard_normal((DEPTH, 8, CELL, CELL)).astype(np.float32) / 2,
        "grain": random.standard_normal((NOISE, 8, CELL, CELL)).astype(np.float32) / 10,
    }


def _graph(drop: str, extra: str) -> onnx.GraphProto:
    node = helper.make_node
    nodes = [
        node("Gather", ["memory", "cells"], ["rows"], axis=0),  # B, h, w, D
        node("Transpose", ["rows"], ["both"], perm=[0, 3, 1, 2]),
        node("Mul", ["both", "share"], ["parts"]),
        node("ReduceSum", ["parts", "batch"], ["mixed"]),
        node("ConvTranspose", ["mixed", "paint"], ["painted"], strides=[CELL, CELL]),
        node("ConvTranspose", ["noise", "grain"], ["grained"], strides=[CELL, CELL]),
        node("Add", ["painted", "grained"], ["sum"]),
        node("Slice", ["sum", "halo", "minus_halo", "sides"], ["cropped"]),
        node("Sigmoid", ["cropped"], ["open" if extra else "planes"]),
    ]
    constants = _constants()
    if extra:
        more, values = {"endless": _endless, "stubborn": _stubborn, "nan": _nan, "wide": _wide}[extra]()
        nodes += more
        nodes.append(node("Add", ["open", "zero"], ["planes"]))
        constants |= values
    inputs = [
        helper.make_tensor_value_info("cells", TensorProto.INT64, ["B", "h", "w"]),
        helper.make_tensor_value_info("share", TensorProto.FLOAT, ["B", 1, "h", "w"]),
        helper.make_tensor_value_info("noise", TensorProto.FLOAT, [1, NOISE, "h", "w"]),
    ]
    outputs = [helper.make_tensor_value_info("planes", TensorProto.FLOAT, [1, 8, "H", "W"])]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    return _renamed(graph, drop) if drop else graph


def _renamed(graph: onnx.GraphProto, name: str) -> onnx.GraphProto:
    for value in [*graph.input, *graph.output]:
        if value.name == name:
            value.name = "other"
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["other" if n == name else n for n in names]
    return graph


def _endless() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """A loop of 2**62 turns, to be stopped from outside."""
    float1 = [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ("before", "after")]
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    go = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "go_on")]
    steps = [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sin", ["before"], ["after"])]
    body = helper.make_graph(steps, "body", [turn, go[0], float1[0]], [go[1], float1[1]])
    values = {"turns": np.array(2**62), "yes": np.array(True), "start": np.array(0, np.float32)}
    return [helper.make_node("Loop", ["turns", "yes", "start"], ["zero"], body=body)], values


def _stubborn() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """One product of matrices that takes many seconds and cannot be interrupted."""
    nodes = [
        helper.make_node("RandomNormal", [], ["matrix"], shape=[9000, 9000], scale=1e-6),
        helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["zero"], keepdims=0),  # nearly
    ]
    return nodes, {}


def _nan() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    return [helper.make_node("Log", ["minus"], ["zero"])], {"minus": np.array(-1, np.float32)}


def _wide() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """A 3x3 convolution without padding: it takes exactly the halo of one cell away."""
    random = np.random.default_rng(2)
    nodes = [
        helper.make_node("Conv", ["mixed", "look"], ["looked"]),
        helper.make_node("ConvTranspose", ["looked", "spread"], ["zero"], strides=[CELL, CELL]),  # far from it
    ]
    shapes = {"look": (DEPTH, DEPTH, 3, 3), "spread": (DEPTH, 8, CELL, CELL)}
    return nodes, {name: (random.standard_normal(s) / 8).astype(np.float32) for name, s in shapes.items()}
