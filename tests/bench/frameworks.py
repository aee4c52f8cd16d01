"""The same network, the same input: ONNX Runtime as we run it, and PyTorch eager, channels last and compiled.

    python tests/bench/frameworks.py                                 # CPU, float32
    python tests/bench/frameworks.py --provider cuda                 # GPU, half precision where the card allows it
    python tests/bench/frameworks.py --only upscale --side 256

Each network runs what its family hands it for a picture of that side. On a GPU all are timed without copies to and
from it. Each runtime has a process of its own, and the processor to itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from families import WORKS
from measure import ROOT, Timed, alone, median_seconds, opened, table

from core.machine import cores
from core.progress import finish

WEIGHTS = ROOT / "export" / "weights"
RUNTIMES = ("onnxruntime", "int8", "eager", "channels last", "compiled")
NETWORKS = {"texture_gan": ("cells", "share", "noise"), "material_maps": ("pixels",), "upscale": ("pixels",)} | {
    "restore": ("pixels", "hole", "noise")
}


def texture_gan() -> Any:
    """The graph of the atlas with a memory of zeros: its values take no time."""
    import torch

    from export import texture_gan, training, vae

    raw = json.loads((WEIGHTS / "atlas" / "settings.json").read_text(encoding="utf-8"))
    settings = texture_gan.Settings(**{k: v for k, v in raw.items() if k in texture_gan.Settings.__dataclass_fields__})
    weights = training.load_checkpoint(WEIGHTS / "atlas" / "checkpoint.pt")["average"]
    gan = texture_gan.Gan(settings, len(weights["discriminator.material.weight"]))
    gan.load_state_dict({name: w.float() if w.is_floating_point() else w for name, w in weights.items()})
    bank = SimpleNamespace(
        entries=[SimpleNamespace(ship=True)],
        latents=[torch.zeros(vae.LATENT, 2, 2)],
        seamless=[True],
        mean=torch.zeros(vae.LATENT, 1, 1),
        scale=torch.ones(vae.LATENT, 1, 1),
    )
    return texture_gan.Graph(gan.eval(), vae.load_average(WEIGHTS / "codec"), bank)


def module(family: str) -> Any:
    """The graph of a family in PyTorch, with the weights that ship."""
    if family == "texture_gan":
        return texture_gan()
    from importlib import import_module

    trainer = import_module(f"export.{family}")
    return trainer.Graph(trainer.load_average(WEIGHTS / family))


def inputs(family: str, side: int) -> dict[str, np.ndarray]:
    """What the family hands its network for a picture of this side."""
    model, session = opened(family, "cpu", int8=False)
    runner = Timed(session)
    work = next(work for needed, work in WORKS.values() if needed == (family,))
    finish(work([(model.card, runner)], side))
    return next(iter(runner.feeds.values()))


def runtime(family: str, provider: str, int8: bool, feeds: dict[str, np.ndarray]) -> Callable[[], object]:
    _, session = opened(family, provider, int8=int8)
    if int8 and session.precision != "int8":
        raise SystemExit("none ships")
    run = session.prepared(feeds) if provider == "cuda" else lambda: session.run(feeds)
    return run


def torch(family: str, way: str, provider: str, feeds: dict[str, np.ndarray]) -> Callable[[], object]:
    import torch

    torch.set_num_threads(cores())
    graph = module(family).eval().to(provider)
    tensors = [torch.from_numpy(feeds[name]).to(provider) for name in NETWORKS[family]]
    if family == "texture_gan":
        tensors[0] = tensors[0] % 1  # rows of a memory that is not there
    if provider == "cuda":
        graph, tensors = graph.half(), [t.half() if t.is_floating_point() else t for t in tensors]
    if way != "eager":
        graph = graph.to(memory_format=torch.channels_last)
        tensors = [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors]
    if way == "compiled":
        graph = torch.compile(graph, mode="max-autotune" if provider == "cuda" else "default", dynamic=False)

    @torch.inference_mode()
    def run() -> None:
        graph(*tensors)
        if provider == "cuda":
            torch.cuda.synchronize()

    return run


def one(family: str, way: str, side: int, provider: str) -> dict[str, float]:
    """Milliseconds of one network in one runtime."""
    feeds = inputs(family, side)
    if way in ("onnxruntime", "int8"):
        run = runtime(family, provider, way == "int8", feeds)
    else:
        run = torch(family, way, provider, feeds)
    return {"milliseconds": 1000 * median_seconds(run, 9)}


def report(provider: str, side: int, only: str) -> str:
    """The table in Markdown: milliseconds, and how many times ours."""
    ways = [way for way in RUNTIMES if provider == "cpu" or way != "int8"]
    rows = []
    for family in NETWORKS:
        if only not in family:
            continue
        found = [alone("frameworks.py", "--one", family, way, "--side", side, "--provider", provider) for way in ways]
        ours = found[0]["milliseconds"]
        cells = [
            f"{each['milliseconds']:.1f} ms ({each['milliseconds'] / ours:.2f})"
            if "error" not in each
            else each["error"]
            for each in found
        ]
        rows.append([family, *cells])
    return table(["network", *ways], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, metavar=("FAMILY", "RUNTIME"))
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--only", default="", help="families whose name holds this")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one, options.side, options.provider)))
    else:
        print(report(options.provider, options.side, options.only))


if __name__ == "__main__":
    main()
