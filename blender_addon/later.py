"""Modules that are imported when they are first used: enabling the extension must not make Blender wait for them."""

from __future__ import annotations

import importlib
from typing import Any


class _Later:
    """Stands for a module; whatever is asked of it, the module is imported and asked."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name, __package__), attribute)


def module(name: str) -> Any:
    """The module of this extension with this name, as `.wear` or `.core.pipeline`, later."""
    return _Later(name)
