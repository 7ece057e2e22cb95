"""The diffusion processes, all of one kind: affine-Gaussian around an anchor mu.

    x_t = mu + alpha_t (x_0 - mu) + sigma_t eps,        lambda_t = log(alpha_t / sigma_t)

In the residual y = x - mu the anchor disappears, so a solver needs to know a process only through
alpha, sigma and lambda. lambda is half the log-SNR; it falls as t grows.

Times run from 0 (data) to T (noise). Every function takes a float and returns a float, or takes a
tensor and returns a float64 tensor of its shape on its device.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TypeVar

import torch
from torch import Tensor

SCHEDULES = ("cosine", "linear", "constant")

Time = TypeVar("Time", float, Tensor)


def theta_schedule(schedule: str, num_steps: int) -> Tensor:
    """The published theta of each unit of time, (num_steps + 1,) float64, up to a common factor.

    Raises ValueError for an unknown schedule or fewer than one step.
    Source: IR-SDE (Luo et al., 2023), `get_thetas`; the cosine is Nichol & Dhariwal's.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    if schedule == "cosine":
        x = torch.linspace(0, 1, num_steps + 3, dtype=torch.float64)
        alpha_bar = torch.cos((x + 0.008) / 1.008 * math.pi / 2) ** 2
        return 1 - (alpha_bar / alpha_bar[0])[1:-1]
    if schedule == "linear":
        scale = 1000 / (num_steps + 1)
        return torch.linspace(scale * 1e-4, scale * 0.02, num_steps + 1, dtype=torch.float64)
    if schedule == "constant":
        return torch.ones(num_steps + 1, dtype=torch.float64)
    raise ValueError(f"unknown schedule {schedule!r}; choose from {', '.join(SCHEDULES)}")


class MeanRevertingSDE:
    """dx = f(t) (mu - x) dt + g(t) dw with g^2 = 2 sigma_inf^2 f: the mean-reverting SDE.

        alpha_t = exp(-int_0^t f),      sigma_t = sigma_inf sqrt(1 - alpha_t^2)

    `max_sigma` is sigma_inf, in image units ([0, 1]); a value >= 1 is divided by 255, as published.
    `eps` is alpha at T. With `zero_start` alpha_0 is 1, as in the code that trained the IR-SDE and
    DA-CLIP checkpoints; without it alpha_0 = 0.999936, as in the MR Sampler's.

    log alpha is interpolated linearly between the published grid points and all else is derived
    from it, so that alpha, sigma and lambda agree with each other at every t.

    Raises ValueError for an unknown schedule or a parameter out of range.
    Source: IR-SDE (arXiv 2301.11699); MR Sampler (ICLR 2025).
    """

    def __init__(
        self,
        max_sigma: float = 50 / 255,
        schedule: str = "cosine",
        num_steps: int = 100,
        eps: float = 0.005,
        zero_start: bool = False,
    ):
        if not max_sigma > 0 or not math.isfinite(max_sigma):
            raise ValueError(f"max_sigma must be positive and finite, got {max_sigma}")
        if not 0 < eps < 1:
            raise ValueError(f"eps must lie between 0 and 1, got {eps}")
        self.sigma_inf = max_sigma / 255 if max_sigma >= 1 else float(max_sigma)
        self.schedule, self.num_steps, self.eps, self.zero_start = (
            schedule,
            num_steps,
            eps,
            zero_start,
        )
        cumulative = theta_schedule(schedule, num_steps).cumsum(0)
        if zero_start:
            cumulative = cumulative - cumulative[0]
        # The table: log alpha at t = 0, 1, ..., num_steps.
        self._log_alpha = math.log(eps) * cumulative / cumulative[-1]
        self._log_alpha_list: list[float] = self._log_alpha.tolist()

    @property
    def T(self) -> float:
        """The largest time, where x is mu plus (almost) pure noise."""
        return float(self.num_steps)

    @property
    def t_min(self) -> float:
        """The smallest time with finite lambda that a solver steps to.

        0, unless sigma_0 = 0: then 1, the first time that the networks with `zero_start` were
        trained at, from which one last step to sigma = 0 returns the predicted x_0.
        """
        return 1.0 if self.zero_start else 0.0

    def _check_time(self, t: float | Tensor) -> None:
        low, high = (t.min().item(), t.max().item()) if isinstance(t, Tensor) else (t, t)
        if not (low >= 0 and high <= self.num_steps):
            raise ValueError(f"t must lie in [0, {self.num_steps}], got {low}..{high}")

    def log_alpha(self, t: Time) -> Time:
        """log alpha_t, at most 0. Raises ValueError for t outside [0, T]."""
        self._check_time(t)
        if isinstance(t, Tensor):
            table = self._log_alpha.to(t.device)
            t = t.double()
            left = t.floor().clamp(max=self.num_steps - 1).long()
            return torch.lerp(table[left], table[left + 1], t - left)
        left = min(int(t), self.num_steps - 1)
        a, b = self._log_alpha_list[left : left + 2]
        return a + (b - a) * (t - left)

    def alpha(self, t: Time) -> Time:
        """The share of x_0 - mu that is left in x_t, in (0, 1]."""
        log_alpha = self.log_alpha(t)
        return log_alpha.exp() if isinstance(log_alpha, Tensor) else math.exp(log_alpha)

    def sigma(self, t: Time) -> Time:
        """The standard deviation of x_t given x_0, in image units, in [0, sigma_inf)."""
        log_alpha = self.log_alpha(t)
        if isinstance(log_alpha, Tensor):
            return self.sigma_inf * (-torch.expm1(2 * log_alpha)).sqrt()
        return self.sigma_inf * math.sqrt(-math.expm1(2 * log_alpha))

    def lam(self, t: Time) -> Time:
        """lambda_t = log(alpha_t / sigma_t), half the log-SNR; infinite where sigma_t = 0."""
        log_alpha, sigma = self.log_alpha(t), self.sigma(t)
        if isinstance(sigma, Tensor):
            return log_alpha - sigma.log()
        return log_alpha - math.log(sigma) if sigma > 0 else math.inf

    def time(self, lam: Time) -> Time:
        """The exact inverse of `lam`. Raises ValueError outside [lam(T), lam(0)]."""
        if isinstance(lam, Tensor):
            times = [self.time(value) for value in lam.double().flatten().tolist()]
            return torch.tensor(times, dtype=torch.float64, device=lam.device).reshape(lam.shape)
        if lam == math.inf and self.zero_start:
            return 0.0
        # alpha^2 = 1 / (1 + exp(-2 lambda) / sigma_inf^2)
        log_alpha = -0.5 * _softplus(-2 * (lam + math.log(self.sigma_inf)))
        table = self._log_alpha_list
        slack = 1e-12
        if not table[-1] - slack <= log_alpha <= table[0] + slack:
            low, high = self.lam(self.T), self.lam(0.0)
            raise ValueError(f"lambda must lie in [{low:.6g}, {high:.6g}], got {lam}")
        log_alpha = min(max(log_alpha, table[-1]), table[0])
        right = max(1, bisect_left(table, -log_alpha, key=lambda value: -value))
        a, b = table[right - 1], table[right]
        return right - 1 + (log_alpha - a) / (b - a)

    def drift(self, t: float) -> float:
        """f(t), the rate of mean reversion per unit of t, on the unit of time that ends at t."""
        self._check_time(t)
        right = max(1, math.ceil(t))
        return self._log_alpha_list[right - 1] - self._log_alpha_list[right]

    def diffusion(self, t: float) -> float:
        """g(t)^2 = 2 sigma_inf^2 f(t), in squared image units per unit of t."""
        return 2 * self.sigma_inf**2 * self.drift(t)

    def perturb(self, x0: Tensor, mu: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """x_t given x_0: mu + alpha_t (x_0 - mu) + sigma_t noise.

        `t` is one time for the whole batch, or one an image, of shape (B,).
        """
        if not isinstance(t, Tensor):
            return mu + self.alpha(t) * (x0 - mu) + self.sigma(t) * noise
        shape = (-1,) + (1,) * (x0.ndim - 1) if t.ndim else ()
        alpha, sigma = self.alpha(t).reshape(shape).to(x0), self.sigma(t).reshape(shape).to(x0)
        return mu + alpha * (x0 - mu) + sigma * noise

    def prior(self, mu: Tensor, noise: Tensor) -> Tensor:
        """x_T as published: mu + sigma_inf noise."""
        return mu + self.sigma_inf * noise

    def __repr__(self) -> str:
        return (
            f"MeanRevertingSDE(max_sigma={self.sigma_inf:.6g}, schedule={self.schedule!r}, "
            f"num_steps={self.num_steps}, eps={self.eps}, zero_start={self.zero_start})"
        )


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
