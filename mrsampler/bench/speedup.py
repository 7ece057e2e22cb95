"""How many evaluations it takes to be as good as the usual sampler: `mrsampler bench speedup`.

As good in both distortion (PSNR) and perception (sliced Wasserstein distance): one alone can be
had by giving up the other. Every run of a photo has the same damage and x_T, and every set of
photos is measured on the same patches, so that samplers are compared in pairs; a seed draws all of
this anew, on other photos where there are, so that the spread of the comparisons over the seeds is
that of a repetition of the whole measurement.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mrsampler.degradations import degrade
from mrsampler.metrics import SlicedWasserstein, lpips, psnr, rmse, ssim
from mrsampler.problem import REFERENCE_NFE, REFERENCE_SOLVER
from mrsampler.restorer import OPTIMISED, Restorer
from mrsampler.solvers import SOLVERS

Row = dict[str, Any]

BASELINES = tuple(name for name, solver in SOLVERS.items() if solver.baseline)
BASELINE_NFES = (5, 10, 20, 50, 100)
FAST = ("mrs-ode-d-2", "mrs-ode-n-2", "mrs-sde-d-2", "mrs-sde-n-2", "unipc-bh2-d-2")
FAST_NFES = (3, 5, 8, 10, 20)

# As good as the reference is, in dB and as a ratio; solved is within so many 1/255.
PSNR_LOSS, SWD_RATIO, SOLVED = 0.1, 1.05, 2.0


class Run(NamedTuple):
    """A sampler at an NFE."""

    solver: str
    spacing: str
    nfe: int


Unit = tuple[int, str, Run]
"""What a row measures: a seed, a task and a run."""

REFERENCE = Run("posterior", "uniform-t", 100)
INPUT = Run("input", "", 0)  # the degraded photos as they are
CONVERGED = Run("converged", "blend", REFERENCE_NFE)


def plan(
    solvers: Iterable[str] = BASELINES + FAST,
    spacing: str | None = None,
    fitted: Mapping[str, Mapping[str, list[float]]] | None = None,
) -> list[Run]:
    """What is measured: the input, the reference, the converged PF-ODE, the solvers at their NFEs.

    Each solver on the spacing it is usually run with, those that are no baseline on `spacing`
    where that is given. `fitted` are a card's times by solver and NFE: a solver that has some is
    measured on them too.
    """
    chosen = [INPUT, REFERENCE, CONVERGED]
    for name in solvers:
        solver, baseline = SOLVERS[name], name in BASELINES
        place = solver.spacing if baseline or spacing is None else spacing
        nfes = [n for n in (BASELINE_NFES if baseline else FAST_NFES) if n >= solver.cost(1)]
        chosen += [Run(name, place, nfe) for nfe in nfes]
        own = (fitted or {}).get(name, {})
        chosen += [Run(name, OPTIMISED, nfe) for nfe in nfes if str(nfe) in own]
    return list(dict.fromkeys(chosen))


def solves(run: Run) -> bool:
    """Whether a run follows the PF-ODE, so that it has a solution to be compared with."""
    return run == CONVERGED or (run.solver in SOLVERS and not SOLVERS[run.solver].stochastic)


def evaluations(runs: Iterable[Run]) -> int:
    """The network calls of these runs on one photo, that of the solution included."""
    todo = list(runs)
    own = sum(run.nfe for run in todo if run != CONVERGED)
    return own + CONVERGED.nfe * any(map(solves, todo))


@dataclass(frozen=True)
class Damaged:
    """Clean photos (3, H, W) degraded by a task, and how good their restoration by any run is.

    `first` is the number of the first photo: a photo's number is the seed of its damage and of its
    x_T. `distance` is that of the clean photos.
    """

    restorer: Restorer
    clean: Sequence[Tensor]
    first: int
    distance: SlicedWasserstein
    task: str
    severity: float
    progress: Callable[[int], None]

    @cached_property
    def degraded(self) -> list[Tensor]:
        return [
            degrade(photo, self.task, self.severity, torch.Generator().manual_seed(seed))
            for seed, photo in enumerate(self.clean, self.first)
        ]

    @cached_property
    def converged(self) -> tuple[list[Tensor], list[float]]:
        return self.sample(CONVERGED._replace(solver=REFERENCE_SOLVER))

    def sample(self, run: Run) -> tuple[list[Tensor], list[float]]:
        """The restored photos on the CPU and the sampler's seconds on each, one at a time."""
        restored, seconds = [], []
        for seed, photo in enumerate(self.degraded, self.first):
            for step in self.restorer.trajectory(photo, self.task, seed=seed, **run._asdict()):
                last = step
            restored.append(last.x[0].cpu())
            seconds.append(last.seconds)
            self.progress(last.nfe)
        return restored, seconds

    def measure(self, run: Run, with_lpips: bool) -> Row:
        """Means over the photos: see `speedup`."""
        if run == INPUT:
            restored, seconds = self.degraded, [0.0]
        elif run == CONVERGED:
            restored, seconds = self.converged
        else:
            restored, seconds = self.sample(run)
        pairs = list(zip(restored, self.clean, strict=True))
        levels = self.distance.levels(restored)
        error = None
        if solves(run):
            squares = [rmse(*ends) ** 2 for ends in zip(restored, self.converged[0], strict=True)]
            error = 255 * math.sqrt(fmean(squares))
        return {
            "psnr": fmean(psnr(*pair) for pair in pairs),
            "ssim": fmean(ssim(*pair) for pair in pairs),
            "swd": fmean(levels),
            "lpips": fmean(lpips(*pair) for pair in pairs) if with_lpips else None,
            "rmse": error,
            "seconds": median(seconds),
        } | {f"swd_{i}": level for i, level in enumerate(levels, 1)}


def key(row: Row) -> Unit:
    """What a row measures."""
    return row["seed"], row["task"], Run(row["solver"], row["spacing"], row["nfe"])


def speedup(
    restorer: Restorer,
    photos: Sequence[Tensor],
    todo: Iterable[Unit],
    *,
    count: int,
    severity: float = 0.5,
    with_lpips: bool = False,
    progress: Callable[[int], None] = lambda evaluations: None,
) -> Iterator[Row]:
    """A row for each (seed, task, run) of `todo`, which may be a part of those there are.

    Seed k takes `count` of the clean photos (3, H, W) from number k * count on, from the start
    again where they run out. `progress` is told the network calls of each photo restored.

    Row: seed, task, solver, spacing, nfe; mean psnr in dB and ssim; swd (swd_1, ... of each level,
    the finest first, and their mean); mean lpips, or None; rmse to the converged PF-ODE from the
    same x_T in 1/255, None for what does not follow it; seconds, the median over the photos, one at
    a time.
    """
    grouped: dict[int, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for seed, task, run in todo:
        grouped[seed][task].append(run)
    warm = set()
    for seed, tasks in grouped.items():
        first = seed * count
        clean = [photos[i % len(photos)] for i in range(first, first + count)]
        distance = SlicedWasserstein(clean, seed=seed)
        for task, runs in tasks.items():
            for photo in clean:  # the first call at a size is slow, and is in nobody's time
                if photo.shape not in warm:
                    warm.add(photo.shape)
                    list(restorer.trajectory(photo, task, nfe=1))
            damaged = Damaged(restorer, clean, first, distance, task, severity, progress)
            for run in runs:
                row = {"seed": seed, "task": task} | run._asdict()
                yield row | damaged.measure(run, with_lpips)


class Comparison(NamedTuple):
    """A run beside the reference on a task: means over the seeds.

    `fewer` and `faster` are the reference's evaluations and seconds over the run's, the seconds
    being medians over all tasks and seeds: they depend on neither, but on what else the machine
    does. `psnr` is the difference in dB, `swd` the ratio, of each seed's pair, with their standard
    errors, from the spread over the seeds (None for a single one).
    """

    task: str
    run: Run
    fewer: float
    faster: float
    psnr: float
    psnr_error: float | None
    swd: float
    swd_error: float | None

    @property
    def shortfall(self) -> float:
        """By how many times what is allowed it is worse than the reference, in what is worse."""
        return max(-self.psnr / PSNR_LOSS, (self.swd - 1) / (SWD_RATIO - 1))

    @property
    def as_good(self) -> bool:
        """Whether it is at least as good as the reference, in distortion and in perception."""
        return self.psnr >= -PSNR_LOSS and self.swd <= SWD_RATIO

    @property
    def clearly(self) -> bool:
        """Whether it is by more than the standard error in both."""
        if self.psnr_error is None or self.swd_error is None:
            return False
        return self.psnr - self.psnr_error >= -PSNR_LOSS and self.swd + self.swd_error <= SWD_RATIO

    @property
    def short_of(self) -> str:
        """In what it is not."""
        short = {"PSNR": self.psnr < -PSNR_LOSS, "SWD": self.swd > SWD_RATIO}
        return ", ".join(name for name, is_short in short.items() if is_short)


def compare(rows: Iterable[Row]) -> list[Comparison]:
    """Every run beside the reference, on each task that has one, over the seeds that have both."""
    by_run: dict[tuple[str, Run], dict[int, Row]] = defaultdict(dict)
    times: dict[Run, list[float]] = defaultdict(list)
    for row in rows:
        seed, task, run = key(row)
        by_run[task, run][seed] = row
        times[run].append(row["seconds"])
    found = []
    for (task, run), own in by_run.items():
        reference = by_run.get((task, REFERENCE), {})
        pairs = [(own[seed], reference[seed]) for seed in own if seed in reference]
        if run.nfe == 0 or not pairs:
            continue
        gains = [row["psnr"] - ref["psnr"] for row, ref in pairs]
        ratios = [row["swd"] / ref["swd"] for row, ref in pairs]
        found.append(
            Comparison(
                task,
                run,
                REFERENCE.nfe / run.nfe,
                median(times[REFERENCE]) / median(times[run]),
                fmean(gains),
                _error(gains),
                fmean(ratios),
                _error(ratios),
            )
        )
    return found


def _error(values: Sequence[float]) -> float | None:
    """The standard error of their mean."""
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def is_mr(solver: str) -> bool:
    """Whether it is one of the samplers that this project is named after."""
    return solver in SOLVERS and SOLVERS[solver].family == "MR Sampler"


def best(comparisons: Iterable[Comparison]) -> dict[str, Comparison]:
    """For each task the run of fewest evaluations that is as good as the reference.

    Of several the one of least SWD. Where none is as good, the one that comes nearest.
    """

    def rank(it: Comparison) -> tuple[float, ...]:
        return (0, it.run.nfe, it.swd) if it.as_good else (1, it.shortfall)

    found: dict[str, Comparison] = {}
    for it in comparisons:
        if it.task not in found or rank(it) < rank(found[it.task]):
            found[it.task] = it
    return found


def fewest(comparisons: Iterable[Comparison]) -> list[Row]:
    """A row for each sampler: under each task the fewest evaluations that are as good there.

    Row: solver, spacing, the tasks (absent where none of its NFEs is), and fewer, the median over
    the tasks of how many times fewer than the reference's that is; a task where none is counts as
    0. Best first.
    """
    by_sampler: dict[tuple[str, str], list[Comparison]] = defaultdict(list)
    for it in comparisons:
        if it.run != CONVERGED:
            by_sampler[it.run.solver, it.run.spacing].append(it)
    found = []
    for (solver, spacing), own in by_sampler.items():
        chosen = best(own).values()
        fewer = median(it.fewer if it.as_good else 0.0 for it in chosen)
        row = {"solver": solver, "spacing": spacing, "fewer": fewer}
        found.append(row | {it.task: it.run.nfe for it in chosen if it.as_good})
    return sorted(found, key=lambda row: (row["fewer"], len(row)), reverse=True)


def solved(rows: Iterable[Row]) -> list[Row]:
    """A row for each ODE sampler: under each task the fewest evaluations that come within 2/255.

    Of the converged solution, root mean square over all photos and seeds. Row: solver, spacing, the
    tasks (absent where none of its NFEs does), and their median (None where that is one of these).
    Best first.
    """
    squares: dict[tuple[str, str], dict[str, dict[int, list[float]]]] = defaultdict(dict)
    for row in rows:
        _, task, run = key(row)
        if run != CONVERGED and solves(run):
            by_nfe = squares[run.solver, run.spacing].setdefault(task, defaultdict(list))
            by_nfe[run.nfe].append(row["rmse"] ** 2)
    found = []
    for (solver, spacing), tasks in squares.items():
        near = {
            task: [nfe for nfe, own in by_nfe.items() if math.sqrt(fmean(own)) <= SOLVED]
            for task, by_nfe in tasks.items()
        }
        reached = {task: min(nfes) for task, nfes in near.items() if nfes}
        middle = median(reached.get(task, math.inf) for task in tasks)
        row = {
            "solver": solver,
            "spacing": spacing,
            "median": middle if middle < math.inf else None,
        }
        found.append(row | reached)
    return sorted(found, key=lambda row: (row["median"] or math.inf, -len(row)))
