"""Densities in the plane with exact scores: what a network would be if it were perfect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mrsampler.denoiser import Target, flow, velocity
from mrsampler.processes import Process


class Mixture:
    """x_0 - mu drawn from a mixture of isotropic Gaussians; called like a network.

    means (K, d), weights (K,) up to a common factor, spread: the standard deviation of each.
    `mixture(x, mu, t)` takes x and mu (B, d) and returns what a perfect network of `target` would:
    from the posterior mean E[x_0 - mu | x_t], in closed form. float64 throughout, on the CPU.

    Raises ValueError for a spread below 0, shapes that do not fit, or weights that are no
    distribution.
    """

    def __init__(
        self,
        process: Process,
        means: Tensor,
        weights: Tensor | None = None,
        spread: float = 0.1,
        target: Target = "noise",
    ):
        self.means = torch.as_tensor(means, dtype=torch.float64)
        count = len(self.means)
        given = torch.ones(count) if weights is None else torch.as_tensor(weights)
        self.weights = given.double() / given.sum()
        if self.means.ndim != 2 or self.weights.shape != (count,) or not (self.weights > 0).all():
            raise ValueError("expected means (K, d) and K positive weights")
        if target == "residual":
            raise ValueError("a mixture predicts noise, data, velocity or flow, and no residual")
        if not spread >= 0:
            raise ValueError(f"spread must not be negative, got {spread}")
        self.process, self.spread, self.target = process, spread, target

    def data(self, y: Tensor, alpha: float, sigma: float) -> Tensor:
        """E[x_0 - mu | y] for y = x_t - mu (B, d); sigma > 0, or alpha = 0."""
        if alpha == 0:  # y tells nothing
            return (self.weights @ self.means).expand_as(y)
        variance = (alpha * self.spread) ** 2 + sigma**2
        # -|y - alpha m|^2 / (2 variance) without |y|^2, which no share depends on: one product.
        constant = self.weights.log() - self.means.square().sum(1) * (alpha**2 / (2 * variance))
        share = torch.addmm(constant, y, self.means.T, alpha=alpha / variance).softmax(1)
        centre = share @ self.means
        return centre + alpha * self.spread**2 / variance * (y - alpha * centre)

    def picture(self, t: float, axis: Tensor, mu: Tensor) -> Tensor:
        """p_t over the plane (d = 2) up to a factor, (n, n): rows are y, columns x, both `axis`."""
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        variance = (alpha * self.spread) ** 2 + sigma**2
        if variance == 0:  # a point, as a bridge's end is, fills a pixel
            variance = float(axis[1] - axis[0]) ** 2 / 4
        centres = mu + alpha * self.means
        # Isotropic Gaussians are products of one in x and one in y.
        across, up = ((axis[:, None] - centres[:, i]).square() / (-2 * variance) for i in (0, 1))
        return up.exp_() * self.weights @ across.exp_().T

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` draws of x_0 - mu, (count, d)."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], dtype=torch.float64, generator=generator)
        return self.means[which] + self.spread * noise

    def __call__(self, x: Tensor, mu: Tensor, t: float) -> Tensor:
        y, alpha, sigma = x.double() - mu, self.process.alpha(t), self.process.sigma(t)
        data = self.data(y, alpha, sigma)
        if self.target == "data":
            return data + mu
        noise = (y - alpha * data) / sigma
        if self.target == "noise":
            return noise
        if self.target == "flow":
            return flow(data, noise, self.process.sigma_inf)
        return velocity(data, noise, alpha, sigma, self.process.sigma_inf)


@dataclass(frozen=True)
class Density:
    """What x_0 is drawn from: Gaussians of one spread, at means (K, 2), with weights (K,).

    In units of x; the weights up to a common factor, equal where there are none. So many narrow
    Gaussians make a curve or an area, and the score is exact at every t all the same.
    """

    means: Tensor
    spread: float
    weights: Tensor | None = None

    def under(self, process: Process, mu: Tensor, target: Target = "noise") -> Mixture:
        """The network that knows this density; mu (2,). Raises ValueError as Mixture does."""
        return Mixture(process, self.means - mu, self.weights, self.spread, target)


def points(drawn: Sequence[Sequence[float]], spread: float = 0.05) -> Density:
    """A Gaussian about each of the points (x, y) that somebody drew."""
    return Density(torch.tensor(drawn, dtype=torch.float64).reshape(-1, 2), spread)


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)


def _two_gaussians() -> Density:
    # The mixture of NCSN (arXiv 1907.05600), section 3.2.2: weights 1/5 and 4/5, means 14 spreads
    # apart; here 0.15 for its 1.
    means = torch.tensor([[-0.75, -0.75], [0.75, 0.75]], dtype=torch.float64)
    return Density(means, 0.15, torch.tensor([0.2, 0.8], dtype=torch.float64))


def _ring() -> Density:
    angle = torch.arange(80, dtype=torch.float64) * (2 * math.pi / 80)
    return Density(_polar(torch.full_like(angle, 0.9), angle), 0.05)


def _two_moons() -> Density:
    angle = torch.linspace(0, math.pi, 40, dtype=torch.float64)
    moon = _polar(torch.full_like(angle, 0.7), angle) - torch.tensor([0.35, 0.17]).double()
    return Density(torch.cat([moon, -moon]), 0.06)


def _spiral() -> Density:
    # The root makes the distances along the curve nearly equal.
    turn = torch.linspace(0.02, 1, 120, dtype=torch.float64).sqrt()
    return Density(_polar(1.1 * turn, 5 * math.pi * turn), 0.035)


def _checkerboard() -> Density:
    offsets = (torch.arange(5, dtype=torch.float64) - 2) / 10
    square = torch.cartesian_prod(offsets, offsets)
    corners = [(i / 2 - 0.75, j / 2 - 0.75) for i in range(4) for j in range(4) if (i + j) % 2]
    centres = torch.tensor(corners, dtype=torch.float64)
    return Density((centres[:, None] + square).reshape(-1, 2), 0.045)


DENSITIES: dict[str, Density] = {
    "two Gaussians": _two_gaussians(),
    "ring": _ring(),
    "two moons": _two_moons(),
    "spiral": _spiral(),
    "checkerboard": _checkerboard(),
}
"""In the plane, all within about 1.3 of the origin."""
