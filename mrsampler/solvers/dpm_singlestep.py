"""DPM-Solver's singlestep methods: every step starts afresh and evaluates inside itself.

They solve the integrals of `mr` for the PF-ODE. Order k evaluates k times a step: f_0 at its start,
f_1 (and f_2) at lambda_s + r h with r = 1/2, or 1/3 and 2/3.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from mrsampler.solvers.dpm_multistep import METHODS, midpoint
from mrsampler.solvers.interface import Model, Noise, Option, Parameterisation, Solver, State
from mrsampler.solvers.mr import Coefficients, coefficients
from mrsampler.solvers.phi import moments
from mrsampler.timesteps import Node, node

Kind = Literal["published", "midpoint", "heun"]

RATIOS: dict[int, list[float]] = {1: [], 2: [1 / 2], 3: [1 / 3, 2 / 3]}
"""r of the evaluations inside a step."""


class Stage(NamedTuple):
    """From the step's start to `node` with those of f_0, f_1, ... that `used` counts."""

    node: Node
    used: tuple[int, ...]
    coefficients: Coefficients


def stages(
    model: Model, s: Node, t: Node, order: int, prediction: Parameterisation, solver_type: Kind
) -> list[Stage]:
    """Those of the step from s to t: to each point inside it, then to t."""
    lams = [s.lam + r * (t.lam - s.lam) for r in RATIOS[order]]
    targets = [*(node(model.process, model.process.time(lam)) for lam in lams), t]
    used = [(0,), (0, 1), (0, 1, 2) if solver_type == "heun" else (0, 2)]
    flat = solver_type == "midpoint" or (solver_type == "published" and order == 2)
    rules = [moments, midpoint if flat else moments, moments]
    return [
        Stage(
            target,
            used[j],
            coefficients(
                s, target, [[s, *targets][n] for n in used[j]], prediction, moments=rules[j]
            ),
        )
        for j, target in enumerate(targets)
    ]


def dpm_solver(
    model: Model,
    y: Tensor,
    nodes: list[Node],
    noise: Noise,
    *,
    prediction: Parameterisation,
    order: int,
    solver_type: Kind = "published",
) -> Iterator[State]:
    """DPM-Solver-k (noise) and DPM-Solver++ kS (data).

    `solver_type` chooses what is put under the integral; the order is the same.

                 order 2                order 3: second stage    order 3: last stage
    published    midpoint rule          line through f_0, f_1    line through f_0, f_2
    midpoint     midpoint rule          midpoint rule            line through f_0, f_2
    heun         line through f_0, f_1  line through f_0, f_1    parabola through all three

    "midpoint" and "heun" are diffusers' names.
    Source: DPM-Solver (arXiv 2206.00927), Algorithms 1 and 2; DPM-Solver++ (arXiv 2211.01095),
    Algorithm 1.
    """
    pairs = list(pairwise(nodes))
    table = [stages(model, s, t, order, prediction, solver_type) for s, t in pairs]
    for i, (s, t) in enumerate(pairs):
        start, at = y, s
        predictions = []
        values: list[Tensor] = []
        for stage in table[i]:
            predictions.append(model(y, at))
            values.append(predictions[-1].data if prediction == "data" else predictions[-1].noise)
            y = stage.coefficients.combine(start, [values[n] for n in stage.used])
            at = stage.node
        yield State(y, t, predictions[0])


_KIND = Option(f"one of {', '.join(get_args(Kind))}", lambda value: value in get_args(Kind))


def _solver(
    prediction: Parameterisation, evaluations: int, order: int, counterpart: str | None = None
) -> Solver:
    return Solver(
        METHODS[prediction],
        f"singlestep, {prediction} prediction",
        "DPM-Solver",
        variant=f"{evaluations}{'s' * (prediction == 'data')}",
        order=order,
        prediction=prediction,
        counterpart=counterpart,
        evaluations=evaluations,
        options={"solver_type": _KIND} if evaluations > 1 else {},
        run=partial(dpm_solver, prediction=prediction, order=evaluations),
    )


SOLVERS = {
    "dpm-solver-1": _solver("noise", 1, order=1),
    "dpm-solver-2": _solver("noise", 2, order=2, counterpart="dpm-solver++-2s"),
    "dpm-solver-3": _solver("noise", 3, order=3, counterpart="dpm-solver++-3s"),
    "dpm-solver++-2s": _solver("data", 2, order=2, counterpart="dpm-solver-2"),
    # Of order 3 in the limit, from below: on VESDE, at 320 evaluations, 2.8 is measured.
    "dpm-solver++-3s": _solver("data", 3, order=2, counterpart="dpm-solver-3"),
}
