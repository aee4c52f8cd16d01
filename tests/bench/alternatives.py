"""What people use instead, beside ours, on the same machine.

    python tests/bench/alternatives.py
    python tests/bench/alternatives.py --side 256

- Maps from a picture in tiles of 256 pixels that overlap by a quarter and are faded into each other (DeepBump's way,
  for one), with our network: what is seen at the border of a tile is wrong, so that seams are only hidden. It gets the
  network without the halo that ours is cut from, so that both run the same layers.
- Plain quilting (Efros and Freeman 2001, "Image Quilting for Texture Synthesis and Transfer"): blocks of pixels placed
  one after another, each compared with all places of the exemplar by FFT, cut along a line of least error. It makes no
  torus.
- A procedural material of Blender's nodes, baked by Cycles (tests/bench/bake.py), where tests/blender/run.py has
  installed Blender.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import torch
from families import WORKS
from measure import ROOT, Timed, median_seconds, opened, picture, table

from core import example
from core.families import material_maps
from core.maps import Array, Maps
from core.progress import finish
from core.sessions import Session, Sessions
from core.wrapping import _path
from export import material_maps as trainer
from export import onnx_model

TILE, OVERLAP = 256, 64  # pixels
BLOCK, BLOCK_OVERLAP = 48, 12  # pixels


def uncut() -> bytes:
    """The network of material_maps as an ONNX graph that leaves no halo out."""
    network = trainer.load_average(ROOT / "export" / "weights" / "material_maps").eval()
    samples = [{"pixels": torch.rand(1, 3, side, 2 * side)} for side in (64, 96)]
    axes = {"pixels": {2: "H", 3: "W"}, "planes": {2: "h", 3: "w"}}
    return onnx_model.export_graph(network, samples, ["planes"], axes).SerializeToString()


def blended(session: Session, shown: Array) -> Array:
    """Planes (7, H, W) of a periodic picture by overlapping tiles, faded into each other."""
    height, width = shown.shape[:2]
    step = TILE - OVERLAP
    edge = np.minimum(1, (np.arange(TILE) + 0.5) / OVERLAP)
    weight = np.minimum(edge, edge[::-1]).astype(np.float32)
    weight = weight[:, None] * weight[None]
    planes, total = np.zeros((7, height, width), np.float32), np.zeros((height, width), np.float32)
    source = shown.transpose(2, 0, 1)
    for top in range(0, height, step):
        rows = (np.arange(TILE) + top) % height
        for left in range(0, width, step):
            columns = (np.arange(TILE) + left) % width
            made = session.run({"pixels": np.ascontiguousarray(source[None, :, rows[:, None], columns])})[0][0]
            planes[:, rows[:, None], columns] += made * weight
            total[rows[:, None], columns] += weight
    return planes / total


def quilted(image: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """A texture of `size` by plain quilting."""
    step = BLOCK - BLOCK_OVERLAP
    count = -(-(size - BLOCK_OVERLAP) // step)
    made = np.zeros((count * step + BLOCK_OVERLAP, count * step + BLOCK_OVERLAP, 3), np.float32)
    shape = image.shape[:2]
    spectrum = [np.fft.rfft2(image[..., channel]) for channel in range(3)]
    power = np.fft.rfft2((image**2).sum(-1))
    for row in range(count):
        for column in range(count):
            target = made[row * step : row * step + BLOCK, column * step : column * step + BLOCK]
            mask = np.zeros((BLOCK, BLOCK), np.float32)
            mask[: BLOCK_OVERLAP if row else 0] = 1
            mask[:, : BLOCK_OVERLAP if column else 0] = 1
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
                path, _ = _path(((target - block) ** 2).sum(-1)[:, :BLOCK_OVERLAP], closed=False)
                taken &= np.arange(BLOCK)[None] >= path[:, None]
            if row:
                path, _ = _path(((target - block) ** 2).sum(-1)[:BLOCK_OVERLAP].T, closed=False)
                taken &= np.arange(BLOCK)[:, None] >= path[None]
            target[taken] = block[taken]
    return made[:size, :size]


def maps(side: int) -> list[str]:
    """A row of the table: the network of material_maps alone."""
    shown = picture(side)
    model, session = opened("material_maps", "cpu", int8=False)
    planes = finish(material_maps.planes_of(model.card, session, shown, True))
    sessions = Sessions("cpu")
    plain = Session(sessions, model, uncut())
    ours = median_seconds(lambda: finish(material_maps.planes_of(model.card, session, shown, True)))
    theirs = median_seconds(lambda: blended(plain, shown))
    error = np.abs(planes - blended(plain, shown))[3:5]
    levels = error * 255
    notes = f"normals of tiles are wrong by {levels.mean():.2f} levels of 255 on average, {levels.max():.0f} at most"
    return row(f"maps from a picture, {side}²", ours, "overlapping tiles", theirs, notes)


def textures(given: int, side: int) -> list[str]:
    """A row of the table: a texture out of a picture."""
    shown = picture(given)
    ours = median_seconds(lambda: finish(example.synthesize(Maps({"albedo": shown}), side, side, 1)), 3)
    theirs = median_seconds(lambda: quilted(shown, side, np.random.default_rng(1)), 1)
    return row(
        f"a texture of {side}² by example of {given}²",
        ours,
        "quilting of pixels",
        theirs,
        "ours tiles, quilting does not",
    )


def generation(side: int) -> list[str]:
    """A row of the table: albedo, normal, height and roughness of a material."""
    model, session = opened("texture_gan", "cpu")
    work = WORKS["texture_gan: a whole set"][1]
    ours = median_seconds(lambda: finish(work([(model.card, Timed(session))], side)))
    blenders = sorted((ROOT / ".blender").glob("bpy-*/bin/python"))
    if not blenders:
        return [f"generation, {side}²", f"{ours:.2f} s", "a procedural material baked by Cycles", "no Blender", "", ""]
    script = Path(__file__).parent / "bake.py"
    done = subprocess.run([blenders[-1], script, str(side)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    notes = f"Blender {found['version']}, {found['samples']} sample, bricks and noise; does not tile by itself"
    return row(f"generation, {side}²", ours, "a procedural material baked by Cycles", found["seconds"], notes)


def row(what: str, ours: float, other: str, theirs: float, notes: str) -> list[str]:
    return [what, f"{ours:.2f} s", other, f"{theirs:.2f} s", f"{theirs / ours:.1f}", notes]


def report(side: int) -> str:
    """The table in Markdown."""
    head = ["work", "ours", "instead", "takes", "times ours", "notes"]
    return table(head, [maps(side), textures(side // 2, side), textures(side, side), generation(side)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    print(report(parser.parse_args().side))


if __name__ == "__main__":
    main()
