"""A blur that is the same all over a photo, read from the photo and undone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAMMA = 2.2  # between stored values and light, of which a shutter takes the mean
_READ = 512  # pixels a side, of the middle of a photo, tell its blur
_LEAST = 64  # pixels a side: less tells nothing
_TAPER = 12  # pixels over which what is read fades towards its edges, which the FFT would join
_TRUE_FLOOR = 1e-4  # finds 32 known kernels to 0.3 % of their power, in photos of 8 bits


class BlindDeconvolution(nn.Module):
    """sharp(mu) -> mu with its blur undone, (B, 3, H, W) in [0, 1].

    A few convolutions draw edges as they may have been; the kernel is what takes them to filtered
    mu, by the quotient of their spectra, of the whole photo; Wiener's filter undoes it, in linear
    light. Where the kernel is right nothing local could do as well, and it is a handful of numbers
    that all of the photo tells of: a U-Net's neighbourhoods do not.

    A kernel reaches `reach` pixels from its middle. A photo with a side below 64 pixels is returned
    as it is. Source: Schuler et al., Learning to deblur (arXiv 1406.7444).
    """

    def __init__(self, channels: int = 48, depth: int = 5, features: int = 4, reach: int = 16):
        super().__init__()
        self.reach = reach
        self.stem = nn.Conv2d(3 * 4, channels, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth))
        self.edges = nn.Conv2d(channels, 4 * features, 3, padding=1)
        self.filters = nn.Conv2d(1, features, 7, padding=3, bias=False)
        # Shares: of the features' mean power, and of the kernel's power at frequency 0.
        self.log_floor = nn.Parameter(torch.tensor(-2.0))
        self.log_noise = nn.Parameter(torch.tensor(-4.0))

    def kernel(self, mu: Tensor) -> Tensor:
        """The blur of mu (B, 3, H, W), at least 64 pixels a side, (B, 2 reach + 1, 2 reach + 1).

        Non-negative, of sum 1.
        """
        mu = _middle(mu)
        h = self.stem(F.pixel_unshuffle(2 * mu - 1, 2))
        for conv in self.body:
            h = h + conv(F.silu(h))
        sharp = F.pixel_shuffle(self.edges(F.silu(h)), 2).to(mu.dtype)
        weight = self.filters.weight - self.filters.weight.mean((2, 3), keepdim=True)
        light = mu.pow(GAMMA).mean(1, keepdim=True)
        blurred = F.conv2d(light, weight, padding=3).to(mu.dtype)
        return self._quotient(sharp, blurred, self.log_floor.exp())

    def true_kernel(self, x0: Tensor, mu: Tensor) -> Tensor:
        """The kernel that takes x0 to mu: what `kernel` is to be, of a photo known sharp."""
        before, after = (_middle(part).pow(GAMMA).mean(1, keepdim=True) for part in (x0, mu))
        mean = before.mean((2, 3), keepdim=True)
        return self._quotient(before - mean, after - mean, _TRUE_FLOOR)

    def _quotient(self, before: Tensor, after: Tensor, floor: float | Tensor) -> Tensor:
        """The kernel that best takes each of `before` (B, N, H, W) to that of `after`.

        Frequencies at which they have less than `floor` of their mean power hardly count.
        """
        height, width = before.shape[-2:]
        window = _taper(height, before)[:, None] * _taper(width, before)
        before, after = (torch.fft.rfft2(part * window) for part in (before, after))
        power = before.abs().square().sum(1)
        quotient = (before.conj() * after).sum(1) / (
            power + floor * power.mean((1, 2), keepdim=True)
        )
        kernel = torch.fft.irfft2(quotient, s=(height, width))
        size = 2 * self.reach + 1
        kernel = kernel.roll((self.reach, self.reach), (1, 2))[:, :size, :size]
        # A path of the camera leaves most of it empty.
        kernel = F.relu(kernel - 0.02 * kernel.amax((1, 2), keepdim=True)) + 1e-8
        return kernel / kernel.sum((1, 2), keepdim=True)

    def undone(self, mu: Tensor, kernel: Tensor) -> Tensor:
        """mu (B, 3, H, W) in [0, 1] with the blur of `kernel` undone by Wiener's filter."""
        reach = self.reach
        light = F.pad(mu.pow(GAMMA), (reach,) * 4, mode="reflect")
        size = light.shape[-2:]
        spread = (0, size[1] - kernel.shape[2], 0, size[0] - kernel.shape[1])
        transfer = torch.fft.rfft2(F.pad(kernel, spread).roll((-reach, -reach), (1, 2)))[:, None]
        noise = self.log_noise.exp()
        inverse = (1 + noise) * transfer.conj() / (transfer.abs().square() + noise)
        sharp = torch.fft.irfft2(torch.fft.rfft2(light) * inverse, s=size)
        # Near black the root has no slope that training could follow.
        return sharp[..., reach:-reach, reach:-reach].clamp(1e-6, 1).pow(1 / GAMMA)

    def forward(self, mu: Tensor) -> Tensor:
        if min(mu.shape[-2:]) < _LEAST:
            return mu
        mu = mu.clamp(0, 1)
        return self.undone(mu, self.kernel(mu))


def _middle(mu: Tensor) -> Tensor:
    """The middle of mu that the blur is read from, of even sides."""
    height, width = (min(side, _READ) // 2 * 2 for side in mu.shape[-2:])
    top, left = (mu.shape[-2] - height) // 2, (mu.shape[-1] - width) // 2
    return mu[..., top : top + height, left : left + width]


def _taper(side: int, like: Tensor) -> Tensor:
    rise = torch.linspace(0, 1, _TAPER + 2, device=like.device, dtype=like.dtype)[1:-1]
    rise = rise.square() * (3 - 2 * rise)
    return torch.cat([rise, rise.new_ones(side - 2 * _TAPER), rise.flip(0)])
