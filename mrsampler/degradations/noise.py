"""Noisy: additive white Gaussian noise, the standard test of denoisers."""

import torch
from torch import Tensor

MAX_SIGMA = 50 / 255


def noise(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] plus noise of standard deviation severity * 50/255, clipped."""
    grain = torch.randn(image.shape, generator=generator)
    return (image + severity * MAX_SIGMA * grain).clamp(0, 1)
