"""How close each solver comes to the converged PF-ODE, by spacing and NFE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mrsampler.problem import Problem
from mrsampler.solvers import SOLVERS
from mrsampler.timesteps import SPACINGS

NFES = (3, 4, 5, 6, 8, 10, 15, 20)


def ode_solvers() -> list[str]:
    """The solvers that follow a grid to the PF-ODE's solution."""
    return [
        name
        for name, solver in SOLVERS.items()
        if not (solver.stochastic or solver.adaptive or solver.own_nodes)
    ]


def accuracy(
    problem: Problem,
    solvers: Iterable[str],
    spacings: Iterable[str] = tuple(SPACINGS),
    nfes: Sequence[int] = NFES,
) -> Iterator[dict[str, float | str]]:
    """A row for each solver, spacing and NFE that it can spend: the RMSE, in the problem's unit.

    A solver of several evaluations a step may leave some of an NFE unused.
    """
    for solver in solvers:
        for spacing in spacings:
            for nfe in nfes:
                try:
                    SOLVERS[solver].steps(nfe)
                except ValueError:
                    continue
                x = problem.sample(solver=solver, spacing=spacing, nfe=nfe)
                yield {
                    "problem": problem.name,
                    "solver": solver,
                    "spacing": spacing,
                    "nfe": nfe,
                    "rmse": problem.error(x),
                }


def best_spacing(rows: Iterable[dict[str, float | str]]) -> list[dict[str, float | str]]:
    """A row for each solver, at the spacing of least mean log RMSE over its NFEs, best first.

    Row: solver, spacing, and the RMSE at each NFE under its number.
    """
    import math
    from collections import defaultdict

    runs: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        runs[str(row["solver"]), str(row["spacing"])][str(row["nfe"])] = float(row["rmse"])

    def mean(key: tuple[str, str]) -> float:
        errors = runs[key].values()
        return sum(map(math.log, errors)) / len(errors)

    found = []
    for solver in dict.fromkeys(solver for solver, _ in runs):
        best = min((key for key in runs if key[0] == solver), key=mean)
        found.append((mean(best), {"solver": solver, "spacing": best[1]} | runs[best]))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]
