"""How fast a model makes a material, as ratios within one run: absolute times belong to one machine on one day.

    python tests/bench/bench_generate.py                                    # the bundled texture GAN
    python tests/bench/bench_generate.py --models DIR --run runs/gan --codec runs/codec     # PyTorch beside it
    python tests/bench/bench_generate.py --size 256 --large 512 --runs 1    # does it work at all?

Run it on an idle machine. Each figure is the median of several runs after one that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from core import families  # noqa: E402
from core.families import Request  # noqa: E402
from core.library import Library, Model  # noqa: E402
from core.sessions import Session, Sessions  # noqa: E402

FAMILY = "texture_gan"
YARDSTICK = 64, 512  # channels and side of the plain convolution
CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass
class Timed:
    """A runner that remembers what it ran and for how long."""

    inner: Session
    seconds: list[float] = field(default_factory=list)
    feeds: list[dict] = field(default_factory=list)

    def run(self, feeds: dict) -> list[np.ndarray]:
        start = time.perf_counter()
        made = self.inner.run(feeds)
        self.seconds.append(time.perf_counter() - start)
        self.feeds.append(dict(feeds))
        return made

    def tensor(self, name: str) -> np.ndarray:
        return self.inner.tensor(name)


def median_seconds(action: Callable[[], object], runs: int) -> float:
    """Median time of an action, its first run thrown away."""
    action()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def open_model(model: Model, threads: int | None) -> Session:
    return Sessions("cpu", threads).open(model, families.load(FAMILY, model.path.name))


def generate(model: Model, session: Session, size: int) -> tuple[Timed, dict[str, float]]:
    """One whole material: what ran, and the seconds of each part."""
    runner = Timed(session)
    request = Request(model.card.materials[0].name, size, size, 1)
    start = first = last = time.perf_counter()
    for count, _ in enumerate(families.load(FAMILY, "").generate(model.card, runner, request)):
        last = time.perf_counter()
        first = last if count == 0 else first
    whole = time.perf_counter() - start
    network = sum(runner.seconds)
    parts = {"whole": whole, "layout": first - start, "network": network, "relief": start + whole - last}
    return runner, parts | {"rest": whole - sum((first - start, network, start + whole - last))}


def median_parts(model: Model, session: Session, size: int, runs: int) -> tuple[Timed, dict[str, float]]:
    """Parts of a whole material, the median of each."""
    generate(model, session, size)
    made = [generate(model, session, size) for _ in range(runs)]
    return made[0][0], {part: statistics.median(parts[part] for _, parts in made) for part in made[0][1]}


def operations(path: Path, feeds: dict) -> float:
    """Floating-point operations of all convolutions, by the shapes that really occur for this input."""
    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type in CONVOLUTIONS]
    sizes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in sizes:  # weights stored in half precision
            sizes[node.output[0]] = sizes[node.input[0]]
    del model.graph.output[:]
    # The way in of a transposed convolution does the work, the way out of a plain one.
    counted = [node.input[0] if node.op_type == "ConvTranspose" else node.output[0] for node in nodes]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(counted))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = dict(zip(dict.fromkeys(counted), session.run(None, feeds), strict=True))
    weights = [sizes[node.input[1]] for node in nodes]
    # (out, in, h, w), or (in, out, h, w) when transposed: each element is met with all but the first.
    return float(sum(2 * values[name].size * np.prod(w[1:]) for name, w in zip(counted, weights, strict=True)))


def plain_rate(runs: int, threads: int | None) -> float:
    """Operations a second that ONNX Runtime reaches here in one 3x3 convolution of 64 channels."""
    channels, side = YARDSTICK
    weight = np.random.default_rng(0).standard_normal((channels, channels, 3, 3), dtype=np.float32)
    shape = [1, channels, side, side]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    node = helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "plain", values[:1], values[1:], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {"x": np.zeros(shape, np.float32)}
    return 2 * side**2 * channels**2 * 9 / median_seconds(lambda: session.run(None, feeds), runs)


def torch_seconds(run: Path, codec_run: Path, feeds: dict, runs: int, threads: int | None) -> float:
    """Time of the same network in PyTorch, eager. The memory is made of zeros: its values take no time."""
    import torch

    from export import texture_gan, training, vae

    torch.set_num_threads(threads or os.cpu_count() or 1)
    raw = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    known = texture_gan.Settings.__dataclass_fields__
    settings = texture_gan.Settings(**{name: value for name, value in raw.items() if name in known})
    weights = training.load_checkpoint(run / "checkpoint.pt")["average"]
    gan = texture_gan.Gan(settings, len(weights["discriminator.material.weight"]))
    gan.load_state_dict({name: w.float() if w.is_floating_point() else w for name, w in weights.items()})
    side = 2 * (int(np.sqrt(feeds["cells"].max() + 1)) + 1)
    bank = SimpleNamespace(
        entries=[SimpleNamespace(ship=True)],
        latents=[torch.zeros(vae.LATENT, side, side)],
        seamless=[True],
        mean=torch.zeros(vae.LATENT, 1, 1),
        scale=torch.ones(vae.LATENT, 1, 1),
    )
    graph = texture_gan.Graph(gan.eval(), vae.load_average(codec_run), bank).eval()
    tensors = [torch.from_numpy(feeds[name]) for name in ("cells", "share", "noise")]
    with torch.inference_mode():
        return median_seconds(lambda: graph(*tensors), runs)


def peak(arguments: argparse.Namespace, size: int) -> float:
    """GB that a process of its own needs at most to make one material."""
    words = [
        sys.executable,
        __file__,
        "--peak",
        str(size),
        *(["--models", arguments.models] if arguments.models else []),
    ]
    words += ["--threads", str(arguments.threads)] if arguments.threads else []
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout)


def rows(arguments: argparse.Namespace, model: Model) -> list[tuple[str, str]]:
    """The table: what was measured, and what came out."""
    session, size, runs = open_model(model, arguments.threads), arguments.size, arguments.runs
    timed, parts = median_parts(model, session, size, runs)
    work = sum(operations(model.path, feeds) for feeds in timed.feeds)
    plain, reached = plain_rate(runs, arguments.threads), work / parts["network"]
    found = [
        ("convolutions of a whole material", f"{work / 1e9:.1f} billion operations"),
        ("rate in the network / rate of a plain convolution", f"{reached / plain:.2f}"),
        ("  the two rates", f"{reached / 1e9:.0f} / {plain / 1e9:.0f} billion operations a second"),
        (f"all maps of {size}x{size}, no files", f"{parts['whole']:.2f} s"),
    ]
    found += [(f"  {part}", f"{parts[part] / parts['whole']:.0%}") for part in ("layout", "network", "relief", "rest")]
    if arguments.run and arguments.codec:
        feeds = timed.feeds[0]
        eager = torch_seconds(arguments.run, arguments.codec, feeds, runs, arguments.threads)
        ours = median_seconds(lambda: session.run(feeds), runs)
        found.append(("PyTorch eager / ONNX Runtime, same network", f"{eager / ours:.2f}"))
    else:
        found.append(("PyTorch eager / ONNX Runtime, same network", "skipped: give --run and --codec"))
    folders = [Path(arguments.models)] if arguments.models else []
    listing = median_seconds(lambda: Library(folders).models(), 20)
    found.append(("listing the models", f"{listing * 1000:.1f} ms"))
    found.append((f"peak memory of {arguments.large}x{arguments.large}", f"{peak(arguments, arguments.large):.2f} GB"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", help="folder of models to look into first")
    parser.add_argument("--run", type=Path, help="run of the texture GAN, to compare with PyTorch")
    parser.add_argument("--codec", type=Path, help="run of the codec, to compare with PyTorch")
    parser.add_argument("--size", type=int, default=1024, help="pixels on a side")
    parser.add_argument("--large", type=int, default=4096, help="pixels on a side when memory is measured")
    parser.add_argument("--runs", type=int, default=5, help="of which the median is taken")
    parser.add_argument("--threads", type=int, help="threads of ONNX Runtime and PyTorch; default one on each core")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    library = Library([Path(arguments.models)] if arguments.models else [])
    model = next((m for m in library.models() if m.card.family == FAMILY), None)
    if model is None:
        raise SystemExit(f"No model of the family {FAMILY} in {', '.join(map(str, library.folders))}.")
    if arguments.peak:
        generate(model, open_model(model, arguments.threads), arguments.peak)
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
        print(kilobytes * 1024 / 1e9)
        return
    table = rows(arguments, model)
    wide = max(len(name) for name, _ in table)
    print(f"{model.path.name}, {os.cpu_count()} cores, median of {arguments.runs} runs")
    print("\n".join(f"{name:{wide}}  {value}" for name, value in table))


if __name__ == "__main__":
    main()
