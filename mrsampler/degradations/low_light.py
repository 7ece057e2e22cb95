"""Low-light: an underexposed raw frame, developed without brightening it."""

import torch
from torch import Tensor

from .fields import uniform
from .light import from_linear, to_linear

MAX_STOPS = 7.0
FULL_WELL = 1500.0  # electrons at white, at the high ISO of a night shot
READ_NOISE = 1.5  # electrons


def low_light(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1], darker by about 7 stops at most, with the sensor's noise.

    Light reaching the sensor is Poisson (here its Gaussian limit) and the amplifier adds a
    constant variance: var = signal / full_well + (read / full_well)^2, as in Foi et al., 2008.
    Severity 1 is as dark as the inputs of LOL (Wei et al., 2018).
    """
    stops, red, blue = uniform(generator, (0.9, 1.1), (-0.25, 0.25), (-0.25, 0.25))
    exposure = 2 ** (-MAX_STOPS * severity**0.62 * stops)
    cast = torch.tensor([2 ** (red * severity), 1.0, 2 ** (blue * severity)])
    signal = to_linear(image) * (exposure * cast.clamp(max=1 / exposure))[:, None, None]
    deviation = (signal / FULL_WELL + (READ_NOISE / FULL_WELL) ** 2).sqrt() * min(1, 4 * severity)
    frame = signal + deviation * torch.randn(image.shape, generator=generator)
    return from_linear(frame.clamp(0, 1))
