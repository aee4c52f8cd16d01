import sys
import threading
import time

import numpy as np
import pytest
from tiny import CELL, NOISE, tiny_model

from core import families
from core.errors import Cancelled, ModelError, ProviderError, ResourceError
from core.library import Library
from core.sessions import CPU, Advice, Sessions, _load_cuda


def feeds(side=10):  # a halo of one cell is cropped off
    planes = {name: np.zeros((1, n, side, side), np.float32) for name, n in (("share", 1), ("noise", NOISE))}
    return {"cells": np.zeros((2, side, side), np.int64), **planes}


def opened(folder, sessions=None, **changes):
    tiny_model(folder, **changes)
    model = Library([folder]).models()[0]
    return (sessions or Sessions("cpu")).open(model, families.load("texture_gan", "the test"))


def test_a_model_runs_and_says_where(tmp_path):
    session = opened(tmp_path)
    (planes,) = session.run(feeds())
    assert planes.shape == (1, 8, 8 * CELL, 8 * CELL) and planes.dtype == np.float32
    assert (session.provider, session.why_not_cuda) == (CPU, "")


def test_constants_come_from_the_file(tmp_path):
    assert opened(tmp_path).tensor("memory").shape[1] == 4


def test_a_session_is_kept_until_released_or_its_file_changes(tmp_path):
    sessions = Sessions("cpu")
    first = opened(tmp_path, sessions)
    model = Library([tmp_path]).models()[0]
    family = families.load("texture_gan", "the test")
    assert sessions.open(model, family) is first
    sessions.release()
    assert sessions.open(model, family) is not first


@pytest.mark.parametrize("name", ["cells", "share", "noise", "planes"])
def test_a_graph_that_lacks_what_its_family_needs_is_refused(tmp_path, name):
    with pytest.raises(ModelError, match=f"no (in|out)put '{name}'"):
        opened(tmp_path, drop=name)


def test_a_damaged_graph_is_one_sentence(tmp_path):
    path = tiny_model(tmp_path)
    model = Library([tmp_path]).models()[0]
    path.write_bytes(path.read_bytes().replace(b"ConvTranspose", b"ConvTransposX"))
    with pytest.raises(ModelError, match=r"tiny\.onnx cannot be opened") as caught:
        Sessions("cpu").open(model, families.load("texture_gan", "the test"))
    assert "\n" not in str(caught.value)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ModelError, match="not finite"):
        opened(tmp_path, extra="nan").run(feeds())


def test_cells_outside_the_memory_are_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="could not be run"):
        opened(tmp_path).run(feeds() | {"cells": np.full((2, 8, 8), 10**9)})


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("bad_alloc"), RuntimeError("CUDA out of memory")])
def test_memory_that_runs_out_is_told(tmp_path, error, monkeypatch):
    session = opened(tmp_path)

    def full(*_):
        raise error

    monkeypatch.setattr(session, "_once", full)
    with pytest.raises(ResourceError, match="smaller size"):
        session.run(feeds())
    assert "smaller pieces" in session.notes[0]


def test_a_run_that_never_ends_can_be_cancelled_from_another_thread(tmp_path):
    sessions = Sessions("cpu")
    session = opened(tmp_path, sessions, extra="endless")
    threading.Timer(0.2, sessions.cancel).start()
    start = time.perf_counter()
    with pytest.raises(Cancelled):
        session.run(feeds())
    assert time.perf_counter() - start < 1


def test_a_cancel_between_runs_holds_until_new_work_begins(tmp_path):
    sessions = Sessions("cpu")
    session = opened(tmp_path, sessions)
    sessions.cancel()
    with pytest.raises(Cancelled):
        session.run(feeds())
    sessions.begin()
    session.run(feeds())


def without_cuda(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])


def test_cuda_asked_for_where_there_is_none_says_what_to_install(tmp_path, monkeypatch):
    without_cuda(monkeypatch)
    with pytest.raises(ProviderError, match="onnxruntime-gpu"):
        opened(tmp_path, Sessions("cuda"))


def test_without_cuda_auto_runs_on_the_cpu_and_says_why(tmp_path, monkeypatch):
    without_cuda(monkeypatch)
    session = opened(tmp_path, Sessions("auto"))
    assert session.provider == CPU and "onnxruntime-gpu" in session.why_not_cuda


def test_without_onnxruntime_the_remedy_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ProviderError, match="pip install onnxruntime"):
        opened(tmp_path)


def test_a_probe_says_what_would_run_without_a_model(monkeypatch):
    assert Sessions("cpu").probe() == (CPU, "")
    without_cuda(monkeypatch)
    provider, why = Sessions("auto", advice=Advice(cuda_build="ask Ada")).probe()
    assert provider == CPU and why.endswith("ask Ada.")


def test_a_windows_loader_failure_names_what_to_install(monkeypatch):
    import onnxruntime

    def failing(_):
        raise ImportError("DLL load failed: a DLL initialization routine failed")

    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", failing)
    with pytest.raises(ProviderError, match="Visual C"):
        Sessions("cpu").probe()


def test_an_old_runtime_gets_its_cuda_libraries_from_the_folder_in_order(tmp_path, monkeypatch):
    for name in ("libcudnn.so.9", "cublas64_12.dll", "libcudart.so.12.4", "cudnn.h", "readme.txt"):
        (tmp_path / name).touch()
    loaded = []
    monkeypatch.setattr("ctypes.CDLL", lambda path: loaded.append(path.rsplit("/")[-1]))
    _load_cuda(object(), tmp_path)
    assert loaded == ["libcudart.so.12.4", "cublas64_12.dll", "libcudnn.so.9"]


def test_onnxruntime_writes_nothing_on_stderr(tmp_path, capfd):
    with pytest.raises(ModelError):
        opened(tmp_path).run(feeds() | {"cells": np.full((2, 8, 8), 10**9)})
    assert capfd.readouterr().err == ""
