"""Solvers in the residual y = x - mu, a family a file, and their registry.

A solver is a generator function `run(model, y, nodes, noise, **options)` that yields the State
after each step. It computes its coefficients once, in Python floats, before its loop.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from mrsampler.solvers.ancestral import posterior, posterior_published
from mrsampler.solvers.euler import euler
from mrsampler.solvers.interface import Solver
from mrsampler.solvers.mr import mr_sampler

__all__ = ["SOLVERS", "Solver"]

_EQUATION = {"ode": "PF-ODE", "sde": "reverse-time SDE"}
_PREDICTION: dict[str, Literal["noise", "data"]] = {"n": "noise", "d": "data"}


def _mr(equation: str, letter: str, order: int) -> Solver:
    return Solver(
        f"MR Sampler, {_EQUATION[equation]}, {_PREDICTION[letter]} prediction, order {order}",
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


SOLVERS: dict[str, Solver] = {
    f"mrs-{equation}-{letter}-{order}": _mr(equation, letter, order)
    for equation in ("ode", "sde")
    for letter in ("d", "n")
    for order in (1, 2)
} | {
    "posterior": Solver(
        "strided ancestral sampling, the usual baseline",
        "Ancestral",
        order=1,
        stochastic=True,
        run=posterior,
    ),
    "posterior-published": Solver(
        "ancestral sampling as published: unit strides, whatever the number of steps",
        "Ancestral",
        order=0,
        stochastic=True,
        own_nodes=True,
        run=posterior_published,
    ),
    "euler-maruyama": Solver(
        "Euler-Maruyama for the reverse-time SDE, in t",
        "Classical",
        order=1,
        stochastic=True,
        run=partial(euler, stochastic=True),
    ),
    "euler": Solver(
        "Euler for the PF-ODE, in t", "Classical", order=1, run=partial(euler, stochastic=False)
    ),
}
