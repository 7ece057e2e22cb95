"""Ancestral sampling: x_t drawn from q(x_t | x_s, x_0) with the predicted x_0; and DDIM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from mrsampler.processes import MeanRevertingSDE, Process
from mrsampler.solvers.interface import Model, Noise, Option, Solver, State
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
    """Each step takes the whole stride from one node to the next: y_t drawn from q(y_t | y_s, D).

    Its mean and variance are in `coefficients`.
    Source: DDPM (arXiv 2006.11239); for the mean-reverting process IR-SDE (arXiv 2301.11699).
    """
    table = [coefficients(s, t) for s, t in pairwise(nodes)]
    for i, (s, t) in enumerate(pairwise(nodes)):
        predicted = model(y, s)
        step = table[i]
        y = step.y * y
        y.add_(predicted.data, alpha=step.data).add_(noise(i + 1), alpha=step.noise)
        yield State(y, t, predicted)


def unit_strides(process: Process, steps: int) -> list[tuple[Node, Node]]:
    """The steps of the published code: `steps` times spread over 1..T, truncated, each to t - 1.

    With fewer than T they therefore never reach the data; there cannot be more than T.
    """
    units = int(process.T)
    times = [int(units - (units - 1) * i / max(1, steps - 1)) for i in range(steps)]
    return [(node(process, t), node(process, t - 1)) for t in times]


def posterior_published(
    model: Model, y: Tensor, nodes: list[Node], noise: Noise
) -> Iterator[State]:
    """As in the published code: unit strides of t, whatever the number of steps.

    Kept for comparison, under this name.
    Source: `IRSDE.reverse_posterior` in the code of the MR Sampler.
    """
    pairs = unit_strides(model.process, len(nodes) - 1)
    table = [coefficients(s, t) if t.sigma else Coefficients(0, 1, 0) for s, t in pairs]
    for i, (s, t) in enumerate(pairs):
        predicted = model(y, s)
        step = table[i]
        y = step.y * y
        y.add_(predicted.data, alpha=step.data).add_(noise(i + 1), alpha=step.noise)
        yield State(y, t, predicted)


def ddim(
    model: Model, y: Tensor, nodes: list[Node], noise: Noise, *, eta: float = 0.0
) -> Iterator[State]:
    """From the PF-ODE's first-order step (eta = 0) to `posterior` (eta = 1).

        y_t = alpha_t D + sqrt(sigma_t^2 - eta^2 var) eps + eta sqrt(var) z

    with var that of the posterior, sigma_t^2 (1 - e^{-2h}). No noise is drawn where eta = 0.
    Source: DDIM (arXiv 2010.02502), equations 12 and 16.
    """
    table = []
    for s, t in pairwise(nodes):
        h = t.lam - s.lam
        # log of the share of sigma_t that stays the predicted noise; eps = (y - alpha D) / sigma.
        kept = -h if eta == 1 else math.log1p(eta**2 * math.expm1(-2 * h)) / 2
        table.append(
            Coefficients(
                t.sigma / s.sigma * math.exp(kept),
                -t.alpha * math.expm1(kept - h),
                eta * t.sigma * math.sqrt(-math.expm1(-2 * h)),
            )
        )
    for i, (s, t) in enumerate(pairwise(nodes)):
        predicted = model(y, s)
        step = table[i]
        y = step.y * y
        y.add_(predicted.data, alpha=step.data)
        if eta:
            y.add_(noise(i + 1), alpha=step.noise)
        yield State(y, t, predicted)


SOLVERS = {
    "posterior": Solver(
        "Posterior",
        "ancestral sampling, the usual baseline",
        "Ancestral",
        order=1,
        baseline=True,
        spacing="uniform-t",
        stochastic=True,
        run=posterior,
    ),
    "posterior-published": Solver(
        "Posterior",
        "as published: unit strides, whatever the number of steps",
        "Ancestral",
        order=0,
        published=True,
        spacing="uniform-t",
        stochastic=True,
        own_nodes=True,
        processes=(MeanRevertingSDE,),
        run=posterior_published,
    ),
    "ddim": Solver(
        "DDIM",
        "from the PF-ODE (η = 0) to ancestral sampling (η = 1)",
        "Ancestral",
        order=1,
        options={"eta": Option("from 0 to 1", lambda value: 0 <= value <= 1)},
        run=ddim,
    ),
}
