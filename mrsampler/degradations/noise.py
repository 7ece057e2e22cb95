"""Noisy: additive white Gaussian noise, the standard test of denoisers; and a camera's."""

import torch
from torch import Tensor

from .fields import coarse
from .jpeg import through_file

MAX_SIGMA = 50 / 255
COARSEST = 1.0  # pixels, the spread of a camera's grain
WORST_FILE, BEST_FILE = 60, 97  # the encoder's quality


def noise(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] plus noise of standard deviation severity * 50/255, clipped."""
    grain = torch.randn(image.shape, generator=generator)
    return (image + severity * MAX_SIGMA * grain).clamp(0, 1)


def camera_noise(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] with the noise that photos come with: no pixel's is its own.

    The grain is up to a pixel coarse and grows with the light, as photons' does; a share of it is
    grey, as all of a film's; then the photo becomes a JPEG file. Its standard deviation is
    `noise`'s in a middle grey before that.
    """
    spread, light, grey, quality = torch.rand(4, generator=generator).tolist()
    *own, shared = torch.randn(4, *image.shape[1:], generator=generator)
    grain = (1 - grey) ** 0.5 * torch.stack(own) + grey**0.5 * shared
    grain = coarse(grain, COARSEST * spread)
    gain = torch.lerp(torch.ones_like(image), (2 * image).sqrt(), light)
    noisy = (image + severity * MAX_SIGMA * gain * grain).clamp(0, 1)
    return through_file(noisy, round(WORST_FILE + (BEST_FILE - WORST_FILE) * quality))
