"""Motion-blurry: the camera wanders while the shutter is open."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .fields import uniform
from .light import from_linear, to_linear
from .raster import splat

MAX_LENGTH = 21  # of the path, in pixels of a 256-pixel short side
STEPS = 64


def trajectory(length: float, generator: torch.Generator) -> Tensor:
    """Camera path in pixels around its mean, (n, 2), n growing with `length`.

    A walk with inertia, shake and an occasional jolt, after Boracchi & Foi, 2012, as used by
    DeblurGAN (Kupyn et al., 2018).
    """
    heading, bend, jolt, moment = uniform(
        generator, (0, 2 * math.pi), (-1.4, 1.4), (-1.3, 1.3), (0.1, 0.9)
    )
    shake = torch.randn(2, STEPS, generator=generator)
    time = torch.linspace(0, 1, STEPS)
    angle = heading + bend * time + 0.09 * shake[0].cumsum(0) + jolt * (time > moment)
    speed = (1 + 0.12 * shake[1].cumsum(0)).abs() + 0.1
    step = speed[:, None] * torch.stack([angle.sin(), angle.cos()], 1)
    path = step.cumsum(0) * (length / speed.sum())
    samples = max(STEPS, 2 * math.ceil(length))
    path = F.interpolate(path.T[None], samples, mode="linear", align_corners=True)[0].T
    return path - path.mean(0)


def kernel(length: float, generator: torch.Generator) -> Tensor:
    """Point-spread function of one trajectory, (2r + 1, 2r + 1), non-negative, sum 1."""
    path = trajectory(length, generator)
    radius = math.ceil(path.abs().max().item())
    size = 2 * radius + 1
    deposit = torch.full((len(path),), 1 / len(path))
    return splat(path[:, 0] + radius, path[:, 1] + radius, deposit, size, size)


def fast_length(least: int) -> int:
    """The next 2^a 3^b 5^c, which the FFT likes."""
    size = least
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1


def motion_blur(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] convolved with a camera trajectory, borders reflected.

    The average is taken in linear light, as a shutter does. Severity 1 is the long end of GoPro
    (Nah et al., 2017).
    """
    _, height, width = image.shape
    psf = kernel(MAX_LENGTH * severity**1.5 * min(height, width) / 256, generator)
    radius = psf.shape[0] // 2
    if radius == 0:
        return image
    light = F.pad(to_linear(image)[None], (radius,) * 4, mode="reflect")[0]
    size = [fast_length(side + 2 * radius) for side in (height, width)]
    spectrum = torch.fft.rfft2(light, s=size) * torch.fft.rfft2(psf, s=size)
    # circular wrap-around touches only the first 2 * radius rows and columns
    blurred = torch.fft.irfft2(spectrum, s=size)
    blurred = blurred[:, 2 * radius : 2 * radius + height, 2 * radius : 2 * radius + width]
    return from_linear(blurred.clamp(0, 1))
