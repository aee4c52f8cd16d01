"""All benchmarks, as one report in Markdown, with the machine and the versions it was made with.

    python tests/bench/run.py --out BENCHMARKS.md                    # on an idle machine: a quarter of an hour
    python tests/bench/run.py --provider cuda --out BENCHMARKS-GPU.md
    python tests/bench/run.py --quick                                # does it work at all?

Times belong to one machine on one day; ratios within one report can be compared. Nothing fails by time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import alternatives
import families
import frameworks
import large
import stages
from measure import CHANNELS, SIDE, machine, plain_rate


def report(provider: str, quick: bool) -> str:
    """The whole report."""
    sizes = (256, 512) if quick else families.SIZES
    rate = plain_rate(provider)
    peak = f"one plain 3x3 convolution of {CHANNELS} channels at {SIDE}² here reaches {rate / 1e9:.0f} GFLOP/s"
    parts = [
        f"# Benchmarks\n\n`python tests/bench/run.py --provider {provider}`, on an idle machine. {machine(provider)}",
        f"## Families\n\nAs they ship ({families.HOW[provider]}). The peak: {peak}.\n",
        families.report(provider, sizes, "", precise=False),
    ]
    if provider == "cpu":
        parts += [
            "The same in float32 where int8 ships:\n",
            families.report(provider, sizes, "texture_gan", precise=True),
        ]
    parts += [
        "## The same network in PyTorch\n\nMilliseconds for what the family runs at a time for a picture of this size, "
        "and how many times ours.\n",
        frameworks.report(provider, 256 if quick else 1024, ""),
    ]
    if provider == "cpu":
        parts += [
            "## What people use instead\n",
            alternatives.report(256 if quick else 1024),
            "## From click to material\n",
            stages.report((256, 512) if quick else (1024, 2048)),
        ]
    parts += ["## Large images\n", large.report(provider, (512,) if quick else (4096, 8192))]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--out", type=Path, help="file to write (printed)")
    options = parser.parse_args()
    text = report(options.provider, options.quick)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
