"""The Blender extension: thin operators over plain functions over `core`. `bpy` is imported in this folder only.

A module that registers something has a `register` and an `unregister`; the list below is all there is.
"""

from . import command, gallery, jobs, material_operators, operators, panel, preferences, settings, variations

_MODULES = (preferences, gallery, variations, settings, operators, material_operators, panel, command, jobs)


def register() -> None:
    """Called by Blender when the extension is enabled. Nothing heavy is imported here."""
    for module in _MODULES:
        module.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled: stops the work, gives memory back, leaves nothing behind."""
    for module in reversed(_MODULES):
        module.unregister()
