"""How fast a material is stylised, as ratios within one run: absolute times belong to one machine on one day.

    python tests/bench/bench_style.py                        # the bundled style network, 1024 x 1024
    python tests/bench/bench_style.py --size 256 --runs 1    # does it work at all?

Run it on an idle machine. Each figure is the median of several runs after one that is thrown away.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bench_generate import plain_rate  # also puts the repository on the path

from core import families, relief
from core.families import style
from core.library import BUNDLED, Library
from core.maps import Maps
from core.sessions import Session, Sessions


@dataclass
class Timed:
    """A runner that remembers how long each part of the graph took."""

    inner: Session
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, feeds: dict) -> list[np.ndarray]:
        idle = feeds["target"].shape[2] == feeds["target"].shape[3] == 3
        part = "search" if not idle else "paint" if feeds["voted"].any() else "encode"
        start = time.perf_counter()
        made = self.inner.run(feeds)
        self.seconds[part] = self.seconds.get(part, 0) + time.perf_counter() - start
        return made


def material(size: int) -> Maps:
    """Soft noise with a relief."""
    random, frequency = np.random.default_rng(1), np.hypot(*np.meshgrid(*[np.fft.fftfreq(size)] * 2))
    spectrum = np.fft.fft2(random.standard_normal((4, size, size))) / (frequency + 4 / size)
    planes = np.fft.ifft2(spectrum).real
    planes = (planes - planes.min()) / np.ptp(planes)
    normal, height, depth = relief.encode(planes[3].astype(np.float32) * 40)
    albedo = np.ascontiguousarray(planes[:3].transpose(1, 2, 0), np.float32)
    return Maps({"albedo": albedo, "normal": normal, "height": height}, depth)


def stylize(card, session: Session, maps: Maps, like: np.ndarray, relief: bool) -> dict[str, float]:
    """Seconds of each part of one whole material."""
    runner = Timed(session)
    start = time.perf_counter()
    for _ in style.stylize(card, runner, maps, like, style.Options(relief=relief)):
        pass
    whole = time.perf_counter() - start
    return {"whole": whole, **runner.seconds, "rest": whole - sum(runner.seconds.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED / "style.onnx")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    model = next(m for m in Library([options.model.parent]).models() if m.path == options.model)
    session = Sessions("cpu", options.threads).open(model, families.load("style", model.path.name))
    like = material(options.size // 2)["albedo"]
    rate = plain_rate(options.runs, options.threads)
    print(f"one plain convolution: {rate / 1e9:.0f} GFLOP/s")
    for embossed in (False, True):
        runs = [stylize(model.card, session, material(options.size), like, embossed) for _ in range(options.runs + 1)]
        parts = {part: statistics.median(run[part] for run in runs[1:]) for part in runs[0]}
        shares = ", ".join(f"{part} {value / parts['whole']:.0%}" for part, value in parts.items() if part != "whole")
        print(f"{options.size}x{options.size}{' with relief' * embossed}: {parts['whole']:.2f} s ({shares})")


if __name__ == "__main__":
    main()
