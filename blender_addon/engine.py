"""The models and the sessions of this Blender, opened at first use and given back on request."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from . import later
from .core.errors import InputError, TesseraError
from .preferences import preferences

if TYPE_CHECKING:
    from .core.library import Library
    from .core.sessions import Provider, Sessions

_library, _runtime = map(later.module, (".core.library", ".core.sessions"))
_ADVICE = {
    "runtime": "reinstall the Tessera extension (Preferences > Get Extensions) and restart Blender",
    "windows": "disable extensions that bring a newer ONNX Runtime, which this Blender cannot load, and restart it",
    "cuda_build": "the CUDA build of the extension has it",
    "cuda_libraries": "name the folder of the CUDA and cuDNN libraries in the preferences, or update the driver",
}


class _Engine:
    """What is open now; empty until something is needed."""

    library: Library | None = None
    sessions: Sessions | None = None
    device: str = ""  # the line that says what runs the networks, once it is known
    probing: threading.Thread | None = None


def library() -> Library:
    """The models there are: those of the preferences' folder, of `TESSERA_MODELS`, of the user, and the bundled."""
    if _Engine.library is None:
        _Engine.library = _library.Library(_folders())
    return _Engine.library


def motions() -> list[str]:
    """The motions that the models there can make."""
    return sorted(library().motions())


def sessions() -> Sessions:
    """The one set of sessions, made as the preferences say."""
    if _Engine.sessions is None:
        _Engine.sessions = _sessions(preferences().provider)
    return _Engine.sessions


def choose(provider: Provider | None, folder: Path | None) -> None:
    """Use another provider or a further folder of models than the preferences name, until `forget`."""
    if folder is not None and not folder.is_dir():
        raise InputError(f"There is no folder '{folder}'; give one that holds models (.onnx).")
    forget()
    _Engine.library = _library.Library([folder, *_folders()]) if folder else None
    _Engine.sessions = _sessions(provider) if provider else None


def device() -> str:
    """The line that says what will run the networks, and why not CUDA. The first call asks, in a thread."""
    if not _Engine.device and _Engine.probing is None:
        _Engine.probing = threading.Thread(target=_probe, args=(sessions(),), daemon=True)
        _Engine.probing.start()
    return _Engine.device


def forget() -> None:
    """Drop everything that was opened, so that changed preferences count; the next use opens it anew."""
    release()
    _Engine.library = _Engine.sessions = _Engine.probing = None
    _Engine.device = ""


def release() -> None:
    """Give the memory of the open models back."""
    if _Engine.sessions is not None:
        _Engine.sessions.release()


def _sessions(provider: Provider) -> Sessions:
    wanted = preferences()
    folder = Path(bpy.path.abspath(wanted.cuda_folder)) if wanted.cuda_folder else None
    advice = _runtime.Advice(**_ADVICE)
    return _runtime.Sessions(provider, wanted.threads or None, advice=advice, cuda_folder=folder)


def _probe(asked: Sessions) -> None:
    try:
        provider, why_not = asked.probe()
        line = f"Runs on {_runtime.SPOKEN[provider]}"
        line += f": {why_not}" if why_not else ""
    except TesseraError as error:
        line = str(error)
    if asked is _Engine.sessions:  # else the preferences changed meanwhile
        _Engine.device = line


def _folders() -> list[Path]:
    named = preferences().models_folder
    own = bpy.utils.extension_path_user(__package__, path="models")
    return [*([Path(bpy.path.abspath(named))] if named else []), Path(own)]
