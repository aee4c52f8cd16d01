"""What the benchmarks share: clocks, a yardstick, the count of operations, what machine it is, tables in Markdown."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from core import families, relief  # noqa: E402
from core.library import Library, Model  # noqa: E402
from core.machine import cores  # noqa: E402
from core.maps import Maps  # noqa: E402
from core.sessions import Session, Sessions  # noqa: E402

CHANNELS, SIDE = 64, 512  # of the plain convolution
CONVOLUTIONS = ("Conv", "ConvTranspose")
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
PATIENCE = 2.0  # seconds after which no more runs are asked for


@dataclass
class Timed:
    """A runner that remembers how long it ran, and one set of inputs of each shape."""

    inner: Session
    seconds: float = 0.0
    shapes: dict[tuple, int] = field(default_factory=dict)
    feeds: dict[tuple, dict[str, np.ndarray]] = field(default_factory=dict)

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        shape = tuple((name, value.shape) for name, value in feeds.items())
        self.shapes[shape] = self.shapes.get(shape, 0) + 1
        self.feeds.setdefault(shape, dict(feeds))
        start = time.perf_counter()
        made = self.inner.run(feeds)
        self.seconds += time.perf_counter() - start
        return made

    def tensor(self, name: str) -> np.ndarray:
        return self.inner.tensor(name)

    def operations(self) -> float:
        """Floating-point operations of all convolutions that ran."""
        return sum(count * operations(self.inner.path, self.feeds[shape]) for shape, count in self.shapes.items())


def opened(family: str, provider: str, **settings: Any) -> tuple[Model, Session]:
    """The first model of a family."""
    model = Library().of_family(family)
    return model, Sessions(provider, **settings).open(model, families.load(family, model.path.name))


def median_seconds(action: Callable[[], object], runs: int = 5) -> float:
    """Median time of an action, its first run thrown away; slow ones run less often."""
    action()
    times: list[float] = []
    while len(times) < runs and sum(times) < PATIENCE:
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def operations(path: Path, feeds: dict[str, np.ndarray]) -> float:
    """Floating-point operations of all convolutions, by the shapes that really occur for this input."""
    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type in CONVOLUTIONS]
    sizes = {t.name: tuple(t.dims) for t in model.graph.initializer} | {n: v.shape for n, v in feeds.items()}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in sizes:  # weights stored in half precision
            sizes[node.output[0]] = sizes[node.input[0]]
    del model.graph.output[:]
    # The way in of a transposed convolution does the work, the way out of a plain one.
    counted = [node.input[0] if node.op_type == "ConvTranspose" else node.output[0] for node in nodes]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(counted))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[PROVIDERS["cpu"]])
    values = dict(zip(dict.fromkeys(counted), session.run(None, feeds), strict=True))
    weights = [sizes[node.input[1]] for node in nodes]
    # (out, in, h, w), or (in, out, h, w) when transposed: each element is met with all but the first.
    return float(sum(2 * values[name].size * np.prod(w[1:]) for name, w in zip(counted, weights, strict=True)))


@cache
def plain_rate(provider: str) -> float:
    """Operations a second that ONNX Runtime reaches here in one 3x3 convolution of 64 channels.

    On a GPU in half precision, as its tensor cores work.
    """
    kind, dtype = (TensorProto.FLOAT16, np.float16) if provider == "cuda" else (TensorProto.FLOAT, np.float32)
    weight = np.random.default_rng(0).standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(dtype)
    shape = [1, CHANNELS, SIDE, SIDE]
    values = [helper.make_tensor_value_info(name, kind, shape) for name in ("x", "y")]
    node = helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "plain", values[:1], values[1:], [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[PROVIDERS[provider]])
    bound = session.io_binding()  # nothing is copied
    for bind, name in ((bound.bind_ortvalue_input, "x"), (bound.bind_ortvalue_output, "y")):
        bind(name, onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype), provider, 0))

    def run() -> None:
        session.run_with_iobinding(bound)
        bound.synchronize_outputs()

    return 2 * SIDE**2 * CHANNELS**2 * 9 / median_seconds(run, 9)


@cache
def picture(side: int, channels: int = 3, seed: int = 1) -> np.ndarray:
    """Periodic noise of all sizes `(side, side, channels)` in [0, 1], as a photo has."""
    random, frequency = np.random.default_rng(seed), np.hypot(*np.meshgrid(*[np.fft.fftfreq(side)] * 2))
    spectrum = np.fft.fft2(random.standard_normal((channels, side, side))) / (frequency + 4 / side)
    planes = np.fft.ifft2(spectrum).real.transpose(1, 2, 0)
    return np.ascontiguousarray((planes - planes.min()) / np.ptp(planes), np.float32)


def material(side: int) -> Maps:
    """A picture with a relief and data."""
    normal, height, depth = relief.encode(picture(side, 1, 2)[..., 0] * 40)
    data = {name: picture(side, 1, 3) for name in ("roughness", "ao")}
    return Maps({"albedo": picture(side), "normal": normal, "height": height, **data}, depth)


def alone(script: str, *arguments: object) -> dict[str, Any]:
    """What a script of this folder prints as JSON, in a process of its own: peaks and cold starts are those of a user.

    `{"error": ...}` when it fails.
    """
    words = [sys.executable, str(Path(__file__).parent / script), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def peak_gigabytes() -> float:
    """The most memory that this process has held; elsewhere than on Linux its parent counts as well."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def device_gigabytes() -> float:
    """Memory of the GPU that is in use; 0 where there is none."""
    if not shutil.which("nvidia-smi"):
        return 0.0
    return float(_said("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits").split()[0]) / 1024


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def machine(provider: str) -> str:
    """One paragraph: processor, GPU, versions."""
    versions = []
    for name in ("numpy", "onnxruntime", "onnxruntime-gpu", "torch"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    found = [
        f"{_processor()}, {cores()} cores used",
        platform.system(),
        f"Python {platform.python_version()}",
        *versions,
    ]
    if provider == "cuda":
        found.insert(0, _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").strip())
    return f"{', '.join(found)}; {time.strftime('%Y-%m-%d')}.\n"


def _processor() -> str:
    """What the processor calls itself, and its widest instructions, of which speed depends most."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    widest = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if name in flags]
    return f"{facts.get('model name', platform.machine())} ({', '.join(widest)})"


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
