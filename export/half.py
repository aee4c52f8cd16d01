"""Measure what half precision costs each model, and mark the cards of those that bear it.

    python -m export.half core/models/*.onnx [--mark]

A GPU that computes in float16 rounds every value that one node hands to the next, and adds up in float32 within a node
(as cuDNN and cuBLAS do on tensor cores). Here the CPU does the same: the graph computes in float32, and a cast to
float16 and back stands behind each input, constant and node. Optimisations are off, so that no node swallows a cast.

A model bears it when the maps that it makes differ from those of float32 by less than files of 8 bits show: on average
by less than the half level that rounding to 8 bits takes anyway, and in the worst thousandth of all values by less than
3 levels, about what an eye tells apart side by side on a plain surface. The map that loses most decides.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from core import card as cards
from core import style_pictures
from core.card import Card
from core.families import Request, Runner, material_maps, recurrent, restore, style, texture_gan, upscale, vae
from core.half import LARGEST, halved
from core.int8 import is_companion
from core.maps import Array, Maps
from core.onnx_file import read_metadata, read_tensor
from core.progress import finish

MATERIALS = ("fieldstone", "walnut_planks", "rusty_metal")  # stones, grain, and a metal with rust: made, not photos
COAT = "meadow"  # what grows over them
STYLES = ("woodcut", "dry_pastel")
SIZE = 256  # pixels
FRAMES = 8
DENOISE = 0.4
MEAN, WORST = 0.5, 3.0  # levels of 255 that a model may lose: on average, and in the worst thousandth

Codec = tuple[Card, Runner]


class Exact:
    """A graph on the CPU as it stands: a `families.Runner`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session = _opened(self._graph())

    def _graph(self) -> onnx.ModelProto:
        return onnx.load(self.path)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Input name -> array, to the outputs in the graph's order."""
        return [np.asarray(output, np.float32) for output in self._session.run(None, dict(feeds))]

    def tensor(self, name: str) -> NDArray[Any]:
        """A constant stored in the file."""
        return read_tensor(self.path, name)


class Rounded(Exact):
    """The same graph as a GPU computes it in half precision."""

    def _graph(self) -> onnx.ModelProto:
        return rounded(onnx.load(self.path))


@dataclass(frozen=True)
class Loss:
    """How far maps are from those of float32, in levels of 255 and, for normals, in degrees."""

    mean: float  # of the map that loses most, like the next two
    worst: float  # 99.9th percentile
    most: float
    degrees: float  # mean
    most_degrees: float

    @property
    def small(self) -> bool:
        """Whether a model may lose this."""
        return self.mean < MEAN and self.worst < WORST


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with every float32 value rounded to half precision as soon as it is there."""
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            array = np.clip(numpy_helper.to_array(tensor), -LARGEST, LARGEST)
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16).astype(np.float32), tensor.name))
    nodes, renamed = [], {}
    for value in graph.input:
        if kinds[value.name] == TensorProto.FLOAT:
            renamed[value.name] = f"{value.name}:rounded"
            nodes += _rounding(value.name, renamed[value.name])
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        nodes.append(node)
        for place, name in enumerate(node.output):
            if kinds[name] == TensorProto.FLOAT:  # a value of unknown type would be an error, not left out
                node.output[place] = f"{name}:exact"
                nodes += _rounding(node.output[place], name)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return model


def _rounding(source: str, result: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [source], [f"{result}:half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", [f"{result}:half"], [result], to=TensorProto.FLOAT),
    ]


def _opened(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def loss(made: Sequence[Maps], expected: Sequence[Maps]) -> Loss:
    """The loss over several sets of the same maps."""
    pairs = list(zip(made, expected, strict=True))
    levels = {name: np.concatenate([_levels(one[name], other[name]) for one, other in pairs]) for name in made[0]}
    angles = [_angles(one["normal"], other["normal"]) for one, other in pairs if "normal" in one] or [
        np.zeros(1, np.float32)
    ]
    return Loss(
        max(float(found.mean(dtype=np.float64)) for found in levels.values()),
        max(float(np.quantile(found, 0.999)) for found in levels.values()),
        max(float(found.max()) for found in levels.values()),
        float(np.mean(angles)),
        float(np.max(angles)),
    )


def _levels(first: Array, second: Array) -> Array:
    """Differences of all values, one after another."""
    difference: Array = 255 * np.abs(first - second).ravel()
    return difference


def _angles(first: Array, second: Array) -> Array:
    """Degrees (H, W) between encoded normals; by sine and cosine, as the cosine alone cannot tell small angles."""
    a, b = first.astype(np.float64) * 2 - 1, second.astype(np.float64) * 2 - 1
    sine = np.linalg.norm(np.cross(a, b), axis=-1)
    angles: Array = np.degrees(np.arctan2(sine, (a * b).sum(-1))).astype(np.float32)
    return angles


def materials(card: Card, runner: Runner, names: Sequence[str]) -> list[Maps]:
    """Made materials: what the models are tried on."""
    return [finish(texture_gan.generate(card, runner, Request(name, SIZE, SIZE, 1))) for name in names]


def _made(card: Card, runner: Runner, given: Sequence[Maps], coat: Maps, codec: Codec) -> list[Maps]:
    """What a model makes of the materials given, in the way of its family."""
    each: dict[str, Callable[[Maps], list[Maps]]] = {
        "vae": lambda maps: [vae.decode(card, runner, vae.encode(card, runner, maps))],
        "style": lambda maps: [
            finish(style.stylize(card, runner, maps, style_pictures.load(name), style.Options())).only(["albedo"])
            for name in STYLES
        ],
        "recurrent": lambda maps: [
            moment.maps
            for moment in recurrent.animate(card, runner, codec, maps, FRAMES, 1, coat)
            if moment.maps is not None
        ],
        "material_maps": lambda maps: [finish(material_maps.derive(card, runner, maps["albedo"], True))],
        "restore": lambda maps: [_healed(card, runner, maps["albedo"])],
        "upscale": lambda maps: [finish(upscale.enlarge(card, runner, maps, 2, True))],
    }
    if card.family == "texture_gan":
        return materials(card, runner, [material.name for material in card.materials[::5]])
    return [made for maps in given for made in each[card.family](maps)]


def _healed(card: Card, runner: Runner, picture: Array) -> Maps:
    """A noisy picture with a hole, healed."""
    random = np.random.default_rng(1)
    noise = random.standard_normal(picture.shape, dtype=np.float32) * np.float32(DENOISE * restore.STRONGEST)
    hole = np.zeros(picture.shape[:2], bool)
    hole[40:60, 100:180] = True
    healed = finish(restore.heal(card, runner, np.clip(picture + noise, 0, 1), hole, DENOISE, True))
    return Maps({"albedo": healed})


def mark(path: Path, card: Card, small: bool) -> None:
    """Write into the card whether the model may be computed in half precision."""
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == cards.KEY:
            entry.value = replace(card, half=small).to_json()
    data = model.SerializeToString()
    halved(data, path.name)  # what cannot be rewritten is not marked
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def read_card(path: Path) -> Card:
    """The card of a model file."""
    return cards.parse(read_metadata(path)[cards.KEY], path.name)


def main() -> None:
    """Measure each model, print a table, and mark the files if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL.onnx")
    parser.add_argument("--maker", type=Path, default=Path("core/models/atlas.onnx"), help="makes the materials")
    parser.add_argument("--codec", type=Path, default=Path("core/models/codec.onnx"), help="shows what moves")
    parser.add_argument("--mark", action="store_true", help="write into each card whether half precision is allowed")
    options = parser.parse_args()
    *given, coat = materials(read_card(options.maker), Exact(options.maker), (*MATERIALS, COAT))
    codec = read_card(options.codec), Exact(options.codec)
    print(f"{'model':16}{'mean':>8}{'99.9 %':>8}{'max':>8}{'normals':>10}{'max':>8}  half")
    for path in (path for path in options.models if not is_companion(path)):
        card = read_card(path)
        made, expected = (_made(card, kind(path), given, coat, codec) for kind in (Rounded, Exact))
        found = loss(made, expected)
        figures = f"{found.mean:8.3f}{found.worst:8.2f}{found.most:8.2f}{found.degrees:9.3f}°{found.most_degrees:7.2f}°"
        print(f"{path.stem:16}{figures}  {'yes' if found.small else 'no'}", flush=True)
        if options.mark and found.small != card.half:
            mark(path, card, found.small)


if __name__ == "__main__":
    main()
