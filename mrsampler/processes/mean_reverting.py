"""The mean-reverting SDE: x is drawn to the degraded image as noise is added."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mrsampler.processes.base import Parameter, View
from mrsampler.processes.variance_preserving import Table, VariancePreserving

SCHEDULES = ("cosine", "linear", "constant")


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


class MeanRevertingSDE(VariancePreserving):
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

    kind = "mean-reverting"
    label = "mean-reverting"
    anchored = True
    parameters = (
        Parameter(
            "max_sigma",
            float,
            50 / 255,
            "σ at the end",
            "the standard deviation of the noise at T, in image units; from 1 on it is in 1/255",
            low=0,
        ),
        Parameter("schedule", str, "cosine", "Schedule", "of θ, over time", choices=SCHEDULES),
        Parameter("num_steps", int, 100, "T", "the largest time", low=1),
        Parameter("eps", float, 0.005, "α at T", "what is left of x_0 - mu there", low=0, high=1),
        Parameter(
            "zero_start",
            bool,
            False,
            "α = 1 at t = 0",
            "as the code has it that trained IR-SDE's and DA-CLIP's networks",
        ),
    )
    view = View(extent=1.8, settings={"max_sigma": 0.4})

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
        self.max_sigma = self.sigma_inf
        self.schedule, self.num_steps, self.eps, self.zero_start = (
            schedule,
            num_steps,
            eps,
            zero_start,
        )
        cumulative = theta_schedule(schedule, num_steps).cumsum(0)
        if zero_start:
            cumulative = cumulative - cumulative[0]
        self._schedule = Table(math.log(eps) * cumulative / cumulative[-1])
        self.T = float(num_steps)
        # With `zero_start`: the first time that such networks were trained at.
        self.t_min = 1.0 if zero_start else 0.0

    def __repr__(self) -> str:
        return (
            f"MeanRevertingSDE(max_sigma={self.sigma_inf:.6g}, schedule={self.schedule!r}, "
            f"num_steps={self.num_steps}, eps={self.eps}, zero_start={self.zero_start})"
        )


PROCESS = MeanRevertingSDE
