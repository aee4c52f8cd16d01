"""The first material at 512 pixels in a new process, by its steps, as JSON.

python tests/bench/cold.py
"""

import time

START = time.perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2]))

MATERIAL = "fieldstone"


def main() -> None:
    marks = {"start": START}
    import numpy  # noqa: F401

    marks["numpy imported"] = time.perf_counter()
    import onnxruntime  # noqa: F401

    marks["ONNX Runtime imported"] = time.perf_counter()
    from core import pipeline
    from core.families import texture_gan
    from core.library import Library
    from core.progress import finish
    from core.recipe import Recipe
    from core.sessions import Sessions

    marks["core imported"] = time.perf_counter()
    library, sessions = Library(), Sessions()
    model = library.makers(MATERIAL)[0]
    marks["models listed"] = time.perf_counter()
    sessions.open(model, texture_gan)
    marks["model opened"] = time.perf_counter()
    recipe = Recipe(material=MATERIAL, seed=7, width=512, height=512)
    for step in ("first material", "second material"):
        finish(pipeline.run(recipe, library, sessions))
        marks[step] = time.perf_counter()
    times = list(marks.values())
    print(json.dumps({step: times[i + 1] - times[i] for i, step in enumerate(list(marks)[1:])}))


main()
