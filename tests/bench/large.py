"""Whole sets of large maps, with files: time and the most memory held.

python tests/bench/large.py --sizes 8192
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import alone, device_gigabytes, peak_gigabytes, picture, table

from core import images, pipeline
from core.library import Library
from core.progress import finish
from core.recipe import Recipe, from_dict
from core.sessions import Sessions

PHOTO = 2048  # pixels on a side of a picture, laid side by side until it is as large as asked for


def one(work: str, side: int, provider: str) -> dict[str, float]:
    """Figures of one work at one size, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(material="fieldstone", seed=7, width=side, height=side)
        if work == "maps":
            shown = Path(folder) / "photo.png"
            alone("large.py", "--photo", side, shown)
            recipe = from_dict({"source": {"path": str(shown)}, "steps": [{"do": "maps"}]})
        sessions, before = Sessions(provider), device_gigabytes()
        start = time.perf_counter()
        finish(pipeline.run_and_save(pipeline.run(recipe, Library(), sessions), recipe, Path(folder) / "out"))
        return {
            "seconds": time.perf_counter() - start,
            "peak": peak_gigabytes(),
            "device": device_gigabytes() - before,
        }


def photo(side: int, path: Path) -> dict[str, int]:
    """Write a picture that tiles."""
    tile = picture(min(side, PHOTO))
    repeats = side // len(tile)
    images.write(path, images.Picture(np.tile(tile, (repeats, repeats, 1)), 8))
    return {"side": side}


def report(provider: str, sizes: tuple[int, ...]) -> str:
    """The table in Markdown."""
    rows = []
    for work, name in (("generate", "a material, six maps with files"), ("maps", "maps from a picture, with files")):
        for side in sizes:
            found = alone("large.py", "--one", work, side, "--provider", provider)
            if "error" in found:
                rows.append([name, f"{side}²", found["error"], "", ""])
                continue
            device = f"{found['device']:.2f} GB" if provider == "cuda" else ""
            rows.append([name, f"{side}²", f"{found['seconds']:.1f} s", f"{found['peak']:.2f} GB", device])
    return table(["work", "size", "takes", "most memory", "of the GPU"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, metavar=("WORK", "SIDE"))
    parser.add_argument("--photo", nargs=2, metavar=("SIDE", "FILE"))
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=(4096, 8192))
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one[0], int(options.one[1]), options.provider)))
    elif options.photo:
        print(json.dumps(photo(int(options.photo[0]), Path(options.photo[1]))))
    else:
        print(report(options.provider, tuple(options.sizes)))


if __name__ == "__main__":
    main()
