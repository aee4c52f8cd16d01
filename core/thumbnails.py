"""Thumbnails: a ball of each material, in a folder beside its model file that has the file's name without suffix."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

from . import images, pipeline, progress
from .library import Library, Model
from .pipeline import Progress
from .recipe import from_dict
from .sessions import Sessions

SIDE = 160  # pixels of a thumbnail
_SHOWN = 512  # pixels of the maps on it
_REPEATS = 1.2  # of the maps across the ball's front
_SEED = 7


def shipped(model: Model, material: str) -> Path:
    """Where the thumbnail of a material lies that came with the model; it may not be there."""
    return model.path.with_suffix("") / f"{material}.png"


def draw(targets: Iterable[tuple[str, Path]], library: Library, sessions: Sessions) -> Generator[Progress, None, None]:
    """Make the thumbnails of some materials, each at its path; errors as those of `pipeline.run`, and `OutputError`."""
    from . import preview  # Blender, which lists thumbnails, starts faster without it

    targets = list(targets)
    for done, (material, path) in enumerate(targets):
        yield Progress(material, done / len(targets))
        recipe = from_dict({"source": {"material": material, "seed": _SEED, "size": _SHOWN}})
        maps = progress.finish(pipeline.run(recipe, library, sessions)).maps
        images.write(path, images.Picture(preview.ball(maps, SIDE, _REPEATS)))
