"""Small pictures of what other seeds make."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import gallery, later

if TYPE_CHECKING:
    from .core.library import Library
    from .core.maps import Array
    from .core.pipeline import Progress
    from .core.recipe import Recipe
    from .core.sessions import Sessions

pipeline, preview, progress = map(later.module, (".core.pipeline", ".core.preview", ".core.progress"))

COUNT = 6
LARGEST = 1024  # pixels on a side: larger textures would take minutes, and their layout is another one anyway
SIDE = 128  # pixels of a picture
SHOWN = 0.5  # of the texture's sides that a picture shows: whole, it would be too fine to see anything


@dataclass
class Variation:
    """One seed."""

    recipe: Recipe
    picture: Array | None  # float32 (SIDE, SIDE, 3), sRGB-encoded; given to Blender by `show`
    icon: int = 0  # Blender's number of the picture, once it is shown


class _State:
    """The latest list; its worker fills it one after another, the main thread shows it."""

    made: list[Variation] | None = None


def make(recipe: Recipe, library: Library, sessions: Sessions) -> Generator[Progress, None, None]:
    """Make pictures of the seeds that follow the recipe's, each at the recipe's size or the largest allowed.

    A texture of another size is another arrangement, so a picture must be made at the size it stands for.
    """
    small = _small(recipe)
    pipeline.choose(small, library)
    _State.made = []
    return _make(small, library, sessions, _State.made)


def _make(
    recipe: Recipe, library: Library, sessions: Sessions, made: list[Variation]
) -> Generator[Progress, None, None]:
    for number in range(COUNT):
        another = replace(recipe, seed=(recipe.seed + 1 + number) % 2**31)
        yield pipeline.Progress(f"seed {another.seed}", number / COUNT)
        maps = progress.finish(pipeline.run(another, library, sessions)).maps
        made.append(Variation(another, preview.tiled(maps, SIDE, SHOWN)))


def show() -> None:
    """Hand new pictures to Blender; for the main thread."""
    for number, variation in enumerate(_State.made or ()):
        if variation.picture is not None:
            variation.icon = gallery.show(f"variation {number}", variation.picture)
            variation.picture = None


def of(recipe: Recipe) -> list[Variation]:
    """The variations of a recipe that are there to be shown: other seeds of it, and nothing else."""
    alike = _small(recipe)
    return [v for v in _State.made or () if v.picture is None and replace(v.recipe, seed=alike.seed) == alike]


def _small(recipe: Recipe) -> Recipe:
    return replace(recipe, width=min(recipe.width, LARGEST), height=min(recipe.height, LARGEST), maps=("albedo",))


def clear() -> None:
    """Forget them."""
    _State.made = None


def register() -> None:
    """Start with none."""
    clear()


def unregister() -> None:
    """Forget them: their pictures go with the gallery's."""
    clear()
