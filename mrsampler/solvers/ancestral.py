"""Ancestral sampling: x_t drawn from q(x_t | x_s, x_0) with the predicted x_0."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from mrsampler.solvers.interface import Model, Noise, Solver, State
from mrsampler.timesteps import Node, node


class Coefficients(NamedTuple):
    """y_t = y * y_s + data * D + noise * z."""

    y: float
    data: float
    noise: float


def coefficients(s: Node, t: Node) -> Coefficients:
    """The Gaussian q(y_t | y_s, D), s the noisier.

    With a = alpha_s / alpha_t and v = sigma_s^2 - a^2 sigma_t^2, the variance that one forward
    step from t to s adds:

        mean = a sigma_t^2/sigma_s^2 y_s + alpha_t v/sigma_s^2 D,    var = sigma_t^2 v/sigma_s^2

    Source: IR-SDE (arXiv 2301.11699); VDM (arXiv 2107.00630).
    """
    share = -math.expm1(2 * (s.lam - t.lam))  # v / sigma_s^2
    return Coefficients(
        (s.alpha / t.alpha) * (t.sigma / s.sigma) ** 2,
        t.alpha * share,
        t.sigma * math.sqrt(share),
    )


def posterior(model: Model, y: Tensor, nodes: list[Node], noise: Noise) -> Iterator[State]:
    """Each step takes the whole stride from one node to the next."""
    table = [coefficients(s, t) for s, t in pairwise(nodes)]
    for i, (s, t) in enumerate(pairwise(nodes)):
        predicted = model(y, s)
        step = table[i]
        y = step.y * y
        y.add_(predicted.data, alpha=step.data).add_(noise(i + 1), alpha=step.noise)
        yield State(y, t, predicted)


def posterior_published(
    model: Model, y: Tensor, nodes: list[Node], noise: Noise
) -> Iterator[State]:
    """As in the published code: N times spread over 1..T, but each step moves by one unit of t.

    With N < T steps it therefore never reaches the data; it cannot take more than T. Kept for
    comparison, under this name.
    Source: `IRSDE.reverse_posterior` in the code of the MR Sampler.
    """
    steps, units = len(nodes) - 1, int(model.process.T)
    times = [int(units - (units - 1) * i / max(1, steps - 1)) for i in range(steps)]
    pairs = [(node(model.process, t), node(model.process, t - 1)) for t in times]
    table = [coefficients(s, t) if t.sigma else Coefficients(0, 1, 0) for s, t in pairs]
    for i, (s, t) in enumerate(pairs):
        predicted = model(y, s)
        step = table[i]
        y = step.y * y
        y.add_(predicted.data, alpha=step.data).add_(noise(i + 1), alpha=step.noise)
        yield State(y, t, predicted)


SOLVERS = {
    "posterior": Solver(
        "ancestral sampling, the usual baseline",
        "Ancestral",
        order=1,
        stochastic=True,
        run=posterior,
    ),
    "posterior-published": Solver(
        "as published: unit strides, whatever the number of steps",
        "Ancestral",
        order=0,
        stochastic=True,
        own_nodes=True,
        run=posterior_published,
    ),
}
