"""Shadowed: something out of the picture stands between it and the sun."""

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .fields import convolve, disc, fractal_noise, gaussian_blur, reduced_size, resize, uniform
from .light import from_linear, to_linear
from .raster import Stamps
from .task import USUAL, Form, Task

MAX_STOPS = 3.2
SKY = (0.30, 0.06, -0.25)  # stops lost beyond that: the sky that still lights a shadow is blue
WORKING = 160  # short side of the mask
SHARP = 512  # largest short side of a mask with sharp edges

Caster = Callable[[int, int, torch.Generator], Tensor]  # rows, columns -> share of sun hidden


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


def blob(rows: int, columns: int, generator: torch.Generator, steep: float = 14) -> Tensor:
    """A rounded mass such as a tree or a person, (rows, columns)."""
    (share,) = uniform(generator, (0.38, 0.6))
    field = fractal_noise(rows, columns, generator, cells=2, octaves=5, persistence=0.38)
    level = torch.quantile(field, 1 - share)
    return ((field - level) * steep + 0.5).clamp(0, 1)


def foliage(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Leaves with round spots of sun between them, (rows, columns)."""
    short = min(rows, columns)
    mass = fractal_noise(rows, columns, generator, cells=2, octaves=2)
    leaves = fractal_noise(rows, columns, generator, cells=14, octaves=2, persistence=0.8)
    field = gaussian_blur(leaves, short / 110) + 1.1 * mass
    level = torch.quantile(field, 0.42)
    return ((field - level) * 4 + 0.5).clamp(0, 1)


def branching(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Something that reaches in from the border: an arm and its fingers, a tree, a lamp, a pole."""
    short = 4 * min(rows, columns)
    side, along, lean, thick, taper, fan, long, tip = uniform(
        generator,
        (0, 4),
        (0.1, 0.9),
        (-0.5, 0.5),
        (0.05, 0.24),
        (0.35, 0.75),
        (0.3, 1.3),
        (0.3, 0.7),
        (0, 2),
    )
    draws = torch.rand(64, 3, generator=generator).tolist()
    edge = [(along, 0.0), (1.0, along), (along, 1.0), (0.0, along)][int(side)]
    heading = math.pi / 2 * (int(side) + 1) + lean  # inward
    depth, children = 1 + int(draws[0][0] * 3), 2 + int(draws[0][1] * 3)
    canvas = Image.new("L", (4 * columns, 4 * rows))
    draw = ImageDraw.Draw(canvas)
    limbs = [(edge[0] * 4 * columns, edge[1] * 4 * rows, heading, long * short, thick * short, 0)]
    while limbs and draws:
        x, y, angle, length, width, level = limbs.pop(0)
        u, v, w = draws.pop()
        length *= 0.7 + 0.6 * u
        x1, y1 = x + length * math.cos(angle), y + length * math.sin(angle)
        across = (-math.sin(angle) * width / 2, math.cos(angle) * width / 2)
        end = (across[0] * taper, across[1] * taper)
        draw.polygon(
            [
                (x + across[0], y + across[1]),
                (x1 + end[0], y1 + end[1]),
                (x1 - end[0], y1 - end[1]),
                (x - across[0], y - across[1]),
            ],
            fill=255,
        )
        if level < depth:
            ball = width * taper * (0.5 + tip * w) + 1  # a palm, a head, a crown
            draw.ellipse([x1 - ball, y1 - ball, x1 + ball, y1 + ball], fill=255)
            for k in range(children):
                turn = fan * (2 * k / (children - 1) - 1) + 0.5 * (v - 0.5)
                limbs.append((x1, y1, angle + turn, 0.55 * length, 0.6 * width, level + 1))
    return torch.from_numpy(np.asarray(canvas.reduce(4), dtype=np.float32) / 255)


def openings(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """What a window's frame, blinds, a fence or railings let through, seen at a slant."""
    turn, squeeze, lean, wide, high, bar, kind, inside, x, y = uniform(
        generator,
        (0, math.pi),
        (0.5, 1),
        (-0.5, 0.5),
        (0.5, 1.3),
        (0.5, 1.3),
        (0.08, 0.5),
        (0, 1),
        (0, 1),
        (0.3, 0.7),
        (0.3, 0.7),
    )
    if kind < 0.35:  # blinds or railings
        across, down = 1, 4 + int(32 * (kind / 0.35) ** 2)
    else:
        across, down = 1 + int((kind - 0.35) * 6), 1 + int(inside * 5)
    short = 4 * min(rows, columns)
    canvas = Image.new("L", (4 * columns, 4 * rows), 255)
    draw = ImageDraw.Draw(canvas)

    def place(u: float, v: float) -> tuple[float, float]:
        a, b = (u - 0.5) * wide * short, (v - 0.5) * high * short * squeeze
        a += lean * b
        c, s = math.cos(turn), math.sin(turn)
        return x * 4 * columns + a * c - b * s, y * 4 * rows + a * s + b * c

    border_u, border_v = bar / 2 / across * (across > 1), bar / 2 / down
    for i in range(across):
        for j in range(down):
            left, right = i / across + border_u, (i + 1) / across - border_u
            top, bottom = j / down + border_v, (j + 1) / down - border_v
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            draw.polygon([place(u, v) for u, v in corners], fill=0)
    return torch.from_numpy(np.asarray(canvas.reduce(4), dtype=np.float32) / 255)


def leaves(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Leaves of one kind in bunches, and the sun's round image through the gaps between them."""
    short = min(rows, columns)
    number, size, slim, bunches, sun = uniform(
        generator, (60, 420), (0.015, 0.06), (0.25, 0.8), (3, 14), (0.003, 0.02)
    )
    number = min(number, 0.9 / (math.pi * size**2 * slim))  # covering the photo about once
    count = max(1, round(number * rows * columns / short**2))
    draws = torch.rand(4, count, generator=generator)
    centres = torch.rand(2, int(bunches), generator=generator)
    bunch = (draws[0] * int(bunches)).long()
    scatter = 0.22 * torch.randn(2, count, generator=generator) * short
    y, x = centres[0, bunch] * rows + scatter[0], centres[1, bunch] * columns + scatter[1]
    long = size * short * (0.6 + 0.8 * draws[1])
    stamps = Stamps(y, x, 1.4 * size * short + 1, rows, columns)
    angle = (2 * math.pi * draws[2])[:, None, None]
    along = stamps.dy * angle.cos() + stamps.dx * angle.sin()
    across = (stamps.dx * angle.cos() - stamps.dy * angle.sin()) / slim
    inside = (long[:, None, None] - torch.hypot(along, across) + 0.5).clamp(0, 1)
    hidden = stamps.sum(inside).clamp_max(1)
    return convolve(hidden[None], disc(max(0.5, sun * short)))[0].clamp(0, 1)


def mask(height: int, width: int, generator: torch.Generator) -> Tensor:
    """Share of the sun hidden at each pixel, (height, width) in [0, 1]."""
    rows, columns = reduced_size(height, width, WORKING)
    kind, soft, turn = uniform(generator, (0, 1), (0, 1), (0, 2 * math.pi))
    caster = silhouette if kind < 0.4 else blob if kind < 0.72 else foliage
    sharp = caster(rows, columns, generator)
    near = WORKING * (0.004 + 0.006 * soft)
    far = near + WORKING * (0.012 + 0.03 * soft if caster is not foliage else 0.008)
    return resize(softened(sharp, near, far, turn), height, width, "bicubic").clamp(0, 1)


def softened(sharp: Tensor, near: float, far: float, turn: float) -> Tensor:
    """A mask (rows, columns) whose penumbra widens with the distance to what casts it.

    near, far: its deviation in pixels at one border and at the one across, in direction `turn`.
    """
    rows, columns = sharp.shape
    ramp = math.cos(turn) * torch.linspace(-1, 1, columns)
    ramp = (0.5 + 0.4 * (ramp + math.sin(turn) * torch.linspace(-1, 1, rows)[:, None])).clamp(0, 1)
    return torch.lerp(gaussian_blur(sharp, near), gaussian_blur(sharp, far), ramp)


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


def hard_blob(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """`blob` with an edge of a pixel."""
    return blob(rows, columns, generator, steep=min(rows, columns) / 4)


def any_light(generator: torch.Generator) -> Tensor:
    """Stops that a shadow of severity 1 takes of each colour, (3,): it is blue to warm."""
    stops, sky, green = uniform(generator, (1.3, 3.6), (-0.7, 1.3), (-0.1, 0.1))
    return (stops + sky * torch.tensor(SKY) + green * torch.tensor((-0.5, 1, -0.5))).clamp_min(0)


def shaded(image: Tensor, hidden: Tensor, loss: Tensor) -> Tensor:
    """The image where this share of the sun, (h, w), is hidden; loss in stops, (3,)."""
    hidden = resize(hidden, *image.shape[1:]).clamp(0, 1)
    ambient = torch.exp2(-loss)[:, None, None]
    return torch.minimum(image, from_linear(to_linear(image) * (1 - hidden * (1 - ambient))))


def cast_by(
    casters: tuple[Caster, ...],
    edge: tuple[float, float],
    working: int,
    generator: torch.Generator,
    image: Tensor,
) -> Tensor:
    """The shadow of one of the casters on a picture (3, H, W), its short side `working` at most.

    edge: deviation of the penumbra in thousandths of the short side, drawn between these on a
    logarithmic scale, and up to three times as much across the picture; 0.3 pixels at least.
    """
    _, height, width = image.shape
    rows, columns = reduced_size(height, width, min(working, height, width))
    kind, soft, wider, turn = uniform(
        generator,
        (0, len(casters)),
        (math.log(edge[0]), math.log(edge[1])),
        (1, 3),
        (0, 2 * math.pi),
    )
    sharp = casters[int(kind)](rows, columns, generator)
    near = max(0.3, math.exp(soft) / 1000 * min(rows, columns))
    return softened(sharp, near, near * wider, turn)


def sharp_edged(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with a shadow whose edge is a few pixels wide at most."""
    loss = any_light(generator)
    casters = (silhouette, hard_blob, branching, leaves)
    hidden = cast_by(casters, (0.5, 5), SHARP, generator, image)
    return shaded(image, hidden, severity * loss)


def objects(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with shadows of an arm, a tree or a pole, two mostly, sharp or soft."""
    loss = any_light(generator)
    hidden = cast_by((branching,), (1.5, 15), 256, generator, image)
    if torch.rand((), generator=generator) < 0.7:
        second = cast_by((branching,), (1.5, 15), 256, generator, image)
        hidden = torch.maximum(hidden, second)
    return shaded(image, hidden, severity * loss)


def window(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] lit through a window, blinds or a fence."""
    loss = any_light(generator)
    hidden = cast_by((openings,), (1.5, 12), 256, generator, image)
    return shaded(image, hidden, severity * loss)


def under_leaves(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] in the dappled light under a tree."""
    loss = any_light(generator)
    hidden = cast_by((leaves, foliage), (1, 8), 256, generator, image)
    return shaded(image, hidden, severity * loss)


def overlapping(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with two or three shadows, each of a light, an edge and a colour."""
    (number,) = uniform(generator, (2, 4))
    casters = (silhouette, blob, branching, openings)
    for _ in range(int(number)):
        loss = 0.6 * any_light(generator)
        hidden = cast_by(casters, (1.5, 40), WORKING, generator, image)
        image = shaded(image, hidden, severity * loss)
    return image


def most(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] of which the sun reaches but a patch or two."""
    loss = any_light(generator)
    casters = (hard_blob, silhouette, branching)
    hidden = 1 - cast_by(casters, (1.5, 30), 256, generator, image)
    hidden = torch.maximum(hidden, cast_by(casters, (1.5, 30), 256, generator, image))
    return shaded(image, hidden, severity * loss)


def diffuse(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with a shadow that has hardly any edge, as indoors or under clouds."""
    loss = any_light(generator)
    hidden = cast_by((silhouette, blob, branching), (25, 120), 64, generator, image)
    return shaded(image, hidden, severity * loss)


def figures(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with shadows of people and of polygons, by distance to their outline.

    Unions of ellipses and half-planes, no raster: the penumbra is the distance over a width that
    grows from the feet on. The shadow is a factor of stored values and a power of them, as where a
    camera's tone curve has less or more contrast in the dark.
    """
    _, height, width = image.shape
    rows, columns = reduced_size(height, width, min(height, width, 192))
    short = min(rows, columns)
    y = torch.arange(rows)[:, None] / short
    x = torch.arange(columns)[None] / short
    number, strength, power, red, blue, soft, turn = uniform(
        generator,
        (2, 6),
        (0.5, 0.9),
        (-0.25, 0.4),
        (-0.06, 0.04),
        (-0.04, 0.08),
        (0.004, 0.02),
        (-1.2, 1.2),
    )
    gap = torch.full((rows, columns), 9.0)  # signed distance over the penumbra's width
    for _ in range(int(number)):
        tall, foot_y, foot_x, corners = uniform(
            generator, (0.5, 1.3), (0.5, 1.3), (0, columns / short), (0, 1)
        )
        up = -(y - foot_y) * math.cos(turn) + (x - foot_x) * math.sin(turn)
        side = (y - foot_y) * math.sin(turn) + (x - foot_x) * math.cos(turn)
        penumbra = soft * (0.3 + 2 * (up / tall).clamp(0, 1.5))
        shape = _polygon if corners < 0.4 else _person
        gap = torch.minimum(gap, shape(up / tall, side / tall, generator) * tall / penumbra)
    hidden = (0.5 - gap / 2).clamp(0, 1)
    hidden = resize(hidden * hidden * (3 - 2 * hidden), height, width).clamp(0, 1)
    loss = severity * (strength + torch.tensor((red, 0.0, -blue))).clamp(0, 0.95)
    toned = image.pow(1 + severity * power * hidden) * (1 - hidden * loss[:, None, None])
    return torch.minimum(image, toned)


def _person(up: Tensor, side: Tensor, generator: torch.Generator) -> Tensor:
    """Signed distance, about, to a figure of height 1 that stands at the origin."""
    draws = torch.rand(6, generator=generator).tolist()
    stride, arm = 0.02 + 0.1 * draws[0], 0.12 + 0.14 * draws[1]
    parts = [
        (0.92, 0.0, 0.08, 0.065, 0.0),
        (0.66, 0.0, 0.2, 0.1 + 0.05 * draws[2], 0.0),
        (0.25, stride, 0.27, 0.05, 0.15 * draws[3]),
        (0.25, -stride, 0.27, 0.05, -0.15 * draws[3]),
        (0.62, arm, 0.2, 0.035, 0.6 * draws[4]),
        (0.62, -arm, 0.2, 0.035, -0.6 * draws[5]),
    ]
    distance = torch.full_like(up, 9.0)
    for centre, aside, long, wide, lean in parts:
        along = (up - centre) * math.cos(lean) - (side - aside) * math.sin(lean)
        across = (up - centre) * math.sin(lean) + (side - aside) * math.cos(lean)
        distance = torch.minimum(distance, (torch.hypot(along / long, across / wide) - 1) * wide)
    return distance


def _polygon(up: Tensor, side: Tensor, generator: torch.Generator) -> Tensor:
    """Signed distance to a convex polygon of three to seven sides around (0.5, 0)."""
    (sides,) = uniform(generator, (3, 8))
    draws = torch.rand(int(sides), 2, generator=generator).tolist()
    distance = torch.full_like(up, -9.0)
    for k, (u, v) in enumerate(draws):
        angle = 2 * math.pi * (k + 0.6 * u) / int(sides)
        reach = 0.15 + 0.35 * v
        edge = (up - 0.5) * math.cos(angle) + side * math.sin(angle) - reach
        distance = torch.maximum(distance, edge)
    return distance


TASK = Task(
    name="shadowed",
    forms={
        USUAL: Form(shadow, "a building's, a tree's or leaves' shadow in blue skylight"),
        "sharp": Form(sharp_edged, "a shadow with a sharp edge, in light of any colour"),
        "objects": Form(objects, "an arm's, a tree's or a pole's shadow"),
        "window": Form(window, "light through a window, blinds or a fence"),
        "leaves": Form(under_leaves, "dappled light under a tree"),
        "overlapping": Form(overlapping, "two or three shadows of several lights"),
        "most": Form(most, "shadow on most of the photo"),
        "diffuse": Form(diffuse, "a shadow with hardly any edge"),
        "figures": Form(
            figures,
            "people's and polygons' shadows, a factor and a power of stored values",
            held_out=True,
        ),
    },
    local=False,
)
