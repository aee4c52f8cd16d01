"""Work in steps: a generator that yields how far it is, returns what it made, and is cancelled by closing it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

_Step = TypeVar("_Step")
_Shown = TypeVar("_Shown")
_Made = TypeVar("_Made")


def finish(work: Generator[Any, None, _Made]) -> _Made:
    """What work makes whose progress nobody watches."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            made: _Made = end.value
            return made


def shown(work: Generator[_Step, None, _Made], show: Callable[[_Step], _Shown]) -> Generator[_Shown, None, _Made]:
    """The same work, its steps told in another way."""
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            made: _Made = end.value
            return made
        yield show(step)


def part(work: Generator[float, None, _Made], low: float, high: float) -> Generator[float, None, _Made]:
    """Work that yields 0..1 as a part of a whole, whose progress is from `low` to `high` meanwhile."""
    return shown(work, lambda fraction: low + (high - low) * fraction)
