"""Everything that can go wrong for a user, as a small tree; each message says what to do next.

    TesseraError
    ├── InputError         what was asked for cannot be made: unknown material, size, map
    │   └── RecipeError    the same, with the key and the line of the recipe
    ├── ModelError         a file is not a model that can be run here
    ├── ProviderError      the compute device asked for is not there
    ├── ResourceError      memory ran out
    ├── ImageError         a picture cannot be read
    ├── OutputError        a result cannot be written
    └── Cancelled          the user stopped the work; nothing was written

Only the edges (command line, Blender operators) catch `TesseraError`. Anything else is a bug and looks like one.
"""

from __future__ import annotations

from collections.abc import Callable

OUT_OF_MEMORY = "Memory ran out; choose a smaller size, or close other programs."


class TesseraError(Exception):
    """One sentence for the person who sees it, ending in what to do next."""


class InputError(TesseraError):
    """What was asked for cannot be made."""


class RecipeError(InputError):
    """A recipe is malformed; the message names the key and, for a file, the line."""


class ModelError(TesseraError):
    """A file is not a model, or not one that this version can run."""


class ProviderError(TesseraError):
    """The compute device asked for is not there."""


class ResourceError(TesseraError):
    """Memory ran out. `retreat` makes another attempt need less of it, at a price, and tells whether it could."""

    def __init__(self, message: str, retreat: Callable[[], bool] = lambda: False) -> None:
        super().__init__(message)
        self.retreat = retreat


class ImageError(TesseraError):
    """A picture cannot be read."""


class OutputError(TesseraError):
    """A result cannot be written."""


class Cancelled(TesseraError):
    """The user stopped the work."""
