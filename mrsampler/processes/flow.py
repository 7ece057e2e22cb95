"""Flow matching: x moves on a straight line from the data to noise around the anchor."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mrsampler.processes.base import Parameter, Process, Time, View

FIRST_SHARE = 0.005  # alpha at t_max: what a mean-reverting process has at its T


class FlowMatching(Process):
    """x_t = (1 - t) x_0 + t (mu + s eps): alpha_t = 1 - t, sigma_t = s t, t in [0, 1].

    `scale` is s, in units of x; with mu = 0 and s = 1 this is flow matching as published. Both ends
    are singular: lambda is infinite at 0, so that a run ends with a step to sigma = 0, and -inf at
    1, from where its first step leads to t_max.

    Raises ValueError unless the scale is positive and finite.
    Source: Lipman et al., Flow matching for generative modeling (arXiv 2210.02747).
    """

    kind = "flow"
    label = "flow matching"
    anchored = True
    parameters = (
        Parameter(
            "scale", float, 1.0, "σ at the end", "the standard deviation of the noise", low=0
        ),
    )
    view = View(extent=1.8, settings={"scale": 0.6})

    T = 1.0
    t_min = 1e-3

    def __init__(self, scale: float = 1.0):
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be positive and finite, got {scale}")
        self.scale = self.sigma_inf = float(scale)

    @property
    def t_max(self) -> float:
        return 1 - FIRST_SHARE

    def log_alpha(self, t: Time) -> Time:
        """log(1 - t); -inf at 1."""
        self._check_time(t)
        if isinstance(t, Tensor):
            return torch.log1p(-t.double())
        return math.log1p(-t) if t < 1 else -math.inf

    def sigma(self, t: Time) -> Time:
        self._check_time(t)
        return self.scale * (t.double() if isinstance(t, Tensor) else t)

    def drift(self, t: float) -> float:
        self._check_time(t)
        return 1 / (1 - t) if t < 1 else math.inf

    def diffusion(self, t: float) -> float:
        return 2 * self.scale**2 * t * self.drift(t) if t > 0 else 0.0

    def _time(self, lam: float) -> float:
        # (1 - t) / (s t) = e^lam
        return 1 / (1 + self.scale * math.exp(lam))

    def prior(self, mu: Tensor, noise: Tensor, t: float | None = None) -> Tensor:
        """The start of a run at t (None: T): mu + sigma_t noise."""
        return mu + self.sigma(self.T if t is None else t) * noise

    def __repr__(self) -> str:
        return f"FlowMatching(scale={self.scale:.6g})"


PROCESS = FlowMatching
