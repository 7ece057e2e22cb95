"""One line for all visitors: the network serves one run at a time, in order of arrival."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Turnstile:
    """A fair queue whose waiting members can be told their place and an honest estimate."""

    def __init__(self) -> None:
        self._line: list[Turn] = []
        self._changed = threading.Condition()
        self._typical_seconds = 10.0

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Joins the line; leaving the block leaves it, whatever happened."""
        turn = Turn(self)
        with self._changed:
            self._line.append(turn)
        try:
            yield turn
        finally:
            with self._changed:
                self._line.remove(turn)
                if turn.began is not None:
                    took = time.monotonic() - turn.began
                    self._typical_seconds += 0.3 * (took - self._typical_seconds)
                self._changed.notify_all()


class Turn:
    """A place in the line."""

    def __init__(self, turnstile: Turnstile):
        self._turnstile = turnstile
        self.began: float | None = None

    @property
    def ahead(self) -> int:
        """How many are before this one."""
        with self._turnstile._changed:
            return self._turnstile._line.index(self)

    @property
    def seconds(self) -> float:
        """About how long until it is this one's turn, from how long recent runs took."""
        with self._turnstile._changed:
            head = self._turnstile._line[0]
        gone = time.monotonic() - head.began if head.began is not None else 0.0
        typical = self._turnstile._typical_seconds
        return max(0.0, self.ahead * typical - min(gone, typical))

    def arrive(self, timeout: float) -> bool:
        """Waits at most `timeout` seconds; True when it is this one's turn."""
        with self._turnstile._changed:
            first = self._turnstile._changed.wait_for(
                lambda: self._turnstile._line[0] is self, timeout
            )
        if first and self.began is None:
            self.began = time.monotonic()
        return first
