"""The teachers of the recurrent networks: physics that moves the pixels of a material, slowly and exactly.

Everything lives on a torus. Pixels (B, 8, H, W) are in the order of `core.planes`; fields of cells are (B, C, h, w)
with 4x4 pixels a cell. The drives are those of core/motion.py, so that the networks meet at run time what they know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core import motion, relief
from core.maps import Array
from export import materials as photos
from export import vae

FOLD = vae.FOLD
STEEPEST = relief.STEEPEST
KEPT, REUSED = 48, 3  # clips that are kept, and how often each is used: the teacher is slower than its pupil
# Growth: a front of the Allen-Cahn equation, which keeps its width and runs as fast as it is driven (Allen and Cahn
# 1979, "A microscopic theory for antiphase boundary motion"), in turns of a third of a step.
TURNS = 3
DIFFUSION, REACTION = 0.2, 0.9
BARE = -0.42  # on the drive while the tide is in: the least ready places are never overgrown
WITHERING = 0.016  # of the thickness, a turn, while the tide is out: a coat that covers all has no edge to die from
AGEING = 0.12  # a step: how fast the age of a coat follows its thickness
# Shimmer: the wave equation, damped so that a lap forgets the one before.
STIFFNESS = 0.35  # squared speed of waves, cells a turn
DAMPING = 0.045  # of the speed, a turn
SMOOTHING = 0.06  # of the speed's differences, a turn: no waves as short as a cell
DEPTH = 8.0  # pixels between the water's height -1 and 0


@dataclass(frozen=True)
class Clip:
    """A few steps of motion, as the network should take them."""

    materials: list[Tensor]  # as each step sees it, (B, 16, h, w); for flow what lies where the state points
    drives: list[Tensor]  # of each step, (B, D, h, w)
    states: list[Tensor]  # before each step and after the last, (B, S, h, w)
    latents: list[Tensor]  # what each step should show, (B, 16, h, w)


class Teacher:
    """Makes clips of one motion from crops of real materials."""

    def __init__(self, name: str, codec: vae.Codec, materials: Sequence[photos.Material], side: int, seed: int) -> None:
        self.name, self.codec, self.side = name, codec, side
        self.crops = photos.Crops(materials, side * FOLD, seed)
        self.random = np.random.default_rng(seed)
        self.where = next(codec.parameters()).device
        self.kept: list[Clip] = []
        self.calls = 0

    @torch.no_grad()
    def pixels(self, count: int) -> tuple[Tensor, Tensor]:
        """(complete pixels, latent) of crops; the codec guesses the maps that a photo lacks."""
        self.crops.random = self.random
        pixels, known = (t.to(self.where) for t in self.crops.batch(count))
        latent = encode(self.codec, vae.fill(pixels, known), known)
        made = decode(self.codec, latent)
        return made, encode(self.codec, made)

    def latents(self, count: int) -> Tensor:
        """Latents of crops, (B, 16, h, w)."""
        return self.pixels(count)[1]

    def lesson(self, count: int, steps: int) -> Clip:
        """A clip from those that are kept, which are made anew one by one."""
        self.calls += 1
        if len(self.kept) < KEPT:
            self.kept.append(self.clip(count, steps))
            return self.kept[-1]
        place = int(self.random.integers(KEPT))
        if self.calls % REUSED == 0:
            self.kept[place] = self.clip(count, steps)
        return self.kept[place]

    @torch.no_grad()
    def clip(self, count: int, steps: int) -> Clip:
        """A batch of clips of `steps` steps."""
        return {"flow": self.flow, "growth": self.growth, "shimmer": self.shimmer}[self.name](count, steps)

    def flow(self, count: int, steps: int) -> Clip:
        """Two layers of different age in a current; the second takes over where its pixels stand higher or lighter."""
        pixels, material = self.pixels(count)
        pixels = torch.cat([pixels, raised(pixels)], 1)
        current = self.field(lambda: motion.current_of(self.side, self.side, self.random, self.speed()), count)
        layers = [torch.zeros_like(current) for _ in range(2)]
        for layer, age in enumerate(self.random.integers(motion.LIFE + 1 - steps, size=2)):
            for _ in range(age):
                layers[layer] = drifted(layers[layer], current)
        no_renewal = torch.zeros(count, 6, self.side, self.side, device=self.where)
        clip = Clip([], [], [], [])
        for _ in range(steps):
            share = self.field(lambda: self.share()[None], count)
            clip.states.append(torch.cat(layers, 1))
            clip.materials.append(torch.cat([gathered(material, layer) for layer in layers], 1))
            clip.drives.append(torch.cat([current, share, no_renewal], 1))
            seen = [deform(pixels, enlarge(layer) * FOLD) for layer in layers]
            clip.latents.append(encode(self.codec, take_over(seen[0], seen[1], enlarge(share))))
            layers = [drifted(layer, current) for layer in layers]
        clip.states.append(torch.cat(layers, 1))
        return clip

    def growth(self, count: int, steps: int) -> Clip:
        """A coat of another material that spreads and withdraws."""
        pixels, material = self.pixels(count)
        other, coat = self.pixels(count)
        ground = self.field(lambda: np.stack(motion.ground_of(self.side, self.side, self.random)), count)
        high = raised(pixels)
        hollow, detail = F.avg_pool2d(-blur(high, 2), FOLD), 0.2 * (raised(other) - high)
        start = int(self.random.integers(2, motion.LAP - 10))  # at the end of a lap all is bare
        state = torch.zeros(count, 2, self.side, self.side, device=self.where)
        drives, states, latents = [], [], []
        for step in range(start + steps + 1):
            tide = torch.full_like(state[:, :1], motion.tide(step / motion.LAP))
            if step >= start:
                states.append(state)
            if start <= step < start + steps:
                drives.append(torch.cat([tide, ground, coat], 1))
                latents.append(encode(self.codec, coated(pixels, other, state, detail)))
            state = spread(state, tide, ground, hollow)
        return Clip([material] * steps, drives, states, latents)

    def shimmer(self, count: int, steps: int) -> Clip:
        """Rings of drops on a thin sheet of water."""
        pixels, material = self.pixels(count)
        warm = int(self.random.integers(1, 16))
        state = torch.zeros(count, 2, self.side, self.side, device=self.where)
        drives, states, latents = [], [], []
        for step in range(warm + steps + 1):
            fall = self.field(self.drops, count)
            if step >= warm:
                states.append(state)
            if warm <= step < warm + steps:
                drives.append(fall)
                latents.append(encode(self.codec, under_water(pixels, state[:, :1])))
            state = swing(state, fall)
        return Clip([material] * steps, drives, states, latents)

    def speed(self) -> float:
        """Cells a step; a fifth of the currents stand still or are fast."""
        return float(self.random.uniform(0.5, 1.3)) * motion.SPEED

    def share(self) -> Array:
        """A share (h, w) of the second layer, uneven in space as in a lap."""
        age = self.random.uniform() + motion.UNEVEN * motion.smooth(self.side, self.side, motion.EDDY, self.random)
        share = 0.5 + 0.5 * np.cos(2 * np.pi * age)
        return (share * share * (3 - 2 * share)).astype(np.float32)

    def drops(self) -> Array:
        """(1, h, w): the push of the drops of one step."""
        often = self.side**2 / (motion.DROP_AREA * motion.LAP)
        falls = [
            (int(self.random.integers(self.side)), int(self.random.integers(self.side)), self.random.uniform(0.4, 1))
            for _ in range(self.random.poisson(2 * often))
        ]
        return motion.drops(self.side, self.side, falls)[None]

    def field(self, make: Callable[[], Array], count: int) -> Tensor:
        """A batch of fields, each made anew."""
        return torch.from_numpy(np.stack([make() for _ in range(count)])).to(self.where)


@torch.no_grad()
def sensitivity(decoder: vae.Decoder, latents: Tensor) -> Tensor:
    """(16,) how much the planes change (weighted as in the codec's loss) where one latent channel does."""
    before, weight = decoder(latents), torch.tensor(vae.WEIGHTS)[None, :, None, None]
    changes = []
    for channel in range(vae.LATENT):
        moved = latents.clone()
        moved[:, channel] += 0.3
        changes.append((((decoder(moved) - before) * weight) ** 2).mean().sqrt())
    return torch.stack(changes)


def encode(codec: vae.Codec, pixels: Tensor, known: Tensor | None = None) -> Tensor:
    """Latent (B, 16, h, w) of pixels on a torus; all maps are known unless told otherwise."""
    known = torch.ones(len(pixels), 8, 1, 1, device=pixels.device) if known is None else known
    padded = F.pad(pixels, (vae.ENCODER_HALO * FOLD,) * 4, mode="circular")
    return codec.encoder(padded, known)[0][:, :, *(slice(vae.ENCODER_HALO, -vae.ENCODER_HALO),) * 2]


def decode(codec: vae.Codec, latent: Tensor) -> Tensor:
    """Pixels (B, 8, H, W) in [0, 1] of a latent on a torus."""
    cut = vae.DECODER_HALO * FOLD
    padded = F.pad(latent, (vae.DECODER_HALO,) * 4, mode="circular")
    return codec.decoder(padded)[:, :, cut:-cut, cut:-cut].clamp(0, 1)


def enlarge(cells: Tensor) -> Tensor:
    """Fields of cells as smooth fields of pixels, on the torus."""
    padded = F.pad(cells, (3,) * 4, mode="circular")
    large = F.interpolate(padded, scale_factor=FOLD, mode="bicubic", align_corners=False)
    return large[:, :, 3 * FOLD : -3 * FOLD, 3 * FOLD : -3 * FOLD]


def gradient(field: Tensor) -> Tensor:
    """Central differences (B, 2, H, W), across and down, of a field (B, 1, H, W) on the torus."""
    across = (field.roll(-1, 3) - field.roll(1, 3)) / 2
    down = (field.roll(-1, 2) - field.roll(1, 2)) / 2
    return torch.cat([across, down], 1)


def fetch(image: Tensor, shift: Tensor, mode: str = "bicubic") -> Tensor:
    """image(x + shift(x)) on the torus; `shift` (B, 2, H, W) in pixels, across and down."""
    height, width = image.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing="ij"
    )
    across, down = (x + shift[:, 0]) % width + 3, (y + shift[:, 1]) % height + 3
    padded = F.pad(image, (3,) * 4, mode="circular")
    grid = torch.stack([(across + 0.5) * 2 / (width + 6) - 1, (down + 0.5) * 2 / (height + 6) - 1], -1)
    return F.grid_sample(padded, grid, mode=mode, padding_mode="border", align_corners=False)


def slopes(pixels: Tensor) -> Tensor:
    """Slopes (B, 2, H, W) of the normals, as `core.relief.slopes`."""
    x, y = (pixels[:, 3:5] * 2 - 1).chunk(2, 1)
    z = (1 - x * x - y * y).clamp_min(1 / (1 + STEEPEST**2)).sqrt()
    return torch.cat([-x / z, y / z], 1).clamp(-STEEPEST, STEEPEST)


def with_slopes(pixels: Tensor, slope: Tensor) -> Tensor:
    """Pixels whose normals have these slopes."""
    across, down = slope.clamp(-STEEPEST, STEEPEST).chunk(2, 1)
    length = (1 + across**2 + down**2).sqrt()
    normal = torch.cat([-across / length, down / length], 1) / 2 + 0.5
    return torch.cat([pixels[:, :3].clamp(0, 1), normal, pixels[:, 5:8].clamp(0, 1), pixels[:, 8:]], 1)


def deform(pixels: Tensor, shift: Tensor) -> Tensor:
    """pixels(x + shift(x)), and of what else is stacked on them; slopes turn and stretch with the surface."""
    moved = fetch(pixels, shift)
    slope = slopes(moved)
    rows = []
    for axis in (0, 1):  # d/d(axis) of h(x + shift(x)), by the chain rule
        turned = [gradient(shift[:, i : i + 1])[:, axis : axis + 1] * slope[:, i : i + 1] for i in (0, 1)]
        rows.append(slope[:, axis : axis + 1] + turned[0] + turned[1])
    return with_slopes(moved, torch.cat(rows, 1))


def drifted(shift: Tensor, current: Tensor) -> Tensor:
    """Where things come from (B, 2, h, w), across and down, one step later in a current."""
    return fetch(shift, -current, "bilinear") - current


def gathered(latent: Tensor, shift: Tensor) -> Tensor:
    """The four cells around x + shift(x): (B, 4*16, h, w), top left, top right, bottom left, bottom right."""
    height, width = latent.shape[2:]
    y = torch.arange(height, device=latent.device)[:, None] + shift[:, 1].floor().long()
    x = torch.arange(width, device=latent.device)[None, :] + shift[:, 0].floor().long()
    flat = latent.flatten(2)
    corners = []
    for dy in (0, 1):
        for dx in (0, 1):
            place = ((y + dy) % height * width + (x + dx) % width).flatten(1)
            corners.append(flat.gather(2, place[:, None].expand(-1, flat.shape[1], -1)).reshape(latent.shape))
    return torch.cat(corners, 1)


def raised(pixels: Tensor) -> Tensor:
    """How far (B, 1, H, W) a pixel stands out of its surroundings, -1 to 1: by relief, and by lightness."""
    light = pixels[:, :3].mean(1, keepdim=True)
    heights = []
    for slope in slopes(pixels).cpu().numpy():
        heights.append(relief.integrate(slope[0], slope[1]))
    height = torch.from_numpy(np.stack(heights))[:, None].to(pixels.device)
    found = []
    for field in (light, height):
        field = field - blur(field, 12)
        found.append((field / (field.std((2, 3), keepdim=True) + 0.02)).clamp(-1.5, 1.5) / 1.5)
    return 0.5 * found[0] + 0.5 * found[1]


def blur(field: Tensor, radius: int) -> Tensor:
    """Twice a box mean on the torus."""
    for _ in range(2):
        field = F.avg_pool2d(F.pad(field, (radius,) * 4, mode="circular"), 2 * radius + 1, 1)
    return field


def step_up(x: Tensor, low: float, high: float) -> Tensor:
    """0 below `low`, 1 above `high`, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def take_over(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """The second layer over the first; between, whichever stands out: a mean would lose the contrast of both.

    Both are (B, 9, H, W), the last plane how far their pixels stand out.
    """
    lead = (share * 2 - 1) * 2.7 + 1.2 * (second[:, 8:] - first[:, 8:])
    part = step_up(lead, -0.25, 0.25)
    mixed = torch.lerp(first[:, :8], second[:, :8], part)
    return with_slopes(mixed, torch.lerp(slopes(first), slopes(second), part))


def laplacian(field: Tensor) -> Tensor:
    """Sum of the differences to the neighbours, diagonal ones counted half, on the torus."""
    straight = sum(field.roll(by, axis) for axis in (2, 3) for by in (-1, 1))
    oblique = sum(field.roll((a, b), (2, 3)) for a in (-1, 1) for b in (-1, 1))
    return (straight + oblique / 2 - 6 * field) * (2 / 3)


def spread(state: Tensor, tide: Tensor, ground: Tensor, hollow: Tensor) -> Tensor:
    """Thickness and age of a coat one step later."""
    thick, age = state.chunk(2, 1)
    ready, seeds = ground.chunk(2, 1)
    drive = (tide + BARE * (tide > 0) + 0.35 * ready + 0.5 * hollow).clamp(-1.4, 1.4)
    for _ in range(TURNS):
        front = REACTION * thick * (1 - thick) * (thick - 0.5 + 0.5 * drive)
        sown = 0.2 * seeds * tide.clamp_min(0) * (1 - thick)
        lost = WITHERING * (-tide).clamp_min(0) * (1 - 0.6 * ready.clamp(-1.5, 1.4)) * thick
        thick = (thick + DIFFUSION * laplacian(thick) + front + sown - lost).clamp(0, 1)
    return torch.cat([thick, age + AGEING * (thick - age)], 1)


def coated(pixels: Tensor, other: Tensor, state: Tensor, detail: Tensor) -> Tensor:
    """A material under a coat: ragged edge, a stain ahead of it, young parts lighter, and the coat has a thickness.

    `detail` (B, 1, H, W) is added to the thickness and makes the edge ragged.
    """
    thick, age = enlarge(state).clamp(0, 1).chunk(2, 1)
    part = step_up(thick + detail, 0.35, 0.6)
    young = (thick - age).clamp(0, 1)
    stain = 1 - 0.25 * step_up(thick, 0.02, 0.4) * (1 - part)
    coat = torch.cat([other[:, :3] * (1 + 0.3 * young), other[:, 3:]], 1)
    ground = torch.cat([pixels[:, :3] * stain, pixels[:, 3:]], 1)
    mixed = torch.lerp(ground, coat, part)
    slope = torch.lerp(slopes(ground), slopes(coat), part) + 1.8 * gradient(blur(part, 1))
    edge = 1 - 0.5 * (blur(part, 2) - part).clamp_min(0)
    mixed = torch.cat([mixed[:, :6], mixed[:, 6:7] * edge, mixed[:, 7:]], 1)
    return with_slopes(mixed.clamp(0, 1), slope)


def swing(state: Tensor, drops: Tensor) -> Tensor:
    """Height and speed of the water one step later."""
    height, speed = state.chunk(2, 1)
    speed = speed + drops
    for _ in range(2):
        speed = (1 - DAMPING) * speed + STIFFNESS * laplacian(height) + SMOOTHING * laplacian(speed)
        height = height + speed
    return torch.cat([height, speed], 1)


def under_water(pixels: Tensor, height: Tensor) -> Tensor:
    """A material under a thin sheet of water: wet and smooth, refracted, lit by what the waves focus."""
    slope = enlarge(gradient(height)) * DEPTH / FOLD
    seen = deform(pixels, (-4 * slope).clamp(-4, 4))
    focus = (1 - 0.7 * enlarge(laplacian(height))).clamp(0.6, 1.7)
    albedo = (seen[:, :3] ** 1.25) * focus
    rough = 0.06 + 0.2 * seen[:, 5:6]
    made = torch.cat([albedo, seen[:, 3:5], rough, seen[:, 6:]], 1).clamp(0, 1)
    return with_slopes(made, 0.5 * slopes(seen) + slope)
