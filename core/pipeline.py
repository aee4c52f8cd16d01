"""From a recipe to maps, and from maps to files. The only place that knows the order of the work."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from . import families, folders, images, steps
from .errors import InputError
from .library import Library, Model
from .maps import Array, Maps, flip_green
from .onnx_file import sha256
from .photo_steps import Example
from .progress import shown
from .recipe import Recipe
from .sessions import Session, Sessions
from .tools import Tools

_Made = TypeVar("_Made")

METRES = 1.0  # real-world width of maps that were read: files do not tell it


@dataclass(frozen=True)
class Progress:
    """How far the work is."""

    stage: str  # what is done now, as "loading" or "making"
    fraction: float  # of the whole, 0..1


@dataclass(frozen=True)
class Used:
    """A model that took part."""

    model: Model
    sha256: str  # of its file
    precision: str  # that it ran in: "float32", "float16" or "int8"


@dataclass(frozen=True)
class Result:
    """What was made, and how."""

    maps: Maps  # all that were made; `Recipe.maps` chooses among them when they are saved
    models: tuple[Used, ...]  # in the order in which they ran; none when maps were only read
    metres: tuple[float, float]  # real-world width and height that the maps cover
    provider: str  # ONNX Runtime's name of what really ran; "" when no model did
    why_not_cuda: str  # a sentence, or "" when CUDA ran or was not asked for
    seconds: dict[str, float]  # stage -> time it took
    notes: tuple[str, ...] = ()  # a sentence for each time a model had to do with less than was best


@dataclass(frozen=True)
class Saved:
    """What was written."""

    result: Result
    files: list[Path]
    failures: list[str]  # a sentence for each limit of quality that the maps pass


Run = Generator[Progress, None, Result]


def choose(recipe: Recipe, library: Library) -> list[Model]:
    """The models that make all of the recipe, in order; `InputError` says what cannot be made and what could be."""
    source = [_maker(recipe, library)] if recipe.material else []
    if recipe.path:
        folders.check(recipe.path)
    for step in recipe.steps:
        step.check()
    return source + [library.of_family(family) for step in recipe.steps for family in step.families()]


def _maker(recipe: Recipe, library: Library) -> Model:
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
    return _run(recipe, choose(recipe, library), library, sessions)


def run_and_save(run: Run, recipe: Recipe, folder: Path) -> Generator[Progress, None, Saved]:
    """The steps of a run, and then its files; errors as those of `run` and `images.writing`."""
    result = yield from run
    yield Progress("writing", 0.0)
    saved = yield from _saving(result, recipe, folder)
    return saved


def part(work: Generator[Progress, None, _Made], low: float, high: float) -> Generator[Progress, None, _Made]:
    """Some work as a part of a whole, whose progress is from `low` to `high` meanwhile."""
    return shown(work, lambda now: Progress(now.stage, low + (high - low) * now.fraction))


def _run(recipe: Recipe, models: list[Model], library: Library, sessions: Sessions) -> Run:
    watch = _Watch(1 + len(recipe.steps))
    yield Progress("loading", 0.0)
    tools = Tools(library, sessions, tiling=bool(recipe.material))
    opened = [tools.session(model) for model in models]
    watch.lap("loading")
    if recipe.material:
        maps = yield from watch.staged("making", _generated(recipe, models[0], opened[0]))
        metres = _metres(recipe, models[0])
    else:
        maps = folders.read_photo(recipe.path) if recipe.is_photo else folders.read_maps(recipe.path)
        watch.lap("reading")
        metres = METRES, METRES
    for step in recipe.steps:
        before = maps.size
        maps = yield from watch.staged(steps.kind_of(step), step.apply(maps, tools))
        tools = replace(tools, tiling=tools.tiling or steps.closes(step))
        if isinstance(step, Example):  # shows more, or less, of the surface at the same scale
            metres = metres[0] * maps.size[0] / before[0], metres[1]
    if recipe.path:
        metres = metres[0], metres[0] * maps.size[1] / maps.size[0]
    last = opened[-1] if opened else None
    provider, why = (last.provider, last.why_not_cuda) if last else ("", "")
    notes = tuple(note for session in opened for note in session.notes)
    return Result(maps, used(models, opened), metres, provider, why, watch.seconds, notes)


def used(models: Sequence[Model], sessions: Sequence[Session]) -> tuple[Used, ...]:
    """What a result says of models that ran."""
    both = zip(models, sessions, strict=True)
    return tuple(Used(model, sha256(model.path), session.precision) for model, session in both)


def _generated(recipe: Recipe, model: Model, session: Session) -> families.Steps:
    family = families.load(model.card.family, model.path.name)
    request = families.Request(
        material=recipe.material,
        width=recipe.width,
        height=recipe.height,
        seed=recipe.seed,
        morph=recipe.morph,
        amount=recipe.amount if recipe.morph else 0.0,
    )
    return family.generate(model.card, session, request)


def _metres(recipe: Recipe, model: Model) -> tuple[float, float]:
    material = model.card.material(recipe.material)
    return recipe.width * material.metres / material.pixels, recipe.height * material.metres / material.pixels


class _Watch:
    """Takes the time of stages, and tells how far the whole is."""

    def __init__(self, stages: int) -> None:
        self.seconds: dict[str, float] = {}
        self._stages, self._done, self._start = stages, 0, time.perf_counter()

    def lap(self, stage: str) -> None:
        """A stage has ended."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._start
        self._start = now

    def staged(self, stage: str, work: families.Steps) -> Generator[Progress, None, Maps]:
        """The steps of a stage as progress of the whole."""
        maps = yield from shown(work, lambda share: Progress(stage, (self._done + share) / self._stages))
        self._done += 1
        self.lap(stage)
        return maps


def _saving(result: Result, recipe: Recipe, folder: Path) -> Generator[Progress, None, Saved]:
    """Write the maps, a preview and a manifest into `folder`, all of them or none; `OutputError` when it fails."""
    from . import preview, quality  # only files need them, and Blender starts faster without

    start = time.perf_counter()
    sheet = quality.measure(result.maps)
    pictures = {"preview.png": images.Picture(preview.picture(result.maps), 8)}
    for name, image in result.maps.only(recipe.maps or list(result.maps)).items():
        pictures[f"{recipe.title}_{recipe.seed}_{name}.{recipe.format}"] = picture(name, image, recipe)
    result.seconds["checking"] = time.perf_counter() - start
    manifest = {
        **told(result, recipe),
        "quality": sheet.to_dict(),
        "relief": result.maps.relief,  # pixels between height 0 and 1
        "files": [*pictures, "manifest.json"],
    }
    writing = images.writing(folder, pictures, {"manifest.json": json.dumps(manifest, indent=1) + "\n"})
    files = yield from shown(writing, lambda share: Progress("writing", share))
    return Saved(result, files, sheet.failures())


def picture(name: str, image: Array, recipe: Recipe) -> images.Picture:
    """A map as it is stored: the normal in the direction and all in the depth that the recipe asks for."""
    if recipe.normal == "dx" and name == "normal":
        image = flip_green(image)
    default = 32 if recipe.format == "exr" else 16 if name == "height" else 8
    return images.Picture(image, recipe.depth or default)


def told(result: Result, recipe: Recipe) -> dict[str, Any]:
    """What a manifest says of a result, as plain data."""
    from .version import VERSION  # read from a file when it is imported

    return {
        "tessera": VERSION,
        "recipe": recipe.to_dict(),
        "models": [_told(used) for used in result.models],
        "provider": result.provider,
        "why_not_cuda": result.why_not_cuda,
        "notes": list(result.notes),
        "seconds": {stage: round(value, 4) for stage, value in result.seconds.items()},
        "metres": round(result.metres[0], 4),  # real-world width of the maps
    }


def _told(used: Used) -> dict[str, str]:
    card = used.model.card
    facts = {"file": used.model.path.name, "name": card.name, "sha256": used.sha256, "licence": card.licence}
    return facts | {"precision": used.precision}
