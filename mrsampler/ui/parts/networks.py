"""The menu of networks: a pick is made ready, with a line that says how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from mrsampler.run import FAILURES
from mrsampler.ui.parts import choices
from mrsampler.ui.session import arrival, load, loaded


def ready(checkpoint: str) -> Iterator[tuple[Any, Any]]:
    """Makes a picked checkpoint ready, as updates of the line that says how far and of the menu.

    One that cannot be had is grey from then on, with the reason, and the page goes on without.
    """
    try:
        for far in arrival(checkpoint):
            yield {"of": checkpoint, "says": far.says, "share": far.share}, gr.skip()
    except FAILURES as error:
        gr.Warning(f"{error}.")
        yield None, gr.update(**choices.networks({checkpoint: str(error)}))
    else:
        yield None, gr.skip()


def made_ready(menu: Any, line: gr.HTML, quietly: Mapping[str, Any]) -> list[Any]:
    """Wires a menu of checkpoints and its line: a pick, by hand or by a link, is made ready.

    Returns the events of both, for what follows their success. The menu asks what there is once it
    is open.
    """
    menu.opened(lambda: gr.update(**choices.networks()), None, menu, queue=False, **quietly)
    return [
        picked(
            ready,
            menu,
            [line, menu],
            trigger_mode="multiple",  # another is picked while one is still on its way
            concurrency_limit=None,
            **quietly,
        )
        for picked in (menu.input, menu.linked)
    ]


def left(checkpoint: str) -> str:
    """What is said of a run that was stopped while it waited for its checkpoint."""
    return f"Stopped before it began; {checkpoint} goes on being fetched for the next."


def task_told(checkpoint: str) -> Any:
    """The menu of tasks, once the picked checkpoint is there."""
    if not loaded(checkpoint):
        return gr.skip()
    return gr.update(**choices.tasks(load(checkpoint)))
