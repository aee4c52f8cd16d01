"""Judge styles by eye: one sheet with the network's results beside two baselines.

    python -m export.style_sheet --run runs/style --model core/models/style.onnx --out sheets/style.png \\
        --content A.jpg B.jpg --style core/styles/mosaic.png PHOTO.jpg

A row for each pair: content, style, transfer of the colours' moments (the least that a style could be), the network at
strength 0.5 and 1, and pixels optimised for the same statistics, slowly (about as good as these features can be).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from core import families, images
from core.card import KEY, parse
from core.families import style as family
from core.library import Model
from core.maps import Array, Maps
from core.onnx_file import read_metadata
from core.patches import SIDE
from core.progress import finish
from core.sessions import Sessions
from core.transport import carry
from export import style as trainer
from export import training

LEVELS = 3  # resolutions of the optimisation, coarse first
TURNS = 60  # steps of Adam at each
CONTENT = 0.7  # weight of the content's target beside the nearest patches of the style


def moments(content: Array, style: Array) -> Array:
    """Content (H, W, 3) with the mean and covariance of the style's colours (Pitié and Kokaram 2007)."""
    return np.clip(carry(content, style), 0, 1)


def optimised(network: trainer.Style, content: Array, style: Array) -> Array:
    """Pixels (H, W, 3) whose patches are the style's and whose features are near the content's target.

    The energy of Li and Wand 2016, "Combining Markov Random Fields and Convolutional Neural Networks", on our features.
    """
    made: Tensor | None = None
    for depth in reversed(range(LEVELS)):
        scaled, other = (F.avg_pool2d(tensor(picture), 2**depth) for picture in (content, style))
        with torch.no_grad():
            target = torch.from_numpy(
                carry(rows(encode(network, scaled, "circular")), rows(encode(network, other, "reflect")))
            )
            target = target.permute(2, 0, 1)[None].float()
            keys = F.unfold(encode(network, other, "reflect"), SIDE)[0]
        start = scaled if made is None else F.interpolate(made, scale_factor=2, mode="bilinear")
        made = descend(network, start, target, keys)
    if made is None:
        raise ValueError("there is always a level")
    return made[0].permute(1, 2, 0).numpy()


def descend(network: trainer.Style, start: Tensor, target: Tensor, keys: Tensor) -> Tensor:
    """Pixels (1, 3, H, W) after TURNS steps from `start`; `target` (1, C, h, w), `keys` (C*9, n)."""
    pixels = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([pixels], 0.02)
    penalty = (keys**2).sum(0, keepdim=True) / 2
    for _ in range(TURNS):
        features = encode(network, pixels, "circular")
        found = F.unfold(F.pad(features, (SIDE // 2,) * 4, mode="circular"), SIDE)[0]
        nearest = (found.detach().T @ keys - penalty).argmax(1)
        loss = ((found - keys[:, nearest]) ** 2).sum(0).mean() / SIDE**2
        loss = loss + CONTENT * ((features - target) ** 2).sum(1).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    return pixels.detach()


def encode(network: trainer.Style, pixels: Tensor, edges: str) -> Tensor:
    """Features (1, C, h, w) of a picture (1, 3, H, W) that goes on at its edges as `edges` says."""
    cut = trainer.ENCODER_HALO
    return network.encoder(F.pad(pixels, (cut * trainer.FOLD,) * 4, mode=edges))[:, :, cut:-cut, cut:-cut]


def tensor(picture: Array) -> Tensor:
    """(H, W, 3) to (1, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]


def rows(features: Tensor) -> Array:
    """(1, C, h, w) to (h, w, C)."""
    made: Array = features[0].permute(1, 2, 0).numpy()
    return made


def square(path: Path, size: int) -> Array:
    """The middle of a picture, (size, size, 3)."""
    picture = np.clip(images.read(path), 0, 1)
    picture = np.repeat(picture, 3, 2) if picture.shape[2] == 1 else picture
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    middle = tensor(picture[top : top + side, left : left + side])
    return rows(F.interpolate(middle, (size, size), mode="area"))


def stylized(model: Model, content: Array, style: Array, strength: float) -> Array:
    """The albedo that the shipped way makes."""
    session = Sessions("cpu").open(model, families.load("style", model.path.name))
    steps = family.stylize(model.card, session, Maps({"albedo": content}), style, family.Options(strength))
    made: Array = finish(steps)["albedo"]
    return made


def row(model: Model, network: trainer.Style, content: Array, style: Array) -> list[NDArray[np.float32]]:
    """One line of the sheet."""
    by_network = [stylized(model, content, style, strength) for strength in (0.5, 1.0)]
    return [content, style, moments(content, style), *by_network, optimised(network, content, style)]


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run, for the optimisation")
    parser.add_argument("--model", type=Path, required=True, help="ONNX file")
    parser.add_argument("--content", type=Path, nargs="+", required=True, help="pictures that tile")
    parser.add_argument("--style", type=Path, nargs="+", required=True, help="as many pictures")
    parser.add_argument("--size", type=int, default=256, help="pixels of each picture (256)")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    options = parser.parse_args(arguments)
    model = Model(options.model, parse(read_metadata(options.model)[KEY], options.model.name))
    network = trainer.load_average(options.run).requires_grad_(False)
    pairs = zip(options.content, options.style, strict=True)
    lines = [row(model, network, *(square(path, options.size) for path in pair)) for pair in pairs]
    training.save_sheet(options.out, lines)


if __name__ == "__main__":
    main()
