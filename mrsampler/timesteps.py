"""Where a sampler's steps fall: the nodes from T to t_min, and their alpha, sigma and lambda."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from mrsampler.process import MeanRevertingSDE


class Node(NamedTuple):
    """One time of a grid, in Python floats, so that no step recomputes a coefficient."""

    t: float
    alpha: float
    sigma: float
    lam: float


def node(process: MeanRevertingSDE, t: float) -> Node:
    """The process at t."""
    return Node(t, process.alpha(t), process.sigma(t), process.lam(t))


def _uniform_t(process: MeanRevertingSDE, steps: int) -> list[float]:
    width = process.t_min - process.T
    return [process.T + width * i / steps for i in range(steps)] + [process.t_min]


def _uniform_lambda(process: MeanRevertingSDE, steps: int) -> list[float]:
    first, last = process.lam(process.T), process.lam(process.t_min)
    inner = [process.time(first + (last - first) * i / steps) for i in range(1, steps)]
    return [process.T, *inner, process.t_min]


SPACINGS: dict[str, Callable[[MeanRevertingSDE, int], list[float]]] = {
    "uniform-t": _uniform_t,
    "uniform-lambda": _uniform_lambda,
}


def timesteps(process: MeanRevertingSDE, steps: int, spacing: str = "uniform-lambda") -> list[Node]:
    """The steps + 1 nodes of a run, from T down to where the process ends.

    Where sigma_0 = 0 the last step goes from t_min to sigma = 0, and is counted among `steps`.
    Raises ValueError for an unknown spacing or fewer than one step.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"unknown spacing {spacing!r}; choose from {', '.join(SPACINGS)}")
    if steps < 1:
        raise ValueError(f"a run takes at least 1 step, got {steps}")
    if process.lam(0.0) < math.inf:
        times = SPACINGS[spacing](process, steps)
    elif steps == 1:
        times = [process.T, 0.0]
    else:
        times = [*SPACINGS[spacing](process, steps - 1), 0.0]
    return [node(process, t) for t in times]
