"""How large a material lies on an object, and by what it shows its relief."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .materials import Look
from .targets import Coordinates

MODES = ("REAL", "FIT")
RELIEFS = ("NORMAL", "BUMP", "DISPLACEMENT")


@dataclass(frozen=True)
class Placing:
    """What the artist chose."""

    mode: str = "REAL"  # "REAL": as large as in the real world; "FIT": once over the UV map
    scale: float = 1.0  # 2 makes everything twice as large
    relief: str = "NORMAL"  # as `materials.Look.relief`

    def to_dict(self) -> dict[str, Any]:
        """Plain data, to be remembered."""
        return asdict(self)


def from_dict(raw: Mapping[str, Any]) -> Placing:
    """A placing from plain data that may come from a stranger's file: what makes no sense is the default."""
    mode, scale, relief = raw.get("mode"), raw.get("scale"), raw.get("relief")
    usable = isinstance(scale, (int, float)) and 1e-3 <= scale <= 1e3
    return Placing(
        mode if mode in MODES else "REAL", float(scale) if usable else 1.0, relief if relief in RELIEFS else "NORMAL"
    )


def look(placing: Placing, coordinates: Coordinates, metres: tuple[float, float], relief: float) -> Look:
    """How maps lie that cover `metres` (width, height) of the real world and are `relief` of their widths deep."""
    x, y, z = coordinates.metres
    if placing.mode == "FIT":
        longest = max(coordinates.metres)
        metres = (x, y) if coordinates.uv else (longest, longest)
    width, height = (side * placing.scale for side in metres)
    if coordinates.uv:
        across, down = (
            # Whole repeats, so that no seam shows where the map's end meets its beginning.
            max(1, round(repeats)) if closed else repeats
            for repeats, closed in zip((x / width, y / height), coordinates.closed, strict=True)
        )
        mapping = across, down, 1.0
    else:  # a box is looked at from four sides with z upwards, so z goes along the height of the maps
        mapping = x / width, y / width, z / height
    wanted = placing.relief
    if not coordinates.uv and wanted == "NORMAL":
        wanted = "BUMP"  # a normal map needs the tangents of a UV map
    return Look(coordinates.uv, mapping, wanted, relief * width)
