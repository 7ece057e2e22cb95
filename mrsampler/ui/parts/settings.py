"""The settings of a run as controls."""

from __future__ import annotations

from typing import Any

import gradio as gr

from mrsampler.run import SETTINGS, Setting, Whole
from mrsampler.ui.parts.components import menu


def slider(setting: Setting, value: float, step: float = 1) -> gr.Slider:
    """Over the range of a setting."""
    low, high = setting.range
    return gr.Slider(low, high, value, step=step, buttons=[], **_words(setting))


def seed_box() -> gr.Number:
    """For any seed: what is none is refused in a run's own words, not in gradio's."""
    return gr.Number(0, precision=0, **_words(SETTINGS["seed"]))


def size_radio(setting: Setting, value: int | str) -> gr.Radio:
    """Of the sizes that a setting offers."""
    return gr.Radio([(str(size), size) for size in setting.known], value=value, **_words(setting))


def menu_of(setting: Setting, value: str, **state: Any) -> gr.HTML:
    """A native menu for a setting; `state` is that of `menu`."""
    return menu(setting.label, setting.help, value, **state)


def _words(setting: Setting) -> dict[str, Any]:
    return {"label": setting.label, "info": setting.help}


LARGEST_SIDE = Setting(
    "size",
    256,
    Whole(32, 1024),
    "Largest side",
    "In pixels; a larger photo is scaled down for the run.",
)
"""The size of a run that is shown as it is."""
