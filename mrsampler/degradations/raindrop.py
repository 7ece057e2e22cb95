"""Raindrop: water on the pane in front of the lens."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .fields import convolve, disc, fractal_noise, gaussian_blur, reduced_size, resize, uniform
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
FINE = 640  # largest short side at which the water, being smooth, is worked out
SOFT = 256  # the same, of water out of focus
TRACK = 64  # bumps that make one track of running water


class Look(NamedTuple):
    """How water shows the scene."""

    edge: float = 0.12  # thickness from which on it hides what is behind it
    throw: float = 0.42  # how far a drop's rim looks aside, in short sides
    view: int = 64  # short side of the blurred scene in it
    rim: float = 0.45  # share of light lost where the surface turns away
    rim_width: float = 0.3  # thickness where that ends
    glint: float = 0.6
    glint_spread: float = 0.012


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


def refracted(
    image: Tensor, water: Tensor, light: tuple[float, float], look: Look
) -> tuple[Tensor, Tensor]:
    """The scene as the water shows it, (3, H, W), and how much of it is seen, (H, W).

    water: thickness and two slopes, (3, h, w), of any size; light: the slopes that glint.
    """
    _, height, width = image.shape
    short = min(height, width)
    water = F.interpolate(water[None], (height, width), mode="bilinear", align_corners=False)[0]
    thickness, slope_y, slope_x = water
    # the rim is out of focus, since the camera looks past it
    alpha = (thickness / look.edge).clamp(0, 1)
    alpha = alpha * alpha * (3 - 2 * alpha)

    # where the refracted ray lands, in grid_sample's [-1, 1]
    throw = 2 * look.throw * short
    rows = torch.linspace(-1, 1, height)[:, None] - slope_y * (throw / height)
    columns = torch.linspace(-1, 1, width) - slope_x * (throw / width)
    scene = F.adaptive_avg_pool2d(image[None], reduced_size(height, width, min(short, look.view)))
    ray = torch.stack([columns, rows], -1)[None]
    seen = F.grid_sample(scene, ray, padding_mode="reflection", align_corners=False)[0]

    rim = (thickness / look.rim_width).clamp(0, 1)
    seen = seen * ((1 - look.rim) + look.rim * rim)
    towards = (slope_y - light[0]) ** 2 + (slope_x - light[1]) ** 2
    glint = torch.exp(-towards / look.glint_spread)
    seen = seen + look.glint * glint * (1 - seen)
    return seen.clamp(0, 1), alpha


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
    seen, alpha = refracted(image, water, (light_y, light_x), Look())
    return torch.lerp(image, seen, alpha)


def bumps_of_any_size(
    y: Tensor, x: Tensor, radius: Tensor, shape: Tensor, height: int, width: int
) -> Tensor:
    """`bumps`, an octave of radii at a time, so that a speck's window is as small as a speck."""
    total = torch.zeros(3, height, width)
    octave = radius.clamp_min(0.3).log2().floor()
    for k in octave.unique():
        keep = (octave == k) & (radius > 0.3)
        if keep.any():
            total += bumps(y[keep], x[keep], radius[keep], shape[:, keep], height, width)
    return total


def scattered(
    number: float,
    radius: tuple[float, float],
    skew: float,
    severity: float,
    size: tuple[int, int],
    generator: torch.Generator,
) -> Tensor:
    """Bumps of drops in random places, (3, *size).

    number: in a square picture at severity 1. radius: in pixels of a 256-pixel short side; its
    logarithm is uniform for a skew of 1, and the small ones are more for more than that.
    """
    height, width = size
    short = min(size)
    count = round(number * height * width / short**2)
    draws = torch.rand(4, count, generator=generator)
    shape = torch.randn(3, count, generator=generator).clamp(-2, 2)
    # later drops wait for heavier rain, each growing from nothing
    grown = ((severity - draws[3]) * 8).clamp(0, 1).sqrt()
    low, high = radius
    radii = low * (high / low) ** draws[2] ** skew * (short / 256) * CUT * grown
    margin = high * short / 256
    y = draws[0] * (height + 2 * margin) - margin
    x = draws[1] * (width + 2 * margin) - margin
    return bumps_of_any_size(y, x, radii, shape, height, width)


def running(
    number: float,
    radius: tuple[float, float],
    severity: float,
    size: tuple[int, int],
    generator: torch.Generator,
) -> Tensor:
    """Bumps of tracks that water left on its way down, here and there broken, (3, *size).

    number: in a square picture; radius: of a track, in pixels of a 256-pixel short side.
    """
    height, width = size
    short = min(size)
    scale = short / 256
    count = max(1, round(number * width / short))
    draws = torch.rand(5, count, 1, generator=generator)
    wander, swell = torch.randn(2, count, TRACK, generator=generator).clamp(-2, 2)
    ran = ((severity - 0.7 * draws[4]) * 4).clamp(0, 1)  # how far down, so far
    low, high = radius
    thick = (low + (high - low) * draws[0] ** 2) * scale * CUT
    along = torch.linspace(0, 1, TRACK)
    top = (1.1 * draws[1] - 0.4) * height
    y = top + along * (0.3 + 0.9 * draws[2]) * height * ran
    # it turns aside at times, and sometimes sticks and leaves a bead
    sideways = F.avg_pool1d(wander[:, None], 7, 1, 3)[:, 0].cumsum(1)
    x = draws[3] * width + 1.2 * scale * sideways * ran
    broken = F.avg_pool1d(swell[:, None], 5, 1, 2)[:, 0]
    radii = thick * (0.9 + 0.8 * broken).clamp(0, 1.6)
    radii[:, -1] = 2 * thick[:, 0]  # the drop that runs
    radii = (radii * (ran > 0)).flatten()
    shape = torch.zeros(3, len(radii))
    return bumps_of_any_size(y.flatten(), x.flatten(), radii, shape, height, width)


def levelled(bumps: Tensor) -> Tensor:
    """Thickness and two slopes, (3, h, w), of the surface that these bumps add up to."""
    weight = bumps[0].clamp_min(1e-6)
    return torch.stack([weight.sqrt() - LEVEL, bumps[1] / weight, bumps[2] / weight])


def any_look(generator: torch.Generator) -> tuple[tuple[float, float], Look]:
    """Where the light comes from, and what its drops look like: sharp or soft, clear or dark."""
    light_y, light_x, edge, throw, view, rim, rim_width, glint, spread = uniform(
        generator,
        (-0.6, -0.2),
        (-0.45, 0.45),
        (math.log(0.04), math.log(0.4)),
        (0.15, 0.6),
        (math.log(20), math.log(120)),
        (0, 0.8),
        (0.08, 0.35),
        (-0.4, 0.9),  # none in a third of the photos
        (math.log(0.003), math.log(0.03)),
    )
    look = Look(
        edge=math.exp(edge),
        throw=throw,
        view=round(math.exp(view)),
        rim=rim,
        rim_width=rim_width,
        glint=max(0.0, glint),
        glint_spread=math.exp(spread),
    )
    return (light_y, light_x), look


def any_size(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind drops in focus, from specks to a tenth of the short side."""
    _, height, width = image.shape
    light, look = any_look(generator)
    number, low, high, skew = uniform(generator, (80, 420), (0.7, 2.5), (8, 25), (1.2, 2.4))
    size = reduced_size(height, width, min(height, width, FINE))
    water = levelled(scattered(number, (low, high), skew, severity, size, generator))
    seen, alpha = refracted(image, water, light, look)
    return torch.lerp(image, seen, alpha)


def out_of_focus(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind drops that the lens makes discs of, as it looks past the pane."""
    _, height, width = image.shape
    light, look = any_look(generator)
    share, middle, spread, skew, focus, opacity = uniform(
        generator,
        (math.log(0.2), math.log(0.8)),
        (math.log(1.8), math.log(8)),
        (1.3, 2.2),
        (1, 1.6),
        (0.15, 0.7),
        (0.7, 1),
    )
    radius = math.exp(middle)
    number = math.exp(share) * 256**2 / (math.pi * radius**2)
    size = reduced_size(height, width, min(height, width, SOFT))
    drops = scattered(number, (radius / spread, radius * spread), skew, severity, size, generator)
    small = F.interpolate(image[None], size, mode="area")[0]
    seen, alpha = refracted(small, levelled(drops), light, look)
    planes = torch.cat([seen * alpha, alpha[None]])
    planes = convolve(planes, disc(focus * radius * min(size) / 256)).clamp_min(0)
    planes = F.interpolate(planes[None], (height, width), mode="bilinear")[0] * opacity
    return (image * (1 - planes[3]) + planes[:3]).clamp(0, 1)


def runnels(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind water that runs down the pane among smaller drops."""
    _, height, width = image.shape
    light, look = any_look(generator)
    tracks, thin, drops, small, large = uniform(
        generator, (4, 22), (1.0, 2.2), (0, 160), (0.8, 2), (4, 12)
    )
    size = reduced_size(height, width, min(height, width, FINE))
    water = running(tracks, (thin, 2.8 * thin), severity, size, generator)
    water += scattered(drops, (small, large), 2, severity, size, generator)
    seen, alpha = refracted(image, levelled(water), light, look)
    return torch.lerp(image, seen, alpha)


def spray(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind a great many fine drops, denser in some places."""
    _, height, width = image.shape
    light, look = any_look(generator)
    number, fine, coarse, cells, drops, clear = uniform(
        generator, (1200, 4500), (0.6, 1.0), (1.8, 3.4), (2, 6), (0, 30), (0, 0.5)
    )
    size = reduced_size(height, width, min(height, width, FINE))
    density = fractal_noise(*size, generator, cells=round(cells), octaves=2)
    water = scattered(number, (fine, coarse), 1.5, severity, size, generator)
    water = water * (0.8 + 0.5 * density).clamp(0, 1)  # thinned: below LEVEL they vanish
    water += scattered(drops, (3, 9), 1.5, severity, size, generator)
    seen, alpha = refracted(image, levelled(water), light, look)
    return torch.lerp(image, seen, (1 - clear) * alpha)


def fogged(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] behind glass that is fogged but for the drops on it and their tracks."""
    _, height, width = image.shape
    light, look = any_look(generator)
    veil, blur, white, tracks, thin, drops, large = uniform(
        generator, (0.05, 0.5), (0.7, 5), (0.55, 0.95), (0, 14), (1.2, 3), (20, 220), (3, 14)
    )
    size = reduced_size(height, width, min(height, width, SOFT))
    scale = min(size) / 256
    patchy = fractal_noise(*size, generator, cells=2, octaves=3)
    water = running(tracks, (thin, 3 * thin), severity, size, generator)
    water += scattered(drops, (1, large), 1.8, severity, size, generator)
    dry = 1 - gaussian_blur((water[0] * 4).clamp(0, 1), 1.2 * scale)  # water took the fog up
    fog = dry * (1 + 0.25 * patchy).clamp(0, 1.5) * severity
    seen, alpha = refracted(image, levelled(water), light, look)

    small = F.interpolate(image[None], size, mode="area")[0]
    matt = torch.stack([gaussian_blur(plane, blur * scale) for plane in small])
    matt = torch.lerp(matt, torch.tensor(white), veil)
    matt = F.interpolate(matt[None], (height, width), mode="bilinear")[0]
    hidden = torch.lerp(image, matt, resize(fog, height, width).clamp(0, 1))
    return torch.lerp(hidden, seen, alpha).clamp(0, 1)


def height_field(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] through water of any outline, traced by Snell's law.

    A random landscape, flooded less and less: what stands out of the flood is water. Its normals,
    from finite differences, refract the sharp scene (index 1.33) and mirror the sky (Schlick's
    approximation of Fresnel); light falls on it by Blinn and Phong.
    """
    _, height, width = image.shape
    share, cells, depth, sky, low, high = uniform(
        generator, (0.1, 0.32), (8, 24), (0.1, 0.3), (0.7, 1), (0.2, 0.9), (-0.5, 0.5)
    )
    size = reduced_size(height, width, min(height, width, FINE))
    land = fractal_noise(*size, generator, cells=round(cells), octaves=2, persistence=0.2)
    land = land + 0.4 * fractal_noise(*size, generator, cells=4, octaves=1)
    if severity == 0:
        return image.clone()
    sample = land.flatten()[:: max(1, land.numel() // 65536)]
    level = torch.quantile(sample, 1 - share * severity)
    thickness = (land - level).clamp_min(0).sqrt().clamp_max(1.1)
    # the outline is 2 pixels wide: there the camera's own sharpness ends
    alpha = ((land - level) / (land.diff(dim=1).abs().mean() * 2)).clamp(0, 1)
    thickness = gaussian_blur(thickness, 0.8 * min(size) / 256)

    slope_y, slope_x = torch.gradient(thickness * (0.2 * min(size) / cells))
    up = (1 + slope_y.square() + slope_x.square()).rsqrt()
    tilt = torch.stack([slope_y, slope_x]) * up  # sine of the normal off the line of sight
    bent = tilt.norm(dim=0).clamp(1e-4, 0.98)
    turn = torch.asin(bent) - torch.asin(bent / 1.33)
    shift = tilt / bent * torch.tan(2.5 * turn).clamp(0, 3) * depth * min(size)
    rows = torch.linspace(-1, 1, size[0])[:, None] - 2 * shift[0] / size[0]
    columns = torch.linspace(-1, 1, size[1]) - 2 * shift[1] / size[1]
    ray = torch.stack([columns, rows], -1)[None]
    ray = F.interpolate(ray.permute(0, 3, 1, 2), (height, width), mode="bilinear")
    seen = F.grid_sample(
        image[None], ray.permute(0, 2, 3, 1), padding_mode="reflection", align_corners=False
    )[0]
    mirror = 0.02 + 0.98 * (1 - up) ** 5
    halfway = (up * 0.85 - tilt[0] * high * 0.5 + tilt[1] * low).clamp(0, 1) ** 40
    mirror, halfway, alpha = (resize(v, height, width) for v in (mirror, halfway, alpha))
    seen = torch.lerp(seen, torch.tensor(sky), mirror.clamp(0, 1))
    seen = seen + 0.5 * halfway * (1 - seen)
    return torch.lerp(image, seen, alpha).clamp(0, 1)


TASK = Task(
    name="raindrop",
    forms={
        USUAL: Form(raindrop, "drops on the pane that show the scene upside down"),
        "any-size": Form(any_size, "drops in focus, from specks to a tenth of the short side"),
        "out-of-focus": Form(out_of_focus, "drops as soft discs: the lens looks past the pane"),
        "runnels": Form(runnels, "water running down the pane"),
        "spray": Form(spray, "a great many fine drops"),
        "fogged": Form(fogged, "fogged glass with drops and tracks"),
        "height-field": Form(
            height_field, "water of any outline, by Snell's law and Fresnel's", held_out=True
        ),
    },
    local=False,
)
