"""How long a click takes, and how much of it is not the networks' time. Reports; never fails by time.

python tests/blender/run.py -- bench_click.py -s
"""

import subprocess
import sys
import time

import pytest
from verbs import PACKAGE, generate, part


@pytest.mark.parametrize("size", [1024, 2048])
def test_click_to_material(cube, monkeypatch, size):
    sessions, inside = part("core.sessions"), []
    run = sessions.Session.run

    def timed(self, feeds):
        start = time.perf_counter()
        try:
            return run(self, feeds)
        finally:
            inside.append(time.perf_counter() - start)

    monkeypatch.setattr(sessions.Session, "run", timed)
    generate(size=str(size))  # opens the model
    rows = []
    for seed in range(5):
        inside.clear()
        start = time.perf_counter()
        generate(size=str(size), seed=seed)
        rows.append((time.perf_counter() - start, sum(inside)))
    whole, network = sorted(rows)[len(rows) // 2]
    print(f"\n{size} px: {whole:.2f} s from click to material, {network:.2f} s in the network, "
          f"{100 * (1 - network / whole):.0f} % elsewhere")  # fmt: skip


def test_share_outside_making(cube):
    """The part of a click that the pipeline itself, without Blender, does not take."""
    core, rows = part("core"), []
    recipe = core.recipe.from_dict({"source": {"material": "fieldstone", "size": 1024}})
    library, engine = core.library.Library(), core.sessions.Sessions()
    for _ in range(5):
        start = time.perf_counter()
        part("core.progress").finish(core.pipeline.run(recipe, library, engine))
        middle = time.perf_counter()
        generate(size="1024", seed=0)
        rows.append(((time.perf_counter() - middle), middle - start))
    click, pipeline = sorted(rows)[len(rows) // 2]
    print(f"\n1024 px: click {click:.2f} s, pipeline alone {pipeline:.2f} s, ratio {click / pipeline:.2f}")


def test_enabling():
    code = (
        "import os, sys, time, bpy, addon_utils\n"
        "start = time.perf_counter()\n"
        f"addon_utils.enable({PACKAGE!r}, default_set=True)\n"
        "print('seconds', time.perf_counter() - start, flush=True)\n"
        "os._exit(0)\n"
    )
    times = []
    for _ in range(5):
        result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120)
        times.append(float(result.stdout.split()[-1]))
    print(f"\nenabling: {1000 * sorted(times)[2]:.0f} ms")
