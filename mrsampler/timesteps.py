"""Where a sampler's steps fall: the nodes from T to t_min, and their alpha, sigma and lambda."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from mrsampler.processes import Process
from mrsampler.processes.base import half_log_snr


class Node(NamedTuple):
    """One time of a grid, in Python floats, so that no step recomputes a coefficient."""

    t: float
    alpha: float
    sigma: float
    lam: float


def node(process: Process, t: float) -> Node:
    """The process at t; as process.alpha, sigma and lam have it, from one look at its schedule."""
    t = float(t)
    log_alpha, sigma = process.log_alpha(t), process.sigma(t)
    return Node(t, math.exp(log_alpha), sigma, half_log_snr(log_alpha, sigma))


DATA = Node(0.0, 1.0, 0.0, math.inf)
"""Where sigma is 0: x_0 itself."""


@dataclass(frozen=True)
class Span:
    """What a spacing divides: from `first`, the time of x_T, down to `last`.

    With `to_data` one more step leads from `last` to sigma = 0, where lambda is infinite.
    """

    process: Process
    first: float
    last: float
    to_data: bool

    @property
    def lams(self) -> tuple[float, float]:
        """lambda at `first` and at `last`."""
        return self.process.lam(self.first), self.process.lam(self.last)

    def divide(self, high: float, low: float, steps: int) -> list[float]:
        """Where `steps` steps begin, equally apart: from `high`, the value at `first`, to `low`.

        Where the last step is the one to sigma = 0, it begins at `low` itself.
        """
        parts = max(1, steps - 1 if self.to_data else steps)
        values = [high + (low - high) * i / parts for i in range(steps)]
        if self.to_data and steps > 1:
            values[-1] = low
        return values

    def times(self, lams: Sequence[float]) -> list[float]:
        """The times of lambdas that `divide` made; at the ends exactly the ends."""
        times = [self.first, *(self.process.time(lam) for lam in lams[1:])]
        if self.to_data and len(times) > 1:
            times[-1] = self.last
        return times


Spacing = Callable[[Span, int], list[float]]
"""spacing(span, steps): the times, falling from first, at which `steps` steps begin."""


def uniform_t(span: Span, steps: int) -> list[float]:
    """Equal steps in t."""
    return span.divide(span.first, span.last, steps)


def uniform_lambda(span: Span, steps: int) -> list[float]:
    """Equal steps in lambda, so that every step has the same coefficients."""
    return span.times(span.divide(*span.lams, steps))


def blend(span: Span, steps: int) -> list[float]:
    """Half way, in lambda, between uniform-t and uniform-lambda."""
    pairs = zip(uniform_t(span, steps), span.divide(*span.lams, steps), strict=True)
    return span.times([(span.process.lam(t) + lam) / 2 for t, lam in pairs])


def trailing(span: Span, steps: int) -> list[float]:
    """Equal steps in t counted down from T to 0, the last of them to sigma = 0.

    Unlike uniform-t's its last evaluation is a whole step above 0, and t_min at the lowest. The two
    are the same where the run ends at t_min.
    Source: Lin et al., Common diffusion noise schedules and sample steps are flawed (2305.08891).
    """
    low = max(span.last, span.first / steps) if span.to_data else span.last
    return span.divide(span.first, low, steps)


def leading(span: Span, steps: int) -> list[float]:
    """Equal steps in t counted up from the smallest time; the first begins below T.

    The common default of published DDIM code, kept for comparison: x_T is taken for less noisy
    than it is. The smallest time is that of `last`, or a hundredth of the way above it where the
    run ends there (t = 1 of 100, as published).
    Source: Lin et al. (2305.08891), who name it and warn of it.
    """
    low = span.last if span.to_data else span.last + (span.first - span.last) / 100
    return [low + (span.first - low) * i / steps for i in reversed(range(steps))]


def karras(span: Span, steps: int, rho: float = 7.0) -> list[float]:
    """Equal steps in (sigma/alpha)^(1/rho).

    Raises ValueError unless rho is positive, or where it is so near 0 that the root at the end is
    lost beside that at the start.
    Source: Karras et al., EDM (arXiv 2206.00364), eq. 5.
    """
    if not 0 < rho < math.inf:
        raise ValueError(f"rho must be positive, got {rho}")
    high, low = span.lams
    # The last root over the first, less 1: neither a large nor a small rho loses its digits.
    change = math.expm1((high - low) / rho)
    if change == -1:
        raise ValueError(f"rho must be larger on this process, got {rho}")
    return span.times([high - rho * math.log1p(c) for c in span.divide(0.0, change, steps)])


@dataclass(frozen=True)
class NamedSpacing:
    """An entry of the registry: a spacing, and what it does in a line for people."""

    place: Spacing
    summary: str

    def __call__(self, span: Span, steps: int) -> list[float]:
        return self.place(span, steps)


SPACINGS: dict[str, NamedSpacing] = {
    "uniform-lambda": NamedSpacing(
        uniform_lambda, "equal steps in λ, so that every step has the same coefficients"
    ),
    "uniform-t": NamedSpacing(uniform_t, "equal steps in t"),
    "blend": NamedSpacing(blend, "half way, in λ, between uniform-t and uniform-lambda"),
    "karras": NamedSpacing(karras, "equal steps in (σ/α)^(1/ρ)"),
    "trailing": NamedSpacing(
        trailing, "equal steps in t counted down from T to 0, the last of them to σ = 0"
    ),
    "leading": NamedSpacing(
        leading, "equal steps in t counted up from the smallest time; the first begins below T"
    ),
}


def timesteps(
    process: Process,
    steps: int,
    spacing: str | Spacing = "uniform-lambda",
    *,
    first: float | None = None,
    lambda_min: float = -math.inf,
    denoise_final: bool | None = None,
) -> list[Node]:
    """The steps + 1 nodes of a run, from `first`, or T, down to where it ends.

    Where alpha_T is 0 the first step leads from there to t_max, and the spacing divides the rest.

    spacing        a name in SPACINGS, "karras:RHO", or a function like theirs
    lambda_min     the run starts no noisier than this lambda: for schedules whose lambda(T) is far
                   below what a network was trained on
    denoise_final  whether the last step goes to sigma = 0 and returns the predicted x_0; it is
                   counted among `steps`. None: where the process ends there (sigma_0 = 0).

    Raises ValueError for an unknown spacing, fewer than one step, a lambda_min beyond the end, or
    where a spacing's times are not `steps` that fall from T to above the end.
    """
    if steps < 1:
        raise ValueError(f"a run takes at least 1 step, got {steps}")
    to_data = process.lam(0.0) == math.inf if denoise_final is None else denoise_final
    first = process.T if first is None else first
    if not lambda_min <= process.lam(first):
        if not lambda_min < process.lam(process.t_min):
            raise ValueError(f"lambda_min {lambda_min} leaves nothing of the process")
        first = process.time(lambda_min)
    place = _named(spacing) if isinstance(spacing, str) else spacing
    start = []
    if process.lam(first) == -math.inf:
        start, first, steps = [node(process, first)], process.t_max, steps - 1
    times = place(Span(process, first, process.t_min, to_data), steps) if steps else []
    end = DATA if to_data else node(process, process.t_min)
    nodes = [*start, *(node(process, t) for t in times), end]
    if len(times) != steps or not _fall(nodes):
        raise ValueError(
            f"spacing {spacing!r} does not give {steps} times that fall from {first:g} "
            f"to above {end.t:g}"
        )
    return nodes


def explicit(
    process: Process, times: Sequence[float], *, denoise_final: bool | None = None
) -> list[Node]:
    """The nodes at given times, falling from x_T's to the last; with `denoise_final` then x_0's.

    Raises ValueError unless there are two that fall within [0, T].
    """
    nodes = [node(process, t) for t in times]
    if denoise_final and nodes and nodes[-1].sigma > 0:
        nodes.append(DATA)
    if denoise_final is False and nodes and nodes[-1].sigma == 0:
        raise ValueError("times end at sigma = 0, where the predicted x_0 is returned")
    if len(nodes) < 2 or not _fall(nodes):
        raise ValueError(f"times must fall, at least two of them, got {list(times)}")
    return nodes


def _fall(nodes: Sequence[Node]) -> bool:
    return all(s.lam < t.lam for s, t in pairwise(nodes))


def _named(spacing: str) -> Spacing:
    name, colon, parameter = spacing.partition(":")
    if name not in SPACINGS or (colon and name != "karras"):
        raise ValueError(f"unknown spacing {spacing!r}; choose from {', '.join(SPACINGS)}")
    if not colon:
        return SPACINGS[name]
    try:
        return partial(karras, rho=float(parameter))
    except ValueError:
        raise ValueError(f"{spacing!r} has no number after the colon") from None
