"""Blender with the add-on installed, and a fresh scene for each test. Start these tests with `run.py`.

The add-on's own `core` is reached through the fixture only: imported from the repository as well, it would exist twice.
"""

import importlib
import os
import sys
from pathlib import Path

import bpy
import pytest
from verbs import PACKAGE

_status = pytest.ExitCode.INTERNAL_ERROR


@pytest.fixture(scope="session", autouse=True)
def installed():
    """The add-on, installed from its zip into empty user resources; the zip's path."""
    package = Path(os.environ["TESSERA_ZIP"])
    bpy.ops.extensions.package_install_files(filepath=str(package), repo="user_default", enable_on_install=True)
    assert PACKAGE in bpy.context.preferences.addons  # the operator answers FINISHED even when it failed
    return package


@pytest.fixture(autouse=True)
def scene(installed):
    """Blender's startup scene, with the default cube active and selected, and the preferences as they ship."""
    # Leaves add-ons enabled, unlike read_factory_settings, and takes 15 ms.
    bpy.ops.wm.read_homefile(use_empty=False, use_factory_startup=True)
    preferences = getattr(bpy.context.preferences.addons[PACKAGE], "preferences", None)
    for name in preferences.bl_rna.properties.keys() if preferences else ():
        preferences.property_unset(name)
    importlib.import_module(f"{PACKAGE}.engine").forget()
    importlib.import_module(f"{PACKAGE}.jobs").clear_message()
    return bpy.context.scene


@pytest.fixture
def cube(scene):
    """The default cube: active, selected, with a UV map."""
    return bpy.data.objects["Cube"]


@pytest.fixture
def addon(installed):
    """The add-on's package."""
    return importlib.import_module(PACKAGE)


@pytest.fixture
def core(installed):
    """The engine inside the add-on."""
    return importlib.import_module(f"{PACKAGE}.core")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus):
    global _status
    _status = exitstatus


@pytest.hookimpl(trylast=True)
def pytest_unconfigure():
    """Leave at once: at an ordinary exit with classes registered, Blender 4.2 crashes and 4.5 hangs."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(_status))
