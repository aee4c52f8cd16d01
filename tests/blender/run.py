"""Run the tests of the add-on inside real Blender: the `bpy` wheel of each version, the zip that ships installed in it.

    python tests/blender/run.py                       # Blender 4.5
    python tests/blender/run.py 4.2.23 5.0.1          # these versions
    python tests/blender/run.py --all -- -k panel -x  # every version; what follows `--` goes to pytest

An environment for each version is made once, in `.blender/bpy-VERSION` (1 to 1.6 GB each), or below the folder that
TESSERA_BLENDER_DIR names. pytest runs in tests/blender, so paths given to it start there.
Exit status: 0 all passed, 1 something failed, 2 nothing could be run (one sentence says why).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEFAULT = "4.5.15"
VERSIONS = ("4.2.23", DEFAULT, "5.0.1")
# The numpy that each Blender ships. The wheels allow others, and 4.2's allows numpy 2, which breaks compiled modules.
NUMPY = {"4.2": "1.24.3", "4.3": "1.24.3", "4.4": "1.26.4", "4.5": "1.26.4", "5.0": "1.26.4"}
PYTHON = (3, 11)  # of every Blender above; their wheels exist for no other
LIMIT = 1800  # seconds that the tests of one version may take: a Blender that hangs at exit must not hang the run


class CannotRunError(Exception):
    """The request cannot be met; the message is one sentence that says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Run the tests in each version that was asked for and return the exit status."""
    own, to_pytest = _split(list(arguments))
    options = _parser().parse_args(own)
    versions = list(VERSIONS) if options.all else options.versions or [DEFAULT]
    try:
        with tempfile.TemporaryDirectory(prefix="tessera-zip-") as folder:
            pythons = {version: environment(version) for version in versions}
            package = options.zip.resolve() if options.zip else build(Path(folder), options.wheels)
            if not package.is_file():
                raise CannotRunError(f"There is no file {package}.")
            lines = [run(version, python, package, to_pytest) for version, python in pythons.items()]
    except CannotRunError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(line for _, line in lines))
    return 0 if all(passed for passed, _ in lines) else 1


def environment(version: str) -> Path:
    """The interpreter of this version's environment, which is made if it is not there or was made otherwise."""
    folder = Path(os.environ.get("TESSERA_BLENDER_DIR") or ROOT / ".blender") / f"bpy-{version}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    needed = [f"bpy=={version}", f"numpy=={_numpy(version)}", "pytest>=8"]
    note = folder / "tessera.txt"  # what was installed: written last, so an installation cut short is not trusted
    if note.is_file() and note.read_text() == "\n".join(needed):
        return python
    print(f"Blender {version}: preparing {folder}", flush=True)
    if not python.exists():
        _call([*_python(), "-m", "venv", str(folder)], "The virtual environment could not be made")
    _call([str(python), "-m", "pip", "install", "-q", *needed], f"pip could not install Blender {version}")
    note.write_text("\n".join(needed))
    return python


def build(folder: Path, wheels: Path | None) -> Path:
    """The add-on's zip for this machine, built as it ships."""
    script = ROOT / "build_addon.py"
    if not script.is_file():
        raise CannotRunError(f"There is no {script.name} to build the add-on with; name a built one with --zip.")
    chosen = ["--wheels", str(wheels.resolve())] if wheels else []
    _call([sys.executable, str(script), "--out", str(folder), *chosen], "The add-on could not be built")
    packages = sorted(folder.rglob("*.zip"))
    if len(packages) != 1:
        raise CannotRunError(f"{script.name} made {len(packages)} zips where one was expected.")
    return packages[0]


def run(version: str, python: Path, package: Path, to_pytest: list[str]) -> tuple[bool, str]:
    """Whether the tests passed in this version, and the line that says so."""
    print(f"Blender {version}", flush=True)
    # Without -P the folder in which pytest starts, or PYTHONPATH, could make another copy of `core` importable.
    command = [str(python), "-P", "-m", "pytest", "-c", os.devnull, "--rootdir", str(HERE), "-p", "no:cacheprovider"]
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tessera-blender-", ignore_cleanup_errors=True) as resources:
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "BLENDER_"))}
        variables |= {"BLENDER_USER_RESOURCES": resources, "TESSERA_ZIP": str(package), "PYTHONNOUSERSITE": "1"}
        try:
            status = subprocess.run([*command, *to_pytest], cwd=HERE, env=variables, timeout=LIMIT).returncode
            verdict = {0: "passed", 1: "failed", 5: "failed: no test was found"}.get(status, f"failed: status {status}")
        except subprocess.TimeoutExpired:
            verdict = f"failed: not done after {LIMIT} s"
    return verdict == "passed", f"Blender {version:8} {verdict:8} {time.monotonic() - start:6.1f} s"


def _numpy(version: str) -> str:
    series = ".".join(version.split(".")[:2])
    if series not in NUMPY:
        raise CannotRunError(f"Blender {version} is not known here; the series are {', '.join(NUMPY)}.")
    return NUMPY[series]


def _python() -> list[str]:
    """A command that starts the Python of these Blenders."""
    asks = ["-c", f"import sys; sys.exit(sys.version_info[:2] != {PYTHON})"]
    for command in _candidates():
        # a launcher of that name may be there without the version behind it
        if shutil.which(command[0]) and subprocess.run([*command, *asks], capture_output=True).returncode == 0:
            return command
    raise CannotRunError("These Blenders need Python 3.11, and no python3.11 was found; install it and try again.")


def _candidates() -> Iterator[list[str]]:
    if sys.version_info[:2] == PYTHON:
        yield [sys.executable]
    yield ["python3.11"]
    if os.name == "nt":
        yield ["py", "-3.11"]


def _call(command: list[str], failure: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip() or "it said nothing").splitlines()
        raise CannotRunError(f"{failure}: {' '.join(said[-5:])}")


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Ours, and pytest's: what follows `--`."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:cut], arguments[cut + 1 :]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence, without the usage text in front."""
        self.exit(2, f"{self.prog}: {message}; --help shows how it is used.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"Blender's version (default: {DEFAULT})")
    parser.add_argument("--all", action="store_true", help=f"every version: {', '.join(VERSIONS)}")
    parser.add_argument("--zip", type=Path, metavar="ZIP", help="the add-on; without it build_addon.py makes one")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="folder of wheels to build the add-on from")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
