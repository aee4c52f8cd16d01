"""How fast a texture is made by example, beside patches that are compared with all others at every level.

    python tests/bench/bench_example.py                          # 512 and 1024 pixels
    python tests/bench/bench_example.py --sizes 128 --runs 1     # does it work at all?

The usual way compares each patch of each level with each patch of the example (texture optimisation in pixel space).
Ours does so at coarse levels, with some thousand patches, and lets pieces grow after that. Ratios within one run.
"""

from __future__ import annotations

import argparse

import numpy as np
from bench_generate import median_seconds  # also puts the repository on the path

from core import example
from core.maps import Array, Maps

COMPARED = 256  # pixels: the usual way takes minutes at more


def stones(size: int) -> Maps:
    """Blots of all sizes (H, W, 3), which do not tile."""
    random, frequency = np.random.default_rng(1), np.hypot(*np.meshgrid(*[np.fft.fftfreq(2 * size)] * 2))
    spectrum = np.fft.fft2(random.standard_normal((3, 2 * size, 2 * size))) / (frequency + 4 / size)
    noise: Array = np.fft.ifft2(spectrum).real[:, :size, :size]
    albedo = 0.5 + 0.15 * noise / noise.std()
    return Maps({"albedo": np.ascontiguousarray(albedo.transpose(1, 2, 0).clip(0, 1), np.float32)})


def make(maps: Maps, size: int, like: bool = False) -> None:
    """The whole texture."""
    for _ in example.synthesize(maps, size, size, 1, like):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    for size in options.sizes:
        maps = stones(min(size, 512))
        for like in (False, True):
            seconds = median_seconds(lambda m=maps, s=size, k=like: make(m, s, k), options.runs)
            print(f"{size}x{size} from {maps.size[0]} pixels, {'like' if like else 'new'}: {seconds:.2f} s")
    size = min(COMPARED, *options.sizes)
    maps = stones(size)
    ours = median_seconds(lambda: make(maps, size), options.runs)
    kept = example.COMPARED, example.SEARCHED
    example.COMPARED = example.SEARCHED = size * size
    usual = median_seconds(lambda: make(maps, size), 1)
    example.COMPARED, example.SEARCHED = kept
    print(
        f"{size}x{size}: ours {ours:.2f} s; all patches compared at every level {usual:.2f} s, {usual / ours:.1f} times"
    )


if __name__ == "__main__":
    main()
