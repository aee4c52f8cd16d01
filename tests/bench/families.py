"""Each family at several sizes: milliseconds, share of the yardstick's rate, peak memory, cost for each pixel.

    python tests/bench/families.py                                    # the table
    python tests/bench/families.py --sizes 512 --only style           # a part of it
    python tests/bench/families.py --one material_maps 1024 --provider cuda    # one figure as JSON, in this process

The share is the network's: operations of its convolutions, by the time spent in it, over what one plain convolution
reaches. Few channels and everything that is no convolution bring it down; half of style's network is a matrix product.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from measure import (
    Timed,
    alone,
    device_gigabytes,
    material,
    median_seconds,
    opened,
    peak_gigabytes,
    picture,
    plain_rate,
    table,
)

from core import example
from core.card import Card
from core.families import Request, material_maps, recurrent, restore, style, texture_gan, upscale, vae
from core.maps import Maps
from core.progress import finish

SIZES = (512, 1024, 2048, 4096)
FRAMES = 24
LARGEST = 512  # pixels on a side, of what moves: longer than a minute tells no more

# Provider -> how models run on it.
HOW = {"cpu": "int8 where it ships, else float32", "cuda": "half precision where the card allows it, else float32"}

Work = Generator[Any, None, Any]
Parts = list[tuple[Card, Timed]]  # the opened models


def generate(parts: Parts, side: int) -> Work:
    card, runner = parts[0]
    return texture_gan.generate(card, runner, Request(card.materials[0].name, side, side, 1))


def maps(parts: Parts, side: int) -> Work:
    return material_maps.derive(*parts[0], picture(side), True)


def enlarge(parts: Parts, side: int) -> Work:
    return upscale.enlarge(*parts[0], Maps({"albedo": picture(side // 2)}), 2, True)


def clean(parts: Parts, side: int) -> Work:
    return restore.heal(*parts[0], picture(side), None, 0.5, True)


def draw(parts: Parts, side: int) -> Work:
    shown = material(side).only(["albedo", "normal", "height"])
    return style.stylize(*parts[0], shown, picture(512, seed=5), style.Options())


def code(parts: Parts, side: int) -> Work:
    yield 0.5
    return vae.decode(*parts[0], vae.encode(*parts[0], material(side)))


def move(parts: Parts, side: int) -> Work:
    yield from recurrent.animate(*parts[0], parts[1], material(side), FRAMES, 1)


def lay(parts: Parts, side: int) -> Work:
    return example.synthesize(Maps({"albedo": picture(512)}), side, side, 1)


# What is measured -> the families whose models it needs, and how it is done.
WORKS: dict[str, tuple[tuple[str, ...], Callable[[Parts, int], Work]]] = {
    "texture_gan: a whole set": (("texture_gan",), generate),
    "material_maps: a set from a picture": (("material_maps",), maps),
    "upscale: an albedo, to twice the size": (("upscale",), enlarge),
    "restore: noise out of a picture": (("restore",), clean),
    "style: a set redrawn": (("style",), draw),
    "vae: encoded and decoded": (("vae",), code),
    f"recurrent: {FRAMES} frames of all maps": (("recurrent", "vae"), move),
    "by example, from 512 pixels (no network)": ((), lay),
}


def one(name: str, side: int, provider: str, precise: bool) -> dict[str, float]:
    """Figures of one work at one size, in this process."""
    needed, work = WORKS[name]
    parts: Parts = []
    for family in needed:
        model, session = opened(family, provider, **({"int8": False} if precise else {}))
        parts.append((model.card, Timed(session)))
    before = device_gigabytes()
    seconds = median_seconds(lambda: finish(work(parts, side)))
    found = {"seconds": seconds, "peak": peak_gigabytes(), "device": device_gigabytes() - before}
    if parts:
        for _, runner in parts:
            runner.seconds, runner.shapes = 0.0, {}
        start = time.perf_counter()
        finish(work(parts, side))
        whole = time.perf_counter() - start
        network = sum(runner.seconds for _, runner in parts)
        count = sum(runner.operations() for _, runner in parts)
        found |= {"network": network / whole, "rate": count / network / plain_rate(provider)}
    return found


def cell(found: dict[str, Any], provider: str) -> str:
    """What the table says of one work at one size."""
    if "error" in found:
        return found["error"]
    words = [f"**{found['seconds'] * 1000:.0f} ms**"]
    if "rate" in found:
        words += [f"{found['network']:.0%} in the network", f"{found['rate']:.0%} of the peak"]
    words.append(f"{found['device' if provider == 'cuda' else 'peak']:.2f} GB")
    return ", ".join(words)


def report(provider: str, sizes: tuple[int, ...], only: str, precise: bool) -> str:
    """The tables in Markdown."""
    rows, costs = [], []
    for name in WORKS:
        if only not in name:
            continue
        within = [side for side in sizes if side <= LARGEST or "frames" not in name]
        blank = [""] * (len(sizes) - len(within))
        flags = ["--precise"] if precise else []
        found = [alone("families.py", "--one", name, side, "--provider", provider, *flags) for side in within]
        rows.append([name, *(cell(each, provider) for each in found), *blank])
        each = [
            f["seconds"] * 1e9 / side**2 if "seconds" in f else np.nan for f, side in zip(found, within, strict=True)
        ]
        costs.append([name, *(f"{cost:.0f}" for cost in each), *blank, f"{each[-1] / each[0]:.2f}"])
    head = [f"{side}²" for side in sizes]
    text = table(["work", *head], rows)
    text += "\nNanoseconds for each pixel; a cost that grows linearly with the pixels stays as it is:\n\n"
    return text + table(["work", *head, "last / first"], costs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, metavar=("WORK", "SIDE"))
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--only", default="", help="works whose name holds this")
    parser.add_argument("--precise", action="store_true", help="float32 where int8 would run")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one[0], int(options.one[1]), options.provider, options.precise)))
    else:
        print(report(options.provider, tuple(options.sizes), options.only, options.precise))


if __name__ == "__main__":
    main()
