"""Train and export the style network: an encoder of pictures, and a decoder that paints from swapped patches.

    python -m export.style train --data DIR --run runs/style               # resumes if the folder has a checkpoint
    python -m export.style judge --data DIR --run runs/style               # figures on the held-out materials
    python -m export.style export --data DIR --run runs/style --out core/models/style.onnx

Stylisation itself (core/families/style.py) swaps patches of the content's features for the nearest ones of the style
(Chen and Schmidt 2016, "Fast Patch-based Style Transfer of Arbitrary Style"). What it hands to the decoder is no
photo: neighbouring patches disagree. The decoder learns to paint over that from pictures whose answer is known, since
one crop of a photo is rebuilt from the patches of another crop: an error in pixels keeps it faithful, a patch
discriminator (hinge loss, spectral norm) keeps it sharp.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from core.card import Card, SizeRule
from core.patches import DEPTH, SIDE
from export import materials as photos
from export import onnx_model, texture_gan, training, vae

FOLD = 4  # pixels a cell of the features covers on each side
FEATURES = 24  # channels of a cell
ENCODER_HALO = 4  # cells around a tile that influence it
DECODER_HALO = 6
KEYS_IN_TRAINING = 600  # patches of the other crop that may be taken


@dataclass(frozen=True)
class Settings:
    """What a run is made of; saved beside its checkpoint."""

    data: str  # folder of materials
    longest: int = 512  # photos are reduced to this many pixels on their longer side
    encoder_width: int = 64  # channels of the hidden layers
    decoder_width: int = 80
    judge_width: int = 32  # channels of the discriminator's first layer
    crop: int = 128  # pixels
    batch: int = 8  # half of it is decoded from its own features, half from another crop's patches
    steps: int = 6000
    rate: float = 1e-3  # Adam
    judge_rate: float = 5e-4
    recolour: float = 0.5  # chance that the colours of a crop are changed: styles come in every colour
    adversary: float = 0.8  # pull of the adversarial loss, measured against the error's
    adversary_from: int = 1000  # step at which the discriminator joins
    seed: int = 1


class Encoder(nn.Module):
    """Pictures -> features whose distance is nearly that of the pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3 * FOLD**2, width, 3, padding=1)
        self.block = vae.Block(width)
        self.leave = nn.Conv2d(width, FEATURES, 3, padding=1)
        self.linear = nn.Conv2d(3 * FOLD**2, FEATURES, 1)
        self.register_buffer("scale", torch.ones(1, FEATURES, 1, 1))
        self.scale: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) sRGB-encoded in [0, 1] -> (B, 24, H/4, W/4)."""
        folded = F.pixel_unshuffle(pixels * 2 - 1, FOLD)
        hidden = self.block(F.leaky_relu(self.enter(folded), 0.1))
        return (self.linear(folded) + self.leave(hidden)) * self.scale


class Decoder(nn.Module):
    """Voted and central features of swapped patches -> pictures."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(2 * FEATURES, width, 3, padding=1)
        self.blocks = nn.Sequential(vae.Block(width), vae.Block(width))
        self.leave = nn.Conv2d(width, 3 * FOLD**2, 3, padding=1)
        self.linear = nn.Conv2d(FEATURES, 3 * FOLD**2, 1)
        self.register_buffer("scale", torch.ones(1, FEATURES, 1, 1))
        self.scale: Tensor

    def forward(self, voted: Tensor, central: Tensor) -> Tensor:
        """Twice (B, 24, h, w) -> (B, 3, 4h, 4w), not clipped.

        `central` has of every patch its middle cell, `voted` the mean of what all patches say of a cell.
        """
        central, voted = central / self.scale, voted / self.scale
        hidden = self.blocks(F.leaky_relu(self.enter(torch.cat([central, central - voted], 1)), 0.1))
        return F.pixel_shuffle(self.linear(central) + self.leave(hidden), FOLD) * 0.5 + 0.5


class Discriminator(nn.Module):
    """Picture -> how real each patch of about 50 pixels looks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [(12, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 1), (2 * width, 2 * width, 2)]
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(i, o, 3, stride, 1)) for i, o, stride in sizes)
        self.leave = spectral_norm(nn.Conv2d(2 * width, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, H/8, W/8)."""
        hidden = F.pixel_unshuffle(pixels * 2 - 1, 2)
        for layer in self.layers:
            # The gain makes up for what spectral norm and the leaky half take away.
            hidden = 1.6 * F.leaky_relu(layer(hidden), 0.2)
        return self.leave(hidden)


class Style(nn.Module):
    """All that is trained."""

    def __init__(self, s: Settings) -> None:
        super().__init__()
        self.encoder = Encoder(s.encoder_width)
        self.decoder = Decoder(s.decoder_width)
        self.discriminator = Discriminator(s.judge_width)

    @torch.no_grad()
    def start_linear(self, pixels: Tensor) -> None:
        """Begin as the principal components of 4x4 patches (see `vae.Codec.start_linear`).

        The scale gives each component the size that it has in the pixels.
        """
        cells = F.pixel_unshuffle(pixels * 2 - 1, FOLD).movedim(1, -1).reshape(-1, 3 * FOLD**2)
        training.start_linear(self.encoder.linear, self.decoder.linear, cells, torch.ones(cells.shape[1]))
        training.silence(self.encoder.leave, self.decoder.leave)
        scale = self.decoder.linear.weight.flatten(1).norm(dim=0)[None, :, None, None]
        self.encoder.scale.copy_(scale)
        self.decoder.scale.copy_(scale)


class Pictures:
    """Endless pairs of crops of the same photo, at three resolutions."""

    def __init__(self, materials: Sequence[photos.Material], s: Settings, seed: int) -> None:
        halves = [m.halved() for m in materials]
        self.scales = [list(materials), halves, [m.halved() for m in halves]]
        self.scales = [[m for m in scale if min(m.pixels.shape[1:]) >= s.crop] for scale in self.scales]
        self.scales = [scale for scale in self.scales if scale]
        if not self.scales:
            raise ValueError(
                f"No photo is as large as a crop of {s.crop} pixels; give larger photos or a smaller crop."
            )
        self.size, self.recolour = s.crop, s.recolour
        self.random = np.random.default_rng(seed)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Twice (count, 3, size, size) in [0, 1]: crops, and other crops of the same photos in the same colours."""
        pairs = []
        for _ in range(count):
            scale = self.scales[self.random.integers(len(self.scales))]
            material = scale[self.random.integers(len(scale))]
            crops = [photos.random_crop(material, self.size, self.random)[:3] for _ in range(2)]
            pair: NDArray[np.float32] = np.stack(crops).astype(np.float32) / np.float32(255)
            if self.random.random() < self.recolour:
                pair = recoloured(pair, self.random)
            pairs.append(torch.from_numpy(np.ascontiguousarray(pair)))
        both = torch.stack(pairs, 1)
        return both[0], both[1]


def recoloured(pair: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """(2, 3, H, W) with its channels in another order, other contrasts, and perhaps inverted."""
    mean = pair.mean((0, 2, 3), keepdims=True)
    gain = random.uniform(0.7, 2.0, (1, 3, 1, 1)) * random.choice([-1, 1])
    shift = random.uniform(0.15, 0.85, (1, 3, 1, 1))
    changed = (pair - mean)[:, random.permutation(3)] * gain + shift
    return np.clip(changed, 0, 1).astype(np.float32)


def patches_of(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C*9, h*w), zeros around."""
    return F.unfold(features, SIDE, padding=SIDE // 2)


@torch.no_grad()
def swap(features: Tensor, others: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """(voted, central) features like `features` (B, C, h, w), rebuilt from the patches of `others`.

    `noise` (B, 1, 1, 1) blurs the choice, so that patches disagree as they do when content and style are strangers.
    """
    batch, channels, height, width = features.shape
    spread = features.std((2, 3), keepdim=True)
    wanted = patches_of(features + noise * spread * torch.randn_like(features))
    inner = F.unfold(others, SIDE)
    keys = inner[:, :, torch.randperm(inner.shape[2], device=inner.device)[:KEYS_IN_TRAINING]]
    likeness = wanted.transpose(1, 2) @ keys - (keys**2).sum(1, keepdim=True) / 2
    chosen = likeness.argmax(2)[:, None].expand(-1, keys.shape[1], -1)
    taken = keys.gather(2, chosen)
    voted = F.fold(taken, (height, width), SIDE, padding=SIDE // 2)
    voted = voted / F.fold(torch.ones_like(taken), (height, width), SIDE, padding=SIDE // 2)
    central = taken.reshape(batch, channels, SIDE**2, height, width)[:, :, SIDE**2 // 2]
    return voted, central


def crop(x: Tensor) -> Tensor:
    """Cut the border of a training crop, which saw the zeros around it, off."""
    cut = 2 * FOLD
    return x[:, :, cut:-cut, cut:-cut]


def train(s: Settings, run: Path, minutes: float | None, quiet: bool) -> None:
    """Train until the steps or the minutes are used up; go on from the checkpoint in `run` if there is one."""
    where = training.device()
    torch.manual_seed(s.seed)
    files = photos.find_materials(Path(s.data))
    wanted, held_out = photos.split([f.name for f in files])
    training.save_settings(run, s)
    (run / "held_out.json").write_text(json.dumps(held_out, indent=1) + "\n")
    loaded = [photos.load(f, s.longest) for f in files if f.name in wanted]
    style = Style(s)
    style.start_linear(Pictures(loaded, s, s.seed).batch(400)[0])
    training.to_device(style, where)
    made_by = [*style.encoder.parameters(), *style.decoder.parameters()]
    optimisers = (
        torch.optim.Adam(made_by, s.rate, betas=(0.5, 0.99)),
        torch.optim.Adam(style.discriminator.parameters(), s.judge_rate, betas=(0.5, 0.99)),
    )
    average = training.Average(style, 0.998)
    checkpoint = run / "checkpoint.pt"
    start = 0
    if checkpoint.exists():
        state = training.load_checkpoint(checkpoint)
        style.load_state_dict(state["style"])
        start = state["step"]
        average.resume(state["average"], start)
        for optimiser, saved in zip(optimisers, state.get("optimisers", []), strict=False):
            optimiser.load_state_dict(saved)
    torch.manual_seed(s.seed + 1 + start)
    pictures = Pictures(loaded, s, s.seed + 1 + start)

    def save(step: int) -> None:
        state = {
            "style": style.state_dict(),
            "average": average.weights,
            "optimisers": [o.state_dict() for o in optimisers],
            "step": step,
        }
        training.save_checkpoint(checkpoint, state)
        write_sheet(s, average, loaded[:: max(1, len(loaded) // 6)], run / f"sheet_{step:06d}.png")

    step, shown = start - 1, {"own": 0.1, "swapped": 0.1, "real": 0.0, "fake": 0.0}
    for step, bar in training.step_range(start, s.steps, minutes, quiet):
        slower = training.cosine(step, s.steps)
        pixels, others = (x.to(where, memory_format=torch.channels_last) for x in pictures.batch(s.batch))
        adversarial = step >= s.adversary_from
        with training.mixed_precision(where):
            features = style.encoder(pixels)
            half = s.batch // 2
            noise = torch.rand(s.batch - half, 1, 1, 1, device=where)
            strange = style.encoder(others[half:]).detach()
            swapped = swap(features[half:].detach(), strange, noise)
            voted, central = (torch.cat([features[:half], x]) for x in swapped)
            made = style.decoder(voted, central).float()
            difference = crop(made) - crop(pixels)
            own, from_others = vae.error_of(difference[:half]), vae.error_of(difference[half:])
            loss = own + 0.5 * from_others
            if adversarial:
                # Wrong pictures must not win by fooling a frozen judge: its weights get no gradient here.
                style.discriminator.requires_grad_(False)
                fooled = -style.discriminator(crop(made[half:])).mean()
                style.discriminator.requires_grad_(True)
                pull = texture_gan.balance(loss, fooled, style.decoder.leave.weight)
                loss = loss + s.adversary * pull * fooled
        training.step_down(loss, optimisers[0], s.rate * slower, largest=1.0)
        if adversarial:
            with training.mixed_precision(where):
                judged_real = style.discriminator(crop(others[half:]))
                judged_fake = style.discriminator(crop(made[half:].detach()))
                judge_loss = F.relu(1 - judged_real).mean() + F.relu(1 + judged_fake).mean()
            training.step_down(judge_loss, optimisers[1], s.judge_rate * slower)
            shown["real"] = 0.95 * shown["real"] + 0.05 * float(judged_real.detach().mean())
            shown["fake"] = 0.95 * shown["fake"] + 0.05 * float(judged_fake.detach().mean())
        average.update(style)
        for name, error in (("own", difference[:half]), ("swapped", difference[half:])):
            shown[name] = 0.98 * shown[name] + 0.02 * float(error.detach().abs().mean())
        bar.set_postfix({k: f"{v:.4f}" for k, v in shown.items()}, refresh=False)
        if (step + 1) % 250 == 0:
            save(step + 1)
    save(step + 1)


@torch.no_grad()
def write_sheet(s: Settings, average: training.Average, shown: Sequence[photos.Material], path: Path) -> None:
    """Photo | decoded from its own features | from another crop's patches | the same without the network."""
    style = Style(s)
    style.load_state_dict({k: v.cpu() for k, v in average.weights.items()})
    pixels, others = Pictures(shown, s, 1).batch(8)
    features = style.encoder(pixels)
    voted, central = swap(features, style.encoder(others), torch.full((8, 1, 1, 1), 0.5))
    plain = F.pixel_shuffle(style.decoder.linear(central / style.decoder.scale), FOLD) * 0.5 + 0.5
    columns = [pixels, style.decoder(features, features), style.decoder(voted, central), plain]
    rows = [[column[i].permute(1, 2, 0).numpy() for column in columns] for i in range(8)]
    training.save_sheet(path, rows)


def load_average(run: Path) -> Style:
    """The averaged network of a run (or of the weights that the repository keeps), ready to use."""
    style = Style(read_run(run))
    weights = training.load_checkpoint(run / "checkpoint.pt")["average"]
    style.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    return style.eval()


def read_run(run: Path) -> Settings:
    """The settings that a run was started with."""
    return Settings(**json.loads((run / "settings.json").read_text(encoding="utf-8")))


@torch.no_grad()
def judge(style: Style, held_out: Sequence[photos.Material]) -> dict[str, float]:
    """PSNR in dB of photos decoded from their own features, mean over materials never trained on."""
    decibels = []
    for material in held_out:
        pixels = vae.tensors(material)[0][:, :3]
        features = style.encoder(pixels)
        made = style.decoder(features, features).clamp(0, 1)
        decibels.append(-10 * math.log10(float(F.mse_loss(made, pixels))))
    return {"reconstruction_psnr_db": float(np.mean(decibels))}


class Graph(nn.Module):
    """What is exported: encoder, search and decoder in one graph, their halos cropped off."""

    def __init__(self, style: Style) -> None:
        super().__init__()
        self.encoder, self.decoder = style.encoder, style.decoder

    def forward(
        self,
        pixels: Tensor,
        target: Tensor,
        projection: Tensor,
        keys: Tensor,
        penalty: Tensor,
        voted: Tensor,
        central: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As core/families/style.py says."""
        cut = ENCODER_HALO
        features = self.encoder(pixels)[:, :, cut:-cut, cut:-cut]
        projected = F.conv2d(target, projection)
        likeness = projected[0].permute(1, 2, 0) @ keys - penalty
        cut = DECODER_HALO * FOLD
        painted = self.decoder(voted, central)[:, :, cut:-cut, cut:-cut]
        return features, projected, likeness.argmax(2)[None], painted


def sample(height: int, width: int) -> dict[str, Tensor]:
    """Random input whose parts are all of about `height` x `width` cells."""
    random = torch.Generator().manual_seed(height)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    return {
        "pixels": torch.rand(1, 3, height * FOLD, width * FOLD, generator=random),
        "target": normal(1, FEATURES, height, width),
        "projection": normal(DEPTH, FEATURES, SIDE, SIDE) / 15,
        "keys": normal(DEPTH, 5 * width),
        "penalty": normal(5 * width),
        "voted": normal(1, FEATURES, height + 3, width),
        "central": normal(1, FEATURES, height + 3, width),
    }


AXES = {
    "pixels": {2: "H", 3: "W"},
    "target": {2: "th", 3: "tw"},
    "keys": {1: "n"},
    "penalty": {0: "n"},
    "voted": {2: "dh", 3: "dw"},
    "central": {2: "dh", 3: "dw"},
    "features": {2: "fh", 3: "fw"},
    "projected": {2: "ph", 3: "pw"},
    "nearest": {1: "ph", 2: "pw"},
    "painted": {2: "PH", 3: "PW"},
}
OUTPUTS = ("features", "projected", "nearest", "painted")


def card_of(name: str, **facts: Any) -> Card:
    """The card of a style network; `facts` are what only a finished run knows."""
    return Card(
        family="style",
        name=name,
        maps=("albedo", "normal", "height"),
        size=SizeRule(multiple=FOLD, minimum=32, halo=DECODER_HALO * FOLD),
        licence="CC0-1.0",
        settings={
            "fold": FOLD,
            "channels": FEATURES,
            "encoder_halo": ENCODER_HALO,
            "decoder_halo": DECODER_HALO,
        },
        **facts,
    )


def export(run: Path, data: Path, out: Path) -> None:
    """Write the ONNX model of a run, proven equal to PyTorch at two sizes, with its figures on held-out materials."""
    s = read_run(run)
    style = load_average(run)
    graph = Graph(style).eval()
    samples = [sample(20, 26), sample(31, 17)]
    model = onnx_model.halve_weights(onnx_model.export_graph(graph, samples, OUTPUTS, AXES))
    figures = judge(style, vae.load_held_out(data, run, 512))
    figures["largest_rounding_difference"] = max(onnx_model.compare(graph, model, feeds) for feeds in samples)
    steps = int(training.load_checkpoint(run / "checkpoint.pt")["step"])
    settings = {**asdict(s), "data": Path(s.data).name}
    card = card_of(
        "style",
        data="CC0 1.0 photo-based materials of Poly Haven, ambientCG and 3dtextures.me; every seventh kept out",
        precision="float16",
        figures=figures,
        training={"script": "export/style.py", "settings": settings, "seed": s.seed, "steps": steps},
    )
    onnx_model.save(model, card, out)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training.add_settings(commands.add_parser("train"), Settings, "runs/style")
    for name in ("judge", "export"):
        command = commands.add_parser(name)
        command.add_argument("--data", type=Path, required=True, help="folder of materials")
        command.add_argument("--run", type=Path, default=Path("runs/style"), help="folder of the run")
        if name == "export":
            command.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    options = parser.parse_args(arguments)
    if options.command == "export":
        export(options.run, options.data, options.out)
    elif options.command == "judge":
        print(json.dumps(judge(load_average(options.run), vae.load_held_out(options.data, options.run, 512))))
    else:
        settings = training.read_settings(options, Settings)
        if options.dry_run:
            print(settings)
        else:
            train(settings, options.run, options.minutes, options.quiet)


if __name__ == "__main__":
    main()
