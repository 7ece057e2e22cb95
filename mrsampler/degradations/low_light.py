"""Low-light: an underexposed raw frame, developed without brightening it; and other darkness."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .fields import along_edges, box, coarse, fractal_noise, onset, reduced_size, resize, uniform
from .jpeg import saved, through_file
from .light import from_linear, to_linear
from .task import USUAL, Form, Task

MAX_STOPS = 7.0
FULL_WELL = 1500.0  # electrons at white, at the high ISO of a night shot
READ_NOISE = 1.5  # electrons
MOST_LIT = 0.8  # the share of the stops of darkness that a pool of light takes away
LUMA_SAMPLES = 2**20  # torch.quantile takes no more than 2^24
WORST_FILE, BEST_FILE = 45, 97  # the encoder's quality
WORKING = 64  # short side of the plan of what is lit
LAMPS = (
    (0.9, 0.1, -1.2),
    (0.5, 0.0, -0.5),
    (-0.5, 0.1, 0.6),
    (-0.9, 0.4, -0.3),
)  # stops of R, G, B


def low_light(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1], darker by about 7 stops at most, with the sensor's noise.

    Light reaching the sensor is Poisson (here its Gaussian limit) and the amplifier adds a
    constant variance: var = signal / full_well + (read / full_well)^2, as in Foi et al., 2008.
    Severity 1 is as dark as the inputs of LOL (Wei et al., 2018).
    """
    stops, red, blue = uniform(generator, (0.9, 1.1), (-0.25, 0.25), (-0.25, 0.25))
    exposure, cast = _exposure(severity, stops), _cast(severity, red, blue)
    signal = to_linear(image) * (exposure * cast.clamp(max=1 / exposure))[:, None, None]
    grain = torch.randn(image.shape, generator=generator)
    return from_linear(_exposed(signal, FULL_WELL, severity, grain))


def night(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] as photos taken at night have it: not dark everywhere; a JPEG file after.

    Up to `low_light`'s darkness beside pools of light and, in half of the photos, lamps that hardly
    lose any; mostly warm; the grain of a sensor of 250 to 3,000 electrons at white, up to a pixel
    coarse; a harder contrast.
    """
    _, height, width = image.shape
    stops, pools, lamps, red, blue, contrast, log_well, spread, quality = uniform(
        generator,
        (0.6, 1.1),  # of `low_light`'s
        (0, 0.45),  # the share of the stops that light one deviation of the field away
        (-1, 1),  # the share that a lamp has lit; below 0: no lamps
        (-0.3, 0.6),
        (-0.7, 0.3),
        (1, 1.3),  # an exponent
        (5.5, 8.0),
        (0, 1),  # pixels
        (WORST_FILE, BEST_FILE),
    )
    exposure, cast = _exposure(severity, stops), _cast(severity, red, blue)
    field = fractal_noise(*reduced_size(height, width, 32), generator, cells=2, octaves=3)
    lit = (pools * resize(field, height, width)).clamp(0, MOST_LIT)
    luma = image.mean(0)
    some = luma.flatten()[:: 1 + luma.numel() // LUMA_SAMPLES]
    dim, bright = some.quantile(torch.tensor([0.95, 0.99])).tolist()
    lamp = ((luma - dim) / max(bright - dim, 1e-3)).clamp(0, 1)
    lit = torch.maximum(lit, max(0.0, lamps) * lamp)
    light = (exposure ** (1 - lit) * cast[:, None, None]).clamp(max=1)
    grain = coarse(torch.randn(image.shape, generator=generator), spread)
    frame = _exposed(to_linear(image) * light, math.exp(log_well), severity, grain)
    return through_file(from_linear(frame) ** (contrast ** onset(severity)), round(quality))


def _exposed(signal: Tensor, full_well: float, severity: float, grain: Tensor) -> Tensor:
    """Linear light (3, H, W) as a sensor of this many electrons at white counts it, clipped."""
    deviation = (signal / full_well + (READ_NOISE / full_well) ** 2).sqrt() * onset(severity)
    return (signal + deviation * grain).clamp(0, 1)


def _exposure(severity: float, stops: float) -> float:
    """What is left of the light; `stops` is a share of MAX_STOPS."""
    return 2 ** (-MAX_STOPS * severity**0.62 * stops)


def _cast(severity: float, red: float, blue: float) -> Tensor:
    """Factors of R, G, B, (3,), of a light that is off by so many stops at severity 1."""
    return torch.tensor([2 ** (red * severity), 1.0, 2 ** (blue * severity)])


def underexposed(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Too short an exposure without noise: of a photo's stored values, or of its light; in 8 bits.

    The darkest tones fall together, which is all that is lost.
    """
    stops, red, blue, contrast = uniform(
        generator, (0.5, 1.15), (-0.3, 0.3), (-0.3, 0.3), (0, 0.25)
    )
    factor = _exposure(severity, stops) * _cast(severity, red, blue)[:, None, None]
    dark = from_linear(to_linear(image) * factor).clamp(0, 1) ** (1 + contrast * onset(severity))
    return saved(_in_8_bits(dark, severity), severity, generator, 75)


def gamma_dark(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Darkened by a power of the stored values, as software does: white may stay white."""
    power, scale, tint, low, noisy = uniform(
        generator, (0.5, 1.3), (0, 0.75), (-0.15, 0.15), (0, 1), (-0.02, 0.02)
    )
    exponent = 1 + 3.2 * severity**0.8 * power * (1 + severity * tint * torch.linspace(-1, 1, 3))
    dark = (1 - scale * severity) * image ** exponent[:, None, None]
    grain = max(0.0, noisy) * onset(severity) * torch.randn(image.shape, generator=generator)
    dark = (dark + grain).clamp(0, 1)
    return saved(_in_8_bits(dark, severity), severity, generator, round(60 + 30 * low))


def backlit(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Exposed for a bright sky or window: that stays, and what stands before it is dark."""
    _, height, width = image.shape
    stops, kept, top, level, edge, warm, log_well = uniform(
        generator,
        (0.7, 1.2),
        (0.7, 1.15),
        (0, 0.5),
        (0.5, 0.85),
        (0.03, 0.15),
        (-0.3, 0.3),
        (6, 10),
    )
    small = F.adaptive_avg_pool2d(image[None], reduced_size(height, width, WORKING))[0]
    bright = box(small.amin(0)[None, None], 1)[0, 0]
    bright = bright - top * torch.linspace(0, 1, len(bright))[:, None]
    threshold = bright.flatten().quantile(torch.tensor(level)).item()
    plan = torch.sigmoid((bright - threshold) / edge)
    lit = kept * along_edges(plan, small, image).clamp(0, 1)
    light = _exposure(severity, stops) ** (1 - lit).clamp_min(0)
    signal = to_linear(image) * (light * _cast(severity, warm, -warm)[:, None, None]).clamp(
        max=1.15
    )
    grain = torch.randn(image.shape, generator=generator)
    dark = from_linear(_exposed(signal, math.exp(log_well), 0.3 * severity, grain))
    return saved(_in_8_bits(dark, severity), severity, generator)


def coloured(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Dim light of a colour that no camera balances, sodium's to twilight's, and uneven."""
    _, height, width = image.shape
    stops, which, amount, pools, grey, log_well, spread = uniform(
        generator, (0.4, 1), (0, len(LAMPS)), (0.3, 1.3), (0, 0.4), (0, 0.5), (5, 9), (0, 0.8)
    )
    cast = 2 ** (amount * onset(severity) * torch.tensor(LAMPS[int(which)]))
    field = fractal_noise(*reduced_size(height, width, 32), generator, cells=2, octaves=2)
    lit = (pools * resize(field, height, width)).clamp(-0.3, MOST_LIT)
    light = to_linear(image)
    light = torch.lerp(light, light.mean(0, keepdim=True).expand_as(light), grey * onset(severity))
    signal = light * (_exposure(severity, stops) ** (1 - lit) * cast[:, None, None]).clamp(max=1)
    grain = coarse(torch.randn(image.shape, generator=generator), spread)
    dark = from_linear(_exposed(signal, math.exp(log_well), severity, grain))
    return saved(_in_8_bits(dark, severity), severity, generator)


def crushed(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A cheap camera in the dark, another sensor and another curve than elsewhere: held out.

    After Wei et al., 2020 (ELD): heavy-tailed read noise (Student's t of 4 degrees), rows that are
    off by as much together, colours that are off; then vignetting, a curve whose toe crushes black,
    and a JPEG file.
    """
    _, height, width = image.shape
    stops, red, blue, read, rows, toe, vignette, quality = uniform(
        generator,
        (0.55, 0.95),
        (-0.4, 0.4),
        (-0.4, 0.4),
        (0.5, 2.0),
        (0, 0.7),
        (0.01, 0.05),
        (0, 1.2),
        (70, 95),
    )
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    falloff = 1 / (1 + vignette * onset(severity) * (y.square() + x.square()) / 2).square()
    exposure, cast = _exposure(severity, stops), _cast(severity, red, blue)
    signal = to_linear(image) * falloff * (exposure * cast.clamp(max=1 / exposure))[:, None, None]
    white = torch.randn(6, *image.shape, generator=generator)
    tailed = white[0] / (white[1:5].square().mean(0)).sqrt().clamp_min(0.2) / 2**0.5
    lines = torch.randn(1, height, 1, generator=generator).expand_as(image)
    strength = onset(severity)
    noise = (signal / 2500).sqrt() * white[5] + read / 2500 * 3 * (tailed + rows * lines)
    stored = from_linear((signal + strength * noise).clamp(0, 1))
    black = toe * strength
    curve = stored.square() / (stored + black)  # its slope is 0 at black, 1 far above the toe
    curve = curve * (1 + black)
    return through_file(curve.clamp(0, 1), round(97 - (97 - quality) * strength))


def _in_8_bits(image: Tensor, severity: float) -> Tensor:
    """As a file has it, so that what was dark stays coarse once it is made brighter."""
    return (image * 255).round() / 255 if severity > 0 else image


TASK = Task(
    "low-light",
    {
        USUAL: Form(low_light, "an underexposed raw frame, with its noise"),
        "night": Form(night, "night, with lamps and without, as a JPEG file"),
        "underexposed": Form(underexposed, "too short an exposure, clean but for its 8 bits"),
        "gamma": Form(gamma_dark, "darkened by a power of the stored values"),
        "backlit": Form(backlit, "a dark foreground before a bright sky"),
        "coloured": Form(coloured, "dim coloured light"),
        "crushed": Form(crushed, "black crushed, rows and heavy tails of noise", held_out=True),
    },
    local=True,
)
