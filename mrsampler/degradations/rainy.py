"""Rainy: streaks of drops at several distances, and the veil of those too far to see."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .fields import convolve, fractal_noise, reduced_size, resize, segment, uniform
from .jpeg import through_file
from .raster import Stamps, splat
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
MOST_RAIN = 30_000  # pixels of 65,536 that a layer of any streaks may take, side by side
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


def any_streaks(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
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


def far(height: int, width: int, generator: torch.Generator) -> Tensor:
    """How far away the scene is, (height, width), about 1 in the mean: a horizon and above it."""
    horizon, near, rough = uniform(generator, (0.1, 0.7), (0, 1), (0.1, 0.35))
    rows = torch.linspace(0, 1, height)[:, None]
    below = ((rows - horizon) / (1 - horizon)).clamp_min(0)
    ramp = 1 - near * below.sqrt()
    sheets = fractal_noise(*reduced_size(height, width, 32), generator, cells=3, octaves=3)
    return ramp * (1 + rough * resize(sheets, height, width).clamp(-2, 2)) / (1 - 0.4 * near)


def cloud_light(generator: torch.Generator, low: float, high: float) -> Tensor:
    """The light that drops gather, (3,): grey, of level low to high, a little blue or warm."""
    level, warm = uniform(generator, (low, high), (-0.03, 0.02))
    return torch.tensor((level + warm, level, level - warm)).clamp(0, 1)


def downpour(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind heavy rain: streaks in layers, as bright as the sky where dense.

    What it has in common with Rain100H (Yang et al., 2017) is that streaks saturate; severity
    brings more of them and makes each more opaque.
    """
    _, height, width = image.shape
    wind, turn, mist, layers = uniform(
        generator, (-0.75, 0.75), (-0.12, 0.12), (0, 0.15), (2, 4.99)
    )
    light = cloud_light(generator, 0.8, 1.0)
    depth = far(height, width, generator) * mist * severity
    for k in range(int(layers)):
        number, length, across, opacity, taper = uniform(
            generator, (6.3, 8.2), (2.3, 3.9), (-1.0, -0.3), (0.2, 1.6), (0.25, 1)
        )
        grow = 1.45**k  # each layer nearer than the last
        long, wide = math.exp(length) * grow, math.exp(across) * 1.25**k
        count = min(math.exp(number), MOST_RAIN / 1.5 / (long * max(1, 2.5 * wide)))
        layer = Layer(round(count), (long, 1.7 * long), wide, math.exp(opacity), taper)
        depth += streaks(layer, wind + k * turn, severity, height, width, generator)
    return _behind(depth, image, light)


def misty(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind fine rain, and the grey of all rain farther off."""
    _, height, width = image.shape
    wind, veil, number, length, across, opacity, patchy = uniform(
        generator,
        (-0.5, 0.5),
        (0.2, 0.9),
        (7.0, 8.4),
        (1.9, 3.7),
        (-1.0, -0.4),
        (-0.7, 0.7),
        (0, 0.6),
    )
    light = cloud_light(generator, 0.6, 0.92)
    distance = far(height, width, generator)
    long = math.exp(length)
    count = min(math.exp(number), 2 * MOST_RAIN / long)
    layer = Layer(round(count), (long, 2 * long), math.exp(across), math.exp(opacity), 0.5)
    fine = streaks(layer, wind, severity, height, width, generator)
    depth = fine * (1 - patchy + patchy * distance) + veil * severity**1.3 * distance
    return _behind(depth, image, light)


def near(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind a few wide streaks close to the lens, and thin ones."""
    _, height, width = image.shape
    wind, number, length, across, opacity, taper, fine, mist = uniform(
        generator,
        (-0.7, 0.7),
        (20, 90),
        (3.4, 5.0),
        (0.5, 2.0),
        (-1.2, 0.2),
        (0.1, 0.6),
        (100, 1000),
        (0, 0.12),
    )
    light = cloud_light(generator, 0.75, 1.0)
    depth = far(height, width, generator) * mist * severity
    long = math.exp(length)
    layer = Layer(round(number), (long, 1.8 * long), math.exp(across), math.exp(opacity), taper)
    depth += streaks(layer, wind, severity, height, width, generator)
    thin = Layer(round(fine), (8, 30), 0.6, 1.0, 0.7)
    depth += streaks(thin, wind, severity, height, width, generator)
    return _behind(depth, image, light)


def painted(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with an image editor's rain: noise, threshold, motion blur, screen.

    One or two passes, each of its own grain, density, length and contrast.
    """
    _, height, width = image.shape
    short = min(height, width)
    wind, passes, white = uniform(generator, (-0.9, 0.9), (1, 2.99), (0.8, 1))
    kept = torch.ones(height, width)
    for _ in range(int(passes)):
        grain, cover, length, gain, floor, fade = uniform(
            generator, (0.8, 2.2), (-2.8, -0.4), (2.2, 3.9), (0.4, 1.2), (0, 0.2), (0.6, 1)
        )
        rows = round(256 / grain) if short >= 256 / grain else short
        size = reduced_size(height, width, rows)
        noise = torch.rand(size, generator=generator)
        long = max(2.0, math.exp(length) * rows / 256)
        specks = (noise < severity * math.exp(cover) / long).float()
        swept = convolve(specks[None], segment(long, wind), "circular")[0]
        lines = (gain * long * swept - floor).clamp(0, 1)
        kept *= 1 - fade * min(1.0, 2 * severity) * resize(lines, height, width)
    return image + white * (1 - kept) * (1 - image)


def droplets(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind rain that a short shutter stops: short dashes, discs near by."""
    _, height, width = image.shape
    short = min(height, width)
    wind, number, length, across, opacity, discs, radius, soft = uniform(
        generator,
        (-0.7, 0.7),
        (6, 7.8),
        (2, 7),
        (0.5, 1.3),
        (0.4, 1.8),
        (0, 90),
        (1.5, 5),
        (0.2, 1),
    )
    light = cloud_light(generator, 0.8, 1.0)
    layer = Layer(round(math.exp(number)), (length, 1.8 * length), across, opacity, 0.4)
    depth = streaks(layer, wind, severity, height, width, generator)
    count = round(discs * height * width / short**2)
    draws = torch.rand(5, count, generator=generator)
    wide = radius * (0.6 + 0.8 * draws[0]) * short / 256
    strength = (0.15 + 0.6 * draws[1]) * ((severity - draws[4]) * 8).clamp(0, 1)
    stamps = Stamps(draws[2] * height, draws[3] * width, 1.4 * radius * short / 256, height, width)
    distance = stamps.dy.square() + stamps.dx.square()
    bright = (1 - distance / wide[:, None, None].square()).clamp_min(0) ** soft
    depth += stamps.sum(strength[:, None, None] * bright)
    return _behind(depth, image, light)


def perspective(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind rain from a vanishing point, and fog that grows with depth.

    Worked out pixel by pixel, as a shader does: the ray from the vanishing point picks a lane, the
    distance along it a cell, and a table of chance whether a drop is in that cell. Three planes.
    """
    _, height, width = image.shape
    short = min(height, width)
    y0, x0, up, fog, bright = uniform(
        generator, (1.2, 4), (-0.6, 1.6), (0, 1), (0.05, 0.45), (0.5, 1)
    )
    y0 = (-y0 if up < 0.7 else 1 + y0) * short
    y = torch.arange(height)[:, None] - y0
    x = torch.arange(width) - x0 * short
    angle, distance = torch.atan2(x, y.abs()), torch.hypot(y, x) / short * 256
    centre = abs(height / 2 - y0) / short * 256
    light = cloud_light(generator, 0.75, 0.98)
    depth = far(height, width, generator) * fog * severity
    for plane in range(3):
        table, slide = torch.rand(2, 64, 509, generator=generator)
        lane_width, length, share = uniform(generator, (2.2, 3.5), (12, 30), (0.04, 0.12))
        lane_width, length = lane_width * 1.5**plane, length * 1.6**plane
        lane = angle * centre / lane_width + 1000
        column = lane.floor()
        across = 1 - (2 * (lane - column) - 1).abs()
        column = column.long() % 509
        cell = distance / length + 64 * slide[0, column] + 1000
        chance = table[cell.floor().long() % 64, column]
        along = cell.frac()
        on = ((share * severity**0.8 - chance) * 60).clamp(0, 1)
        wave = 0.8 + 0.2 * torch.sin(along * 25)  # a drop oscillates as it falls
        depth += 2.2 * bright * on * across * along * (1 - along).sqrt() * 2 * wave
    return _behind(depth, image, light)


def _behind(depth: Tensor, image: Tensor, light: Tensor) -> Tensor:
    """The image behind drops of this optical depth (H, W) that gather the light (3,)."""
    opacity = 1 - torch.exp(-depth)
    return image + opacity * (light[:, None, None] - image).clamp_min(0)


TASK = Task(
    name="rainy",
    forms={
        USUAL: Form(rain, "streaks at four distances in one wind, and a little mist"),
        "streaks": Form(any_streaks, "streaks of any kind, then mostly a JPEG file"),
        "downpour": Form(downpour, "heavy rain in layers whose streaks saturate"),
        "misty": Form(misty, "fine rain and a grey veil that grows with depth"),
        "near": Form(near, "wide streaks close to the lens, out of focus"),
        "painted": Form(painted, "an image editor's rain: noise, threshold, motion blur"),
        "droplets": Form(droplets, "drops that a short shutter stops"),
        "perspective": Form(perspective, "rain from a vanishing point, and fog", held_out=True),
    },
    local=False,
)
