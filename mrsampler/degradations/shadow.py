"""Shadowed: something out of the picture stands between it and the sun."""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .fields import fractal_noise, gaussian_blur, reduced_size, resize, uniform
from .light import from_linear, to_linear
from .task import USUAL, Form, Task

MAX_STOPS = 3.2
SKY = (0.30, 0.06, -0.25)  # stops lost beyond that: the sky that still lights a shadow is blue
WORKING = 160  # short side of the mask


def silhouette(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """A straight-edged mass reaching in from one side, with a few poles, (rows, columns)."""
    short = min(rows, columns)
    side, lean, corner = uniform(generator, (0, 2 * math.pi), (-0.5, 0.5), (0.3, 0.8))
    knots = torch.rand(3, 12, generator=generator).tolist()
    reach = math.hypot(rows, columns)
    across, inward = (-math.sin(side), math.cos(side)), (math.cos(side), math.sin(side))

    def place(along: float, depth: float) -> tuple[float, float]:
        x = columns / 2 + across[0] * along + inward[0] * depth + lean * along * 0.2
        y = rows / 2 + across[1] * along + inward[1] * depth
        return 4 * x, 4 * y

    # a roofline: levels held for a while, then a step or a slope
    outline = [place(-reach, reach)]
    along, level = -reach, 0.0
    for k in range(10):
        level = (knots[0][k] - 0.5) * 0.55 * short
        outline.append(place(along, level))
        along += (0.12 + 0.5 * knots[1][k]) * short
        if knots[2][k] < 0.75:
            outline.append(place(along, level + (knots[1][k] - 0.5) * 0.15 * short))
    outline += [place(reach, level), place(reach, reach)]

    canvas = Image.new("L", (4 * columns, 4 * rows))
    draw = ImageDraw.Draw(canvas)
    draw.polygon(outline, fill=255)
    for k in range(int(3 * corner)):
        start = (knots[0][10] - 0.5 + 0.45 * k) * short
        thick = max(4, int(4 * short * (0.015 + 0.03 * knots[1][10])))
        tip = start + (knots[2][10] - 0.5) * 0.4 * short
        draw.line([place(start, 0), place(tip, -reach)], fill=255, width=thick)
    return torch.from_numpy(np.asarray(canvas.reduce(4), dtype=np.float32) / 255)


def blob(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """A rounded mass such as a tree or a person, (rows, columns)."""
    (share,) = uniform(generator, (0.38, 0.6))
    field = fractal_noise(rows, columns, generator, cells=2, octaves=5, persistence=0.38)
    level = torch.quantile(field, 1 - share)
    return ((field - level) * 14 + 0.5).clamp(0, 1)


def foliage(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Leaves with round spots of sun between them, (rows, columns)."""
    short = min(rows, columns)
    mass = fractal_noise(rows, columns, generator, cells=2, octaves=2)
    leaves = fractal_noise(rows, columns, generator, cells=14, octaves=2, persistence=0.8)
    field = gaussian_blur(leaves, short / 110) + 1.1 * mass
    level = torch.quantile(field, 0.42)
    return ((field - level) * 4 + 0.5).clamp(0, 1)


def mask(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Share of the sun hidden at each pixel, (height, width) in [0, 1]."""
    rows, columns = reduced_size(height, width, WORKING)
    kind, soft, turn = uniform(generator, (0, 1), (0, 1), (0, 2 * math.pi))
    caster = silhouette if kind < 0.4 else blob if kind < 0.72 else foliage
    sharp = caster(rows, columns, generator)
    # the penumbra widens with the distance to what casts it
    near = WORKING * (0.004 + 0.006 * soft)
    far = near + WORKING * (0.012 + 0.03 * soft if caster is not foliage else 0.008)
    ramp = math.cos(turn) * torch.linspace(-1, 1, columns)
    ramp = (0.5 + 0.4 * (ramp + math.sin(turn) * torch.linspace(-1, 1, rows)[:, None])).clamp(0, 1)
    hidden = torch.lerp(gaussian_blur(sharp, near), gaussian_blur(sharp, far), ramp)
    return resize(hidden, height, width, "bicubic").clamp(0, 1)


def shadow(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with part of the direct light taken away; never brighter than before.

    Linear light is direct plus ambient; behind the mask only the bluish ambient part is left, up
    to three stops below the sun as outdoors (compare ISTD, Wang et al., 2018).
    """
    _, height, width = image.shape
    (stops,) = uniform(generator, (0.85, 1.15))
    hidden = mask(height, width, generator)
    loss = severity * (MAX_STOPS * stops + torch.tensor(SKY))
    ambient = torch.exp2(-loss)[:, None, None]
    return from_linear(to_linear(image) * (1 - hidden * (1 - ambient)))


TASK = Task("shadowed", {USUAL: Form(shadow, "shadows cast on the scene")}, local=False)
