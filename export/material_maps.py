"""Train and export the network that reads a material's maps from one picture of it.

    python -m export.material_maps train --data DIR --run runs/maps         # resumes if the folder has a checkpoint
    python -m export.material_maps judge --data DIR --run runs/maps         # figures and sheets, held-out materials
    python -m export.material_maps export --data DIR --run runs/maps --out core/models/material_maps.onnx

Crops of real materials are put under random light (export/relighting.py); the network learns the maps that are known
and the light itself, as one grey factor for each pixel, so that an albedo keeps its detail and its hue. Some crops wear
the relief of another material: there only shading tells the slopes. Pixels are folded into channels first (space to
depth), and a middle part at an eighth of the resolution sees 100 pixels around.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from core.card import Card, SizeRule
from export import maps_judge, onnx_model, relighting, training, vae
from export import materials as photos

FOLD = 4  # pixels a cell of the outer parts covers on each side
CELL = 8  # pixels a cell of the middle part covers
HALO = 112  # pixels around a tile that influence it
DILATIONS = (1, 2, 4)  # of the blocks of the middle part
PLANES = 7  # red, green, blue, normal x, normal y, roughness, ao
DETAIL = 5.0  # how much louder than brightness the steps within a cell begin
REST = (0.6, 0.95)  # roughness and ao that an untrained network tells
MAPS = ("albedo", "normal", "height", "roughness", "ao")


@dataclass(frozen=True)
class Settings:
    """What a run is made of; saved beside its checkpoint."""

    data: str  # folder of materials
    longest: int = 1024  # photos are reduced to this many pixels on their longer side
    width: int = 80  # channels at a quarter of the resolution
    deep: int = 96  # channels at an eighth
    crop: int = 128  # pixels
    batch: int = 8
    steps: int = 8000
    rate: float = 1e-3  # Adam
    light: float = 0.4  # chance that a crop whose normals are known is put under a random light
    strange: float = 0.1  # chance that a crop wears the relief of another material
    seed: int = 1


class Block(nn.Module):
    """Residual block of two 3x3 convolutions, the first of which may look further."""

    def __init__(self, width: int, dilation: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=bias)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        y = F.leaky_relu(self.first(x), 0.1)
        return F.leaky_relu(x + self.second(y), 0.1)


class Network(nn.Module):
    """Picture -> planes of its maps."""

    def __init__(self, width: int, deep: int) -> None:
        super().__init__()
        self.louder = nn.Conv2d(3 * FOLD**2, 3 * FOLD**2, 1)
        self.enter = nn.Conv2d(3 * FOLD**2, width, 3, padding=1)
        self.before, self.after = Block(width), Block(width)
        self.down = nn.Conv2d(width, deep, 2, 2)
        self.middle = nn.Sequential(*(Block(deep, dilation) for dilation in DILATIONS))
        self.up = nn.ConvTranspose2d(deep, width, 2, 2)
        self.leave = nn.Conv2d(width, 5 * FOLD**2, 3, padding=1)
        self.linear = nn.Conv2d(3 * FOLD**2, 5 * FOLD**2, 3, padding=1)
        self.amplify()
        training.silence(self.leave, self.linear, *(block.second for block in (self.before, self.after, *self.middle)))
        self.register_buffer("rest", torch.tensor([0.5, 0.5, *REST])[None, :, None, None])
        self.rest: Tensor

    @torch.no_grad()
    def amplify(self) -> None:
        """Begin with small steps made loud: relief shows in them, and beside mere brightness nothing was learned."""
        mean = torch.full((FOLD**2, FOLD**2), 1 / FOLD**2)
        detail = torch.eye(FOLD**2) - mean
        self.louder.weight.copy_(torch.kron(torch.eye(3), mean + DETAIL * detail)[:, :, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB-encoded in [0, 1] -> (B, 7, H, W), not clipped.

        Light is a factor of the linear colour, and so nearly one of the encoded colour too.
        """
        cells = self.louder(F.pixel_unshuffle(pixels * 2 - 1, FOLD))
        fine = self.before(F.leaky_relu(self.enter(cells), 0.1))
        broad = self.middle(F.leaky_relu(self.down(fine), 0.1))
        made = F.pixel_shuffle(self.leave(self.after(fine + self.up(broad))) + self.linear(cells), FOLD)
        return torch.cat([pixels * (1 + made[:, :1]), self.rest + 0.5 * made[:, 1:]], 1)


class Pictures:
    """Endless crops of materials, lit and photographed, with their true planes."""

    def __init__(self, materials: Sequence[photos.Material], s: Settings, seed: int) -> None:
        halves = [m.halved() for m in materials]
        scales = [list(materials), halves, [m.halved() for m in halves]]
        scales = [[m for m in scale if min(m.pixels.shape[1:]) >= s.crop] for scale in scales]
        self.any = [scale for scale in scales if scale]
        self.useful = [kept for kept in ([m for m in scale if m.known[3:7].any()] for scale in scales) if kept]
        self.shaped = [kept for kept in ([m for m in scale if m.known[3]] for scale in scales) if kept]
        if not self.shaped:
            raise ValueError(f"No material with normals is as large as a crop of {s.crop} pixels; give larger photos.")
        self.s = s
        self.random = np.random.default_rng(seed)

    def batch(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, S, S), true planes (B, 7, S, S), which of them are known (B, 7, 1, 1)."""
        pictures, planes, known = zip(*(self._one() for _ in range(count)), strict=True)
        return (
            torch.from_numpy(np.stack(pictures)),
            torch.from_numpy(np.stack(planes)),
            torch.from_numpy(np.stack(known)).float()[:, :, None, None],
        )

    def _one(self) -> tuple[relighting.Floats, relighting.Floats, NDArray[np.bool_]]:
        strange = self.random.random() < self.s.strange
        planes, known = self._crop(self.shaped if strange else self.useful)
        if strange:
            planes[:3] = self._crop(self.any)[0][:3]
            known[5] = False  # roughness goes with the colour that is gone
        picture = planes[:3]
        if strange or (known[3] and self.random.random() < self.s.light):
            picture = relighting.lit(planes, relighting.random_light(self.random))
        picture, planes[:3] = relighting.recoloured([picture, planes[:3]], self.random)
        return relighting.photographed(picture, self.random), planes[:PLANES], known[:PLANES]

    def _crop(self, scales: list[list[photos.Material]]) -> tuple[relighting.Floats, NDArray[np.bool_]]:
        scale = scales[self.random.integers(len(scales))]
        material = scale[self.random.integers(len(scale))]
        pixels = photos.random_crop(material, self.s.crop, self.random).astype(np.float32) / np.float32(255)
        return relighting.turned(pixels, self.random), material.known.copy()


def loss_of(made: Tensor, true: Tensor, known: Tensor) -> dict[str, Tensor]:
    """Errors by name, weighted so that their sum is the loss; unknown planes cost nothing.

    Squares throughout: the mean length of the difference has its best guess at flat ground wherever a slope's sign is
    open, and a thousand steps with it taught nothing. Means of 4x4 pixels have their own say, as heights are made of
    them.
    """
    cut = CELL  # the border of a crop saw the zeros around it
    difference = (made - true)[:, :, cut:-cut, cut:-cut] * known
    squares = (difference**2).mean((0, 2, 3)) + (F.avg_pool2d(difference, FOLD) ** 2).mean((0, 2, 3))
    squares = squares / (known.mean(0).flatten() + 1e-6)
    return {
        "albedo": 20 * squares[:3].sum(),
        "normal": 10 * squares[3:5].sum(),
        "roughness": 2 * squares[5],
        "ao": 2 * squares[6],
    }


def train(s: Settings, run: Path, minutes: float | None, quiet: bool) -> None:
    """Train until the steps or the minutes are used up; go on from the checkpoint in `run` if there is one."""
    where = training.device()
    torch.manual_seed(s.seed)
    files = photos.find_materials(Path(s.data))
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
        write_sheet(s, average, loaded, run / f"sheet_{step:06d}.png")

    step, saved = start - 1, time.monotonic()
    for step, bar in training.step_range(start, s.steps, minutes, quiet):
        pixels, true, known = (x.to(where) for x in pictures.batch(s.batch))
        with training.mixed_precision(where):
            made = network(pixels.contiguous(memory_format=torch.channels_last)).float()
        losses = loss_of(made, true, known)
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


@torch.no_grad()
def write_sheet(s: Settings, average: training.Average, shown: Sequence[photos.Material], path: Path) -> None:
    """Picture | albedo found, true | normal found, true | roughness and AO found, true, for a few crops."""
    network = Network(s.width, s.deep)
    network.load_state_dict({k: v.cpu() for k, v in average.weights.items()})
    pixels, true, _ = Pictures(shown, s, 1).batch(8)
    made = network(pixels)
    rows = []
    for index in range(len(pixels)):
        cells = [pixels[index].permute(1, 2, 0).numpy()]
        pair = [x[index].permute(1, 2, 0).numpy() for x in (made, true)]
        cells += [planes[..., :3] for planes in pair]
        cells += [np.pad(planes[..., 3:5], ((0, 0), (0, 0), (0, 1)), constant_values=1) for planes in pair]
        cells += [planes[..., [5, 6, 6]] for planes in pair]
        rows.append(cells)
    training.save_sheet(path, rows)


class Graph(nn.Module):
    """What is exported: the network, its halo cropped off."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """(1, 3, H, W) with halo -> (1, 7, h, w) without."""
        return self.network(pixels)[:, :, HALO:-HALO, HALO:-HALO]


class Unexported:
    """A graph that PyTorch runs: a `families.Runner`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = training.to_device(graph, torch.device("cpu")).eval()

    @torch.no_grad()
    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Input name -> array, to the one output."""
        return [self.graph(torch.from_numpy(feeds["pixels"])).numpy()]

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
    return Card(family="material_maps", name=name, maps=MAPS, size=size, licence="CC0-1.0", **facts)


def judge(run: Path, data: Path, sheet: Path | None = None) -> dict[str, float]:
    """Figures of a run on the materials that it never saw, at 512 pixels (see export/maps_judge.py)."""
    held_out = vae.load_held_out(data, run, 512)
    names = {m.name for m in held_out}
    means = maps_judge.means_of([photos.load(f, 64) for f in photos.find_materials(data) if f.name not in names])
    runner = Unexported(Graph(load_average(run)))
    return maps_judge.judge(card_of("unexported", data=""), runner, held_out, means, sheet)


def sample(height: int, width: int) -> dict[str, Tensor]:
    """A random picture of `height` x `width` cells within its halo."""
    random = torch.Generator().manual_seed(height)
    return {"pixels": torch.rand(1, 3, height * CELL + 2 * HALO, width * CELL + 2 * HALO, generator=random)}


def write_model(network: Network, out: Path, **facts: Any) -> None:
    """Write the ONNX model of a network, proven equal to PyTorch at two sizes; `facts` go into its card."""
    graph = Graph(network).eval()
    samples = [sample(5, 9), sample(12, 4)]
    axes = {"pixels": {2: "H", 3: "W"}, "planes": {2: "h", 3: "w"}}
    model = onnx_model.halve_weights(onnx_model.export_graph(graph, samples, ["planes"], axes))
    rounding = max(onnx_model.compare(graph, model, feeds) for feeds in samples)
    facts["figures"] = {**facts.get("figures", {}), "largest_rounding_difference": rounding}
    onnx_model.save(model, card_of("material maps", precision="float16", **facts), out)


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
        training={"script": "export/material_maps.py", "settings": settings, "seed": s.seed, "steps": steps},
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training.add_settings(commands.add_parser("train"), Settings, "runs/maps")
    for name in ("judge", "export"):
        command = commands.add_parser(name)
        command.add_argument("--data", type=Path, required=True, help="folder of materials")
        command.add_argument("--run", type=Path, default=Path("runs/maps"), help="folder of the run")
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
