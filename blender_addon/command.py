"""Lets `blender -c tessera` find `headless`, which is imported when it is called: Blender starts faster so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

_handles: list[Any] = []


def _called(arguments: Sequence[str]) -> int:
    from .headless import main

    return main(arguments)


def register() -> None:
    """Answer to `-c tessera`."""
    _handles.append(bpy.utils.register_cli_command("tessera", _called))


def unregister() -> None:
    """No longer answer."""
    bpy.utils.unregister_cli_command(_handles.pop())
