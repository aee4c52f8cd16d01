"""Train and export the multi-material texture GAN.

    python -m export.texture_gan train --data DIR --codec runs/codec --run runs/gan     # resumes by itself
    python -m export.texture_gan export --data DIR --codec runs/codec --run runs/gan --out core/models/atlas.onnx
    python -m export.texture_gan train --data MY_PHOTOS --atlas "" …                    # every material of a folder

Training from pure noise takes days of a CPU. This GAN starts nearer: each material is a *memory*, a small torus of
codes (20 numbers for 8x8 pixels) that an encoder learns together with the generator. A new texture is a new layout
of those codes (core/layout.py) plus noise; the generator turns it into a latent of the codec, heals the joins, and the
codec's decoder makes all maps of it. The discriminator sees latents of photos against latents of new layouts
(hinge loss, Lim and Ye 2017; spectral norm, Miyato et al. 2018; material projected in, Miyato and Koyama 2018).
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from core.card import Card, Material, SizeRule
from core.layout import Example, Indices, quilt
from core.maps import CHANNELS
from export import materials as photos
from export import onnx_model, training, vae

CELL = 2  # latent cells that a code covers on each side
HALO = 8  # codes around a tile that influence it, decoder included
COARSE_HALO = 4  # of these, what the generator's coarse half sees


@dataclass(frozen=True)
class Settings:
    """What a run is made of; saved beside its checkpoint."""

    data: str  # folder of materials
    codec: str  # run of the codec
    atlas: str = "atlas.toml"  # names and sources, here or beside this script; "" takes every material of the folder
    longest: int = 512  # photos are reduced to this many pixels on their longer side
    code: int = 20  # channels of a code
    sigma: float = 0.2  # standard deviation of the noise on a code
    width: int = 128  # channels of the generator at the codes' resolution; half of it at the latent's
    judge_width: int = 64  # channels of the discriminator's first layer
    window: int = 24  # codes on a side of a training crop
    batch: int = 12
    steps: int = 2400
    rate: float = 1e-3
    judge_rate: float = 5e-4
    adversary: float = 0.5  # pull of the adversarial loss, measured against the reconstruction's
    adversary_from: int = 900  # step at which the discriminator joins
    pixels: float = 0.0  # weight of the decoded maps' error: dear, so for the last steps of a run
    joins: float = 0.1  # weight of the reconstruction at joins, where the layout is not to be trusted
    layouts: int = 10  # of each material, made before training
    seed: int = 1


@dataclass(frozen=True)
class Entry:
    """One material of the atlas."""

    name: str
    source: str
    category: str
    metres: float
    ship: bool = True  # False where a look at the results said no; it is trained all the same


def read_atlas(path: str, found: Sequence[photos.MaterialFiles]) -> list[Entry]:
    """The materials to learn: those that the atlas names, or all found under their own names."""
    if not path:
        return [Entry(plain_name(f.name), f.name, f.category, 1.0) for f in found]
    place = Path(path) if Path(path).is_file() else Path(__file__).with_name(Path(path).name)
    rows = tomllib.loads(place.read_text(encoding="utf-8"))["material"]
    return [Entry(**row) for row in rows]


def plain_name(folder: str) -> str:
    """A folder's name as a material's: lower-case letters, digits and _ only, since it becomes a file name."""
    return re.sub("[^a-z0-9]+", "_", folder.lower()).strip("_") or "material"


class Mixer(nn.Module):
    """Residual block of a 3x3 and a 1x1 convolution: a receptive field of one cell keeps the halo small."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return F.leaky_relu(x + self.mix(F.leaky_relu(self.look(x), 0.1)), 0.1)


class Encoder(nn.Module):
    """Scaled latent -> codes."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(vae.LATENT * CELL**2, 96, 3, padding=1)
        self.leave = nn.Conv2d(96, code, 1)
        self.linear = nn.Conv2d(vae.LATENT * CELL**2, code, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """(B, 16, 2h, 2w) -> (B, code, h, w)."""
        folded = F.pixel_unshuffle(latent, CELL)
        return self.linear(folded) + self.leave(F.leaky_relu(self.look(folded), 0.1))


class Generator(nn.Module):
    """Codes -> scaled latent. Receptive field: five codes to each side."""

    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(code, width, 3, padding=1)
        self.coarse = nn.Sequential(Mixer(width), Mixer(width), Mixer(width))
        self.up = nn.Conv2d(width, width // 2 * CELL**2, 1)
        self.fine = vae.Block(width // 2)
        self.leave = nn.Conv2d(width // 2, vae.LATENT, 1)
        self.linear = nn.Conv2d(code, vae.LATENT * CELL**2, 1)

    def forward(self, codes: Tensor, cut: int = 0) -> Tensor:
        """(B, code, h, w) -> (B, 16, 2h, 2w); `cut` codes of each border are given up half way, to save work."""
        hidden = self.coarse(F.leaky_relu(self.enter(codes), 0.1))
        if cut:
            hidden, codes = hidden[:, :, cut:-cut, cut:-cut], codes[:, :, cut:-cut, cut:-cut]
        return F.pixel_shuffle(self.linear(codes), CELL) + self.leave(self.fine(F.pixel_shuffle(self.up(hidden), CELL)))


class Discriminator(nn.Module):
    """Scaled latent and material -> how real each patch of about 80 pixels looks."""

    def __init__(self, width: int, materials: int) -> None:
        super().__init__()
        sizes = [
            (vae.LATENT, width, 1),
            (width, 2 * width, 2),
            (2 * width, 2 * width, 1),
            (2 * width, 2 * width, 2),
            (2 * width, 2 * width, 1),
        ]
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(i, o, 3, stride, 1)) for i, o, stride in sizes)
        self.leave = spectral_norm(nn.Conv2d(2 * width, 1, 1))
        self.material = nn.Embedding(materials, 2 * width)
        nn.init.normal_(self.material.weight, std=0.05)

    def forward(self, latent: Tensor, material: Tensor) -> Tensor:
        """(B, 16, h, w), (B,) -> (B, 1, h/4, w/4)."""
        for layer in self.layers:
            # The gain makes up for what spectral norm and the leaky half take away; without it no loss ever saturates.
            latent = 1.6 * F.leaky_relu(layer(latent), 0.2)
        projected = (latent * self.material(material)[:, :, None, None]).sum(1, keepdim=True)
        return self.leave(latent) + projected / latent.shape[1] ** 0.5


class Bank:
    """All materials as scaled latents, with the layouts that training draws from."""

    def __init__(self, entries: Sequence[Entry], loaded: Sequence[photos.Material], codec: vae.Codec) -> None:
        self.entries = entries
        latents = [encode(codec, material) for material in loaded]
        every = torch.cat([z.flatten(1) for z in latents], 1)
        self.mean = every.mean(1)[:, None, None]
        # Channels count by how much they move the pictures: unit variance would spend the codes on invisible ones.
        self.scale = 1 / sensitivity(codec.decoder, latents)[:, None, None]
        self.scale *= ((every - self.mean[:, 0]) / self.scale[:, 0]).std()
        self.latents = [(z - self.mean) / self.scale for z in latents]
        self.seamless = [m.seamless for m in loaded]
        self.layouts: list[list[Indices]] = []

    def to(self, where: torch.device) -> None:
        """Move what the decoder's input is scaled by."""
        self.mean, self.scale = self.mean.to(where), self.scale.to(where)

    def check_sizes(self, window: int) -> None:
        """`ValueError` when a photo that does not tile is smaller than a training crop."""
        for entry, latent, seamless in zip(self.entries, self.latents, self.seamless, strict=True):
            if not seamless and min(latent.shape[1:]) < window * CELL:
                needed = window * CELL * vae.FOLD
                raise ValueError(f"{entry.source} is smaller than a crop of {needed} pixels; give a smaller --window.")

    def prepare_layouts(self, count: int, size: int, random: np.random.Generator) -> None:
        """Lay out each material `count` times, by the main directions of its latent."""
        for latent, seamless in zip(self.latents, self.seamless, strict=True):
            cells = F.pixel_unshuffle(latent[None], CELL)[0].permute(1, 2, 0).numpy()
            flat = cells.reshape(-1, cells.shape[-1])
            flat = flat - flat.mean(0)
            directions = np.linalg.svd(flat[:: max(1, len(flat) // 2000)], full_matrices=False)[2][:6]
            example = Example((flat @ directions.T).reshape(*cells.shape[:2], 6).astype(np.float32), seamless)
            self.layouts.append([quilt(example, size, size, random) for _ in range(count)])

    def cells(self, material: int) -> Tensor:
        """(cells, 16*4): each code's four latent cells."""
        return F.pixel_unshuffle(self.latents[material][None], CELL)[0].flatten(1).T

    def window(self, layout: Indices, size: int, random: np.random.Generator) -> Indices:
        """A crop of `size` x `size` codes of a layout that wraps around."""
        y, x = (random.integers(side) + np.arange(size) for side in layout.shape)
        return layout[np.ix_(y % layout.shape[0], x % layout.shape[1])]


@torch.no_grad()
def sensitivity(decoder: vae.Decoder, latents: Sequence[Tensor]) -> Tensor:
    """(16,) how much the planes change (weighted as in the codec's loss) where one latent channel does."""
    sample = torch.stack([z[:, :32, :32] for z in latents[::4]])
    before, weight = decoder(sample), torch.tensor(vae.WEIGHTS)[None, :, None, None]
    changes = []
    for channel in range(vae.LATENT):
        moved = sample.clone()
        moved[:, channel] += 0.3
        changes.append((((decoder(moved) - before) * weight) ** 2).mean().sqrt())
    return torch.stack(changes)


def encode(codec: vae.Codec, material: photos.Material) -> Tensor:
    """Latent (16, h, w) of a material, seamless where the photo is: it is wrapped before and cropped after."""
    pixels, known = vae.tensors(material)
    halo = 8 * vae.FOLD * CELL
    sides = ((0, 0), (0, 0), (halo, halo), (halo, halo))
    padded = np.pad(vae.fill(pixels, known).numpy(), sides, mode="wrap" if material.seamless else "edge")
    with torch.no_grad():
        latent = codec.encoder(torch.from_numpy(padded), known)[0][0]
    cut = halo // vae.FOLD
    return latent[:, cut:-cut, cut:-cut]


def joins_of(layout: Indices, columns: int) -> Indices:
    """(h, w) 1 where a cell and one of its eight neighbours are not neighbours in the example, else 0."""
    joins = np.zeros(layout.shape, np.int64)
    steps = ((layout[1:] - layout[:-1]) != columns, (layout[:, 1:] - layout[:, :-1]) != 1)
    joins[1:] |= steps[0]
    joins[:-1] |= steps[0]
    joins[:, 1:] |= steps[1]
    joins[:, :-1] |= steps[1]
    return joins


def unfold(cells: Tensor, layout: Indices) -> Tensor:
    """Latent (16, 2h, 2w) whose codes stand where the layout says."""
    gathered = cells[torch.from_numpy(layout.reshape(-1))].T.reshape(-1, *layout.shape)
    return F.pixel_shuffle(gathered[None], CELL)[0]


def draw(bank: Bank, s: Settings, random: np.random.Generator, new: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(latents, weights, materials): crops of new layouts, or of the photos themselves."""
    latents, weights, chosen = [], [], random.integers(len(bank.entries), size=s.batch)
    for material in chosen:
        rows, columns = (side // CELL for side in bank.latents[material].shape[1:])
        if new:
            layouts = bank.layouts[material]
            layout = bank.window(layouts[random.integers(len(layouts))], s.window, random)
        else:
            whole = np.arange(rows * columns).reshape(rows, columns)
            if not bank.seamless[material]:
                y, x = random.integers(rows - s.window + 1), random.integers(columns - s.window + 1)
                whole = whole[y : y + s.window, x : x + s.window]
            layout = bank.window(whole, s.window, random) if bank.seamless[material] else whole
        weight = np.where(joins_of(layout, columns), s.joins, 1.0)
        latents.append(unfold(bank.cells(material), layout))
        weights.append(torch.from_numpy(weight.repeat(CELL, 0).repeat(CELL, 1)).float()[None])
    return torch.stack(latents), torch.stack(weights), torch.from_numpy(chosen)


def balance(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Factor that lets two losses pull on a layer equally hard (Esser et al. 2021, VQGAN, equation 7)."""
    pulls = [torch.autograd.grad(loss, weight, retain_graph=True)[0].norm() for loss in (first, second)]
    return (pulls[0] / (pulls[1] + 1e-6)).clamp(max=100.0)


def decoded_error(decoder: vae.Decoder, bank: Bank, made: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """How far the maps of made latents are from those of the wanted ones, steps from pixel to pixel included."""
    half = slice(0, len(made) // 2 or 1)  # of the batch: the decoder costs more than the generator
    decoded = [decoder(latent[half] * bank.scale + bank.mean) for latent in (made, wanted)]
    importance = torch.tensor(vae.WEIGHTS, device=made.device)[None, :, None, None]
    difference = (decoded[0] - decoded[1].detach()) * importance
    weights = F.interpolate(weights[half], scale_factor=vae.FOLD, mode="nearest")
    return vae.error_of(difference * weights) / weights.mean()


def crop(x: Tensor, codes: int = 2) -> Tensor:
    """Cut the border of a training crop, which saw the zeros around it, off."""
    cut = codes * CELL
    return x[:, :, cut:-cut, cut:-cut]


class Gan(nn.Module):
    """All that is trained."""

    def __init__(self, s: Settings, materials: int) -> None:
        super().__init__()
        self.encoder = Encoder(s.code)
        self.generator = Generator(s.code, s.width)
        self.discriminator = Discriminator(s.judge_width, materials)
        self.sigma = s.sigma

    @torch.no_grad()
    def start_linear(self, cells: Tensor) -> None:
        """Begin as the principal components of the cells (n, 16*4), like the codec (see `vae.Codec.start_linear`)."""
        training.start_linear(self.encoder.linear, self.generator.linear, cells, torch.ones(cells.shape[1]))
        training.silence(self.encoder.leave, self.generator.leave)

    def make(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """(made latent, codes) of a quilted latent."""
        codes = self.encoder(latent)
        return self.generator(codes + self.sigma * torch.randn_like(codes)), codes


def train(s: Settings, run: Path, minutes: float | None, quiet: bool) -> None:
    """Train until the steps or the minutes are used up; go on from the checkpoint in `run` if there is one."""
    where = training.device()
    torch.manual_seed(s.seed)
    random = np.random.default_rng(s.seed)
    training.save_settings(run, s)
    codec = vae.load_average(Path(s.codec))
    bank = load_bank(s, codec)
    bank.check_sizes(s.window)
    bank.prepare_layouts(s.layouts, 48, random)
    gan = Gan(s, len(bank.entries))
    gan.start_linear(torch.cat([bank.cells(i)[::8] for i in range(len(bank.entries))]))
    training.to_device(gan, where)
    training.to_device(codec.requires_grad_(False), where)
    bank.to(where)
    made_by = [*gan.encoder.parameters(), *gan.generator.parameters()]
    optimisers = (
        torch.optim.Adam(made_by, s.rate, betas=(0.5, 0.99)),
        torch.optim.Adam(gan.discriminator.parameters(), s.judge_rate, betas=(0.5, 0.99)),
    )
    average = training.Average(gan, 0.998)
    checkpoint = run / "checkpoint.pt"
    start = 0
    if checkpoint.exists():
        state = training.load_checkpoint(checkpoint)
        gan.load_state_dict(state["gan"])
        start = state["step"]
        average.resume(state["average"], start)
        for optimiser, saved in zip(optimisers, state.get("optimisers", []), strict=False):
            optimiser.load_state_dict(saved)
    random = np.random.default_rng(s.seed + 1 + start)

    def save(step: int) -> None:
        state = {
            "gan": gan.state_dict(),
            "average": average.weights,
            "optimisers": [o.state_dict() for o in optimisers],
            "step": step,
        }
        training.save_checkpoint(checkpoint, state)

    step, shown = start - 1, {"error": 1.0, "real": 0.0, "fake": 0.0}
    for step, bar in training.step_range(start, s.steps, minutes, quiet):
        slower = training.cosine(step, s.steps)
        new, weights, materials = (t.to(where) for t in draw(bank, s, random, new=True))
        new = new.to(memory_format=torch.channels_last)
        adversarial = step >= s.adversary_from
        with training.mixed_precision(where):
            made, codes = gan.make(new)
            made, new, weights = crop(made.float()), crop(new), crop(weights)
            error = ((made - new).abs() * weights).mean() / weights.mean()
            loss = error + 1e-3 * (codes**2).mean()
            if s.pixels:
                loss = loss + s.pixels * decoded_error(codec.decoder, bank, made, new, weights)
            if adversarial:
                # Wrong textures must not win by fooling a frozen judge: its weights get no gradient here.
                gan.discriminator.requires_grad_(False)
                fooled = -gan.discriminator(made, materials).mean()
                gan.discriminator.requires_grad_(True)
                loss = loss + s.adversary * balance(error, fooled, gan.generator.leave.weight) * fooled
        training.step_down(loss, optimisers[0], s.rate * slower, largest=1.0)
        if adversarial:
            real, _, kinds = (t.to(where) for t in draw(bank, s, random, new=False))
            with training.mixed_precision(where):
                judged_real = gan.discriminator(crop(real), kinds)
                judged_fake = gan.discriminator(made.detach(), materials)
                judge_loss = F.relu(1 - judged_real).mean() + F.relu(1 + judged_fake).mean()
            training.step_down(judge_loss, optimisers[1], s.judge_rate * slower)
            shown["real"] = 0.95 * shown["real"] + 0.05 * float(judged_real.mean())
            shown["fake"] = 0.95 * shown["fake"] + 0.05 * float(judged_fake.mean())
        average.update(gan)
        shown["error"] = 0.95 * shown["error"] + 0.05 * float(error)
        bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        if (step + 1) % 250 == 0:
            save(step + 1)
            write_sheet(bank, s, average, run / f"sheet_{step + 1:06d}.png")
    save(step + 1)


def load_bank(s: Settings, codec: vae.Codec) -> Bank:
    """Read the atlas's photos and encode them."""
    found = photos.find_materials(Path(s.data))
    entries = read_atlas(s.atlas, found)
    files = {f.name: f for f in found}
    loaded = [photos.load(files[e.source], s.longest) for e in entries]
    return Bank(entries, loaded, codec)


class Graph(nn.Module):
    """What is exported: memory, generator and decoder as one graph that keeps no zeros of its borders."""

    def __init__(self, gan: Gan, codec: vae.Codec, bank: Bank) -> None:
        super().__init__()
        self.generator, self.decoder, self.sigma = gan.generator, codec.decoder, gan.sigma
        self.memory = nn.Parameter(torch.cat([remember(gan, bank, i) for i, e in enumerate(bank.entries) if e.ship]))
        self.register_buffer("mean", bank.mean[None])
        self.register_buffer("scale", bank.scale[None])

    def forward(self, cells: Tensor, share: Tensor, noise: Tensor) -> Tensor:
        """(B, h, w) int64, (B, 1, 2h, 2w), (1, code, h, w) with halo -> (1, 8, H, W) without."""
        made = self.generator(self.memory[cells].permute(0, 3, 1, 2) + self.sigma * noise, COARSE_HALO)
        cut = COARSE_HALO * CELL
        latent = (share[:, :, cut:-cut, cut:-cut] * made).sum(0, keepdim=True)
        cut = (HALO - COARSE_HALO) * CELL - vae.DECODER_HALO
        latent = latent[:, :, cut:-cut, cut:-cut] * self.scale + self.mean
        cut = vae.DECODER_HALO * vae.FOLD
        return self.decoder(latent)[:, :, cut:-cut, cut:-cut]


@torch.no_grad()
def remember(gan: Gan, bank: Bank, material: int) -> Tensor:
    """The memory of one material: (cells, code), row by row."""
    mode = "circular" if bank.seamless[material] else "replicate"
    latent = F.pad(bank.latents[material][None], (CELL,) * 4, mode=mode)
    return gan.encoder(latent)[0, :, 1:-1, 1:-1].flatten(1).T


def export(run: Path, data: str, codec_run: str, out: Path, name: str) -> None:
    """Write the ONNX model of a run, proven equal to PyTorch at two sizes."""
    raw = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    s = Settings(**{**raw, "data": data, "codec": codec_run})
    codec = vae.load_average(Path(codec_run))
    bank = load_bank(s, codec)
    gan = Gan(s, len(bank.entries))
    gan.load_state_dict({k: v.float() for k, v in training.load_checkpoint(run / "checkpoint.pt")["average"].items()})
    graph = Graph(gan.eval(), codec, bank).eval()
    samples = [sample(graph, s, *size) for size in ((2, 26, 20), (1, 18, 33))]
    axes = {
        "cells": {0: "B", 1: "h", 2: "w"},
        "share": {0: "B", 2: "mh", 3: "mw"},
        "noise": {2: "h", 3: "w"},
        "planes": {2: "H", 3: "W"},
    }
    exact = onnx_model.export_graph(graph, samples, ["planes"], axes)
    model = onnx_model.halve_weights(exact)
    rounding = max(onnx_model.compare(graph, model, feeds) for feeds in samples)
    settings = {k: Path(str(v)).name if k in ("data", "codec", "atlas") else v for k, v in raw.items()}
    card = Card(
        family="texture_gan",
        name=name,
        maps=tuple(CHANNELS),
        size=SizeRule(multiple=CELL * vae.FOLD, minimum=64, halo=HALO * CELL * vae.FOLD),
        licence="CC0-1.0",
        data="CC0 1.0 photo-based materials of Poly Haven and ambientCG: " + ", ".join(e.source for e in bank.entries),
        precision="float16",
        materials=tuple(Material(e.name, e.category, e.metres, s.longest) for e in bank.entries if e.ship),
        figures={"largest_rounding_difference": rounding},
        training={"script": "export/texture_gan.py", "settings": settings, "seed": s.seed, "steps": gan_steps(run)},
        settings={"cell": CELL * vae.FOLD, "mix": vae.FOLD, "noise": s.code, "memory": places(bank)},
    )
    onnx_model.save(model, card, out)


def gan_steps(run: Path) -> int:
    """Steps that a run has behind it."""
    return int(training.load_checkpoint(run / "checkpoint.pt")["step"])


def places(bank: Bank) -> list[dict[str, object]]:
    """Where each material stands in the memory, for the card."""
    rows, start = [], 0
    for entry, latent, seamless in zip(bank.entries, bank.latents, bank.seamless, strict=True):
        if not entry.ship:
            continue
        height, width = (side // CELL for side in latent.shape[1:])
        rows.append(
            {
                "material": entry.name,
                "source": entry.source,
                "start": start,
                "height": height,
                "width": width,
                "seamless": seamless,
            }
        )
        start += height * width
    return rows


def sample(graph: Graph, s: Settings, count: int, height: int, width: int) -> dict[str, Tensor]:
    """Random input for a morph of `count` materials."""
    random = torch.Generator().manual_seed(height)
    return {
        "cells": torch.randint(len(graph.memory), (count, height, width), generator=random),
        "share": torch.rand(count, 1, CELL * height, CELL * width, generator=random).softmax(0),
        "noise": torch.randn(1, s.code, height, width, generator=random),
    }


@torch.no_grad()
def write_sheet(bank: Bank, s: Settings, average: training.Average, path: Path) -> None:
    """Quilted latent | generated albedo | generated normal, for eight materials."""
    gan = Gan(s, len(bank.entries))
    gan.load_state_dict({k: v.cpu() for k, v in average.weights.items()})
    decoder = vae.load_average(Path(s.codec)).decoder
    rows = []
    for material in range(0, len(bank.entries), max(1, len(bank.entries) // 8)):
        quilted = unfold(bank.cells(material), bank.layouts[material][0][:32, :32])[None]
        cells = []
        for latent in (quilted, gan.make(quilted)[0]):
            made = decoder(latent * bank.scale.cpu() + bank.mean.cpu())[0].permute(1, 2, 0).numpy()
            cells += [made[..., :3], np.concatenate([made[..., 3:5], made[..., 5:6]], -1)]
        rows.append(cells)
    training.save_sheet(path, rows)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training.add_settings(commands.add_parser("train"), Settings, "runs/gan")
    command = commands.add_parser("export")
    command.add_argument("--data", required=True, help="folder of materials")
    command.add_argument("--codec", required=True, help="run of the codec")
    command.add_argument("--run", type=Path, default=Path("runs/gan"), help="folder of the run")
    command.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    command.add_argument("--name", default="atlas", help="name of the model")
    options = parser.parse_args(arguments)
    if options.command == "export":
        export(options.run, options.data, options.codec, options.out, options.name)
        return
    settings = training.read_settings(options, Settings)
    if options.dry_run:
        print(settings)
    else:
        train(settings, options.run, options.minutes, options.quiet)


if __name__ == "__main__":
    main()
