"""Maps from a picture: ours against overlapping tiles that are blended, the usual way, with the same network.

    python tests/bench/bench_maps.py                        # 1024 x 1024
    python tests/bench/bench_maps.py --size 256 --runs 1    # does it work at all?

The usual way (DeepBump's, for one) runs tiles of 256 pixels that overlap by a quarter and fades them into each other;
what is seen at the border of a tile is wrong, and so the seams are only hidden. It gets the network without the halo
that ours is cut from, so that both run the same layers. Ratios within one run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from bench_generate import median_seconds, plain_rate  # also puts the repository on the path

from core import families
from core.families import material_maps
from core.library import BUNDLED, Library
from core.maps import Array
from core.sessions import Session, Sessions
from export import material_maps as trainer
from export import onnx_model

TILE, OVERLAP = 256, 64  # pixels


def uncut(run: Path) -> bytes:
    """The same network as an ONNX graph that leaves nothing out."""
    network = trainer.load_average(run).eval()
    samples = [{"pixels": torch.rand(1, 3, side, 2 * side)} for side in (64, 96)]
    axes = {"pixels": {2: "H", 3: "W"}, "planes": {2: "h", 3: "w"}}
    return onnx_model.export_graph(network, samples, ["planes"], axes).SerializeToString()


def blended(session: Session, picture: Array) -> Array:
    """Planes (7, H, W) of a periodic picture by overlapping tiles, faded into each other."""
    height, width = picture.shape[:2]
    step = TILE - OVERLAP
    edge = np.minimum(1, (np.arange(TILE) + 0.5) / OVERLAP)
    weight = np.minimum(edge, edge[::-1]).astype(np.float32)
    weight = weight[:, None] * weight[None]
    planes, total = np.zeros((7, height, width), np.float32), np.zeros((height, width), np.float32)
    source = picture.transpose(2, 0, 1)
    for top in range(0, height, step):
        rows = (np.arange(TILE) + top) % height
        for left in range(0, width, step):
            columns = (np.arange(TILE) + left) % width
            made = session.run({"pixels": np.ascontiguousarray(source[None, :, rows[:, None], columns])})[0][0]
            planes[:, rows[:, None], columns] += made * weight
            total[rows[:, None], columns] += weight
    return planes / total


def derive(card, session: Session, picture: Array) -> None:
    """The whole set of maps."""
    for _ in material_maps.derive(card, session, picture, True):
        pass


def planes_of(card, session: Session, picture: Array) -> Array:
    """Ours, the network alone."""
    steps = material_maps._planes(card, session, picture, True, 1024)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=BUNDLED.parent.parent / "export" / "weights" / "material_maps")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    model = Library().of_family("material_maps")
    sessions = Sessions("cpu", options.threads)
    session = sessions.open(model, families.load("material_maps", model.path.name))
    plain = Session(sessions, model, uncut(options.run))
    random, frequency = np.random.default_rng(1), np.hypot(*np.meshgrid(*[np.fft.fftfreq(options.size)] * 2))
    spectrum = np.fft.fft2(random.standard_normal((3, options.size, options.size))) / (frequency + 4 / options.size)
    noise = np.fft.ifft2(spectrum).real
    picture = np.ascontiguousarray(((noise - noise.min()) / np.ptp(noise)).transpose(1, 2, 0), np.float32)
    whole = median_seconds(lambda: derive(model.card, session, picture), options.runs)
    ours = median_seconds(lambda: planes_of(model.card, session, picture), options.runs)
    usual = median_seconds(lambda: blended(plain, picture), options.runs)
    error = np.abs(planes_of(model.card, session, picture) - blended(plain, picture))
    rate = plain_rate(options.runs, options.threads)
    print(f"one plain convolution: {rate / 1e9:.0f} GFLOP/s")
    print(f"{options.size}x{options.size}, all maps: {whole:.2f} s; the network alone {ours:.2f} s")
    print(f"overlapping tiles, the network alone: {usual:.2f} s, {usual / ours:.2f} times ours")
    print(f"what tiles get wrong, normals: {error[3:5].mean():.5f} on average, {error[3:5].max():.3f} at most")


if __name__ == "__main__":
    main()
