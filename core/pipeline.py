"""From a recipe to maps, and from maps to files. The only place that knows the order of the work."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import families, images
from .errors import InputError
from .library import Library, Model
from .maps import Array, Maps, flip_green
from .onnx_file import sha256
from .recipe import Recipe
from .sessions import Sessions

if TYPE_CHECKING:
    from . import quality


@dataclass(frozen=True)
class Progress:
    """How far the work is."""

    stage: str  # "loading" or "making"
    fraction: float  # of this stage, 0..1


@dataclass(frozen=True)
class Result:
    """What was made, and how."""

    maps: Maps  # all that the model makes; `Recipe.maps` chooses among them when they are saved
    model: Model
    sha256: str  # of the model file
    provider: str  # ONNX Runtime's name of what really ran
    why_not_cuda: str  # a sentence, or "" when CUDA ran or was not asked for
    seconds: dict[str, float]  # stage -> time it took


@dataclass(frozen=True)
class Saved:
    """What was written."""

    files: list[Path]
    failures: list[str]  # a sentence for each limit of quality that the maps pass


Run = Generator[Progress, None, Result]


def choose(recipe: Recipe, library: Library) -> Model:
    """The model that can make all of the recipe; `InputError` says what cannot be made and what could be."""
    makers = library.makers(recipe.material, recipe.model)
    if recipe.morph is not None:
        others = [model.path for model in library.makers(recipe.morph)]
        both = [model for model in makers if model.path in others]
        if not both:
            raise _apart(recipe.material, recipe.morph, makers[0])
        makers = both
    model = makers[0]
    model.card.size.check(recipe.width, recipe.height)
    if missing := [name for name in recipe.maps if name not in model.card.maps]:
        made = ", ".join(model.card.maps)
        raise InputError(f"The model '{model.card.name}' makes no map '{missing[0]}'; choose from {made}.")
    return model


def _apart(first: str, second: str, maker: Model) -> InputError:
    partners = ", ".join(m.name for m in maker.card.materials if m.name != first) or "nothing"
    return InputError(
        f"'{first}' and '{second}' are made by different models, so there is nothing between them; "
        f"'{first}' can morph into: {partners}."
    )


def run(recipe: Recipe, library: Library, sessions: Sessions) -> Run:
    """Make a recipe's maps: yields progress, returns the `Result`; closing it cancels.

    The recipe is checked by this call itself, so that an `InputError` comes before anything runs.
    """
    return _run(recipe, choose(recipe, library), sessions)


def finish(run: Run) -> Result:
    """The result of a run whose progress nobody watches."""
    while True:
        try:
            next(run)
        except StopIteration as end:
            result: Result = end.value
            return result


def _run(recipe: Recipe, model: Model, sessions: Sessions) -> Run:
    start = time.perf_counter()
    yield Progress("loading", 0.0)
    family = families.load(model.card.family, model.path.name)
    session = sessions.open(model, family)
    digest = sha256(model.path)
    loaded = time.perf_counter()
    request = families.Request(
        material=recipe.material,
        width=recipe.width,
        height=recipe.height,
        seed=recipe.seed,
        morph=recipe.morph,
        amount=recipe.amount if recipe.morph else 0.0,
    )
    maps = yield from _staged("making", family.generate(model.card, session, request))
    seconds = {"loading": loaded - start, "making": time.perf_counter() - loaded}
    return Result(maps, model, digest, session.provider, session.why_not_cuda, seconds)


def _staged(stage: str, steps: families.Steps) -> Generator[Progress, None, Maps]:
    while True:
        try:
            fraction = next(steps)
        except StopIteration as end:
            maps: Maps = end.value
            return maps
        yield Progress(stage, fraction)


def save(result: Result, recipe: Recipe, folder: Path) -> Saved:
    """Write the maps, a preview and a manifest into `folder`, all of them or none; `OutputError` when it fails."""
    from . import preview, quality  # only files need them, and Blender starts faster without

    start = time.perf_counter()
    sheet = quality.measure(result.maps)
    pictures = {"preview.png": images.Picture(preview.picture(result.maps), 8)}
    for name, image in result.maps.only(recipe.maps or list(result.maps)).items():
        pictures[f"{recipe.title}_{recipe.seed}_{name}.{recipe.format}"] = picture(name, image, recipe)
    seconds = {**result.seconds, "checking": time.perf_counter() - start}
    manifest = _manifest(result, recipe, sheet, seconds, [*pictures, "manifest.json"])
    files = images.write_all(folder, pictures, {"manifest.json": json.dumps(manifest, indent=1) + "\n"})
    return Saved(files, sheet.failures())


def picture(name: str, image: Array, recipe: Recipe) -> images.Picture:
    """A map as it is stored: the normal in the direction and all in the depth that the recipe asks for."""
    if recipe.normal == "dx" and name == "normal":
        image = flip_green(image)
    default = 32 if recipe.format == "exr" else 16 if name == "height" else 8
    return images.Picture(image, recipe.depth or default)


def _manifest(
    result: Result, recipe: Recipe, sheet: quality.Sheet, seconds: dict[str, float], files: list[str]
) -> dict[str, Any]:
    from .version import VERSION  # read from a file when it is imported

    card = result.model.card
    material = card.material(recipe.material)
    return {
        "tessera": VERSION,
        "recipe": recipe.to_dict(),
        "model": {"file": result.model.path.name, "name": card.name, "sha256": result.sha256, "licence": card.licence},
        "provider": result.provider,
        "why_not_cuda": result.why_not_cuda,
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
        "quality": sheet.to_dict(),
        "relief": result.maps.relief,  # pixels between height 0 and 1
        "metres": round(recipe.width * material.metres / material.pixels, 4),  # real-world width of the maps
        "files": files,
    }
