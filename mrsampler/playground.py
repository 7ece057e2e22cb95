"""Low-dimensional densities with exact scores: what a network would be if it were perfect."""

from __future__ import annotations

import torch
from torch import Tensor

from mrsampler.denoiser import Target, velocity
from mrsampler.process import Process


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
        if not spread >= 0:
            raise ValueError(f"spread must not be negative, got {spread}")
        self.process, self.spread, self.target = process, spread, target

    def data(self, y: Tensor, alpha: float, sigma: float) -> Tensor:
        """E[x_0 - mu | y] for y = x_t - mu (B, d); sigma > 0."""
        variance = (alpha * self.spread) ** 2 + sigma**2
        distance = (y[:, None] - alpha * self.means).square().sum(-1)
        share = (self.weights.log() - distance / (2 * variance)).softmax(1)
        centre = share @ self.means
        return centre + alpha * self.spread**2 / variance * (y - alpha * centre)

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
        return velocity(data, noise, alpha, sigma, self.process.sigma_inf)
