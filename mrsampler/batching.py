"""Several runs over one network, their evaluations made together.

A GPU takes little longer for two evaluations than for one. The runs are generators that call the
network deep inside a solver, so that each is advanced in a thread of its own; where all of them
wait for an evaluation, or have made their step, what is waited for is made as one batch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from mrsampler.acceleration import Network, Wrapped
from mrsampler.trajectory import Step


class Batched(Wrapped):
    """A network to be called from several threads, which wait until their calls are made as one.

    Called as any network, with conditioning of tensors (B, ...) and of numbers. `race` says how
    many calls to wait for; outside of it a call is made at once.
    """

    def __init__(self, network: Network):
        super().__init__(network)
        self._changed = threading.Condition()
        self._here = threading.local()
        self._running = 0
        self._calls: list[_Call] = []

    def __call__(self, x: Tensor, mu: Tensor, t: float | Tensor, **conditioning: Any) -> Tensor:
        given = {"x": x, "mu": mu, "t": t, **conditioning}
        place = getattr(self._here, "place", None)
        if place is None:
            return self.network(**given)
        call = _Call(place, given)
        with self._changed:
            self._calls.append(call)
            self._make_if_all_wait()
            while call.output is None and call.error is None:
                self._changed.wait()
        if call.error is not None:
            raise call.error
        assert call.output is not None
        return call.output

    def race(self, *runs: Iterator[Step]) -> Iterator[tuple[Step, ...]]:
        """Advances several trajectories over this network together, as `trajectory.race` does.

        A Step's `seconds` count an evaluation that was made for several in full for each.
        """
        try:
            latest: list[Step] = [next(run) for run in runs]
            running = list(range(len(runs)))
            with ThreadPoolExecutor(len(runs)) as threads:
                while running:
                    yield tuple(latest)
                    self._running = len(running)
                    moves = [(i, threads.submit(self._advance, i, runs[i])) for i in running]
                    # All have stopped before any error is raised.
                    steps = [(i, move.exception() or move.result()) for i, move in moves]
                    for i, step in steps:
                        if isinstance(step, BaseException):
                            raise step
                        if step is not None:
                            latest[i] = step
                    running = [i for i, step in steps if step is not None]
        finally:
            for run in runs:
                run.close()  # type: ignore[attr-defined]

    def _advance(self, place: int, run: Iterator[Step]) -> Step | None:
        self._here.place = place
        try:
            return next(run, None)
        finally:
            with self._changed:
                self._running -= 1
                self._make_if_all_wait()

    def _make_if_all_wait(self) -> None:
        if not self._calls or len(self._calls) < self._running:
            return
        # In the runs' order, not that of their threads: the same batch every time.
        calls, self._calls = sorted(self._calls, key=lambda call: call.place), []
        try:
            _make(self.network, calls)
        except BaseException as error:
            for call in calls:
                call.error = error
        self._changed.notify_all()


class _Call:
    """A call that waits, then its output or error."""

    def __init__(self, place: int, given: dict[str, Any]):
        self.place, self.given = place, given
        self.output: Tensor | None = None
        self.error: BaseException | None = None


def _make(network: Network, calls: list[_Call]) -> None:
    """One call of the network for each set of calls that can be made as one."""
    with torch.no_grad():
        while calls:
            first = calls[0]
            alike = [call for call in calls if _alike(call.given, first.given)]
            calls = [call for call in calls if call not in alike]
            if len(alike) == 1:
                first.output = network(**first.given)
                continue
            rows = [call.given["x"].shape[0] for call in alike]
            outputs = network(**batch([call.given for call in alike])).split(rows)
            for call, output in zip(alike, outputs, strict=True):
                call.output = output


def _alike(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two calls differ in values alone."""

    def kind(given: dict[str, Any]) -> Any:
        return {n: v.shape[1:] if isinstance(v, Tensor) else type(v) for n, v in given.items()}

    return kind(a) == kind(b)


def batch(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """The arguments of several calls that differ in values alone, as those of one."""
    rows, device = [given["x"].shape[0] for given in calls], calls[0]["x"].device
    return {name: joined([given[name] for given in calls], rows, device) for name in calls[0]}


def joined(values: list[Any], rows: list[int], device: torch.device) -> Tensor | int:
    """The values of several calls as one batch; of a number, one for each of its call's rows.

    A whole number that they share stays one: a GPU's graph can choose by it.
    """
    if isinstance(values[0], Tensor):
        return torch.cat(values)
    if isinstance(values[0], int) and len(set(values)) == 1:
        return values[0]
    dtype = torch.float32 if isinstance(values[0], float) else torch.int64
    return torch.cat(
        [torch.full((n,), v, dtype=dtype, device=device) for v, n in zip(values, rows, strict=True)]
    )
