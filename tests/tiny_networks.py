"""Untrained networks of the latent families, exported as the shipped ones are; needs PyTorch."""

from __future__ import annotations

from pathlib import Path

import torch

from core import families
from core.card import Card, SizeRule
from core.families import Runner
from core.library import Library
from core.maps import CHANNELS
from core.sessions import Sessions
from export import onnx_model, recurrent, vae

Opened = tuple[Card, Runner]


def opened(path: Path) -> Opened:
    """A model's card and its open session on the CPU."""
    model = next(m for m in Library([path.parent]).models() if m.path == path)
    return model.card, Sessions("cpu").open(model, families.load(model.card.family, "the test"))


def codec_card(**settings: object) -> Card:
    named = {"fold": vae.FOLD, "channels": vae.LATENT}
    named |= {"encoder_halo": vae.ENCODER_HALO, "decoder_halo": vae.DECODER_HALO}
    size = SizeRule(vae.FOLD, 16, vae.DECODER_HALO * vae.FOLD)
    return Card("vae", "codec", tuple(CHANNELS), size, "CC0-1.0", "none", settings=named | settings)


def tiny_codec(folder: Path) -> Opened:
    """A codec of random weights."""
    torch.manual_seed(1)
    samples = []
    for height, width in ((13, 15), (17, 14)):
        planes = torch.rand(1, 8, height * vae.FOLD, width * vae.FOLD)
        latent = torch.randn(1, vae.LATENT, height, width)
        samples.append({"planes": planes, "known": torch.ones(1, 8, 1, 1), "latent": latent})
    axes = {"planes": {2: "H", 3: "W"}, "latent": {2: "h", 3: "w"}}
    axes |= {"encoded": {2: "eh", 3: "ew"}, "decoded": {2: "DH", 3: "DW"}}
    model = onnx_model.export_graph(vae.Graph(vae.Codec(width=24)), samples, ["encoded", "decoded"], axes)
    onnx_model.save(model, codec_card(), folder / "codec.onnx")
    return opened(folder / "codec.onnx")


def tiny_cell(folder: Path, motion: str) -> Opened:
    """A recurrent network of random weights that forgets as a trained one does."""
    torch.manual_seed(2)
    cell = recurrent.make_cell(motion, 8)
    for net in cell.modules():
        if isinstance(net, recurrent.Net):
            torch.nn.init.normal_(net.leave.weight, std=0.05)
    if isinstance(cell, recurrent.Shimmer):
        cell.swing.weight.data *= 0.3
    settings = recurrent.Settings("data", "codec", motion, width=8)
    recurrent.write_model(cell, settings, 0, {}, folder / f"{motion}.onnx")
    return opened(folder / f"{motion}.onnx")
