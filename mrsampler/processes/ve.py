"""The variance-exploding SDE: x stays where it is as noise is added."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mrsampler.processes.base import Parameter, Process, Time, View, elementwise


class VESDE(Process):
    """dx = g(t) dw with sigma(t) = sigma_min (sigma_max/sigma_min)^t: the variance-exploding SDE.

        alpha_t = 1,      sigma_t = sqrt(sigma^2(t) - sigma^2(0))

    t in [0, 1]; sigma_0 = 0, so a solver steps to t_min = 1e-5. There is no velocity to predict,
    for sigma_inf is infinite.

    Raises ValueError unless 0 < sigma_min < sigma_max < 1e43 sigma_min.
    Source: Song et al. (arXiv 2011.13456); sigma is the geometric one of NCSN (arXiv 1907.05600).
    """

    kind = "VE"
    label = "VE"
    anchored = False
    parameters = (
        Parameter("sigma_min", float, 0.01, "σ at t = 0", "the smallest level of noise", low=0),
        Parameter("sigma_max", float, 50.0, "σ at t = 1", "the largest level of noise", low=0),
    )
    view = View(settings={"sigma_max": 4.0})

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
        return self.sigma_min * elementwise("sqrt", elementwise("expm1", self._rate * t))

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


PROCESS = VESDE
