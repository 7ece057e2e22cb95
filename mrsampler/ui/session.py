"""What the page and the endpoints share: the subject, the networks, the line, work on the GPU."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from torch import Tensor

from mrsampler import checkpoints, hub, restorer
from mrsampler.photo import Photo
from mrsampler.restorer import Restorer
from mrsampler.run import Run, cut
from mrsampler.size import OWN, WORKING_SIDE, is_local
from mrsampler.ui.hardware import gpu
from mrsampler.ui.queue import Queue, duration

QUEUE = Queue()

MOST_MEGAPIXELS = 4
"""That are damaged, or evaluated by tiles: ten seconds an evaluation on a laptop."""

device: str | None = None
"""Where the networks run: a torch device, or None for the GPU if there is one."""


_readings: dict[str, Future[Restorer]] = {}
_asking = threading.Lock()


def load(checkpoint: str) -> Restorer:
    """A checkpoint, read once for all visitors, also for those who ask at once."""
    return _reading(checkpoint).result()


def loaded(checkpoint: str) -> bool:
    """Whether `load` has a checkpoint at once."""
    return checkpoint in _readings and _is_read(_readings[checkpoint])


def under_way(checkpoint: str) -> bool:
    """Whether a checkpoint is being read, so that `load` would have to wait."""
    return checkpoint in _readings and not _readings[checkpoint].done()


@dataclass(frozen=True)
class Arrival:
    """How far a checkpoint is that is being read: a sentence, and what of it has been fetched.

    `done` of `total` bytes; both None where nothing is being fetched.
    """

    says: str
    done: int | None = None
    total: int | None = None

    @property
    def share(self) -> float | None:
        return self.done / self.total if self.total and self.done is not None else None


def arrival(checkpoint: str) -> Iterator[Arrival]:
    """Twice a second how far a checkpoint is, until `load` has it at once.

    Raises what reading it raises. It is read on, for others and for later, when nobody listens.
    """
    reading = _reading(checkpoint)
    while wait([reading], 0.5).not_done:
        yield _how_far(checkpoint)
    reading.result()


def _reading(checkpoint: str) -> Future[Restorer]:
    """The one attempt to read a checkpoint, under way or done; one that has failed is made again.

    In a thread that ends with the program, however much it still had to fetch. Raises gr.Error for
    a checkpoint that is not offered: a visitor names none of his own.
    """
    with _asking:
        reading = _readings.get(checkpoint)
        if reading is None and checkpoint not in checkpoints.offered():
            sentence = f"There is no checkpoint {cut(checkpoint)} here."
            raise gr.Error(sentence, print_exception=False)
        if reading is None or (reading.done() and not _is_read(reading)):
            reading = _readings[checkpoint] = Future()
            threading.Thread(target=_read, args=(checkpoint, reading), daemon=True).start()
        return reading


def _read(checkpoint: str, reading: Future[Restorer]) -> None:
    try:
        reading.set_result(restorer.load(checkpoint, device))
    except BaseException as error:
        reading.set_exception(error)


def _is_read(reading: Future[Restorer]) -> bool:
    return reading.done() and reading.exception() is None


def _how_far(checkpoint: str) -> Arrival:
    progress = hub.progress(checkpoint)
    if progress is None or progress.done >= progress.total:
        return Arrival(f"Making {checkpoint} ready: some seconds more.")
    done, total = progress.done, progress.total
    digits = 0 if total >= 1e7 else 1
    says = f"Fetching {checkpoint}, this once: {done / 1e6:.{digits}f} of "
    says += f"{total / 1e6:.{digits}f}\u00a0MB"
    gone = time.monotonic() - progress.began
    if gone > 3 and done > total / 100:
        says += f", about {duration(gone * (total - done) / done)} left"
    return Arrival(f"{says}.", done, total)


@dataclass(frozen=True)
class Subject:
    """What is to be restored: the damaged photo, and at the size of the runs that are shown the
    degraded picture and, if known, the truth.
    """

    source: Photo
    degraded: Tensor
    truth: Tensor | None

    @property
    def small(self) -> Photo:
        """The damaged photo at the size of the runs."""
        return replace(self.source, rgb=self.degraded)

    @property
    def scaled(self) -> bool:
        """Whether the damaged photo is larger than what is shown of it."""
        return self.source.rgb.shape != self.degraded.shape

    @property
    def note(self) -> str | None:
        """One sentence if the photo had to be scaled down."""
        height, width = self.degraded.shape[1:]
        if (width, height) == self.source.size:
            return None
        was, now = "{} \u00d7 {}".format(*self.source.size), f"{width} \u00d7 {height}"
        if self.scaled:
            return f"Shown and measured at {now}; the result has the photo's own size, {was}."
        return f"Scaled down from {was} to {now} for the run."


def subject(photo: Photo, asked: Run) -> Subject:
    """A run's photo made ready: if it is clean, degraded, and scaled down for what is shown.

    A clean photo is scaled down first to a size in pixels. With OWN it is degraded as it is, and
    runs are shown within WORKING_SIDE. Raises gr.Error for a photo too large for that.
    """
    if asked.size == OWN:
        check_own_size(photo, asked.clean or is_local(asked.task))
    side = WORKING_SIDE if asked.size == OWN else int(asked.size)
    source = asked.damaged(photo)
    truth = photo.within(side).rgb if asked.clean else None
    return Subject(source, source.within(side).rgb, truth)


def check_own_size(photo: Photo, whole: bool) -> None:
    """Raises gr.Error for a photo too large to be damaged or evaluated `whole` here."""
    megapixels = photo.rgb[0].numel() / 1e6
    if whole and megapixels > MOST_MEGAPIXELS:
        sentence = (
            f"At its own size a photo may have up to {MOST_MEGAPIXELS} megapixels here, and this "
            f"one has {megapixels:.1f}: choose a size in pixels, or use the command line."
        )
        raise gr.Error(sentence, print_exception=False)


@gpu
def estimate(asked: Run, degraded: Tensor) -> Iterator[Tensor]:
    """What the run's network takes for the mean, (3, H, W) on the CPU; nothing if it reads none."""
    if (reading := load(asked.checkpoint).reading(degraded, asked.task)) is not None:
        yield reading.estimate[0].cpu()


@gpu
def restoration(asked: Run, degraded: Tensor) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """A run's sampler alone, where the GPU is: after each step its numbers and x_t, on the CPU."""
    restorer = load(asked.checkpoint)
    restorer.warm(degraded, asked.task)  # in nobody's time
    for step in restorer.trajectory(degraded, asked.task, seed=asked.seed, **asked.sampler):
        report = {"nfe": step.nfe, "t": step.t, "lambda": step.lam}
        yield report | {"seconds": round(step.seconds, 4)}, step.x[0].cpu()
