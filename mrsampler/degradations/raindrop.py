"""Raindrop: water on the pane in front of the lens."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .fields import reduced_size, uniform
from .raster import Stamps
from .task import USUAL, Form, Task


class Size(NamedTuple):
    """Drops of one size; radii in pixels of a 256-pixel short side."""

    number: int  # in a square picture
    radius: tuple[float, float]


SIZES = (Size(56, (1.8, 4.5)), Size(28, (4.5, 10.0)), Size(10, (10.0, 22.0)))
LEVEL = 0.5  # of the merged surface at which a drop ends
CUT = 2**0.5  # bump radius over drop radius, since LEVEL cuts a paraboloid at r^2 = 1/2
RUNS, BEADS = 4, 8  # drops that ran down the pane, and what each left behind
THROW = 0.42  # how far a drop's rim looks aside, in short sides
FINE = 640  # largest short side at which the water, being smooth, is worked out
VIEW = 64  # short side of the blurred scene a drop shows


def bumps(y: Tensor, x: Tensor, radius: Tensor, shape: Tensor, height: int, width: int) -> Tensor:
    """Sum over drops of (1 - r^2)^2 times 1, dy / radius and dx / radius, (3, height, width)."""
    reach = 1.45 * radius.max().item() if len(radius) else 1.0
    stamps = Stamps(y, x, reach, height, width)
    shape = shape[:, :, None, None]
    dy, dx = stamps.dy / radius[:, None, None], stamps.dx / radius[:, None, None]
    dy2, dx2 = dy * dy, dx * dx
    square = dx2 + dy2
    # an irregular outline, a little tall; gravity gathers the water below
    outline = square * (1 + 0.35 * dy) + (0.1 + 0.16 * shape[0]) * (dx2 - dy2)
    outline = outline + 0.1 * shape[1] * dx * dy + 0.08 * shape[2] * dx * (dx2 - 3 * dy2)
    bump = (1 - torch.maximum(outline, 0.5 * square)).clamp_min(0) ** 2
    return torch.stack([stamps.sum(bump), stamps.sum(bump * dy), stamps.sum(bump * dx)])


def surface(
    severity: float, height: int, width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Thickness of the water and its two slopes, each (height, width).

    A drop is a bump (1 - r^2)^2; bumps add and the square root of the sum is taken, so that a
    lone drop is a paraboloid, drops that touch merge, and water is where that exceeds LEVEL.
    """
    short = min(height, width)
    scale = short / 256
    area = height * width / short**2

    def grown(arrival: Tensor) -> Tensor:
        # later drops wait for heavier rain, each growing from nothing
        return ((severity - arrival) * 8).clamp(0, 1).sqrt()

    total = torch.zeros(3, height, width)
    for size in SIZES:
        count = round(size.number * area)
        draws = torch.rand(4, count, generator=generator)
        shape = torch.randn(3, count, generator=generator).clamp(-2, 2)
        low, high = size.radius
        radius = (low + (high - low) * draws[2] ** 2) * scale * CUT * grown(draws[3])
        keep = radius > 0.3
        margin = high * scale
        y = draws[0] * (height + 2 * margin) - margin
        x = draws[1] * (width + 2 * margin) - margin
        total += bumps(y[keep], x[keep], radius[keep], shape[:, keep], height, width)

    count = round(RUNS * area)
    draws = torch.rand(4, count, 1, generator=generator)
    wander = torch.randn(2, count, BEADS, generator=generator).clamp(-2, 2)
    bead = torch.arange(BEADS)
    head = (6 + 5 * draws[2]) * scale * CUT * grown(draws[3])
    shrink = torch.where(bead == 0, 1.0, 0.52 - 0.04 * bead + 0.08 * wander[0])
    radius = (head * shrink).flatten()
    y = (draws[0] * height - head * 0.75 * bead * (1 + 0.1 * wander[0])).flatten()
    x = (draws[1] * width + head * 0.1 * wander[1].cumsum(1)).flatten()
    keep = radius > 0.3
    shape = 0.5 * torch.stack([wander[0].flatten(), wander[1].flatten(), wander[0].flatten()])
    total += bumps(y[keep], x[keep], radius[keep], shape[:, keep], height, width)

    weight = total[0].clamp_min(1e-6)
    return weight.sqrt() - LEVEL, total[1] / weight, total[2] / weight


def raindrop(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] through a pane with drops on it.

    A drop is a short lens: it shows the whole scene small, upside down and out of focus, with a
    dark rim where the surface turns away (compare Qian et al., 2018).
    """
    _, height, width = image.shape
    short = min(height, width)
    light_y, light_x = uniform(generator, (-0.5, -0.3), (-0.35, 0.35))
    water = torch.stack(
        surface(severity, *reduced_size(height, width, min(short, FINE)), generator)
    )
    water = F.interpolate(water[None], (height, width), mode="bilinear", align_corners=False)[0]
    thickness, slope_y, slope_x = water
    # the rim is out of focus, since the camera looks past it
    alpha = (thickness / 0.12).clamp(0, 1)
    alpha = alpha * alpha * (3 - 2 * alpha)

    # where the refracted ray lands, in grid_sample's [-1, 1]
    throw = 2 * THROW * short
    rows = torch.linspace(-1, 1, height)[:, None] - slope_y * (throw / height)
    columns = torch.linspace(-1, 1, width) - slope_x * (throw / width)
    scene = F.adaptive_avg_pool2d(image[None], reduced_size(height, width, min(short, VIEW)))
    ray = torch.stack([columns, rows], -1)[None]
    seen = F.grid_sample(scene, ray, padding_mode="reflection", align_corners=False)[0]

    rim = (thickness / 0.3).clamp(0, 1)
    seen = seen * (0.55 + 0.45 * rim)
    glint = torch.exp(-((slope_y - light_y) ** 2 + (slope_x - light_x) ** 2) / 0.012)
    seen = seen + 0.6 * glint * (1 - seen)
    return torch.lerp(image, seen.clamp(0, 1), alpha)


TASK = Task("raindrop", {USUAL: Form(raindrop, "drops on a window pane")}, local=False)
