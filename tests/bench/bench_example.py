"""How fast a texture is made by example, as ratios within one run: absolute times belong to one machine on one day.

    python tests/bench/bench_example.py                        # 512 and 1024 pixels
    python tests/bench/bench_example.py --sizes 256 --runs 1   # does it work at all?

Beside it, plain quilting (Efros and Freeman 2001, "Image Quilting for Texture Synthesis and Transfer"): blocks placed
one after another, each compared with all places of the exemplar by FFT at full resolution, with cuts of least error. It
makes no torus. Run it on an idle machine. Each figure is the median of several runs.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from core import example
from core.maps import Maps
from core.wrapping import _path

BLOCK, OVERLAP = 48, 12  # pixels


def photo(size: int) -> np.ndarray:
    """Noise of all sizes with edges, in colour: `(size, size, 3)`; it does not tile."""
    random, wide = np.random.default_rng(1), size + size // 8
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(wide)] * 2))
    spectrum = np.fft.fft2(random.standard_normal((3, wide, wide))) / (frequency + 8 / size)
    planes = np.fft.ifft2(spectrum).real[:, :size, :size]
    planes = (planes - planes.min()) / np.ptp(planes)
    return np.ascontiguousarray(planes.transpose(1, 2, 0), np.float32)


def quilt(image: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """A texture of `size` by plain quilting."""
    step = BLOCK - OVERLAP
    count = -(-(size - OVERLAP) // step)
    made = np.zeros((count * step + OVERLAP, count * step + OVERLAP, 3), np.float32)
    shape = image.shape[:2]
    spectrum = [np.fft.rfft2(image[..., channel]) for channel in range(3)]
    power = np.fft.rfft2((image**2).sum(-1))
    for row in range(count):
        for column in range(count):
            target = made[row * step : row * step + BLOCK, column * step : column * step + BLOCK]
            mask = np.zeros((BLOCK, BLOCK), np.float32)
            mask[: OVERLAP if row else 0] = 1
            mask[:, : OVERLAP if column else 0] = 1
            product = np.conj(np.fft.rfft2(mask, s=shape)) * power
            for channel in range(3):
                known = np.fft.rfft2(target[..., channel] * mask, s=shape)
                product = product - 2 * np.conj(known) * spectrum[channel]
            cost = np.fft.irfft2(product, s=shape) + ((target * mask[..., None]) ** 2).sum()
            cost = np.maximum(cost[: shape[0] - BLOCK + 1, : shape[1] - BLOCK + 1], 0)
            good = np.flatnonzero(cost <= cost.min() * 1.1 + 1e-6)
            y, x = divmod(int(good[random.integers(len(good))]), cost.shape[1])
            block = image[y : y + BLOCK, x : x + BLOCK]
            taken = np.ones((BLOCK, BLOCK), bool)
            if column:
                path, _ = _path(((target - block) ** 2).sum(-1)[:, :OVERLAP], closed=False)
                taken &= np.arange(BLOCK)[None] >= path[:, None]
            if row:
                path, _ = _path(((target - block) ** 2).sum(-1)[:OVERLAP].T, closed=False)
                taken &= np.arange(BLOCK)[:, None] >= path[None]
            target[taken] = block[taken]
    return made[:size, :size]


def seconds(work: Callable[[], object], runs: int) -> float:
    """Median of the time that some work takes."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def finish(steps: example.Steps) -> None:
    for _ in steps:
        pass


def compare(size: int, runs: int) -> None:
    """Tell the times of one size."""
    maps = Maps({"albedo": photo(size)})
    hole = np.zeros((size, size), bool)
    hole[size // 3 : size // 2, size // 3 : size // 2] = True
    plain = seconds(lambda: quilt(maps["albedo"], size, np.random.default_rng(1)), runs)
    print(f"{size} x {size}: plain quilting {plain:.2f} s")
    works: dict[str, Callable[[], object]] = {
        "new texture": lambda: finish(example.synthesize(maps, size, size, 1)),
        "made to tile": lambda: finish(example.seamless(maps)),
        "hole of 1/36": lambda: finish(example.mend(maps, hole, tiles=False)),
    }
    for name, work in works.items():
        taken = seconds(work, runs)
        print(f"  {name}: {taken:.2f} s, {plain / taken:.1f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    for size in options.sizes:
        compare(size, options.runs)
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
