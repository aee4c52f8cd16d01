"""Train and export the network that closes holes in a picture and takes noise out of it.

    python -m export.restore train --data DIR --run runs/restore         # resumes if the folder has a checkpoint
    python -m export.restore judge --data DIR --run runs/restore         # figures and sheets, held-out materials
    python -m export.restore export --data DIR --run runs/restore --out core/models/restore.onnx

Crops of real materials get holes and noise (export/damage.py); the network sees them with the holes filled smoothly and
learns what is missing. Its loss is plain distance, so its guess is soft in all but the narrowest holes: patches of the
same picture replace it there (core/healing.py).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from core import filling
from core.card import Card, SizeRule
from export import damage, onnx_model, relighting, restore_judge, training
from export import materials as photos
from export.material_maps import Block

FOLD = 4  # pixels a cell of the outer parts covers on each side
CELL = 8  # pixels a cell of the middle part covers
HALO = 112  # pixels around a tile that influence it
DILATIONS = (1, 2, 4)  # of the blocks of the middle part
PLANES = 5  # red, green, blue, hole, noise
BANDS = 4  # of detail that are dampened: of 1, 2, 4 and 8 pixels
DETAIL = 4.0  # how much louder than brightness the steps within a cell begin
BORDER = 16  # pixels of a crop that saw the zeros around it: not in the loss


@dataclass(frozen=True)
class Settings:
    """What a run is made of; saved beside its checkpoint."""

    data: str  # folder of materials
    longest: int = 1024  # photos are reduced to this many pixels on their longer side
    width: int = 80  # channels at a quarter of the resolution
    deep: int = 96  # channels at an eighth
    crop: int = 128  # pixels
    batch: int = 8
    steps: int = 4000
    rate: float = 1.5e-3  # Adam
    seed: int = 1


class Network(nn.Module):
    """Filled picture, holes, noise -> picture.

    Besides what it adds to the picture it tells, for each pixel, how much of each band of detail to take away: these
    bands (`à trous` wavelets) are not cut into cells.
    """

    def __init__(self, width: int, deep: int) -> None:
        super().__init__()
        self.louder = nn.Conv2d(PLANES * FOLD**2, PLANES * FOLD**2, 1)
        self.enter = nn.Conv2d(PLANES * FOLD**2, width, 3, padding=1)
        self.before, self.after = Block(width), Block(width)
        self.down = nn.Conv2d(width, deep, 2, 2)
        self.middle = nn.Sequential(*(Block(deep, dilation) for dilation in DILATIONS))
        self.up = nn.ConvTranspose2d(deep, width, 2, 2)
        self.leave = nn.Conv2d(width, (3 + BANDS) * FOLD**2, 3, padding=1)
        self.linear = nn.Conv2d(PLANES * FOLD**2, (3 + BANDS) * FOLD**2, 3, padding=1)
        line = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", torch.outer(line, line).expand(3, 1, 3, 3).clone())
        self.kernel: Tensor
        self.amplify()
        training.silence(self.leave, self.linear, *(block.second for block in (self.before, self.after, *self.middle)))

    @torch.no_grad()
    def amplify(self) -> None:
        """Begin with the steps within a cell made loud: noise and texture are small beside brightness."""
        mean = torch.full((FOLD**2, FOLD**2), 1 / FOLD**2)
        colour = mean + DETAIL * (torch.eye(FOLD**2) - mean)
        blocks = [colour] * 3 + [torch.eye(FOLD**2)] * (PLANES - 3)
        self.louder.weight.copy_(torch.block_diag(*blocks)[:, :, None, None])  # type: ignore[no-untyped-call]

    def forward(self, pixels: Tensor, hole: Tensor, noise: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB-encoded, (B, 1, H, W) 1 in holes, (B, 1, H, W) -> (B, 3, H, W), not clipped."""
        planes = torch.cat([pixels * 2 - 1, hole, noise / damage.NOISIEST], 1)
        cells = self.louder(F.pixel_unshuffle(planes, FOLD))
        fine = self.before(F.leaky_relu(self.enter(cells), 0.1))
        broad = self.middle(F.leaky_relu(self.down(fine), 0.1))
        made = F.pixel_shuffle(self.leave(self.after(fine + self.up(broad))) + self.linear(cells), FOLD)
        healed, finer = pixels + made[:, :3], pixels
        for band in range(BANDS):
            coarser = F.conv2d(finer, self.kernel, padding=2**band, dilation=2**band, groups=3)
            healed = healed - made[:, 3 + band : 4 + band] * (finer - coarser)
            finer = coarser
        return healed


class Pictures:
    """Endless damaged crops of materials."""

    def __init__(self, materials: Sequence[photos.Material], s: Settings, seed: int) -> None:
        halves = [m.halved() for m in materials]
        scales = [[m for m in scale if min(m.pixels.shape[1:]) >= s.crop] for scale in (list(materials), halves)]
        self.scales = [scale for scale in scales if scale]
        if not self.scales:
            raise ValueError(f"No material is as large as a crop of {s.crop} pixels; give larger photos.")
        self.s = s
        self.random = np.random.default_rng(seed)

    def batch(self, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Filled pictures (B, 3, S, S), holes (B, 1, S, S), noise (B, 1, S, S), whole pictures (B, 3, S, S)."""
        made = [self._one() for _ in range(count)]
        pixels, hole, noise, true = (
            torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*made, strict=True)
        )
        return pixels, hole[:, None], noise[:, None, None, None].expand_as(hole[:, None]), true

    def _one(self) -> tuple[relighting.Floats, filling.Mask, float, relighting.Floats]:
        scale = self.scales[self.random.integers(len(self.scales))]
        material = scale[self.random.integers(len(scale))]
        crop = photos.random_crop(material, self.s.crop, self.random)[:3].astype(np.float32) / np.float32(255)
        crop = np.rot90(crop, int(self.random.integers(4)), (1, 2))
        true = relighting.recoloured([crop[:, :, ::-1] if self.random.random() < 0.5 else crop], self.random)[0]
        damaged, level = damage.noisy(true, self.random)
        hole = damage.holes(self.s.crop, self.random)
        if hole.mean() > 0.8:  # nothing to learn from
            hole[:] = False
        return filling.fill(damaged, hole, tiles=False), hole, level, true


def loss_of(made: Tensor, true: Tensor, hole: Tensor) -> dict[str, Tensor]:
    """Errors by name, weighted so that their sum is the loss: in the holes, outside, steps from pixel to pixel."""
    cut = slice(BORDER, -BORDER)
    difference, hole = (made - true)[:, :, cut, cut], hole[:, :, cut, cut]
    error = difference.abs().mean(1, keepdim=True)
    steps = [difference.diff(dim=axis).abs().mean(1, keepdim=True) for axis in (2, 3)]
    near = [hole[:, :, 1:], hole[:, :, :, 1:]]
    inside = hole.sum() + 1
    return {
        "hole": (error * hole).sum() / inside,
        "noise": 3 * (error * (1 - hole)).mean(),
        "steps": sum(((step * (1 + 3 * beside)).mean() for step, beside in zip(steps, near, strict=True)), inside * 0),
    }


def train(s: Settings, run: Path, minutes: float | None, quiet: bool) -> None:
    """Train until the steps or the minutes are used up; go on from the checkpoint in `run` if there is one."""
    where = training.device()
    torch.manual_seed(s.seed)
    files = colours(Path(s.data))
    wanted, held_out = photos.split([f.name for f in files])
    training.save_settings(run, s)
    (run / "held_out.json").write_text(json.dumps(held_out, indent=1) + "\n")
    loaded = [photos.load(f, s.longest) for f in files if f.name in wanted]
    network = training.to_device(Network(s.width, s.deep), where)
    average = training.Average(network, 0.998)
    optimiser = torch.optim.Adam(network.parameters(), s.rate, betas=(0.9, 0.99))
    start = 0
    checkpoint = run / "checkpoint.pt"
    if checkpoint.exists():
        state = training.load_checkpoint(checkpoint)
        network.load_state_dict(state["network"])
        start = state["step"]
        average.resume(state["average"], start)
        if "optimiser" in state:  # not kept in the repository
            optimiser.load_state_dict(state["optimiser"])
    pictures = Pictures(loaded, s, s.seed + 1 + start)
    shown: dict[str, float] = {}

    def save(step: int) -> None:
        state = {
            "network": network.state_dict(),
            "average": average.weights,
            "optimiser": optimiser.state_dict(),
            "step": step,
        }
        training.save_checkpoint(checkpoint, state)
        (run / "losses.json").write_text(json.dumps({"step": step, **shown}) + "\n")
        write_sheet(s, average, loaded, run / f"sheet_{step:06d}.png")

    step, saved = start - 1, time.monotonic()
    for step, bar in training.step_range(start, s.steps, minutes, quiet):
        pixels, hole, noise, true = (x.to(where) for x in pictures.batch(s.batch))
        with training.mixed_precision(where):
            made = network(pixels.contiguous(memory_format=torch.channels_last), hole, noise).float()
        losses = loss_of(made, true, hole)
        loss = torch.stack(list(losses.values())).sum()
        training.step_down(loss, optimiser, s.rate * training.cosine(step, s.steps), largest=1.0)
        average.update(network)
        for name, value in losses.items():
            now = float(value.detach())
            shown[name] = 0.99 * shown.get(name, now) + 0.01 * now
        bar.set_postfix({k: f"{v:.4f}" for k, v in shown.items()}, refresh=False)
        if time.monotonic() - saved > 180:
            save(step + 1)
            saved = time.monotonic()
    save(step + 1)


def colours(data: Path) -> list[photos.MaterialFiles]:
    """The materials of a folder, their colour pictures alone."""
    return [replace(f, paths={"albedo": f.paths["albedo"]}) for f in photos.find_materials(data)]


@torch.no_grad()
def write_sheet(s: Settings, average: training.Average, shown: Sequence[photos.Material], path: Path) -> None:
    """Damaged | filled smoothly | healed | true, for a few crops."""
    network = Network(s.width, s.deep)
    network.load_state_dict({k: v.cpu() for k, v in average.weights.items()})
    pixels, hole, noise, true = Pictures(shown, s, 1).batch(12)
    made = network(pixels, hole, noise)
    cells = [x.permute(0, 2, 3, 1).numpy() for x in (pixels * (1 - hole), pixels, made, true)]
    pairs = [[cell[index] for index in pair for cell in cells] for pair in np.arange(12).reshape(6, 2)]
    training.save_sheet(path, pairs)


class Graph(nn.Module):
    """What is exported: the network, its halo cropped off."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, hole: Tensor, noise: Tensor) -> Tensor:
        """(1, 3, H, W), (1, 1, H, W), (1, 1, H, W) with halo -> (1, 3, h, w) without."""
        return self.network(pixels, hole, noise)[:, :, HALO:-HALO, HALO:-HALO]


class Unexported:
    """A graph that PyTorch runs: a `families.Runner`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = training.to_device(graph, torch.device("cpu")).eval()

    @torch.no_grad()
    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Input name -> array, to the one output."""
        return [self.graph(*(torch.from_numpy(feeds[name]) for name in ("pixels", "hole", "noise"))).numpy()]

    def tensor(self, name: str) -> NDArray[Any]:
        """There are no constants to ask for."""
        raise KeyError(name)


def load_average(run: Path) -> Network:
    """The averaged network of a run (or of the weights that the repository keeps), ready to use."""
    s = read_run(run)
    network = Network(s.width, s.deep)
    weights = training.load_checkpoint(run / "checkpoint.pt")["average"]
    network.load_state_dict({k: v.float() for k, v in weights.items()})
    return network.eval()


def read_run(run: Path) -> Settings:
    """The settings that a run was started with."""
    return Settings(**json.loads((run / "settings.json").read_text(encoding="utf-8")))


def card_of(name: str, **facts: Any) -> Card:
    """The card of such a network; `facts` are what only a finished run knows."""
    size = SizeRule(multiple=CELL, minimum=16, halo=HALO)
    return Card(family="restore", name=name, maps=("albedo",), size=size, licence="CC0-1.0", **facts)


def judge(run: Path, data: Path, sheet: Path | None = None) -> dict[str, float]:
    """Figures of a run on the materials that it never saw, at 512 pixels (see export/restore_judge.py)."""
    names = set(json.loads((run / "held_out.json").read_text(encoding="utf-8")))
    held_out = [photos.load(f, 512) for f in colours(data) if f.name in names]
    runner = Unexported(Graph(load_average(run)))
    return restore_judge.judge(card_of("unexported", data=""), runner, held_out, sheet)


def sample(height: int, width: int) -> dict[str, Tensor]:
    """A random picture of `height` x `width` cells within its halo, with holes and noise."""
    random = torch.Generator().manual_seed(height)
    planes = torch.rand(1, PLANES, height * CELL + 2 * HALO, width * CELL + 2 * HALO, generator=random)
    return {"pixels": planes[:, :3], "hole": (planes[:, 3:4] > 0.8).float(), "noise": planes[:, 4:] * damage.NOISIEST}


def write_model(network: Network, out: Path, **facts: Any) -> None:
    """Write the ONNX model of a network, proven equal to PyTorch at two sizes; `facts` go into its card."""
    graph = Graph(network).eval()
    samples = [sample(5, 9), sample(12, 4)]
    axes = {name: {2: "H", 3: "W"} for name in ("pixels", "hole", "noise")} | {"healed": {2: "h", 3: "w"}}
    model = onnx_model.halve_weights(onnx_model.export_graph(graph, samples, ["healed"], axes))
    rounding = max(onnx_model.compare(graph, model, feeds) for feeds in samples)
    facts["figures"] = {**facts.get("figures", {}), "largest_rounding_difference": rounding}
    onnx_model.save(model, card_of("restore", precision="float16", **facts), out)


def export(run: Path, data: Path, out: Path) -> None:
    """Write the ONNX model of a run, with its figures on held-out materials."""
    s = read_run(run)
    steps = int(training.load_checkpoint(run / "checkpoint.pt")["step"])
    settings = {**asdict(s), "data": Path(s.data).name}
    write_model(
        load_average(run),
        out,
        data="CC0 1.0 photo-based materials of Poly Haven, ambientCG and 3dtextures.me; every seventh kept out",
        figures=judge(run, data),
        training={"script": "export/restore.py", "settings": settings, "seed": s.seed, "steps": steps},
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training.add_settings(commands.add_parser("train"), Settings, "runs/restore")
    for name in ("judge", "export"):
        command = commands.add_parser(name)
        command.add_argument("--data", type=Path, required=True, help="folder of materials")
        command.add_argument("--run", type=Path, default=Path("runs/restore"), help="folder of the run")
        if name == "export":
            command.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    options = parser.parse_args(arguments)
    if options.command == "export":
        export(options.run, options.data, options.out)
    elif options.command == "judge":
        print(json.dumps(judge(options.run, options.data, options.run / "held_out.png"), indent=1))
    else:
        settings = training.read_settings(options, Settings)
        if options.dry_run:
            print(settings)
        else:
            train(settings, options.run, options.minutes, options.quiet)


if __name__ == "__main__":
    main()
