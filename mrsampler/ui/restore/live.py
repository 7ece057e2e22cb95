"""A race as a stream of moments for the page: frames, numbers and the trajectory plot."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from mrsampler.advice import advice
from mrsampler.metrics import psnr
from mrsampler.restorer import Restorer
from mrsampler.run import Run
from mrsampler.solvers import SOLVERS
from mrsampler.trajectory import Step
from mrsampler.ui.hardware import crosses_processes, gpu
from mrsampler.ui.parts.charts import COLOURS
from mrsampler.ui.parts.frames import ByteImage, jpeg, within
from mrsampler.ui.parts.quality import Judge, Quality, due_after
from mrsampler.ui.queue import THROUGHPUT, duration
from mrsampler.ui.restore.figures import Line, TrajectoryPlot
from mrsampler.ui.session import Subject, load, restoration

UPDATES_PER_SECOND, FIGURES_PER_SECOND = 4.0, 2.0
ALONE = 0.5
"""The share of these while one sampler goes on alone, as a baseline does for most of a race: what
the page is told takes time of the cores that the network needs."""


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
    """Where a sampler is by now: x_t (3, H, W) on the CPU."""

    entrant: Entrant
    image: Tensor
    nfe: int
    seconds: float
    done: bool


@dataclass(frozen=True)
class Still:
    """What is kept of one step of sampler `key`.

    `of_x` and `of_x0` are the qualities of x_t and of the predicted x_0, None without a truth: the
    PSNR at once, the rest by `measured` where the step is `judged`. `done` marks the last step: its
    x_t is the sample. While a race runs `x0` is there for all steps, as the page gets the pictures
    of those that it has not `shown` once the race is over; `lasting` drops what is not judged.
    """

    key: str
    index: int
    nfe: int
    t: float
    lam: float
    seconds: float
    x: ByteImage
    x0: ByteImage | None
    of_x: Quality | None
    of_x0: Quality | None
    done: bool
    judged: bool = True
    shown: bool = True

    @property
    def psnr(self) -> float | None:
        """That of x_t, in dB."""
        return self.of_x.psnr if self.of_x else None

    @property
    def numbers(self) -> dict[str, Any]:
        """What the page shows of it: all but the pictures, as plain values."""
        return {
            "step": self.index,
            "nfe": self.nfe,
            "t": self.t,
            "lam": self.lam,
            "seconds": self.seconds,
            "of_x": self.of_x and asdict(self.of_x),
            "of_x0": self.of_x0 and asdict(self.of_x0),
            "done": self.done,
        }

    @property
    def pictures(self) -> dict[str, str]:
        """x_t and the predicted x_0, for the page."""
        return {"x": jpeg(self.x.image), "x0": jpeg((self.x0 or self.x).image)}


@dataclass(frozen=True)
class Pin:
    """A sampler of an earlier run on the same photo, whose line stays: its stills, thinned."""

    key: str
    label: str
    nfe: int
    stills: tuple[Still, ...]


@dataclass(frozen=True)
class Moment:
    """What the page is told at once: the frames since the last moment, and where all are by now.

    The last frame of each sampler has its pictures. `stills` are what to keep of those frames;
    `figures` are empty where the last ones are new enough, never at the end. Plain values and CPU
    tensors: on ZeroGPU it comes out of another process.
    """

    frames: list[dict[str, Any]]
    figures: dict[str, Any]
    results: list[Result]
    advice: str | None
    stills: list[Still]


class _StoppedError(Exception):
    """The race is to end now."""


class LiveRace:
    """Two samplers from one x_T over one network, one step each a tick.

    The lines of `pins` are drawn beside theirs, in one basis.
    """

    def __init__(
        self,
        restorer: Restorer,
        degraded: Tensor,
        truth: Tensor | None,
        task: str,
        entrants: Sequence[Entrant],
        seed: int,
        pins: Sequence[Pin] = (),
    ):
        self._degraded, self._task = degraded, task
        self._entrants = entrants
        process = restorer.process
        # Where sigma_0 = 0 one step more goes there.
        self._end = 0.0 if process.lam(0.0) == math.inf else process.t_min
        settings = [{"solver": e.solver, "nfe": e.nfe, "spacing": e.spacing} for e in entrants]
        self._stopped: Callable[[], bool] = lambda: False
        self._ticks = restorer.race(degraded, task, settings, seed=seed, on_tile=self._on_tile)
        labels = {e.key: e.label for e in entrants} | {pin.key: pin.label for pin in pins}
        lines = tuple(Line(key, label, COLOURS[key]) for key, label in labels.items())
        # On the frames' own device, so that they are not copied to be projected.
        shown, truth = within(degraded), None if truth is None else within(truth)
        device, self._drawn = restorer.device, -math.inf
        self._plot = TrajectoryPlot(
            lines, shown.to(device), None if truth is None else truth.to(device)
        )
        for pin in pins:
            for still in pin.stills:
                step = Step(
                    still.index, still.t, still.lam, still.x.image, None, still.nfe, still.seconds
                )
                self._plot.add(pin.key, step, still.psnr)
        self._truth = truth
        self._due = {entrant.key: 0 for entrant in entrants}
        self._latest: dict[str, tuple[Step, Result]] = {}
        self._newest: dict[str, dict[str, Tensor]] = {}  # the pictures of the latest steps

    def moments(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[Moment]:
        """From x_T to the last step, at most UPDATES_PER_SECOND; every frame is in one of them.

        Closing it, or `stopped`, ends the race before the next evaluation. Raises
        FloatingPointError if the network returns values that are not finite.
        """
        frames: list[dict[str, Any]] = []
        stills: list[Still] = []
        sentence, due, whole, late = None, 0.0, False, False
        self._stopped = stopped
        try:
            for index, steps in enumerate(self._ticks):
                frame, new = self._frame(index, steps)
                frames.append(frame)
                stills += new
                if index == 1:
                    sentence = advice(self._degraded, self._task, steps[0].x0)
                if time.perf_counter() >= due:
                    moment = self._moment(frames, sentence, stills)
                    whole = bool(moment.figures)
                    yield moment
                    frames, stills, due = (
                        [],
                        [],
                        time.perf_counter() + self._apart(UPDATES_PER_SECOND),
                    )
                if stopped():
                    break
            else:
                late = self._finish()
        except _StoppedError:
            pass
        finally:
            self._ticks.close()  # type: ignore[attr-defined]
        if frames or late or not whole:
            self._drawn = -math.inf
            yield self._moment(frames, sentence, stills)

    def _apart(self, rate: float) -> float:
        """The seconds between two of so many a second."""
        running = sum(not result.done for _, result in self._latest.values())
        return 1 / (rate if running > 1 else ALONE * rate)

    def _on_tile(self, spent: float) -> None:
        """At full resolution an evaluation takes long: it ends within it."""
        if self._stopped():
            raise _StoppedError

    def _moment(
        self, frames: list[dict[str, Any]], sentence: str | None, stills: list[Still]
    ) -> Moment:
        figures, now = {}, time.perf_counter()
        if now >= self._drawn + self._apart(FIGURES_PER_SECOND):
            figures, self._drawn = {str(n): self._plot.figure(n) for n in (2, 3)}, now
        last = {key: frame for frame in frames for key in frame.keys() & self._newest.keys()}
        for key, frame in last.items():
            frame[key] |= {name: jpeg(image) for name, image in self._newest[key].items()}
        seen = {(key, frame[key]["step"]) for key, frame in last.items()}
        stills = [replace(s, shown=True) if (s.key, s.index) in seen else s for s in stills]
        results = [result for _, result in self._latest.values()]
        return Moment(frames, figures, results, sentence, stills)

    def _frame(self, index: int, steps: tuple[Step, ...]) -> tuple[dict[str, Any], list[Still]]:
        """What is new at a tick: nothing, for a sampler that is done."""
        frame: dict[str, Any] = {"index": index}
        stills = []
        for entrant, step in zip(self._entrants, steps, strict=True):
            key = entrant.key
            if key in self._latest and self._latest[key][0] is step:
                continue
            done = self._done(entrant, step)
            image = step.x[0].cpu().contiguous()  # what follows takes half the time on such
            self._latest[key] = step, Result(entrant, image, step.nfe, step.seconds, done)
            pictures = [within(image)]
            if step.x0 is not None:
                pictures.append(within(step.x0[0]).cpu().contiguous())
            still = self._still(key, step, pictures, done)
            shown = step if image is pictures[0] else replace(step, x=pictures[0][None])
            self._plot.add(key, shown, still.psnr)
            self._newest[key] = {"x": pictures[0], "x0": pictures[-1]}
            frame[key] = still.numbers
            stills.append(still)
        return frame, stills

    def _still(self, key: str, step: Step, pictures: list[Tensor], done: bool) -> Still:
        """Its PSNRs are measured at once, the rest once the race has ended: it would slow it."""
        judged = done or step.nfe >= self._due[key]
        if judged:
            self._due[key] = due_after(step.nfe)
        predicted = pictures[1] if len(pictures) > 1 else None
        return Still(
            key,
            step.index,
            step.nfe,
            step.t,
            step.lam,
            step.seconds,
            ByteImage.of(pictures[0]),
            None if predicted is None else ByteImage.of(predicted.clamp(0, 1)),
            self._psnr(pictures[0]),
            None if predicted is None else self._psnr(predicted),
            done,
            judged,
            shown=False,
        )

    def _psnr(self, picture: Tensor) -> Quality | None:
        return None if self._truth is None else Quality(psnr(picture, self._truth))

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


def ended(stills: Sequence[Still]) -> list[Still]:
    """The stills of one sampler whose run is over: the last is judged, wherever it was stopped."""
    return [*stills[:-1], replace(stills[-1], judged=True)]


def measured(stills: Sequence[Still], truth: Tensor) -> list[Still]:
    """The stills of one sampler with the quality of each x_0 that was kept, and of the sample,
    which alone is worth the time of ST-LPIPS. `truth` is (3, H, W), as large as they are.
    """
    judge = Judge(truth)

    def whole(quality: Quality | None, found: Quality) -> Quality:
        return replace(found, psnr=quality.psnr) if quality else found  # that of its 32 bits

    return [
        replace(
            still,
            of_x=whole(still.of_x, judge(still.x.image)) if still.done else still.of_x,
            of_x0=whole(still.of_x0, judge.without_learned(still.x0.image))
            if still.x0 and still.judged
            else still.of_x0,
        )
        for still in stills
    ]


def lasting(stills: Sequence[Still]) -> list[Still]:
    """What is kept of a sampler's stills once the page has all that it gets of them."""
    return [replace(s, x0=s.x0 if s.judged else None, shown=True) for s in stills]


def distances(stills: Sequence[Still]) -> list[float | None]:
    """How far each predicted x_0 of one sampler is from its last x_t, root mean square in 1/255.

    Of pictures in 8 bits; None where it was not to be judged.
    """
    if not stills:
        return []
    sample = stills[-1].x.image.clamp(0, 1)

    def distance(still: Still) -> float | None:
        if still.x0 is None or not still.judged:
            return None
        return 255 * (still.x0.image - sample).square().mean().sqrt().item()

    return [distance(still) for still in stills]


def race(
    asked: Run,
    shown: Subject,
    entrants: Sequence[Entrant],
    stop: threading.Event,
    pins: Sequence[Pin] = (),
) -> Iterator[Moment]:
    """A run's race where the GPU is; it ends before the next evaluation once `stop` is set.

    Closing it sets `stop`: the moment under way ends, too, and gradio, which closes where all of
    its events are handled, does not wait for it.
    """
    seen = None if crosses_processes() else stop
    moments = _race(asked, shown.degraded, shown.truth, entrants, pins, seen)
    try:
        for moment in moments:
            yield moment
            if seen is None and stop.is_set():
                return
    finally:
        stop.set()
        moments.close()  # type: ignore[attr-defined]


@partial(gpu, ahead=True)
def _race(
    asked: Run,
    degraded: Tensor,
    truth: Tensor | None,
    entrants: Sequence[Entrant],
    pins: Sequence[Pin],
    stop: threading.Event | None,
) -> Iterator[Moment]:
    restorer = load(asked.checkpoint)
    restorer.warm(degraded, asked.task, together=len(entrants))  # in nobody's time
    live = LiveRace(restorer, degraded, truth, asked.task, entrants, asked.seed, pins)
    yield from live.moments(stop.is_set if stop else lambda: False)


def own_size(asked: Run, shown: Subject, label: str) -> Iterator[tuple[str, Tensor]]:
    """The damaged photo restored whole: after each step a sentence on how far it is, and x_t."""
    pixels, began = shown.source.rgb[0].numel(), time.monotonic()
    left = THROUGHPUT.seconds(asked.checkpoint, pixels, asked.nfe)
    for report, x in restoration(asked, shown.source.rgb):
        spent = report["nfe"]
        if spent:
            left = (time.monotonic() - began) / spent * (asked.nfe - spent)
        size = "{} \u00d7 {}".format(*shown.source.size)
        word = f"{label} now restores the photo at its own {size}: {spent} of {asked.nfe}"
        yield f"{word} NFE{f', about {duration(left)} left' if left else ''}.", x
