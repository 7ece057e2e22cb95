"""Rainy: streaks of drops at several distances, and the veil of those too far to see."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .fields import fractal_noise, reduced_size, resize, uniform
from .jpeg import through_file
from .raster import splat
from .task import USUAL, Form, Task


class Layer(NamedTuple):
    """Streaks at one distance; lengths in pixels of a 256-pixel short side."""

    number: int  # in a square picture
    length: tuple[float, float]
    width: float  # standard deviation across
    opacity: float
    taper: float = 1.0  # below 1: as bright at its ends, nearly, as in the middle


LAYERS = (
    Layer(1800, (7, 16), 0.45, 0.8),
    Layer(850, (18, 40), 0.6, 2.0),
    Layer(270, (40, 80), 0.9, 1.5),
    Layer(26, (80, 140), 2.2, 0.5),
)
LIGHT = (0.90, 0.92, 0.94)  # drops gather the sky
MOST_RAIN = 30_000  # pixels of 65,536 that a wild layer's streaks may take, side by side
WORST_FILE, BEST_FILE = 70, 97  # the encoder's quality


def streaks(
    layer: Layer, angle: float, severity: float, height: int, width: int, generator: torch.Generator
) -> Tensor:
    """Optical depth of one layer, (height, width)."""
    short = min(height, width)
    scale = short / 256
    count = round(layer.number * height * width / short**2)
    draws = torch.rand(5, count, generator=generator)
    tilt = angle + 0.035 * torch.randn(count, generator=generator)

    reach = layer.length[1] * scale
    y = draws[0] * (height + 2 * reach) - reach
    x = draws[1] * (width + 2 * reach) - reach
    low, high = layer.length
    length = (low + (high - low) * draws[2] ** 1.5) * scale
    strength = layer.opacity * (0.33 + 1.05 * draws[3] ** 1.5)
    # later drops wait for heavier rain, each fading in
    strength = strength * ((severity - draws[4]) * 8).clamp(0, 1)
    keep = strength > 0
    y, x, tilt, length, strength = (v[keep] for v in (y, x, tilt, length, strength))

    # thinner than a pixel: as wide as a pixel, and fainter
    spread = max(layer.width * scale, 0.4)
    strength = strength * min(1, layer.width * scale / spread)
    lanes = 1 if spread < 0.7 else 2 * round(1.3 * spread) + 1
    across = torch.linspace(-1, 1, lanes) * (lanes // 2)
    profile = torch.exp(-0.5 * (across / spread) ** 2)
    along = torch.linspace(0, 1, max(3, math.ceil(reach)))
    # a drop wobbles, so its streak swells and dies away at both ends
    taper = (4 * along * (1 - along)) ** layer.taper * (0.75 + 0.25 * along)
    spacing = (length / (len(along) - 1))[:, None, None]  # deposits per pixel stay constant
    down = (along - 0.5)[None, :, None] * length[:, None, None]
    cosine, sine = tilt.cos()[:, None, None], tilt.sin()[:, None, None]
    return splat(
        y[:, None, None] + down * cosine - across * sine,
        x[:, None, None] + down * sine + across * cosine,
        strength[:, None, None] * taper[:, None] * profile * spacing,
        height,
        width,
    )


def rain(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind rain; never darker than before.

    One wind direction a photo, up to 35 degrees. Severity 1 is as dense as Rain100H (Yang et al.,
    2017).
    """
    _, height, width = image.shape
    wind, gust, mist = uniform(generator, (-0.6, 0.6), (0.1, 0.35), (0.06, 0.14))
    depth = torch.zeros(height, width)
    for layer in LAYERS:
        depth += streaks(layer, wind, severity, height, width, generator)
    sheets = fractal_noise(*reduced_size(height, width, 32), generator, cells=3, octaves=3)
    sheets = resize(sheets, height, width).clamp(-2, 2)
    depth = depth * (1 + gust * sheets) + mist * severity * (1 + 0.4 * sheets)
    return _behind(depth, image, torch.tensor(LIGHT))


def wild_rain(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind rain of one to three layers of any streaks, most as a JPEG file.

    From needles to ribbons, sharp to out of focus, faint to opaque, up to 45 degrees; what
    Photoshop's rain, a fast shutter's and a slow one's have in common.
    """
    _, height, width = image.shape
    layers, wind, mist, white, file, quality = uniform(
        generator, (1, 4), (-0.8, 0.8), (-0.1, 0.12), (0.75, 1.05), (0, 1), (WORST_FILE, BEST_FILE)
    )
    depth = torch.full((height, width), max(0.0, mist) * severity)
    for _ in range(int(layers)):
        *logarithms, taper = uniform(
            generator, (4.6, 7.8), (1.6, 4.4), (-1.0, 0.9), (-1.2, 1.1), (0.1, 1)
        )
        # at most 100 to 2,400, from 5 to 80 pixels long, 0.4 to 2.5 wide
        number, length, across, opacity = map(math.exp, logarithms)
        number = min(number, MOST_RAIN / (length * max(1, 2.5 * across)))
        layer = Layer(round(number), (length, 1.6 * length), across, opacity, taper)
        depth += streaks(layer, wind, severity, height, width, generator)
    rainy = _behind(depth, image, torch.full((3,), min(white, 1.0)))
    return rainy if file < 0.3 else through_file(rainy, round(quality))


def _behind(depth: Tensor, image: Tensor, light: Tensor) -> Tensor:
    """The image behind drops of this optical depth (H, W) that gather the light (3,)."""
    opacity = 1 - torch.exp(-depth)
    return image + opacity * (light[:, None, None] - image).clamp_min(0)


TASK = Task(
    "rainy",
    {
        USUAL: Form(rain, "streaks at several distances"),
        "streaks": Form(wild_rain, "streaks of any kind, then mostly a JPEG file"),
    },
    local=False,
)
