"""The version, from the one file that states it: the extension's manifest."""

from __future__ import annotations

import tomllib
from pathlib import Path


def _version() -> str:
    above = Path(__file__).resolve().parent.parent
    for folder in (above, above / "blender_addon"):  # where it lies in the installed extension, and in a checkout
        manifest = folder / "blender_manifest.toml"
        if manifest.is_file():
            return str(tomllib.loads(manifest.read_text(encoding="utf-8"))["version"])
    from importlib import metadata  # slow to import, and needed only in an environment that pip made

    return metadata.version("tessera")


VERSION = _version()
