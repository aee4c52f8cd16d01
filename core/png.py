"""Writes PNG files (PNG specification, third edition), into memory and on any thread.

Inside Blender there is no library that is sure to do it: Pillow is not there, Linux distributions build Blender
without OpenImageIO's Python module, and Blender's own images are for the main thread only. It is also fast: one
filter, and zlib's quickest way, since a map is written more often than it is sent, on all cores.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import bands

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {1: 0, 3: 2, 4: 6}  # channels -> colour type: grey, RGB, RGBA
_SUB = 1  # filter: each byte less the same byte of the pixel to the left
_LEVEL = 1  # of zlib
_HEADER = b"\x78\x01"  # of zlib's stream: a window of 32 KB, packed quickly
_RAW = -15  # that window, without header and checksum
_ADLER = 65521  # largest prime below 2^16
_BAND = 64  # rows filtered and packed at a time


def encode(pixels: NDArray[Any]) -> bytes:
    """A PNG file of `(H, W, C)`, uint8 or uint16, C 1 (grey), 3 (RGB) or 4 (RGBA, not premultiplied), row 0 at the top.

    No chunk says anything of gamma or primaries, which some programs apply to data as well.
    """
    return b"".join(stream(pixels.shape, pixels.dtype, lambda rows: pixels[rows]))


def stream(
    shape: tuple[int, ...], kind: DTypeLike, band: Callable[[slice], NDArray[Any]], *touched: NDArray[Any]
) -> Iterator[bytes]:
    """The same file, piece by piece, of pixels that `band` makes for some rows, on several threads.

    `touched` are the arrays that it reads (core/bands.py).
    """
    height, width, channels = shape
    depth = 8 * np.dtype(kind).itemsize
    yield SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, _KINDS[channels], 0, 0, 0))
    yield _chunk(b"IDAT", _HEADER)
    checksum = 1

    def work(rows: slice) -> tuple[bytes, int, int]:
        return _packed(_filtered(band(rows)), last=rows.stop == height)

    for chunk, sum_of_band, length in bands.stream(height, work, *touched, band=_BAND):
        checksum = _joined(checksum, sum_of_band, length)
        yield chunk
    yield _chunk(b"IDAT", struct.pack(">I", checksum)) + _chunk(b"IEND", b"")


def _filtered(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Rows as they are packed: big-endian, each after the number of its filter."""
    step = pixels.shape[2] * pixels.itemsize
    plain = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(len(pixels), -1)
    rows = np.empty((len(plain), 1 + plain.shape[1]), np.uint8)
    rows[:, 0] = _SUB
    rows[:, 1 : 1 + step] = plain[:, :step]
    np.subtract(plain[:, step:], plain[:, :-step], out=rows[:, 1 + step :])
    return rows


def _packed(rows: NDArray[np.uint8], last: bool) -> tuple[bytes, int, int]:
    """(chunk, Adler-32 checksum of the rows, their bytes); chunks that follow each other make one stream."""
    # Run lengths alone, made for filtered pixels: faster than a search for repeats, and as small.
    packer = zlib.compressobj(_LEVEL, wbits=_RAW, strategy=zlib.Z_RLE)
    data = packer.compress(rows.data) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
    return _chunk(b"IDAT", data), zlib.adler32(rows.data), rows.size


def _joined(first: int, second: int, length: int) -> int:
    """Adler-32 (RFC 1950, section 8.2) of data and `length` bytes that follow, from the checksums of both."""
    one, other = ((checksum & 0xFFFF, checksum >> 16) for checksum in (first, second))
    low = (one[0] + other[0] - 1) % _ADLER
    return low | (one[1] + other[1] + (one[0] - 1) * length) % _ADLER << 16


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
