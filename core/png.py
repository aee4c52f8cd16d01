"""Writes PNG files (PNG specification, third edition), into memory and on any thread.

Inside Blender there is no library that is sure to do it: Pillow is not there, Linux distributions build Blender
without OpenImageIO's Python module, and Blender's own images are for the main thread only. It is also fast: one
filter, and zlib's quickest way, since a map is written more often than it is sent.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {1: 0, 3: 2, 4: 6}  # channels -> colour type: grey, RGB, RGBA
_SUB = 1  # filter: each byte less the same byte of the pixel to the left
_LEVEL = 1  # of zlib
_BAND = 256  # rows filtered at a time


def encode(pixels: NDArray[Any]) -> bytes:
    """A PNG file of `(H, W, C)`, uint8 or uint16, C 1 (grey), 3 (RGB) or 4 (RGBA, not premultiplied), row 0 at the top.

    No chunk says anything of gamma or primaries, which some programs apply to data as well.
    """
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, _KINDS[channels], 0, 0, 0)
    # Run lengths alone, made for filtered pixels: faster than a search for repeats, and as small.
    packer = zlib.compressobj(_LEVEL, strategy=zlib.Z_RLE)
    packed = b"".join([*map(packer.compress, _filtered(pixels)), packer.flush()])
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _filtered(pixels: NDArray[Any]) -> Iterator[bytes]:
    """The rows, big-endian and filtered, band by band: a large map is not copied as a whole."""
    width, step = pixels.shape[1] * pixels.shape[2] * pixels.itemsize, pixels.shape[2] * pixels.itemsize
    for top in range(0, len(pixels), _BAND):
        band = np.ascontiguousarray(pixels[top : top + _BAND], pixels.dtype.newbyteorder(">"))
        plain = band.view(np.uint8).reshape(len(band), width)
        rows = np.empty((len(band), 1 + width), np.uint8)
        rows[:, 0] = _SUB
        rows[:, 1 : 1 + step] = plain[:, :step]
        np.subtract(plain[:, step:], plain[:, :-step], out=rows[:, 1 + step :])
        yield rows.tobytes()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def is_whole(data: memoryview) -> bool:
    """Whether every chunk of a PNG file is there and has its checksum (section 5.3)."""
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND" and at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = bytes(data[at + 4 : at + 8])
        end = at + 8 + length
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        at = end + 4
    return kind == b"IEND"
