"""Checks of plain data, such as a recipe's: a check takes a value and returns it, or says what the value must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .maps import CHANNELS

# Raises ValueError with what the value must be, as "text" or "a number from 0 to 1".
Check = Callable[[Any], Any]


def text(value: Any) -> str:
    """Words on one line."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("text")
    return value


def word(value: Any) -> str:
    """Words on one line, or none."""
    return "" if value == "" else text(value)


def truth(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def whole(low: int, high: int) -> Check:
    """A whole number of a range."""

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def number(low: float, high: float) -> Check:
    """A number of a range."""

    def check(value: Any) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def numbers(count: int, low: float, high: float) -> Check:
    """So many numbers of a range."""
    each = number(low, high)

    def check(value: Any) -> tuple[float, ...]:
        try:
            if isinstance(value, (list, tuple)) and len(value) == count:
                return tuple(each(item) for item in value)
        except ValueError:
            pass
        raise ValueError(f"a list of {count} numbers from {low:g} to {high:g}")

    return check


def one_of(*choices: Any) -> Check:
    """One of some values."""

    def check(value: Any) -> Any:
        if isinstance(value, (bool, float)) or value not in choices:
            raise ValueError("one of " + ", ".join(str(choice) for choice in choices))
        return value

    return check


def map_names(value: Any) -> tuple[str, ...]:
    """Names of maps, at least one."""
    names = value if isinstance(value, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) and name in CHANNELS for name in names):
        raise ValueError("a list of some of " + ", ".join(CHANNELS))
    return tuple(name for name in CHANNELS if name in names)
