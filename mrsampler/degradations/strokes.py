"""Uncompleted: free-form brush strokes to be painted in."""

import math
import string
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .fields import fractal_noise, reduced_size, resize, uniform
from .jpeg import through_file
from .raster import splat
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
MOST_MARKS = 600

Segment = tuple[float, float, float, float, float]  # x0, y0, x1, y1, width; short side = 1
Canvas = tuple[ImageDraw.ImageDraw, int, int, int]  # drawing, height and width, pixels for each
Mark = Callable[[Canvas, torch.Generator], None]  # puts one more of something on a canvas


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


def pen(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
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


def any_colour(generator: torch.Generator) -> Tensor:
    """(3,) in [0, 1], exact in 8 bits: white or black as often as any other."""
    kind, level = uniform(generator, (0, 1), (0, 255))
    colour = torch.randint(256, (3,), generator=generator)
    if kind < 0.2:
        colour = torch.full((3,), 255)
    elif kind < 0.4:
        colour = torch.full((3,), 0)
    elif kind < 0.5:
        colour = torch.full((3,), int(level))
    return colour / 255


def branched(generator: torch.Generator) -> torch.Generator:
    """A generator from a draw of this one, of which any number of draws may be taken."""
    seed = int(torch.randint(2**31, (), generator=generator))
    return torch.Generator().manual_seed(seed)


def marked(
    size: tuple[int, int], mark: Mark, share: float, hard: bool, generator: torch.Generator
) -> Tensor:
    """(height, width): 1 under marks, put until this share is covered; antialiased if not hard.

    None at a share of 0; a mark is whole, so that they may cover more.
    """
    height, width = size
    oversampled = 1 if hard else 2
    picture = Image.new("L", (oversampled * width, oversampled * height))
    canvas = ImageDraw.Draw(picture), height, width, oversampled
    canvas[0].fontmode = "1" if hard else "L"
    wanted = share * picture.width * picture.height
    own = branched(generator)
    for k in range(MOST_MARKS):  # some fall outside
        if (k < 8 or k % 8 == 0) and picture.histogram()[255] >= wanted:
            break
        mark(canvas, own)
    hidden = picture if hard else picture.reduce(2)
    return torch.from_numpy(np.asarray(hidden, dtype=np.float32) / 255)


def put_over(
    image: Tensor,
    hidden: Tensor,
    colour: Tensor,
    generator: torch.Generator,
    filed: float = 0.3,
) -> Tensor:
    """The image under a mask (H, W) of a colour (3,); some become a JPEG file after.

    filed: share of the photos that do; none where nothing is hidden.
    """
    file, quality = uniform(generator, (0, 1), (WORST_FILE, BEST_FILE))
    over = torch.lerp(image, colour[:, None, None].expand_as(image), hidden)
    if file >= filed or not hidden.any():
        return over
    return through_file(over, round(quality))


def brushed(
    image: Tensor, severity: float, generator: torch.Generator, hard: bool = False
) -> Tensor:
    """(3, H, W) in [0, 1] under a brush's strokes of one colour, thin to wide.

    hard: the brush leaves no pixel half covered, as the pencils of paint programs do.
    """
    _, height, width = image.shape
    scale, share = uniform(generator, (math.log(0.2), math.log(1.6)), (0.5, 1))
    colour = any_colour(generator)

    def mark(canvas: Canvas, generator: torch.Generator) -> None:
        draw, height, width, oversampled = canvas
        (length,) = uniform(generator, (6, 40))
        for x0, y0, x1, y1, brush in walks(height, width, generator)[: int(length)]:
            paint(draw, (x0, y0, x1, y1, brush * math.exp(scale)), oversampled * min(height, width))

    share *= min(1.0, 1.5 * math.exp(scale)) * coverage(severity)
    hidden = marked((height, width), mark, share, hard, generator)
    return put_over(image, hidden, colour, generator)


def letters(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] under words of one colour, of several sizes, level or turned."""
    _, height, width = image.shape
    small, large, slant, tumble, hard, opacity, share = uniform(
        generator, (0.035, 0.1), (0.1, 0.3), (-0.5, 0.5), (0, 1), (0, 1), (0.3, 1.6), (0.3, 1)
    )
    colour = any_colour(generator)

    def mark(canvas: Canvas, generator: torch.Generator) -> None:
        draw, height, width, oversampled = canvas
        short = oversampled * min(height, width)
        pick, length, x, y, turn, bold = uniform(
            generator, (0, 1), (1, 12), (-0.3, 0.9), (-0.1, 0.95), (-1, 1), (0, 1)
        )
        chosen = torch.randint(len(LETTERS), (int(length),), generator=generator).tolist()
        text = "".join(LETTERS[letter] for letter in chosen)
        size = short * small * (large / small) ** pick
        font = ImageFont.load_default(max(6.0, size))
        thick = round(size * 0.06 * bold)
        box = font.getbbox(text, stroke_width=thick)
        word = Image.new("L", (int(box[2]) + 2, int(box[3]) + 2))
        pen = ImageDraw.Draw(word)
        pen.fontmode = draw.fontmode
        pen.text((0, 0), text, fill=255, font=font, stroke_width=thick)
        angle = math.degrees(slant) + (180 * turn if tumble < 0.3 else 4 * turn)
        how = Image.Resampling.NEAREST if oversampled == 1 else Image.Resampling.BICUBIC
        word = word.rotate(angle, how, expand=True)
        draw.bitmap((int(oversampled * width * x), int(oversampled * height * y)), word, fill=255)

    wanted = MAX_SCRAWL * share * severity**BEND * 2
    hidden = marked((height, width), mark, wanted, hard < 0.5, generator)
    return put_over(image, hidden * min(1.0, opacity), colour, generator)


def scratched(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] as an old print: scratches, cracks that branch, and specks of dust.

    Thin, irregular, of nearly one colour; light mostly, where the emulsion is gone.
    """
    _, height, width = image.shape
    level, warm, thin, rough, cracks, specks, hard, share, fade = uniform(
        generator,
        (-0.4, 1.2),
        (0, 0.15),
        (math.log(0.002), math.log(0.009)),
        (0.1, 0.5),
        (0, 1),
        (0, 1),
        (0, 1),
        (0.3, 1),
        (0.5, 1.3),
    )

    def mark(canvas: Canvas, generator: torch.Generator) -> None:
        draw, height, width, oversampled = canvas
        short = oversampled * min(height, width)
        kind, x, y, angle, size = uniform(
            generator,
            (0, 1),
            (0, width / min(height, width)),
            (0, height / min(height, width)),
            (0, 2 * math.pi),
            (0.3, 1),
        )
        pen = max(1.0, math.exp(thin) * size * short)
        if kind < 0.5 * specks:
            r = pen * (0.5 + 1.5 * size**4)
            draw.ellipse([short * x - r, short * y - r, short * x + r, short * y + r], fill=255)
        elif kind < 0.5 * specks + 0.4 * cracks:
            _crack(draw, short, (x, y, angle), pen, rough + 0.3, generator)
        else:
            upright = math.pi / 2 + 0.1 * (angle - math.pi) / math.pi if rough < 0.3 else angle
            _crack(draw, short, (x, y, upright), pen, 0.3 * rough, generator, branches=0)

    hidden = marked((height, width), mark, 0.16 * share * severity**1.3, hard < 0.3, generator)
    level = min(max(level, 0.0), 1.0)
    colour = torch.tensor((level, level * (1 - 0.5 * warm), level * (1 - warm)))
    uneven = fractal_noise(*reduced_size(height, width, 32), generator, cells=6, octaves=2)
    uneven = (fade + 0.15 * resize(uneven, height, width)).clamp(0, 1)
    return put_over(image, hidden * uneven, colour, generator)


def _crack(
    draw: ImageDraw.ImageDraw,
    short: float,
    start: tuple[float, float, float],
    pen: float,
    rough: float,
    generator: torch.Generator,
    branches: int = 3,
) -> None:
    """A line that turns at random, here and there thinner or gone, with branches."""
    count = 24
    turns = (rough * torch.randn(count, generator=generator)).tolist()
    steps = torch.rand(count, generator=generator).tolist()
    (long,) = uniform(generator, (0.1, 1.2))
    x, y, angle = start
    for k, (turn, step) in enumerate(zip(turns, steps, strict=True)):
        angle += turn
        stride = long * (0.4 + 1.2 * step) / count
        x1, y1 = x + stride * math.cos(angle), y + stride * math.sin(angle)
        if step > 0.08:
            ends = [(short * x, short * y), (short * x1, short * y1)]
            draw.line(ends, fill=255, width=max(1, round(pen * (0.4 + step))))
        if branches and step > 0.85:
            branches -= 1
            side = 0.9 if k % 2 else -0.9
            _crack(draw, short, (x1, y1, angle + side), 0.7 * pen, rough, generator, 0)
        x, y = x1, y1


def blocks(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] under rectangles, ellipses or polygons of one colour."""
    _, height, width = image.shape
    small, large, hard, turned, share, kind = uniform(
        generator, (0.03, 0.12), (0.15, 0.5), (0, 1), (0, 1), (0.6, 1), (0, 4)
    )
    colour = any_colour(generator)

    def mark(canvas: Canvas, generator: torch.Generator) -> None:
        draw, height, width, oversampled = canvas
        short = oversampled * min(height, width)
        x, y, pick, slim, angle, shape = uniform(
            generator, (0, 1), (0, 1), (0, 1), (0.25, 1), (0, 2 * math.pi), (0, 3)
        )
        wide = short * small * (large / small) ** pick / 2
        high = wide * slim
        x, y = x * oversampled * width, y * oversampled * height
        shape = kind if kind < 3 else shape
        if shape < 1:
            draw.ellipse([x - wide, y - high, x + wide, y + high], fill=255)
        elif shape < 2 or turned < 0.5:
            draw.rectangle([x - wide, y - high, x + wide, y + high], fill=255)
        else:
            corners = 3 + int(4 * pick)
            draw.regular_polygon((x, y, wide), corners, math.degrees(angle), fill=255)

    hidden = marked((height, width), mark, share * coverage(severity), hard < 0.6, generator)
    return put_over(image, hidden, colour, generator)


def missing_pixels(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] without up to three fifths of its pixels, cells, rows or columns."""
    _, height, width = image.shape
    kind, cell, share, clumped = uniform(generator, (0, 1), (0.5, 3.2), (0.3, 1), (0, 1))
    colour = any_colour(generator)
    side = 1 if kind < 0.45 else round(2**cell)
    rows, columns = -(-height // side), -(-width // side)
    if 0.75 < kind < 0.87:
        columns = 1
    elif kind >= 0.87:
        rows = 1
    chance = torch.rand(rows, columns, generator=generator)
    wanted = 0.6 * share * severity**2
    if clumped < 0.4 and rows > 8 and columns > 8:
        patches = fractal_noise(rows, columns, generator, cells=3, octaves=2)
        chance = chance / (1 + 0.5 * patches).clamp_min(0.05)
    gone = (chance < wanted).float()[None, None]
    tall = side if rows > 1 else height
    wide = side if columns > 1 else width
    hidden = F.interpolate(gone, scale_factor=(tall, wide), mode="nearest")[0, 0, :height, :width]
    return put_over(image, hidden, colour, generator, filed=0.1)


def stamped(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] under paragraphs of text, a stamp again and again, or doodles.

    No outline font and no polygon: letters are a bitmap font's, enlarged and turned by
    resampling; doodles are splines, deposited point by point with a soft profile.
    """
    _, height, width = image.shape
    kind, share = uniform(generator, (0, 1), (0.5, 1))
    colour = any_colour(generator)
    draw = _doodles if kind < 0.45 else partial(_paragraph, repeated=kind > 0.72)
    hidden = draw(height, width, 0.35 * share * severity**1.4, generator)
    return put_over(image, hidden, colour, generator)


def _doodles(height: int, width: int, share: float, generator: torch.Generator) -> Tensor:
    """Catmull-Rom splines of chance, as long as it takes to cover this share, (height, width)."""
    short = min(height, width)
    (thick,) = uniform(generator, (math.log(0.006), math.log(0.03)))
    radius = max(0.7, math.exp(thick) * short / 2)
    offsets = torch.arange(-math.ceil(radius) - 1, math.ceil(radius) + 2)
    dy, dx = offsets[:, None].float(), offsets[None].float()
    tip = (radius + 0.5 - torch.hypot(dy, dx)).clamp(0, 1)
    path, drawn = torch.zeros(height, width), 0.0
    own = branched(generator)
    for _ in range(40):
        if drawn >= share * height * width:
            break
        start = torch.rand(2, 1, generator=own)
        walk = 0.16 * torch.randn(2, 9, generator=own).cumsum(1)
        p = (start + walk) * torch.tensor([[height], [width]])
        t = torch.linspace(0, 1, 2 + short // 4)
        p0, p1, p2, p3 = (p[:, k : k + 6, None] for k in range(4))
        curve = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        curve = 0.5 * (curve + (3 * p1 - p0 - 3 * p2 + p3) * t**3).flatten(1)
        path += splat(curve[0], curve[1], torch.ones(curve.shape[1]), height, width)
        drawn += 2 * radius * curve.diff(dim=1).norm(dim=0).sum().item()
    path = path.clamp_max(1)[None, None]
    return F.conv2d(path, tip[None, None], padding=len(offsets) // 2)[0, 0].clamp_max(1)


def _paragraph(
    height: int, width: int, share: float, generator: torch.Generator, repeated: bool
) -> Tensor:
    """Lines of a bitmap font's words, or one stamp all over, (height, width)."""
    turn, size, opacity, gap = uniform(
        generator, (-0.7, 0.7), (math.log(0.04), math.log(0.12)), (0.5, 1), (1.3, 3)
    )
    turn = turn if repeated else 0.15 * turn
    alphabet = LETTERS + " " * 12
    chosen = torch.randint(len(alphabet), (24, 40), generator=generator).tolist()
    text = ["".join(alphabet[k] for k in line) for line in chosen]
    if repeated:
        text = [(text[0][:10].strip() + "   ") * 4] * 24
    page = Image.new("L", (240, 264 + int(24 * 11 * (gap - 1))))
    for k, line in enumerate(text):
        ImageDraw.Draw(page).text((0, 11 * gap * k), line, 255, ImageFont.load_default_imagefont())
    ink = torch.from_numpy(np.asarray(page, dtype=np.float32) / 255)
    # pixels of the page for one of the photo, so that a line is as tall as wanted
    zoom = 11 / (math.exp(size) * min(height, width))
    y = (torch.arange(height) - height / 2)[:, None] * zoom
    x = (torch.arange(width) - width / 2) * zoom
    across = x * math.cos(turn) + y * math.sin(turn)
    down = y * math.cos(turn) - x * math.sin(turn)
    grid = torch.stack([across / (ink.shape[1] / 2), down / (ink.shape[0] / 2)], -1)[None]
    letters = F.grid_sample(ink[None, None], grid, align_corners=False)[0, 0]
    # as many lines, from the middle on, as it takes to cover the share
    distance = down.abs()
    inked = torch.cumsum(letters.flatten()[distance.flatten().argsort()], 0)
    reach = distance.flatten().sort().values[(inked < share * letters.numel()).sum() - 1]
    return letters * opacity * (distance <= reach) * (share > 0)


TASK = Task(
    name="uncompleted",
    forms={
        USUAL: Form(strokes, "a white brush's strokes"),
        "pen": Form(pen, "thin white lines and letters, then mostly a JPEG file"),
        "brush": Form(brushed, "a brush's strokes of any width and colour"),
        "hard-edged": Form(partial(brushed, hard=True), "the same, with no pixel half covered"),
        "letters": Form(letters, "words of any size and colour, level or turned"),
        "scratches": Form(scratched, "scratches, cracks and dust of an old print"),
        "blocks": Form(blocks, "rectangles, ellipses and polygons of one colour"),
        "pixels": Form(missing_pixels, "pixels, cells, rows or columns missing"),
        "stamped": Form(stamped, "paragraphs, repeated stamps and splines", held_out=True),
    },
    local=False,
    painted=True,
)
