"""Physically based shading for previews: a metallic-roughness surface in a small photo studio.

Vectors are float32 `(3, N)` in view space: x right, y up, z towards the camera. Colours are linear light. The studio is
three soft boxes and a soft grey room, all at infinity and all formulas, so that nothing has to be loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]  # float32 in fact; mixed with Python numbers, its type is lost on mypy


PITCH = np.radians(16)  # the camera looks down by this angle
UP: Floats = np.array([0, np.cos(PITCH), np.sin(PITCH)], np.float32)  # the studio's up, seen from the camera

FLOOR = 0.26  # radiance of the studio: floor, walls at eye level, ceiling
WALL = 0.24
CEILING = 0.55


@dataclass(frozen=True)
class SoftBox:
    """A rectangular light at infinity."""

    towards: tuple[float, float, float]  # direction of its centre, view space
    half: tuple[float, float]  # half its width and height, as tangents of angles
    radiance: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # linear colour


KEY = SoftBox((-0.66, 0.62, 0.46), (0.42, 0.42), 6.4, (1.0, 0.97, 0.93))
FILL = SoftBox((0.93, 0.18, 0.36), (0.16, 0.85), 1.5, (0.93, 0.97, 1.0))
RIM = SoftBox((0.42, 0.62, -0.66), (0.75, 0.28), 3.6)


@dataclass(frozen=True)
class Surface:
    """What the light falls on, for N points."""

    base: Floats  # (3, N) linear colour
    normal: Floats  # (3, N) unit, with the detail of the normal map
    smooth: Floats  # (3, N) unit, of the shape alone
    roughness: Floats  # (N,) perceptual, in [0, 1]
    metallic: Floats  # (N,)
    ao: Floats  # (N,) ambient visibility, 1 is open
    shade: Floats  # (N,) visibility of the key light in the relief, 1 is lit


def dot(a: Floats, b: Floats) -> Floats:
    """Scalar product of `(3, N)` or `(3, 1)` vectors -> `(N,)`."""
    product: Floats = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


def unit(vector: Floats) -> Floats:
    """The same directions at length 1."""
    scaled: Floats = vector / np.sqrt(np.maximum(dot(vector, vector), 1e-12))
    return scaled


def shade(surface: Surface) -> Floats:
    """Radiance `(3, N)` towards the camera, which looks along -z without perspective."""
    alpha = np.maximum(surface.roughness, 0.06) ** 2  # Disney's square (Burley 2012, 5.4)
    facing = np.clip(surface.normal[2], 0.04, 1)  # n.v, as v is the z axis
    mirror = 2 * surface.normal[2] * surface.normal - np.array([[0], [0], [1]], np.float32)
    specular = 0.04 + (surface.base - 0.04) * surface.metallic  # reflectance at normal incidence
    diffuse = surface.base * (1 - surface.metallic) / np.float32(np.pi)
    light = _ambient(surface, diffuse, specular, mirror, facing)
    for box, visible in ((KEY, surface.shade), (FILL, surface.ao), (RIM, surface.ao)):
        light += _lit(box, surface, diffuse, specular, mirror, facing, alpha) * visible
    return light


def _ambient(surface: Surface, diffuse: Floats, specular: Floats, mirror: Floats, facing: Floats) -> Floats:
    """The room: irradiance for the diffuse part, the split-sum approximation for the reflection.

    Reflection: Karis, "Physically Based Shading on Mobile", 2014, for the integral over the lobe; Lagarde and de
    Rousiers, "Moving Frostbite to PBR", 2014, 4.10.2, for the occlusion of reflections.
    """
    rough = surface.roughness
    a = np.minimum((1 - rough) ** 2, np.exp2(-9.28 * facing)) * (1 - rough) + 0.0425 - 0.0275 * rough
    reflectance = specular * (1.04 - 0.572 * rough - 1.04 * a) + (1.04 * a + 0.022 * rough - 0.04)
    open_ = np.clip((facing + surface.ao) ** np.exp2(-16 * rough - 1) - 1 + surface.ao, 0, 1)
    above = (
        np.clip(1 + 1.3 * dot(mirror, surface.smooth), 0, 1) ** 2
    )  # a mirror direction inside the ball sees the ball
    room = _room(dot(mirror, UP), 0.08 + 0.9 * rough)
    irradiance = np.float32(np.pi) * _room(0.75 * dot(surface.normal, UP), 0.9) * surface.ao
    combined: Floats = diffuse * irradiance + reflectance * (room * open_ * above)
    return combined


def _room(up: Floats, blur: Floats | float) -> Floats:
    """Radiance of the room at the sine of the elevation, blurred by about `blur`."""
    ceiling = _step(up, -0.1, 1.0 + 0 * blur)
    ground = _step(-up, -np.asarray(blur, np.float32), np.asarray(blur, np.float32))
    under = FLOOR * (1 - 0.75 * np.clip(-up, 0, 1) ** 2)  # straight below, the ball reflects its own shadow
    radiance: Floats = (WALL + (CEILING - WALL) * ceiling) * (1 - ground) + under * ground
    return radiance


def _lit(
    box: SoftBox, surface: Surface, diffuse: Floats, specular: Floats, mirror: Floats, facing: Floats, alpha: Floats
) -> Floats:
    """Light from one soft box: Lambert and Cook-Torrance with GGX, Smith and Schlick.

    Walter et al., "Microfacet Models for Refraction", 2007 (GGX); Heitz, JCGT 2014 (height-correlated Smith); Schlick
    1994 (Fresnel). The box is replaced by its point nearest to the mirror direction (Karis, "Real Shading in Unreal
    Engine 4", 2013). The peak is divided by alpha^2 + omega / 4 pi, with omega the box's solid angle: then a perfect
    mirror shows the box at its own radiance, and a rough surface is lit by a point with the same power.
    """
    centre, across, along = _axes(box)
    ahead = np.maximum(dot(mirror, centre), 0.05)
    u = np.clip(dot(mirror, across) / ahead, -box.half[0], box.half[0])
    v = np.clip(dot(mirror, along) / ahead, -box.half[1], box.half[1])
    point = unit(centre + across * u + along * v)
    half = unit(point + np.array([[0], [0], [1]], np.float32))
    spread = np.float32(4 * box.half[0] * box.half[1])
    nl = np.clip(dot(surface.normal, point), 1e-4, 1)
    nh, vh = np.clip(dot(surface.normal, half), 0, 1), np.clip(half[2], 0, 1)
    squared = alpha * alpha
    lobe = squared / (nh**2 * (squared - 1) + 1)
    peak = lobe * lobe / (np.float32(np.pi) * (squared + spread / np.float32(4 * np.pi)))
    smith = 0.5 / (
        nl * np.sqrt(facing**2 * (1 - squared) + squared) + facing * np.sqrt(nl**2 * (1 - squared) + squared)
    )
    fresnel = specular + (1 - specular) * _fifth(1 - vh)
    lambert = _soft_cosine(dot(surface.normal, centre), 0.5 * float(np.hypot(*box.half)))
    terminator = _step(dot(surface.smooth, centre), -0.25, 0.2)
    power = np.float32(box.radiance * spread) * terminator
    tint = np.array(box.tint, np.float32)[:, None]
    light: Floats = tint * (diffuse * (1 - fresnel) * (lambert * power) + fresnel * (peak * smith * nl * power))
    return light


def _axes(box: SoftBox) -> tuple[Floats, Floats, Floats]:
    """Centre, horizontal and vertical axis of a box, each `(3, 1)`."""
    centre = np.array(box.towards, np.float64) / np.linalg.norm(box.towards)
    across = np.cross(UP, centre)
    across /= np.linalg.norm(across)
    axes = np.stack([centre, across, np.cross(centre, across)]).astype(np.float32)[..., None]
    return axes[0], axes[1], axes[2]


def _fifth(value: Floats) -> Floats:
    """The fifth power, many times faster than numpy's general power."""
    square = value * value
    power: Floats = square * square * value
    return power


def _soft_cosine(cosine: Floats, size: float) -> Floats:
    """The clipped cosine with its corner rounded, as a light of some extent sets little by little."""
    rounded: Floats = (cosine + np.sqrt(cosine**2 + np.float32(0.25 * size**2))) / 2
    return rounded


def _step(value: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0, 1)
    smooth: Floats = t * t * (3 - 2 * t)
    return smooth


def backdrop(x: Floats, y: Floats) -> Floats:
    """Radiance `(N,)` of an endless grey cove with the soft shadow of a unit ball that stands on it.

    `x`, `y` are view coordinates in ball radii. Both shadows are closed forms by Quilez ("Sphere ambient occlusion",
    "Sphere soft shadow").
    """
    depth = (-1 - y * UP[1]) / UP[2]  # the ray meets the floor at this z
    floor = np.stack([x, y, depth]).astype(np.float32)
    far = np.sqrt(dot(floor, floor))
    contact = np.clip(1 / far**3, 0, 1)
    centre, _, _ = _axes(KEY)
    along = -dot(floor, centre)  # towards the light, where the ball is nearest
    miss = np.sqrt(np.maximum(far**2 - along**2, 0)) - 1
    umbra = _step(miss / np.maximum(along, 0.2), -0.5, 0.55)
    cast = np.where(along > 0, umbra, 1)
    on_floor = 1 - _step(y, -0.75, 0.35)
    shadow = (1 - 0.85 * contact) * (0.62 + 0.38 * cast)
    glow = np.exp(-0.22 * (x**2 + (y - 0.35) ** 2))
    room = 0.16 + 0.24 * glow
    lit: Floats = room * (1 + 0.55 * on_floor) * (1 + (shadow - 1) * on_floor)
    return lit


def tone_map(light: Floats) -> Floats:
    """Compress linear light `(3, N)` to [0, 1], true to the base colours below 0.8.

    Khronos PBR Neutral Tone Mapper, 2024, made for pictures of products.
    """
    low = light.min(axis=0)
    light = light - np.where(low < 0.08, low - 6.25 * low**2, 0.04)
    start, desaturation = np.float32(0.8 - 0.04), np.float32(0.15)
    peak = light.max(axis=0)
    room = 1 - start
    new = np.where(peak < start, peak, 1 - room**2 / (np.maximum(peak, start) + room - start))
    scaled = light * (new / np.maximum(peak, 1e-6))
    white = 1 - 1 / (desaturation * np.maximum(peak - new, 0) + 1)
    mapped: Floats = scaled * (1 - white) + new * white
    return np.clip(mapped, 0, 1)
