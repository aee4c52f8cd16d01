"""Train and export the network that doubles the size of maps.

    python -m export.upscale train --data DIR --run runs/upscale         # resumes if the folder has a checkpoint
    python -m export.upscale judge --data DIR --run runs/upscale         # figures and sheets, held-out materials
    python -m export.upscale export --data DIR --run runs/upscale --out core/models/upscale.onnx

Crops of real materials are reduced by means of 2x2 pixels, as a pixel of a smaller picture is a mean of the larger
one's. A pixel is kept as that mean; told are the three Haar details of the four pixels it becomes. All works at the
small size. Training starts at bicubic interpolation, brought to agree with the pixels given.
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
from core.maps import CHANNELS
from export import materials as photos
from export import onnx_model, relighting, training, upscale_judge, vae
from export.material_maps import Block

SEEN = 5  # pixels on a side that the linear part sees, and whose mean is taken from what the deep part sees
LOUD = 8.0  # how much louder than in the picture the deep part sees differences
BORDER = 8  # pixels at the border of a crop that cost nothing: they saw the zeros around it
FLOOR = 1e-6  # mean square below which nothing is gained: rounding to 8 bits alone is as much
# Signs of the 2x2 pixels for the mean and the details: across, down, both.
HAAR = ((1.0, 1.0, 1.0, 1.0), (1.0, -1.0, 1.0, -1.0), (1.0, 1.0, -1.0, -1.0), (1.0, -1.0, -1.0, 1.0))


@dataclass(frozen=True)
class Settings:
    """What a run is made of; saved beside its checkpoint."""

    data: str  # folder of materials
    longest: int = 1024  # photos are reduced to this many pixels on their longer side
    width: int = 32  # channels
    blocks: int = 5
    crop: int = 96  # pixels, before they are reduced
    batch: int = 8
    steps: int = 8000
    rate: float = 2e-3  # Adam
    normals: float = 0.25  # share of the crops that are normals
    grey: float = 0.2  # share that are roughness, ao or metallic
    twice: float = 0.25  # share that is enlarged from a quarter, and so from what the network itself made
    other: float = 0.125  # share that was reduced by bicubic means instead
    seed: int = 1


class Network(nn.Module):
    """Picture -> picture of twice the size.

    The deep part sees how pixels differ from those around them, and has no biases (Mohan et al. 2020, "Robust and
    Interpretable Blind Image Denoising via Bias-Free Convolutional Neural Networks"): brightness is nothing to it, and
    twice the contrast gives twice the details. After 200 steps it was 0.3 dB ahead of one with both.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.halo = SEEN // 2 + 2 * blocks + 2  # pixels given
        self.enter = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(*(Block(width, bias=False) for _ in range(blocks)))
        self.leave = nn.Conv2d(width, 9, 3, padding=1, bias=False)
        self.linear = nn.Conv2d(3, 9, SEEN, padding=SEEN // 2, bias=False)
        self.linear.weight.data.copy_(bicubic_details())
        training.silence(self.leave, *(block.second for block in self.blocks if isinstance(block, Block)))
        away = -torch.full((3, 1, SEEN, SEEN), LOUD / SEEN**2)
        away[:, :, SEEN // 2, SEEN // 2] += LOUD
        self.register_buffer("away", away)
        self.away: Tensor
        signs = torch.tensor(HAAR).reshape(4, 1, 2, 2)
        self.register_buffer("haar", torch.einsum("kouv,cd->kcduv", signs, torch.eye(3)).reshape(12, 3, 2, 2))
        self.haar: Tensor

    def forward(self, pixels: Tensor, cut: int = 0) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, 2h, 2w), not clipped, with `cut` pixels given left out on each side."""
        centred = pixels - 0.5  # so that the zeros around a crop are no black
        seen = self.enter(F.conv2d(centred, self.away, padding=SEEN // 2, groups=3))
        details = self.leave(self.blocks(F.leaky_relu(seen, 0.1))) / LOUD + self.linear(centred)
        both = torch.cat([pixels, details], 1)
        if cut:
            both = both[:, :, cut:-cut, cut:-cut]
        return F.conv_transpose2d(both, self.haar, stride=2)


def bicubic_details() -> Tensor:
    """Weights (9, 3, 5, 5) of the Haar details of bicubic interpolation (Keys 1981, a = -1/2), details outermost."""
    far = (torch.arange(SEEN) - SEEN // 2 + torch.tensor([[0.25], [-0.25]])).abs()
    near = 1.5 * far**3 - 2.5 * far**2 + 1
    line = torch.where(far <= 1, near, torch.where(far < 2, -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2, 0.0))
    pixels = torch.einsum("ui,vj->uvij", line, line).flatten(0, 1)  # (4, 5, 5)
    details = torch.einsum("kp,pij->kij", torch.tensor(HAAR[1:]) / 4, pixels)
    return torch.einsum("kij,cd->kcdij", details, torch.eye(3)).reshape(9, 3, SEEN, SEEN)


class Pictures:
    """Endless crops of materials: colours, normals and grey data, each as three planes."""

    def __init__(self, materials: Sequence[photos.Material], s: Settings, seed: int) -> None:
        scales = [list(materials), [m.halved() for m in materials]]
        fit = [[m for m in scale if min(m.pixels.shape[1:]) >= s.crop] for scale in scales]
        self.any = [scale for scale in fit if scale]
        if not self.any:
            raise ValueError(
                f"No photo is as large as a crop of {s.crop} pixels; give larger photos or a smaller crop."
            )
        self.s = s
        self.random = np.random.default_rng(seed)

    def batch(self, count: int) -> Tensor:
        """(B, 3, S, S) in [0, 1]."""
        return torch.from_numpy(np.stack([self._one() for _ in range(count)]))

    def _one(self) -> relighting.Floats:
        kind = self.random.random()
        if kind < self.s.normals:
            planes, known = self._crop()
            if known[3]:
                return upscale_judge.whole_normal(planes[3:5])
        elif kind < self.s.normals + self.s.grey:
            planes, known = self._crop()
            uneven = [i for i in (5, 6, 7) if known[i] and np.ptp(planes[i]) > 0]
            if uneven:
                return np.repeat(planes[[self.random.choice(uneven)]], 3, 0)
        else:
            planes, _ = self._crop()
        return relighting.recoloured([planes[:3]], self.random)[0]

    def _crop(self) -> tuple[relighting.Floats, NDArray[np.bool_]]:
        scale = self.any[self.random.integers(len(self.any))]
        material = scale[self.random.integers(len(scale))]
        pixels = photos.random_crop(material, self.s.crop, self.random).astype(np.float32) / np.float32(255)
        return relighting.turned(pixels, self.random), material.known


def reduced(network: nn.Module, true: Tensor, s: Settings) -> Tensor:
    """What the network is given for crops (B, 3, S, S): (B, 3, S/2, S/2), in 8 bits or of its own making."""
    given = _rounded(F.avg_pool2d(true, 2))
    twice, other = (round(share * len(true)) for share in (s.twice, s.other))
    if twice:
        with torch.no_grad():
            given[:twice] = network(_rounded(F.avg_pool2d(true[:twice], 4))).clamp(0, 1)
    if other:
        given[-other:] = _rounded(F.interpolate(true[-other:], scale_factor=0.5, mode="bicubic", antialias=True))
    return given


def _rounded(pixels: Tensor) -> Tensor:
    return (pixels.clamp(0, 1) * 255).round() / 255


def loss_of(made: Tensor, true: Tensor) -> Tensor:
    """Mean logarithm of the mean squares of each crop, so that a smooth material counts as much as a rough one.

    It is the PSNR but for a factor (Chen et al. 2022, "Simple Baselines for Image Restoration").
    """
    squares = ((made - true) ** 2)[:, :, BORDER:-BORDER, BORDER:-BORDER].mean((1, 2, 3))
    return (squares + FLOOR).log().mean()


def train(s: Settings, run: Path, minutes: float | None, quiet: bool) -> None:
    """Train until the steps or the minutes are used up; go on from the checkpoint in `run` if there is one."""
    where = training.device()
    torch.manual_seed(s.seed)
    files = photos.find_materials(Path(s.data))
    wanted, held_out = photos.split([f.name for f in files])
    training.save_settings(run, s)
    (run / "held_out.json").write_text(json.dumps(held_out, indent=1) + "\n")
    loaded = [photos.load(f, s.longest) for f in files if f.name in wanted]
    network = training.to_device(Network(s.width, s.blocks), where)
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
    begun = training.to_device(Network(s.width, s.blocks), where)  # bicubic interpolation, to compare with
    shown = 0.0

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
        true = pictures.batch(s.batch).to(where)
        given = reduced(network, true, s).contiguous(memory_format=torch.channels_last)
        with training.mixed_precision(where):
            made = network(given).float()
        loss = loss_of(made, true)
        training.step_down(loss, optimiser, s.rate * training.cosine(step, s.steps), largest=1.0)
        average.update(network)
        if step % 20 == 0:
            with torch.no_grad():
                gain = float(loss_of(begun(given), true) - loss.detach()) * 10 / np.log(10)
            shown = gain if shown == 0 else 0.95 * shown + 0.05 * gain
            bar.set_postfix(gain=f"{shown:.2f} dB", refresh=False)
        if time.monotonic() - saved > 180:
            save(step + 1)
            saved = time.monotonic()
    save(step + 1)


@torch.no_grad()
def write_sheet(s: Settings, average: training.Average, shown: Sequence[photos.Material], path: Path) -> None:
    """Given | bicubic, brought to agree with it | network | true, for a few crops."""
    network, begun = Network(s.width, s.blocks), Network(s.width, s.blocks)
    network.load_state_dict({k: v.cpu() for k, v in average.weights.items()})
    true = Pictures(shown, s, 1).batch(8)
    given = F.avg_pool2d(true, 2)
    cells = [F.interpolate(given, scale_factor=2.0), begun(given), network(given), true]
    training.save_sheet(path, [[cell[i].permute(1, 2, 0).numpy() for cell in cells] for i in range(len(true))])


class Graph(nn.Module):
    """What is exported: the network, its halo cropped off."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """(1, 3, H, W) with halo -> (1, 3, 2h, 2w) without."""
        return self.network(pixels, self.network.halo)


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
    network = Network(s.width, s.blocks)
    weights = training.load_checkpoint(run / "checkpoint.pt")["average"]
    network.load_state_dict({k: v.float() for k, v in weights.items()})
    return network.eval()


def read_run(run: Path) -> Settings:
    """The settings that a run was started with."""
    return Settings(**json.loads((run / "settings.json").read_text(encoding="utf-8")))


def card_of(network: Network, name: str, **facts: Any) -> Card:
    """The card of such a network; `facts` are what only a finished run knows."""
    size = SizeRule(multiple=1, minimum=8, halo=network.halo)
    return Card(family="upscale", name=name, maps=tuple(CHANNELS), size=size, licence="CC0-1.0", **facts)


def judge(run: Path, data: Path, longest: int = 1024, sheet: Path | None = None) -> dict[str, float]:
    """Figures of a run on the materials that it never saw (see export/upscale_judge.py)."""
    network = load_average(run)
    held_out = vae.load_held_out(data, run, longest)
    return upscale_judge.judge(card_of(network, "unexported", data=""), Unexported(Graph(network)), held_out, sheet)


def sample(height: int, width: int, halo: int) -> dict[str, Tensor]:
    """A random picture of `height` x `width` pixels within its halo."""
    random = torch.Generator().manual_seed(height)
    return {"pixels": torch.rand(1, 3, height + 2 * halo, width + 2 * halo, generator=random)}


def write_model(network: Network, out: Path, **facts: Any) -> None:
    """Write the ONNX model of a network, proven equal to PyTorch at two sizes; `facts` go into its card."""
    graph = Graph(network).eval()
    samples = [sample(21, 40, network.halo), sample(64, 33, network.halo)]
    axes = {"pixels": {2: "H", 3: "W"}, "enlarged": {2: "h", 3: "w"}}
    model = onnx_model.halve_weights(onnx_model.export_graph(graph, samples, ["enlarged"], axes))
    rounding = max(onnx_model.compare(graph, model, feeds) for feeds in samples)
    facts["figures"] = {**facts.get("figures", {}), "largest_rounding_difference": rounding}
    onnx_model.save(model, card_of(network, "upscale", precision="float16", **facts), out)


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
        training={"script": "export/upscale.py", "settings": settings, "seed": s.seed, "steps": steps},
    )


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training.add_settings(commands.add_parser("train"), Settings, "runs/upscale")
    for name in ("judge", "export"):
        command = commands.add_parser(name)
        command.add_argument("--data", type=Path, required=True, help="folder of materials")
        command.add_argument("--run", type=Path, default=Path("runs/upscale"), help="folder of the run")
        if name == "export":
            command.add_argument("--out", type=Path, required=True, help="ONNX file to write")
        else:
            command.add_argument("--longest", type=int, default=1024, help="pixels of the true materials (1024)")
    options = parser.parse_args(arguments)
    if options.command == "export":
        export(options.run, options.data, options.out)
    elif options.command == "judge":
        print(json.dumps(judge(options.run, options.data, options.longest, options.run / "held_out.png"), indent=1))
    else:
        settings = training.read_settings(options, Settings)
        if options.dry_run:
            print(settings)
        else:
            train(settings, options.run, options.minutes, options.quiet)


if __name__ == "__main__":
    main()
