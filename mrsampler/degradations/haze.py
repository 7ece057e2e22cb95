"""Hazy: Koschmieder's law over a plausible depth; and over others."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .fields import along_edges, box, fractal_noise, onset, reduced_size, resize, uniform
from .jpeg import saved, through_file
from .light import from_linear, to_linear
from .task import USUAL, Form, Task

MAX_BETA = 1.7
WORKING = 64  # short side of the depth map
# Stored values of dust, sand, smoke, dusk, blue distance and a fire's sky.
TINTS = (
    (0.85, 0.70, 0.45),
    (0.90, 0.82, 0.66),
    (0.52, 0.51, 0.50),
    (0.78, 0.70, 0.88),
    (0.62, 0.76, 0.95),
    (0.92, 0.60, 0.35),
)


def depth(image: Tensor, generator: torch.Generator) -> Tensor:
    """Relative distance, (H, W), about 0 (near) to 1 (far).

    Ground recedes towards a horizon; fractal noise gives objects and banks of fog; the dark
    channel (He et al., 2009) tells pale, distant things from dark, near ones. Depth breaks where
    the picture does (`along_edges`).
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

    return along_edges(far, small, image).clamp(0, 1.2)


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


def sky(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A plain in perspective below a horizon, hills above it, and a sky that is farther than all.

    The sky is where the upper part of the picture is bright and smooth.
    """
    rows, columns = reduced_size(image.shape[1], image.shape[2], WORKING)
    small = F.adaptive_avg_pool2d(image[None], (rows, columns))[0]
    horizon, near, hills, bright, roll, more = uniform(
        generator, (0.15, 0.6), (0.05, 0.25), (0.2, 1), (0.35, 0.7), (-0.2, 0.2), (0.7, 1.4)
    )
    down = torch.linspace(0, 1, rows)[:, None] + roll * torch.linspace(-0.5, 0.5, columns)
    ground = near / (near + (down - horizon).clamp_min(0))
    bumps = fractal_noise(rows, columns, generator, cells=3, octaves=3)
    above = torch.sigmoid((horizon - down) * 30)
    far = torch.lerp(ground, hills + 0.12 * bumps, above)
    luma = small.mean(0)
    rough = box((luma - box(luma[None, None], 2)[0, 0]).abs()[None, None], 2)[0, 0]
    smooth = torch.sigmoid(20 * (luma - bright) - 80 * (rough - 0.03)) * torch.sigmoid(
        (horizon + 0.15 - down) * 20
    )
    far = torch.lerp(far, torch.full_like(far, 1.7), smooth)
    distance = along_edges(far, small, image).clamp(0, 1.8)
    return _through(image, _strength(severity, more) * distance, severity, generator)


def steps(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Things at two to six distances, each as far in all its parts, with sharp edges.

    They are parts of the picture of like colour and height; the higher are mostly the farther.
    """
    _, height, width = image.shape
    number, rise, rough, soft, order, more = uniform(
        generator, (2, 7), (0.4, 1.8), (0, 1), (0.03, 0.12), (-0.35, 1), (0.8, 1.4)
    )
    mix = torch.randn(3, generator=generator)
    field = fractal_noise(*reduced_size(height, width, 32), generator, cells=2, octaves=3)
    radius = max(1, min(height, width) // 80)
    colour = (mix[:, None, None] * box(box(image[None], radius), radius)[0]).sum(0)
    guide = colour / colour.std().clamp_min(0.05) + rough * resize(field, height, width, "bicubic")
    guide = guide + rise * 3.4 * (0.5 - torch.linspace(0, 1, height)[:, None])
    some = guide.flatten()[:: 1 + guide.numel() // 2**18].sort().values
    cuts = torch.rand(int(number) - 1, generator=generator).sort().values
    jumps = torch.rand(int(number), generator=generator) * (1 if order > 0 else -1)
    jumps = torch.where(torch.rand(int(number), generator=generator) < 0.15, -jumps, jumps)
    distance = torch.zeros_like(guide)
    for share, jump in zip((0.08 + 0.84 * cuts).tolist(), jumps.tolist(), strict=False):
        threshold = some[int(share * (len(some) - 1))].item()
        distance = distance + jump * torch.sigmoid((guide - threshold) / soft)
    low, high = distance.aminmax()
    near, far = uniform(generator, (0.03, 0.35), (0.5, 1.2))
    distance = near + (far - near) * (distance - low) / (high - low).clamp_min(0.1)
    return _through(image, _strength(severity, more) * distance, severity, generator)


def coloured(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Dust, smoke, dusk, a fire's sky, or blue distance: some colours are lost before others."""
    first, second, mix, level, spread, more = uniform(
        generator, (0, len(TINTS)), (0, len(TINTS)), (0, 1), (0.75, 1.1), (0, 0.6), (0.6, 1.3)
    )
    tints = torch.tensor(TINTS)
    air = (level * torch.lerp(tints[int(first)], tints[int(second)], mix)).clamp(0, 1)
    # what the haze scatters towards us it scatters out of the light behind it
    relative = 1 + spread * (air / air.mean() - 1)
    optical = _strength(severity, more) * (0.12 + 0.88 * depth(image, generator))
    return _through(image, optical * relative[:, None, None], severity, generator, air)


def patchy(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Banks and wisps of fog, dense here and gone there, mostly low."""
    _, height, width = image.shape
    cells, rough, cover, low, contrast, more = uniform(
        generator, (1, 4), (0.4, 0.65), (-0.6, 0.6), (-0.6, 1.2), (0.3, 0.9), (0.7, 1.4)
    )
    rows, columns = reduced_size(height, width, 96)
    bank = fractal_noise(rows, columns, generator, cells=int(cells), octaves=5, persistence=rough)
    down = torch.linspace(-1, 1, rows)[:, None]
    bank = (0.5 + contrast * (bank + cover) + 0.5 * low * down).clamp_min(0)
    near = 0.4 + depth(image, generator)
    optical = _strength(severity, more) * resize(bank, height, width).clamp(0, 1.6) * near
    return _through(image, optical, severity, generator)


def dense(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """As much haze everywhere, or nearly: fog, a veil of stray light, a window's dirt."""
    _, height, width = image.shape
    slope, uneven, more, soft = uniform(generator, (-0.3, 0.3), (0, 0.15), (0.5, 1.6), (-0.5, 1))
    down = torch.linspace(-1, 1, height)[:, None]
    field = fractal_noise(*reduced_size(height, width, 32), generator, cells=2, octaves=2)
    optical = 0.62 * (1 + slope * down + uneven * resize(field, height, width))
    optical = _strength(severity, more) * optical.clamp_min(0.1)
    scattered = _glow(image, 0.004 + 0.01 * max(0.0, soft), 0.5 * max(0.0, soft) * severity)
    return _through(scattered, optical, severity, generator)


def street(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A street's or a valley's depth, fog that thins with height, and its glow: held out.

    The picture is the inside of a box about a vanishing point: ground, two sides, and a ceiling or
    the sky; the density falls exponentially with height, integrated along each ray. Light scattered
    forwards blurs what is far.
    """
    _, height, width = image.shape
    rows, columns = reduced_size(height, width, WORKING)
    small = F.adaptive_avg_pool2d(image[None], (rows, columns))[0]
    y, x, sides, roof, fall, more, glow, level, quality, bumpy = uniform(
        generator,
        (0.2, 0.5),
        (0.2, 0.8),
        (0.3, 1.2),
        (0.2, 1.5),
        (0, 2.5),
        (0.8, 1.4),
        (0.1, 0.6),
        (0.62, 0.98),
        (75, 97),
        (0, 0.15),
    )
    down = torch.linspace(0, 1, rows)[:, None] - y
    right = (torch.linspace(0, 1, columns) - x) * columns / rows
    # 1 / distance is the largest of the four planes' slopes towards the eye
    slopes = torch.maximum(down / 0.6, -down / roof)
    slopes = torch.maximum(slopes, right.abs() / sides)
    distance = 0.25 / slopes.clamp_min(0.16)
    climb = -down * distance * fall
    thinner = torch.where(climb.abs() < 1e-3, torch.ones_like(climb), -torch.expm1(-climb) / climb)
    bumps = fractal_noise(rows, columns, generator, cells=4, octaves=3)
    optical = (distance * thinner).clamp(0, 3) * (1 + bumpy * bumps)
    optical = _strength(severity, more) * along_edges(optical, small, image).clamp(0, 2.5)
    air = torch.full((3, 1, 1), level) + torch.tensor([-0.01, 0.0, 0.015])[:, None, None]
    transmission = torch.exp(-optical)
    scene = torch.lerp(image, _glow(image, 0.012, 1.0), glow * (1 - transmission))
    hazy = torch.lerp(air.expand_as(image), scene, transmission)  # in stored values, as RESIDE
    return through_file(hazy.clamp(0, 1), round(97 - (97 - quality) * onset(severity)))


def _strength(severity: float, more: float) -> float:
    """Optical depth at a distance of 1: `haze`'s at `more` = 1."""
    return MAX_BETA * severity**1.6 * more


def _through(
    image: Tensor,
    optical: Tensor,
    severity: float,
    generator: torch.Generator,
    air: Tensor | None = None,
) -> Tensor:
    """The image behind haze of this optical depth, (H, W) or (3, H, W), as photos are kept.

    The sum is of light, or in a third of the draws of stored values, as benchmarks make it; then a
    camera may set its exposure by the brighter picture. Without `air`, (3,), it is a drawn grey.
    """
    stored, level, warmth, exposed = uniform(generator, (0, 1), (0.6, 1), (-0.03, 0.035), (-0.6, 1))
    if air is None:
        air = level + torch.tensor([warmth, 0.0, -1.2 * warmth])
    air = air.clamp(0, 1)[:, None, None].expand_as(image)
    transmission = torch.exp(-optical).expand_as(image)
    if stored < 1 / 3:
        hazy = torch.lerp(air, image, transmission)
    else:
        hazy = from_linear(torch.lerp(to_linear(air), to_linear(image), transmission))
    brighter = (hazy.mean() / image.mean().clamp_min(0.05)).clamp(1, 2)
    hazy = hazy * brighter ** (-0.5 * max(0.0, exposed))
    return saved(hazy.clamp(0, 1), severity, generator, 65)


def _glow(image: Tensor, spread: float, share: float) -> Tensor:
    """A share of the light spread about by this much of the short side."""
    _, height, width = image.shape
    rows, columns = reduced_size(height, width, min(96, min(height, width)))
    small = F.adaptive_avg_pool2d(image[None], (rows, columns))
    radius = max(1, round(2 * spread * min(rows, columns)))
    wide = F.interpolate(box(box(small, radius), radius), (height, width), mode="bicubic")
    return torch.lerp(image, wide[0].clamp(0, 1), share)


TASK = Task(
    "hazy",
    {
        USUAL: Form(haze, "haze over ground that recedes"),
        "sky": Form(sky, "a plain, hills and the sky"),
        "steps": Form(steps, "things at a few distances, with sharp edges"),
        "coloured": Form(coloured, "dust, smoke, dusk or blue distance"),
        "patchy": Form(patchy, "banks and wisps of fog"),
        "dense": Form(dense, "as much everywhere"),
        "street": Form(street, "a street's depth, fog low down, and its glow", held_out=True),
    },
    local=False,
)
