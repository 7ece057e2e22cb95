"""Processes that keep the prior's variance: all of them follows from a decreasing log alpha."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Protocol

import torch
from torch import Tensor

from mrsampler.processes.base import Process, Time, elementwise, softplus


class Schedule(Protocol):
    """A decreasing log alpha; all else of a process that preserves variance is derived from it."""

    def log_alpha(self, t: Time) -> Time: ...

    def time(self, log_alpha: float) -> float: ...

    def rate(self, t: float) -> float:
        """-dlog alpha/dt."""


class Table:
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


class VariancePreserving(Process):
    """sigma = sigma_inf sqrt(1 - alpha^2), g^2 = 2 sigma_inf^2 f: the prior's variance is kept."""

    circular = True
    _schedule: Schedule

    def log_alpha(self, t: Time) -> Time:
        self._check_time(t)
        return self._schedule.log_alpha(t.double() if isinstance(t, Tensor) else t)

    def sigma(self, t: Time) -> Time:
        """The standard deviation of x_t given x_0, in [0, sigma_inf)."""
        return self._sigma(self.log_alpha(t))

    def _sigma(self, log_alpha: Time) -> Time:
        return self.sigma_inf * elementwise("sqrt", -elementwise("expm1", 2 * log_alpha))

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
        return self._schedule.time(-0.5 * softplus(-2 * (lam + math.log(self.sigma_inf))))
