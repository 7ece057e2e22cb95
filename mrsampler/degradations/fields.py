"""Smooth random fields, the same at every resolution, and the draws that shape them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def uniform(generator: torch.Generator, *bounds: tuple[float, float]) -> list[float]:
    """One uniform draw for each (low, high)."""
    draws = torch.rand(len(bounds), generator=generator).tolist()
    return [low + (high - low) * u for (low, high), u in zip(bounds, draws, strict=True)]


def reduced_size(height: int, width: int, short: int) -> tuple[int, int]:
    """The size with the same aspect ratio whose short side is `short`."""
    scale = short / min(height, width)
    return max(short, round(height * scale)), max(short, round(width * scale))


def resize(field: Tensor, height: int, width: int, mode: str = "bilinear") -> Tensor:
    """(h, w) -> (height, width)."""
    return F.interpolate(field[None, None], (height, width), mode=mode, align_corners=False)[0, 0]


def fractal_noise(
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    cells: int = 3,
    octaves: int = 4,
    persistence: float = 0.5,
) -> Tensor:
    """Sum of octaves of value noise, (height, width), zero mean and unit standard deviation.

    `cells` counts the bumps of the coarsest octave along the short side; each further octave has
    twice as many at `persistence` times the amplitude.
    """
    rows, columns = reduced_size(height, width, cells)
    field = torch.randn(rows, columns, generator=generator)
    for octave in range(1, octaves):
        field = resize(field, rows << octave, columns << octave, "bicubic")
        field = field + persistence**octave * torch.randn(field.shape, generator=generator)
    field = resize(field, height, width, "bicubic")
    return (field - field.mean()) / field.std().clamp_min(1e-6)


def box(planes: Tensor, radius: int) -> Tensor:
    """Mean over squares of 2 radius + 1 pixels, fewer at the borders, (N, C, H, W)."""
    return F.avg_pool2d(planes, 2 * radius + 1, 1, radius, count_include_pad=False)


def along_edges(field: Tensor, small: Tensor, image: Tensor) -> Tensor:
    """A field (h, w) brought to the picture's size (H, W), breaking where the picture does.

    `small` is the image (3, H, W) at the field's size. A fast guided filter (He & Sun, 2015).
    """
    guide = small.mean(0)
    stats = box(torch.stack([guide, field, guide * field, guide * guide])[None], 6)[0]
    slope = (stats[2] - stats[0] * stats[1]) / (stats[3] - stats[0] ** 2 + 2e-3)
    lines = box(torch.stack([slope, stats[1] - slope * stats[0]])[None], 4)
    size = image.shape[1:]
    slope, offset = F.interpolate(lines, size, mode="bilinear", align_corners=False)[0]
    return slope * image.mean(0) + offset


def gaussian_blur(field: Tensor, sigma: float) -> Tensor:
    """(h, w) blurred with replicated borders; sigma in pixels."""
    radius = max(1, math.ceil(2.5 * sigma))
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets / max(sigma, 1e-3)) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(field[None, None], (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, -1, 1))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1))[0, 0]


def convolve(planes: Tensor, kernel: Tensor, borders: str = "replicate") -> Tensor:
    """(n, h, w) convolved with a symmetric kernel (k, k), k odd, by FFT.

    borders: what lies beyond them, "replicate", or "circular" for noise.
    """
    half = kernel.shape[-1] // 2
    height, width = planes.shape[-2:]
    padded = F.pad(planes[None], (half,) * 4, mode=borders)[0]
    size = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, size)
    return torch.fft.irfft2(spectrum, size)[:, 2 * half :, 2 * half :][:, :height, :width]


def disc(radius: float) -> Tensor:
    """Antialiased disc that sums to 1, (k, k): what a point out of focus becomes."""
    half = math.ceil(radius) + 1
    offsets = torch.arange(-half, half + 1)
    distance = torch.hypot(offsets[:, None].float(), offsets[None].float())
    kernel = (radius + 0.5 - distance).clamp(0, 1)
    return kernel / kernel.sum()


def segment(length: float, angle: float) -> Tensor:
    """Antialiased segment that sums to 1, (k, k): the path of a thing in motion.

    length in pixels; angle in radians off the vertical.
    """
    half = math.ceil(length / 2) + 1
    offsets = torch.arange(-half, half + 1)
    y, x = offsets[:, None].float(), offsets[None].float()
    along = (y * math.cos(angle) + x * math.sin(angle)).abs()
    across = (x * math.cos(angle) - y * math.sin(angle)).abs()
    kernel = (length / 2 + 0.5 - along).clamp(0, 1) * (1 - across).clamp_min(0)
    return kernel / kernel.sum()


def coarse(grain: Tensor, spread: float) -> Tensor:
    """White noise (C, H, W) blurred by a Gaussian of `spread` pixels, its variance kept.

    In pixels of the photo, as a sensor's grain is: at most 8, and H and W at least 4 of them.
    """
    radius = max(3, math.ceil(2.5 * spread))
    offsets = torch.arange(-float(radius), radius + 1.0)
    weight = torch.exp(-0.5 * (offsets / max(spread, 1e-3)).square())
    weight = weight / weight.norm()
    padded = F.pad(grain[:, None], (radius,) * 4, mode="reflect")
    across = F.conv2d(padded, weight.view(1, 1, 1, -1))
    return F.conv2d(across, weight.view(1, 1, -1, 1))[:, 0]


def onset(severity: float) -> float:
    """0 at severity 0, 1 from 0.25 on: for what comes with damage, but is not its measure."""
    return min(1.0, 4 * severity)
