"""Work on large arrays in bands of lines, on all cores: a band stays in the processor's cache, and copies stay small.

numpy and zlib let go of Python's lock while they compute, so threads are enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from . import scratch
from .machine import cores

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

BAND = 64  # lines

_Made = TypeVar("_Made")


def each(length: int, work: Callable[[slice], _Made], *touched: NDArray[Any], band: int = BAND) -> list[_Made]:
    """What `work` makes of every band of `length` lines, in order. It may write to the lines of its own band only.

    `touched` are the arrays that it reads or writes: those that lie in files are let go of after each band.
    """
    return list(stream(length, work, *touched, band=band))


def stream(length: int, work: Callable[[slice], _Made], *touched: NDArray[Any], band: int = BAND) -> Iterator[_Made]:
    """As `each`, one result after another; few are made ahead. The work itself may not be cut into bands again."""

    def one(lines: slice) -> _Made:
        made = work(lines)
        scratch.rest(*touched)
        return made

    spans = [slice(start, min(start + band, length)) for start in range(0, length, band)]
    if len(spans) == 1 or _threads() == 1:
        yield from map(one, spans)
        return
    ahead: deque[Future[_Made]] = deque()
    try:
        for lines in spans:
            ahead.append(_pool().submit(one, lines))
            if len(ahead) > 2 * _threads():
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for waiting in ahead:
            waiting.cancel()


@cache
def _threads() -> int:
    return cores()


@cache
def _pool() -> ThreadPoolExecutor:
    """The threads, which are kept: to start them takes as long as many a band."""
    from concurrent.futures import ThreadPoolExecutor  # takes a while to import

    return ThreadPoolExecutor(_threads(), "tessera")
