"""From how many evaluations on a sampler's quality is that of its converged family.

The rule is two-sided: a run that is better than its reference by one measure is as far from it as
one that is worse, so that neither blur (PSNR) nor grain (AlexNet's features) can buy the verdict.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple

from mrsampler.bench.speedup import CONVERGED_ODE, CONVERGED_SDE, ONE, Row, Run, key, solves
from mrsampler.bench.yardstick import MEASURES
from mrsampler.solvers import SOLVERS

# Of the way from one evaluation to the reference; and solved is within so many 1/255.
NEAR, SOLVED = 0.05, 2.0
# A stochastic run shares no draw with its reference. Two equal ones differ by sqrt(2) standard
# errors, and by twice that once in twenty: a single one would fail them by chance, one in three in
# each measure, where a PF-ODE's run shares x_T with its solution and never fails so.
CHANCE = 2 * math.sqrt(2)


class Gap(NamedTuple):
    """By how much a run differs from its reference in a measure, and by how much it may."""

    difference: float
    allowed: float

    @property
    def ratio(self) -> float:
        """At most 1 where it is as the reference."""
        if self.allowed == 0:
            return math.inf if self.difference else 0.0
        return abs(self.difference) / self.allowed


class Comparison(NamedTuple):
    """A run beside its family's reference on a task, over the seeds: a Gap for each measure."""

    task: str
    run: Run
    gaps: dict[str, Gap]

    @property
    def worst(self) -> float:
        """The largest ratio of a measure's gap to what is allowed."""
        return max(gap.ratio for gap in self.gaps.values())

    @property
    def stable(self) -> bool:
        """Whether it is as the reference in every measure."""
        return self.worst <= 1


def compare(rows: Iterable[Row]) -> list[Comparison]:
    """Every run of a sampler that has all the seeds of its reference, beside that.

    The reference is the converged posterior for a stochastic sampler, the converged PF-ODE for
    another. Allowed is the reference's standard error over the seeds, or 5 % of the way from one
    evaluation to the reference, whichever is more; of a stochastic run CHANCE standard errors.
    """
    by_task: dict[str, dict[Run, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        seed, task, run = key(row)
        by_task[task][run][seed] = row
    found = []
    for task, runs in by_task.items():
        references = {run.solver: own for run, own in runs.items()}
        for run, own in runs.items():
            if run.solver not in SOLVERS:
                continue
            family = CONVERGED_ODE if solves(run) else CONVERGED_SDE
            reference, one = references.get(family.solver, {}), runs.get(ONE, {})
            seeds = sorted(reference.keys() & one.keys())
            if seeds and own.keys() >= set(seeds):
                errors = 1.0 if solves(run) else CHANCE
                triples = [(own[seed], reference[seed], one[seed]) for seed in seeds]
                gaps = {name: _gap(name, triples, errors) for name in MEASURES}
                found.append(Comparison(task, run, gaps))
    return found


def _gap(measure: str, triples: Sequence[tuple[Row, Row, Row]], errors: float) -> Gap:
    ours, reference, one = ([row[measure] for row in column] for column in zip(*triples))  # noqa: B905
    error = stdev(reference) / math.sqrt(len(reference)) if len(reference) > 1 else 0.0
    way = fmean(one) - fmean(reference)
    return Gap(fmean(ours) - fmean(reference), max(errors * error, NEAR * abs(way)))


def is_mr(solver: str) -> bool:
    """Whether it is one of the samplers that this project is named after."""
    return SOLVERS[solver].family == "MR Sampler"


def is_published(solver: str) -> bool:
    """Whether it takes unit strides, as published: it reaches the data at T evaluations alone."""
    return SOLVERS[solver].own_nodes


def nearest(comparisons: Iterable[Comparison]) -> dict[tuple[str, str, int], Comparison]:
    """For each task, solver and NFE the run on the spacing that comes nearest to the reference."""
    found: dict[tuple[str, str, int], Comparison] = {}
    for it in comparisons:
        place = it.task, it.run.solver, it.run.nfe
        if place not in found or it.worst < found[place].worst:
            found[place] = it
    return found


def reached(comparisons: Iterable[Comparison]) -> dict[tuple[str, str], Comparison]:
    """For each task and solver the run of fewest evaluations that is stable; absent where none is.

    Of several spacings the nearest.
    """
    found: dict[tuple[str, str], Comparison] = {}
    for (task, solver, nfe), it in sorted(
        nearest(comparisons).items(), key=lambda item: item[0][2]
    ):
        if it.stable and (task, solver) not in found:
            assert nfe == it.run.nfe
            found[task, solver] = it
    return found


def fewest(comparisons: Iterable[Comparison]) -> list[Row]:
    """A row for each sampler: under each task the fewest evaluations of stable quality.

    Row: solver, the tasks (absent where none of its NFEs is), and median over the tasks (None where
    that is one of these). The fewest first; those as published last.
    """
    compared = list(comparisons)
    tasks = list(dict.fromkeys(it.task for it in compared))
    best = reached(compared)
    rows = []
    for solver in dict.fromkeys(it.run.solver for it in compared):
        own = {task: best[task, solver].run.nfe for task in tasks if (task, solver) in best}
        middle = median(own.get(task, math.inf) for task in tasks)
        rows.append({"solver": solver, "median": middle if middle < math.inf else None} | own)
    return sorted(
        rows, key=lambda row: (is_published(row["solver"]), row["median"] or math.inf, -len(row))
    )


class Race(NamedTuple):
    """On a task: the best MR Sampler's run and the best rival's, None where none is stable."""

    task: str
    ours: Run | None
    rival: Run | None

    @property
    def ratio(self) -> float | None:
        """How many times fewer evaluations: inf where only we get there, 0 where only the rival."""
        return times_fewer(self.ours and self.ours.nfe, self.rival and self.rival.nfe)


def times_fewer(ours: int | None, rival: int | None) -> float | None:
    """rival / ours; None where neither is stable."""
    if ours is None:
        return None if rival is None else 0.0
    return math.inf if rival is None else rival / ours


def races(comparisons: Iterable[Comparison]) -> list[Race]:
    """The headline, task by task. Samplers as published do not run: they are rows of their own."""
    compared = list(comparisons)
    best: dict[tuple[str, bool], Run] = {}
    for (task, solver), it in reached(compared).items():
        place = task, is_mr(solver)
        if not is_published(solver) and (place not in best or it.run.nfe < best[place].nfe):
            best[place] = it.run
    tasks = dict.fromkeys(it.task for it in compared)
    return [Race(task, best.get((task, True)), best.get((task, False))) for task in tasks]


def ratios(comparisons: Iterable[Comparison]) -> list[Row]:
    """A row for each rival: by how many times the best MR Sampler needs fewer evaluations.

    Row: solver, the tasks and their median (`Race.ratio`; absent where neither is stable).
    """
    compared = list(comparisons)
    ours = {race.task: race.ours and race.ours.nfe for race in races(compared)}
    rows = []
    for row in fewest(compared):
        if not is_mr(row["solver"]):
            found = {task: times_fewer(nfe, row.get(task)) for task, nfe in ours.items()}
            own = {task: ratio for task, ratio in found.items() if ratio is not None}
            rows.append({"solver": row["solver"], "median": _middle(own.values())} | own)
    return rows


def median_ratio(found: Iterable[Race]) -> float | None:
    """Of the best rival's evaluations to the best MR Sampler's; None where neither gets there."""
    return _middle(race.ratio for race in found if race.ratio is not None)


def _middle(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None


def solved(rows: Iterable[Row]) -> list[Row]:
    """A row for each ODE sampler: under each task the fewest evaluations that come within 2/255.

    Of the converged solution, root mean square over all photos and seeds, on the best spacing that
    was measured on all seeds. Row: solver, the tasks (absent where none of its NFEs does), and
    their median (None where that is one of these). Best first.
    """
    squares: dict[tuple[str, Run], list[float]] = defaultdict(list)
    for row in rows:
        _, task, run = key(row)
        if run != CONVERGED_ODE and solves(run):
            squares[task, run].append(row["rmse"] ** 2)
    seeds = max(map(len, squares.values()), default=0)
    tasks = list(dict.fromkeys(task for task, _ in squares))
    near: dict[str, dict[str, int]] = defaultdict(dict)
    for (task, run), own in squares.items():
        places = near[run.solver]
        if len(own) == seeds and math.sqrt(fmean(own)) <= SOLVED:
            places[task] = min(run.nfe, places.get(task, run.nfe))
    found = []
    for solver, places in near.items():
        middle = median(places.get(task, math.inf) for task in tasks)
        found.append({"solver": solver, "median": middle if middle < math.inf else None} | places)
    return sorted(found, key=lambda row: (row["median"] or math.inf, -len(row)))
