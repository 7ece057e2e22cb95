"""One line for all visitors: the network serves one run at a time, in order of arrival."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr


class Queue:
    """A fair queue whose waiting members can be told their place and an honest estimate.

    `limit` is how many may wait, beside the one whose turn it is; None for any number.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._line: list[Turn] = []
        self._changed = threading.Condition()
        self._typical_seconds = 10.0

    @contextmanager
    def turn(self, seconds: float | None = None, again: bool = False) -> Iterator[Turn]:
        """Joins the line; leaving the block leaves it, whatever happened.

        `seconds` is what the turn will take, where that can be told; of the others it is thought
        that they take as long as such turns did of late. Raises gr.Error with a sentence where the
        line is full, but to one who comes `again`, in the middle of several turns.
        """
        turn = Turn(self, seconds)
        with self._changed:
            waiting = max(0, len(self._line) - 1)
            if self.limit is not None and not again and len(self._line) > self.limit:
                sentence = f"The line is full ({waiting} waiting): try again in a minute."
                raise gr.Error(sentence, print_exception=False)
            self._line.append(turn)
        try:
            yield turn
        finally:
            with self._changed:
                self._line.remove(turn)
                if turn.began is not None and seconds is None:
                    took = time.monotonic() - turn.began
                    self._typical_seconds += 0.3 * (took - self._typical_seconds)
                self._changed.notify_all()


class Turn:
    """A place in the line."""

    def __init__(self, queue: Queue, expected: float | None = None):
        self._queue = queue
        self._expected = expected
        self.began: float | None = None

    @property
    def ahead(self) -> int:
        """How many are before this one."""
        with self._queue._changed:
            return self._queue._line.index(self)

    @property
    def seconds(self) -> float:
        """About how long until it is this one's turn: never none while somebody is ahead."""
        with self._queue._changed:
            ahead = self._queue._line[: self._queue._line.index(self)]
            return max(1.0, sum(turn._left for turn in ahead)) if ahead else 0.0

    @property
    def says(self) -> str:
        """The place in the line and how long it lasts, in a sentence."""
        with self._queue._changed:
            ahead, seconds = self.ahead, self.seconds
        if not ahead:
            return "Waiting: you are next."
        people = "1 visitor is" if ahead == 1 else f"{ahead} visitors are"
        return f"Waiting: {people} ahead of you, about {duration(seconds)}."

    @property
    def _left(self) -> float:
        """About how long this one still has; one that overruns has a quarter of its time to go."""
        typical = self._queue._typical_seconds
        expected = typical if self._expected is None else self._expected
        if self.began is None:
            return expected
        gone = time.monotonic() - self.began
        return max(expected - gone, gone / 4)

    def arrive(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds; True when it is this one's turn."""
        with self._queue._changed:
            first = self._queue._changed.wait_for(lambda: self._queue._line[0] is self, timeout)
        if first and self.began is None:
            self.began = time.monotonic()
        return first


class Throughput:
    """How long an evaluation takes, from those that there were: of a network, at a size."""

    def __init__(self) -> None:
        self._seconds: dict[str, dict[int, float]] = {}

    def learn(self, checkpoint: str, pixels: int, seconds: float) -> None:
        """An evaluation took so long; recent ones count most."""
        known = self._seconds.setdefault(checkpoint, {})
        known[pixels] = seconds + 0.6 * (known.get(pixels, seconds) - seconds)

    def seconds(self, checkpoint: str, pixels: int, evaluations: int = 1) -> float | None:
        """About how long so many take, scaled from the nearest size; None before the first."""
        known = self._seconds.get(checkpoint)
        if not known:
            return None
        nearest = min(known, key=lambda size: abs(math.log(size / pixels)))
        return known[nearest] * pixels / nearest * evaluations


THROUGHPUT = Throughput()
"""Of the networks here, for all visitors."""


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
