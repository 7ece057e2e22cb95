"""How close each solver comes to the converged PF-ODE, by spacing and NFE."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mrsampler.problem import Problem
from mrsampler.restorer import OPTIMISED
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
    fitted: Mapping[str, Mapping[str, list[float]]] | None = None,
) -> Iterator[dict[str, float | str]]:
    """A row for each solver, spacing and NFE that it can spend: the RMSE, in the problem's unit.

    A solver of several evaluations a step may leave some of an NFE unused. `fitted` are a card's
    times by solver and NFE, the spacing "optimised".
    """
    for solver in solvers:
        runs: list[tuple[str, int, str | list[float]]] = [
            (spacing, nfe, spacing)
            for spacing in spacings
            for nfe in nfes
            if nfe >= SOLVERS[solver].cost(1)
        ]
        own = (fitted or {}).get(solver, {})
        runs += [(OPTIMISED, nfe, own[str(nfe)]) for nfe in nfes if str(nfe) in own]
        for name, nfe, spacing in runs:
            x = problem.sample(solver=solver, spacing=spacing, nfe=nfe)
            row: dict[str, float | str] = {"problem": problem.name, "solver": solver}
            yield row | {"spacing": name, "nfe": nfe, "rmse": problem.error(x)}


def best_spacing(rows: Iterable[dict[str, float | str]]) -> list[dict[str, float | str]]:
    """A row for each solver, at the spacing of least mean log RMSE over its NFEs, best first.

    Row: solver, spacing, and the RMSE at each NFE under its number. Fitted times have a row of
    their own: they are there for a few solvers and NFEs only.
    """
    runs: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in rows:
        runs[str(row["solver"]), str(row["spacing"])][str(row["nfe"])] = float(row["rmse"])

    chosen = [key for key in runs if key[1] == OPTIMISED]
    # All are ranked by the NFEs that each of them can spend.
    ranked = set.intersection(*(set(errors) for errors in runs.values())) if runs else set()

    def mean(key: tuple[str, str]) -> float:
        errors = [error for nfe, error in runs[key].items() if nfe in ranked]
        return sum(map(math.log, errors)) / len(errors) if errors else math.inf

    for solver in dict.fromkeys(solver for solver, _ in runs):
        hand_made = [key for key in runs if key[0] == solver and key[1] != OPTIMISED]
        chosen.append(min(hand_made, key=mean))
    return [
        {"solver": solver, "spacing": spacing} | runs[solver, spacing]
        for solver, spacing in sorted(chosen, key=mean)
    ]
