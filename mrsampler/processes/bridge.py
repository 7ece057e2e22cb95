"""The GOU bridge: a mean-reverting SDE that is held to end on the degraded image exactly."""

from __future__ import annotations

import math

from torch import Tensor

from mrsampler.processes.base import Parameter, Process, Time, View, elementwise
from mrsampler.processes.mean_reverting import SCHEDULES, theta_schedule
from mrsampler.processes.variance_preserving import Table


class GOUBridge(Process):
    """The mean-reverting SDE conditioned on x_T = mu, by Doob's h-transform.

    With a = exp(-int_0^t theta), A = a at T, and s the noise of the SDE without the condition:

        alpha_t = (a - A^2/a) / (1 - A^2),    sigma_t = s sqrt((1 - a^2) (1 - (A/a)^2) / (1 - A^2))

    `max_sigma` is s, in image units; a value >= 1 is divided by 255 (GOUB's lambda_square is 30).
    `eps` is A. log a is interpolated linearly between the published grid points, a_0 = 1.

    Both ends are singular: sigma is 0 at 0, and alpha and sigma are 0 at T, where x is mu itself
    and the first step draws the noise.

    Raises ValueError for an unknown schedule or a parameter out of range.
    Source: Yue et al., Image restoration through generalized Ornstein-Uhlenbeck bridge (ICML 2024,
    arXiv 2312.10299), whose m, n and f_sigma are alpha, 1 - alpha and sigma.
    """

    kind = "bridge"
    label = "GOU bridge"
    anchored = True
    parameters = (
        Parameter(
            "max_sigma",
            float,
            30 / 255,
            "σ without the end",
            "the standard deviation of the noise if the end were free; from 1 on it is in 1/255",
            low=0,
        ),
        Parameter("schedule", str, "cosine", "Schedule", "of θ, over time", choices=SCHEDULES),
        Parameter("num_steps", int, 100, "T", "the largest time", low=2),
        Parameter(
            "eps", float, 0.005, "α at T, were the end free", "exp of -θ over time", low=0, high=1
        ),
    )
    view = View(extent=1.8, settings={"max_sigma": 0.6})

    t_min = 1.0

    def __init__(
        self,
        max_sigma: float = 30 / 255,
        schedule: str = "cosine",
        num_steps: int = 100,
        eps: float = 0.005,
    ):
        if not 0 < max_sigma < math.inf:
            raise ValueError(f"max_sigma must be positive and finite, got {max_sigma}")
        if not 0 < eps < 1:
            raise ValueError(f"eps must lie between 0 and 1, got {eps}")
        if num_steps < 2:
            raise ValueError(f"num_steps must be at least 2, got {num_steps}")
        self.sigma_inf = self.max_sigma = max_sigma / 255 if max_sigma >= 1 else float(max_sigma)
        self.schedule, self.num_steps, self.eps = schedule, num_steps, eps
        self.T = float(num_steps)
        cumulative = theta_schedule(schedule, num_steps).cumsum(0)
        cumulative = cumulative - cumulative[0]
        self._end = math.log(eps)  # log A
        self._free = Table(self._end * cumulative / cumulative[-1])  # log a

    @property
    def t_max(self) -> float:
        return self.T - 1

    def _gap(self, log_a: Time) -> Time:
        """1 - (A/a)^2, with all its digits near T; 0 there."""
        return -elementwise("expm1", 2 * (self._end - log_a))

    def _log_a(self, t: Time) -> Time:
        self._check_time(t)
        return self._free.log_alpha(t.double() if isinstance(t, Tensor) else t)

    def log_alpha(self, t: Time) -> Time:
        """log alpha_t; -inf at T."""
        log_a = self._log_a(t)
        gap, whole = self._gap(log_a), -math.expm1(2 * self._end)
        if not isinstance(gap, Tensor) and gap <= 0:
            return -math.inf
        return log_a + elementwise("log", gap) - math.log(whole)

    def sigma(self, t: Time) -> Time:
        log_a = self._log_a(t)
        gap, whole = self._gap(log_a), -math.expm1(2 * self._end)
        return self.sigma_inf * elementwise("sqrt", -elementwise("expm1", 2 * log_a) * gap / whole)

    def drift(self, t: float) -> float:
        """theta coth(int_t^T theta): without bound towards T."""
        left = self._log_a(t) - self._end
        return self._free.rate(t) / math.tanh(left) if left > 0 else math.inf

    def diffusion(self, t: float) -> float:
        self._check_time(t)
        return 2 * self.sigma_inf**2 * self._free.rate(t)

    def _time(self, lam: float) -> float:
        # With R = (s alpha / sigma)^2 (1 - A^2) = (a^2 - A^2) / (1 - a^2),
        # 1 - a^2 = (1 - A^2) / (1 + R).
        whole = -math.expm1(2 * self._end)
        ratio = self.sigma_inf**2 * whole * math.exp(2 * lam)
        return self._free.time(0.5 * math.log1p(-whole / (1 + ratio)))

    def prior(self, mu: Tensor, noise: Tensor, t: float | None = None) -> Tensor:
        """The start of a run at t (None: T): mu + sigma_t noise, at T mu itself."""
        return mu + self.sigma(self.T if t is None else t) * noise

    def __repr__(self) -> str:
        return (
            f"GOUBridge(max_sigma={self.sigma_inf:.6g}, schedule={self.schedule!r}, "
            f"num_steps={self.num_steps}, eps={self.eps})"
        )


PROCESS = GOUBridge
