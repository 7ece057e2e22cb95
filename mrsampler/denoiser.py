"""What a network predicts, and the conversions between the targets.

In the residual y = x - mu, with D = x_0 - mu and s = sigma_inf (1 for VP):

    y = alpha D + sigma eps,        v = alpha s eps - (sigma / s) D

    D   = (y - sigma eps) / alpha   = alpha y - (sigma / s) v
    eps = (y - alpha D) / sigma     = (alpha v + (sigma / s) y) / s

The flow is that of a straight line from the data to the noise, of scale s whatever the process:

    u = s eps - D,      D = (y - (sigma / s) u) / (alpha + sigma / s),      eps = (u + D) / s

The velocity is the derivative of y in the angle phi of alpha = cos phi, sigma = s sin phi
(Salimans & Ho, arXiv 2202.00512). A residual network is told what Gauss knows already: were D
normal about the network's output r with standard deviation d (`sigma_data`), its mean given y were

    D   = c y + (1 - alpha c) r,    c = alpha d^2 / (alpha^2 d^2 + sigma^2)

so that r is an estimate of D that need not change with t where noise hides it, and r's error fades
as sigma^2 near t = 0 (compare c_skip and c_out of EDM, arXiv 2206.00364, whose mean is 0, not r).

The target of the *network* is one thing, the parameterisation of the *solver* another: either is
had from the other exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

Target = Literal["noise", "data", "velocity", "residual", "flow"]


class Denoiser:
    """A network together with what it predicts.

    `network(x, mu, t, **conditioning)` takes x and mu (B, C, H, W), t a float in [0, T], and
    returns a tensor of x's shape: eps ("noise"), x_0 ("data"), v ("velocity"), u ("flow") or r
    ("residual", which goes by `sigma_data` > 0, in units of x). A new tensor each time: multistep
    solvers keep it.

    Raises ValueError for another target or a residual without `sigma_data`, TypeError if the
    network cannot be called.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        target: Target = "noise",
        sigma_data: float | None = None,
    ):
        if target not in get_args(Target):
            raise ValueError(
                f"unknown target {target!r}; choose from {', '.join(get_args(Target))}"
            )
        if not callable(network):
            raise TypeError(f"network must be callable, got {type(network).__name__}")
        if target == "residual" and not (sigma_data is not None and 0 < sigma_data < math.inf):
            raise ValueError(f"a residual network needs a sigma_data > 0, got {sigma_data}")
        self.network = network
        self.target = target
        self.sigma_data = sigma_data

    def over(self, network: Callable[..., Tensor]) -> Denoiser:
        """The same of another network, which predicts what this one does."""
        return Denoiser(network, self.target, self.sigma_data)

    def __call__(self, x: Tensor, mu: Tensor, t: float, **conditioning: Any) -> Tensor:
        """The network's raw output, in x's shape and type. Raises ValueError for another shape."""
        output = self.network(x, mu, t, **conditioning)
        if output.shape != x.shape:
            raise ValueError(
                f"the network returned {tuple(output.shape)} for x of {tuple(x.shape)}"
            )
        return output.to(x.dtype)  # the solver's arithmetic, even of a bfloat16 network

    def tells_data(self, alpha: float, sigma: float) -> bool:
        """Whether D is had from the output there: not from eps where alpha is 0."""
        if self.target == "noise":
            return alpha > 0
        return self.target != "flow" or alpha > 0 or sigma > 0

    def data(
        self, output: Tensor, y: Tensor, mu: Tensor, alpha: float, sigma: float, scale: float
    ) -> Tensor:
        """D = x_0 - mu from the raw output at y, where it `tells_data`; `scale` is sigma_inf."""
        if self.target == "data":
            return output - mu
        if self.target == "noise":
            return (y * (1 / alpha)).sub_(output, alpha=sigma / alpha)
        if self.target == "residual":
            skip, left = self._shares(alpha, sigma)
            return (skip * y).add_(output, alpha=left)
        if self.target == "flow":
            whole = alpha + sigma / scale
            return (y * (1 / whole)).sub_(output, alpha=sigma / (scale * whole))
        return (alpha * y).sub_(output, alpha=sigma / scale)

    def noise(
        self, output: Tensor, y: Tensor, mu: Tensor, alpha: float, sigma: float, scale: float
    ) -> Tensor:
        """eps from the raw output at y; sigma > 0, `scale` is sigma_inf."""
        if self.target == "noise":
            return output
        if self.target == "data":
            return (y * (1 / sigma)).sub_(output - mu, alpha=alpha / sigma)
        if self.target == "residual":
            _, left = self._shares(alpha, sigma)
            return (y * (left / sigma)).sub_(output, alpha=alpha * left / sigma)
        if self.target == "flow":
            whole = alpha * scale + sigma
            return (y * (1 / whole)).add_(output, alpha=alpha / whole)
        return (output * (alpha / scale)).add_(y, alpha=sigma / scale**2)

    def _shares(self, alpha: float, sigma: float) -> tuple[float, float]:
        """c and 1 - alpha c of a residual network; the second is not had from the first exactly."""
        assert self.sigma_data is not None
        if alpha == 0:  # y tells nothing of D
            return 0.0, 1.0
        known = alpha * self.sigma_data**2
        variance = alpha * known + sigma**2
        return known / variance, sigma**2 / variance


@dataclass(frozen=True)
class Thresholding:
    """Dynamic thresholding: pulls each image of a batch into range where too much of it leaves it.

    With u = (x_0 - centre) / half_width, the image's range being [-1, 1], and s the `ratio`
    quantile of |u|, kept within [1, maximum]: u is clamped to [-s, s] and divided by s. A maximum
    of 1 is plain clamping.
    Raises ValueError for a parameter out of range.
    Source: Saharia et al., Imagen (arXiv 2205.11487), section 2.3.
    """

    ratio: float = 0.995
    maximum: float = 1.0
    centre: float = 0.5
    half_width: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.ratio <= 1 and self.maximum >= 1 and self.half_width > 0):
            raise ValueError(f"expected 0 < ratio <= 1 <= maximum and a half_width > 0, got {self}")

    def __call__(self, x0: Tensor) -> Tensor:
        """x_0 (B, ...) thresholded."""
        u = (x0 - self.centre) / self.half_width
        size = u.flatten(1).abs()
        # As torch.quantile, which is limited to 2^24 values, interpolates.
        rank = self.ratio * (size.shape[1] - 1)
        below, above = (
            size.kthvalue(int(k) + 1, dim=1).values for k in (math.floor(rank), math.ceil(rank))
        )
        s = torch.lerp(below, above, rank - math.floor(rank)).clamp(1, self.maximum)
        s = s.reshape(-1, *(1,) * (u.ndim - 1))
        return torch.clamp(u, -s, s).div_(s).mul_(self.half_width).add_(self.centre)


def velocity(
    data: Tensor, noise: Tensor, alpha: float | Tensor, sigma: float | Tensor, scale: float
) -> Tensor:
    """v = alpha s eps - (sigma / s) D, what a velocity network is trained to return.

    Raises ValueError for an infinite scale s (VESDE).
    """
    if scale == math.inf:
        raise ValueError("a velocity is undefined where sigma_inf is infinite")
    return alpha * scale * noise - sigma / scale * data


def flow(data: Tensor, noise: Tensor, scale: float) -> Tensor:
    """u = s eps - D, what a flow network is trained to return.

    Raises ValueError for an infinite scale s (VESDE).
    """
    if scale == math.inf:
        raise ValueError("a flow is undefined where sigma_inf is infinite")
    return scale * noise - data
