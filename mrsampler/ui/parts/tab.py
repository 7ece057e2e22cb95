"""What every tab that runs something is made of: Run and Stop, waiting, previews.

Its scripts' part is parts/run.js: the states, and what the page does in each. Both go by the ids:
of a tab "toy" these are toy-run, toy-stop, toy-knobs and toy-stage.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr

from mrsampler.ui.parts.components import tell
from mrsampler.ui.queue import Turn

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Of events that are the page's own."""


class Runs:
    """The runs under way on a tab: each visitor can end their own."""

    def __init__(self) -> None:
        self._stops: dict[str, threading.Event] = {}

    def __contains__(self, visitor: str) -> bool:
        return visitor in self._stops

    @contextmanager
    def one(self, request: gr.Request) -> Iterator[threading.Event]:
        """What is set when the visitor presses Stop.

        To be entered first of all: that can be while a large photo is still being read.
        """
        visitor = request.session_hash or ""
        stop = self._stops[visitor] = threading.Event()
        try:
            yield stop
        finally:
            if self._stops.get(visitor) is stop:
                del self._stops[visitor]

    def stop(self, request: gr.Request) -> None:
        """Ends this visitor's run before its next step."""
        if event := self._stops.get(request.session_hash or ""):
            event.set()


def waiting(turn: Turn, stop: threading.Event) -> Iterator[str]:
    """Sentences, until it is this one's turn or the run is stopped."""
    while not turn.arrive(0.5) and not stop.is_set():
        yield turn.says


def buttons(prefix: str) -> tuple[gr.Button, gr.Button]:
    """Run and Stop."""
    return (
        gr.Button("Run", variant="primary", elem_id=f"{prefix}run"),
        gr.Button("Stop", variant="stop", elem_id=f"{prefix}stop"),
    )


def by_name(controls: Mapping[str, Any], handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler of the controls' values by name and the request, as gradio calls it: with all."""

    def whole(request: gr.Request, *values: Any) -> Any:
        return handler(dict(zip(controls, values, strict=True)), request)

    def streaming(request: gr.Request, *values: Any) -> Iterator[Any]:
        yield from handler(dict(zip(controls, values, strict=True)), request)

    return streaming if inspect.isgeneratorfunction(handler) else whole


def wire_run(
    tab: str,
    run_and_stop: tuple[gr.Button, gr.Button],
    run: Callable[..., Any],
    settings: Sequence[Any],
    outputs: Any,
    stop: Callable[[gr.Request], None],
    private: dict[str, Any] = PRIVATE,
) -> None:
    """Makes the buttons of the tab with this id work; its scripts hear "asked" and "failed"."""
    go, halt = run_and_stop
    running = go.click(
        run,
        settings,
        outputs,
        concurrency_limit=None,
        js=f"(...all) => {{ {tell(f'#{tab}', 'asked')}; return all; }}",
        **private,
    )
    # A full line leaves no last word.
    running.failure(None, None, None, js=f"() => {{ {tell(f'#{tab}', 'failed')}; }}")
    halt.click(stop, None, None, queue=False, **private)


def wire_preview(
    preview: Callable[..., Any],
    picked: Sequence[Any],
    moved: Sequence[Any],
    settings: Sequence[Any],
    outputs: Any,
    private: dict[str, Any] = PRIVATE,
) -> None:
    """Shows what would be run: after the events `picked`, of another photo, and once any control
    has `moved`.
    """
    for event in picked:
        event.then(preview, settings, outputs, **private)
    if moved:
        gr.on(list(moved), preview, settings, outputs, trigger_mode="always_last", **private)
