"""A race as a stream of moments for the page: frames, numbers and the trajectory plot."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mrsampler import metrics
from mrsampler.advice import advice
from mrsampler.restorer import Restorer
from mrsampler.solvers import SOLVERS
from mrsampler.trajectory import Step, race
from mrsampler.ui.figures import BLUE, VERMILION, Line, TrajectoryPlot
from mrsampler.ui.frames import jpeg

UPDATES_PER_SECOND = 12


@dataclass(frozen=True)
class Entrant:
    """A sampler in a race: `label` is what the page calls it, `nfe` the most it may spend."""

    key: str
    label: str
    solver: str
    nfe: int
    spacing: str


@dataclass(frozen=True)
class Result:
    """Where a sampler is by now: x_t (3, H, W) on the CPU, and its numbers."""

    entrant: Entrant
    image: Tensor
    nfe: int
    seconds: float
    psnr: float | None
    ssim: float | None
    done: bool


@dataclass(frozen=True)
class Moment:
    """What the page is told at once: the frames since the last moment, and where all are by now.

    Plain values and CPU tensors: on ZeroGPU it comes out of another process.
    """

    frames: list[dict[str, Any]]
    figures: dict[str, Any]
    results: list[Result]
    advice: str | None


class LiveRace:
    """Two samplers from one x_T over one network, one step each a tick."""

    def __init__(
        self,
        restorer: Restorer,
        degraded: Tensor,
        truth: Tensor | None,
        task: str,
        entrants: Sequence[Entrant],
        seed: int,
    ):
        self._degraded, self._truth, self._task = degraded, truth, task
        self._entrants = entrants
        process = restorer.process
        # Where sigma_0 = 0 one step more goes there.
        self._end = 0.0 if process.lam(0.0) == math.inf else process.t_min
        self._runs = [
            restorer.trajectory(
                degraded, task, seed=seed, solver=e.solver, nfe=e.nfe, spacing=e.spacing
            )
            for e in entrants
        ]
        lines = tuple(
            Line(e.key, e.label, colour)
            for e, colour in zip(entrants, (BLUE, VERMILION), strict=True)
        )
        # On the frames' own device, so that they are not copied to be projected.
        device = restorer.device
        self._plot = TrajectoryPlot(
            lines, degraded.to(device), None if truth is None else truth.to(device)
        )
        self._latest: dict[str, tuple[Step, Result]] = {}

    def moments(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[Moment]:
        """From x_T to the last step, at most UPDATES_PER_SECOND; every frame is in one of them.

        Closing it, or `stopped`, ends the race before the next evaluation. Raises
        FloatingPointError if the network returns values that are not finite.
        """
        frames: list[dict[str, Any]] = []
        sentence, due, late = None, 0.0, False
        ticks = race(*self._runs)
        try:
            for index, steps in enumerate(ticks):
                frames.append(self._frame(index, steps))
                if index == 1:
                    sentence = advice(self._degraded, self._task, steps[0].x0)
                if time.perf_counter() >= due:
                    yield self._moment(frames, sentence)
                    frames, due = [], time.perf_counter() + 1 / UPDATES_PER_SECOND
                if stopped():
                    break
            else:
                late = self._finish()
        finally:
            ticks.close()  # type: ignore[attr-defined]
        if frames or late:
            yield self._moment(frames, sentence)

    def _moment(self, frames: list[dict[str, Any]], sentence: str | None) -> Moment:
        figures = {str(n): self._plot.figure(n) for n in (2, 3)}
        return Moment(frames, figures, [result for _, result in self._latest.values()], sentence)

    def _frame(self, index: int, steps: tuple[Step, ...]) -> dict[str, Any]:
        """What is new at a tick: nothing, for a sampler that is done."""
        frame: dict[str, Any] = {"index": index}
        for entrant, step in zip(self._entrants, steps, strict=True):
            if entrant.key in self._latest and self._latest[entrant.key][0] is step:
                continue
            result = self._measure(entrant, step)
            self._latest[entrant.key] = step, result
            self._plot.add(entrant.key, step, result.psnr)
            frame[entrant.key] = _panel(step, result)
        return frame

    def _finish(self) -> bool:
        """Marks all as done. True for news: one that ended elsewhere than at the process's end."""
        late = not all(result.done for _, result in self._latest.values())
        for key, (step, result) in self._latest.items():
            self._latest[key] = step, replace(result, done=True)
        return late

    def _done(self, entrant: Entrant, step: Step) -> bool:
        """Whether this is its last step, which may leave some of its NFE unspent."""
        if SOLVERS[entrant.solver].own_nodes:
            return step.nfe >= entrant.nfe  # as published it does not reach the end
        return step.t <= self._end

    def _measure(self, entrant: Entrant, step: Step) -> Result:
        image = step.x[0].cpu()
        quality: tuple[float | None, float | None] = (None, None)
        if self._truth is not None:
            quality = metrics.psnr(image, self._truth), metrics.ssim(image, self._truth)
        return Result(entrant, image, step.nfe, step.seconds, *quality, self._done(entrant, step))


def _panel(step: Step, result: Result) -> dict[str, Any]:
    return {
        "x": jpeg(result.image),
        "x0": jpeg(result.image if step.x0 is None else step.x0[0]),
        "nfe": step.nfe,
        "t": step.t,
        "lam": step.lam,
        "seconds": step.seconds,
        "psnr": result.psnr,
        "ssim": result.ssim,
        "done": result.done,
    }
