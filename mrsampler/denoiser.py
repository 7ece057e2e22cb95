"""What a network predicts, and the conversions between the three targets.

In the residual y = x - mu, with D = x_0 - mu and s = sigma_inf (1 for VP):

    y = alpha D + sigma eps,        v = alpha s eps - (sigma / s) D

    D   = (y - sigma eps) / alpha   = alpha y - (sigma / s) v
    eps = (y - alpha D) / sigma     = (alpha v + (sigma / s) y) / s

The velocity is the derivative of y in the angle phi of alpha = cos phi, sigma = s sin phi
(Salimans & Ho, arXiv 2202.00512). The target of the *network* is one thing, the
parameterisation of the *solver* another: either is had from the other exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import Tensor

Target = Literal["noise", "data", "velocity"]


class Denoiser:
    """A network together with what it predicts.

    `network(x, mu, t, **conditioning)` takes x and mu (B, C, H, W), t a float in [0, T], and
    returns a tensor of x's shape: eps ("noise"), x_0 ("data") or v ("velocity").

    Raises ValueError for another target, TypeError if the network cannot be called.
    """

    def __init__(self, network: Callable[..., Tensor], target: Target = "noise"):
        if target not in get_args(Target):
            raise ValueError(
                f"unknown target {target!r}; choose from {', '.join(get_args(Target))}"
            )
        if not callable(network):
            raise TypeError(f"network must be callable, got {type(network).__name__}")
        self.network = network
        self.target = target

    def __call__(self, x: Tensor, mu: Tensor, t: float, **conditioning: Any) -> Tensor:
        """The network's raw output, of x's shape. Raises ValueError for another shape."""
        output = self.network(x, mu, t, **conditioning)
        if output.shape != x.shape:
            raise ValueError(
                f"the network returned {tuple(output.shape)} for x of {tuple(x.shape)}"
            )
        return output

    def data(
        self, output: Tensor, y: Tensor, mu: Tensor, alpha: float, sigma: float, scale: float
    ) -> Tensor:
        """D = x_0 - mu from the raw output at y; alpha > 0, `scale` is sigma_inf."""
        if self.target == "data":
            return output - mu
        if self.target == "noise":
            return (y - sigma * output).div_(alpha)
        return (alpha * y).sub_(output, alpha=sigma / scale)

    def noise(
        self, output: Tensor, y: Tensor, mu: Tensor, alpha: float, sigma: float, scale: float
    ) -> Tensor:
        """eps from the raw output at y; sigma > 0, `scale` is sigma_inf."""
        if self.target == "noise":
            return output
        if self.target == "data":
            return (y - alpha * (output - mu)).div_(sigma)
        return (output * (alpha / scale)).add_(y, alpha=sigma / scale**2)


def velocity(data: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor, scale: float) -> Tensor:
    """v = alpha s eps - (sigma / s) D, what a velocity network is trained to return."""
    return alpha * scale * noise - sigma / scale * data
