"""What the page and the endpoints share: the subject, the networks, the line, work on the GPU."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from gradio.processing_utils import save_pil_to_cache
from PIL import Image
from torch import Tensor

from mrsampler import restorer
from mrsampler.degradations import degrade
from mrsampler.photo import Photo
from mrsampler.restorer import Restorer
from mrsampler.ui.hardware import crosses_processes, gpu
from mrsampler.ui.live import Entrant, LiveRace, Moment, Pin
from mrsampler.ui.turnstile import Turnstile

QUEUE = Turnstile()

device: str | None = None
"""Where the networks run: a torch device, or None for the GPU if there is one."""


_loaded: dict[str, Restorer] = {}
_loading: dict[str, threading.Lock] = {}


def load(checkpoint: str) -> Restorer:
    """A checkpoint, read once for all visitors, also for those who ask at once."""
    with _loading.setdefault(checkpoint, threading.Lock()):
        if checkpoint not in _loaded:
            _loaded[checkpoint] = restorer.load(checkpoint, device)
        return _loaded[checkpoint]


@dataclass(frozen=True)
class Subject:
    """What is to be restored: the photo as given, the degraded picture, and the truth if known."""

    source: Photo
    degraded: Tensor
    truth: Tensor | None

    @property
    def note(self) -> str | None:
        """One sentence if the photo had to be scaled down."""
        height, width = self.degraded.shape[1:]
        if (width, height) == self.source.size:
            return None
        was = "{} \u00d7 {}".format(*self.source.size)
        return f"Scaled down from {was} to {width} \u00d7 {height} for the run."


def subject(
    photo: Photo, damage: bool, task: str, severity: float, seed: int, largest_side: int | None
) -> Subject:
    """A photo made ready: scaled down and, if it is clean, degraded from `seed`.

    `largest_side` None leaves it at full resolution.
    """
    source = photo.within(largest_side)
    if not damage:
        return Subject(source, source.rgb, None)
    generator = torch.Generator().manual_seed(seed)
    return Subject(source, degrade(source.rgb, task, severity, generator), source.rgb)


def race(
    checkpoint: str,
    shown: Subject,
    task: str,
    entrants: list[Entrant],
    seed: int,
    stop: threading.Event,
    pins: Sequence[Pin] = (),
) -> Iterator[Moment]:
    """A race where the GPU is; it ends before the next evaluation once `stop` is set."""
    seen = None if crosses_processes() else stop
    moments = _race(checkpoint, shown.degraded, shown.truth, task, entrants, seed, pins, seen)
    try:
        for moment in moments:
            yield moment
            if stop.is_set():
                return
    finally:
        moments.close()  # type: ignore[attr-defined]


@gpu
def _race(
    checkpoint: str,
    degraded: Tensor,
    truth: Tensor | None,
    task: str,
    entrants: list[Entrant],
    seed: int,
    pins: Sequence[Pin],
    stop: threading.Event | None,
) -> Iterator[Moment]:
    restorer = load(checkpoint)
    restorer.warm(degraded, task, together=len(entrants))  # in nobody's time
    live = LiveRace(restorer, degraded, truth, task, entrants, seed, pins)
    yield from live.moments(stop.is_set if stop else lambda: False)


@gpu
def restoration(
    checkpoint: str, degraded: Tensor, task: str, settings: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """One sampler's run where the GPU is: after each step its numbers and x_t, on the CPU."""
    restorer = load(checkpoint)
    restorer.warm(degraded, task)  # in nobody's time
    for step in restorer.trajectory(degraded, task, **settings):
        report = {"nfe": step.nfe, "t": step.t, "lambda": step.lam}
        yield report | {"seconds": round(step.seconds, 4)}, step.x[0].cpu()


def save(picture: Image.Image, name: str) -> str:
    """The picture as NAME.png in gradio's cache, which is emptied by age."""
    folder = Path(gr.utils.get_upload_folder())
    return save_pil_to_cache(picture, str(folder), name=name, format="png")


def save_bytes(content: bytes, name: str) -> str:
    """The content as a file NAME in gradio's cache, where no other visitor can guess it."""
    folder = Path(gr.utils.get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    return str(folder / name)
