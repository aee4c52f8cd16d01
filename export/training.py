"""What every trainer shares: devices, saved settings, resumable checkpoints, averaged weights, sample sheets."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from tqdm import tqdm


def device() -> torch.device:
    """CUDA where there is one, else every CPU core."""
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        return torch.device("cuda")
    torch.set_num_threads(os.cpu_count() or 1)
    return torch.device("cpu")


def mixed_precision(where: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 arithmetic on a GPU; plain float32 on a CPU, where bfloat16 is emulated and slow."""
    return torch.autocast("cuda", torch.bfloat16) if where.type == "cuda" else nullcontext()


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


class Average:
    """Exponential moving average of a network's weights (Polyak averaging; used for export).

    The decay warms up so that the first, bad weights are forgotten soon.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {k: v.detach().clone() for k, v in network.state_dict().items()}

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
