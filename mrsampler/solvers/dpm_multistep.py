"""DPM-Solver's multistep methods, in the residual.

They solve the integrals of `mr` with the same evaluations; what sets them apart is a simpler
second coefficient (the "midpoint" rule; with the exact one, diffusers' "heun", DPM-Solver++(2M) is
mrs-ode-d-2) and a third that is half of the exact one.

Sources: DPM-Solver (arXiv 2206.00927), DPM-Solver++ (arXiv 2211.01095), Algorithm 2;
`DPMSolverMultistepScheduler` of diffusers, the SDEs and the third order among them.
"""

from __future__ import annotations

from functools import partial

from mrsampler.solvers.interface import OTHER, Parameterisation, Solver
from mrsampler.solvers.mr import halved_third, mr_sampler


def midpoint(c: float, h: float, k: int) -> list[float]:
    """The first derivative's moment half of the zeroth: its kernel taken to be flat.

    Of order 3 in a step, as the exact one is. Steps with three evaluations have no such rule.
    """
    values = halved_third(c, h, k)
    if k == 2:
        values[1] = values[0] / 2
    return values


METHODS: dict[Parameterisation, str] = {"noise": "DPM-Solver", "data": "DPM-Solver++"}


def _solver(
    prediction: Parameterisation, *, evaluations: int = 2, stochastic: bool = False
) -> Solver:
    equation = "reverse-time SDE" if stochastic else "PF-ODE"
    rule = "midpoint rule" if evaluations == 2 else "three evaluations"
    variant = f"{'sde-' * stochastic}{evaluations}m"
    return Solver(
        METHODS[prediction],
        f"{equation}, {prediction} prediction, {rule}",
        "DPM-Solver",
        variant=variant,
        order=2,  # of three evaluations too, the third coefficient being half of the exact one
        prediction=prediction,
        counterpart=f"{METHODS[OTHER[prediction]].lower()}-{variant}",
        stochastic=stochastic,
        given=frozenset({"final_order"}),
        run=partial(
            mr_sampler,
            prediction=prediction,
            stochastic=stochastic,
            order=evaluations,
            moments=midpoint,
        ),
    )


SOLVERS = {
    "dpm-solver++-2m": _solver("data"),
    "dpm-solver++-3m": _solver("data", evaluations=3),
    "dpm-solver-2m": _solver("noise"),
    "dpm-solver-3m": _solver("noise", evaluations=3),
    "dpm-solver++-sde-2m": _solver("data", stochastic=True),
    "dpm-solver-sde-2m": _solver("noise", stochastic=True),
}
