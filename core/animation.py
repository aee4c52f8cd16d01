"""Textures that move: from a recipe with an animation to its frames, and from frames to files."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import families, folders, images, pipeline
from .errors import InputError
from .families import recurrent
from .library import Library, Model
from .maps import Maps
from .pipeline import Progress, Result, Saved
from .recipe import Recipe
from .sessions import Sessions
from .steps import Animation

PREVIEW = 256  # pixels: side of the animated preview


@dataclass(frozen=True)
class Frame:
    """One moment of a sequence."""

    number: int  # from 0
    maps: Maps


Moments = Generator[Progress | Frame, None, Result]


def run(recipe: Recipe, library: Library, sessions: Sessions) -> Moments:
    """The frames of a recipe, one after another, with progress between; returns the `Result` of the still maps.

    The recipe is checked by this call itself; closing the generator cancels. Frames are not kept here: those of a
    large texture do not fit into memory together.
    """
    if recipe.animation is None:
        raise InputError("The recipe has no animation; give it an [animation] table with a 'motion'.")
    known = library.motions()
    if recipe.animation.motion not in known:
        there = ", ".join(sorted(known)) or "none, as no recurrent model is installed"
        raise InputError(f"There is no motion '{recipe.animation.motion}'; choose from {there}.")
    models = known[recipe.animation.motion], library.of_family("vae")
    pipeline.choose(recipe, library)
    _check_coat(recipe.animation, models[0], library)
    return _run(recipe, recipe.animation, models, library, sessions)


def _check_coat(animation: Animation, model: Model, library: Library) -> None:
    if animation.coat_path:
        folders.check(animation.coat_path)
    elif animation.coat:
        library.find(animation.coat)
    elif recurrent.wants_coat(model.card):
        raise InputError(f"'{animation.motion}' needs a second material that grows over the first; give it a 'coat'.")


def _run(
    recipe: Recipe, animation: Animation, models: tuple[Model, Model], library: Library, sessions: Sessions
) -> Moments:
    result = yield from pipeline.part(pipeline.run(recipe, library, sessions), 0.0, 0.1)
    coat, others, more = yield from _coat(animation, result.maps, library, sessions)
    start = time.perf_counter()
    mover, codec = (sessions.open(m, families.load(m.card.family, m.path.name)) for m in models)
    moments = recurrent.animate(
        models[0].card, mover, (models[1].card, codec), result.maps, animation.frames, animation.seed, coat
    )
    for moment in moments:
        yield Progress(animation.motion, 0.2 + 0.8 * moment.fraction)
        if moment.maps is not None:
            yield Frame(moment.frame, moment.maps)
    used = (*result.models, *others, *pipeline.used(models, (mover, codec)))
    result.seconds[animation.motion] = time.perf_counter() - start
    notes = tuple(dict.fromkeys((*result.notes, *more, *mover.notes, *codec.notes)))
    return replace(result, models=used, provider=mover.provider, why_not_cuda=mover.why_not_cuda, notes=notes)


def _coat(
    animation: Animation, maps: Maps, library: Library, sessions: Sessions
) -> Generator[Progress, None, tuple[Maps | None, tuple[pipeline.Used, ...], tuple[str, ...]]]:
    """The maps that grow over the others, of their size, the models that made them, and the notes of those."""
    if animation.coat_path:
        return folders.read_maps(animation.coat_path, maps.size), (), ()
    if not animation.coat:
        return None, (), ()
    width, height = maps.size
    grown = Recipe(animation.coat, seed=animation.seed, width=width, height=height)
    result = yield from pipeline.part(pipeline.run(grown, library, sessions), 0.1, 0.2)
    return result.maps, result.models, result.notes


def save(moments: Moments, recipe: Recipe, folder: Path) -> Generator[Progress, None, Saved]:
    """Write the frames as numbered files, an animated preview and a manifest: all of them or none.

    Files are called `<title>_<map>_<number>`, numbers from 1 with four digits, as programs expect sequences.
    """
    images.check_animation()
    with images.staged(folder) as stage:
        pictures: list[NDArray[np.uint8]] = []
        result = yield from _written(moments, recipe, stage, pictures)
        assert recipe.animation is not None
        images.write_animation(stage / "preview.webp", pictures, recipe.animation.fps)
        manifest = _manifest(result, recipe, sorted(path.name for path in stage.iterdir()))
        images.write_all(stage, {}, {"manifest.json": json.dumps(manifest, indent=1) + "\n"})
    return Saved(result, [folder / name for name in manifest["files"]], [])


def _written(
    moments: Moments, recipe: Recipe, stage: Path, pictures: list[NDArray[np.uint8]]
) -> Generator[Progress, None, Result]:
    from . import preview

    while True:
        try:
            moment = next(moments)
        except StopIteration as end:
            result: Result = end.value
            return result
        if isinstance(moment, Progress):
            yield moment
            continue
        write_frame(moment, recipe, stage, recipe.title)
        pictures.append(np.rint(preview.lit(moment.maps, PREVIEW) * 255).astype(np.uint8))


def write_frame(frame: Frame, recipe: Recipe, folder: Path, stem: str) -> dict[str, Path]:
    """Write the maps of a frame, as `<stem>_<map>_<number>`, and return their paths; errors as `images.write_all`."""
    chosen = frame.maps.only(recipe.maps or list(frame.maps))
    names = {name: f"{stem}_{name}_{frame.number + 1:04}.{recipe.format}" for name in chosen}
    pictures = {names[name]: pipeline.picture(name, image, recipe) for name, image in chosen.items()}
    images.write_all(folder, pictures, {})
    return {name: folder / file for name, file in names.items()}


def _manifest(result: Result, recipe: Recipe, files: list[str]) -> dict[str, Any]:
    return {**pipeline.told(result, recipe), "files": [*files, "manifest.json"]}
