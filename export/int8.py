"""Make the int8 companions of shipped models, which the CPU runs in their place (see core/int8.py).

    python -m export.int8 --data DIR                   # figures of all models that can have one, beside the float ones
    python -m export.int8 --data DIR --write upscale   # and the companion, beside the model, if it keeps the limits

Activations become 8-bit numbers whose ranges are fixed for all pixels of all pictures, so that tiles go on agreeing
with the whole (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference"); weights become 7-bit numbers, scaled for each output channel: with 8 bits, sums of two products do not fit
into the 16 bits that CPUs without VNNI add them in. Ranges are chosen on materials that were trained on; what is lost
is measured on those that were not. The first convolution, linear ways around the network, and what draws its results
into the picture stay float: the first convolutions of the texture GAN alone would take 6 dB.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from core import families, int8
from core.card import Card
from core.families import Request, Runner, material_maps, restore, texture_gan, upscale, vae
from core.library import Library, Model
from core.maps import Array
from core.onnx_file import sha256
from core.progress import finish
from core.sessions import Sessions
from export import damage, maps_judge, onnx_model, relighting, restore_judge, upscale_judge
from export import judge as gan_judge
from export import materials as photos
from export.vae import angles

# What a companion must keep to be written. 42 dB are two 8-bit levels, root mean square; a normal that is 0.7 degrees
# off shades by one level at the most; and the judges, whose figures decide about weights, should see no difference.
LEAST_DECIBELS, MOST_DEGREES = 42.0, 0.7  # between float and int8, means over materials, each kind of map
JUDGED_DECIBELS, JUDGED_DEGREES = 0.05, 0.1  # between the judge's figures
LEAST_SPEED = 1.4  # times, whole network, one core
# Operators that become integers; if LeakyRelu and Add do not, they cost more than is saved.
KINDS = ("Conv", "LeakyRelu", "Add")
LEVELS = 255
SAMPLED = 64  # of so many values of a tensor, one is looked at for its range
CUTS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)  # of the range of all values, to choose from
EVERY = 4  # of so many materials trained on, one is used for ranges
CROP, LONGEST = 192, 512  # pixels: of a material that ranges are chosen on, of one that is judged
MADE, MADE_SEED, TRIED_SEED = 512, 7, 1001  # pixels and seeds of generated materials that are judged, or tried before
TURNS = 7  # the best time of so many counts

Feeds = Mapping[str, NDArray[Any]]
Figures = dict[str, float]
Task = Callable[[Runner], Mapping[str, Array]]  # what the product does with one material: map -> image (H, W, C)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Plan:
    """How models of a family are quantised and judged."""

    integer: tuple[str, ...]  # patterns of the names of nodes that become integers, if of `KINDS`
    tasks: Callable[[Card, Sequence[photos.Material], bool], Iterator[Task]]  # the flag: those that are judged
    judge: Callable[[Card, Runner, Path, Sequence[photos.Material]], Figures]


class Recorder:
    """A `families.Runner` that keeps what it is fed."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.feeds: list[Feeds] = []

    def run(self, feeds: Feeds) -> list[NDArray[np.float32]]:
        """As the runner inside."""
        self.feeds.append(dict(feeds))
        return self.runner.run(feeds)

    def tensor(self, name: str) -> NDArray[Any]:
        """As the runner inside."""
        return self.runner.tensor(name)


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its constants folded: float32 weights, no casts."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


def ranges_of(model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feeds]) -> dict[str, tuple[float, float]]:
    """For each value of the graph the range that the 8 bits are spread over."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    made = [name for name in names if name not in inputs]
    wider.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in outputs)
    session = onnxruntime.InferenceSession(wider.SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    seen: dict[str, list[tuple[int, NDArray[np.float32]]]] = {name: [] for name in names}
    for given in feeds:
        values = dict(given) | dict(zip(made, session.run(made, dict(given)), strict=True))
        for name in names:
            flat = values[name].reshape(-1)
            ends = np.array([flat.min(), flat.max()])
            seen[name].append((flat.size, np.append(random.choice(flat, 1 + flat.size // SAMPLED), ends)))
    # A half of a graph that idles, as those of the codec do in turns, is fed the least that passes: it tells nothing.
    largest = {name: max(size for size, _ in parts) for name, parts in seen.items()}
    return {
        name: best_range(np.concatenate([part for size, part in parts if size > largest[name] // 4]))
        for name, parts in seen.items()
    }


def best_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """The range around 0 whose steps give the least square error; what lies outside is cut off."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    errors = {}
    for below in CUTS if low else (1.0,):
        for above in CUTS if high else (1.0,):
            step = (high * above - low * below) / LEVELS or 1.0
            kept = np.clip(np.rint(values / step) * step, low * below, high * above)
            errors[low * below, high * above] = float(((kept - values) ** 2).mean())
    return min(errors, key=lambda ends: errors[ends])


def quantised(model: onnx.ModelProto, patterns: Sequence[str], feeds: Sequence[Feeds]) -> onnx.ModelProto:
    """A model whose nodes of these names compute with integers, between float32 inputs and outputs.

    `feeds` are what it is run on to choose ranges.
    """
    folded = simplified(model)
    nodes = [n for n in folded.graph.node if n.op_type in KINDS and any(fnmatch.fnmatch(n.name, p) for p in patterns)]
    constants = {tensor.name for tensor in folded.graph.initializer}
    names = sorted({name for node in nodes for name in (*node.input, *node.output)} - constants)
    found = ranges_of(folded, names, feeds)
    ends = {n: TensorData(lowest=np.float32(low), highest=np.float32(high)) for n, (low, high) in found.items()}
    quantizer = QDQQuantizer(
        folded,
        per_channel=True,
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ends),
        nodes_to_quantize=[node.name for node in nodes],
        nodes_to_exclude=[],
        op_types_to_quantize=list(KINDS),
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    convolved = {n.input[1] for n in made.graph.node if n.op_type in ("Conv", "ConvTranspose")}
    small = onnx_model.halve_weights(made, convolved)  # they come from half precision, so nothing is lost
    del small.metadata_props[:]
    return small


def borrowed(model: onnx.ModelProto, float_file: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """The model with the tables that it looks up taken from the float file as inputs, and their names there.

    The memory of a texture GAN is most of its file and need not be stored twice.
    """
    stored = {tensor.name: tensor for tensor in float_file.graph.initializer}
    made, lent = onnx.ModelProto(), []
    made.CopyFrom(model)
    graph = made.graph
    for node in list(graph.node):
        name = node.input[0].removesuffix("_float") if node.op_type == "Gather" else ""
        if name not in stored:
            continue
        graph.initializer.remove(next(tensor for tensor in graph.initializer if tensor.name == node.input[0]))
        graph.input.append(helper.make_tensor_value_info(name, stored[name].data_type, list(stored[name].dims)))
        result = node.output[0]
        node.input[0], node.output[0] = name, f"{result}_stored"
        cast = helper.make_node("Cast", [node.output[0]], [result], to=TensorProto.FLOAT)
        graph.node.insert(list(graph.node).index(node) + 1, cast)
        lent.append(name)
    onnx.checker.check_model(made)
    return made, lent


def write(model: onnx.ModelProto, of: Path, path: Path) -> None:
    """Write what `quantised` made of the file `of`, as its companion, to a temporary name first."""
    small, lent = borrowed(model, onnx.load(of))
    helper.set_model_props(small, {int8.OF: sha256(of), int8.LENT: " ".join(lent)})
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(small.SerializeToString())
    os.replace(temporary, path)


def maps_tasks(card: Card, materials: Sequence[photos.Material], judged: bool) -> Iterator[Task]:
    """Maps of pictures, some of them under random light."""
    random = np.random.default_rng(5)
    for index, material in enumerate(materials):
        planes = _planes(material)
        picture = planes[:3]
        if material.known[3] and index % 2:
            picture = relighting.lit(planes, relighting.random_light(random))
        pixels, tiles = np.ascontiguousarray(picture.transpose(1, 2, 0)), material.seamless
        yield lambda runner, p=pixels, t=tiles: finish(material_maps.derive(card, runner, p, t))  # type: ignore[misc]


def upscale_tasks(card: Card, materials: Sequence[photos.Material], judged: bool) -> Iterator[Task]:
    """All maps enlarged, at twice and four times the size in turns."""
    for index, material in enumerate(materials):
        pair = upscale_judge.reduced(material, upscale_judge.FACTORS[index % 2])
        yield lambda runner, p=pair: finish(upscale.enlarge(card, runner, p.given, p.factor, p.tiles))  # type: ignore[misc]


def restore_tasks(card: Card, materials: Sequence[photos.Material], judged: bool) -> Iterator[Task]:
    """Noise taken out, and scratches closed."""
    random = np.random.default_rng(5)
    for index, material in enumerate(materials):
        true = np.ascontiguousarray(_planes(material)[:3].transpose(1, 2, 0))
        sigma = restore_judge.SIGMAS[index % len(restore_judge.SIGMAS)] / 255
        noisy = true + random.standard_normal(true.shape).astype(np.float32) * np.float32(sigma)
        height, width = true.shape[:2]
        hole = damage.thin_scratches(height, width, random)
        damaged = np.where(hole[..., None], np.float32(0), true)
        for picture, mask, strength in ((noisy, None, sigma / restore.STRONGEST), (damaged, hole, 0.0)):
            given = (picture, mask, strength, material.seamless)
            yield lambda runner, g=given: {"albedo": finish(restore.heal(card, runner, *g))}  # type: ignore[misc]


def codec_tasks(card: Card, materials: Sequence[photos.Material], judged: bool) -> Iterator[Task]:
    """Maps to latents and back."""
    for material in materials:
        maps = upscale_judge.reduced(material, 1).true
        yield lambda runner, m=maps: vae.decode(card, runner, vae.encode(card, runner, m))  # type: ignore[misc]


def gan_tasks(card: Card, materials: Sequence[photos.Material], judged: bool) -> Iterator[Task]:
    """Every material of the model; what is judged has other layouts, and more of them."""
    seed, side = (MADE_SEED, MADE) if judged else (TRIED_SEED, MADE // 2)
    for material in card.materials:
        request = Request(material.name, side, side, seed)
        yield lambda runner, r=request: finish(texture_gan.generate(card, runner, r))  # type: ignore[misc]


def judge_maps(card: Card, runner: Runner, data: Path, materials: Sequence[photos.Material]) -> Figures:
    """See export/maps_judge.py."""
    names = {m.name for m in materials}
    files = photos.find_materials(data)
    means = maps_judge.means_of([photos.load(f, 64) for f in files if f.name not in names])
    read = {f.name: photos.load_height(f, LONGEST) for f in files if f.name in names}
    heights = {name: height for name, height in read.items() if height is not None}
    return maps_judge.judge(card, runner, materials, means, heights)


def judge_codec(card: Card, runner: Runner, data: Path, materials: Sequence[photos.Material]) -> Figures:
    """How near maps come back, means over materials: PSNR of the albedo in dB, angle of the normals in degrees."""
    decibels, degrees = [], []
    for material, task in zip(materials, codec_tasks(card, materials, True), strict=True):
        made, true = task(runner), upscale_judge.reduced(material, 1).true
        decibels.append(_decibels(made["albedo"], true["albedo"]))
        if "normal" in true:
            degrees.append(_degrees(made["normal"], true["normal"]))
    return {"albedo_psnr_db": float(np.mean(decibels)), "normal_angle_deg": float(np.mean(degrees))}


def judge_gan(card: Card, runner: Runner, data: Path, materials: Sequence[photos.Material]) -> Figures:
    """See export/judge.py; means over the materials of the model, at 512 pixels."""
    sources, rows = {f.name: f for f in photos.find_materials(data)}, []
    for place in card.settings["memory"]:
        name = place["material"]
        photo = gan_judge.load_photo(data, sources, place["source"], card.material(name).pixels)
        made = [finish(texture_gan.generate(card, runner, Request(name, MADE, MADE, s))) for s in gan_judge.SEEDS]
        rows.append(gan_judge.figures(photo, made))
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


PLANS = {
    "texture_gan": Plan(
        (
            *("/generator/LeakyRelu", "/generator/coarse/*", "/generator/up/*", "/generator/fine/*"),
            *("/decoder/LeakyRelu", "/decoder/blocks/*", "/decoder/leave/*"),
        ),
        gan_tasks,
        judge_gan,
    ),
    "upscale": Plan(
        ("/network/LeakyRelu", *(f"/network/blocks/blocks.{block}/*" for block in range(4))),  # the last tells the most
        upscale_tasks,
        lambda card, runner, data, materials: upscale_judge.judge(card, runner, materials),
    ),
    "restore": Plan(
        (
            *("/network/LeakyRelu*", "/network/before/*", "/network/down/*", "/network/middle/*", "/network/Add"),
            *("/network/after/*", "/network/leave/*"),
        ),
        restore_tasks,
        lambda card, runner, data, materials: restore_judge.judge(card, runner, materials),
    ),
    "material_maps": Plan(
        (
            *("/network/LeakyRelu*", "/network/before/*", "/network/down/*", "/network/middle/*", "/network/Add"),
            *("/network/after/*", "/network/leave/*"),
        ),
        maps_tasks,
        judge_maps,
    ),
    "vae": Plan(("/decoder/LeakyRelu", "/decoder/blocks/*"), codec_tasks, judge_codec),
}


def compared(first: Runner, second: Runner, tasks: Iterator[Task]) -> Figures:
    """How far two runners are from each other: dB, for normals degrees, mean and worst of the materials.

    Heights are left out: each is stretched to its own range, and their slopes are the normals.
    """
    found: dict[str, list[float]] = {}
    for task in tasks:
        one, other = task(first), task(second)
        for name in one:
            if name == "normal":
                found.setdefault("normal_deg", []).append(_degrees(one[name], other[name]))
            elif name != "height" and np.ptp(one[name]) > 0:
                found.setdefault(f"{name}_db", []).append(_decibels(one[name], other[name]))
    figures = {name: float(np.mean(values)) for name, values in found.items()}
    return figures | {f"worst_{n}": (max if n.endswith("deg") else min)(values) for n, values in found.items()}


def gain(first: Runner, second: Runner, feeds: Sequence[Feeds]) -> float:
    """How many times as fast the second runner is in all these runs, in seconds of the processor."""
    best = np.full((2, len(feeds)), np.inf)
    for _ in range(TURNS):
        for number, given in enumerate(feeds):
            for index, runner in enumerate((first, second)):
                start = time.process_time()
                runner.run(given)
                best[index, number] = min(best[index, number], time.process_time() - start)
    seconds = best.sum(1)
    return float(seconds[0] / seconds[1])


def shortfalls(report: Mapping[str, Any]) -> list[str]:
    """What keeps a companion from being shipped, by the limits above."""
    between, judged = report["between"], report["judged"]
    found = [
        f"{n} {v:.1f}" for n, v in between.items() if n.endswith("_db") and "worst" not in n and v < LEAST_DECIBELS
    ]
    found += [f"{n} {v:.2f}" for n, v in between.items() if n == "normal_deg" and v > MOST_DEGREES]
    for name, (before, after) in judged.items():
        if "psnr" in name or "_db" in name:
            found += [f"{name} {before:.2f} -> {after:.2f}"] if before - after > JUDGED_DECIBELS else []
        elif "_deg" in name:
            found += [f"{name} {before:.2f} -> {after:.2f}"] if after - before > JUDGED_DEGREES else []
    return found + ([f"speed {report['speed']:.2f}"] if report["speed"] < LEAST_SPEED else [])


def make(model: Model, data: Path) -> onnx.ModelProto:
    """The int8 graph of a model, by what it does with crops of materials trained on."""
    plan, random = PLANS[model.card.family], np.random.default_rng(3)
    files = photos.find_materials(data)
    names = photos.split([f.name for f in files])[0][::EVERY]
    crops = [_cropped(photos.load(f, LONGEST), random) for f in files if f.name in names]
    family = families.load(model.card.family, model.path.name)
    recorder = Recorder(Sessions("cpu", int8=False).open(model, family))
    for task in plan.tasks(model.card, crops, False):
        task(recorder)
    return quantised(onnx.load(model.path), plan.integer, recorder.feeds)


def examine(model: Model, small: onnx.ModelProto, data: Path, folder: Path) -> dict[str, Any]:
    """The report on the int8 graph of a model; `folder` takes a copy of the model and its companion."""
    plan, family = PLANS[model.card.family], families.load(model.card.family, model.path.name)
    full = Sessions("cpu", threads=1, int8=False).open(model, family)
    copy = Model(folder / model.path.name, model.card)
    copy.path.write_bytes(model.path.read_bytes())
    write(small, copy.path, copy.path.with_name(copy.path.stem + int8.SUFFIX))
    session = Sessions("cpu", threads=1).open(copy, family)
    if session.precision != "int8":
        raise ValueError(f"The companion of {model.path.name} does not open.")
    files = photos.find_materials(data)
    held_out = photos.split([f.name for f in files])[1]
    judged = [photos.load(f, LONGEST) for f in files if f.name in held_out]
    both = [plan.judge(model.card, runner, data, judged) for runner in (full, session)]
    timed = Recorder(full)
    whole = [m for m in judged if min(m.pixels.shape[1:]) >= LONGEST]
    next(iter(plan.tasks(model.card, whole, True)))(timed)
    report = {
        "model": model.path.name,
        "judged": {name: (both[0][name], both[1][name]) for name in both[0]},
        "between": compared(full, session, plan.tasks(model.card, judged, True)),
        "speed": gain(full, session, timed.feeds),
        "bytes": copy.path.with_name(copy.path.stem + int8.SUFFIX).stat().st_size,
    }
    return report | {"shortfalls": shortfalls(report)}


def _cropped(material: photos.Material, random: np.random.Generator) -> photos.Material:
    side = min(CROP, *(side // 16 * 16 for side in material.pixels.shape[1:]))
    pixels = photos.random_crop(material, side, random)
    return photos.Material(material.name, material.category, False, pixels, material.known)


def _planes(material: photos.Material) -> Array:
    """(8, H, W) in [0, 1]."""
    return material.pixels.astype(np.float32) / np.float32(255)


def _decibels(made: Array, true: Array) -> float:
    return float(-10 * np.log10(max(((made - true) ** 2).mean(dtype=np.float64), 1e-10)))


def _degrees(made: Array, true: Array) -> float:
    """Mean angle between encoded normals (H, W, 3)."""
    both = (torch.from_numpy(np.ascontiguousarray(n[..., :2].transpose(2, 0, 1))) for n in (made, true))
    return float(angles(*both).mean())


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of the model files without .onnx (all)")
    parser.add_argument("--data", type=Path, required=True, help="folder of materials")
    parser.add_argument("--models-folder", type=Path, help="folder of the models (those that ship)")
    parser.add_argument("--write", action="store_true", help="write the companions that keep the limits")
    options = parser.parse_args(arguments)
    library = Library([options.models_folder] if options.models_folder else [])
    chosen = [
        m for m in library.models() if m.card.family in PLANS and m.path.stem in (options.models or [m.path.stem])
    ]
    for model in chosen:
        small = make(model, options.data)
        with tempfile.TemporaryDirectory() as folder:
            report = examine(model, small, options.data, Path(folder))
        print(json.dumps(report, indent=1), flush=True)
        if options.write and not report["shortfalls"]:
            write(small, model.path, model.path.with_name(model.path.stem + int8.SUFFIX))


if __name__ == "__main__":
    main()
