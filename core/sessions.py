"""Open models: ONNX Runtime, on a GPU where there is one. The only file that imports it, when it is first needed.

A session goes down a ladder of ways to run its model: half precision on the GPU, where the card allows it, float32 on
the GPU, the CPU. It takes the first that opens, steps down when one fails, says so in `notes`, and stays there.
"""

from __future__ import annotations

import ctypes
import gc
import io
import math
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import half, int8, machine
from .errors import Cancelled, ModelError, ProviderError, ResourceError, TesseraError
from .onnx_file import read_tensor

if TYPE_CHECKING:
    from .families import Family
    from .library import Model

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
SPOKEN = {CPU: "the CPU", CUDA: "CUDA", TENSORRT: "TensorRT"}
# The default search tries every algorithm for each new shape, which takes seconds; by default, too, memory is taken in
# powers of two, which for large tiles is up to twice what they need.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
_HALF_OPTIONS = {"prefer_nhwc": "1"}  # the layout that tensor cores work in; in ONNX Runtime's builds since 1.20
# Models that do not bear half precision would not bear this either, which rounds what is multiplied to as many bits.
_FLOAT_OPTIONS = {"use_tf32": "0"}
# Where CUDA's libraries are missing the CPU gets the graph, and this ends the process on one in half precision whose
# convolution has its weights as an input (seen in 1.32). It does nothing for a GPU.
_CRASHING = ["NchwcTransformer"]
# A whole model, y = -x: its session tells what really runs without the time and memory that a true one takes.
_SMALLEST = bytes.fromhex(
    "080812003a320a0b0a017812017922034e65671201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a0208"
    "0142040a00100d"
)
# How ONNX Runtime, CUDA, cuBLAS, cuDNN and C++ say it; an "illegal memory access" is another matter.
_OUT_OF_MEMORY = ("alloc", "out of memory", "not enough memory")


_printing = threading.Lock()


@dataclass(frozen=True)
class Advice:
    """What to do when something is missing. It depends on how Tessera came onto the machine."""

    runtime: str = "install it with: pip install onnxruntime"
    # ONNX Runtime for Windows needs a C++ runtime as new as the one it was linked with.
    windows: str = "install the latest Microsoft Visual C++ Redistributable (x64) and restart"
    cuda_build: str = 'install it with: pip install "onnxruntime-gpu[cuda,cudnn]"'
    cuda_libraries: str = cuda_build + ", and check the driver with nvidia-smi"
    tensorrt: str = "install TensorRT 10 where programs find its libraries, or run on 'cuda'"


@dataclass(frozen=True)
class _Way:
    """A way to run a model."""

    provider: str
    halved: bool = False

    def __str__(self) -> str:
        if self.provider == CPU:
            return "on the CPU"
        return f"in {'half precision' if self.halved else 'float32'} on {SPOKEN[self.provider]}"


class Session:
    """A model ready to run: a `families.Runner`."""

    def __init__(self, owner: Sessions, model: Model, graph: bytes | None = None) -> None:
        """Open the model's file, or another `graph` in its place."""
        self.path = model.path
        self.stamp = model.path.stat().st_mtime_ns
        self.notes: tuple[str, ...] = ()  # a sentence for each step down
        self.why_not_cuda = ""  # a sentence, or "" when a GPU runs or was not asked for
        self._owner, self._graph = owner, graph or model.path
        self._tensors: dict[str, NDArray[Any]] = {}
        self._ways = owner._ways(model.card.half)  # the first is the one that runs
        self._too_large = math.inf  # numbers in the inputs of a run that memory did not suffice for
        self._open()
        if self._ways[-1].provider != CPU:  # the GPU was asked for and works; what fails later is not lost
            self._ways.append(_Way(CPU))

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what really runs."""
        name: str = self._inner.get_providers()[0]
        return name

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Run the graph: input name -> array, to the outputs in the graph's order, as finite float32.

        `Cancelled` when `Sessions.cancel` was called, `ResourceError` when memory ran out: smaller inputs may pass.
        """
        size = sum(array.size for array in feeds.values())
        while size < self._too_large:
            try:
                outputs = self._once(feeds)
            except Exception as error:
                if self._owner.cancelled:
                    raise Cancelled("The work was stopped; nothing was written.") from None
                if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
                    self._too_large = size
                    self._note(
                        f"Memory ran out while {self.path.name} ran {self._ways[0]}; it went on in smaller pieces."
                    )
                    break
                wrong = f"could not be run ({_first_line(error)})"
            else:
                # Minimum and maximum carry NaN along and need no copy.
                if all(np.isfinite(output.min()) and np.isfinite(output.max()) for output in outputs if output.size):
                    return outputs
                wrong = "made numbers that are not finite"
            if not self._step_down(wrong):
                raise ModelError(f"{self.path.name} {wrong} on the CPU; export the model again.")
        where = f"{self.path.name} ran {self._ways[0]}"
        raise ResourceError(
            f"Memory ran out while {where}; ask for a smaller size, or close other programs.", self._retreat
        )

    def prepared(self, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """A function that runs the graph on these inputs and copies nothing to or from the device: for benchmarks."""
        self._bind(feeds)
        return lambda: self._inner.run_with_iobinding(self._binding)

    def tensor(self, name: str) -> NDArray[Any]:
        """A constant stored in the model file under `name`, read-only; `ModelError` when it is not there."""
        if name not in self._tensors:
            self._tensors[name] = read_tensor(self.path, name)
        return self._tensors[name]

    def _open(self) -> None:
        """Open the first way that works; those before it are dropped."""
        best = self._ways[0]
        self._inner, why = self._owner._opened(self._graph, self.path.name, self._ways)
        if self._ways[0].provider == CPU:
            self.why_not_cuda = why
        elif why:
            self._note(f"{self.path.name} does not open {best}, so it ran {self._ways[0]}: {why}")
        facts = self._inner.get_modelmeta().custom_metadata_map
        self.precision = "int8" if int8.OF in facts else "float16" if self._ways[0].halved else "float32"
        self._lent = {name: self.tensor(name) for name in facts.get(int8.LENT, "").split()}
        self._binding = self._inner.io_binding()
        # Inputs that lie on the device: arrays that cannot be written to, so that they are still what was copied.
        self._kept: dict[str, weakref.ref[NDArray[Any]]] = {}

    def _once(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """One run. Each input is copied to the device once, and each output back once."""
        options = self._owner._begin()
        try:
            self._bind(feeds)
            self._inner.run_with_iobinding(self._binding, options)
            return [np.asarray(output, np.float32) for output in self._binding.copy_outputs_to_cpu()]
        finally:
            self._binding.clear_binding_outputs()
            self._owner._end()

    def _bind(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        for name, array in (*feeds.items(), *self._lent.items()):
            kept = self._kept.pop(name, None)
            if kept is None or kept() is not array:
                self._binding.bind_cpu_input(name, self._fit(array))
            if not array.flags.writeable:
                self._kept[name] = weakref.ref(array)
        for output in self._inner.get_outputs():  # anew for each run, as their sizes change
            self._binding.bind_output(output.name, "cpu" if self._ways[0].provider == CPU else "cuda")

    def _fit(self, array: NDArray[Any]) -> NDArray[Any]:
        """An input as the graph wants it."""
        if self._ways[0].halved and array.dtype == np.float32:
            with np.errstate(over="ignore"):  # what becomes infinite shows in the outputs
                array = array.astype(np.float16)
        return np.ascontiguousarray(array)

    def _step_down(self, wrong: str) -> bool:
        """Run the model in the next way from now on; False when there is none."""
        if len(self._ways) == 1:
            return False
        failed = self._ways.pop(0)
        del self._inner, self._binding, self._kept  # the next may need their memory
        gc.collect()
        try:
            self._open()
        except TesseraError:  # nothing is open now
            self._owner._forget(self)
            raise
        self._note(f"{self.path.name} {wrong} {failed}, so it ran {self._ways[0]}.")
        return True

    def _retreat(self) -> bool:
        """Run the model on the CPU from now on, which has more memory; False when it runs there."""
        self._too_large = math.inf
        del self._ways[1:-1]  # float32 on the GPU needs more, not less
        return self._step_down("ran out of memory")

    def _note(self, sentence: str) -> None:
        self.notes = tuple(dict.fromkeys((*self.notes, sentence)))


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
        self.provider, self.threads = provider, threads  # threads: None for as many as this process may use
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
            session = Session(self, model)
            _check("input", model.path, session._inner.get_inputs(), family.INPUTS)
            _check("output", model.path, session._inner.get_outputs(), family.OUTPUTS)
            self._open[model.path] = session
        return session

    def probe(self) -> tuple[str, str]:
        """(what would really run, why not CUDA), as `Session.provider` and `why_not_cuda`; errors as `open`."""
        ways = self._ways(may_halve=False)
        _, why = self._opened(_SMALLEST, "The runtime's own test", ways)
        return ways[0].provider, why

    def release(self) -> None:
        """Close every session and give its memory back; one that works now is closed when it is done."""
        self._open.clear()
        gc.collect()  # an error that a caller still holds may hold a session

    def cancel(self) -> None:
        """End the work that runs now, from any thread: its `run` raises `Cancelled` after the current node."""
        with self._lock:
            self.cancelled = True
            if self._running is not None:
                self._running.terminate = True

    def _forget(self, session: Session) -> None:
        if self._open.get(session.path) is session:
            del self._open[session.path]

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

    def _ways(self, may_halve: bool) -> list[_Way]:
        """The ways to run a model, best first."""
        if self.provider == "cpu":
            return [_Way(CPU)]
        gpu = TENSORRT if self.provider == "tensorrt" else CUDA
        ways = [_Way(gpu, halved=True), _Way(gpu)] if may_halve else [_Way(gpu)]
        return [*ways, _Way(CPU)] if self.provider == "auto" else ways

    def _opened(self, model: Path | bytes, name: str, ways: list[_Way]) -> tuple[Any, str]:
        """ONNX Runtime's session of the first way that works, and why those before it, which are dropped, do not."""
        runtime, why = self._runtime(), ""
        while ways:
            options = runtime.SessionOptions()
            options.log_severity_level = 4  # failures are told by our own sentences
            options.intra_op_num_threads = self.threads or _threads()
            # Threads that spin while they wait for work keep Blender and numpy from the processor, and gain nothing.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            if ways[0].provider == CPU:
                small = int8.companion(model) if self.int8 and isinstance(model, Path) else None
                if small:
                    with suppress(Exception):  # a companion that does not open is passed over
                        return _on_cpu(runtime, small, name, options), why
                return _on_cpu(runtime, model, name, options), why
            inner, wrong = self._on_gpu(runtime, model, name, options, ways[0])
            if inner is not None:
                return inner, why
            why, gpu = wrong, ways.pop(0).provider
        raise ProviderError(f"{SPOKEN[gpu]} was asked for but cannot be used: {why}")

    def _on_gpu(self, runtime: Any, model: Path | bytes, name: str, options: Any, way: _Way) -> tuple[Any, str]:
        """The session on a GPU and "", or None and the sentence that says why not."""
        spoken, tensorrt = SPOKEN[way.provider], way.provider == TENSORRT
        if way.provider not in runtime.get_available_providers():
            remedy = self.advice.tensorrt if tensorrt else self.advice.cuda_build
            return None, f"this ONNX Runtime is built without {spoken}; {remedy}."
        remedy = self.advice.tensorrt if tensorrt else self.advice.cuda_libraries
        # An operator that one of them lacks runs on the next.
        providers: list[Any] = [(CUDA, _CUDA_OPTIONS | (_HALF_OPTIONS if way.halved else _FLOAT_OPTIONS)), CPU]
        if tensorrt:
            providers.insert(0, (TENSORRT, {"trt_fp16_enable": str(way.halved)}))
        if way.halved:
            model = half.halved(model if isinstance(model, bytes) else model.read_bytes(), name)
        try:
            _load_cuda(runtime, self.cuda_folder)
            inner = runtime.InferenceSession(
                model, options, providers=providers, enable_fallback=0, disabled_optimizers=_CRASHING
            )
        except Exception as error:
            return None, f"{_first_line(error)}; {remedy}."
        if inner.get_providers()[0] != way.provider:
            return None, f"its libraries or an NVIDIA driver are missing; {remedy}."
        return inner, ""

    def _runtime(self) -> Any:
        # Newer builds tell their maker over the network what runs, from their import on; others know the call alone.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        try:
            import onnxruntime

            onnxruntime.disable_telemetry_events()
            onnxruntime.set_default_logger_severity(4)  # it would report a missing CUDA library on stderr
        except Exception as error:  # a damaged installation fails in many ways, not with ImportError alone
            remedy = self.advice.windows if "DLL" in str(error) else self.advice.runtime
            raise ProviderError(f"ONNX Runtime cannot be loaded ({_first_line(error)}); {remedy}.") from None
        return onnxruntime


def _on_cpu(runtime: Any, model: Path | bytes, name: str, options: Any) -> Any:
    try:
        return runtime.InferenceSession(model, options, providers=[CPU], enable_fallback=0)
    except MemoryError:
        raise ResourceError(f"Memory ran out while {name} was opened; close other programs.") from None
    except Exception as error:  # ONNX Runtime has a class for each failure, and no common one
        raise ModelError(f"{name} cannot be opened: {_first_line(error)}; export the model again.") from None


def _threads() -> int:
    """Threads for one run; 0 lets ONNX Runtime count the cores, which it does well where all of them may be used."""
    allowed = machine.cores()
    return 0 if allowed == os.cpu_count() else allowed


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
