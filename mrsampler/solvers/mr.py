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

Source: MR Sampler: fast sampling for mean-reverting diffusion based on ODE and SDE solvers (ICLR
2025), the poster's "fast samplers with noise prediction" and "with data prediction".
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from mrsampler.solvers.interface import OTHER, Model, Noise, Parameterisation, Solver, State
from mrsampler.solvers.phi import Moments, interpolation_weights, moments
from mrsampler.timesteps import Node


class Coefficients(NamedTuple):
    """y_t = y * y_s + sum_j history[j] * f_j + noise * z, f_0 the newest evaluation."""

    y: float
    history: list[float]
    noise: float = 0.0

    def combine(self, y: Tensor, history: Iterable[Tensor]) -> Tensor:
        """The sum without its noise, a new tensor; evaluations older than it takes are left out."""
        total = self.y * y
        for weight, f in zip(self.history, history, strict=False):
            total.add_(f, alpha=weight)
        return total


def coefficients(
    s: Node,
    t: Node,
    evaluated: Sequence[Node],
    prediction: Parameterisation,
    stochastic: bool = False,
    moments: Moments = moments,
) -> Coefficients:
    """The step from s to t with evaluations at the nodes `evaluated`, newest first."""
    h = t.lam - s.lam
    twice = 2 if stochastic else 1
    if prediction == "noise":
        decay, factor, rate = t.alpha / s.alpha, -twice * t.sigma, 1
        spread = math.expm1(2 * h)
    else:
        decay = t.sigma / s.sigma * (math.exp(-h) if stochastic else 1)
        factor, rate = twice * t.alpha, -twice
        spread = -math.expm1(-2 * h)
    weights = interpolation_weights(rate, h, [node.lam - s.lam for node in evaluated], moments)
    return Coefficients(
        decay,
        [factor * weight for weight in weights],
        t.sigma * math.sqrt(spread) if stochastic else 0.0,
    )


def orders(order: int, steps: int, final_order: int | None) -> list[int]:
    """Of each step: evaluations are few at first; the last takes at most final_order, the one
    before it one more, ...; None: no limit.

    The last steps are the longest ones in lambda on a uniform-t grid: at full order the error
    there is that of an extrapolation far outside its nodes.
    """
    limits = [order if final_order is None else final_order + steps - 1 - i for i in range(steps)]
    return [min(order, i + 1, limit) for i, limit in enumerate(limits)]


def multistep(
    model: Model,
    y: Tensor,
    nodes: list[Node],
    noise: Noise,
    table: list[Coefficients],
    prediction: Parameterisation,
) -> Iterator[State]:
    """One evaluation a step, combined with the earlier ones as the table says."""
    history: deque[Tensor] = deque(maxlen=max(len(step.history) for step in table))
    for i, (s, t) in enumerate(pairwise(nodes)):
        predicted = model(y, s)
        history.appendleft(predicted.data if prediction == "data" else predicted.noise)
        y = table[i].combine(y, history)
        if table[i].noise:
            y.add_(noise(i + 1), alpha=table[i].noise)
        yield State(y, t, predicted)


def mr_sampler(
    model: Model,
    y: Tensor,
    nodes: list[Node],
    noise: Noise,
    *,
    prediction: Parameterisation,
    stochastic: bool,
    order: int,
    moments: Moments = moments,
    final_order: int | None = 1,
) -> Iterator[State]:
    """Multistep, one evaluation a step; the first steps and, by default, the last are of low order.

    With other `moments` this is the DPM-Solver family's multistep, in the residual.
    """
    table = [
        coefficients(nodes[i], nodes[i + 1], nodes[i::-1][:k], prediction, stochastic, moments)
        for i, k in enumerate(orders(order, len(nodes) - 1, final_order))
    ]
    yield from multistep(model, y, nodes, noise, table, prediction)


def halved_third(c: float, h: float, k: int) -> list[float]:
    """The third moment halved: published code of order 3 takes h^2 f''/2 for h^2 f''.

    Its error is then of second order.
    Source: the code of the MR Sampler; `multistep_dpm_solver_third_order_update` of diffusers.
    """
    values = moments(c, h, k)
    if k == 3:
        values[2] /= 2
    return values


ORDERS = {False: (1, 2, 3), True: (1, 2)}
"""Those of the ODE's samplers, and of the SDE's."""


def variant(stochastic: bool, prediction: Parameterisation, order: int) -> str:
    """Which MR Sampler it is, in short: "ODE d-2"."""
    return f"{'SDE' if stochastic else 'ODE'} {prediction[0]}-{order}"


def name(stochastic: bool, prediction: Parameterisation, order: int) -> str:
    """Its name in the registry: "mrs-ode-d-2"."""
    return f"mrs-{variant(stochastic, prediction, order).lower().replace(' ', '-')}"


def _solver(stochastic: bool, prediction: Parameterisation, order: int) -> Solver:
    equation = "reverse-time SDE" if stochastic else "PF-ODE"
    return Solver(
        "MR Sampler",
        f"{equation}, {prediction} prediction, order {order}",
        "MR Sampler",
        variant=variant(stochastic, prediction, order),
        order=order,
        prediction=prediction,
        counterpart=name(stochastic, OTHER[prediction], order),
        stochastic=stochastic,
        given=frozenset({"final_order"}),
        run=partial(mr_sampler, prediction=prediction, stochastic=stochastic, order=order),
    )


def _published(prediction: Parameterisation) -> Solver:
    return replace(
        _solver(False, prediction, 3),
        summary=f"PF-ODE, {prediction} prediction, three evaluations as published: of order 2",
        order=2,
        published=True,
        counterpart=f"{name(False, OTHER[prediction], 3)}-published",
        run=partial(
            mr_sampler, prediction=prediction, stochastic=False, order=3, moments=halved_third
        ),
    )


# Data prediction first: it is the one that few evaluations are for.
_PREDICTIONS: tuple[Parameterisation, ...] = ("data", "noise")

SOLVERS = {
    name(stochastic, prediction, order): _solver(stochastic, prediction, order)
    for stochastic, orders in ORDERS.items()
    for prediction in _PREDICTIONS
    for order in orders
} | {f"{name(False, kind, 3)}-published": _published(kind) for kind in _PREDICTIONS}
