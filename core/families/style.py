"""Neural style: a material redrawn with the patches of any picture.

The network turns pictures into features of 4x4 pixels and back. In between, coarse levels first, the content's features
get the statistics of the style's (core/transport.py) and are swapped for the nearest patches of the style
(core/patches.py; Chen and Schmidt 2016, "Fast Patch-based Style Transfer of Arbitrary Style"). What is known only of
whole pictures, statistics and patches, is made here and handed to the graph.

One graph holds three parts; the inputs of those that are not wanted get the smallest arrays that pass.
    pixels float32 (1, 3, H, W)  ->  features float32 (1, C, h, w)
    target float32 (1, C, h, w), projection (D, C, 3, 3), keys (D, n), penalty (n,)
        ->  projected float32 (1, D, h, w), nearest (1, h, w): the key with the greatest product, less its penalty
    voted, central float32 (1, C, h, w)  ->  painted float32 (1, 3, H, W)
with h = H / fold. Pixels, target, voted and central carry a halo, outputs do not.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from ..card import Card
from ..emboss import LUMINANCE, emboss
from ..errors import InputError
from ..maps import Array, Maps
from ..patches import DEPTH, SIDE, Patches, Sources, finer
from ..scaling import halved, resized
from ..torus import Tile, tiles, window
from ..transport import carry
from . import Runner, Steps, coder_settings, run_tiles, zeros

INPUTS = {"pixels": 4, "target": 4, "projection": 4, "keys": 2, "penalty": 1, "voted": 4, "central": 4}
OUTPUTS = {"features": 4, "projected": 4, "nearest": 3, "painted": 4}


COARSEST = 96  # pixels: content whose shorter side would be less is not halved again
SMALLEST = 64  # the same for the style, which is mirrored up to this when it is smaller
LARGEST = 1024  # pixels of the style's longer side; past this its patches fill the memory
STYLE_SHARE = 0.5  # longest side of the style at scale 1, as a share of the content's longer side
SEARCHED = 2048  # patches of the style that each cell is compared with
SEARCH_TILE = 64  # cells: one tile's products with all patches fill a few ten megabytes
# How much the content's target counts against what was painted so far, at the finest level and more for each coarser
# one: at full strength the shapes stay and the details are the style's. Weak styles keep close to the content.
GUIDE, GUIDE_COARSER, GUIDE_WEAK = 0.7, 1.0, 4.0
FADE = 0.5  # strength from which on nothing of the content's own pixels is mixed in
# Content whose neighbouring pixels differ by less than this has nothing that patches could be chosen by...
SMOOTH = 0.3 / 255
GRAIN = 2 / 255  # ...and gets noise of this standard deviation, of all sizes
PLAIN = 1 / 255  # standard deviation below which a style is one colour


@dataclass(frozen=True)
class Options:
    """How a style is applied."""

    strength: float = 0.8  # 0 gives the content back, 1 lets pieces of the style grow over its shapes
    keep_color: bool = False  # the content's colours, the style's light and dark
    style_scale: float = 1.0  # size of what is seen in the style; 2 makes it twice as large
    relief: bool = False  # the style's structure is embossed into normal and height
    tile: int = 512  # largest side, in pixels, that runs in one piece

    def check(self) -> None:
        """`InputError` that says what is allowed, when a number is out of range."""
        if not 0 <= self.strength <= 1:
            raise InputError(f"A strength of {self.strength:g} cannot be had; choose one from 0 to 1.")
        if not 0.25 <= self.style_scale <= 4:
            raise InputError(f"A style scale of {self.style_scale:g} cannot be had; choose one from 0.25 to 4.")


@dataclass(frozen=True)
class _Level:
    """Content and style at one resolution, as features (h, w, C)."""

    content: Array
    style: Array
    guide: float  # how much the target counts against what was painted so far, at full strength
    repeats: int  # searches, each on what the one before painted


def stylize(card: Card, runner: Runner, maps: Maps, style: Array, options: Options) -> Steps:
    """Redraw the albedo of `maps` in the style of a picture `(H, W, 1 or 3)`, sRGB-encoded; a step of work.

    All other maps stay, but for normal and height with `options.relief`. `InputError` for what cannot be done.
    """
    options.check()
    if "albedo" not in maps:
        raise InputError("A style needs an albedo map to work on; add one.")
    card.size.check(*maps.size)
    if options.strength == 0:
        return maps
    network = _Network(card, runner, options.tile)
    content = maps["albedo"]
    picture = _prepared(style, max(maps.size), options.style_scale)
    if options.keep_color:
        picture = _grey_like(picture, content)
        content = np.repeat((content @ LUMINANCE)[..., None], 3, 2)
    levels = yield from _levels(network, _grained(content), picture)
    voted, central = yield from _swapped(network, levels, options.strength)
    painted = yield from network.paint(voted, central)
    if options.keep_color:
        painted = maps["albedo"] + np.repeat(((painted - content) @ LUMINANCE)[..., None], 3, 2)
    share = np.float32(min(1.0, options.strength / FADE))
    albedo = np.clip(maps["albedo"] + share * (painted - maps["albedo"]), 0, 1)
    changed = Maps({**maps, "albedo": albedo}, maps.relief)
    return emboss(changed, options.strength) if options.relief else changed


def _levels(network: _Network, content: Array, style: Array) -> Generator[float, None, list[_Level]]:
    """Both pictures at every resolution, coarse first."""
    count = _count(content, style, network.fold)
    levels: list[_Level] = []
    for depth in range(count):
        features = network.encode(content)
        guide = GUIDE + GUIDE_COARSER * depth
        levels.insert(0, _Level(features, network.encode_whole(style), guide, min(3, 1 + depth)))
        content, style = halved(content), halved(style)
        yield 0.2 * (1 - 0.25 ** (depth + 1))
    return levels


def _swapped(network: _Network, levels: list[_Level], strength: float) -> Generator[float, None, tuple[Array, Array]]:
    """(voted, central) features (h, w, C) of the finest level, made of the style's patches."""
    sources: Sources | None = None
    for number, level in enumerate(levels):
        target = carry(level.content, level.style)
        patches = Patches(level.style, SEARCHED)
        sources = None if sources is None else finer(sources)
        estimate = None if sources is None else patches.vote(sources)
        guide = np.float32(level.guide * (1 + GUIDE_WEAK * (1 - strength)))
        for _ in range(level.repeats):
            wanted = target if estimate is None else (guide * target + estimate) / (guide + 1)
            sources = network.search(wanted, patches, sources, loyalty=strength**2)
            estimate = patches.vote(sources)
        yield 0.2 + 0.5 * 0.25 ** (len(levels) - 1 - number)
    if sources is None or estimate is None:
        raise ValueError("there is always a level")
    return estimate, patches.gather(sources)


class _Network:
    """The three parts of the graph, run on arrays of any size."""

    def __init__(self, card: Card, runner: Runner, tile: int) -> None:
        self.card, self.runner, self.tile = card, runner, tile
        self.fold, self.channels, self.encoder_halo, self.decoder_halo = coder_settings(card)
        self.idle = self._idle()

    def encode(self, pixels: Array) -> Array:
        """Features (h, w, C) of a periodic picture (H, W, 3), tile by tile."""
        height, width = (side // self.fold for side in pixels.shape[:2])
        return self._encoded(pixels, list(tiles(height, width, max(1, self.tile // self.fold))))

    def encode_whole(self, pixels: Array) -> Array:
        """Features (h, w, C) of a picture with edges, mirrored there; what does not fill a cell is left out."""
        height, width = (side // self.fold for side in pixels.shape[:2])
        cells = pixels[: height * self.fold, : width * self.fold]
        return self._encoded(cells, [Tile(0, 0, height, width)], mirrored=True)

    def _encoded(self, pixels: Array, pieces: list[Tile], mirrored: bool = False) -> Array:
        """Features of a picture that tiles, or is `mirrored` at its edges, in pieces."""
        planes = pixels.transpose(2, 0, 1)[None]
        height, width = (side // self.fold for side in pixels.shape[:2])
        features = np.empty((height, width, self.channels), np.float32)

        def feeds(tile: Tile) -> dict[str, Array]:
            seen = window(planes, tile.scaled(self.fold), self.encoder_halo * self.fold, mirrored)
            return {**self.idle, "pixels": seen}

        for tile, outputs, _ in run_tiles(self.runner, pieces, feeds):
            features[tile.rows(), tile.columns()] = outputs[0][0].transpose(1, 2, 0)
        return features

    def search(self, wanted: Array, patches: Patches, before: Sources | None, loyalty: float) -> Sources:
        """The style's patches nearest to what is wanted (h, w, C), in pieces that hang together."""
        keys, penalty = patches.search
        constant = {"projection": patches.projection, "keys": keys, "penalty": penalty}
        height, width = wanted.shape[:2]
        queries = np.empty((height, width, DEPTH), np.float32)
        nearest = np.empty((height, width), np.int64)
        planes = wanted.transpose(2, 0, 1)[None]

        def feeds(tile: Tile) -> dict[str, Array]:
            return {**self.idle, **constant, "target": window(planes, tile, SIDE // 2)}

        for tile, outputs, _ in run_tiles(self.runner, list(tiles(height, width, SEARCH_TILE)), feeds):
            queries[tile.rows(), tile.columns()] = outputs[1][0].transpose(1, 2, 0)
            nearest[tile.rows(), tile.columns()] = outputs[2][0]
        return patches.cohere(queries, patches.sources(nearest), before, loyalty)

    def paint(self, voted: Array, central: Array) -> Generator[float, None, Array]:
        """The periodic picture (H, W, 3) of features (h, w, C)."""
        height, width = voted.shape[:2]
        both = {"voted": voted.transpose(2, 0, 1)[None], "central": central.transpose(2, 0, 1)[None]}
        painted = np.empty((height * self.fold, width * self.fold, 3), np.float32)

        def feeds(tile: Tile) -> dict[str, Array]:
            return {**self.idle, **{name: window(planes, tile, self.decoder_halo) for name, planes in both.items()}}

        pieces = list(tiles(height, width, max(1, self.tile // self.fold)))
        for tile, outputs, done in run_tiles(self.runner, pieces, feeds):
            painted[tile.rows(self.fold), tile.columns(self.fold)] = outputs[3][0].transpose(1, 2, 0)
            yield 0.7 + 0.25 * done
        return painted

    def _idle(self) -> dict[str, Array]:
        """The smallest inputs: one cell for each part, one key."""
        pixels, cells = (2 * self.encoder_halo + 1) * self.fold, 2 * self.decoder_halo + 1
        shapes = {
            "pixels": (1, 3, pixels, pixels),
            "target": (1, self.channels, SIDE, SIDE),
            "projection": (DEPTH, self.channels, SIDE, SIDE),
            "keys": (DEPTH, 1),
            "penalty": (1,),
            "voted": (1, self.channels, cells, cells),
            "central": (1, self.channels, cells, cells),
        }
        return zeros(shapes)


def _count(content: Array, style: Array, fold: int) -> int:
    """Resolutions to work at: as many as both pictures allow, and as halve the content into whole cells."""
    height, width = content.shape[:2]
    side, other = min(height, width), min(style.shape[:2])
    count = 1
    while (
        side >= 2 * COARSEST
        and other >= 2 * SMALLEST
        and height % (2**count * fold) == 0
        and width % (2**count * fold) == 0
    ):
        side, other, count = side // 2, other // 2, count + 1
    return count


def _grained(content: Array) -> Array:
    """Content (H, W, 3), with noise if all of it is smooth, as one patch would be repeated all over.

    Only this noise depends on where the torus begins.
    """
    steps = [float(np.abs(np.diff(content, axis=axis)).mean(dtype=np.float64)) for axis in (0, 1)]
    if max(steps) >= SMOOTH:
        return content
    height, width = content.shape[:2]
    row, column = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(np.random.default_rng(0).standard_normal((height, width)))
    noise = np.fft.irfft2(spectrum / (np.hypot(row, column) + 1 / max(height, width)), s=(height, width))
    grained: Array = content + (noise * (GRAIN / noise.std())).astype(np.float32)[..., None]
    return grained


def _prepared(style: Array, content: int, scale: float) -> Array:
    """The style (H, W, 3) in [0, 1] at the size that its patches are taken from; `InputError` if it is one colour.

    At scale 1 it keeps its pixels, unless it is larger than half the content's longer side.
    """
    style = np.clip(np.broadcast_to(style, (*style.shape[:2], 3)) if style.shape[2] == 1 else style, 0, 1)
    if float(style.std((0, 1)).max()) < PLAIN:
        raise InputError("The style image is all of one colour, so there is nothing to take from it; choose another.")
    longest = max(style.shape[:2])
    factor = min(scale * min(1.0, STYLE_SHARE * content / longest), LARGEST / longest)
    height, width = (max(1, round(side * factor)) for side in style.shape[:2])
    style = resized(style, height, width)
    more = [(0, max(0, SMALLEST - side)) for side in (height, width)]
    return np.pad(style, (*more, (0, 0)), mode="symmetric").astype(np.float32, copy=False)


def _grey_like(style: Array, content: Array) -> Array:
    """The style's light and dark (H, W, 3), around the content's mean and as strong as both together.

    Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer", take the content's contrast alone, which
    leaves nothing of a style on a plain material.
    """
    grey, other = style @ LUMINANCE, content @ LUMINANCE
    spread = np.sqrt(float(other.std()) * float(grey.std()))
    matched = (grey - grey.mean()) * (spread / max(float(grey.std()), 1e-6)) + np.round(other.mean(dtype=np.float64), 7)
    return np.repeat(matched[..., None].astype(np.float32), 3, 2)
