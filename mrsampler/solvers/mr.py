"""The MR Samplers: exponential integrators for the PF-ODE and the reverse-time SDE.

Exact solutions from s to t, with h = lambda_t - lambda_s and D = x_0 - mu (the poster's
four solutions, in the residual y = x - mu):

    ODE, noise:  y_t = alpha_t/alpha_s y_s          -   sigma_t int_0^h e^{   h - u } eps du
    ODE, data:   y_t = sigma_t/sigma_s y_s          +   alpha_t int_0^h e^{ -(h - u)} D   du
    SDE, noise:  y_t = alpha_t/alpha_s y_s          - 2 sigma_t int_0^h e^{   h - u } eps du + ...
    SDE, data:   y_t = sigma_t/sigma_s e^{-h} y_s   + 2 alpha_t int_0^h e^{-2(h - u)} D   du + ...

where u = lambda - lambda_s and the SDEs add sigma_t sqrt(e^{2h} - 1) z and
sigma_t sqrt(1 - e^{-2h}) z. Order k puts a polynomial of degree k - 1 in lambda, through the last k
evaluations, under the integral: one evaluation a step.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple

from torch import Tensor

from mrsampler.solvers.interface import Model, Noise, Solver, State
from mrsampler.solvers.phi import interpolation_weights
from mrsampler.timesteps import Node


class Coefficients(NamedTuple):
    """y_t = y * y_s + sum_j history[j] * f_j + noise * z, f_0 the newest evaluation."""

    y: float
    history: list[float]
    noise: float


def coefficients(
    nodes: list[Node], i: int, order: int, prediction: Literal["noise", "data"], stochastic: bool
) -> Coefficients:
    """The step from nodes[i] to nodes[i + 1] with evaluations at nodes[i], nodes[i - 1], ..."""
    s, t = nodes[i], nodes[i + 1]
    h = t.lam - s.lam
    offsets = [nodes[i - j].lam - s.lam for j in range(order)]
    twice = 2 if stochastic else 1
    if prediction == "noise":
        decay, factor, rate = t.alpha / s.alpha, -twice * t.sigma, 1
        spread = math.expm1(2 * h)
    else:
        decay = t.sigma / s.sigma * (math.exp(-h) if stochastic else 1)
        factor, rate = twice * t.alpha, -twice
        spread = -math.expm1(-2 * h)
    return Coefficients(
        decay,
        [factor * weight for weight in interpolation_weights(rate, h, offsets)],
        t.sigma * math.sqrt(spread) if stochastic else 0.0,
    )


def mr_sampler(
    model: Model,
    y: Tensor,
    nodes: list[Node],
    noise: Noise,
    *,
    prediction: Literal["noise", "data"],
    stochastic: bool,
    order: int,
    lower_order_final: bool = True,
) -> Iterator[State]:
    """Multistep, one evaluation a step; the first steps and, by default, the last are of low order.

    `lower_order_final`: the last steps, the longest ones in lambda on a uniform-t grid, use order
    k - 1, ..., 1; without it the error there is that of an extrapolation far outside its nodes.
    """
    steps = len(nodes) - 1
    table = []
    for i in range(steps):
        k = min(order, i + 1, steps - i if lower_order_final else order)
        table.append(coefficients(nodes, i, k, prediction, stochastic))
    history: deque[Tensor] = deque(maxlen=order)
    for i, (s, t) in enumerate(pairwise(nodes)):
        predicted = model(y, s)
        history.appendleft(predicted.data if prediction == "data" else predicted.noise)
        step = table[i]
        y = step.y * y
        for weight, f in zip(step.history, history, strict=False):
            y.add_(f, alpha=weight)
        if stochastic:
            y.add_(noise(i + 1), alpha=step.noise)
        yield State(y, t, predicted)


_EQUATION = {"ode": "PF-ODE", "sde": "reverse-time SDE"}
_PREDICTION: dict[str, Literal["noise", "data"]] = {"n": "noise", "d": "data"}


def _solver(equation: str, letter: str, order: int) -> Solver:
    return Solver(
        f"{_EQUATION[equation]}, {_PREDICTION[letter]} prediction, order {order}",
        "MR Sampler",
        order=order,
        stochastic=equation == "sde",
        options=frozenset({"lower_order_final"}),
        run=partial(
            mr_sampler,
            prediction=_PREDICTION[letter],
            stochastic=equation == "sde",
            order=order,
        ),
    )


SOLVERS = {
    f"mrs-{equation}-{letter}-{order}": _solver(equation, letter, order)
    for equation, orders in (("ode", (1, 2, 3)), ("sde", (1, 2)))
    for letter in ("d", "n")
    for order in orders
}
