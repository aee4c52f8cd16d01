"""Half precision: an ONNX file rewritten so that its whole graph computes in float16, twice as fast on a GPU.

Files store float16 weights, cast them to float32 and compute in that. Here every float32 becomes float16: constants,
casts, and the types of inputs, outputs and values. Integers stay. Lengths are checked as core/onnx_file.py does it.
Whether a model bears it is measured by export/half.py and said by its card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO

import numpy as np

from .errors import ModelError
from .onnx_file import BYTES, FIXED32, VARINT, BrokenError, fields

FLOAT, HALF = 1, 10  # TensorProto.DataType
LARGEST = float(np.finfo(np.float16).max)
_DEEPEST = 8  # graphs within graphs; ours have none
_STRANGE = "it holds numbers in a way that half precision does not support"

# One field of a message: its wire type, and its value or bytes.
_Field = tuple[int, int | bytes]
_Rewrite = Callable[[bytes, int], bytes]


def halved(data: bytes, name: str) -> bytes:
    """The file `data`, called `name`, in half precision; `ModelError` when it cannot be rewritten."""
    try:
        return _rewritten(data, {7: _graph, 25: _strange}, 0)
    except BrokenError as error:
        raise ModelError(f"{name} cannot be halved: {error}; copy or export it again.") from None


def _rewritten(data: bytes, inside: Mapping[int, _Rewrite], depth: int) -> bytes:
    """A message whose fields of these numbers, messages themselves, are rewritten; all others stay."""
    if depth > _DEEPEST:
        raise BrokenError("its messages are nested too deeply")
    return b"".join(
        _encoded(number, wire, inside[number](value, depth + 1))
        if number in inside and isinstance(value, bytes)
        else _encoded(number, wire, value)
        for number, (wire, value) in _fields(data)
    )


def _fields(data: bytes) -> list[tuple[int, _Field]]:
    file, found = BytesIO(data), []
    for number, wire, value in fields(file, len(data)):
        found.append((number, (wire, value if wire == VARINT else file.read(value))))
    return found


def _encoded(number: int, wire: int, value: int | bytes) -> bytes:
    key = _varint(8 * number + wire)
    if isinstance(value, int):
        return key + _varint(value)
    return key + (_varint(len(value)) if wire == BYTES else b"") + value


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _graph(data: bytes, depth: int) -> bytes:
    """Nodes, constants, inputs, outputs and the types of values."""
    return _rewritten(data, {1: _node, 5: _tensor, 11: _value, 12: _value, 13: _value, 15: _strange}, depth)


def _node(data: bytes, depth: int) -> bytes:
    return _rewritten(data, {5: _attribute}, depth)


def _strange(_data: bytes, _depth: int) -> bytes:
    raise BrokenError(_STRANGE)


def _attribute(data: bytes, depth: int) -> bytes:
    """An operator's setting: tensors and graphs in it are rewritten, and a type that it names, as that of a Cast."""
    settings = dict(_fields(data))
    title = settings.get(1, (BYTES, b""))[1]
    if title in (b"value_float", b"value_floats"):
        raise BrokenError(_STRANGE)
    if title in (b"to", b"dtype") and settings.get(3) == (VARINT, FLOAT):
        return b"".join(_encoded(number, *field) for number, field in {**settings, 3: (VARINT, HALF)}.items())
    return _rewritten(data, {5: _tensor, 6: _graph, 10: _tensor, 11: _graph, 22: _strange, 23: _strange}, depth)


def _value(data: bytes, depth: int) -> bytes:
    """A ValueInfoProto: name and type."""
    return _rewritten(data, {2: lambda kind, deeper: _rewritten(kind, {1: _tensor_type}, deeper)}, depth)


def _tensor_type(data: bytes, _depth: int) -> bytes:
    return b"".join(
        _encoded(number, wire, HALF if (number, wire, value) == (1, VARINT, FLOAT) else value)
        for number, (wire, value) in _fields(data)
    )


def _tensor(data: bytes, _depth: int) -> bytes:
    """A TensorProto: float32 numbers are rounded to the nearest half; those past its range become its largest."""
    found = _fields(data)
    if (2, (VARINT, FLOAT)) not in found:
        return data
    raw, kept = b"", []
    for number, (wire, value) in found:
        if number == 9 or (number == 4 and wire in (BYTES, FIXED32)):  # raw_data; float_data, packed or one by one
            raw += value if isinstance(value, bytes) else b""
        elif number in (3, 13) or (number, value) == (14, 1):  # parts, or data in another file
            raise BrokenError(_STRANGE)
        elif number != 2:
            kept.append(_encoded(number, wire, value))
    if len(raw) % 4:
        raise BrokenError("its numbers end too early")
    numbers = np.frombuffer(raw, "<f4")
    rounded = np.where(np.isfinite(numbers), np.clip(numbers, -LARGEST, LARGEST), numbers).astype("<f2")
    return b"".join(kept) + _encoded(2, VARINT, HALF) + _encoded(9, BYTES, rounded.tobytes())
