"""Hazy: Koschmieder's law over a plausible depth."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .fields import fractal_noise, reduced_size, uniform
from .light import from_linear, to_linear

MAX_BETA = 1.7
WORKING = 64  # short side of the depth map


def box(planes: Tensor, radius: int) -> Tensor:
    return F.avg_pool2d(planes, 2 * radius + 1, 1, radius, count_include_pad=False)


def depth(image: Tensor, generator: torch.Generator) -> Tensor:
    """Relative distance, (H, W), about 0 (near) to 1 (far).

    Ground recedes towards a horizon; fractal noise gives objects and banks of fog; the dark
    channel (He et al., 2009) tells pale, distant things from dark, near ones. A fast guided filter
    (He & Sun, 2015) makes depth break where the picture does.
    """
    _, height, width = image.shape
    rows, columns = reduced_size(height, width, WORKING)
    small = F.adaptive_avg_pool2d(image[None], (rows, columns))[0]
    horizon, roll, pale = uniform(generator, (0.15, 0.5), (-0.25, 0.25), (0.35, 0.6))

    down = torch.linspace(0, 1, rows)[:, None] + roll * torch.linspace(-0.5, 0.5, columns)
    ground = ((1 - down) / (1 - horizon)).clamp(0, 1) ** 1.5
    bumps = fractal_noise(rows, columns, generator, cells=3, octaves=3)
    dark = -F.max_pool2d(-small.amin(0)[None], 5, 1, 2)[0]
    far = (1 - pale) * ground + pale * dark / dark.max().clamp_min(0.1) + 0.09 * bumps

    guide = small.mean(0)
    stats = box(torch.stack([guide, far, guide * far, guide * guide])[None], 6)[0]
    slope = (stats[2] - stats[0] * stats[1]) / (stats[3] - stats[0] ** 2 + 2e-3)
    lines = box(torch.stack([slope, stats[1] - slope * stats[0]])[None], 4)
    slope, offset = F.interpolate(lines, (height, width), mode="bilinear", align_corners=False)[0]
    return (slope * image.mean(0) + offset).clamp(0, 1.2)


def airlight(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Colour of the haze itself, (3, H, 1): near-white, a little tinted, brighter at the top."""
    level, warmth, fall = uniform(generator, (0.84, 0.96), (-0.02, 0.025), (0.0, 0.08))
    tint = torch.tensor([warmth, 0.0, -1.2 * warmth])
    shade = level + fall * (0.5 - torch.linspace(0, 1, height))
    return (shade + tint[:, None]).clamp(0, 1)[:, :, None]


def haze(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] seen through haze: I = J t + A (1 - t), t = exp(-beta depth).

    In linear light, between the image and the airlight everywhere.
    """
    _, height, width = image.shape
    air = to_linear(airlight(height, width, generator))
    transmission = torch.exp(-MAX_BETA * severity**1.6 * (0.12 + 0.88 * depth(image, generator)))
    return from_linear(torch.lerp(air.expand_as(image), to_linear(image), transmission))
