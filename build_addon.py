"""Build the zip that Blender installs: the extension, the engine with its models, and ONNX Runtime.

    python build_addon.py                                   # for this machine, into dist/
    python build_addon.py --platform windows-x64
    python build_addon.py --flavor cuda                     # CUDA 12 and cuDNN 9 must be on the artist's machine
    python build_addon.py --flavor cuda --with-cuda-libs    # they are in the zip, which is four times as large
    python build_addon.py --python 3.14                     # for the Blender of a distribution with that Python
    python build_addon.py --wheels DIR                      # nothing is downloaded: the wheels lie in DIR

The wheels travel in the zip, since nothing is installed at run time. numpy does not: Blender has its own, and a second
one would break other add-ons. The same input gives the same bytes, and no file of the repository is changed.
Exit status: 0 done, 2 the zip cannot be built (one sentence on stderr says why), 130 interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
MANIFEST = "blender_manifest.toml"
KINDS = {".py", ".onnx", ".png", ".webp"}  # what is taken from the folders, besides the manifest and the licence
PYTHONS = ("3.11", "3.13")  # of Blender 4.2 to 5.0, and of Blender 5.1 on

# Why an old ONNX Runtime. On Windows, Blender 4.2 to 5.0 load a C++ runtime (msvcp140.dll) 14.29 of their own, and each
# library in the process gets that one, whatever else is installed; Blender 5.2 has 14.44. Wheels from 1.21 on import no
# `_Mtx_init_in_situ`: they count on mutexes that need no call to be ready, which the runtime has since 14.40, and end
# in "DLL initialization routine failed" or a crash in an older one. Tried under Wine, with Microsoft's runtimes 14.29,
# 14.34, 14.40 and 14.44: 1.20.1 starts with each; 1.21.0, 1.23.2, 1.24.4, 1.26.0 and 1.32.0 with the last two only.
# Not tried: Blender on Windows. On Linux 1.20.1 makes the very pixels of 1.32.0, with numpy 1.24 as with 2.4.
RUNTIME = "1.20.1"  # has wheels for Python 3.10 to 3.13, on all three platforms
NEWER = "1.26.0"  # the last for CUDA 12, which older drivers run too; has wheels for Python 3.11 to 3.14
RUNTIME_CUDA = "1.20.2"  # `RUNTIME` with CUDA, for CUDA 12 as well; it has no `preload_dlls`
# Reads pictures where Blender has no OpenImageIO module, as distributions build it; wheels for Python 3.10 to 3.14.
PILLOW = "12.0.0"
# What `onnxruntime-gpu[cuda,cudnn]` names and what that needs, in versions that exist for Linux and Windows.
CUDA_LIBRARIES = {
    "nvidia-cublas-cu12": "12.9.2.10",
    "nvidia-cuda-nvrtc-cu12": "12.9.86",
    "nvidia-cuda-runtime-cu12": "12.9.79",
    "nvidia-cudnn-cu12": "9.28.0.42",
    "nvidia-cufft-cu12": "11.4.1.4",
    "nvidia-curand-cu12": "10.3.10.19",
    "nvidia-nvjitlink-cu12": "12.9.86",
}


@dataclass(frozen=True)
class Platform:
    """A platform in the words of wheels."""

    asked: tuple[str, ...]  # the tags that pip is asked for; it adds the older ones of macosx and manylinux2014
    runs: str  # a pattern of every tag that runs there


PLATFORMS = {  # named as Blender names them
    "linux-x64": Platform(
        ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64"), r"manylinux\w+_x86_64"
    ),
    "windows-x64": Platform(("win_amd64",), "win_amd64"),
    "macos-arm64": Platform(("macosx_14_0_arm64",), r"macosx_\w+_(arm64|universal2)"),
}


class BuildError(Exception):
    """The zip cannot be built; the message is one sentence that says what to do."""


@dataclass(frozen=True)
class Order:
    """What to build."""

    platform: str  # a name in `PLATFORMS`
    flavor: str  # "cpu" or "cuda"
    out: Path  # folder for the zip
    wheels: Path | None = None  # folder that the wheels are taken from; None: pip downloads them
    pythons: tuple[str, ...] = PYTHONS
    cuda_libraries: bool = False  # NVIDIA's libraries go into the zip


@dataclass(frozen=True)
class Wheel:
    """A wheel that the zip needs."""

    package: str
    version: str
    python: str | None  # "3.11"; None for libraries that know no Python

    def __str__(self) -> str:
        return f"{self.package} {self.version}" + (f" for Python {self.python}" if self.python else "")

    def is_in(self, name: str, platform: str) -> bool:
        """Whether the file `name` is this wheel for the platform, by the tags that every wheel has in its name."""
        parts = name.removesuffix(".whl").split("-")
        if len(parts) not in (5, 6):  # 6 with a build number
            return False
        interpreter = f"cp{self.python.replace('.', '')}" if self.python else "py3"
        tags = [parts[-3], parts[-2]] == [interpreter, interpreter if self.python else "none"]
        runs = any(re.fullmatch(PLATFORMS[platform].runs, tag) for tag in parts[-1].split("."))
        return parts[:2] == [self.package.replace("-", "_"), self.version] and tags and runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the zip, print a line about it and return the exit status."""
    try:
        path = build(_order(_parser().parse_args(arguments)), ROOT)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    print(f"{path}  {path.stat().st_size / 1e6:.1f} MB  sha256 {digest}")
    return 0


def build(order: Order, source: Path) -> Path:
    """Write the zip and return its path. `source` is the repository; `BuildError` when there can be no zip."""
    wheels = needed(order)
    # What is missing shows before a folder is made.
    given = _pick(wheels, order.platform, order.wheels) if order.wheels else None
    try:
        with _workshop(order.out) as folder:
            found = given or _download(wheels, order.platform, folder)
            made = folder / "made.zip"
            _write(made, contents(source) | _added(source, order, found, folder))
            return made.replace(order.out / _name(source, order))
    except OSError as error:
        raise BuildError(f"The zip could not be written: {error}; make room or change --out.") from None


def needed(order: Order) -> list[Wheel]:
    """The wheels that the order asks for, pinned; `BuildError` for what does not exist."""
    if order.flavor == "cuda" and order.platform.startswith("macos"):
        raise BuildError("There is no CUDA on macOS; build it with --flavor cpu.")
    if order.cuda_libraries and order.flavor != "cuda":
        raise BuildError("CUDA's libraries are of use to the CUDA flavour only; add --flavor cuda.")
    libraries = CUDA_LIBRARIES.items() if order.cuda_libraries else ()
    pictures = [Wheel("pillow", PILLOW, python) for python in order.pythons]
    runtimes = [_runtime(order, python) for python in order.pythons]
    return runtimes + pictures + [Wheel(*library, None) for library in libraries]


def _runtime(order: Order, python: str) -> Wheel:
    if order.flavor == "cpu":
        return Wheel("onnxruntime", RUNTIME if _numbers(python) <= (3, 13) else NEWER, python)
    old = order.platform == "windows-x64" and python == "3.11"
    return Wheel("onnxruntime-gpu", RUNTIME_CUDA if old else NEWER, python)


def _pick(wheels: list[Wheel], platform: str, folder: Path) -> list[Path]:
    """The files of the wheels in a folder."""
    files = sorted(folder.glob("*.whl"))
    fitting = {wheel: [file for file in files if wheel.is_in(file.name, platform)] for wheel in wheels}
    if missing := [str(wheel) for wheel, found in fitting.items() if not found]:
        raise BuildError(f"{folder} has no wheel of {', '.join(missing)} on {platform}; put it there.")
    picked = [found[0] for found in fitting.values()]
    if broken := [file for file in picked if not zipfile.is_zipfile(file)]:
        raise BuildError(f"{broken[0]} is broken; download it again.")
    return picked


def _download(wheels: list[Wheel], platform: str, folder: Path) -> list[Path]:
    """The files of the wheels, which pip puts into the folder."""
    tags = [word for tag in PLATFORMS[platform].asked for word in ("--platform", tag)]
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), *tags]
    for wheel in wheels:
        what = ["--python-version", wheel.python or PYTHONS[0], f"{wheel.package}=={wheel.version}"]
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *options, *what]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            said = (result.stderr.strip().splitlines() or ["it said nothing"])[-1].removeprefix("ERROR: ").rstrip(".")
            raise BuildError(f"pip could not download {wheel}: {said}; give the wheel with --wheels.")
    return _pick(wheels, platform, folder)


def contents(source: Path) -> dict[str, Path]:
    """Name in the zip -> file of the repository: the extension at the root, the engine below `core/`, the licence."""
    found = {"LICENSE": source / "LICENSE"}
    for folder, prefix in ((source / "blender_addon", ""), (source / "core", "core/")):
        for path in folder.rglob("*"):
            if path.suffix in KINDS and not path.name.startswith(".") and path.is_file():
                found[prefix + path.relative_to(folder).as_posix()] = path
    return found


def _added(source: Path, order: Order, wheels: list[Path], folder: Path) -> dict[str, Path]:
    """What the repository does not hold: the wheels, and the manifest that names them, which is put into the folder."""
    manifest = folder / MANIFEST
    listed = json.dumps([f"./wheels/{wheel.name}" for wheel in wheels], indent=2)  # is TOML, too
    lines = f"platforms = {json.dumps([order.platform])}\nwheels = {listed}\n"  # in front, before the first table
    manifest.write_bytes((lines + _manifest(source)).encode())
    return {MANIFEST: manifest} | {f"wheels/{wheel.name}": wheel for wheel in wheels}


def _name(source: Path, order: Order) -> str:
    manifest = tomllib.loads(_manifest(source))
    flavor = "" if order.flavor == "cpu" else f"-{order.flavor}"
    return f"{manifest['id']}-{manifest['version']}-{order.platform}{flavor}.zip"


def _manifest(source: Path) -> str:
    return (source / "blender_addon" / MANIFEST).read_text(encoding="utf-8")


def _write(path: Path, files: dict[str, Path]) -> None:
    """Write a zip whose bytes depend on the files' names and contents only.

    They are stored: wheels are compressed already, weights shrink by 8 %, and deflate's output depends on its version.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # of the year 1980
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # as Unix writes it, wherever this runs
            entry.file_size = file.stat().st_size  # so that a long one gets the header it needs
            with archive.open(entry, "w") as target, file.open("rb") as origin:
                shutil.copyfileobj(origin, target, 1 << 20)


@contextmanager
def _workshop(out: Path) -> Iterator[Path]:
    """A folder that is gone afterwards. It lies in `out`, so that a finished zip need only be renamed."""
    fresh = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".building-", dir=out) as folder:
            yield Path(folder)
    except BaseException:
        if fresh:
            with suppress(OSError):
                out.rmdir()
        raise


def _order(options: argparse.Namespace) -> Order:
    if options.wheels and not options.wheels.is_dir():
        raise BuildError(f"There is no folder {options.wheels}; name one that holds wheels.")
    return Order(
        platform=options.platform or _here(),
        flavor=options.flavor,
        out=options.out,
        wheels=options.wheels,
        pythons=tuple(sorted(set(options.python or PYTHONS), key=_numbers)),
        cuda_libraries=options.with_cuda_libs,
    )


def _here() -> str:
    """The platform of this machine."""
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine())
    name = f"{platform.system().lower().replace('darwin', 'macos')}-{machine}"
    if name not in PLATFORMS:
        raise BuildError(f"There is no build for {name}; choose one with --platform: {', '.join(PLATFORMS)}.")
    return name


def _numbers(python: str) -> tuple[int, ...]:
    return tuple(int(number) for number in python.split("."))


def _python(text: str) -> str:
    if not re.fullmatch(r"3\.[1-9]\d", text) or _numbers(text) < (3, 11):
        raise argparse.ArgumentTypeError(f"'{text}' is no Python of Blender 4.2 or newer, such as 3.11")
    return text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence, without the usage text in front."""
        self.exit(2, f"{self.prog}: {message}; --help shows how it is used.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform", choices=PLATFORMS, help="where Blender runs (as here)")
    parser.add_argument("--flavor", choices=("cpu", "cuda"), default="cpu", help="what runs the networks (cpu)")
    parser.add_argument("--out", type=Path, default=Path("dist"), metavar="DIR", help="folder for the zip (dist)")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="folder of wheels to take, instead of downloading")
    parser.add_argument(
        "--python", type=_python, action="append", metavar="3.X", help=f"Blender's Python ({', '.join(PYTHONS)})"
    )
    parser.add_argument("--with-cuda-libs", action="store_true", help="put NVIDIA's libraries into the zip, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
