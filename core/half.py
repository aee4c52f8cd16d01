"""Half precision: an ONNX file rewritten so that its whole graph computes in float16, as tensor cores of GPUs like it.

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
_DEEPEST = 8  # messages within messages, from the graph down; a graph within a graph adds three

_Rewrite = Callable[[bytes, int], bytes]  # a message and how deep it lies, to the message in half precision


def halved(data: bytes, name: str) -> bytes:
    """The file `data`, called `name`, in half precision; `ModelError` when it cannot be rewritten."""
    graph, functions = 7, 25
    try:
        return _rewritten(data, {graph: _graph, functions: _strange}, 0)
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
        for number, wire, value in _fields(data)
    )


def _graph(data: bytes, depth: int) -> bytes:
    """A GraphProto."""
    node, initializer, inputs, outputs, values, sparse = 1, 5, 11, 12, 13, 15
    inside = {node: _node, initializer: _tensor, inputs: _value, outputs: _value, values: _value, sparse: _strange}
    return _rewritten(data, inside, depth)


def _node(data: bytes, depth: int) -> bytes:
    """A NodeProto."""
    attribute = 5
    return _rewritten(data, {attribute: _attribute}, depth)


def _attribute(data: bytes, depth: int) -> bytes:
    """An AttributeProto: tensors and graphs in it change, and a type that it names, as that of a Cast."""
    name, integer, tensor, graph, tensors, graphs, sparse, more_sparse = 1, 3, 5, 6, 10, 11, 22, 23
    title = dict((number, value) for number, _, value in _fields(data)).get(name)
    if title in (b"value_float", b"value_floats"):  # a Constant, with numbers that are not a tensor
        return _strange(data, depth)
    if title in (b"to", b"dtype"):
        return _retyped(data, integer)
    inside = {tensor: _tensor, tensors: _tensor, graph: _graph, graphs: _graph, sparse: _strange, more_sparse: _strange}
    return _rewritten(data, inside, depth)


def _value(data: bytes, depth: int) -> bytes:
    """A ValueInfoProto, whose type is a TypeProto."""
    kind, tensor, element = 2, 1, 1
    as_tensor = {tensor: lambda data, _: _retyped(data, element)}
    return _rewritten(data, {kind: lambda data, deeper: _rewritten(data, as_tensor, deeper)}, depth)


def _tensor(data: bytes, depth: int) -> bytes:
    """A TensorProto: float32 numbers are rounded to the nearest half; those past its range become its largest."""
    kind, segment, floats, raw, elsewhere, location = 2, 3, 4, 9, 13, 14
    found = _fields(data)
    if (kind, VARINT, FLOAT) not in found:
        return data
    numbers, kept = [], []
    for number, wire, value in found:
        if number in (segment, elsewhere) or (number, value) == (location, 1):
            return _strange(data, depth)
        if isinstance(value, bytes) and (number == raw or (number == floats and wire in (BYTES, FIXED32))):
            numbers.append(value)  # float_data may be packed or one by one
        elif number != kind:
            kept.append(_encoded(number, wire, value))
    whole = b"".join(numbers)
    if len(whole) % 4:
        raise BrokenError("its numbers end too early")
    array = np.frombuffer(whole, "<f4")
    array = np.where(np.isfinite(array), np.clip(array, -LARGEST, LARGEST), array).astype("<f2")
    return b"".join(kept) + _encoded(kind, VARINT, HALF) + _encoded(raw, BYTES, array.tobytes())


def _strange(_data: bytes, _depth: int) -> bytes:
    raise BrokenError("it holds numbers in a way that half precision does not support")


def _retyped(data: bytes, place: int) -> bytes:
    """A message with the element type at `place` changed, if it is float32."""
    return b"".join(
        _encoded(number, wire, HALF if (number, wire, value) == (place, VARINT, FLOAT) else value)
        for number, wire, value in _fields(data)
    )


def _fields(data: bytes) -> list[tuple[int, int, int | bytes]]:
    """Number, wire type, and value or bytes of each field."""
    file = BytesIO(data)
    return [
        (number, wire, value if wire == VARINT else file.read(value)) for number, wire, value in fields(file, len(data))
    ]


def _encoded(number: int, wire: int, value: int | bytes) -> bytes:
    """A field."""
    key = _varint(8 * number + wire)
    if isinstance(value, int):
        return key + _varint(value)
    return key + (_varint(len(value)) if wire == BYTES else b"") + value


def _varint(value: int) -> bytes:
    """Seven bits in each byte, the lowest first."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
