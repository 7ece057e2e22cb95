"""How far a sampler's steps reach beyond what its Taylor expansions bear: the ratio of convergence.

The MR Samplers expand f, the prediction under their integral, in lambda. From t_{i-1} the series
converges within a radius R of lambda_{i-1}, which two evaluations estimate, pixel by pixel:

    R = |f_{i-1}| (lambda_{i-1} - lambda_{i-2}) / |f_{i-1} - f_{i-2}|

the ratio of the first two Taylor coefficients. Step i, from t_{i-1} to t_i, stays within it where

    (lambda_i - lambda_{i-1}) / (lambda_{i-1} - lambda_{i-2}) < |f_{i-1} / (f_{i-1} - f_{i-2})|

f is eps or x_0. It is x_0 itself and not x_0 - mu: a shift changes the ratio.
Source: MR Sampler (ICLR 2025), numerical stability of the two parameterisations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mrsampler.processes import Process
from mrsampler.trajectory import Step

Prediction = Literal["noise", "data"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Convergence:
    """Whether a step stays within the radius of convergence R.

    index, t, lam  of the Step that it leads to
    gap            its length in lambda
    fraction       the share of pixels, in [0, 1], whose R is above the gap
    quantiles      R over the pixels, at QUANTILES; infinite where the prediction did not change
    holds          bool, mu's shape, on its device: the pixels that `fraction` counts
    """

    index: int
    t: float
    lam: float
    gap: float
    fraction: float
    quantiles: tuple[float, ...]
    holds: Tensor

    @property
    def radius(self) -> float:
        """The median of R."""
        return self.quantiles[QUANTILES.index(0.5)]


def convergence(
    steps: Iterable[Step], prediction: Prediction, *, process: Process, mu: Tensor
) -> Iterator[Convergence]:
    """A Convergence for each step of a trajectory from Step 2 on, the first with two evaluations.

    Returns a generator that takes a Step at a time and keeps the last one and a prediction.
    `process` and `mu` are the trajectory's. A step to sigma = 0 has none: lambda is infinite there
    and the prediction is returned as it is, not expanded. It takes x0 to be predicted at the Step
    before; "langevin" and, in fewer than T steps, the "-published" solvers with unit strides
    predict elsewhere, and expand nothing.

    Raises ValueError for another prediction than "noise" and "data".
    """
    if prediction not in get_args(Prediction):
        raise ValueError(f"unknown prediction {prediction!r}; choose from noise, data")
    return _convergence(steps, prediction, process, mu)


@torch.no_grad()
def _convergence(
    steps: Iterable[Step], prediction: Prediction, process: Process, mu: Tensor
) -> Iterator[Convergence]:
    last: Step | None = None  # where the newest prediction was made
    earlier: tuple[Tensor, float] | None = None  # the prediction before it, and its lambda
    for step in steps:
        if last is not None and step.x0 is not None and step.lam < math.inf:
            f = step.x0 if prediction == "data" else _noise(last, step.x0, process, mu)
            if earlier is not None:
                yield _record(last, step, radius(f, earlier[0], last.lam - earlier[1]))
            earlier = f, last.lam
        last = step


def radius(f: Tensor, earlier: Tensor, gap: float) -> Tensor:
    """The estimate of R per pixel, from the newest prediction and the one a `gap` in lambda before.

    Infinite where the two are equal, 0 where they are not finite, never nan; in f's shape.
    """
    change = (f - earlier).abs()
    estimate = (f.abs() * gap).div_(change).masked_fill_(change == 0, math.inf)
    return estimate.nan_to_num_(nan=0.0, posinf=math.inf)


def _noise(at: Step, x0: Tensor, process: Process, mu: Tensor) -> Tensor:
    """eps of the x_0 predicted at a Step, whose sigma is above 0 since its lambda is finite."""
    alpha, sigma = process.alpha(at.t), process.sigma(at.t)
    return (at.x - mu).sub_(x0 - mu, alpha=alpha).div_(sigma)


def _record(last: Step, step: Step, estimate: Tensor) -> Convergence:
    gap = step.lam - last.lam
    holds = estimate > gap
    # The nearest ranks and no interpolation between them, for R may be infinite.
    ordered = estimate.flatten().sort().values
    ranks = [round(q * (len(ordered) - 1)) for q in QUANTILES]
    return Convergence(
        step.index,
        step.t,
        step.lam,
        gap,
        holds.sum().item() / holds.numel(),
        tuple(ordered[ranks].tolist()),
        holds,
    )
