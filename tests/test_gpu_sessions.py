"""The GPU's side of core/sessions.py on machines without one: ONNX Runtime's CPU poses as CUDA and TensorRT."""

import json
import types
import weakref

import numpy as np
import onnxruntime
import pytest
from tiny import CELL, NOISE, tiny_model

from core import families, machine, sessions
from core.cli import main
from core.errors import ModelError, ProviderError, ResourceError
from core.families import Request
from core.library import Library
from core.pipeline import run
from core.progress import finish
from core.recipe import from_dict
from core.sessions import CPU, CUDA, TENSORRT, Session, Sessions

FULL = RuntimeError("CUDA failure 2: out of memory")


class Machine:
    """A machine with a GPU: what it does, and what was asked of it."""

    def __init__(self, monkeypatch, *gpus):
        self.gpus, self.opened, self.uploads, self.devices = gpus, [], [], []
        self.broken = lambda providers, half: None  # an error that opening raises
        self.failing = lambda on, half, size: None  # an error that a run raises
        self.spoilt = lambda on, half: False  # whether a run makes NaN
        self.alive = weakref.WeakSet()
        fake = types.SimpleNamespace(**{n: getattr(onnxruntime, n) for n in ("RunOptions", "SessionOptions")})
        fake.get_available_providers = lambda: [*gpus, CPU]
        fake.InferenceSession = lambda *a, **k: Inner(self, *a, **k)
        monkeypatch.setattr(Sessions, "_runtime", lambda _: fake)
        monkeypatch.setattr(sessions, "_load_cuda", lambda *_: None)


class Inner:
    """An InferenceSession that says it runs on the first provider it was given."""

    def __init__(self, machine, model, options, providers, **_):
        self.machine, self.names = machine, [p if isinstance(p, str) else p[0] for p in providers]
        self.options = {p[0]: p[1] for p in providers if not isinstance(p, str)}
        if error := machine.broken(self.names, isinstance(model, bytes)):
            raise error
        self.inner = onnxruntime.InferenceSession(model, options, providers=[CPU])
        self.half = any(value.type == "tensor(float16)" for value in self.get_inputs())
        machine.opened.append((self.names[0], self.half))
        machine.alive.add(self)
        self.threads = options.intra_op_num_threads

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def get_providers(self):
        return self.names

    def io_binding(self):
        return Binding(self.machine, self.inner.io_binding())

    def run_with_iobinding(self, binding, options=None):
        if error := self.machine.failing(self.names[0], self.half, binding.size()):
            raise error
        self.inner.run_with_iobinding(binding.inner, options)
        binding.spoilt = self.machine.spoilt(self.names[0], self.half)


class Binding:
    """Remembers what is uploaded, and has its outputs on the CPU whatever is asked for."""

    def __init__(self, machine, inner):
        self.machine, self.inner, self.shapes, self.spoilt = machine, inner, {}, False

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def bind_cpu_input(self, name, array):
        self.machine.uploads.append(name)
        self.shapes[name] = array.shape
        self.inner.bind_cpu_input(name, array)

    def bind_output(self, name, device):
        self.machine.devices.append(device)
        self.inner.bind_output(name)

    def copy_outputs_to_cpu(self):
        return [np.full_like(o, np.nan) if self.spoilt else o for o in self.inner.copy_outputs_to_cpu()]

    def size(self):
        return max(self.shapes["noise"])


@pytest.fixture
def cuda(monkeypatch):
    return Machine(monkeypatch, CUDA)


def opened(folder, provider="auto", half=True, owner=None):
    tiny_model(folder, half=half, extra="wide")
    model = Library([folder]).models()[0]
    return (owner or Sessions(provider)).open(model, families.load("texture_gan", "the test"))


def feeds(side=10):
    planes = {name: np.ones((1, n, side, side), np.float32) for name, n in (("share", 1), ("noise", NOISE))}
    return {"cells": np.zeros((1, side, side), np.int64), **planes}


def test_cuda_runs_in_half_precision_where_the_card_allows_it(cuda, tmp_path):
    session = opened(tmp_path)
    (planes,) = session.run(feeds())
    assert cuda.opened == [(CUDA, True)] and planes.dtype == np.float32
    assert session.provider == CUDA and session.notes == () and session.why_not_cuda == ""
    assert set(cuda.devices) == {"cuda"}


def test_a_card_that_does_not_allow_it_means_float32(cuda, tmp_path):
    opened(tmp_path, half=False).run(feeds())
    assert cuda.opened == [(CUDA, False)]


def test_the_cpu_never_runs_half_precision(cuda, tmp_path):
    session = opened(tmp_path, "cpu")
    session.run(feeds())
    assert cuda.opened == [(CPU, False)] and set(cuda.devices) == {"cpu"}


def test_half_and_float32_agree(cuda, tmp_path):
    half, plain = (opened(tmp_path, half=h).run(feeds())[0] for h in (True, False))
    assert 0 < np.abs(half - plain).max() < 4e-3


@pytest.mark.parametrize("half", [True, False])
def test_the_options_of_cuda(cuda, tmp_path, half):
    options = opened(tmp_path, half=half)._inner.options[CUDA]
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options.get("prefer_nhwc") == ("1" if half else None)


def test_tensorrt_has_cuda_and_the_cpu_behind_it(monkeypatch, tmp_path):
    Machine(monkeypatch, TENSORRT, CUDA)
    session = opened(tmp_path, "tensorrt")
    assert session._inner.names == [TENSORRT, CUDA, CPU] and session.provider == TENSORRT
    assert session._inner.options[TENSORRT] == {"trt_fp16_enable": "True"}


def test_tensorrt_is_never_chosen_by_itself(monkeypatch, tmp_path):
    Machine(monkeypatch, TENSORRT, CUDA)
    assert opened(tmp_path).provider == CUDA


def test_tensorrt_asked_for_where_there_is_none_is_one_sentence(cuda, tmp_path):
    with pytest.raises(ProviderError, match=r"^TensorRT was asked for .* TensorRT 10 .*'cuda'\.$"):
        opened(tmp_path, "tensorrt")
    with pytest.raises(ProviderError, match="TensorRT"):
        Sessions("tensorrt").probe()


def test_a_gpu_whose_libraries_are_missing_is_told(monkeypatch, tmp_path):
    machine = Machine(monkeypatch, CUDA)
    monkeypatch.setattr(Inner, "get_providers", lambda self: [CPU])
    session = opened(tmp_path)
    assert "libraries" in session.why_not_cuda and session.notes == () and machine.opened[-1] == (CPU, False)
    with pytest.raises(ProviderError, match="libraries"):
        opened(tmp_path, "cuda")


def test_half_precision_that_does_not_open_gives_way_to_float32(cuda, tmp_path):
    cuda.broken = lambda providers, half: RuntimeError("no such kernel") if half else None
    session = opened(tmp_path)
    assert cuda.opened == [(CUDA, False)] and "no such kernel" in session.notes[0] and len(session.notes) == 1


def test_numbers_that_are_not_finite_in_half_precision_are_made_in_float32(cuda, tmp_path):
    cuda.spoilt = lambda on, half: half
    session = opened(tmp_path)
    expected = opened(tmp_path, "cpu").run(feeds())[0]
    assert np.array_equal(session.run(feeds())[0], expected)
    assert cuda.opened == [(CUDA, True), (CPU, False), (CUDA, False)]
    assert session.notes == (
        "tiny.onnx made numbers that are not finite in half precision on CUDA, so it ran in float32 on CUDA.",
    )


def test_overflow_in_half_precision_is_not_finite_and_warns_of_nothing(cuda, tmp_path, recwarn):
    session = opened(tmp_path)
    assert np.isfinite(session.run({**feeds(), "noise": np.full((1, NOISE, 10, 10), 1e6, np.float32)})[0]).all()
    assert not recwarn.list


def test_a_gpu_that_fails_leaves_the_work_to_the_cpu(cuda, tmp_path):
    cuda.failing = lambda on, half, size: RuntimeError("CUDNN_STATUS_EXECUTION_FAILED") if on == CUDA else None
    session = opened(tmp_path, "cuda")
    session.run(feeds())
    assert cuda.opened == [(CUDA, True), (CUDA, False), (CPU, False)] and session.provider == CPU
    assert len(session.notes) == 2 and "EXECUTION_FAILED" in session.notes[0]
    assert session.notes[1].endswith("in float32 on CUDA, so it ran on the CPU.")


def test_what_fails_everywhere_is_a_model_error(cuda, tmp_path):
    cuda.failing = lambda on, half, size: RuntimeError("illegal memory access")  # not memory that ran out
    with pytest.raises(ModelError, match="could not be run"):
        opened(tmp_path).run(feeds())


def made(session, card, size=256):
    """The maps of a request, run in tiles of at most 128 pixels."""
    request = Request("oak", size, size, 1, tile=128)
    return finish(families.load("texture_gan", "x").generate(card, session, request))


def card_of(folder):
    return Library([folder]).models()[0].card


def test_memory_that_runs_out_leads_to_smaller_pieces_that_make_the_same(cuda, tmp_path):
    session = opened(tmp_path, half=False)
    cuda.failing = lambda on, half, size: FULL if size > 6 else None  # cells, with the halo of one on each side
    maps, expected = made(session, card_of(tmp_path)), made(opened(tmp_path, "cpu"), card_of(tmp_path))
    assert all(np.abs(image - expected[name]).max() < 1e-5 for name, image in maps.items())
    assert session.provider == CUDA and "smaller pieces" in session.notes[0] and len(session.notes) == 1


def test_a_size_that_did_not_fit_is_not_tried_again_until_released(cuda, tmp_path):
    session, sizes = opened(tmp_path, half=False), []

    def failing(on, half, size):
        sizes.append(size)
        return FULL if size > 6 else None

    cuda.failing = failing
    for _ in range(2):
        made(session, card_of(tmp_path))
    assert [size for size in sizes if size > 6] == [16 + 2, 8 + 2]


def test_memory_that_suffices_for_no_piece_leads_to_the_cpu_not_to_float32(cuda, tmp_path):
    session = opened(tmp_path)
    cuda.failing = lambda on, half, size: FULL if on == CUDA else None
    maps = made(session, card_of(tmp_path))
    assert cuda.opened == [(CUDA, True), (CPU, False)] and maps.size == (256, 256)
    assert session.notes[-1] == "tiny.onnx ran out of memory in half precision on CUDA, so it ran on the CPU."


def test_memory_that_suffices_nowhere_is_told_and_the_next_attempt_is_a_true_one(cuda, tmp_path):
    session = opened(tmp_path, "cpu")
    cuda.failing = lambda on, half, size: MemoryError()
    with pytest.raises(ResourceError, match="smaller size"):
        made(session, card_of(tmp_path))
    cuda.failing = lambda on, half, size: None
    made(session, card_of(tmp_path))


def test_what_stepped_down_stays_there_until_released(cuda, tmp_path):
    cuda.spoilt = lambda on, half: half
    owner = Sessions()
    opened(tmp_path, owner=owner).run(feeds())
    model, family = Library([tmp_path]).models()[0], families.load("texture_gan", "the test")
    assert len(owner.open(model, family).notes) == 1 and not owner.open(model, family)._ways[0].halved
    owner.release()
    assert owner.open(model, family).notes == () and owner.open(model, family)._ways[0].halved


def test_a_session_that_can_step_nowhere_is_opened_anew(cuda, tmp_path):
    owner = Sessions()
    session = opened(tmp_path, half=False, owner=owner)
    cuda.spoilt, cuda.broken = lambda on, half: True, lambda providers, half: MemoryError()
    with pytest.raises(ResourceError):
        session.run(feeds())
    cuda.spoilt, cuda.broken = lambda on, half: False, lambda providers, half: None
    owner.open(Library([tmp_path]).models()[0], families.load("texture_gan", "the test")).run(feeds())


def test_notes_reach_the_result(cuda, tmp_path):
    cuda.spoilt = lambda on, half: half
    tiny_model(tmp_path, half=True)
    recipe = from_dict({"source": {"material": "oak", "size": 64}})
    result = finish(run(recipe, Library([tmp_path]), Sessions()))
    assert len(result.notes) == 1 and "not finite" in result.notes[0] and result.provider == CUDA


def test_notes_are_told_on_the_command_line_and_in_the_manifest(cuda, tmp_path, capsys):
    cuda.spoilt = lambda on, half: half
    tiny_model(tmp_path, half=True)
    words = ["generate", "oak", "--size", "64", "--models", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    (note,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]
    assert "not finite" in note and capsys.readouterr().out.splitlines()[-1] == note


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_an_array_that_cannot_be_written_to_is_uploaded_once(cuda, tmp_path, provider):
    session, constant = opened(tmp_path, provider), feeds()["share"]
    constant.flags.writeable = False
    for value in (1, 2):
        last = session.run({**feeds(), "share": constant, "noise": feeds()["noise"] * value})[0]
    assert cuda.uploads.count("share") == 1 and cuda.uploads.count("noise") == 2
    fresh = opened(tmp_path, provider).run({**feeds(), "noise": feeds()["noise"] * 2})[0]
    assert np.array_equal(last, fresh)


def test_another_array_in_its_place_is_uploaded(cuda, tmp_path):
    session = opened(tmp_path, "cpu")
    for _ in range(3):
        constant = feeds()["share"]
        constant.flags.writeable = False
        session.run({**feeds(), "share": constant})
    assert cuda.uploads.count("share") == 3


def test_an_array_that_can_change_is_uploaded_each_time(cuda, tmp_path):
    session, noise = opened(tmp_path, "cpu"), feeds()["noise"]
    before = session.run({**feeds(), "noise": noise})[0]
    noise *= 3
    assert np.abs(session.run({**feeds(), "noise": noise})[0] - before).max() > 1e-3


def test_a_prepared_run_uploads_nothing(cuda, tmp_path):
    session = opened(tmp_path, "cuda")
    run, before = session.prepared(feeds()), len(cuda.uploads)
    for _ in range(3):
        run()
    assert len(cuda.uploads) == before == 3 and session.run(feeds())[0].shape == (1, 8, 8 * CELL, 8 * CELL)


def test_another_graph_may_stand_in_for_the_file(tmp_path):
    graph = tiny_model(tmp_path / "other", extra="wide").read_bytes()
    tiny_model(tmp_path)
    model, owner = Library([tmp_path]).models()[0], Sessions("cpu")
    assert np.array_equal(
        Session(owner, model, graph).run(feeds())[0], opened(tmp_path / "other", "cpu").run(feeds())[0]
    )


def test_sizes_may_change_from_run_to_run_and_outputs_are_our_own(cuda, tmp_path):
    session = opened(tmp_path, "cpu")
    first = session.run(feeds(10))[0]
    copy = first.copy()
    assert session.run(feeds(14))[0].shape == (1, 8, 12 * CELL, 12 * CELL)
    assert np.array_equal(first, copy)


def test_released_and_abandoned_sessions_are_gone(cuda, tmp_path):
    cuda.spoilt = lambda on, half: half
    owner = Sessions()
    opened(tmp_path, owner=owner).run(feeds())
    assert [inner.half for inner in cuda.alive] == [False]  # that in half precision is gone before the next is opened
    owner.release()
    assert not cuda.alive


@pytest.mark.parametrize(("allowed", "threads", "expected"), [(3, None, 3), (3, 2, 2)])
def test_threads_are_what_the_process_may_use(cuda, tmp_path, monkeypatch, allowed, threads, expected):
    monkeypatch.setattr(machine, "cores", lambda: allowed)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert opened(tmp_path, owner=Sessions("cpu", threads))._inner.threads == expected


def test_where_all_processors_may_be_used_onnxruntime_counts_the_cores(cuda, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 64)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert opened(tmp_path, "cpu")._inner.threads == 0
