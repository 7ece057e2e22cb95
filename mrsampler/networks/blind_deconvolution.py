"""A blur that is the same all over a photo, read from the photo and undone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrsampler.degradations.light import from_linear, to_linear

_READ = 512  # pixels a side, at most, are read
_STRIDE = 64  # pixels between the places of a larger photo that might be
_LEAST = 64  # pixels a side: less tells nothing
_TAPER = 12  # pixels over which what is read fades towards its edges, which the FFT would join
_TRUE_FLOOR = 1e-4  # finds 32 known kernels to 0.3 % of their power, in photos of 8 bits


class BlindDeconvolution(nn.Module):
    """sharp(mu) -> mu with its blur undone, (B, 3, H, W) in [0, 1].

    A few convolutions draw edges as they may have been; the kernel is what takes them to filtered
    mu, by the quotient of their spectra; Wiener's filter undoes it, in linear light. Where the
    kernel is right nothing local could do as well, and it is a handful of numbers that all of the
    photo tells of: a U-Net's neighbourhoods do not. Of a photo with a side of more than 512 pixels
    the part with the most edges is read.

    A kernel reaches `reach` pixels from its middle. A photo with a side below 64 pixels is returned
    as it is. In a half-precision network the spectra are of float32, which the FFT needs.
    Source: Schuler et al., Learning to deblur (arXiv 1406.7444).
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

    @staticmethod
    def reads(mu: Tensor) -> bool:
        """Whether mu is large enough to tell its blur."""
        return min(mu.shape[-2:]) >= _LEAST

    def kernel(self, mu: Tensor) -> Tensor:
        """The blur of mu (B, 3, H, W), which it `reads`, (B, 2 reach + 1, 2 reach + 1).

        Non-negative, of sum 1; a single pixel where mu is flat. In float32 or float64.
        """
        part, weight = _telling(mu), self.filters.weight
        h = self.stem(F.pixel_unshuffle(2 * part - 1, 2).to(weight.dtype))
        for conv in self.body:
            h = h + conv(F.silu(h))
        wide = torch.promote_types(mu.dtype, torch.float32)
        sharp = F.pixel_shuffle(self.edges(F.silu(h)), 2).to(wide)
        light = to_linear(part).mean(1, keepdim=True).to(weight.dtype)
        weight = weight - weight.mean((2, 3), keepdim=True)
        blurred = F.conv2d(light, weight, padding=3).to(wide)
        return self._quotient(sharp, blurred, self.log_floor.exp().to(wide))

    def true_kernel(self, x0: Tensor, mu: Tensor) -> Tensor:
        """The kernel that takes x0 to mu: what `kernel` is to be, of a photo known sharp.

        Of at most 512 pixels a side.
        """
        before, after = (to_linear(part).mean(1, keepdim=True) for part in (x0, mu))
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
        power = power + floor * power.mean((1, 2), keepdim=True) + 1e-12
        quotient = (before.conj() * after).sum(1) / power
        kernel = torch.fft.irfft2(quotient, s=(height, width))
        size = 2 * self.reach + 1
        kernel = kernel.roll((self.reach, self.reach), (1, 2))[:, :size, :size]
        # A path of the camera leaves most of it empty.
        kernel = F.relu(kernel - 0.02 * kernel.amax((1, 2), keepdim=True))
        point = torch.zeros_like(kernel[0])
        point[self.reach, self.reach] = 1e-6
        kernel = kernel + point
        return kernel / kernel.sum((1, 2), keepdim=True)

    def undone(self, mu: Tensor, kernel: Tensor) -> Tensor:
        """mu (B, 3, H, W) in [0, 1] with the blur of `kernel` undone by Wiener's filter."""
        reach = self.reach
        light = F.pad(to_linear(mu.to(kernel)), (reach,) * 4, mode="reflect")
        size = light.shape[-2:]
        spread = (0, size[1] - kernel.shape[2], 0, size[0] - kernel.shape[1])
        transfer = torch.fft.rfft2(F.pad(kernel, spread).roll((-reach, -reach), (1, 2)))
        noise = self.log_noise.exp().to(kernel)
        inverse = (1 + noise) * transfer.conj() / (transfer.abs().square() + noise)
        # A colour at a time: of a large photo the spectra are the most that is held.
        colours = [
            torch.fft.irfft2(torch.fft.rfft2(colour) * inverse, s=size)
            for colour in light.unbind(1)
        ]
        sharp = torch.stack(colours, dim=1)[..., reach:-reach, reach:-reach]
        # Near black the root has no slope that training could follow.
        return from_linear(sharp.clamp(1e-6, 1)).to(mu.dtype)

    def forward(self, mu: Tensor) -> Tensor:
        if not self.reads(mu):
            return mu
        mu = mu.clamp(0, 1)
        return self.undone(mu, self.kernel(mu))


def _telling(mu: Tensor) -> Tensor:
    """The part of each mu, of even sides up to 512, that has the most edges."""
    height, width = (min(side, _READ) // 2 * 2 for side in mu.shape[-2:])
    if max(mu.shape[-2:]) <= _READ:
        return mu[..., :height, :width]
    grey = mu.mean(1, keepdim=True)
    edges = F.pad(grey.diff(dim=2).square(), (0, 0, 0, 1)) + F.pad(grey.diff().square(), (0, 1))
    found = F.avg_pool2d(edges, (height, width), _STRIDE)
    parts = []
    for one, where in zip(mu, found.flatten(1).argmax(1).tolist(), strict=True):
        top, left = (_STRIDE * place for place in divmod(where, found.shape[-1]))
        parts.append(one[:, top : top + height, left : left + width])
    return torch.stack(parts)


def _taper(side: int, like: Tensor) -> Tensor:
    rise = torch.linspace(0, 1, _TAPER + 2, device=like.device, dtype=like.dtype)[1:-1]
    rise = rise.square() * (3 - 2 * rise)
    return torch.cat([rise, rise.new_ones(side - 2 * _TAPER), rise.flip(0)])
