"""The zip that ships, built from wheels made on the spot."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import build_addon
from build_addon import CUDA_LIBRARIES, NEWER, PILLOW, RUNTIME, RUNTIME_CUDA, Order, needed
from core.version import VERSION

ROOT = Path(build_addon.ROOT)
TAGS = {
    "linux-x64": "manylinux_2_27_x86_64.manylinux_2_28_x86_64",
    "windows-x64": "win_amd64",
    "macos-arm64": "macosx_13_0_universal2",
}


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    """A small repository that the zips are built from, with things that must stay out."""
    made = tmp_path / "repository"
    for name in ("LICENSE", "blender_addon/blender_manifest.toml", "core/__init__.py", "core/version.py"):
        put(made / name, (ROOT / name).read_bytes())
    for name in ("blender_addon/__init__.py", "blender_addon/panel.py", "core/models/a.onnx", "core/models/a/oak.png"):
        put(made / name)
    put(made / "core/models/a.int8.onnx")
    for name in ("core/__pycache__/cli.pyc", "core/.cli.py", "core/notes.txt", "tests/test_cli.py", "export/gan.py"):
        put(made / name)
    monkeypatch.setattr(build_addon, "ROOT", made)
    return made


@pytest.fixture
def wheels(tmp_path):
    """A folder of every wheel of the default Pythons, and some that must not be taken."""
    for platform in TAGS:
        flavors = ["cpu"] if platform == "macos-arm64" else ["cpu", "cuda"]
        for flavor in flavors:
            order = Order(platform, flavor, tmp_path, cuda_libraries=flavor == "cuda")
            for wheel in needed(order):
                wheel_file(tmp_path / "wheels", wheel, TAGS[platform])
    put(tmp_path / "wheels" / f"numpy-2.0.0-cp311-cp311-{TAGS['linux-x64']}.whl")
    return tmp_path / "wheels"


@pytest.fixture
def build(wheels, tmp_path, capfd):
    """Run the build: status, and what it said on stderr."""

    def call(*words, out=tmp_path / "dist", wheels=wheels):
        words = ["--out", out, "--wheels", wheels, *words] if wheels else ["--out", out, *words]
        try:
            status = build_addon.main([str(word) for word in words])
        except SystemExit as end:  # argparse
            status = end.code
        return status, capfd.readouterr().err

    return call


def put(path, data=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def wheel_file(folder, wheel, tag):
    python = "cp" + wheel.python.replace(".", "") if wheel.python else "py3"
    abi = python if wheel.python else "none"
    folder.mkdir(exist_ok=True)
    name = f"{wheel.package.replace('-', '_')}-{wheel.version}-{python}-{abi}-{tag}.whl"
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("module.py", name)
    return folder / name


def the_zip(folder):
    (path,) = folder.iterdir()  # nothing else is left there
    return path


def names(path):
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def manifest(path):
    with zipfile.ZipFile(path) as archive:
        return tomllib.loads(archive.read("blender_manifest.toml").decode())


def test_the_zip_holds_extension_engine_models_and_wheels_alone(build, tmp_path):
    assert build("--platform", "linux-x64")[0] == 0
    packages = (f"onnxruntime-{RUNTIME}", f"pillow-{PILLOW}")
    wheels = {f"wheels/{name}-{p}-{p}-{TAGS['linux-x64']}.whl" for name in packages for p in ("cp311", "cp313")}
    extension = {"blender_manifest.toml", "LICENSE", "__init__.py", "panel.py"}
    engine = {"core/__init__.py", "core/version.py", "core/models/a/oak.png"}
    engine |= {"core/models/a.onnx", "core/models/a.int8.onnx"}
    assert names(the_zip(tmp_path / "dist")) == sorted(extension | engine | wheels)


@pytest.mark.parametrize("platform", TAGS)
def test_the_manifest_names_the_platform_and_the_wheels_inside(build, tmp_path, platform):
    build("--platform", platform)
    path = the_zip(tmp_path / "dist")
    assert path.name == f"tessera-{VERSION}-{platform}.zip" and manifest(path)["platforms"] == [platform]
    inside = {f"./{name}" for name in names(path) if name.endswith(".whl")}
    assert set(manifest(path)["wheels"]) == inside and len(inside) == 4


def test_what_the_repository_says_is_kept_in_the_manifest(build, tmp_path):
    build("--platform", "linux-x64")
    own = tomllib.loads((ROOT / "blender_addon" / "blender_manifest.toml").read_text())
    built = manifest(the_zip(tmp_path / "dist"))
    assert own["version"] == VERSION and built == own | {key: built[key] for key in ("platforms", "wheels")}


def test_the_installed_engine_knows_its_version(build, tmp_path):
    build("--platform", "linux-x64")
    zipfile.ZipFile(the_zip(tmp_path / "dist")).extractall(tmp_path / "installed" / "tessera")
    code = "from tessera.core.version import VERSION; print(VERSION)"
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=tmp_path / "installed", text=True).strip() == VERSION


def test_a_second_build_has_the_same_bytes(build, repository, tmp_path):
    build("--platform", "linux-x64", out=tmp_path / "a")
    for path in repository.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700)
    build("--platform", "linux-x64", out=tmp_path / "b")
    assert the_zip(tmp_path / "a").read_bytes() == the_zip(tmp_path / "b").read_bytes()


def test_the_repository_is_left_as_it_is_and_an_older_zip_is_replaced(build, repository, tmp_path):
    before = {path: path.read_bytes() for path in repository.rglob("*.*") if path.is_file()}
    put(tmp_path / "dist" / f"tessera-{VERSION}-linux-x64.zip", b"old")
    build("--platform", "linux-x64")
    assert "LICENSE" in names(the_zip(tmp_path / "dist"))
    assert before == {path: path.read_bytes() for path in repository.rglob("*.*") if path.is_file()}


def test_the_platform_is_this_machines_where_none_is_named(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build_addon.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(build_addon.platform, "machine", lambda: "arm64")
    build()
    assert manifest(the_zip(tmp_path / "dist"))["platforms"] == ["macos-arm64"]


def test_the_cuda_flavour_takes_its_libraries_along_when_asked(build, tmp_path):
    build("--platform", "windows-x64", "--flavor", "cuda", "--with-cuda-libs")
    path = the_zip(tmp_path / "dist")
    assert path.name == f"tessera-{VERSION}-windows-x64-cuda.zip"
    packages = [wheel.split("/")[-1].split("-")[0] for wheel in manifest(path)["wheels"]]
    assert sorted(packages) == sorted(
        ["onnxruntime_gpu", "pillow"] * 2 + [name.replace("-", "_") for name in CUDA_LIBRARIES]
    )


# Flavour, platform, Python, and the version that loads in the Blender of that Python.
VERSIONS = [
    ("cpu", "windows-x64", "3.11", RUNTIME),
    ("cpu", "macos-arm64", "3.13", RUNTIME),
    ("cpu", "linux-x64", "3.14", NEWER),
    ("cuda", "windows-x64", "3.11", RUNTIME_CUDA),
    ("cuda", "windows-x64", "3.13", NEWER),
    ("cuda", "linux-x64", "3.11", NEWER),
]


@pytest.mark.parametrize(("flavor", "platform", "python", "version"), VERSIONS)
def test_each_python_gets_the_runtime_that_loads_there(tmp_path, flavor, platform, python, version):
    wheel, _ = needed(Order(platform, flavor, tmp_path, pythons=(python,)))
    assert wheel.version == version and wheel.python == python


def test_named_pythons_replace_the_usual_ones(build, wheels, tmp_path):
    wanted = needed(Order("linux-x64", "cpu", tmp_path, pythons=("3.14",)))
    files = [wheel_file(wheels, wheel, TAGS["linux-x64"]) for wheel in wanted]
    assert build("--platform", "linux-x64", "--python", "3.14")[0] == 0
    assert manifest(the_zip(tmp_path / "dist"))["wheels"] == [f"./wheels/{file.name}" for file in files]


# Names of files that are near the wheel for Python 3.11 on Linux, and are not it.
NEAR = [
    f"onnxruntime-9.9.9-cp311-cp311-{TAGS['linux-x64']}.whl",
    f"onnxruntime-{RUNTIME}-cp312-cp312-{TAGS['linux-x64']}.whl",
    f"onnxruntime-{RUNTIME}-cp311-cp311t-{TAGS['linux-x64']}.whl",
    f"onnxruntime-{RUNTIME}-cp311-cp311-manylinux_2_28_aarch64.whl",
    f"onnxruntime-{RUNTIME}-cp311-cp311-musllinux_1_2_x86_64.whl",
    f"onnxruntime_gpu-{RUNTIME}-cp311-cp311-{TAGS['linux-x64']}.whl",
    "onnxruntime.whl",
]


@pytest.mark.parametrize("name", NEAR)
def test_a_missing_wheel_is_told_and_nothing_is_written(build, wheels, tmp_path, name):
    (right,) = wheels.glob(f"onnxruntime-{RUNTIME}-cp311-cp311-manylinux*")
    right.rename(wheels / name)
    status, errors = build("--platform", "linux-x64")
    assert status == 2 and f"no wheel of onnxruntime {RUNTIME} for Python 3.11 on linux-x64" in errors
    assert errors.count("\n") == 1 and "3.13" not in errors and not (tmp_path / "dist").exists()


def test_a_broken_wheel_is_told_and_nothing_is_written(build, wheels, tmp_path):
    (file,) = wheels.glob(f"onnxruntime-{RUNTIME}-cp313*win*")
    file.write_bytes(file.read_bytes()[:20])
    assert build("--platform", "windows-x64") == (2, f"{file} is broken; download it again.\n")
    assert not (tmp_path / "dist").exists()


# Arguments, and what the sentence must say.
WRONG = {
    ("--platform", "macos-arm64", "--flavor", "cuda"): "no CUDA on macOS",
    ("--platform", "linux-x64", "--with-cuda-libs"): "add --flavor cuda",
    ("--platform", "haiku-x64"): "choose from",
    ("--platform", "linux-x64", "--python", "3.9"): "no Python of Blender 4.2 or newer",
    ("--platform", "linux-x64", "--python", "three"): "no Python of Blender 4.2 or newer",
    ("--wheels", "no/folder"): "no folder no/folder",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_a_wrong_request_is_one_sentence_and_writes_nothing(build, tmp_path, arguments):
    status, errors = build(*arguments)
    assert status == 2 and WRONG[arguments] in errors
    assert errors.count("\n") == 1 and not (tmp_path / "dist").exists()


@pytest.mark.parametrize("folder", ["file", "file/dist", "/proc/tessera"])
def test_a_folder_that_cannot_be_written_to_is_told(build, tmp_path, folder):
    (tmp_path / "file").write_text("")
    status, errors = build("--platform", "linux-x64", out=tmp_path / folder)
    assert status == 2 and "change --out" in errors and errors.count("\n") == 1


def test_a_build_that_fails_half_way_leaves_the_older_zip(build, repository, tmp_path):
    build("--platform", "linux-x64")
    before = the_zip(tmp_path / "dist").read_bytes()
    (repository / "LICENSE").unlink()
    status, errors = build("--platform", "linux-x64")
    assert status == 2 and "LICENSE" in errors and the_zip(tmp_path / "dist").read_bytes() == before


def test_without_a_folder_of_wheels_pip_downloads_them(build, wheels, tmp_path, monkeypatch):
    def pip(command, **options):
        package, python = command[-1].split("==")[0], command[command.index("--python-version") + 1].replace(".", "")
        for wheel in wheels.glob(f"{package}-*cp{python}-*"):
            shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0 if "--no-deps" in command else 1, "", "")

    monkeypatch.setattr(build_addon.subprocess, "run", pip)
    assert build("--platform", "linux-x64", wheels=None) == (0, "")
    assert len(manifest(the_zip(tmp_path / "dist"))["wheels"]) == 4


def test_a_failed_download_is_told_and_nothing_is_written(build, tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: slow\nERROR: No matching distribution found.\n")
    monkeypatch.setattr(build_addon.subprocess, "run", lambda command, **options: failed)
    status, errors = build("--platform", "linux-x64", wheels=None)
    assert status == 2 and "3.11: No matching distribution found; give the wheel" in errors
    assert errors.count("\n") == 1 and not (tmp_path / "dist").exists()


# Those of the tags that Blender lists (its validator takes any) which are about what this add-on does.
KNOWN_TAGS = {"3D View", "Bake", "Material", "Node", "Paint", "Render", "UV"}


def test_the_manifest_keeps_blenders_rules():
    own = tomllib.loads((ROOT / "blender_addon" / "blender_manifest.toml").read_text())
    assert set(own["tags"]) <= KNOWN_TAGS and "blender" not in own["name"].lower()
    assert own["license"] == ["SPDX:GPL-3.0-or-later"] and set(own["permissions"]) <= {"files"}
    texts = [own["tagline"], *own["permissions"].values()]
    assert all(len(text) <= 64 and text[-1].isalnum() for text in texts)


def test_the_real_zip_has_the_models_and_their_pictures():
    found = build_addon.contents(ROOT)
    assert {"core/sessions.py", "core/models/atlas.onnx", "core/models/atlas/oak.png"} <= set(found)
    assert not [name for name in found if "pycache" in name or name.startswith(("tests/", "export/"))]
