"""Drive the add-on in a real Blender window with a mouse: see that it works, and keep pictures of it.

    bash tests/blender/chroot.sh sid /var/tmp/tessera-sid     # once: a Debian with Blender and a virtual screen
    python tests/blender/window.py /var/tmp/tessera-sid --out dist/window

It installs the zip that ships, runs it headless (`blender -b -c tessera`), opens the tab in a window, clicks Generate
Texture, waits, clicks again for a 4K texture and presses Esc, shows variations, takes one and undoes it. Pictures:
panel.png (the panel beside the textured object), working.png, variations.png, shader.png (the nodes). Exit status:
0 all went well, 1 something did not (one line says what), 3 there is no such chroot here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WIDTH, HEIGHT = 1400, 940
DISPLAY = ":77"
INSIDE = "/tmp/tessera-window"  # in the chroot
MARK = (255, 0, 255)  # the colour in which the buttons show themselves for a moment
ESC_LIMIT = 0.5  # seconds from the key to a panel that is ready again


class FailedError(Exception):
    """Something did not happen; the message is one sentence."""


class Window:
    """A Blender in a chroot, seen through its virtual screen, and asked through files."""

    def __init__(self, chroot: Path, package: Path, out: Path) -> None:
        self.chroot, self.out = chroot, out
        self.folder = chroot / INSIDE.lstrip("/")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(package, self.folder / "tessera.zip")
        shutil.copy(HERE / "window_inside.py", self.folder)
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Window:
        (self.chroot / "tmp" / f".X{DISPLAY[1:]}-lock").unlink(missing_ok=True)
        self._start("Xvfb", DISPLAY, "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "+extension", "GLX")
        installed = self.run("blender", "--command", "extension", "install-file", "-r", "user_default", "-e",
                              f"{INSIDE}/tessera.zip")  # fmt: skip
        if b"Installed" not in installed.stdout + installed.stderr:
            raise FailedError(f"The extension could not be installed: {installed.stderr.decode()[-300:]}")
        headless(self)
        geometry = ("--window-geometry", "0", "0", str(WIDTH), str(HEIGHT))
        self._start("blender", "--factory-startup", *geometry, "--python", f"{INSIDE}/window_inside.py")
        self.wait(lambda state: state.get("ready"), 90, "Blender's window did not open")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()

    def state(self) -> dict[str, Any]:
        """What the script inside Blender last wrote."""
        try:
            return json.loads((self.folder / "state.json").read_text())
        except (OSError, ValueError):
            return {}

    def ask(self, code: str) -> None:
        """Have Python run inside Blender."""
        path = self.folder / "ask.py"
        path.with_suffix(".tmp").write_text(code)
        path.with_suffix(".tmp").rename(path)
        while path.exists():
            time.sleep(0.02)

    def wait(self, until: Callable[[dict[str, Any]], Any], seconds: float, complaint: str) -> float:
        """Wait for a state; returns the seconds it took."""
        start = time.monotonic()
        while not until(self.state()):
            if time.monotonic() - start > seconds:
                raise FailedError(f"{complaint} within {seconds} s; the last state was {self.state()}.")
            time.sleep(0.02)
        return time.monotonic() - start

    def picture(self, name: str = "") -> np.ndarray:
        """The screen, `(H, W, 3)`; kept as a file if it is given a name."""
        self.run("import", "-window", "root", f"{INSIDE}/screen.png")
        image = Image.open(self.folder / "screen.png").convert("RGB")
        if name:
            image.save(self.out / name)
        return np.asarray(image)

    def click(self, x: int, y: int) -> None:
        """Move the mouse there and click."""
        self.run("sh", "-c", f"xdotool mousemove {x} {y}; sleep .3; xdotool click 1")

    def key(self, name: str) -> None:
        """Press a key."""
        self.run("xdotool", "key", name)

    def buttons(self) -> list[tuple[int, int, int]]:
        """(height, x, y) of the buttons of the sidebar, tallest first: they take another colour for a moment."""
        self.ask("show_buttons()")
        time.sleep(1)
        marked = (self.picture()[..., :3] == MARK).all(-1)
        self.ask("hide_buttons()")
        return sorted(_boxes(marked), reverse=True)

    def _environment(self) -> list[str]:
        return ["env", f"DISPLAY={DISPLAY}", "LIBGL_ALWAYS_SOFTWARE=1", "GALLIUM_DRIVER=llvmpipe", "HOME=/root",
                f"BLENDER_USER_RESOURCES={INSIDE}/user"]  # fmt: skip

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the chroot to its end."""
        return subprocess.run(["chroot", str(self.chroot), *self._environment(), *words], capture_output=True)

    def _start(self, *words: str) -> None:
        log = (self.folder / f"{words[0]}.log").open("wb")
        command = ["chroot", str(self.chroot), *self._environment(), *words]
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))


def _boxes(marked: np.ndarray) -> list[tuple[int, int, int]]:
    """(height, centre x, centre y) of the runs of marked rows along the column where most is marked."""
    columns = marked.sum(0)
    column = int(np.argmax(columns))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked[:, column].astype(int), [0]])))
    found = []
    for top, bottom in zip(edges[::2], edges[1::2], strict=True):
        across = np.flatnonzero(marked[(top + bottom) // 2])
        found.append((int(bottom - top), int(np.median(across)), int((top + bottom) // 2)))
    return found


def headless(window: Window) -> None:
    """`blender -b -c tessera`, before there is a window: a good request and a bad one."""
    saved = window.folder / "out.blend"
    words = ("blender", "-b", "-c", "tessera", "generate")
    good = window.run(*words, "lawn", "--object", "Cube", "--size", "256", "--save", f"{INSIDE}/out.blend")
    if good.returncode != 0 or not saved.is_file() or b"100 %" not in good.stdout:
        raise FailedError(f"blender -b -c tessera failed: {good.stderr.decode()[-300:]}")
    bad = window.run(*words, "lown")
    if bad.returncode != 2 or b"did you mean lawn" not in bad.stderr:
        raise FailedError(f"A wrong name gave status {bad.returncode}: {bad.stderr.decode()[-300:]}")
    print("blender -b -c tessera made a file, and refused a wrong name")


def drive(window: Window) -> None:
    """The whole story; raises `FailedError` at the first thing that does not happen."""
    window.ask("open_tab()")
    time.sleep(2)
    _, x, y = window.buttons()[0]  # Generate Texture is the tallest
    window.click(x, y)
    window.wait(lambda state: state["busy"], 5, "A click on Generate Texture started nothing")
    seconds = window.wait(lambda state: state["material"] == "fieldstone", 60, "No material came")
    print(f"a click became a material in {seconds:.1f} s")
    window.ask("shade()")
    time.sleep(25)  # EEVEE compiles its shaders, on the CPU here
    window.picture("panel.png")

    window.ask("bpy.context.scene.tessera.size = '4096'")
    former = window.state()["images"]
    window.click(x, y)
    window.wait(lambda state: state["busy"] and state["progress"] > 0.1, 30, "The 4K run did not begin")
    window.picture("working.png")
    window.key("Escape")
    seconds = window.wait(lambda state: not state["busy"], 10, "Esc did not stop the work")
    if seconds > ESC_LIMIT or window.state()["images"] != former:
        raise FailedError(f"Esc took {seconds:.2f} s, or changed the images: {window.state()['images']}.")
    print(f"Esc stopped a 4K run in {seconds:.2f} s and changed nothing")

    window.ask("bpy.context.scene.tessera.size = '512'; bpy.ops.tessera.variations('INVOKE_DEFAULT')")
    window.wait(lambda state: state["variations"] == 6, 60, "There were no six variations")
    time.sleep(1)
    window.picture("variations.png")
    window.ask("bpy.ops.tessera.take_variation('INVOKE_DEFAULT', seed=3)")
    window.wait(lambda state: state["seed"] == 3 and not state["busy"], 30, "The variation was not taken")
    window.ask("bpy.ops.ed.undo()")
    window.wait(lambda state: state["images"] == former, 10, "One undo did not bring the former images back")
    print("one undo took the last texture back")
    window.ask("show_nodes()")
    time.sleep(3)
    window.picture("shader.png")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chroot", type=Path, help="folder that chroot.sh has made")
    parser.add_argument("--zip", type=Path, help="the add-on, with wheels for the chroot's Python (it is built)")
    parser.add_argument("--out", type=Path, default=Path("dist/window"), help="folder for the pictures (dist/window)")
    options = parser.parse_args()
    if not (options.chroot / "usr/bin/blender").exists():
        print(f"There is no Blender in {options.chroot}; make one with chroot.sh.", file=sys.stderr)
        return 3
    package = options.zip or build(options.chroot, options.out)
    try:
        with Window(options.chroot.resolve(), package, options.out) as window:
            try:
                drive(window)
            finally:
                window.picture("last.png")
    except FailedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build(chroot: Path, out: Path) -> Path:
    """The zip with wheels for the Python of the chroot's Blender."""
    asked = ["chroot", str(chroot), "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    python = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    folder = out / "zip"
    shutil.rmtree(folder, ignore_errors=True)
    words = [sys.executable, str(ROOT / "build_addon.py"), "--python", python, "--out", str(folder)]
    subprocess.run(words, check=True)
    return next(folder.glob("*.zip"))


if __name__ == "__main__":
    sys.exit(main())
