"""From a recipe to encoded maps, off the main thread: nothing here touches `bpy`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .core import images, pipeline
from .core.errors import OutputError
from .core.images import Picture
from .core.library import Library
from .core.maps import Array
from .core.pipeline import Progress, Result
from .core.recipe import Recipe
from .core.sessions import SPOKEN, Sessions
from .pixels import Content

if TYPE_CHECKING:
    from .core.animation import Moments


@dataclass(frozen=True)
class Made:
    """Maps ready to become Blender's images."""

    recipe: Recipe
    result: Result
    contents: Mapping[str, Content]  # map -> what `pixels.create` takes; of an animation, its first frame


Steps = Generator[Progress, None, Made]


def make(recipe: Recipe, library: Library, sessions: Sessions, folder: Path | None) -> Steps:
    """Run a recipe and encode the maps it asks for, into memory or, with a folder, into files there.

    The recipe is checked by this call itself; see `pipeline.run`. Normals are OpenGL's, as Blender has them. With the
    format exr the contents are pixels: only Blender is sure to have a library that encodes them, and only on its main
    thread.
    """
    recipe = replace(recipe, normal="gl")
    if recipe.animation is None:
        return _make(recipe, pipeline.run(recipe, library, sessions), folder)
    if folder is None:
        raise OutputError("A sequence of images cannot be packed; name a folder for it.")
    return _animate(replace(recipe, format="png"), folder, library, sessions)


def _make(recipe: Recipe, run: pipeline.Run, folder: Path | None) -> Steps:
    result = yield from pipeline.part(run, 0.0, 0.9)
    yield Progress("encoding", 0.9)
    pictures = {name: pipeline.picture(name, image, recipe) for name, image in _wanted(result, recipe)}
    if recipe.format == "exr":
        return Made(recipe, result, pictures)
    encoded = yield from pipeline.part(_encoded(pictures), 0.9, 1.0)
    if folder is None:
        return Made(recipe, result, encoded)
    files = images.write_all(folder, {}, {f"{stem(recipe)}_{name}.png": data for name, data in encoded.items()})
    return Made(recipe, result, dict(zip(encoded, files, strict=True)))


def _animate(recipe: Recipe, folder: Path, library: Library, sessions: Sessions) -> Steps:
    from .core import animation

    return _frames(recipe, folder, animation.run(recipe, library, sessions))


def _frames(recipe: Recipe, folder: Path, moments: Moments) -> Steps:
    from .core import animation

    first: dict[str, Path] = {}
    with images.staged(folder) as stage:
        while True:
            try:
                moment = next(moments)
            except StopIteration as end:
                result = end.value
                break
            if isinstance(moment, Progress):
                yield moment
                continue
            files = animation.write_frame(moment, recipe, stage, stem(recipe))
            first = first or {name: folder / path.name for name, path in files.items()}
    return Made(recipe, result, first)


def told(made: Made) -> str:
    """A line that says what was made, where and how fast, and what a model had to do without."""
    recipe, result = made.recipe, made.result
    where = f" on {SPOKEN[result.provider]}" if result.provider else ""
    width, height = result.maps.size
    line = f"{recipe.title}, {width} x {height}, {sum(result.seconds.values()):.1f} s{where}"
    return ". ".join([line, " ".join(result.notes)]) if result.notes else line


def stem(recipe: Recipe) -> str:
    """Start of the file names: another recipe never overwrites the files of this one, so undo finds its images."""
    source = json.dumps(recipe.to_dict(), sort_keys=True)
    return f"{recipe.title}_{recipe.seed}_{hashlib.sha256(source.encode()).hexdigest()[:6]}"


def _wanted(result: Result, recipe: Recipe) -> Iterator[tuple[str, Array]]:
    return iter(result.maps.only(recipe.maps or list(result.maps)).items())


def _encoded(pictures: Mapping[str, Picture]) -> Generator[Progress, None, dict[str, bytes]]:
    encoded: dict[str, bytes] = {}
    for name, picture in pictures.items():
        encoded[name] = images.encode(picture)
        yield Progress("encoding", len(encoded) / len(pictures))
    return encoded
