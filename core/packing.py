"""Maps as game engines want them: the names of the files, what is packed into which channel, which way normals face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .images import Picture
from .maps import Array, Maps, flip_green

# What fills a channel whose map is not there: unoccluded, mid-rough, not a metal; "one" is a channel with no meaning.
_NEUTRAL = {"ao": 1.0, "roughness": 0.5, "metallic": 0.0, "one": 1.0}


@dataclass(frozen=True)
class Engine:
    """How one program takes a material."""

    label: str
    description: str
    normal: str  # "gl" or "dx"
    # Name of the file, without folder and material, -> the map it holds, or the map of each of its channels.
    files: Mapping[str, str | tuple[str, ...]]
    prefix: str = ""  # of every file name


ENGINES: dict[str, Engine] = {
    "plain": Engine(
        "Plain",
        "A file for each map",
        "gl",
        {f"_{name}": name for name in ("albedo", "normal", "height", "roughness", "metallic", "ao")},
    ),
    # glTF 2.0, 3.9.2: roughness in green and metalness in blue; occlusion may share the file, in red.
    "gltf": Engine(
        "glTF",
        "Base colour, normal, and one file with occlusion, roughness and metalness",
        "gl",
        {"_baseColor": "albedo", "_normal": "normal", "_orm": ("ao", "roughness", "metallic")},
    ),
    "unreal": Engine(
        "Unreal",
        "Base colour, normal (DirectX), height, and one file with occlusion, roughness and metalness; T_ names",
        "dx",
        {"_D": "albedo", "_N": "normal", "_H": "height", "_ORM": ("ao", "roughness", "metallic")},
        prefix="T_",
    ),
    # The mask map of Unity's HDRP and URP Lit shaders: metallic, occlusion, detail mask, smoothness.
    "unity": Engine(
        "Unity",
        "Base map, normal, height, and a mask map with metalness, occlusion and smoothness",
        "gl",
        {
            "_BaseMap": "albedo",
            "_Normal": "normal",
            "_Height": "height",
            "_MaskMap": ("metallic", "ao", "one", "smoothness"),
        },
    ),
    # ORMMaterial3D takes the same packing as glTF; StandardMaterial3D can read its channels one by one.
    "godot": Engine(
        "Godot",
        "Albedo, normal, height, and one file with occlusion, roughness and metalness",
        "gl",
        {"_albedo": "albedo", "_normal": "normal", "_height": "height", "_orm": ("ao", "roughness", "metallic")},
    ),
}


def takes(engine: str, maps: Maps) -> bool:
    """Whether `pack` makes a file of these maps."""
    wanted = [(content,) if isinstance(content, str) else content for content in ENGINES[engine].files.values()]
    return any(_source(channel) in maps for content in wanted for channel in content)


def pack(maps: Maps, engine: str, name: str, normal: str | None = None) -> dict[str, Picture]:
    """File name -> picture, for a key of `ENGINES`; `normal` ("gl" or "dx") overrides what the engine expects.

    A map that is not there makes no file of its own; in a packed file its channel is neutral.
    """
    chosen = ENGINES[engine]
    stem = chosen.prefix + name
    pictures = {}
    for suffix, content in chosen.files.items():
        if isinstance(content, str):
            if content in maps:
                pictures[f"{stem}{suffix}.png"] = _single(maps, content, normal or chosen.normal)
        elif any(_source(channel) in maps for channel in content):
            packed = np.concatenate([_channel(maps, channel) for channel in content], axis=2)
            pictures[f"{stem}{suffix}.png"] = Picture(packed)
    return pictures


def _single(maps: Maps, name: str, normal: str) -> Picture:
    image = flip_green(maps[name]) if name == "normal" and normal == "dx" else maps[name]
    return Picture(image, 16 if name == "height" else 8)


def _source(channel: str) -> str:
    return "roughness" if channel == "smoothness" else channel


def _channel(maps: Maps, channel: str) -> Array:
    """One channel `(H, W, 1)`; smoothness is 1 - roughness."""
    name = _source(channel)
    width, height = maps.size
    image = maps[name] if name in maps else np.full((height, width, 1), _NEUTRAL[name], np.float32)
    return 1 - image if channel == "smoothness" else image
