"""Uncompleted: free-form brush strokes to be painted in."""

import math
import string

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .fields import uniform
from .jpeg import through_file
from .task import USUAL, Form, Task

PLANNING = 96  # short side of the sketch on which coverage is measured
MAX_COVERAGE = 0.41
BEND = 1.9  # above 1: the slider starts gently
STROKES, TURNS = 32, 10  # enough in a square picture
ARC = 3  # segments a turn, so that it bends rather than breaks
MIDDLE_BRUSH = 0.06  # short side = 1
THIN = (math.log(0.008), math.log(0.04))  # a pen instead: 2 to 10 pixels of 256
MAX_SCRAWL, MOST_SCRAWLS = 0.16, 200
LETTERS = string.ascii_letters + string.digits
WORST_FILE, BEST_FILE = 75, 97  # the encoder's quality

Segment = tuple[float, float, float, float, float]  # x0, y0, x1, y1, width; short side = 1


def walks(height: int, width: int, generator: torch.Generator) -> list[Segment]:
    """Brush walks in order of painting, after the free-form masks of Yu et al., 2019."""
    short = min(height, width)
    wide, high = width / short, height / short
    count = math.ceil(STROKES * wide * high)
    starts = torch.rand(count, 4, generator=generator).tolist()
    turns = torch.rand(count, TURNS, 2, generator=generator).tolist()
    segments = []
    for (u, v, heading, size), walk in zip(starts, turns, strict=True):
        x, y, angle = u * wide, v * high, heading * 2 * math.pi
        brush = 0.03 + 0.06 * size
        curl = 1 if heading < 0.5 else -1
        segments.append((x, y, x, y, brush))
        for turn, stride in walk[: 4 + int(size * 7)]:
            curl = -curl if turn > 0.75 else curl
            step = (0.04 + 0.12 * stride) / ARC
            swell = (0.85 + 0.3 * stride) ** (1 / ARC)
            for _ in range(ARC):
                angle += curl * (0.1 + 1.1 * turn) / ARC
                # the borders reflect
                if not 0 < x + step * math.cos(angle) < wide:
                    angle = math.pi - angle
                if not 0 < y + step * math.sin(angle) < high:
                    angle = -angle
                x1, y1 = x + step * math.cos(angle), y + step * math.sin(angle)
                brush = min(max(brush * swell, 0.025), 0.11)
                segments.append((x, y, x1, y1, brush))
                x, y = x1, y1
    return segments


def paint(draw: ImageDraw.ImageDraw, segment: Segment, short: float) -> None:
    x0, y0, x1, y1, brush = (short * v for v in segment)
    r = max(brush, 1) / 2
    draw.line([(x0, y0), (x1, y1)], fill=255, width=max(1, round(brush)))
    # the far side of the box is drawn too; a box of one pixel must not end before it starts
    left, top = x1 - r, y1 - r
    draw.ellipse([left, top, max(left, x1 + r - 1), max(top, y1 + r - 1)], fill=255)


def coverage(severity: float) -> float:
    """Share of the picture that is painted over."""
    return MAX_COVERAGE * severity**BEND


def mask(height: int, width: int, severity: float, generator: torch.Generator) -> Tensor:
    """1 under the strokes, 0 elsewhere, antialiased, (height, width)."""
    segments = walks(height, width, generator)
    short = min(height, width)
    sketch = Image.new("L", (round(PLANNING * width / short), round(PLANNING * height / short)))
    canvas = Image.new("L", (2 * width, 2 * height))
    wanted = coverage(severity) * sketch.width * sketch.height
    plan, draw = ImageDraw.Draw(sketch), ImageDraw.Draw(canvas)
    for k, segment in enumerate(segments):
        if k % 2 == 0 and sketch.histogram()[255] >= wanted:
            break
        paint(plan, segment, PLANNING)
        paint(draw, segment, 2 * short)
    return torch.from_numpy(np.asarray(canvas.reduce(2), dtype=np.float32) / 255)


def strokes(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with white strokes over up to two fifths of it."""
    _, height, width = image.shape
    hidden = mask(height, width, severity, generator)
    return image + hidden * (1 - image)


def scrawl(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with what people put over photos; most become a JPEG file after.

    White, or nearly: a thin pen's curves, straight lines, or words; one at least.
    """
    _, height, width = image.shape
    share, pen, opacity, file, quality = uniform(
        generator, (0.4, 1), THIN, (0.9, 1), (0, 1), (WORST_FILE, BEST_FILE)
    )
    put = (_curve, _bent_line, _word)[int(torch.randint(3, (), generator=generator))]
    canvas = Image.new("L", (2 * width, 2 * height))
    draw = ImageDraw.Draw(canvas)
    wanted = max(0.004, MAX_SCRAWL * severity) * share * canvas.width * canvas.height
    for _ in range(MOST_SCRAWLS):  # some fall outside
        if canvas.histogram()[255] >= wanted:
            break
        put(draw, height, width, math.exp(pen), generator)
    hidden = torch.from_numpy(np.asarray(canvas.reduce(2), dtype=np.float32) / 255)
    scrawled = image + opacity * hidden * (1 - image)
    return scrawled if file < 0.3 else through_file(scrawled, round(quality))


def _curve(
    draw: ImageDraw.ImageDraw, height: int, width: int, pen: float, generator: torch.Generator
) -> None:
    """A brush's walk, or more than one, as a pen of this width: short side = 1."""
    (number,) = uniform(generator, (6, 40))
    for x0, y0, x1, y1, brush in walks(height, width, generator)[: int(number)]:
        paint(draw, (x0, y0, x1, y1, brush * pen / MIDDLE_BRUSH), 2 * min(height, width))


def _bent_line(
    draw: ImageDraw.ImageDraw, height: int, width: int, pen: float, generator: torch.Generator
) -> None:
    (corners,) = uniform(generator, (2, 6))
    ends = uniform(generator, *[(0, 2 * width), (0, 2 * height)] * int(corners))
    draw.line(ends, fill=255, width=max(2, round(2 * min(height, width) * pen)))


def _word(
    draw: ImageDraw.ImageDraw, height: int, width: int, pen: float, generator: torch.Generator
) -> None:
    size, length, x, y = uniform(generator, (0.05, 0.2), (2, 14), (-0.2, 0.9), (-0.05, 0.95))
    letters = torch.randint(len(LETTERS), (int(length),), generator=generator).tolist()
    draw.text(
        (2 * width * x, 2 * height * y),
        "".join(LETTERS[letter] for letter in letters),
        fill=255,
        font=ImageFont.load_default(2 * min(height, width) * size),
    )


TASK = Task(
    "uncompleted",
    {
        USUAL: Form(strokes, "a white brush's strokes"),
        "pen": Form(scrawl, "thin lines and letters, then mostly a JPEG file"),
    },
    local=True,
)
