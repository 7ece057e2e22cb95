"""Snowy: flakes at several distances, sharp when far and blurred when close."""

from typing import NamedTuple

import torch
from torch import Tensor

from .fields import fractal_noise, reduced_size, resize, uniform
from .raster import Stamps
from .task import USUAL, Form, Task


class Layer(NamedTuple):
    """Flakes at one distance; lengths in pixels of a 256-pixel short side."""

    number: int  # in a square picture
    radius: tuple[float, float]
    opacity: float
    blur: int  # exponent of the fall-off: 1 is crisp, 2 out of focus
    smear: float  # largest elongation by motion


LAYERS = (
    Layer(1150, (0.9, 1.7), 1.7, 2, 1.5),
    Layer(270, (1.7, 2.6), 1.9, 2, 1.7),
    Layer(160, (2.4, 3.8), 1.9, 2, 1.8),
    Layer(120, (3.4, 6.5), 1.9, 2, 1.7),
    Layer(30, (6.0, 12.0), 1.3, 3, 1.6),
    Layer(9, (13.0, 28.0), 0.8, 3, 1.4),
)
LIGHT = (0.96, 0.97, 0.985)


def flakes(
    layer: Layer, wind: float, severity: float, height: int, width: int, generator: torch.Generator
) -> Tensor:
    """Optical depth of one layer, (height, width)."""
    short = min(height, width)
    scale = short / 256
    count = round(layer.number * height * width / short**2)
    draws = torch.rand(5, count, generator=generator)
    shape = 0.22 * torch.randn(4, count, generator=generator).clamp(-2, 2)
    tilt = wind + 0.25 * torch.randn(count, generator=generator)

    low, high = layer.radius
    radius = (low + (high - low) * draws[2] ** 2) * scale
    reach = 1.05 * high * layer.smear * scale
    y = draws[0] * (height + 2 * reach) - reach
    x = draws[1] * (width + 2 * reach) - reach
    # later flakes wait for heavier snow, each fading in
    arrived = ((severity - draws[4]) * 6).clamp(0, 1)
    strength = layer.opacity * (0.15 + 1.2 * draws[3] ** 2) * arrived
    keep = strength > 0
    y, x, radius, tilt, strength = (v[keep] for v in (y, x, radius, tilt, strength))
    shape = shape[:, keep, None, None]
    # smaller than a pixel: as large as a pixel, and fainter
    visible = radius.clamp_min(1.0)
    strength = strength * (radius / visible) ** 2

    stamps = Stamps(y, x, max(reach, 1.5), height, width)
    cosine, sine = tilt.cos()[:, None, None], tilt.sin()[:, None, None]
    stretch = layer.smear ** draws[3, keep][:, None, None]
    fall = (stamps.dy * cosine + stamps.dx * sine) / (visible[:, None, None] * stretch)
    side = (stamps.dx * cosine - stamps.dy * sine) / visible[:, None, None]
    fall2, side2 = fall * fall, side * side
    square = fall2 + side2
    # an outline with two and three lobes
    lobes = shape[0] * (fall2 - side2) + shape[1] * fall * side
    lobes += shape[2] * fall * (fall2 - 3 * side2) + shape[3] * side * (3 * fall2 - side2)
    falloff = (1 - torch.maximum(square + lobes, 0.8 * square)).clamp_min(0) ** layer.blur
    return stamps.sum(strength[:, None, None] * falloff)


def snow(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind falling snow; never darker than before.

    Severity 1 is like the heavy part of Snow100K (Liu et al., 2018).
    """
    _, height, width = image.shape
    wind, veil = uniform(generator, (-0.9, 0.9), (0.1, 0.22))
    depth = torch.zeros(height, width)
    for layer in LAYERS:
        depth += flakes(layer, wind, severity, height, width, generator)
    sheets = fractal_noise(*reduced_size(height, width, 32), generator, cells=3, octaves=3)
    sheets = resize(sheets, height, width).clamp(-2, 2)
    depth += veil * severity * (1 + 0.4 * sheets)
    opacity = 1 - torch.exp(-depth)
    light = torch.tensor(LIGHT)[:, None, None]
    return image + opacity * (light - image).clamp_min(0)


TASK = Task("snowy", {USUAL: Form(snow, "flakes near and far")}, local=False)
