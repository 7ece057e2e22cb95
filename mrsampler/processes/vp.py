"""The variance-preserving SDE: x shrinks to the origin as noise is added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mrsampler.processes.base import Parameter, Time, View, elementwise
from mrsampler.processes.variance_preserving import Table, VariancePreserving

SCHEDULES = ("linear", "cosine")


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
        angle = elementwise("sin", self._angle(t))
        return elementwise("log1p", -angle * angle) / 2 - self._start

    def time(self, log_alpha: float) -> float:
        sine = math.sqrt(-math.expm1(2 * (log_alpha + self._start)))
        return math.asin(sine) / (math.pi / 2 / (1 + self._s)) - self._s

    def rate(self, t: float) -> float:
        return math.tan(self._angle(t)) * (math.pi / 2 / (1 + self._s))


class VPSDE(VariancePreserving):
    """dx = -beta(t)/2 x dt + sqrt(beta(t)) dw: the variance-preserving SDE, the DDPM's.

    Continuous, t in [0, 1]: with the "linear" schedule beta rises from `beta_min` to `beta_max`;
    "cosine" (which takes neither) is cut at T = 0.9946, for alpha_1 = 0. sigma_0 = 0, so a solver
    steps to t_min = 1e-3. `from_alphas_cumprod` makes one of a discrete table.

    Raises ValueError for an unknown schedule or a parameter out of range.
    Source: Song et al. (arXiv 2011.13456); the cosine is Nichol & Dhariwal's (arXiv 2102.09672),
    its T that of DPM-Solver (arXiv 2206.00927).
    """

    kind = "VP"
    label = "VP"
    anchored = False
    parameters = (
        Parameter("schedule", str, "linear", "Schedule", "of β, over time", choices=SCHEDULES),
        Parameter("beta_min", float, 0.1, "β at t = 0", "of the linear schedule", low=0),
        Parameter("beta_max", float, 20.0, "β at t = 1", "of the linear schedule", low=0),
    )
    view = View()

    sigma_inf = 1.0
    t_min = 1e-3

    def __init__(self, schedule: str = "linear", beta_min: float = 0.1, beta_max: float = 20.0):
        if schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {schedule!r}; choose from {', '.join(SCHEDULES)}")
        if not 0 < beta_min < beta_max < math.inf:
            raise ValueError(f"expected 0 < beta_min < beta_max, got {beta_min} and {beta_max}")
        self.schedule, self.beta_min, self.beta_max = schedule, beta_min, beta_max
        self._of_table = False
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
        process._of_table = True
        process._schedule = Table(values.log() / 2)
        process.T = float(len(values) - 1)
        process.t_min = 0.0 if values[0] < 1 else 1.0
        process._repr = f"VPSDE.from_alphas_cumprod(<{len(values)} values>)"
        return process

    @property
    def settings(self) -> dict[str, Any]:
        """Raises ValueError where it is of a table, which no parameter tells."""
        if self._of_table:
            raise ValueError(f"{self!r} has no settings that tell it")
        return super().settings

    def __repr__(self) -> str:
        return self._repr


PROCESS = VPSDE
