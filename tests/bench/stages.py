"""From click to material, stage by stage, and what a cold start costs (tests/bench/cold.py).

    python tests/bench/stages.py
    python tests/bench/stages.py --sizes 512

A stage is what its functions take, by the clock; what is left of the whole is "rest".
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import alone, median_seconds, table

from core import images, pipeline, planes, preview, quality
from core.families import texture_gan
from core.library import Library
from core.progress import finish
from core.recipe import Recipe
from core.sessions import Session, Sessions

MATERIAL = "fieldstone"
# Stage -> where its function is.
STAGES: dict[str, tuple[Any, str]] = {
    "layout": (texture_gan, "_lay_out"),
    "network": (Session, "run"),
    "tiles into maps": (planes.Surfaces, "put"),
    "borders of cells": (planes, "even_borders"),
    "height and normals": (planes.Surfaces, "maps"),
    "checking": (quality, "measure"),
    "preview": (preview, "picture"),
    "files": (images, "_save"),
}


def timed(spent: Counter[str], stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent[stage] += time.perf_counter() - start

    return call


def click(side: int, library: Library, sessions: Sessions, folder: Path) -> None:
    recipe = Recipe(material=MATERIAL, seed=7, width=side, height=side)
    finish(pipeline.run_and_save(pipeline.run(recipe, library, sessions), recipe, folder))


def stages(side: int) -> dict[str, float]:
    """Median seconds of every stage, and of the whole."""
    library, sessions, spent = Library(), Sessions(), Counter()
    for stage, (owner, name) in STAGES.items():
        setattr(owner, name, timed(spent, stage, getattr(owner, name)))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        click(side, library, sessions, Path(folder))
        for _ in range(5):
            spent.clear()
            start = time.perf_counter()
            click(side, library, sessions, Path(folder))
            whole = time.perf_counter() - start
            rows.append({"whole": whole, **spent, "rest": whole - spent.total()})
    return {stage: statistics.median(row[stage] for row in rows) for stage in ("whole", *STAGES, "rest")}


def command() -> float:
    """Seconds of the whole command line, from the shell and back, 512 pixels with files."""
    import subprocess

    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "core", "generate", MATERIAL, "--size", "512", "--quiet", "--out", folder]
        return median_seconds(lambda: subprocess.run(words, check=True, cwd=Path(__file__).parents[2]), 3)


def report(sizes: tuple[int, ...]) -> str:
    """The tables in Markdown."""
    found = [alone("stages.py", "--stages", side) for side in sizes]
    rows = [
        [stage, *(f"{each[stage] * 1000:.0f} ms ({each[stage] / each['whole']:.0%})" for each in found)]
        for stage in found[0]
    ]
    text = table(["stage", *(f"{side}²" for side in sizes)], rows)
    first = alone("cold.py")
    rows = [[step, f"{seconds * 1000:.0f} ms"] for step, seconds in first.items()]
    rows.append(["`python -m core generate`, 512², as a whole", f"{command() * 1000:.0f} ms"])
    return text + "\n" + table(["cold start, 512²", "takes"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=(1024, 2048))
    parser.add_argument("--stages", type=int, metavar="SIDE", help="one size as JSON, in this process")
    options = parser.parse_args()
    if options.stages:
        print(json.dumps(stages(options.stages)))
    else:
        print(report(tuple(options.sizes)))


if __name__ == "__main__":
    main()
