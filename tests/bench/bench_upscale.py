"""How fast maps are enlarged, as ratios within one run: absolute times belong to one machine on one day.

    python tests/bench/bench_upscale.py                              # the bundled network, 512 x 512 to 1024 and 2048
    python tests/bench/bench_upscale.py --run export/weights/upscale # PyTorch beside it
    python tests/bench/bench_upscale.py --size 64 --runs 1           # does it work at all?

Run it on an idle machine. Each figure is the median of several runs after one that is thrown away.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from bench_generate import median_seconds, operations, plain_rate  # also puts the repository on the path
from bench_style import material

from core import families
from core.families import upscale
from core.library import BUNDLED, Library
from core.maps import Maps
from core.scaling import resized
from core.sessions import Session, Sessions
from core.torus import Tile, window


def enlarge(card, session: Session, maps: Maps, factor: int) -> None:
    for _ in upscale.enlarge(card, session, maps, factor, tiles=True):
        pass


def feeds_of(card, size: int) -> dict[str, np.ndarray]:
    """The one piece that a colour map of this size is."""
    pixels = material(size)["albedo"].transpose(2, 0, 1)[None]
    return {"pixels": window(pixels, Tile(0, 0, size, size), card.size.halo)}


def torch_seconds(run: Path, feeds: dict, runs: int, threads: int | None) -> float:
    """Time of the same network in PyTorch, eager."""
    import torch

    from export import upscale as trainer

    torch.set_num_threads(threads or os.cpu_count() or 1)
    runner = trainer.Unexported(trainer.Graph(trainer.load_average(run)))
    return median_seconds(lambda: runner.run(feeds), runs)


def compared(card, session: Session, maps: Maps, factor: int, runs: int) -> str:
    """Times of the albedo alone, beside the resize of core/scaling.py, and of all maps."""
    albedo = maps.only(["albedo"])
    height, width = (factor * side for side in albedo["albedo"].shape[:2])
    one = median_seconds(lambda: enlarge(card, session, albedo, factor), runs)
    simple = median_seconds(lambda: resized(albedo["albedo"], height, width, tiles=True), runs)
    whole = median_seconds(lambda: enlarge(card, session, maps, factor), runs)
    times = f"albedo {one * 1000:.0f} ms, {one / simple:.1f} times a linear resize in numpy"
    return f"to {width}x{height}: {times}; albedo, normal and height {whole * 1000:.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED / "upscale.onnx")
    parser.add_argument("--run", type=Path, help="run of the network, to compare with PyTorch")
    parser.add_argument("--size", type=int, default=512, help="pixels given on a side")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    model = next(m for m in Library([options.model.parent]).models() if m.path == options.model)
    session = Sessions("cpu", options.threads).open(model, families.load("upscale", model.path.name))
    maps, feeds = material(options.size), feeds_of(model.card, options.size)
    ours = median_seconds(lambda: session.run(feeds), options.runs)
    work, plain = operations(model.path, feeds), plain_rate(options.runs, options.threads)
    print(f"rate in the network / rate of a plain convolution: {work / ours / plain:.2f}")
    print(f"  the two rates: {work / ours / 1e9:.0f} / {plain / 1e9:.0f} billion operations a second")
    for factor in upscale.PASSES:
        print(compared(model.card, session, maps, factor, options.runs))
    if options.run:
        eager = torch_seconds(options.run, feeds, options.runs, options.threads)
        print(f"PyTorch eager / ONNX Runtime, same network: {eager / ours:.2f}")


if __name__ == "__main__":
    main()
