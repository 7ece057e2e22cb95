"""Low-light: an underexposed raw frame, developed without brightening it."""

import math

import torch
from torch import Tensor

from .fields import coarse, fractal_noise, reduced_size, resize, uniform
from .jpeg import through_file
from .light import from_linear, to_linear

MAX_STOPS = 7.0
FULL_WELL = 1500.0  # electrons at white, at the high ISO of a night shot
READ_NOISE = 1.5  # electrons
MOST_LIT = 0.8  # the share of the stops of darkness that a pool of light takes away
LUMA_SAMPLES = 2**20  # torch.quantile takes no more than 2^24
WORST_FILE, BEST_FILE = 45, 97  # the encoder's quality


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
    return through_file(from_linear(frame) ** (contrast ** _onset(severity)), round(quality))


def _exposed(signal: Tensor, full_well: float, severity: float, grain: Tensor) -> Tensor:
    """Linear light (3, H, W) as a sensor of this many electrons at white counts it, clipped."""
    deviation = (signal / full_well + (READ_NOISE / full_well) ** 2).sqrt() * _onset(severity)
    return (signal + deviation * grain).clamp(0, 1)


def _exposure(severity: float, stops: float) -> float:
    """What is left of the light; `stops` is a share of MAX_STOPS."""
    return 2 ** (-MAX_STOPS * severity**0.62 * stops)


def _cast(severity: float, red: float, blue: float) -> Tensor:
    """Factors of R, G, B, (3,), of a light that is off by so many stops at severity 1."""
    return torch.tensor([2 ** (red * severity), 1.0, 2 ** (blue * severity)])


def _onset(severity: float) -> float:
    """0 at severity 0, 1 from 0.25 on."""
    return min(1, 4 * severity)
