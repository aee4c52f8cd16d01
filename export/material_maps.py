"""Train and export the network that reads a material's maps from one picture of it.

    python -m export.material_maps train --data DIR --run runs/maps         # resumes if the folder has a checkpoint
    python -m export.material_maps judge --data DIR --run runs/maps         # figures and sheets, held-out materials
    python -m export.material_maps export --data DIR --run runs/maps --out core/models/material_maps.onnx

Crops of real materials are put under random light (export/relighting.py); the network learns the maps that are known
and the light itself, as one grey factor for each pixel, so that an albedo keeps its detail and its hue. Some crops wear
the relief of another material, or of a surface that was drawn (export/reliefs.py): there shading and joints tell the
slopes, not the look of a known material.

Pixels are folded into channels first (space to depth), and a middle part at an eighth of the resolution sees 100 pixels
around. What it sees decides, for each pixel, how much of a few gradients of the picture are slopes: filters steered by
the network (after Jia et al. 2016, "Dynamic Filter Networks", here with a fixed basis), which begin as those of Sobel.
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

from core import relief
from core.card import Card, SizeRule
from export import maps_judge, onnx_model, reliefs, relighting, training, vae
from export import materials as photos

FOLD = 4  # pixels a cell of the outer parts covers on each side
CELL = 8  # pixels a cell of the middle part covers
HALO = 112  # pixels around a tile that influence it
DILATIONS = (1, 2, 4)  # of the blocks of the middle part
WARM_UP = 400  # steps in which the rate rises to its full height
PLANES = 7  # red, green, blue, normal x, normal y, roughness, ao
DETAIL = 5.0  # how much louder than brightness the steps within a cell begin
REST = (0.6, 0.95)  # roughness and ao that an untrained network tells
LEAST, TOLD = 0.15, 128  # how often a material is shown that tells nothing; pixels of the shorter side to find out
USUAL, FLAT = 0.15, 0.03  # root mean square of encoded normals whose loss is as it is, and that of hardly any relief
MAPS = ("albedo", "normal", "height", "roughness", "ao")
# Gradients that are steered: (weights of red, green, blue; width in pixels; share of the slopes to begin with).
GREY, WARM, FRESH = (0.30, 0.59, 0.11), (0.5, 0.0, -0.5), (-0.25, 0.5, -0.25)
GRADIENTS = ((GREY, 0.5, 0.6), (GREY, 1.0, 0.3), (GREY, 2.0, 0.3), (WARM, 1.0, 0.0), (FRESH, 1.0, 0.0))


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
    light: float = 0.3  # chance that a crop whose normals are known is put under a random light
    strange: float = 0.1  # chance that a crop wears the relief of another material
    drawn: float = 0.25  # chance that it wears a drawn relief
    reliefs: int = 300  # drawn ones to choose from
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
        self.gradients = nn.Conv2d(3 * FOLD**2, 2 * len(GRADIENTS) * FOLD**2, 3, padding=1, bias=False)
        self.gains = nn.Conv2d(width, len(GRADIENTS) * FOLD**2, 1)
        self.amplify()
        blocks = (self.before, self.after, *self.middle)
        training.silence(self.leave, self.linear, self.gains, *(block.second for block in blocks))
        self.steer()
        self.register_buffer("rest", torch.tensor([0.5, 0.5, *REST])[None, :, None, None])
        self.rest: Tensor

    @torch.no_grad()
    def amplify(self) -> None:
        """Begin with small steps made loud: relief shows in them, and beside mere brightness nothing was learned."""
        mean = torch.full((FOLD**2, FOLD**2), 1 / FOLD**2)
        detail = torch.eye(FOLD**2) - mean
        self.louder.weight.copy_(torch.kron(torch.eye(3), mean + DETAIL * detail)[:, :, None, None])

    @torch.no_grad()
    def steer(self) -> None:
        """Begin with Sobel's slopes."""
        self.gradients.weight.copy_(gradient_filters())
        self.gradients.requires_grad_(False)  # learned ones and what steers them drove each other up
        assert self.gains.bias is not None
        self.gains.bias.copy_(torch.tensor([share for _, _, share in GRADIENTS]).repeat_interleave(FOLD**2))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB-encoded in [0, 1] -> (B, 7, H, W), not clipped.

        Light is a factor of the linear colour, and so nearly one of the encoded colour too.
        """
        folded = F.pixel_unshuffle(pixels, FOLD)
        cells = self.louder(folded * 2 - 1)
        fine = self.before(F.leaky_relu(self.enter(cells), 0.1))
        seen = self.after(fine + self.up(self.middle(F.leaky_relu(self.down(fine), 0.1))))
        light, x, y, data = torch.split(self.leave(seen) + self.linear(cells), [n * FOLD**2 for n in (1, 1, 1, 2)], 1)
        steps = torch.split(self.gradients(folded), len(GRADIENTS) * FOLD**2, 1)
        across, down = (self._sum(self.gains(seen) * step) for step in steps)
        made = F.pixel_shuffle(torch.cat([light, x + across, y + down, data], 1), FOLD)
        return torch.cat([pixels * (1 + made[:, :1]), self.rest + 0.5 * made[:, 1:]], 1)

    def _sum(self, steered: Tensor) -> Tensor:
        """What all gradients give together."""
        parts = torch.split(steered, FOLD**2, 1)
        return torch.stack(parts).sum(0) if self.training else sum(parts[1:], parts[0])


def gradient_filters() -> Tensor:
    """The weights of `Network.gradients`, on folded pixels: derivatives of Gaussians.

    Of a ramp that rises by 1 for each pixel they give the normal's x and y as it would be encoded: -1 to the right, and
    1 downwards, where green points up.
    """
    filters = torch.zeros(2, len(GRADIENTS), FOLD**2, 3, FOLD**2, 3, 3)
    line = torch.arange(-FOLD, 2 * FOLD, dtype=torch.float32)
    for number, (colour, width, _) in enumerate(GRADIENTS):
        for place in range(FOLD**2):
            y, x = line - place // FOLD, line - place % FOLD
            mound = torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * width**2))
            for axis, (along, sign) in enumerate(((x[None], -1), (y[:, None], 1))):
                # The cells around cut wide filters off at one side: what is left must not see mere brightness.
                centred = along - (mound * along).sum() / mound.sum()
                slope = sign * mound * centred / (mound * centred * along).sum()
                cells = slope.reshape(3, FOLD, 3, FOLD).permute(1, 3, 0, 2).reshape(FOLD**2, 3, 3)
                filters[axis, number, place] = torch.tensor(colour)[:, None, None, None] * cells
    return filters.reshape(-1, 3 * FOLD**2, 3, 3)


class Pictures:
    """Endless crops of materials, lit and photographed, with their true planes."""

    def __init__(self, materials: Sequence[photos.Material], s: Settings, seed: int) -> None:
        halves = [m.halved() for m in materials]
        scales = [list(materials), halves, [m.halved() for m in halves]]
        scales = [[m for m in scale if min(m.pixels.shape[1:]) >= s.crop] for scale in scales]
        self.any = [scale for scale in scales if scale]
        self.useful = [kept for kept in ([m for m in scale if m.known[3:7].any()] for scale in scales) if kept]
        self.shaped = [kept for kept in ([m for m in scale if m.known[3]] for scale in scales) if kept]
        told = {m.name: LEAST + explained(m) for m in materials}
        self.shares = {id(scale): _shares([told[m.name] for m in scale]) for scale in self.useful}
        if not self.shaped:
            raise ValueError(f"No material with normals is as large as a crop of {s.crop} pixels; give larger photos.")
        self.s = s
        self.random = np.random.default_rng(seed)
        draw = np.random.default_rng(s.seed)
        self.drawn = [reliefs.build(draw, max(s.crop, reliefs.SIDE)) for _ in range(s.reliefs if s.drawn else 0)]

    def batch(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, S, S), true planes (B, 7, S, S), which of them are known (B, 7, 1, 1)."""
        pictures, planes, known = zip(*(self._one() for _ in range(count)), strict=True)
        return (
            torch.from_numpy(np.stack(pictures)),
            torch.from_numpy(np.stack(planes)),
            torch.from_numpy(np.stack(known)).float()[:, :, None, None],
        )

    def _one(self) -> tuple[relighting.Floats, relighting.Floats, NDArray[np.bool_]]:
        chance = self.random.random()
        strange, drawn = chance < self.s.strange, chance >= 1 - self.s.drawn
        if drawn:
            planes, known = self._drawn()
        else:
            planes, known = self._crop(self.shaped if strange else self.useful)
        if strange:
            planes[:3] = self._crop(self.any)[0][:3]
            known[5] = False  # roughness goes with the colour that is gone
        picture = planes[:3]
        if strange or (known[3] and self.random.random() < self.s.light):
            picture = relighting.lit(planes, relighting.random_light(self.random))
        picture, planes[:3] = relighting.recoloured([picture, planes[:3]], self.random)
        return relighting.photographed(picture, self.random), planes[:PLANES], known[:PLANES]

    def _drawn(self) -> tuple[relighting.Floats, NDArray[np.bool_]]:
        """A drawn relief in the colours of a material, whose own relief lies on it."""
        planes, known = self._crop(self.any)
        made = self.drawn[self.random.integers(len(self.drawn))]
        side = made.tint.shape[1]
        rows, columns = ((np.arange(self.s.crop) + self.random.integers(side)) % side for _ in range(2))
        idle = np.zeros_like(made.planes[:1])
        shape = np.concatenate([made.tint, made.planes[:2], idle, made.planes[2:], idle])  # as planes, to be turned
        shape = relighting.turned(np.ascontiguousarray(shape[:, rows[:, None], columns]), self.random)
        planes[:3] = np.clip(planes[:3] * shape[:3], 0, 1)
        planes[3:5] = relighting.overlaid(shape[3:5], planes[3:5])
        planes[6] = np.minimum(planes[6], shape[6])
        known[[3, 4, 6]] = True
        known[5] = False  # what lies in joints may be of another kind
        return planes, known

    def _crop(self, scales: list[list[photos.Material]]) -> tuple[relighting.Floats, NDArray[np.bool_]]:
        scale = scales[self.random.integers(len(scales))]
        material = scale[self.random.choice(len(scale), p=self.shares.get(id(scale)))]
        pixels = photos.random_crop(material, self.s.crop, self.random).astype(np.float32) / np.float32(255)
        return relighting.turned(pixels, self.random), material.known.copy()


def explained(material: photos.Material) -> float:
    """Which share of the variance of its slopes the best linear filter of its colours explains, 0 to 1.

    The normals of many materials have little to do with what their photos show: they teach no more than to tell
    nothing, and are shown less often.
    """
    if not material.known[3]:
        return 0.0
    while min(material.pixels.shape[1:]) > 2 * TOLD:
        material = material.halved()
    picture = material.pixels[:3].astype(np.float32) / 255
    slopes = np.concatenate([s.ravel() for s in relief.slopes(*(material.pixels[3:5].astype(np.float32) / 255))])
    columns = []
    for colour in (GREY, WARM):
        grey: relighting.Floats = np.tensordot(np.array(colour, np.float32), picture, 1).astype(np.float32)
        for width in (0.5, 1, 2, 4, 8, 16):
            down, across = np.gradient(relighting.blurred(grey, width))
            columns.append(np.concatenate([across.ravel(), down.ravel()]))
    filters = np.stack(columns, 1)
    left = slopes - filters @ np.linalg.lstsq(filters, slopes, rcond=None)[0]
    return float(np.clip(1 - left.var() / max(float(slopes.var()), 1e-6), 0, 1))


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    return np.array(weights, np.float64) / sum(weights)


def loss_of(made: Tensor, true: Tensor, known: Tensor) -> dict[str, Tensor]:
    """Errors by name, weighted so that their sum is the loss; unknown planes cost nothing.

    Squares throughout: the mean length of the difference has its best guess at flat ground wherever a slope's sign is
    open, and a thousand steps with it taught nothing. Means of 4x4 pixels have their own say, as heights are made of
    them. Steep crops count no more than in proportion to their slopes, as angles do.
    """
    cut = CELL  # the border of a crop saw the zeros around it
    difference = (made - true)[:, :, cut:-cut, cut:-cut] * known
    each = (difference**2).mean((2, 3)) + (F.avg_pool2d(difference, FOLD) ** 2).mean((2, 3))
    steep = (true[:, 3:5] - 0.5).square().mean((1, 2, 3)).sqrt()[:, None]
    each = torch.cat([each[:, :3], each[:, 3:5] * USUAL / (steep + FLAT), each[:, 5:]], 1)
    squares = each.mean(0) / (known.mean(0).flatten() + 1e-6)
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
        rate = s.rate * training.cosine(step, s.steps, WARM_UP)
        training.step_down(loss, optimiser, rate, largest=1.0)
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
    read = {f.name: photos.load_height(f, 512) for f in photos.find_materials(data) if f.name in names}
    heights = {name: height for name, height in read.items() if height is not None}
    return maps_judge.judge(card_of("unexported", data=""), runner, held_out, means, heights, sheet)


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
