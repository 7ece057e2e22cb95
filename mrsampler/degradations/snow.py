"""Snowy: flakes at several distances, sharp when far and blurred when close."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .fields import (
    convolve,
    fractal_noise,
    gaussian_blur,
    reduced_size,
    resize,
    segment,
    uniform,
)
from .jpeg import through_file
from .raster import Stamps
from .task import USUAL, Form, Task


class Layer(NamedTuple):
    """Flakes at one distance; lengths in pixels of a 256-pixel short side."""

    number: int  # in a square picture
    radius: tuple[float, float]
    opacity: float
    blur: float  # exponent of the fall-off: 0.3 is a disc, 1 crisp, 2 soft
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
WORST_FILE, BEST_FILE = 70, 97  # the encoder's quality


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


def daylight(generator: torch.Generator, low: float, high: float) -> Tensor:
    """The light of flakes, (3,): grey, of level low to high, a little blue or warm."""
    level, warm = uniform(generator, (low, high), (-0.04, 0.02))
    return torch.tensor((level + warm, level, level - warm)).clamp(0, 1)


def veiled(height: int, width: int, generator: torch.Generator) -> Tensor:
    """How thick the snow farther off is, (height, width): more above than below, in sheets."""
    top, rough = uniform(generator, (0.8, 1.8), (0.1, 0.4))
    sheets = fractal_noise(*reduced_size(height, width, 32), generator, cells=3, octaves=3)
    ramp = torch.linspace(top, 2 - top, height)[:, None]
    return ramp * (1 + rough * resize(sheets, height, width).clamp(-2, 2))


def behind(depth: Tensor, image: Tensor, light: Tensor) -> Tensor:
    """The image behind flakes of this optical depth (H, W) that only add light (3,)."""
    opacity = 1 - torch.exp(-depth)
    return image + opacity * (light[:, None, None] - image).clamp_min(0)


def any_layer(
    generator: torch.Generator,
    radius: tuple[float, float],
    opacity: tuple[float, float],
    cover: tuple[float, float] = (0.04, 0.4),
) -> Layer:
    """A layer of any flakes: all is drawn between these on a logarithmic scale.

    cover: share of the picture that they take, side by side.
    """
    share, size, spread, strength, blur, smear = uniform(
        generator,
        (math.log(cover[0]), math.log(cover[1])),
        (math.log(radius[0]), math.log(radius[1])),
        (1.1, 2),
        (math.log(opacity[0]), math.log(opacity[1])),
        (math.log(0.3), math.log(2.5)),
        (1, 1.8),
    )
    low, high = math.exp(size), math.exp(size) * spread
    number = math.exp(share) * 256**2 / (math.pi * low * high)
    return Layer(round(min(number, 3500)), (low, high), math.exp(strength), math.exp(blur), smear)


def any_flakes(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind one to three layers of any flakes, half of them as a JPEG file."""
    _, height, width = image.shape
    layers, wind, veil, file, quality = uniform(
        generator, (1, 4), (-1.2, 1.2), (-0.2, 0.3), (0, 1), (WORST_FILE, BEST_FILE)
    )
    light = daylight(generator, 0.85, 1.0)
    depth = veiled(height, width, generator) * max(0.0, veil) * severity
    for _ in range(int(layers)):
        layer = any_layer(generator, (0.8, 9), (0.4, 3))
        depth += flakes(layer, wind, severity, height, width, generator)
    snowy = behind(depth, image, light)
    return snowy if file < 0.5 or severity == 0 else through_file(snowy, round(quality))


def near_and_far(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind large flakes out of focus close to the lens, and small ones."""
    _, height, width = image.shape
    number, radius, spread, opacity, blur, specks, wind, veil = uniform(
        generator,
        (12, 70),
        (math.log(4), math.log(13)),
        (1.3, 2.2),
        (math.log(0.25), math.log(1.6)),
        (0.25, 1.2),
        (200, 1600),
        (-1, 1),
        (0, 0.15),
    )
    light = daylight(generator, 0.85, 1.0)
    low = math.exp(radius)
    large = Layer(round(number), (low, low * spread), math.exp(opacity), blur, 1.15)
    small = Layer(round(specks), (0.8, 2), 1.5, 1.5, 1.3)
    depth = veiled(height, width, generator) * veil * severity
    depth += flakes(large, wind, severity, height, width, generator)
    depth += flakes(small, wind, severity, height, width, generator)
    return behind(depth, image, light)


def driven(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind flakes that the wind drives, each layer swept along its path."""
    _, height, width = image.shape
    layers, wind, veil = uniform(generator, (1, 3.99), (-1.5, 1.5), (0, 0.2))
    light = daylight(generator, 0.85, 1.0)
    depth = veiled(height, width, generator) * veil * severity
    for k in range(int(layers)):
        layer = any_layer(generator, (0.8, 2.5 + 1.5 * k), (0.8, 3))
        length, turn, kept = uniform(generator, (3, 22), (-0.2, 0.2), (0.4, 0.9))
        length *= (1 + 0.5 * k) * min(height, width) / 256
        crisp = flakes(layer, wind, severity, height, width, generator)
        swept = convolve(crisp[None], segment(length, wind + turn))[0].clamp_min(0)
        # as much light over a longer path, but for what a flash or a short exposure keeps
        depth += swept * (1 + length / (2 * layer.radius[1])) ** kept
    return behind(depth, image, light)


def blizzard(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind dense small flakes, and the white of all those farther off."""
    _, height, width = image.shape
    number, radius, opacity, blur, wind, veil = uniform(
        generator, (800, 3500), (0.7, 1.8), (0.5, 1.8), (0.8, 2), (-1.3, 1.3), (0.3, 1.1)
    )
    light = daylight(generator, 0.72, 0.97)
    depth = veiled(height, width, generator) * veil * severity
    layer = Layer(round(number), (radius, 1.8 * radius), opacity, blur, 1.7)
    depth += flakes(layer, wind, severity, height, width, generator)
    depth += flakes(
        any_layer(generator, (2, 5), (0.4, 1.5)), wind, severity, height, width, generator
    )
    return behind(depth, image, light)


def translucent(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind flakes that let most of the scene through."""
    _, height, width = image.shape
    layers, wind = uniform(generator, (2, 4), (-1, 1))
    light = daylight(generator, 0.85, 1.0)
    depth = torch.zeros(height, width)
    for _ in range(int(layers)):
        layer = any_layer(generator, (1.5, 10), (0.25, 0.9), (0.2, 0.9))
        depth += flakes(layer, wind, severity, height, width, generator)
    return behind(depth, image, light)


def grey(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind flakes in shade: lighter than the ground, darker than the sky."""
    _, height, width = image.shape
    layers, wind = uniform(generator, (1, 4), (-1, 1))
    light = daylight(generator, 0.4, 0.8)[:, None, None]
    depth = torch.zeros(height, width)
    for _ in range(int(layers)):
        layer = any_layer(generator, (0.8, 7), (0.7, 3), (0.1, 0.7))
        depth += flakes(layer, wind, severity, height, width, generator)
    return torch.lerp(image, light.expand_as(image), 1 - torch.exp(-depth))


def thresholded(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with an image editor's snow: noise blurred, cut off, swept, screened.

    Flakes are what stands out of a landscape of chance, of any outline, at two to four scales.
    """
    _, height, width = image.shape
    scales, wind, white = uniform(generator, (2, 4.99), (-1, 1), (0.88, 1))
    kept = torch.ones(height, width)
    for k in range(int(scales)):
        spread, share, steep, sweep, fade = uniform(
            generator, (0.7, 1.1), (-3.6, -1.5), (1.5, 6), (0, 6), (0.5, 1)
        )
        spread *= 1.7**k
        rows, columns = reduced_size(height, width, min(256, height, width))
        margin = math.ceil(3 * spread + sweep)  # what the borders do to the noise stays outside
        size = rows + 2 * margin, columns + 2 * margin
        land = gaussian_blur(torch.randn(size, generator=generator), spread)
        land = land / (0.5 / (math.pi**0.5 * spread))  # of unit deviation
        # the share of a normal law above a level; the slope where it is cut off
        odds = max(1e-6, severity * math.exp(share) / 1.4**k)
        level = torch.special.ndtri(torch.tensor(1 - odds)).item()
        cut = ((land - level) * steep).clamp(0, 1)
        swept = convolve(cut[None], segment(max(1.0, sweep * rows / 256), wind))[0]
        swept = swept[margin:-margin, margin:-margin]
        lit = resize(swept.clamp(0, 1), height, width)
        kept *= 1 - fade * (1.3 * lit).clamp_max(1)
    return image + white * (1 - kept) * (1 - image)


TASK = Task(
    name="snowy",
    forms={
        USUAL: Form(snow, "flakes at six distances and a little veil"),
        "flakes": Form(any_flakes, "flakes of any kind, half of them as a JPEG file"),
        "near": Form(near_and_far, "large flakes out of focus, and small ones"),
        "driven": Form(driven, "flakes that the wind makes streaks of"),
        "blizzard": Form(blizzard, "dense small flakes and a white veil"),
        "translucent": Form(translucent, "flakes that let most of the scene through"),
        "grey": Form(grey, "flakes in shade, darker than the sky"),
        "thresholded": Form(thresholded, "an image editor's snow from noise", held_out=True),
    },
    local=False,
)
