"""Int8 companions: a file beside a model that the CPU runs in its place, made of it by export/int8.py.

A companion names the model file that it was made of by its digest. One of another file, or of another version of it,
is passed over without a word, as is one that cannot be read: the float file alone is the model.
"""

from __future__ import annotations

from pathlib import Path

from .errors import ModelError
from .onnx_file import read_metadata, sha256

SUFFIX = ".int8.onnx"
OF = "tessera_int8_of"  # metadata: SHA-256 of the float file
LENT = "tessera_int8_lent"  # metadata: constants of the float file that are fed to the companion, names between blanks


def is_companion(path: Path) -> bool:
    """Whether a file, by its name, is no model of its own."""
    return path.name.endswith(SUFFIX)


def companion(path: Path) -> Path | None:
    """The companion of a model file, where there is one that fits."""
    beside = path.with_name(path.stem + SUFFIX)
    try:
        return beside if beside.is_file() and read_metadata(beside).get(OF) == sha256(path) else None
    except (ModelError, OSError):
        return None
