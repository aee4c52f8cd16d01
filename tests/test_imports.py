"""The rule of who may import whom, read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parent.parent / "core"
# The packages beyond numpy and the standard library, and the one file that may import each.
ONLY_IN = {
    "onnxruntime": "sessions.py",
    "OpenImageIO": "images.py",
    "PIL": "images.py",
    "tqdm": "cli.py",
}


def imports(path):
    """Top-level package of each absolute import, wherever it stands in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_core_imports_only_what_it_may(path):
    allowed = {"numpy", *sys.stdlib_module_names, *(name for name, file in ONLY_IN.items() if file == path.name)}
    assert set(imports(path)) <= allowed


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_only_the_command_line_prints(path):
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert "print" not in names or path.name == "cli.py"


def test_nothing_heavy_is_imported_before_it_is_needed():
    modules = ["cli", "library", "pipeline", "recipe", "sessions", "families"]
    code = f"import sys; from core import {', '.join(modules)}; print({set(ONLY_IN)!r} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CORE.parent, check=True)
    assert result.stdout.strip() == "set()"
