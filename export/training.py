"""What every trainer shares: devices, saved settings, resumable checkpoints, averaged weights, sample sheets.

python -m export.training runs/gan export/weights/atlas      # keep what is needed to go on, in half precision
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

Network = TypeVar("Network", bound=nn.Module)
Settings = TypeVar("Settings")


def device() -> torch.device:
    """CUDA where there is one, else every CPU core that this process may use."""
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        return torch.device("cuda")
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    return torch.device("cpu")


def mixed_precision(where: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 arithmetic on a GPU; plain float32 on a CPU, where bfloat16 is emulated and slow."""
    return torch.autocast("cuda", torch.bfloat16) if where.type == "cuda" else nullcontext()


def to_device(network: Network, where: torch.device) -> Network:
    """Move a network, its weights in channels-last order: half again as fast for small convolutions on a CPU."""
    network.to(where)
    for weight in network.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return network


@torch.no_grad()
def start_linear(enter: nn.Conv2d, leave: nn.Conv2d, samples: Tensor, weight: Tensor) -> None:
    """Set two 1x1 convolutions to the principal components of samples (n, C): the best linear autoencoder.

    `weight` (C,) says how much an error in each channel counts. Codes have unit variance. A network added to it
    that starts at zero (see `silence`) has only what a linear map cannot do left to learn.
    """
    centre = samples.mean(0)
    variance, directions = torch.linalg.eigh(torch.cov(((samples - centre) * weight).T))
    # Flat photos have directions in which nothing varies; what is not there must not be blown up.
    scale = variance.clamp_min(1e-6 * float(variance.max()) + 1e-12)[-enter.out_channels :].sqrt()
    directions = directions[:, -enter.out_channels :]
    inwards, outwards = (directions * weight[:, None] / scale).T, directions * scale / weight[:, None]
    enter.weight.copy_(inwards[:, :, None, None])
    leave.weight.copy_(outwards[:, :, None, None])
    if enter.bias is not None and leave.bias is not None:
        enter.bias.copy_(-inwards @ centre)
        leave.bias.copy_(centre)


def silence(*layers: nn.Conv2d) -> None:
    """Set layers to zero."""
    for layer in layers:
        for weight in layer.parameters():
            nn.init.zeros_(weight)


def step_down(loss: Tensor, optimiser: torch.optim.Optimizer, rate: float, largest: float | None = None) -> None:
    """One step of an optimiser at a learning rate; gradients are cut to the norm `largest`."""
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    for group in optimiser.param_groups:
        group["lr"] = rate
        if largest is not None:
            nn.utils.clip_grad_norm_(group["params"], largest)
    optimiser.step()


def add_settings(command: argparse.ArgumentParser, settings: type[Any], run: str) -> None:
    """Give a `train` command an option for each field of its settings, and what all trainers know."""
    hints = get_type_hints(settings)
    for setting in fields(settings):
        name = f"--{setting.name.replace('_', '-')}"
        if setting.default is MISSING:
            command.add_argument(name, type=hints[setting.name], required=True)
        else:
            command.add_argument(name, type=hints[setting.name], default=setting.default, help=f"({setting.default})")
    command.add_argument("--run", type=Path, default=Path(run), help=f"folder of the run ({run})")
    command.add_argument("--minutes", type=float, help="stop after this long, ready to be resumed")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.add_argument("--dry-run", action="store_true", help="print the settings and stop")


def read_settings(options: argparse.Namespace, settings: type[Settings]) -> Settings:
    """The settings that `add_settings` asked for."""
    return settings(**{setting.name: getattr(options, setting.name) for setting in fields(settings)})  # type: ignore[arg-type]


def save_settings(run: Path, settings: Any) -> None:
    """Write the resolved settings beside the checkpoint, so that a run can be told from its folder."""
    run.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(settings), indent=1, default=str)
    (run / "settings.json").write_text(text + "\n", encoding="utf-8")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain numbers; a run killed half way leaves the previous checkpoint whole."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as data only (no pickled code runs)."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def half(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict in half precision: what the repository keeps to go on training from."""
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def keep(run: Path, out: Path) -> None:
    """Copy what is needed to go on training: settings, held-out names, and all weights in half precision."""
    out.mkdir(parents=True, exist_ok=True)
    state = load_checkpoint(run / "checkpoint.pt")
    kept = {k: half(v) if isinstance(v, dict) else v for k, v in state.items() if not k.startswith("optimiser")}
    save_checkpoint(out / "checkpoint.pt", kept)
    for path in run.glob("*.json"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(facts, dict):  # paths are of this machine, their last names are what was meant
            facts |= {key: Path(facts[key]).name for key in ("data", "codec", "atlas") if facts.get(key)}
        (out / path.name).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


class Average:
    """Exponential moving average of a network's weights (Polyak averaging; used for export).

    The decay warms up so that the first, bad weights are forgotten soon.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {k: v.detach().clone() for k, v in network.state_dict().items()}

    def resume(self, weights: dict[str, Tensor], steps: int) -> None:
        """Go on from saved weights, in whatever precision they were kept."""
        self.steps = steps
        for key, value in weights.items():
            self.weights[key].copy_(value)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move a little towards the network as it is now."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 20))
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                self.weights[key].lerp_(value, 1 - decay)
            else:
                self.weights[key].copy_(value)


def cosine(step: int, steps: int, warm_up: int = 100) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to 2 %."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def step_range(start: int, steps: int, minutes: float | None, quiet: bool) -> Iterator[tuple[int, tqdm[int]]]:
    """Count steps with a progress bar, until `steps` are done or `minutes` have passed."""
    began = time.monotonic()
    with tqdm(range(start, steps), initial=start, total=steps, disable=quiet, mininterval=5) as bar:
        for step in bar:
            if minutes is not None and time.monotonic() - began > minutes * 60:
                return
            yield step, bar


def save_sheet(path: Path, rows: list[list[NDArray[np.floating[Any]]]]) -> None:
    """Write a grid of `(H, W, 3)` pictures in [0, 1], all of one size, as one image."""
    lines = [np.concatenate([np.clip(cell, 0, 1) for cell in row], axis=1) for row in rows]
    pixels = np.rint(np.concatenate(lines, axis=0) * 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=keep.__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    keep(**vars(parser.parse_args()))
