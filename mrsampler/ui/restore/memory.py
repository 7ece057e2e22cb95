"""What the page remembers of a visitor's runs: frames in 8 bits under a cap, freed when they go."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mrsampler.photo import Photo, to_uint8
from mrsampler.run import Run
from mrsampler.size import result
from mrsampler.ui.parts.charts import COLOURS
from mrsampler.ui.parts.files import discard
from mrsampler.ui.restore.live import Entrant, Pin, Result, Still
from mrsampler.ui.session import estimate

PER_RUN = 240 * 2**20
"""Bytes; 100 evaluations beside 8 at 512 x 512 pixels are 175 MB while they run, then 110."""

FOR_ALL = 2**30
"""Bytes; beyond, those who have been away longest are forgotten."""

LINGER = 20.0
"""Seconds for which the files of one who has left stay: a request for one may be under way."""

PIN_KEYS = tuple(COLOURS)[2:]


@dataclass
class Sample:
    """A run's sample (3, H, W) of a photo as it was `seen`; its estimate, once it was asked for."""

    source: Photo
    seen: Photo
    x: Tensor
    estimate: Tensor | None = None

    def picture(self, asked: Run) -> Image.Image:
        """The result of the photo's own size, mixed with the estimate by the run's texture."""
        x = self.x
        if asked.texture < 1:
            if self.estimate is None:
                (self.estimate,) = estimate(asked, self.seen.rgb)
            x = torch.lerp(self.estimate, x, asked.texture)
        return result(self.source, self.seen, asked.task, x)

    @property
    def size(self) -> int:
        """Bytes."""
        held = [self.source.rgb, self.seen.rgb, self.x, self.estimate]
        return sum(x.nbytes for x in held if x is not None)


@dataclass
class RunResult:
    """A run of the page as far as it got: its stills by sampler, and the plot at its end.

    The first entrant's sample is the result, mixed from `sample` while that is here. `digests` are
    those of its pictures: photo, degraded and restored. `stopped` has the NFE at which it was
    stopped, by the key of each entrant that had not finished. `files` were made of it.
    """

    name: str
    asked: Run
    entrants: tuple[Entrant, ...]
    digests: dict[str, str]
    stopped: dict[str, int] = field(default_factory=dict)
    sample: Sample | None = None
    stills: dict[str, list[Still]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def add(self, stills: list[Still]) -> None:
        """Keeps what is new; where that is too much, every other frame of the longest goes."""
        for still in stills:
            self.stills.setdefault(still.key, []).append(still)
        while self.size > PER_RUN and max(map(len, self.stills.values())) > 2:
            key = max(self.stills, key=lambda k: len(self.stills[k]))
            kept = self.stills[key]
            self.stills[key] = kept[:-1:2] + kept[-1:]

    def end(self, results: Sequence[Result]) -> None:
        """Notes where it was stopped, if it was."""
        self.stopped = {r.entrant.key: r.nfe for r in results if not r.done}

    @property
    def stopped_at(self) -> int | None:
        """The NFE of the result where its sampler was stopped."""
        return self.stopped.get(self.entrants[0].key)

    @property
    def command(self) -> str | None:
        """A command that repeats it; None for a stopped run, as a command always finishes."""
        return self.asked.to_command() if self.stopped_at is None else None

    @property
    def python(self) -> str:
        """A program that repeats it: where the run was stopped, it stops as well."""
        return self.asked.to_python(self.stopped_at)

    @property
    def subject(self) -> str:
        """What lines can be compared on: the degraded picture."""
        return self.digests["degraded"]

    @property
    def size(self) -> int:
        """Bytes of frames and of what the result is mixed from."""
        frames = sum(map(_size, (still for kept in self.stills.values() for still in kept)))
        return frames + (self.sample.size if self.sample else 0)

    def pin(self, key: str, name: str) -> Pin:
        """Sampler `key`'s line under another name: x_T, what was measured whole, and the end."""
        entrant = next(e for e in self.entrants if e.key == key)
        kept = self.stills[key]
        thinned = [s for s in kept if s.nfe == 0 or s.x0 is not None or s is kept[-1]]
        return Pin(name, entrant.label, entrant.nfe, tuple(thinned))


@dataclass
class _Visitor:
    run: RunResult | None = None
    stale: list[str] = field(default_factory=list)  # files of the run before
    pins: dict[str, tuple[str, Pin]] = field(default_factory=dict)  # the subject, and its line

    @property
    def size(self) -> int:
        stills = [still for _, pin in self.pins.values() for still in pin.stills]
        return sum(map(_size, stills)) + (self.run.size if self.run else 0)


class Memory:
    """The latest run and the pinned lines of each visitor, by session."""

    def __init__(self) -> None:
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, session: str, run: RunResult) -> None:
        """In place of the run before, whose files are discarded with the next: the browser may
        still be fetching them.
        """
        with self._lock:
            visitor = self._visitor(session)
            gone, visitor.stale = visitor.stale, visitor.run.files if visitor.run else []
            visitor.run = run
            while sum(v.size for v in self._visitors.values()) > FOR_ALL:
                if len(self._visitors) == 1:
                    break
                self._visitors.popitem(last=False)
        for path in gone:
            discard(path)

    def run(self, session: str) -> RunResult | None:
        """The visitor's latest run, if it is still known."""
        with self._lock:
            return self._visitor(session).run

    def pins(self, session: str, subject: str) -> list[Pin]:
        """The lines pinned on that subject."""
        with self._lock:
            pinned = self._visitor(session).pins.values()
            return [pin for of, pin in pinned if of == subject]

    def others(self, session: str, subject: str) -> bool:
        """Whether lines are pinned on another subject."""
        with self._lock:
            return any(of != subject for of, _ in self._visitor(session).pins.values())

    def pin(self, session: str, key: str) -> Pin | None:
        """Pins sampler `key` of the latest run; None where that is gone or no place is free.

        The place of a line on another subject counts as free.
        """
        with self._lock:
            visitor = self._visitor(session)
            run, pins = visitor.run, visitor.pins
            if run is None or key not in run.stills:
                return None
            free = [name for name in PIN_KEYS if name not in pins]
            free += [name for name in PIN_KEYS if name in pins and pins[name][0] != run.subject]
            if not free:
                return None
            pins[free[0]] = run.subject, run.pin(key, free[0])
            return pins[free[0]][1]

    def unpin(self, session: str, key: str) -> None:
        """Forgets a pinned line."""
        with self._lock:
            self._visitor(session).pins.pop(key, None)

    def forget(self, session: str, linger: float = LINGER) -> None:
        """Frees all that is a visitor's: memory at once, files after `linger` seconds."""
        with self._lock:
            visitor = self._visitors.pop(session, _Visitor())
        for path in visitor.stale + (visitor.run.files if visitor.run else []):
            later = threading.Timer(linger, discard, (path,))
            later.daemon = True  # the cache is emptied with the server
            later.start()

    def _visitor(self, session: str) -> _Visitor:
        visitor = self._visitors.setdefault(session, _Visitor())
        self._visitors.move_to_end(session)
        return visitor


def digest(image: Tensor) -> str:
    """SHA-256 of the bytes of (3, H, W) in 8 bits, as of Pillow's `Image.tobytes()`."""
    return hashlib.sha256(to_uint8(image).contiguous().numpy().tobytes()).hexdigest()


def _size(still: Still) -> int:
    frames = [still.x, still.x0] if still.x0 else [still.x]
    return sum(frame.pixels.nbytes for frame in frames)
