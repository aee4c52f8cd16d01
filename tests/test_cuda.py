"""What only a machine with CUDA can show: where nodes really run, and that results are the CPU's."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from core import families, half
from core.library import BUNDLED, Library
from core.sessions import _CUDA_OPTIONS, _FLOAT_OPTIONS, _HALF_OPTIONS, CPU, CUDA, Sessions, _load_cuda

SHAPE = 64  # bytes: eight sides


def missing():
    """Why these tests cannot run, or ""."""
    if CUDA not in onnxruntime.get_available_providers():
        return "this ONNX Runtime is built without CUDA"
    return Sessions("auto").probe()[1]


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is CUDA")
MODELS = [model for model in Library().models() if model.path.parent == BUNDLED]
EVERY = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.path.stem)
HALVED = pytest.mark.parametrize("halved", [False, True], ids=["float32", "half"])


def session(model, provider="cuda", halved=False):
    asked = replace(model, card=replace(model.card, half=halved))
    return Sessions(provider).open(asked, families.load(model.card.family, model.path.name))


def feeds(model, inner):
    """Numbers from 0 to 1 in shapes that the graph takes, wider than its halo."""
    random, sides = np.random.default_rng(0), {"H": 320, "W": 320, "n": 100, "B": 1}
    if model.card.family == "texture_gan":  # so many weights to a cell
        sides |= dict.fromkeys(("mh", "mw"), 64 * model.card.settings["cell"] // model.card.settings["mix"])
    made = {}
    for value in inner.get_inputs():
        shape = [axis if isinstance(axis, int) else sides.get(axis, 64) for axis in value.shape]
        whole = "int64" in value.type
        made[value.name] = np.zeros(shape, np.int64) if whole else random.random(shape, np.float32)
    return made


def used():
    """Bytes of device memory that are in use, by all programs."""
    words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]) << 20


def strict(model, halved, options):
    """The session on CUDA alone; the CPU must not be named."""
    _load_cuda(onnxruntime, None)
    data = model.path.read_bytes()
    cuda = (CUDA, _CUDA_OPTIONS | (_HALF_OPTIONS if halved else _FLOAT_OPTIONS))
    return onnxruntime.InferenceSession(half.halved(data, "x") if halved else data, options, providers=[cuda])


@EVERY
@HALVED
def test_no_node_runs_on_the_cpu(model, halved):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    strict(model, halved, options)


@EVERY
@HALVED
def test_nothing_but_shapes_is_computed_on_the_cpu(model, halved, tmp_path):
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    inner = strict(model, halved, options)
    given = feeds(model, inner).items()
    inner.run(None, {n: a.astype(np.float16) if halved and a.dtype == np.float32 else a for n, a in given})
    assert on_cpu(Path(inner.end_profiling())) == []


def on_cpu(profile):
    """Operators that ran on the CPU on more than the few numbers that a shape has."""
    nodes = [event["args"] for event in json.loads(profile.read_text()) if event.get("cat") == "Node"]
    ran = [args for args in nodes if args.get("provider") == CPU]
    return [args["op_name"] for args in ran if int(args.get("output_size", 0)) > SHAPE]


@EVERY
def test_cuda_makes_what_the_cpu_makes(model):
    cuda, cpu = session(model), session(model, "cpu")
    given = feeds(model, cpu._inner)
    assert (cuda.provider, cpu.provider) == (CUDA, CPU)
    for made, expected in zip(cuda.run(given), cpu.run(given), strict=True):
        if expected.ndim == 4:  # not the numbers of the nearest patches, of which two may be as near
            assert np.abs(made - expected).max() <= 2e-2 * np.abs(expected).max()  # TF32 rounds to ten bits
    assert cuda.notes == ()


@EVERY
def test_half_precision_is_near(model):
    cuda, cpu = session(model, halved=True), session(model, "cpu")
    given = feeds(model, cpu._inner)
    for made, expected in zip(cuda.run(given), cpu.run(given), strict=True):
        if expected.ndim == 4:
            assert np.abs(made - expected).mean() <= 1e-2 * np.abs(expected).max()
    assert cuda.notes == () and cuda._ways[0].halved


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="nvidia-smi tells how much memory is used")
def test_release_gives_memory_back():
    model = next(model for model in MODELS if model.card.family == "upscale")
    sessions = Sessions("cuda")
    family = families.load("upscale", "the test")
    pixels = {"pixels": np.zeros((1, 3, 1024, 1024), np.float32)}
    sessions.open(model, family).run({"pixels": pixels["pixels"][..., :64, :64]})  # what CUDA itself holds stays
    sessions.release()
    before = used()
    sessions.open(model, family).run(pixels)
    during = used()
    sessions.release()
    assert during > before + (64 << 20) and used() < before + (during - before) // 4
