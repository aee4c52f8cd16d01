"""Train and export the recurrent networks: textures that move, in the codec's latent.

    python -m export.recurrent train --data DIR --codec CODEC --motion flow --run runs/flow       # resumes by itself
    python -m export.recurrent judge --data DIR --codec CODEC --run runs/flow
    python -m export.recurrent export --data DIR --codec CODEC --run runs/flow --out core/models/flow.onnx
    python -m export.recurrent renew --model core/models/flow.onnx    # the graph as it is drawn now, same weights

There are no videos of materials, but there is physics. A *teacher* moves the pixels of a photo-based material slowly
and exactly (a current, a spreading front, waves on water, see export/motions.py); a convolutional recurrent network
learns to do the same to latents, from one state to the next, on runs of its own making (backpropagation through time,
with noise on the states, as in Sanchez-Gonzalez et al. 2020, "Learning to Simulate Complex Physics").
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from core.card import Card, SizeRule
from core.maps import CHANNELS
from export import materials as photos
from export import motions, onnx_model, training, vae

LIVELY = 8.0  # what rings are multiplied by where the network sees them: they are small beside the latents
JUDGED = (6, 12)  # clips, and steps of each
HALO = 6  # cells around a tile that influence it in one step
AROUND = tuple((dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1))  # the cells around a cell, and itself


@dataclass(frozen=True)
class Settings:
    """What a run is made of; saved beside its checkpoint."""

    data: str  # folder of materials
    codec: str  # run of the codec
    motion: str  # "flow", "growth" or "shimmer"
    longest: int = 512  # photos are reduced to this many pixels on their longer side
    width: int = 64  # channels of the hidden layers
    side: int = 32  # cells on a side of a training crop
    batch: int = 4
    unroll: int = 6  # steps that the network runs by itself before it is corrected
    noise: float = 0.02  # standard deviation of the noise on the states it is helped with
    grain: float = 1.0  # weight of how much fine structure there is, be it where it may: else it gets a little blurred
    helped: float = 0.2  # chance that it is given the teacher's state instead of its own
    steps: int = 3000
    rate: float = 1e-3
    seed: int = 1


class Net(nn.Module):
    """Three convolutions that see three cells far; silent at first, as it only adds to what is known."""

    def __init__(self, channels: int, width: int, out: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.block = vae.Block(width)
        self.leave = nn.Conv2d(width, out, 1)
        training.silence(self.leave)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, out, h, w)."""
        return self.leave(self.block(F.leaky_relu(self.enter(x), 0.1)))


class Cell(nn.Module):
    """A recurrent network: (state, material, drive) -> (next state, latent that shows the state it was given).

    `material` is a latent (B, 16, h, w), but for `Flow`; what `state` and `drive` hold depends on the motion.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, vae.LATENT, 1, 1))
        self.register_buffer("scale", torch.ones(1, vae.LATENT, 1, 1))
        self.mean: Tensor
        self.scale: Tensor

    def measure(self, latents: Tensor, decoder: vae.Decoder) -> None:
        """Learn in which units a step of each channel of a latent is equally visible."""
        self.mean = latents.mean((0, 2, 3), keepdim=True)
        scale = 1 / motions.sensitivity(decoder, latents)[None, :, None, None]
        self.scale = scale * ((latents - self.mean) / scale).std()

    def visible(self, latent: Tensor) -> Tensor:
        """Latent in these units."""
        return (latent - self.mean) / self.scale


class Flow(Cell):
    """State: where the cells of two layers come from, (B, 4, h, w). Drive: `core.motion.flow`.

    Its `material` is what lies there: for each layer the four cells around the place, (B, 2*4*16, h, w). Latents that
    are carried from step to step blur a little in each; places do not, and the network paints what is seen of them.

    All parts are slices with constant bounds, and sizes follow by broadcasting: `chunk`, `expand` and the like leave
    arithmetic on shapes in the exported graph, which ONNX Runtime does on the CPU, with the GPU waiting.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(4, 9 * 4, 3, padding=1, groups=4, bias=False)
        self.around.weight.data = torch.eye(9).reshape(9, 1, 3, 3).repeat(4, 1, 1, 1)
        self.around.requires_grad_(False)  # it hands out the nine cells around each cell
        across, down = (torch.tensor([offset[axis] for offset in AROUND]) for axis in (0, 1))
        self.register_buffer("across", across[None, :, None, None], persistent=False)
        self.register_buffer("down", down[None, :, None, None], persistent=False)
        self.across: Tensor
        self.down: Tensor
        self.shift = Net(4 * vae.LATENT + 2, width, vae.LATENT)
        self.paint = Net(2 * vae.LATENT + 1, width, vae.LATENT)

    def forward(self, state: Tensor, material: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 4, h, w), (B, 128, h, w), (B, 9, h, w) -> (B, 4, h, w), (B, 16, h, w)."""
        current, share, renewed, sources = drive[:, :2], drive[:, 2:3], drive[:, 3:5], drive[:, 5:]
        parts, half = state - state.floor(), 4 * vae.LATENT
        layers = [self.layer(material[:, :half], parts[:, :2]), self.layer(material[:, half:], parts[:, 2:])]
        shown = layers[0] + share * (layers[1] - layers[0]) + self.paint(torch.cat([*layers, share], 1))
        following = self.carried(state, current) - torch.cat([current, current], 1)
        renewed = torch.cat([renewed[:, :1], renewed[:, :1], renewed[:, 1:], renewed[:, 1:]], 1)
        following = torch.where(renewed > 0.5, sources, following)
        return following, shown * self.scale + self.mean

    def layer(self, cells: Tensor, part: Tensor) -> Tensor:
        """The latent at a place `part` (across, down) of the way between four cells, in visible units.

        A cell holds 4x4 pixels, so their mean, the start, is not yet a shift.
        """
        visible = [self.visible(cells[:, at : at + vae.LATENT]) for at in range(0, 4 * vae.LATENT, vae.LATENT)]
        across, down = part[:, :1], part[:, 1:]
        top = visible[0] + across * (visible[1] - visible[0])
        bottom = visible[2] + across * (visible[3] - visible[2])
        return top + down * (bottom - top) + self.shift(torch.cat([*visible, part], 1))

    def carried(self, state: Tensor, current: Tensor) -> Tensor:
        """The state against the current by one step, bilinear; no current is faster than a cell."""
        across = (1 - (current[:, :1] + self.across).abs()).relu()  # (B, 9, h, w)
        taps = across * (1 - (current[:, 1:] + self.down).abs()).relu()
        around, count = self.around(state), len(AROUND)
        parts = [around[:, at : at + count] * taps for at in range(0, 4 * count, count)]
        return torch.cat([part.sum(1, keepdim=True) for part in parts], 1)


class Growth(Cell):
    """State: how thick the coat is and how old, (B, 2, h, w). Drive: `core.motion.growth`, and the coat's latent."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = Net(2 + 3 + vae.LATENT, width // 2, 2)
        self.paint = Net(2 + 2 * vae.LATENT, width, vae.LATENT)

    def forward(self, state: Tensor, material: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2, h, w), (B, 16, h, w), (B, 19, h, w) -> (B, 2, h, w), (B, 16, h, w)."""
        ground, coat = self.visible(material), self.visible(drive[:, 3:])
        following = (state + self.spread(torch.cat([state, drive[:, :3], ground], 1))).clamp(0, 1)
        shown = ground + state[:, :1] * (coat - ground) + self.paint(torch.cat([state, ground, coat], 1))
        return following, shown * self.scale + self.mean


class Shimmer(Cell):
    """State: height of the water and its speed, (B, 2, h, w). Drive: drops, see `core.motion.shimmer`.

    Small waves are linear, so the memory is a linear recurrent network; what is seen of them is not quite.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.swing = nn.Conv2d(3, 2, 7, padding=3, bias=False)
        self.swing.requires_grad_(False)  # the fit is as exact as the numbers are, and Adam's noise would only shake it
        self.tilt = nn.Conv2d(2, vae.LATENT, 7, padding=3)
        self.paint = Net(2 + vae.LATENT, width, vae.LATENT)

    def forward(self, state: Tensor, material: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2, h, w), (B, 16, h, w), (B, 1, h, w) -> (B, 2, h, w), (B, 16, h, w)."""
        ground = self.visible(material)
        following = self.swing(torch.cat([state, drive], 1))
        shown = ground + self.tilt(state) + self.paint(torch.cat([LIVELY * state, ground], 1))
        return following, shown * self.scale + self.mean

    @torch.no_grad()
    def start_linear(self, clips: list[motions.Clip]) -> None:
        """Fit the memory to the teacher's steps by least squares, and begin so with what is seen of it."""
        before = torch.cat([state for clip in clips for state in clip.states[:-1]])
        after = torch.cat([state for clip in clips for state in clip.states[1:]])
        drives = torch.cat([drive for clip in clips for drive in clip.drives])
        changes = [z - m for clip in clips for z, m in zip(clip.latents, clip.materials, strict=True)]
        fit_linear(self.swing, torch.cat([before, drives], 1), after)
        fit_linear(self.tilt, before, torch.cat(changes) / self.scale)


@torch.no_grad()
def fit_linear(layer: nn.Conv2d, seen: Tensor, wanted: Tensor) -> None:
    """Set a convolution to the least-squares fit from `seen` (B, C, h, w) to `wanted` (B, D, h, w) on the torus."""
    reach, size = layer.kernel_size[0] // 2, layer.kernel_size[0]
    patches = F.unfold(F.pad(seen, (reach,) * 4, mode="circular"), size).movedim(1, -1).flatten(0, 1)
    if layer.bias is not None:
        patches = F.pad(patches, (0, 1), value=1.0)
    a, b = patches.double(), wanted.movedim(1, -1).flatten(0, 2).double()
    fit = torch.linalg.solve(a.T @ a + 1e-6 * len(a) * torch.eye(a.shape[1]), a.T @ b).T.float()
    if layer.bias is not None:
        fit, bias = fit[:, :-1], fit[:, -1]
        layer.bias.copy_(bias)
    layer.weight.copy_(fit.reshape(layer.weight.shape))


CELLS: dict[str, type[Flow] | type[Growth] | type[Shimmer]] = {"flow": Flow, "growth": Growth, "shimmer": Shimmer}
STATES = {"flow": 4, "growth": 2, "shimmer": 2}
MATERIALS = {"flow": 8 * vae.LATENT, "growth": vae.LATENT, "shimmer": vae.LATENT}
DRIVES = {"flow": 9, "growth": 3 + vae.LATENT, "shimmer": 1}


def make_cell(motion: str, width: int) -> Flow | Growth | Shimmer:
    """The network of a motion, on a torus: for training, convolutions wrap."""
    cell = CELLS[motion](width)
    set_wrap(cell, True)
    return cell


def set_wrap(cell: nn.Module, wrap: bool) -> None:
    """Let every convolution see the other side of the torus, or zeros; the exported graph gets a halo instead."""
    for module in cell.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "circular" if wrap else "zeros"


def loss_of(cell: Cell, clip: motions.Clip, s: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, error of the states, error of the latents) of one clip, the network running by itself between helps."""
    state, states, latents = clip.states[0], [], []
    for step, drive in enumerate(clip.drives):
        if step == 0 or float(torch.rand(())) < s.helped:
            state = clip.states[step] + s.noise * torch.randn_like(state)
        following, shown = cell(state, clip.materials[step], drive)
        made, true = shown / cell.scale, clip.latents[step] / cell.scale
        latents.append((made - true).abs().mean() + s.grain * (grain(made) - grain(true)).abs().mean())
        # Coats and rings are rare: the mean absolute error of none at all would be small.
        states.append(((following - clip.states[step + 1]) ** 2).mean().add(1e-10).sqrt())
        state = following
    state_error, latent_error = torch.stack(states).mean(), torch.stack(latents).mean()
    # Thickness and water move little in a step, and all that follows depends on it.
    return latent_error + 4 * state_error, state_error.detach(), latent_error.detach()


def grain(latent: Tensor) -> Tensor:
    """How strong the finest structure of a latent (B, C, h, w) is, around every fourth cell."""
    fine = latent - F.avg_pool2d(latent, 3, 1, 1)
    return (F.avg_pool2d(fine**2, 8, 4) + 1e-4).sqrt()


def train(s: Settings, run: Path, minutes: float | None, quiet: bool) -> None:
    """Train until the steps or the minutes are used up; go on from the checkpoint in `run` if there is one."""
    where = training.device()
    torch.manual_seed(s.seed)
    training.save_settings(run, s)
    codec = training.to_device(vae.load_average(Path(s.codec)).requires_grad_(False), where)
    teacher = motions.Teacher(s.motion, codec, load(s, held_out=False), s.side, s.seed)
    cell = make_cell(s.motion, s.width)
    cell.measure(teacher.latents(64).cpu(), vae.load_average(Path(s.codec)).decoder)
    if isinstance(cell, Shimmer):
        cell.start_linear([teacher.clip(s.batch, s.unroll) for _ in range(8)])
    training.to_device(cell, where)
    average = training.Average(cell, 0.998)
    optimiser = torch.optim.Adam([w for w in cell.parameters() if w.requires_grad], s.rate, betas=(0.9, 0.99))
    checkpoint, start = run / "checkpoint.pt", 0
    if checkpoint.exists():
        state = training.load_checkpoint(checkpoint)
        cell.load_state_dict(state["cell"])
        start = state["step"]
        average.resume(state["average"], start)
        if "optimiser" in state:  # not kept in the repository
            optimiser.load_state_dict(state["optimiser"])
    teacher.random = np.random.default_rng(s.seed + 1 + start)

    def save(step: int) -> None:
        state = {"cell": cell.state_dict(), "average": average.weights, "optimiser": optimiser.state_dict()}
        training.save_checkpoint(checkpoint, state | {"step": step})
        write_sheet(s, average, teacher, run / f"sheet_{step:06d}.png")

    step, errors = start - 1, [0.0, 0.0]
    for step, bar in training.step_range(start, s.steps, minutes, quiet):
        clip = teacher.lesson(s.batch, s.unroll)
        loss, *found = loss_of(cell, clip, s)
        training.step_down(loss, optimiser, s.rate * training.cosine(step, s.steps), largest=1.0)
        average.update(cell)
        errors = [0.98 * old + 0.02 * float(new) for old, new in zip(errors, found, strict=True)]
        bar.set_postfix(state=f"{errors[0]:.4f}", latent=f"{errors[1]:.4f}", refresh=False)
        if (step + 1) % 100 == 0:
            save(step + 1)
    save(step + 1)


def load(s: Settings, held_out: bool) -> list[photos.Material]:
    """The materials to learn from, or those to judge by; the split is the codec's."""
    files = photos.find_materials(Path(s.data))
    names = photos.split([f.name for f in files])[held_out]
    return [photos.load(f, s.longest) for f in files if f.name in names]


@torch.no_grad()
def write_sheet(s: Settings, average: training.Average, teacher: motions.Teacher, path: Path) -> None:
    """What the teacher shows | what the network shows by itself, albedo and normal, for two materials, step by step."""
    cell = make_cell(s.motion, s.width)
    cell.load_state_dict({k: v.cpu() for k, v in average.weights.items()})
    clip = teacher.clip(2, 12)
    state, shown = clip.states[0].cpu(), []
    for material, drive in zip(clip.materials, clip.drives, strict=True):
        state, latent = cell(state, material.cpu(), drive.cpu())
        shown.append(latent.to(teacher.where))
    rows = []
    for index in range(2):
        for latents in (clip.latents, shown):
            rows += strip([motions.decode(teacher.codec, z[index : index + 1]) for z in latents[::2]])
    training.save_sheet(path, rows)


def strip(frames: list[Tensor]) -> list[list[NDArray[np.float32]]]:
    """Two rows of pictures, albedo and normal, of frames (1, 8, H, W)."""
    pictures = [frame[0].cpu().numpy().transpose(1, 2, 0) for frame in frames]
    normals = [np.concatenate([p[..., 3:5], np.ones_like(p[..., :1])], -1) for p in pictures]
    return [[p[..., :3] for p in pictures], normals]


def load_average(run: Path) -> tuple[Settings, Cell]:
    """Settings and averaged network of a run (or of the weights that the repository keeps), wrapping, ready to use."""
    s = Settings(**json.loads((run / "settings.json").read_text(encoding="utf-8")))
    cell = make_cell(s.motion, s.width)
    weights = training.load_checkpoint(run / "checkpoint.pt")["average"]
    cell.load_state_dict({k: v.float() for k, v in weights.items()})
    return s, cell.eval()


@torch.no_grad()
def judge(cell: Cell, teacher: motions.Teacher) -> dict[str, float]:
    """How near the network stays to its teacher by itself, on materials never trained on; means over the last step.

    PSNR of the albedo in dB and angle of the normals, as decoded; `plain`: with its nets silent, which for flow is
    the bilinear shift of latents. Fine detail is the energy of steps from pixel to pixel, over the teacher's.
    """
    plain = copy.deepcopy(cell)
    training.silence(*(net.leave for net in plain.modules() if isinstance(net, Net)))
    found: dict[str, list[float]] = {}
    for _ in range(JUDGED[0]):
        clip = teacher.clip(2, JUDGED[1])
        true = motions.decode(teacher.codec, clip.latents[-1])
        for name, network in (("", cell), ("plain_", plain)):
            state = clip.states[0]
            for material, drive in zip(clip.materials, clip.drives, strict=True):
                state, latent = network(state, material, drive)
            made = motions.decode(teacher.codec, latent)
            rows = {
                "psnr_db": -10 * math.log10(float(F.mse_loss(made[:, :3], true[:, :3]))),
                "normal_deg": float(vae.angles(made[:, 3:5], true[:, 3:5]).mean()),
                "detail": float(made[:, :3].diff(dim=3).abs().mean() / true[:, :3].diff(dim=3).abs().mean()),
            }
            for figure, value in rows.items():
                found.setdefault(name + figure, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


class Graph(nn.Module):
    """What is exported: one step, the halo cropped off."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell
        set_wrap(cell, False)

    def forward(self, state: Tensor, material: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        """(1, S, h, w), (1, M, h, w), (1, D, h, w), with halo -> next state and latent without."""
        following, latent = self.cell(state, material, drive)
        return following[:, :, HALO:-HALO, HALO:-HALO], latent[:, :, HALO:-HALO, HALO:-HALO]


def export(run: Path, data: str, codec_run: str, out: Path) -> None:
    """Write the ONNX model of a run, proven equal to PyTorch at two sizes, with its figures on held-out materials."""
    s, cell = load_average(run)
    local = replace(s, data=data, codec=codec_run)
    teacher = motions.Teacher(s.motion, vae.load_average(Path(codec_run)), load(local, held_out=True), s.side, 7)
    figures = judge(cell, teacher)
    write_model(cell, s, training.load_checkpoint(run / "checkpoint.pt")["step"], figures, out)


AXES = {name: {2: f"{name}_h", 3: f"{name}_w"} for name in ("state", "material", "drive", "next", "latent")}
OUTPUTS = ("next", "latent")


def write_model(cell: Cell, s: Settings, steps: int, figures: dict[str, float], out: Path) -> None:
    """Write the ONNX model of a network after `steps` steps of training."""
    graph, given = Graph(cell), samples(s.motion)
    model = onnx_model.halve_weights(onnx_model.export_graph(graph, given, OUTPUTS, AXES))
    rounding = max(onnx_model.compare(graph, model, feeds) for feeds in given)
    onnx_model.save(model, card_of(s, steps, {**figures, "largest_rounding_difference": rounding}), out)


def renew(path: Path) -> None:
    """Write a motion's file anew, see `onnx_model.renew`."""
    card = onnx_model.card_in(onnx.load(path))
    motion = str(card.settings["motion"])
    cell = make_cell(motion, int(card.training["settings"]["width"]))
    onnx_model.renew(path, Graph(cell), samples(motion), OUTPUTS, AXES)


def card_of(s: Settings, steps: int, figures: dict[str, float]) -> Card:
    """The card of a run."""
    settings = {k: Path(str(v)).name if k in ("data", "codec") else v for k, v in asdict(s).items()}
    return Card(
        family="recurrent",
        name=s.motion,
        maps=tuple(CHANNELS),
        size=SizeRule(multiple=vae.FOLD, minimum=64, halo=HALO * vae.FOLD),
        licence="CC0-1.0",
        data="CC0 1.0 photo-based materials of Poly Haven, ambientCG and 3dtextures.me, moved by export/motions.py",
        precision="float16",
        figures=figures,
        training={"script": "export/recurrent.py", "settings": settings, "seed": s.seed, "steps": steps},
        settings={"motion": s.motion, "state": STATES[s.motion], "halo": HALO, "gathered": s.motion == "flow"},
    )


def samples(motion: str) -> list[dict[str, Tensor]]:
    """Random inputs of a graph, of two sizes."""
    shapes, made = {"state": STATES[motion], "material": MATERIALS[motion], "drive": DRIVES[motion]}, []
    for height, width in ((18, 23), (31, 16)):
        random = torch.Generator().manual_seed(height)
        made.append({n: torch.rand(1, channels, height, width, generator=random) for n, channels in shapes.items()})
    return made


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training.add_settings(commands.add_parser("train"), Settings, "runs/flow")
    for name in ("judge", "export"):
        command = commands.add_parser(name)
        command.add_argument("--data", required=True, help="folder of materials")
        command.add_argument("--codec", required=True, help="run of the codec")
        command.add_argument("--run", type=Path, required=True, help="folder of the run")
        if name == "export":
            command.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    onnx_model.add_renew(commands)
    options = parser.parse_args(arguments)
    if options.command == "renew":
        renew(options.model)
    elif options.command == "train":
        settings = training.read_settings(options, Settings)
        if options.dry_run:
            print(settings)
        else:
            train(settings, options.run, options.minutes, options.quiet)
    elif options.command == "judge":
        s, cell = load_average(options.run)
        s = replace(s, data=options.data, codec=options.codec)
        codec = vae.load_average(Path(s.codec))
        print(json.dumps(judge(cell, motions.Teacher(s.motion, codec, load(s, held_out=True), s.side, 7))))
    else:
        export(options.run, options.data, options.codec, options.out)


if __name__ == "__main__":
    main()
