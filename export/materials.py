"""Read folders of photo-based PBR materials, whatever the site they came from calls their maps.

ambientCG (`Bricks036_1K_NormalGL.jpg`), Poly Haven (`brick_floor_nor_gl_1k.jpg`) and plain names
(`normal.jpg`) are told apart by the words of the file name alone, so a folder may mix them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}

# Word of the file name -> what the picture holds. "arm" packs AO, roughness and metalness in R, G, B.
WORDS = {
    "color": "albedo",
    "col": "albedo",
    "albedo": "albedo",
    "diff": "albedo",
    "diffuse": "albedo",
    "basecolor": "albedo",
    "normal": "normal_gl",
    "normalgl": "normal_gl",
    "nor": "normal_gl",
    "norm": "normal_gl",
    "normaldx": "normal_dx",
    "roughness": "roughness",
    "rough": "roughness",
    "height": "height",
    "displacement": "height",
    "disp": "height",
    "ao": "ao",
    "ambientocclusion": "ao",
    "occ": "ao",
    "metal": "metallic",
    "metalness": "metallic",
    "metallic": "metallic",
    "arm": "arm",
}

# Order of the planes in a loaded material, and which of them each source map fills.
PLANES = ("red", "green", "blue", "normal_x", "normal_y", "roughness", "ao", "metallic")
PLANES_OF = {
    "albedo": slice(0, 3),
    "normal": slice(3, 5),
    "roughness": slice(5, 6),
    "ao": slice(6, 7),
    "metallic": slice(7, 8),
}
# What a missing plane is filled with: flat, mid-rough, unoccluded, not a metal.
NEUTRAL = (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 0.0)
# Categories whose materials may be metals; the others are known to be dielectric without a map.
METALLIC_CATEGORIES = {"metal", "rust", "other", ""}


@dataclass(frozen=True)
class MaterialFiles:
    """One material on disk."""

    name: str  # folder name, unique in the data folder
    category: str  # from manifest.csv where there is one, else ""
    seamless: bool  # the photo tiles, so crops may wrap around its edges
    paths: dict[str, Path] = field(default_factory=dict)  # map name (see WORDS) -> picture


@dataclass(frozen=True)
class Material:
    """One material in memory.

    `pixels` is (8, H, W) uint8 in the order of `PLANES` (albedo sRGB-encoded, the rest linear, normals
    OpenGL and encoded n/2+1/2); `known` is (8,) bool: which planes came from a picture.
    """

    name: str
    category: str
    seamless: bool
    pixels: NDArray[np.uint8]
    known: NDArray[np.bool_]

    def halved(self) -> Material:
        """The same material at half the resolution (box filter)."""
        _, height, width = self.pixels.shape
        even = self.pixels[:, : height // 2 * 2, : width // 2 * 2].astype(np.uint16)
        mean = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2] + 2) // 4
        return Material(self.name, self.category, self.seamless, mean.astype(np.uint8), self.known)


def kind_of(path: Path) -> str | None:
    """What a picture holds by the words of its name, or None (a preview, say)."""
    words = [w for w in re.split(r"[^a-z0-9]+", path.stem.lower()) if w]
    if not {"dx", "directx"}.isdisjoint(words) and not {"nor", "norm", "normal"}.isdisjoint(words):
        return "normal_dx"
    kinds = [WORDS[w] for w in words if w in WORDS]
    return kinds[-1] if kinds else None


def find_materials(folder: Path) -> list[MaterialFiles]:
    """Every folder at or under `folder` that holds at least a colour picture, sorted by name."""
    facts = _manifest(folder)
    found = []
    for place in [folder, *sorted(p for p in folder.rglob("*") if p.is_dir())]:
        paths: dict[str, Path] = {}
        for path in sorted(place.iterdir()):
            kind = kind_of(path) if path.suffix.lower() in IMAGE_SUFFIXES else None
            if kind:
                paths.setdefault(kind, path)
        if "albedo" in paths:
            row = facts.get(place.name, {})
            # Both sites publish seamless photos; only a manifest can say otherwise.
            seamless = row.get("seamless_robust", "yes") == "yes"
            found.append(MaterialFiles(place.name, row.get("category", ""), seamless, paths))
    return found


def load(files: MaterialFiles, longest: int) -> Material:
    """Read a material with its longest side reduced to at most `longest` pixels, sides multiples of 8."""
    with Image.open(files.paths["albedo"]) as image:
        size = _fit(image.size, longest)
    planes = np.empty((len(PLANES), size[1], size[0]), np.uint8)
    planes[:] = np.rint(np.array(NEUTRAL) * 255).astype(np.uint8)[:, None, None]
    known = np.zeros(len(PLANES), bool)

    def put(name: str, pixels: NDArray[np.uint8]) -> None:
        planes[PLANES_OF[name]] = pixels
        known[PLANES_OF[name]] = True

    put("albedo", _read(files.paths["albedo"], size, "RGB"))
    if "normal_gl" in files.paths:
        put("normal", _read(files.paths["normal_gl"], size, "RGB")[:2])
    elif "normal_dx" in files.paths:
        normal = _read(files.paths["normal_dx"], size, "RGB")[:2]
        put("normal", np.stack([normal[0], 255 - normal[1]]))
    if "arm" in files.paths:
        packed = _read(files.paths["arm"], size, "RGB")
        for index, name in enumerate(("ao", "roughness", "metallic")):
            put(name, packed[index : index + 1])
    for name in ("roughness", "ao", "metallic"):
        if name in files.paths:
            put(name, _read(files.paths[name], size, "L"))
    if files.category not in METALLIC_CATEGORIES and "metallic" not in files.paths:
        put("metallic", np.zeros((1, size[1], size[0]), np.uint8))
    return Material(files.name, files.category, files.seamless, planes, known)


def load_height(files: MaterialFiles, longest: int) -> NDArray[np.float32] | None:
    """The height map (H, W) in [0, 1] of a material, as large as `load` makes the others; None where there is none."""
    if "height" not in files.paths:
        return None
    with Image.open(files.paths["albedo"]) as image:
        size = _fit(image.size, longest)
    return _read(files.paths["height"], size, "L")[0].astype(np.float32) / np.float32(255)


class Crops:
    """Endless random crops of a set of materials, at full and at half resolution."""

    def __init__(self, materials: Sequence[Material], size: int, seed: int, full_share: float = 0.3) -> None:
        self.scales = ([m.halved() for m in materials], list(materials))
        self.size = size
        self.full_share = full_share
        self.random = np.random.default_rng(seed)
        if all(min(m.pixels.shape[1:]) < size for m in self.scales[1]):
            raise ValueError(f"No photo is as large as a crop of {size} pixels; give larger photos or a smaller crop.")

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """`(B, 8, size, size)` float in [0, 1] and `(B, 8, 1, 1)` float, 1 where the plane is known."""
        crops: list[NDArray[np.uint8]] = []
        known: list[NDArray[np.bool_]] = []
        while len(crops) < count:
            materials = self.scales[int(self.random.random() < self.full_share)]
            material = materials[self.random.integers(len(materials))]
            if min(material.pixels.shape[1:]) < self.size:
                continue
            crops.append(random_crop(material, self.size, self.random))
            known.append(material.known)
        pixels = torch.from_numpy(np.stack(crops)).float() / 255
        return pixels, torch.from_numpy(np.stack(known)).float()[:, :, None, None]


def random_crop(material: Material, size: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """One `(8, size, size)` crop, wrapping around the edges of a seamless photo."""
    _, height, width = material.pixels.shape
    if not material.seamless:
        y, x = int(random.integers(height - size + 1)), int(random.integers(width - size + 1))
        return material.pixels[:, y : y + size, x : x + size]
    rows = (np.arange(size) + random.integers(height)) % height
    columns = (np.arange(size) + random.integers(width)) % width
    return material.pixels[:, rows[:, None], columns]


def split(names: Sequence[str], every: int = 7) -> tuple[list[str], list[str]]:
    """Training and held-out names: every `every`-th of the sorted list is never trained on."""
    ordered = sorted(names)
    held_out = ordered[3::every]
    return [n for n in ordered if n not in held_out], held_out


def _manifest(folder: Path) -> dict[str, dict[str, str]]:
    for place in (folder, folder.parent):
        path = place / "manifest.csv"
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as lines:
                return {row["material_id"]: row for row in csv.DictReader(lines)}
    return {}


def _fit(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    width, height = (max(8, round(side * scale) // 8 * 8) for side in size)
    return width, height


def _read(path: Path, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        image: Image.Image = opened
        if image.mode.startswith("I"):  # 16-bit grey, which convert("L") would clip rather than scale
            wide = np.asarray(image, np.float32)
            image = Image.fromarray((wide / 257).astype(np.uint8))
        pixels = np.asarray(image.convert(mode).resize(size, Image.Resampling.BOX))
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))
