"""The runs of `mrsampler bench speedup`, measured.

All runs of a photo share its damage, all of a seed its x_T. A seed draws the noise of the runs
anew and nothing else, so that the spread over the seeds is what chance does to a sampler, and not
how photos differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mrsampler.bench.controls import Reading, grain, reading_of, textured
from mrsampler.bench.yardstick import Yardstick
from mrsampler.degradations import degrade
from mrsampler.metrics import rmse
from mrsampler.problem import REFERENCE_NFE, REFERENCE_SOLVER
from mrsampler.restorer import Restorer
from mrsampler.solvers import SOLVERS

Row = dict[str, Any]


class Run(NamedTuple):
    """A sampler at an NFE, or one of the fixed rows below."""

    solver: str
    spacing: str
    nfe: int


Unit = tuple[int, str, Run]
"""What a row measures: a seed, a task and a run."""

INPUT = Run("input", "", 0)  # the degraded photos as they are
ONE = Run("one evaluation", "", 1)  # the prediction at x_T, which all samplers begin with
READER, GRAIN = Run("reader", "", 0), Run("grain", "", 0)
CONVERGED_ODE = Run("converged PF-ODE", "blend", REFERENCE_NFE)
CONVERGED_SDE = Run("converged posterior", "uniform-t", 1000)  # at another NFE where that is asked


def key(row: Row) -> Unit:
    """What a row measures."""
    return row["seed"], row["task"], Run(row["solver"], row["spacing"], row["nfe"])


def solves(run: Run) -> bool:
    """Whether a run follows the PF-ODE, so that it has a solution to be compared with."""
    return run == CONVERGED_ODE or (run.solver in SOLVERS and not SOLVERS[run.solver].stochastic)


def _settings(run: Run) -> dict[str, Any]:
    """Those of `Restorer.trajectory`."""
    stands_for = {CONVERGED_ODE.solver: REFERENCE_SOLVER, CONVERGED_SDE.solver: "posterior"}
    if run == ONE:
        return {"nfe": 1}
    return run._replace(solver=stands_for.get(run.solver, run.solver))._asdict()


class Damaged:
    """Photos degraded by one task, and what samplers of one seed make of them.

    Photo i has the damage of seed i; its runs have seed `seed` * len(photos) + i.
    """

    def __init__(
        self,
        restorer: Restorer,
        yardstick: Yardstick,
        task: str,
        seed: int,
        severity: float,
        texture: float,
        progress: Callable[[int], None],
    ):
        self.restorer, self.yardstick = restorer, yardstick
        self.task, self.texture, self.progress = task, texture, progress
        self.first_seed = seed * len(yardstick.truths)
        self.degraded = [
            degrade(photo, task, severity, torch.Generator().manual_seed(i))
            for i, photo in enumerate(yardstick.truths)
        ]

    @cached_property
    def readings(self) -> list[Reading]:
        """Raises ValueError for a network that has no reader."""
        found = [reading_of(self.restorer, photo, self.task) for photo in self.degraded]
        readings = [reading for reading in found if reading is not None]
        if len(readings) < len(found):
            raise ValueError(f"{self.restorer.checkpoint.name} has no reader")
        return readings

    @cached_property
    def solutions(self) -> tuple[list[Tensor], list[float]]:
        """The converged PF-ODE."""
        return self.sample(CONVERGED_ODE)

    def sample(self, run: Run) -> tuple[list[Tensor], list[float]]:
        """The restored photos on the CPU and the sampler's seconds on each, one at a time."""
        restored, seconds = [], []
        settings = _settings(run)
        for i, photo in enumerate(self.degraded):
            seed = self.first_seed + i
            for step in self.restorer.trajectory(photo, self.task, seed=seed, **settings):
                last = step
            image = last.x0 if run == ONE else last.x
            assert image is not None
            image = image[0].cpu()
            restored.append(
                image if self.texture == 1 else textured(image, self.readings[i], self.texture)
            )
            seconds.append(last.seconds)
            self.progress(last.nfe)
        return restored, seconds

    def measure(self, run: Run) -> Row:
        """Quality, rmse to the converged PF-ODE in 1/255 (None off it) and seconds."""
        if run == GRAIN:
            own = grain(self.readings, self.yardstick, self.first_seed)
            return own | {"rmse": None, "seconds": 0.0}
        if run in (INPUT, READER):
            readings = self.readings if run == READER else []
            restored = [reading.estimate[0].cpu() for reading in readings] or self.degraded
            seconds = [0.0]
        else:
            restored, seconds = self.solutions if run == CONVERGED_ODE else self.sample(run)
        error = None
        if solves(run):
            squares = [rmse(*ends) ** 2 for ends in zip(restored, self.solutions[0], strict=True)]
            error = 255 * math.sqrt(fmean(squares))
        return self.yardstick(restored) | {"rmse": error, "seconds": median(seconds)}


class Speedup:
    """Measures runs of a restorer on clean photos (3, H, W), degraded by each task.

    texture   every sample x is replaced by reader + texture * (x - reader)
    progress  is told the network calls of each photo restored
    """

    def __init__(
        self,
        restorer: Restorer,
        photos: Sequence[Tensor],
        *,
        severity: float = 0.5,
        texture: float = 1.0,
        progress: Callable[[int], None] = lambda evaluations: None,
    ):
        self.restorer, self.yardstick = restorer, Yardstick(photos)
        self.severity, self.texture, self.progress = severity, texture, progress
        self._cases: dict[tuple[int, str], Damaged] = {}

    def rows(self, todo: Iterable[Unit]) -> Iterator[Row]:
        """A row for each unit, as it is done.

        Row: seed, task, solver, spacing, nfe; psnr in dB, ssim, alex, vgg and swd (see
        `Yardstick`); rmse to the converged PF-ODE from the same x_T in 1/255, None for what does
        not follow it; seconds, the median over the photos. The row of GRAIN has the best tau of
        each measure besides.
        """
        for seed, task, run in todo:
            yield {"seed": seed, "task": task} | run._asdict() | self._case(seed, task).measure(run)

    def evaluations(self, todo: Iterable[Unit]) -> int:
        """The network calls of these, those of the solutions that are yet to be made included."""
        units = list(todo)
        own = sum(run.nfe for _, _, run in units if run != CONVERGED_ODE)
        places = {(seed, task) for seed, task, run in units if solves(run)}
        known = {place for place, case in self._cases.items() if "solutions" in vars(case)}
        each = own + CONVERGED_ODE.nfe * len(places - known)
        return each * len(self.yardstick.truths)

    def _case(self, seed: int, task: str) -> Damaged:
        if (seed, task) not in self._cases:
            if not self._cases:  # the first call at a size is slow, and is not timed
                for photo in self.yardstick.truths:
                    list(self.restorer.trajectory(photo, task, nfe=1))
            self._cases[seed, task] = Damaged(
                self.restorer,
                self.yardstick,
                task,
                seed,
                self.severity,
                self.texture,
                lambda evaluations: self.progress(evaluations),
            )
        return self._cases[seed, task]
