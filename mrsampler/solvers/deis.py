"""DEIS: a polynomial of the predicted noise under the integral over rho = sigma / alpha.

    y_t / alpha_t = y_s / alpha_s + int_{rho_s}^{rho_t} eps drho

The polynomial through the last k evaluations is one in log rho = -lambda (which is mrs-ode-n-k, by
another hand) or in t. Its Lagrange weights are integrated numerically, so that any variable serves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import pairwise

import numpy as np
from torch import Tensor

from mrsampler.processes import Process
from mrsampler.solvers.interface import Model, Noise, Solver, State
from mrsampler.solvers.mr import Coefficients, multistep, orders
from mrsampler.timesteps import Node

Variable = Callable[[Process, float], float]
"""What the polynomial is one of, at a lambda."""


def log_rho(process: Process, lam: float) -> float:
    """Smooth in lambda, whatever the process."""
    return -lam


def time(process: Process, lam: float) -> float:
    """t itself: tAB."""
    return process.time(lam)


# Exact to rounding for what has its singularities as far off as log(1 + e^{-2 lambda}) has them.
_POINTS_PER_LAMBDA = 12
_quadrature = cache(np.polynomial.legendre.leggauss)


def coefficients(
    process: Process, s: Node, t: Node, evaluated: Sequence[Node], variable: Variable
) -> Coefficients:
    """The step from s to t with evaluations at the nodes `evaluated`, newest first.

    Gauss-Legendre in lambda, where drho = -e^{-lambda} dlambda, between whole times: t(lambda) of a
    tabulated process has its kinks there.
    """
    whole = range(math.ceil(s.t) - 1, math.floor(t.t), -1) if variable is time else ()
    edges = [s.lam, *(process.lam(float(n)) for n in whole), t.lam]
    nodes = [variable(process, node.lam) for node in evaluated]
    weights = np.zeros(len(nodes))
    for low, high in pairwise(edges):
        points, shares = _quadrature(_POINTS_PER_LAMBDA * math.ceil(high - low))
        lams = low + (high - low) * (points + 1) / 2
        measure = -np.exp(t.lam - lams) * shares * (high - low) / 2  # drho / rho_t
        at = np.array([variable(process, lam) for lam in lams.tolist()])
        for j, own in enumerate(nodes):
            lagrange = np.ones_like(at)
            for other in nodes[:j] + nodes[j + 1 :]:
                lagrange *= (at - other) / (own - other)
            weights[j] += measure @ lagrange
    return Coefficients(t.alpha / s.alpha, (t.sigma * weights).tolist())


def deis(
    model: Model,
    y: Tensor,
    nodes: list[Node],
    noise: Noise,
    *,
    order: int,
    variable: Variable,
    final_order: int | None = 1,
) -> Iterator[State]:
    """Multistep, one evaluation a step.

    Source: Zhang & Chen, Fast sampling of diffusion models with exponential integrator
    (arXiv 2204.13902); `DEISMultistepScheduler` of diffusers, in log rho.
    """
    table = [
        coefficients(model.process, nodes[i], nodes[i + 1], nodes[i::-1][:k], variable)
        for i, k in enumerate(orders(order, len(nodes) - 1, final_order))
    ]
    yield from multistep(model, y, nodes, noise, table, "noise")


def _solver(evaluations: int, variable: Variable, order: int) -> Solver:
    axis, short = ("t", "t-") if variable is time else ("log ρ", "")
    return Solver(
        "DEIS",
        f"PF-ODE, a polynomial in {axis} through {evaluations} evaluations of the noise",
        "DEIS",
        variant=f"{short}{evaluations}",
        order=order,
        prediction="noise",
        given=frozenset({"final_order"}),
        run=partial(deis, order=evaluations, variable=variable),
    )


SOLVERS = {
    "deis-2": _solver(2, log_rho, order=2),
    "deis-3": _solver(3, log_rho, order=3),
    "deis-t-2": _solver(2, time, order=2),
    # Of order 3 where t(lambda) is smooth. On a table the noise has kinks as a function of t, at
    # which no polynomial in t is of more than order 2.
    "deis-t-3": _solver(3, time, order=2),
}
