"""What every process has: alpha, sigma and lambda, and what it declares of itself."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

Time = TypeVar("Time", float, Tensor)


@dataclass(frozen=True)
class Parameter:
    """One setting of a process: its kind, default, range or choices, and how it is told.

    kind       float, int, bool or str
    low, high  what a number lies strictly between (float) or in (int); None: no such bound
    choices    of a str
    """

    name: str
    kind: type
    default: Any
    label: str
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """How a process is shown in the plane, where data lies within about 1.3 of the origin.

    extent    half of what is seen at t = 0
    settings  the parameters that it is shown with, where they are not the defaults
    """

    extent: float = 1.5
    settings: Mapping[str, Any] = field(default_factory=dict)


class Process(ABC):
    """dy = -f(t) y dt + g(t) dw for the residual y = x - mu: what solvers and spacings ask of.

    T          the largest time, where x is mu plus (almost) pure noise
    t_min      the smallest time with finite lambda that a solver steps to; above 0 where
               sigma_0 = 0, from where one last step to sigma = 0 can return the predicted x_0
    t_max      the largest time with finite lambda, where a spacing begins; below T where alpha_T
               is 0: from T one first step leads there
    sigma_inf  the standard deviation that x tends to as t grows, or the scale of the noise

    A class that is listed declares

    kind        its name in the registry and in cards; `label` for people
    anchored    whether mu is given, as a degraded image is; else it is the origin
    parameters  what it is made with, by keyword
    view        how it is best seen in the plane
    """

    T: float
    t_min: float
    sigma_inf: float

    kind: ClassVar[str]
    label: ClassVar[str]
    anchored: ClassVar[bool]
    parameters: ClassVar[tuple[Parameter, ...]]
    view: ClassVar[View]
    circular: ClassVar[bool] = False

    @property
    def t_max(self) -> float:
        return self.T

    @property
    def settings(self) -> dict[str, Any]:
        """The values of `parameters`, plain ones, with which it can be made again."""
        return {parameter.name: getattr(self, parameter.name) for parameter in self.parameters}

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
        return elementwise("exp", self.log_alpha(t))

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at each t, in float64 on its device.

        Where it can, without waiting for the values of t, which then are not checked: so that a
        GPU can record it.
        """
        return self.alpha(t), self.sigma(t)

    def lam(self, t: Time) -> Time:
        """lambda_t = log(alpha_t / sigma_t), half the log-SNR.

        Infinite where sigma_t = 0; -inf where alpha_t = 0, whatever sigma_t is.
        """
        return half_log_snr(self.log_alpha(t), self.sigma(t))

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


def elementwise(function: str, value: Time) -> Time:
    """exp, expm1, ... of a float or a tensor; math and torch have them by the same names."""
    return getattr(torch if isinstance(value, Tensor) else math, function)(value)


def half_log_snr(log_alpha: Time, sigma: Time) -> Time:
    """log(alpha / sigma), with both ends: -inf for alpha = 0, else inf for sigma = 0."""
    if isinstance(log_alpha, Tensor):
        assert isinstance(sigma, Tensor)
        return torch.where(log_alpha == -math.inf, -math.inf, log_alpha - sigma.log())
    if log_alpha == -math.inf:
        return log_alpha
    return log_alpha - math.log(sigma) if sigma > 0 else math.inf


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
