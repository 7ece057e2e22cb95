"""The controls that give a photo and its damage: the same on every tab that restores one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from mrsampler import checkpoints, photo
from mrsampler.degradations import TASKS
from mrsampler.examples import examples
from mrsampler.photo import Photo, PhotoError
from mrsampler.run import CLEAN, DAMAGED, SETTINGS, OneOf, Run, Setting
from mrsampler.ui import session
from mrsampler.ui.parts import choices
from mrsampler.ui.parts.components import menu, photo_drop, web
from mrsampler.ui.parts.examples import example_photo, thumbnails
from mrsampler.ui.parts.files import uploaded
from mrsampler.ui.parts.settings import slider

_asked = itertools.count()


class Given(NamedTuple):
    """What a visitor has given: an example's number or an upload, and what is wrong with it.

    `picked` are the events after which another photo is there; gr.update(picked=INDEX) of `row`
    shows that example as the chosen one.
    """

    example: gr.State
    drop: gr.HTML
    row: gr.HTML
    damage: gr.Radio
    task: gr.HTML
    severity: gr.Slider
    picked: tuple[Any, ...]

    @property
    def values(self) -> dict[str, Any]:
        """The controls by the names of what they give."""
        names = ("example", "damage", "task", "severity")
        return {"upload": self.drop} | {name: getattr(self, name) for name in names}


def controls(tab: str = "") -> Given:
    """Lays them out, inside a Blocks context, wired to each other, on the tab of that name."""
    first = examples()[0]
    example = gr.State(0)
    drop = photo_drop()
    row = gr.HTML(value=thumbnails(), picked=0, **web("parts/examples", "pick"))
    damage = gr.Radio(
        [("clean: damage it for me", CLEAN), ("already damaged", DAMAGED)],
        value=CLEAN,
        label=SETTINGS["damage"].label,
        info=SETTINGS["damage"].help,
    )
    task = menu(
        SETTINGS["task"].label,
        value=first.task,
        name=f"{tab} task".strip(),
        asked=first.task,
        keeps=True,  # the photo's damage stays what it is, whichever network is chosen
        **choices.tasks(session.load(checkpoints.DEFAULT)),
    )
    severity = slider(SETTINGS["severity"], first.severity, 0.05)
    quietly: dict[str, Any] = {
        "queue": False,
        "api_visibility": "private",
        "show_progress": "hidden",
        "show_progress_on": example,  # of nothing that is seen: see `restore.build`
    }
    picked = (
        row.pick(_pick, None, [example, drop, task, severity, damage], **quietly),
        drop.photo(lambda: DAMAGED, None, damage, **quietly),
    )
    damage.change(
        lambda chosen: gr.update(interactive=chosen == CLEAN), damage, severity, **quietly
    )
    return Given(example, drop, row, damage, task, severity, picked)


def unfold(tab: str, what: str) -> None:
    """On a phone, the button that shows a tab's folded knobs: those of the class "folds"."""
    gr.HTML(tab=f"#{tab}", what=what, elem_classes="unfolds", **web("parts/unfold"))


def _pick(event: gr.EventData) -> tuple[int, None, Any, float, str]:
    index = int(event.index)
    example = choices.opening(index)
    return index, None, task_asked(example.task), example.severity, example.damage


def task_asked(task: str) -> Any:
    """The update with which the menu of tasks picks one."""
    # With the value, too: the preview that follows may be asked for before the browser has set it.
    return gr.update(value=task, asked=[task, next(_asked)])


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


def file(example: int, upload: Any) -> str:
    """The file under the name that its owner knows."""
    if upload:
        return Path(upload["path"]).name
    return f"assets/examples/{examples()[example].file}"


@contextmanager
def refusals() -> Iterator[None]:
    """What is refused inside is said on the page."""
    try:
        yield
    except gr.Error:  # a ValueError, too
        raise
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from None


def read_run(values: Mapping[str, Any], **offered: Setting) -> tuple[Photo, Run]:
    """The photo and the run of the controls' values by name, some of them offered narrower.

    Raises gr.Error with a sentence for what no run can be.
    """
    source = read(values["example"], values["upload"])
    known = {name: value for name, value in values.items() if name in SETTINGS}
    known["photo"] = file(values["example"], values["upload"])
    known["device"] = session.device or "auto"
    offered = {"task": SETTINGS["task"].within(OneOf(TASKS))} | offered
    with refusals():
        for name, setting in offered.items():
            known[name] = setting.check(known[name])
        return source, Run(**known)
