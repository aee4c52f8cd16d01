"""From the panel's settings and a material's memory to recipes, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bpy

from . import placing
from .core import photo_recipe
from .core.arguments import PARTS
from .core.errors import InputError, OutputError
from .core.maps import CHANNELS
from .core.photo_recipe import Wishes
from .core.recipe import Recipe, from_dict, parse_size
from .core.steps import Stylize, Upscale
from .materials import Memory, relative
from .placing import Placing
from .preferences import preferences
from .settings import CUSTOM, GROWTH, OWN, SIZES, TesseraSettings

LARGEST_SEED = 2**31 - 1  # of Blender's whole numbers
_CORNERS = ("photo_upper_left", "photo_upper_right", "photo_lower_right", "photo_lower_left")


def asked(settings: TesseraSettings, **changes: object) -> Recipe:
    """What the panel asks for; `changes` replace entries of its source. `InputError` when it cannot be."""
    source = {"material": settings.material, "seed": settings.seed, "size": _size(settings)}
    if settings.use_morph:
        source |= {"morph": settings.morph, "amount": settings.amount}
    source |= {key: value for key, value in changes.items() if value is not None}
    if "morph" not in source:
        source.pop("amount", None)
    if "amount" in source:
        source["amount"] = _exact(source["amount"])
    if not settings.maps:
        raise InputError("No map is chosen; switch at least one on under Maps.")
    export = {"maps": [name for name in CHANNELS if name in settings.maps], **file_format()}
    steps = [_style_step(settings)] if settings.use_style else []
    return from_dict({"source": source, "export": export, "steps": steps})


def photographed(
    settings: TesseraSettings, photo: str | None = None, size: str | None = None, seed: int | None = None
) -> Recipe:
    """What the panel asks for of a photo, but for what is given; `InputError` or `ImageError` when it cannot be."""
    if not (photo or settings.photo_path):
        raise InputError("No photo is chosen; choose one.")
    path = Path(bpy.path.abspath(photo or settings.photo_path))
    wishes = Wishes(
        *parse_size(size or _size(settings)),
        _corners(settings) if settings.photo_straighten else (),
        bpy.path.abspath(settings.photo_mask),
        _exact(settings.photo_denoise),
        _exact(settings.photo_strength),
        _exact(settings.photo_delight),
        settings.seed if seed is None else seed,
        settings.photo_arrangement == "NEW",
        frozenset(part for part in PARTS if not getattr(settings, f"photo_{part}")),
    )
    wanted = [name for name in wishes.maps if name in settings.maps]
    if not wanted:
        raise InputError("No map that a photo gives is chosen; switch Albedo on under Maps.")
    export = {**({} if len(wanted) == len(wishes.maps) else {"maps": wanted}), **file_format()}
    return from_dict({"source": {"path": str(path)}, "export": export, "steps": photo_recipe.steps(path, wishes)})


def _size(settings: TesseraSettings) -> str:
    return f"{settings.width}x{settings.height}" if settings.size == CUSTOM else settings.size


def _corners(settings: TesseraSettings) -> list[float]:
    return [_exact(share) for name in _CORNERS for share in getattr(settings, name)]


def _style_step(settings: TesseraSettings) -> dict[str, object]:
    own = settings.style == OWN
    if own and not settings.style_path:
        raise InputError("No picture is chosen as the style; choose one, or a built-in style.")
    return {
        "do": "stylize",
        "style": bpy.path.abspath(settings.style_path) if own else settings.style,
        "strength": _exact(settings.strength),
        "keep_color": settings.keep_color,
        "scale": _exact(settings.style_scale),
        "relief": settings.style_relief,
    }


def _exact(value: float) -> float:
    """The number that was typed: Blender keeps it in 32 bits, where 0.3 is another than on the command line."""
    return round(float(value), 6)


def animated(settings: TesseraSettings, still: Recipe) -> Recipe:
    """The recipe with the animation that the panel asks for, at the size of animations."""
    coat = settings.coat if settings.motion == GROWTH else ""
    moving = {"motion": settings.motion, "frames": settings.frames, "fps": 24, "seed": still.seed, "coat": coat}
    return from_dict({**resized(still, settings.animation_size).to_dict(), "animation": moving})


def resized(recipe: Recipe, size: str) -> Recipe:
    """A remembered recipe at another size ("" for its own), in the format that the preferences name now.

    It takes the place of `enlarged`; of what was made of a photo, one number is the longer side. `InputError` for what
    is no size, and for other maps that were read, which have one of their own.
    """
    recipe = replace(recipe, steps=recipe.steps[:-1]) if size and _last_factor(recipe) > 1 else recipe
    plain = recipe.to_dict()
    if size and recipe.path:
        plain = photo_recipe.resized(recipe, *_in_proportion(recipe, size)).to_dict()
    elif size:
        width, height = parse_size(size)
        plain["source"] |= {"width": width, "height": height}
    return from_dict({**plain, "export": {**({"maps": list(recipe.maps)} if recipe.maps else {}), **file_format()}})


def _in_proportion(recipe: Recipe, size: str) -> tuple[int, int]:
    width, height = parse_size(size)
    former = photo_recipe.wishes_of(recipe)
    if former is None or not size.strip().isdecimal():
        return width, height
    longer, multiple = max(former.width, former.height), photo_recipe.MULTIPLE
    across, down = (round(width * side / longer / multiple) * multiple for side in (former.width, former.height))
    return max(across, multiple), max(down, multiple)


def size_of(recipe: Recipe) -> tuple[int, int]:
    """Width and height in pixels of what a remembered recipe makes."""
    shown, factor = photo_recipe.wishes_of(recipe) or recipe, _last_factor(recipe)
    return shown.width * factor, shown.height * factor


def enlarged(recipe: Recipe) -> Recipe:
    """A remembered recipe with twice the pixels on the same surface; `InputError` when they were added twice before."""
    factor = _last_factor(recipe)
    if factor == 4:
        raise InputError("This material was upscaled twice, which is the most; choose a size to begin from another.")
    former = recipe.steps[:-1] if factor > 1 else recipe.steps
    return replace(recipe, steps=(*former, Upscale(2 * factor)))


def _last_factor(recipe: Recipe) -> int:
    """By how much `enlarged` made it larger; the steps of a photo end in another one than this."""
    last = recipe.steps[-1] if recipe.steps else None
    return last.factor if isinstance(last, Upscale) else 1


def varied(recipe: Recipe, amount: float, seed: int) -> Recipe:
    """A remembered recipe with a variation of its result as the last step, in place of a former one."""
    plain = recipe.to_dict()
    former = [step for step in plain.get("steps", []) if step["do"] != "vary"]
    return from_dict({**plain, "steps": [*former, {"do": "vary", "amount": _exact(amount), "seed": seed}]})


def recall(settings: TesseraSettings, memory: Memory) -> None:
    """Set the panel to what a material remembers; `InputError` when the panel has no such thing."""
    recipe, placed = memory.recipe, placing.from_dict(memory.placing)
    wishes = photo_recipe.wishes_of(recipe)
    if not (recipe.material or wishes):
        raise InputError("This material was read from files, which the panel has no fields for; regenerate it.")
    settings.maps = set(recipe.maps or CHANNELS)
    settings.mode, settings.scale, settings.relief = placed.mode, placed.scale, placed.relief
    if wishes:
        _recall_photo(settings, recipe.path, wishes)
    else:
        _recall_size(settings, recipe.width, recipe.height)
        settings.material, settings.seed = recipe.material, min(recipe.seed, LARGEST_SEED)
        settings.use_morph, settings.amount = recipe.morph is not None, recipe.amount
        settings.morph = recipe.morph or settings.morph
        _recall_style(settings, next((step for step in recipe.steps if isinstance(step, Stylize)), None))
    if recipe.animation:
        settings.motion, settings.frames = recipe.animation.motion, recipe.animation.frames
        settings.coat = recipe.animation.coat or settings.coat


def _recall_size(settings: TesseraSettings, width: int, height: int) -> None:
    settings.size = str(width) if width == height and width in SIZES else CUSTOM
    settings.width, settings.height = width, height


def _recall_photo(settings: TesseraSettings, path: str, wishes: Wishes) -> None:
    _recall_size(settings, wishes.width, wishes.height)
    settings.seed = min(wishes.seed, LARGEST_SEED)
    settings.photo_path, settings.photo_mask = relative(path), wishes.mask and relative(wishes.mask)
    settings.photo_straighten = bool(wishes.corners)
    for number, name in enumerate(_CORNERS if wishes.corners else ()):
        setattr(settings, name, wishes.corners[2 * number : 2 * number + 2])
    settings.photo_denoise, settings.photo_strength = wishes.denoise, wishes.strength
    settings.photo_delight = wishes.delight
    settings.photo_arrangement = "NEW" if wishes.fresh else "KEEP"
    for part in PARTS:
        setattr(settings, f"photo_{part}", part not in wishes.without)
    if settings.mode == "REAL":
        settings.photo_width, settings.scale = settings.scale, 1.0


def _recall_style(settings: TesseraSettings, step: Stylize | None) -> None:
    settings.use_style = step is not None
    if step is None:
        return
    own = bool(step.moved(lambda _: "") != step)  # a picture of one's own is what has a path
    settings.style = OWN if own else step.style
    settings.style_path = step.style if own else settings.style_path
    settings.strength, settings.keep_color = step.strength, step.keep_color
    settings.style_scale, settings.style_relief = step.scale, step.relief


def file_format() -> dict[str, object]:
    """The part of a recipe that the preferences decide."""
    chosen = preferences().format
    return {"format": "exr"} if chosen == "EXR" else {"depth": 16} if chosen == "PNG16" else {}


def placed(settings: TesseraSettings, metres: float = 1.0) -> Placing:
    """How the panel asks for it to be laid on; what was read is taken to be a metre wide, unless it is `metres`."""
    return Placing(settings.mode, settings.scale * (metres if settings.mode == "REAL" else 1.0), settings.relief)


def image_folder(sequence: bool = False) -> Path | None:
    """Where the preferences put images: a folder, or None for inside the file, where a `sequence` cannot be."""
    wanted = preferences()
    return absolute(wanted.folder) if sequence or wanted.storage == "FOLDER" else None


def absolute(folder: str) -> Path:
    """A folder of this file's as a path; `OutputError` while the file has no place yet."""
    if not folder.strip():
        raise OutputError("No folder is named; choose one first.")
    if folder.startswith("//") and not bpy.data.filepath:
        raise OutputError(f"'{folder}' is beside the .blend file, which is not saved yet; save it, or choose a folder.")
    return Path(bpy.path.abspath(folder)).absolute()
