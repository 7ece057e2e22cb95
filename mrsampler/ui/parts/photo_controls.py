"""The controls that give a photo and its damage: the same on every tab that restores one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from mrsampler import photo
from mrsampler.degradations import TASKS
from mrsampler.examples import examples
from mrsampler.photo import Photo, PhotoError
from mrsampler.ui.parts.components import photo_drop, web
from mrsampler.ui.parts.examples import example_photo, thumbnails
from mrsampler.ui.parts.files import uploaded

CLEAN, DAMAGED = "clean: damage it for me", "already damaged"


class Given(NamedTuple):
    """What a visitor has given: an example's number or an upload, and what is wrong with it.

    `picked` are the events after which another photo is there; gr.update(picked=INDEX) of `row`
    shows that example as the chosen one.
    """

    example: gr.State
    drop: gr.HTML
    row: gr.HTML
    mode: gr.Radio
    task: gr.Dropdown
    severity: gr.Slider
    picked: tuple[Any, ...]


def controls() -> Given:
    """Lays them out, inside a Blocks context, wired to each other."""
    first = examples()[0]
    example = gr.State(0)
    drop = photo_drop()
    row = gr.HTML(value=thumbnails(), picked=0, **web("parts/examples", "pick"))
    mode = gr.Radio(
        [CLEAN, DAMAGED],
        value=CLEAN,
        label="The photo is",
        info="Only a clean one has a truth to score by.",
    )
    task = gr.Dropdown(list(TASKS), value=first.task, label="Task", info="Which damage to undo.")
    severity = gr.Slider(
        0,
        1,
        first.severity,
        step=0.05,
        label="Severity",
        info="To the right: more damage.",
        buttons=[],
    )
    quietly: dict[str, Any] = {
        "queue": False,
        "api_visibility": "private",
        "show_progress": "hidden",
        "show_progress_on": example,  # of nothing that is seen: see `restore.build`
    }
    picked = (
        row.pick(_pick, None, [example, drop, task, severity, mode], **quietly),
        drop.photo(lambda: DAMAGED, None, mode, **quietly),
    )
    mode.change(lambda chosen: gr.update(interactive=chosen == CLEAN), mode, severity, **quietly)
    return Given(example, drop, row, mode, task, severity, picked)


def unfold(tab: str, what: str) -> None:
    """On a phone, the button that shows a tab's folded knobs: those of the class "folds"."""
    gr.HTML(tab=f"#{tab}", what=what, elem_classes="unfolds", **web("parts/unfold"))


def _pick(event: gr.EventData) -> tuple[int, None, str, float, str]:
    index = int(event.index)
    example = examples()[index]
    return index, None, example.task, example.severity, DAMAGED if example.damaged else CLEAN


def read(example: int, upload: Any) -> Photo:
    """The drop zone's upload, or the example without one. Raises gr.Error with a sentence."""
    try:
        path = uploaded(upload)
        return photo.read(path) if path else example_photo(example)
    except PhotoError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except OSError:
        raise gr.Error(
            "The uploaded photo is no longer there; please choose it again.", print_exception=False
        ) from None


def name(example: int, upload: Any) -> str:
    """The file's name, which for an upload is its owner's."""
    return Path(upload["path"]).name if upload else examples()[example].file


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number that a visitor gave. Raises gr.Error for another, or outside [low, high]."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not low <= value <= high or value != int(value):
        raise gr.Error(
            f"{name} must be a whole number from {low} to {high}.", print_exception=False
        )
    return int(value)
