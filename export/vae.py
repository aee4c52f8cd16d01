"""Train and export the codec: a convolutional variational autoencoder of whole materials.

    python -m export.vae train --data DIR --run runs/codec            # resumes if the folder has a checkpoint
    python -m export.vae judge --data DIR --run runs/codec            # figures on the held-out materials
    python -m export.vae export --data DIR --run runs/codec --out core/models/codec.onnx
    python -m export.vae renew --model core/models/codec.onnx         # the graph as it is drawn now, same weights

The codec (Kingma and Welling 2014, "Auto-Encoding Variational Bayes") turns all maps of a material into a
grid of 16 numbers for each 4x4 pixels and back. Both halves fold pixels into channels first (space to depth),
so that every convolution runs at a quarter of the resolution.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.card import Card, SizeRule
from core.maps import CHANNELS
from export import materials as photos
from export import onnx_model, training

FOLD = 4  # pixels a latent cell covers on each side
LATENT = 16  # channels of a latent cell
ENCODER_HALO = 4  # latent cells around a tile that influence it
DECODER_HALO = 6
PLANES = len(photos.PLANES)
WEIGHTS = (2.0, 2.0, 2.0, 1.0, 1.0, 0.7, 0.5, 0.5)  # of each plane in the loss: the eye sees albedo first


@dataclass(frozen=True)
class Settings:
    """What a run is made of; saved beside its checkpoint."""

    data: str  # folder of materials
    longest: int = 1024  # photos are reduced to this many pixels on their longer side
    width: int = 96  # channels of the hidden layers of the decoder; the encoder has two thirds
    crop: int = 128  # pixels
    batch: int = 8
    steps: int = 6000
    rate: float = 1e-3  # Adam; 2e-3 diverged
    kl: float = 1e-4  # weight of the divergence from the unit Gaussian
    forget: float = 0.3  # chance that a crop's data maps are hidden from the encoder, so that albedo alone will do
    part: str = "both"  # "decoder" leaves the encoder alone, so that latents keep their meaning
    seed: int = 1


class Block(nn.Module):
    """Residual block of two 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        y = F.leaky_relu(self.first(x), 0.1)
        return F.leaky_relu(x + self.second(y), 0.1)


class Encoder(nn.Module):
    """Maps and which of them are known -> mean and log variance of the latent."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(PLANES * FOLD**2 + PLANES, width, 3, padding=1)
        self.blocks = nn.Sequential(Block(width))
        self.leave = nn.Conv2d(width, 2 * LATENT, 3, padding=1)
        self.linear = nn.Conv2d(PLANES * FOLD**2, LATENT, 1)

    def forward(self, pixels: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 8, H, W) in [0, 1], (B, 8, 1, 1) -> two of (B, 16, H/4, W/4)."""
        folded = F.pixel_unshuffle(pixels * 2 - 1, FOLD)
        known = known + 0 * folded[:, :1]  # to the size of the rest, without shapes in the exported graph
        hidden = F.leaky_relu(self.enter(torch.cat([folded, known], 1)), 0.1)
        both = self.leave(self.blocks(hidden))
        return both[:, :LATENT] + self.linear(folded), (both[:, LATENT:] - 5).clamp(-12, 4)


class Decoder(nn.Module):
    """Latent -> all maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(LATENT, width, 3, padding=1)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.leave = nn.Conv2d(width, PLANES * FOLD**2, 3, padding=1)
        self.linear = nn.Conv2d(LATENT, PLANES * FOLD**2, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """(B, 16, h, w) -> (B, 8, 4h, 4w), not clipped."""
        hidden = self.blocks(F.leaky_relu(self.enter(latent), 0.1))
        return F.pixel_shuffle(self.leave(hidden) + self.linear(latent), FOLD) * 0.5 + 0.5


class Codec(nn.Module):
    """Encoder and decoder together."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = Encoder(width * 2 // 3)
        self.decoder = Decoder(width)

    @torch.no_grad()
    def start_linear(self, pixels: Tensor) -> None:
        """Begin as the principal components of 4x4 patches, the best linear codec, instead of as noise.

        `pixels` (B, 8, H, W) in [0, 1]. The networks start at zero beside it and learn what a linear map cannot.
        """
        weight = torch.tensor(WEIGHTS).sqrt().repeat_interleave(FOLD**2)
        patches = F.pixel_unshuffle(pixels * 2 - 1, FOLD).movedim(1, -1).reshape(-1, PLANES * FOLD**2)
        training.start_linear(self.encoder.linear, self.decoder.linear, patches, weight)
        training.silence(self.encoder.leave, self.decoder.leave)


def fill(pixels: Tensor, known: Tensor) -> Tensor:
    """Put the neutral value into planes that are not known."""
    neutral = torch.tensor(photos.NEUTRAL, device=pixels.device)[None, :, None, None]
    return torch.where(known > 0.5, pixels, neutral)


def error_of(difference: Tensor) -> Tensor:
    """Mean absolute value of a difference (B, C, H, W), of its 4-fold means and of its steps from pixel to pixel.

    Flat colour and edges each get a say of their own. The steps matter most where cells of 4x4 pixels meet: without
    them the decoder leaves a faint grid there.
    """
    low = F.avg_pool2d(difference, FOLD)
    return (
        difference.abs().mean()
        + low.abs().mean()
        + difference.diff(dim=2).abs().mean()
        + difference.diff(dim=3).abs().mean()
    )


def loss_of(codec: Codec, pixels: Tensor, known: Tensor, s: Settings) -> tuple[Tensor, Tensor]:
    """(loss, mean absolute error of the albedo) of one batch; unknown planes cost nothing."""
    seen = known.clone()
    forgets = torch.rand(len(known), 1, 1, 1, device=known.device) < s.forget
    seen[:, 3:] *= ~forgets
    mean, log_variance = codec.encoder(fill(pixels, seen), seen)
    latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    made = codec.decoder(latent).float()
    difference = (made - pixels) * known * torch.tensor(WEIGHTS, device=made.device)[None, :, None, None]
    error = error_of(difference) / known.mean()
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
    return error + s.kl * divergence, (made - pixels)[:, :3].abs().mean().detach()


def train(s: Settings, run: Path, minutes: float | None, quiet: bool) -> None:
    """Train until the steps or the minutes are used up; go on from the checkpoint in `run` if there is one."""
    where = training.device()
    torch.manual_seed(s.seed)
    files = photos.find_materials(Path(s.data))
    wanted, held_out = photos.split([f.name for f in files])
    training.save_settings(run, s)
    (run / "held_out.json").write_text(json.dumps(held_out, indent=1) + "\n")
    known_materials = [photos.load(f, s.longest) for f in files if f.name in wanted]
    crops = photos.Crops(known_materials, s.crop, s.seed)
    codec = Codec(s.width)
    codec.start_linear(fill(*crops.batch(400)))
    training.to_device(codec, where)
    average = training.Average(codec, 0.999)
    codec.encoder.requires_grad_(s.part == "both")
    trained = [weight for weight in codec.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(trained, s.rate, betas=(0.9, 0.99))
    start = 0
    checkpoint = run / "checkpoint.pt"
    if checkpoint.exists():
        state = training.load_checkpoint(checkpoint)
        codec.load_state_dict(state["codec"])
        start = state["step"]
        average.resume(state["average"], start)
        saved = state.get("optimiser")  # not kept in the repository, and of no use to another part
        if saved and len(saved["param_groups"][0]["params"]) == len(trained):
            optimiser.load_state_dict(saved)
    crops = photos.Crops(known_materials, s.crop, s.seed + 1 + start)
    smooth = 0.05

    def save(step: int) -> None:
        state = {
            "codec": codec.state_dict(),
            "average": average.weights,
            "optimiser": optimiser.state_dict(),
            "step": step,
        }
        training.save_checkpoint(checkpoint, state)
        write_sheet(codec, known_materials[::29], run / f"sheet_{step:06d}.png")

    step = start - 1
    for step, bar in training.step_range(start, s.steps, minutes, quiet):
        pixels, known = crops.batch(s.batch)
        pixels = pixels.to(where, memory_format=torch.channels_last)
        with training.mixed_precision(where):
            loss, error = loss_of(codec, pixels, known.to(where), s)
        training.step_down(loss, optimiser, s.rate * training.cosine(step, s.steps), largest=1.0)
        average.update(codec)
        smooth = 0.98 * smooth + 0.02 * float(error)
        bar.set_postfix(albedo=f"{smooth:.4f}", refresh=False)
        if (step + 1) % 500 == 0:
            save(step + 1)
    save(step + 1)


def write_sheet(codec: Codec, shown: list[photos.Material], path: Path) -> None:
    """Photo | decoded albedo | known normal | decoded normal, for a few materials."""
    where = next(codec.parameters()).device
    rows = []
    for material in shown:
        pixels, known = tensors(material.halved())
        pixels = pixels[:, :, :256, :256].to(where)
        with torch.no_grad():
            made = codec.decoder(codec.encoder(fill(pixels, known.to(where)), known.to(where))[0])
        cells = []
        for planes in (pixels, made):
            array = planes[0].cpu().numpy().transpose(1, 2, 0)
            cells += [array[..., :3], np.concatenate([array[..., 3:5], array[..., 5:6]], -1)]
        rows.append([np.pad(c, ((0, 256 - c.shape[0]), (0, 256 - c.shape[1]), (0, 0))) for c in cells])
    training.save_sheet(path, rows)


def tensors(material: photos.Material) -> tuple[Tensor, Tensor]:
    """A whole material as a batch of one: `(1, 8, H, W)` in [0, 1] and `(1, 8, 1, 1)`."""
    height, width = (side // FOLD * FOLD for side in material.pixels.shape[1:])
    pixels = torch.from_numpy(material.pixels[:, :height, :width]).float()[None] / 255
    return pixels, torch.from_numpy(material.known).float()[None, :, None, None]


def load_average(run: Path) -> Codec:
    """The averaged codec of a run (or of the weights that the repository keeps), ready to use."""
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    codec = Codec(settings["width"])
    codec.load_state_dict({k: v.float() for k, v in training.load_checkpoint(run / "checkpoint.pt")["average"].items()})
    return codec.eval()


def angles(made: Tensor, true: Tensor) -> Tensor:
    """Angle in degrees between encoded normals given by their x and y, (…, 2, H, W) -> (…, H, W)."""

    def unit(xy: Tensor) -> Tensor:
        xy = xy * 2 - 1
        z = (1 - (xy**2).sum(-3, keepdim=True)).clamp_min(1e-4).sqrt()
        return F.normalize(torch.cat([xy, z], -3), dim=-3)

    return torch.rad2deg(torch.acos((unit(made) * unit(true)).sum(-3).clamp(-1, 1)))


@torch.no_grad()
def judge(codec: Codec, held_out: list[photos.Material]) -> dict[str, float]:
    """PSNR of the albedo in dB and mean angle of the normals in degrees, means over materials never trained on."""
    decibels, degrees = [], []
    for material in held_out:
        pixels, known = tensors(material)
        made = codec.decoder(codec.encoder(fill(pixels, known), known)[0]).clamp(0, 1)
        decibels.append(-10 * math.log10(float(F.mse_loss(made[:, :3], pixels[:, :3]))))
        if material.known[3]:
            degrees.append(float(angles(made[:, 3:5], pixels[:, 3:5]).mean()))
    figures = {"albedo_psnr_db": decibels, "normal_angle_deg": degrees}
    return {name: float(np.mean(values)) for name, values in figures.items() if values}


def load_held_out(data: Path, run: Path, longest: int) -> list[photos.Material]:
    """The materials that a run never saw."""
    names = set(json.loads((run / "held_out.json").read_text(encoding="utf-8")))
    return [photos.load(f, longest) for f in photos.find_materials(data) if f.name in names]


class Graph(nn.Module):
    """What is exported: both halves in one graph, their halos cropped off."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.encoder, self.decoder = codec.encoder, codec.decoder

    def forward(self, planes: Tensor, known: Tensor, latent: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 8, H, W), (1, 8, 1, 1), (1, 16, h, w), with halo -> encoded and decoded without."""
        cut = ENCODER_HALO
        encoded = self.encoder(planes, known)[0][:, :, cut:-cut, cut:-cut]
        cut = DECODER_HALO * FOLD
        return encoded, self.decoder(latent)[:, :, cut:-cut, cut:-cut]


AXES = {
    "planes": {2: "H", 3: "W"},
    "latent": {2: "h", 3: "w"},
    "encoded": {2: "eh", 3: "ew"},
    "decoded": {2: "DH", 3: "DW"},
}
OUTPUTS = ("encoded", "decoded")


def samples() -> list[dict[str, Tensor]]:
    """Random inputs of the graph, of two sizes."""
    made = []
    for height, width in ((20, 26), (31, 17)):
        random = torch.Generator().manual_seed(height)
        planes = torch.rand(1, PLANES, height * FOLD, width * FOLD, generator=random)
        latent = torch.randn(1, LATENT, height, width, generator=random)
        made.append({"planes": planes, "known": torch.ones(1, PLANES, 1, 1), "latent": latent})
    return made


def export(run: Path, data: Path, out: Path) -> None:
    """Write the ONNX model of a run, proven equal to PyTorch at two sizes, with its figures on held-out materials."""
    codec = load_average(run)
    settings = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    graph = Graph(codec).eval()
    model = onnx_model.halve_weights(onnx_model.export_graph(graph, samples(), OUTPUTS, AXES))
    figures = judge(codec, load_held_out(data, run, 512))
    figures["largest_rounding_difference"] = max(onnx_model.compare(graph, model, feeds) for feeds in samples())
    trained = training.load_checkpoint(run / "checkpoint.pt")["step"]
    card = Card(
        family="vae",
        name="codec",
        maps=tuple(CHANNELS),
        size=SizeRule(multiple=FOLD, minimum=16, halo=DECODER_HALO * FOLD),
        licence="CC0-1.0",
        data="CC0 1.0 photo-based materials of Poly Haven, ambientCG and 3dtextures.me; every seventh kept out",
        precision="float16",
        figures=figures,
        training={
            "script": "export/vae.py",
            "settings": {**settings, "data": Path(settings["data"]).name},
            "seed": settings["seed"],
            "steps": trained,
        },
        settings={"fold": FOLD, "channels": LATENT, "encoder_halo": ENCODER_HALO, "decoder_halo": DECODER_HALO},
    )
    onnx_model.save(model, card, out)


def renew(path: Path) -> None:
    """Write a codec's file anew, see `onnx_model.renew`."""
    width = int(onnx_model.card_in(onnx.load(path)).training["settings"]["width"])
    onnx_model.renew(path, Graph(Codec(width)), samples(), OUTPUTS, AXES)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training.add_settings(commands.add_parser("train"), Settings, "runs/codec")
    for name in ("judge", "export"):
        command = commands.add_parser(name)
        command.add_argument("--data", required=True, help="folder of materials")
        command.add_argument("--run", type=Path, default=Path("runs/codec"), help="folder of the run")
        if name == "export":
            command.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    onnx_model.add_renew(commands)
    options = parser.parse_args(arguments)
    if options.command == "train":
        settings = training.read_settings(options, Settings)
        if options.dry_run:
            print(settings)
        else:
            train(settings, options.run, options.minutes, options.quiet)
    elif options.command == "renew":
        renew(options.model)
    elif options.command == "judge":
        for longest in (512, 1024):
            figures = judge(load_average(options.run), load_held_out(Path(options.data), options.run, longest))
            print(f"longest side {longest}:", json.dumps(figures))
    else:
        export(options.run, Path(options.data), options.out)


if __name__ == "__main__":
    main()
