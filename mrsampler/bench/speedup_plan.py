"""Which runs `mrsampler bench speedup` makes: one grid of evaluations for all samplers.

Each sampler is to run on its best spacing, and all spacings at all NFEs on all seeds would cost six
times as much. So the spacings are screened on the first seed, at a few NFEs, and each NFE goes on
with the one that came nearest to the converged family at the NFE next to it, task by task.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mrsampler.bench.speedup import (
    CONVERGED_ODE,
    CONVERGED_SDE,
    GRAIN,
    INPUT,
    ONE,
    READER,
    Row,
    Run,
    Unit,
)
from mrsampler.bench.stable import compare, nearest
from mrsampler.restorer import OPTIMISED
from mrsampler.solvers import SOLVERS
from mrsampler.timesteps import SPACINGS

NFES = (1, 2, 3, 5, 8, 10, 20, 50, 100)
SCREENED = (3, 5, 10)
MR_SAMPLERS = ("mrs-ode-d-2", "mrs-sde-d-2")
RIVALS = ("posterior", "euler-maruyama", "euler", "unipc-bh2-d-2")
PUBLISHED = ("posterior-published", "euler-maruyama-published")


@dataclass(frozen=True)
class Plan:
    """The grid: solvers, their candidate spacings, and the seeds and tasks that all are run on.

    screened    the NFEs at which spacings are compared, on the first seed
    fitted      a card's times by solver and NFE: measured too, wherever there are some
    posterior   the evaluations of the converged posterior
    controls    whether there is a reader, so that its rows can be had
    """

    tasks: Sequence[str]
    seeds: int
    solvers: Sequence[str] = MR_SAMPLERS + RIVALS + PUBLISHED
    spacings: Sequence[str] = tuple(SPACINGS)
    screened: Sequence[int] = SCREENED
    fitted: Mapping[str, Mapping[str, list[float]]] = field(default_factory=dict)
    posterior: int = CONVERGED_SDE.nfe
    controls: bool = False

    @property
    def fixed(self) -> list[Run]:
        """The rows that are no sampler's: the input, one evaluation, controls, references."""
        controls = [READER, GRAIN] if self.controls else []
        return [INPUT, ONE, *controls, CONVERGED_ODE, CONVERGED_SDE._replace(nfe=self.posterior)]

    def screening(self) -> list[Unit]:
        """First: every spacing at the screened NFEs, on the first seed."""
        tried = [
            Run(solver, spacing, nfe)
            for solver in self.solvers
            for nfe in self.screened
            if self._spaced(solver) and nfe in self._nfes(solver)
            for spacing in self.spacings
        ]
        return [(0, task, run) for task in self.tasks for run in self.fixed + tried]

    def measuring(self, rows: Iterable[Row]) -> list[Unit]:
        """Then: every NFE on the spacing that `rows`, of the screening, chose; on all seeds."""
        best = nearest(compare(row for row in rows if row["seed"] == 0))
        chosen = {
            place: it.run.spacing for place, it in best.items() if it.run.spacing in self.spacings
        }

        def runs(task: str) -> list[Run]:
            found = []
            for solver in self.solvers:
                for nfe in self._nfes(solver):
                    next_to = self._next_to(nfe)
                    usual = SOLVERS[solver].spacing
                    found.append(Run(solver, chosen.get((task, solver, next_to), usual), nfe))
                    if str(nfe) in self.fitted.get(solver, {}):
                        found.append(Run(solver, OPTIMISED, nfe))
            return found

        return [
            (seed, task, run)
            for seed in range(self.seeds)
            for task in self.tasks
            for run in self.fixed + runs(task)
        ]

    def _spaced(self, solver: str) -> bool:
        return not SOLVERS[solver].own_nodes

    def _nfes(self, solver: str) -> list[int]:
        """Those that pay for a step of it."""
        return [nfe for nfe in NFES if nfe >= SOLVERS[solver].cost(1)]

    def _next_to(self, nfe: int) -> int:
        """The screened NFE that is nearest by ratio."""
        return min(self.screened, key=lambda other: abs(math.log(other / nfe)))
