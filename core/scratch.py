"""Arrays larger than memory should hold: they lie in a temporary file, and memory holds what is worked on.

A set of maps of 8192x8192 pixels has 2.7 GB. Its arrays are mapped to files that have no name and are gone with them;
`rest` lets go of the memory, and the next use reads it again, from the system's cache as a rule.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import ResourceError

LARGE = 1 << 28  # bytes; maps of 4096x4096 pixels stay below
_PIECE = 1 << 24  # bytes written at a time where the system cannot reserve room


def empty(shape: Sequence[int], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """As `numpy.empty`, in memory or, from `LARGE` bytes on, in a file; `ResourceError` when the disk is full."""
    size = prod(shape) * np.dtype(dtype).itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="tessera-") as file:
            _reserve(file.fileno(), size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResourceError(
            f"There is no room for {size >> 20} MB in '{tempfile.gettempdir()}' ({reason}); free some, or let the "
            "environment variable TMPDIR name a folder on a larger disk."
        ) from None
    return np.frombuffer(mapped, dtype).reshape(shape)


def rest(*arrays: NDArray[Any]) -> None:
    """Let go of the memory of arrays, or of what they are views of, that lie in files; their values stay."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray | memoryview):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)  # of a shared mapping: pages that were written go to the file


def _reserve(file: int, size: int) -> None:
    """Make a file that long. Without true room for it, writing to its mapping would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    for start in range(0, size, _PIECE):
        os.write(file, bytes(min(_PIECE, size - start)))
