"""Textures that move: from a recipe with an animation to its frames, and from frames to files."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import families, folders, images, pipeline, quality, scaling
from .errors import InputError
from .library import Library, Model
from .maps import Array, Maps
from .onnx_file import sha256
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


def motions(library: Library) -> dict[str, Model]:
    """Motion -> the model that makes it."""
    models = [model for model in library.models() if model.card.family == "recurrent"]
    return {str(model.card.settings.get("motion")): model for model in reversed(models)}


def run(recipe: Recipe, library: Library, sessions: Sessions) -> Moments:
    """The frames of a recipe, one after another, with progress between; returns the `Result` of the still maps.

    The recipe is checked by this call itself; closing the generator cancels. Frames are not kept here: those of a
    large texture do not fit into memory together.
    """
    if recipe.animation is None:
        raise InputError("The recipe has no animation; give it an [animation] table with a 'motion'.")
    known = motions(library)
    if recipe.animation.motion not in known:
        there = ", ".join(sorted(known)) or "none, as no recurrent model is installed"
        raise InputError(f"There is no motion '{recipe.animation.motion}'; choose from {there}.")
    pipeline.choose(recipe, library)
    if recipe.animation.coat:
        library.find(recipe.animation.coat)
    return _run(recipe, recipe.animation, known[recipe.animation.motion], library, sessions)


def _run(recipe: Recipe, animation: Animation, model: Model, library: Library, sessions: Sessions) -> Moments:
    from .families import recurrent

    result = pipeline.finish(pipeline.run(recipe, library, sessions))
    codec = library.of_family("vae")
    opened = [sessions.open(m, families.load(m.card.family, m.path.name)) for m in (model, codec)]
    coat = _coat(animation, recipe, result.maps, library, sessions)
    moments = recurrent.animate(
        model.card, opened[0], (codec.card, opened[1]), result.maps, animation.frames, animation.seed, coat
    )
    for moment in moments:
        yield Progress(animation.motion, moment.fraction)
        if moment.maps is not None:
            yield Frame(moment.frame, moment.maps)
    used = (*result.models, *(pipeline.Used(m, sha256(m.path)) for m in (model, codec)))
    return replace(result, models=used, provider=opened[0].provider, why_not_cuda=opened[0].why_not_cuda)


def _coat(animation: Animation, recipe: Recipe, maps: Maps, library: Library, sessions: Sessions) -> Maps | None:
    """The maps that grow over the others, of their size."""
    if animation.coat_path:
        coat = folders.read_maps(animation.coat_path)
        return scaling.fitted(coat, *maps.size, quality.tiles(coat))
    if not animation.coat:
        return None
    width, height = maps.size
    grown = Recipe(animation.coat, seed=animation.seed, width=width, height=height)
    return pipeline.finish(pipeline.run(grown, library, sessions)).maps


def save(moments: Moments, recipe: Recipe, folder: Path) -> Generator[Progress, None, Saved]:
    """Write the frames as numbered files, an animated preview and a manifest: all of them or none.

    Files are called `<title>_<map>_<number>`, numbers from 1 with four digits, as programs expect sequences.
    """
    with images.staged(folder) as stage:
        pictures: list[Array] = []
        result = yield from _written(moments, recipe, stage, pictures)
        assert recipe.animation is not None
        images.write_animation(stage / "preview.webp", pictures, recipe.animation.fps)
        manifest = _manifest(result, recipe, sorted(path.name for path in stage.iterdir()))
        (stage / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return Saved(result, [folder / name for name in manifest["files"]], [])


def _written(moments: Moments, recipe: Recipe, stage: Path, pictures: list[Array]) -> Generator[Progress, None, Result]:
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
        pictures.append(preview.lit(moment.maps, PREVIEW))


def write_frame(frame: Frame, recipe: Recipe, folder: Path, stem: str) -> dict[str, Path]:
    """Write the maps of a frame, as `<stem>_<map>_<number>`, and return their paths; errors as `images.write_all`."""
    chosen = frame.maps.only(recipe.maps or list(frame.maps))
    names = {name: f"{stem}_{name}_{frame.number + 1:04}.{recipe.format}" for name in chosen}
    pictures = {names[name]: pipeline.picture(name, image, recipe) for name, image in chosen.items()}
    images.write_all(folder, pictures, {})
    return {name: folder / file for name, file in names.items()}


def _manifest(result: Result, recipe: Recipe, files: list[str]) -> dict[str, Any]:
    return {**pipeline.told(result, recipe), "files": [*files, "manifest.json"]}
