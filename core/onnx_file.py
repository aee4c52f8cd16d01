"""A small reader of ONNX files: their metadata and their constants, without ONNX Runtime.

An ONNX file is a protobuf message: fields one after another, each a key (number and wire type) and a value. Listing
models must be quick, so the graph, nearly all of the file, is stepped over. The file may be broken or hostile:
every length is checked against what is left before it is believed, and every loop is bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError

# Numbers of fields, from onnx.proto.
_GRAPH, _METADATA, _INITIALIZER = 7, 14, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
# TensorProto.DataType -> little-endian numpy type; the others do not occur in our files.
_TYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2"}

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MOST_FIELDS = 50_000  # in one message; ours have hundreds, and a file of tiny fields must not take minutes
_MOST_TEXT = 1 << 20  # bytes in one metadata entry
_MOST_ENTRIES = 64
_MOST_AXES = 8


_File = BufferedReader | BytesIO


class BrokenError(Exception):
    """The bytes are not what they should be; the text says what."""


def read_metadata(path: Path) -> dict[str, str]:
    """Everything under `metadata_props`, key to value; `ModelError` when the file is not an ONNX model."""
    with _opened(path) as (file, size):
        found: dict[str, str] = {}
        graph = False
        for number, wire, length in fields(file, size):
            graph = graph or (number, wire) == (_GRAPH, BYTES)
            if (number, wire) == (_METADATA, BYTES):
                key, value = _entry(_take(file, length, _MOST_TEXT))
                found[key] = value
                if len(found) > _MOST_ENTRIES:
                    raise BrokenError("it has too many metadata entries")
        if not graph:
            raise BrokenError("it has no graph")
        return found


def read_tensor(path: Path, name: str) -> NDArray[Any]:
    """The constant `name` of the graph, read-only, in its stored type; `ModelError` when it is not there."""
    with _opened(path) as (file, size):
        for number, wire, length in fields(file, size):
            if (number, wire) == (_GRAPH, BYTES):
                found = _in_graph(file, file.tell() + length, name)
                if found is not None:
                    return found
    raise ModelError(f"{path.name} has no constant '{name}'; export the model again.")


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of the file's bytes."""
    with _opened(path) as (file, _):
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """The open file and its size; every way in which a file can be wrong leaves as one `ModelError`."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise BrokenError("it is not a file")
        with path.open("rb") as file:
            yield file, path.stat().st_size
    except BrokenError as error:
        raise ModelError(f"{path.name} is not a model that can be read: {error}; copy or export it again.") from None
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror}; check the path and its permissions.") from None


def fields(file: _File, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields up to `end`: number, wire type, and the value, or for bytes their length with the file at them."""
    for _ in range(_MOST_FIELDS):
        if file.tell() >= end:
            return
        number, wire = divmod(_varint(file), 8)
        if wire == VARINT:
            yield number, wire, _varint(file)
            continue
        if wire not in (BYTES, FIXED32, FIXED64):
            raise BrokenError("it is damaged or not ONNX")
        length = _varint(file) if wire == BYTES else 4 if wire == FIXED32 else 8
        start = file.tell()
        if length > end - start:
            raise BrokenError("it ends too early")
        yield number, wire, length
        file.seek(start + length)
    raise BrokenError("it has too many fields")


def _varint(file: _File) -> int:
    """An unsigned number, seven bits in each byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise BrokenError("it ends too early")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise BrokenError("it is damaged or not ONNX")


def _take(file: _File, length: int, most: int) -> bytes:
    if length > most:
        raise BrokenError(f"it has an entry of {length} bytes where {most} are the most")
    return file.read(length)


def _entry(data: bytes) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto."""
    file, texts = BytesIO(data), {1: "", 2: ""}
    for number, wire, length in fields(file, len(data)):
        if wire == BYTES and number in texts:
            texts[number] = _text(file.read(length))
    return texts[1], texts[2]


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BrokenError("its text is not UTF-8") from None


def _in_graph(file: _File, end: int, name: str) -> NDArray[Any] | None:
    for number, wire, length in fields(file, end):
        if (number, wire) == (_INITIALIZER, BYTES):
            found = _tensor(file, file.tell() + length, name)
            if found is not None:
                return found
    return None


def _tensor(file: _File, end: int, name: str) -> NDArray[Any] | None:
    """The TensorProto that the file stands at, if it is called `name`."""
    dims: list[int] = []
    kind, title, where, size = 0, "", 0, -1
    for number, wire, value in fields(file, end):
        if number == _DIMS:
            dims += [value] if wire == VARINT else _packed(_take(file, value, 10 * _MOST_AXES))
        elif (number, wire) == (_DATA_TYPE, VARINT):
            kind = value
        elif (number, wire) == (_NAME, BYTES):
            title = _text(_take(file, value, _MOST_TEXT))
        elif (number, wire) == (_RAW_DATA, BYTES):
            where, size = file.tell(), value
    if title != name:
        return None
    dtype = np.dtype(_TYPES.get(kind, "V1"))
    # The size of the data is bounded by the file's, so agreeing with it bounds the array too.
    bounded = len(dims) <= _MOST_AXES and max(dims, default=0) <= end
    if kind not in _TYPES or not bounded or prod(dims) * dtype.itemsize != size:
        raise BrokenError(f"its constant '{name}' is stored in a way that is not supported")
    file.seek(where)
    return np.frombuffer(file.read(size), dtype).reshape(dims)


def _packed(data: bytes) -> list[int]:
    file, values = BytesIO(data), []
    while file.tell() < len(data):
        values.append(_varint(file))
    return values
