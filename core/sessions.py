"""Open models: ONNX Runtime, on a GPU where there is one. The only file that imports it, when it is first needed."""

from __future__ import annotations

import ctypes
import io
import threading
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import int8
from .errors import Cancelled, ModelError, ProviderError, ResourceError
from .onnx_file import read_tensor

if TYPE_CHECKING:
    from .families import Family
    from .library import Model

Provider = Literal["auto", "cpu", "cuda"]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# The default search tries every algorithm for each new shape, which takes seconds.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}
# A whole model, y = -x: its session tells what really runs without the time and memory that a true one takes.
_SMALLEST = bytes.fromhex(
    "080812003a320a0b0a017812017922034e65671201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a0208"
    "0142040a00100d"
)


_printing = threading.Lock()


@dataclass(frozen=True)
class Advice:
    """What to do when something is missing. It depends on how Tessera came onto the machine."""

    runtime: str = "install it with: pip install onnxruntime"
    # ONNX Runtime for Windows needs a C++ runtime as new as the one it was linked with.
    windows: str = "install the latest Microsoft Visual C++ Redistributable (x64) and restart"
    cuda_build: str = 'install it with: pip install "onnxruntime-gpu[cuda,cudnn]"'
    cuda_libraries: str = cuda_build + ", and check the driver with nvidia-smi"


class Session:
    """A model ready to run: a `families.Runner`."""

    def __init__(self, owner: Sessions, path: Path, inner: Any, why_not_cuda: str) -> None:
        self.path = path
        self.stamp = path.stat().st_mtime_ns
        self.provider: str = inner.get_providers()[0]  # what really runs
        self.why_not_cuda = why_not_cuda  # a sentence, or "" when CUDA runs or was not asked for
        self._owner, self._inner = owner, inner
        self._tensors: dict[str, NDArray[Any]] = {}
        facts = inner.get_modelmeta().custom_metadata_map
        self.precision = "int8" if int8.OF in facts else "float32"  # of the arithmetic
        self._lent = {name: self.tensor(name) for name in facts.get(int8.LENT, "").split()}

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Run the graph: input name -> array, to the outputs in the graph's order, as finite float32.

        `Cancelled` when `Sessions.cancel` was called, `ResourceError` when memory ran out.
        """
        options = self._owner._begin()
        try:
            results = self._inner.run(None, {**feeds, **self._lent}, options)
        except Exception as error:
            raise self._failure(error) from None
        finally:
            self._owner._end()
        outputs = [np.asarray(result, dtype=np.float32) for result in results]
        for output in outputs:
            # Minimum and maximum carry NaN along and need no copy.
            if output.size and not (np.isfinite(output.min()) and np.isfinite(output.max())):
                raise ModelError(
                    f"{self.path.name} made numbers that are not finite on {self.provider}; run it on 'cpu'."
                )
        return outputs

    def tensor(self, name: str) -> NDArray[Any]:
        """A constant stored in the model file under `name`, read-only; `ModelError` when it is not there."""
        if name not in self._tensors:
            self._tensors[name] = read_tensor(self.path, name)
        return self._tensors[name]

    def _failure(self, error: Exception) -> Exception:
        text = str(error).lower()
        if self._owner.cancelled:
            return Cancelled("The work was stopped; nothing was written.")
        if isinstance(error, MemoryError) or "alloc" in text or "memory" in text:
            where = f"{self.path.name} ran on {self.provider}"
            return ResourceError(f"Memory ran out while {where}; ask for a smaller size, or close other programs.")
        return ModelError(f"{self.path.name} could not be run: {_first_line(error)}; export the model again.")


class Sessions:
    """Opens models on first use and keeps them. One thread works; any thread may cancel."""

    def __init__(
        self,
        provider: Provider = "auto",
        threads: int | None = None,
        advice: Advice | None = None,
        cuda_folder: Path | None = None,
        int8: bool = True,
    ) -> None:
        self.int8 = int8  # the CPU runs the companions of models that have them, see core/int8.py
        self.provider, self.threads = provider, threads  # threads: None for one on each core
        self.advice = advice or Advice()
        self.cuda_folder = cuda_folder  # where the libraries of CUDA and cuDNN are; None for where pip puts them
        self.cancelled = False
        self._open: dict[Path, Session] = {}
        self._running: Any = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Begin new work: an earlier `cancel` is forgotten."""
        self.cancelled = False

    def open(self, model: Model, family: Family) -> Session:
        """The open session of a model, checked against what its family needs.

        `ModelError` for a broken graph, `ProviderError` when
        the device asked for, or ONNX Runtime itself, is missing.
        """
        session = self._open.get(model.path)
        try:
            stamp = model.path.stat().st_mtime_ns
        except OSError:
            raise ModelError(f"{model.path} is gone; put it back, or refresh the list of materials.") from None
        if session is None or session.stamp != stamp:
            session = self._start(model.path)
            _check("input", model.path, session._inner.get_inputs(), family.INPUTS)
            _check("output", model.path, session._inner.get_outputs(), family.OUTPUTS)
            self._open[model.path] = session
        return session

    def probe(self) -> tuple[str, str]:
        """(what would really run, why not CUDA), as `Session.provider` and `why_not_cuda`; errors as `open`."""
        inner, why = self._inner(_SMALLEST, "The runtime's own test")
        return inner.get_providers()[0], why

    def release(self) -> None:
        """Close every session and give its memory back."""
        self._open.clear()

    def cancel(self) -> None:
        """End the work that runs now, from any thread: its `run` raises `Cancelled` after the current node."""
        with self._lock:
            self.cancelled = True
            if self._running is not None:
                self._running.terminate = True

    def _begin(self) -> Any:
        options = self._runtime().RunOptions()
        options.log_severity_level = 4
        with self._lock:
            if self.cancelled:
                raise Cancelled("The work was stopped; nothing was written.")
            self._running = options
        return options

    def _end(self) -> None:
        with self._lock:
            self._running = None

    def _start(self, path: Path) -> Session:
        inner, why = self._inner(str(path), path.name, int8.companion(path) if self.int8 else None)
        return Session(self, path, inner, why)

    def _inner(self, model: str | bytes, name: str, small: Path | None = None) -> tuple[Any, str]:
        """ONNX Runtime's session of a model (a path, or the file's bytes), and why it does not run on CUDA.

        On the CPU it is that of the companion `small`, if that opens.
        """
        runtime = self._runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # failures are told by our own sentences
        options.intra_op_num_threads = self.threads or 0
        # Threads that spin while they wait for work keep Blender and numpy from the processor, and gain nothing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        why = ""
        if self.provider != "cpu":
            inner, why = self._on_cuda(runtime, model, options)
            if inner is not None:
                return inner, ""
            if self.provider == "cuda":
                raise ProviderError(f"CUDA was asked for but cannot be used: {why}")
        if small:
            with suppress(Exception):
                return runtime.InferenceSession(str(small), options, providers=[CPU], enable_fallback=0), why
        try:
            return runtime.InferenceSession(model, options, providers=[CPU], enable_fallback=0), why
        except MemoryError:
            raise ResourceError(f"Memory ran out while {name} was opened; close other programs.") from None
        except Exception as error:  # ONNX Runtime has a class for each failure, and no common one
            raise ModelError(f"{name} cannot be opened: {_first_line(error)}; export the model again.") from None

    def _on_cuda(self, runtime: Any, model: str | bytes, options: Any) -> tuple[Any, str]:
        """The session on CUDA and "", or None and the sentence that says why not."""
        if CUDA not in runtime.get_available_providers():
            return None, f"this ONNX Runtime is built without CUDA; {self.advice.cuda_build}."
        try:
            _load_cuda(runtime, self.cuda_folder)
            inner = runtime.InferenceSession(
                model, options, providers=[(CUDA, _CUDA_OPTIONS), CPU], enable_fallback=0
            )  # an operator that CUDA lacks runs on the CPU
        except Exception as error:
            return None, f"{_first_line(error)}; {self.advice.cuda_libraries}."
        if inner.get_providers()[0] != CUDA:
            return None, f"its libraries or an NVIDIA driver are missing; {self.advice.cuda_libraries}."
        return inner, ""

    def _runtime(self) -> Any:
        try:
            import onnxruntime

            onnxruntime.set_default_logger_severity(4)  # it would report a missing CUDA library on stderr
        except Exception as error:  # a damaged installation fails in many ways, not with ImportError alone
            remedy = self.advice.windows if "DLL" in str(error) else self.advice.runtime
            raise ProviderError(f"ONNX Runtime cannot be loaded ({_first_line(error)}); {remedy}.") from None
        return onnxruntime


def _load_cuda(runtime: Any, folder: Path | None) -> None:
    """Load the libraries of CUDA and cuDNN from `folder`, or from where pip puts them."""
    if hasattr(runtime, "preload_dlls"):
        # It prints what is missing, which the session says as well. One thread at a time: each puts back what it found.
        with _printing, redirect_stdout(io.StringIO()):
            runtime.preload_dlls(directory=str(folder) if folder else None)
    elif folder is not None:  # before 1.21; in this order, each needs those before it
        for stem in ("cudart", "cublasLt", "cublas", "cufft", "curand", "nvrtc", "nvJitLink", "cudnn"):
            for path in sorted(folder.glob(f"*{stem}*")):
                if ".so" in path.suffixes or path.suffix == ".dll":
                    ctypes.CDLL(str(path))


def _check(kind: str, path: Path, found: Any, needed: Mapping[str, int]) -> None:
    axes = {value.name: len(value.shape) for value in found}
    for name, count in needed.items():
        if name not in axes:
            raise ModelError(f"{path.name} has no {kind} '{name}', which its family needs; export the model again.")
        if axes[name] != count:
            found_axes = f"The {kind} '{name}' of {path.name} has {axes[name]} axes"
            raise ModelError(f"{found_axes} where its family needs {count}; export the model again.")


def _first_line(error: Exception) -> str:
    """The start of a library's message, fit to stand inside a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".:; ")[:200]
