"""The diffusion processes, all of one kind: affine-Gaussian around an anchor mu.

    x_t = mu + alpha_t (x_0 - mu) + sigma_t eps,        lambda_t = log(alpha_t / sigma_t)

In the residual y = x - mu the anchor disappears, so a solver needs to know a process only through
alpha, sigma and lambda. lambda is half the log-SNR; it falls as t grows.

                        mu               alpha_t                  sigma_t
    MeanRevertingSDE    degraded image   exp(-int_0^t f)          sigma_inf sqrt(1 - alpha_t^2)
    VPSDE               0                exp(-1/2 int_0^t beta)   sqrt(1 - alpha_t^2)
    VESDE               0                1                        sqrt(sigma^2(t) - sigma^2(0))

Times run from 0 (data) to T (noise). Functions take a float and return a float, or take a tensor
and return a float64 tensor of its shape on its device; `drift` and `diffusion` take a float.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, TypeVar

import torch
from torch import Tensor

SCHEDULES = ("cosine", "linear", "constant")

Time = TypeVar("Time", float, Tensor)


class Process(ABC):
    """dy = -f(t) y dt + g(t) dw for the residual y = x - mu: what solvers and spacings ask of.

    T          the largest time, where x is mu plus (almost) pure noise
    t_min      the smallest time with finite lambda that a solver steps to; above 0 where
               sigma_0 = 0, from where one last step to sigma = 0 can return the predicted x_0
    sigma_inf  the standard deviation that x tends to as t grows
    """

    T: float
    t_min: float
    sigma_inf: float

    @abstractmethod
    def log_alpha(self, t: Time) -> Time:
        """log alpha_t, at most 0. Raises ValueError for t outside [0, T]."""

    @abstractmethod
    def sigma(self, t: Time) -> Time:
        """The standard deviation of x_t given x_0, in units of x."""

    @abstractmethod
    def drift(self, t: float) -> float:
        """f(t) = -dlog alpha/dt, the rate of mean reversion per unit of t."""

    @abstractmethod
    def diffusion(self, t: float) -> float:
        """g(t)^2, in squared units of x per unit of t."""

    @abstractmethod
    def _time(self, lam: float) -> float:
        """`time` of one lambda of [lam(T), lam(0)]."""

    def alpha(self, t: Time) -> Time:
        """The share of x_0 - mu that is left in x_t, in (0, 1]."""
        return _map("exp", self.log_alpha(t))

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at each t, in float64 on its device.

        Where it can, without waiting for the values of t, which then are not checked: so that a
        GPU can record it.
        """
        return self.alpha(t), self.sigma(t)

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
        low, high = self._lams
        slack = 1e-9  # an end that a spacing computed
        if not low - slack <= lam <= high + slack:
            raise ValueError(f"lambda must lie in [{low:.6g}, {high:.6g}], got {lam}")
        if lam >= high:
            return 0.0
        return min(max(self._time(lam), 0.0), self.T) if lam > low else self.T

    @cached_property
    def _lams(self) -> tuple[float, float]:
        return self.lam(self.T), self.lam(0.0)

    def perturb(self, x0: Tensor, mu: Tensor, t: float | Tensor, noise: Tensor) -> Tensor:
        """x_t given x_0: mu + alpha_t (x_0 - mu) + sigma_t noise.

        `t` is one time for the whole batch, or one an image, of shape (B,).
        """
        if not isinstance(t, Tensor):
            return mu + self.alpha(t) * (x0 - mu) + self.sigma(t) * noise
        shape = (-1,) + (1,) * (x0.ndim - 1) if t.ndim else ()
        alpha, sigma = self.alpha(t).reshape(shape).to(x0), self.sigma(t).reshape(shape).to(x0)
        return mu + alpha * (x0 - mu) + sigma * noise

    def prior(self, mu: Tensor, noise: Tensor, t: float | None = None) -> Tensor:
        """The start of a run at t (None: T), as published: mu + sigma_inf noise whatever t."""
        return mu + self.sigma_inf * noise

    def _check_time(self, t: float | Tensor) -> None:
        low, high = (t.min().item(), t.max().item()) if isinstance(t, Tensor) else (t, t)
        if not (low >= 0 and high <= self.T):
            raise ValueError(f"t must lie in [0, {self.T:g}], got {low}..{high}")


# --- alpha as a function of t ---------------------------------------------------------------------


class _Schedule(Protocol):
    """A decreasing log alpha; all else of a process that preserves variance is derived from it."""

    def log_alpha(self, t: Time) -> Time: ...

    def time(self, log_alpha: float) -> float: ...

    def rate(self, t: float) -> float:
        """-dlog alpha/dt."""


class _Table:
    """log alpha at t = 0, 1, ..., interpolated linearly."""

    def __init__(self, log_alpha: Tensor):
        self._list: list[float] = log_alpha.double().tolist()
        self._on: dict[torch.device, Tensor] = {log_alpha.device: log_alpha.double()}

    def log_alpha(self, t: Time) -> Time:
        last = len(self._list) - 2
        if isinstance(t, Tensor):
            if t.device not in self._on:  # copied once: not while a GPU records
                self._on[t.device] = self._on[torch.device("cpu")].to(t.device)
            table, t = self._on[t.device], t.double()
            left = t.floor().clamp(max=last).long()
            return torch.lerp(table[left], table[left + 1], t - left)
        left = min(int(t), last)
        a, b = self._list[left : left + 2]
        return a + (b - a) * (t - left)

    def time(self, log_alpha: float) -> float:
        log_alpha = min(max(log_alpha, self._list[-1]), self._list[0])
        right = max(1, bisect_left(self._list, -log_alpha, key=lambda value: -value))
        a, b = self._list[right - 1], self._list[right]
        return right - 1 + (log_alpha - a) / (b - a)

    def rate(self, t: float) -> float:
        """On the unit of time that ends at t."""
        right = max(1, math.ceil(t))
        return self._list[right - 1] - self._list[right]


class _Linear:
    """beta rises linearly from beta_min at 0 to beta_max at 1; log alpha = -1/2 int beta."""

    def __init__(self, beta_min: float, beta_max: float):
        self._first, self._rise = beta_min, beta_max - beta_min

    def log_alpha(self, t: Time) -> Time:
        return -t * (self._rise / 4 * t + self._first / 2)

    def time(self, log_alpha: float) -> float:
        # Of the two forms of the quadratic's root, the one that holds its digits near t = 0.
        b = self._first / 2
        return -2 * log_alpha / (b + math.sqrt(b * b - self._rise * log_alpha))

    def rate(self, t: float) -> float:
        return (self._first + self._rise * t) / 2


class _Cosine:
    """alpha = cos((t + s)/(1 + s) pi/2) over its value at t = 0."""

    _s = 0.008  # keeps beta above 0 at t = 0

    def __init__(self) -> None:
        self._start = math.log1p(-(math.sin(self._angle(0.0)) ** 2)) / 2

    def _angle(self, t: Time) -> Time:
        return (t + self._s) * (math.pi / 2 / (1 + self._s))

    def log_alpha(self, t: Time) -> Time:
        # log cos a = log1p(-sin^2 a) / 2: both terms are small where alpha is near 1.
        angle = _map("sin", self._angle(t))
        return _map("log1p", -angle * angle) / 2 - self._start

    def time(self, log_alpha: float) -> float:
        sine = math.sqrt(-math.expm1(2 * (log_alpha + self._start)))
        return math.asin(sine) / (math.pi / 2 / (1 + self._s)) - self._s

    def rate(self, t: float) -> float:
        return math.tan(self._angle(t)) * (math.pi / 2 / (1 + self._s))


class _VariancePreserving(Process):
    """sigma = sigma_inf sqrt(1 - alpha^2), g^2 = 2 sigma_inf^2 f: the prior's variance is kept."""

    _schedule: _Schedule

    def log_alpha(self, t: Time) -> Time:
        self._check_time(t)
        return self._schedule.log_alpha(t.double() if isinstance(t, Tensor) else t)

    def sigma(self, t: Time) -> Time:
        """The standard deviation of x_t given x_0, in [0, sigma_inf)."""
        return self._sigma(self.log_alpha(t))

    def _sigma(self, log_alpha: Time) -> Time:
        return self.sigma_inf * _map("sqrt", -_map("expm1", 2 * log_alpha))

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_alpha = self._schedule.log_alpha(t.double())
        return log_alpha.exp(), self._sigma(log_alpha)

    def drift(self, t: float) -> float:
        self._check_time(t)
        return self._schedule.rate(t)

    def diffusion(self, t: float) -> float:
        return 2 * self.sigma_inf**2 * self.drift(t)

    def _time(self, lam: float) -> float:
        # alpha^2 = 1 / (1 + exp(-2 lambda) / sigma_inf^2)
        return self._schedule.time(-0.5 * _softplus(-2 * (lam + math.log(self.sigma_inf))))


# --- the three processes --------------------------------------------------------------------------


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


class MeanRevertingSDE(_VariancePreserving):
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
        self._schedule = _Table(math.log(eps) * cumulative / cumulative[-1])
        self.T = float(num_steps)
        # With `zero_start`: the first time that such networks were trained at.
        self.t_min = 1.0 if zero_start else 0.0

    def __repr__(self) -> str:
        return (
            f"MeanRevertingSDE(max_sigma={self.sigma_inf:.6g}, schedule={self.schedule!r}, "
            f"num_steps={self.num_steps}, eps={self.eps}, zero_start={self.zero_start})"
        )


class VPSDE(_VariancePreserving):
    """dx = -beta(t)/2 x dt + sqrt(beta(t)) dw: the variance-preserving SDE, the DDPM's.

    Continuous, t in [0, 1]: with the "linear" schedule beta rises from `beta_min` to `beta_max`;
    "cosine" (which takes neither) is cut at T = 0.9946, for alpha_1 = 0. sigma_0 = 0, so a solver
    steps to t_min = 1e-3. `from_alphas_cumprod` makes one of a discrete table.

    Raises ValueError for an unknown schedule or a parameter out of range.
    Source: Song et al. (arXiv 2011.13456); the cosine is Nichol & Dhariwal's (arXiv 2102.09672),
    its T that of DPM-Solver (arXiv 2206.00927).
    """

    sigma_inf = 1.0
    t_min = 1e-3

    def __init__(self, schedule: str = "linear", beta_min: float = 0.1, beta_max: float = 20.0):
        if schedule not in ("linear", "cosine"):
            raise ValueError(f"unknown schedule {schedule!r}; choose from linear, cosine")
        if not 0 < beta_min < beta_max < math.inf:
            raise ValueError(f"expected 0 < beta_min < beta_max, got {beta_min} and {beta_max}")
        self._schedule = _Linear(beta_min, beta_max) if schedule == "linear" else _Cosine()
        self.T = 1.0 if schedule == "linear" else 0.9946
        betas = f", beta_min={beta_min}, beta_max={beta_max}" if schedule == "linear" else ""
        self._repr = f"VPSDE({schedule!r}{betas})"

    @classmethod
    def from_alphas_cumprod(cls, table: Tensor | Sequence[float]) -> VPSDE:
        """The process whose alpha_t^2 is table[t] at t = 0, 1, ..., n - 1, as diffusers counts.

        Raises ValueError unless the table decreases strictly within (0, 1].
        """
        values = torch.as_tensor(table, dtype=torch.float64, device="cpu").detach()
        if values.ndim != 1 or len(values) < 2:
            raise ValueError("alphas_cumprod must be a list of at least 2 values")
        if not (values[-1] > 0 and values[0] <= 1 and (values.diff() < 0).all()):
            raise ValueError("alphas_cumprod must decrease strictly within (0, 1]")
        process = cls()
        process._schedule = _Table(values.log() / 2)
        process.T = float(len(values) - 1)
        process.t_min = 0.0 if values[0] < 1 else 1.0
        process._repr = f"VPSDE.from_alphas_cumprod(<{len(values)} values>)"
        return process

    def __repr__(self) -> str:
        return self._repr


class VESDE(Process):
    """dx = g(t) dw with sigma(t) = sigma_min (sigma_max/sigma_min)^t: the variance-exploding SDE.

        alpha_t = 1,      sigma_t = sqrt(sigma^2(t) - sigma^2(0))

    t in [0, 1]; sigma_0 = 0, so a solver steps to t_min = 1e-5. There is no velocity to predict,
    for sigma_inf is infinite.

    Raises ValueError unless 0 < sigma_min < sigma_max < 1e43 sigma_min.
    Source: Song et al. (arXiv 2011.13456); sigma is the geometric one of NCSN (arXiv 1907.05600).
    """

    T = 1.0
    t_min = 1e-5
    sigma_inf = math.inf

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0):
        if not 0 < sigma_min < sigma_max < math.inf:
            raise ValueError(f"expected 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}")
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self._rate = 2 * (math.log(sigma_max) - math.log(sigma_min))  # of sigma^2(t)
        if self._rate > 200:  # lambda would range further than float64 has digits for
            raise ValueError(f"sigma_max must be below 1e43 sigma_min, got {sigma_max:g}")

    def log_alpha(self, t: Time) -> Time:
        self._check_time(t)
        return torch.zeros_like(t, dtype=torch.float64) if isinstance(t, Tensor) else 0.0

    def sigma(self, t: Time) -> Time:
        """The standard deviation of x_t given x_0: sqrt(sigma^2(t) - sigma_min^2)."""
        self._check_time(t)
        t = t.double() if isinstance(t, Tensor) else t
        return self.sigma_min * _map("sqrt", _map("expm1", self._rate * t))

    def drift(self, t: float) -> float:
        """0: the mean does not revert."""
        self._check_time(t)
        return 0.0

    def diffusion(self, t: float) -> float:
        self._check_time(t)
        return self.sigma_min**2 * self._rate * math.exp(self._rate * t)

    def _time(self, lam: float) -> float:
        return math.log1p((math.exp(-lam) / self.sigma_min) ** 2) / self._rate

    def prior(self, mu: Tensor, noise: Tensor, t: float | None = None) -> Tensor:
        """The start of a run at t (None: T): mu + sigma_t noise."""
        return mu + self.sigma(self.T if t is None else t) * noise

    def __repr__(self) -> str:
        return f"VESDE(sigma_min={self.sigma_min}, sigma_max={self.sigma_max})"


def _map(function: str, value: Time) -> Time:
    """exp, expm1, ... of a float or a tensor; math and torch have them by the same names."""
    return getattr(torch if isinstance(value, Tensor) else math, function)(value)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
