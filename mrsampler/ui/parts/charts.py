"""A plotly figure as a component that follows the page's theme; its library is served from here."""

from __future__ import annotations

from typing import Any

import gradio as gr

from mrsampler.ui.parts.components import PLOTLY, served, web

# Okabe-Ito, in the order of their keys: the sampler, the baseline, those pinned from earlier runs.
# The page replaces the stand-ins INK and GRID by its text and line colours.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#8a8a8a"
COLOURS = {"a": BLUE, "b": VERMILION, "p1": "#CC79A7", "p2": "#56B4E9", "p3": "#009E73"}
INK, GRID = "rgb(1, 2, 3)", "rgb(3, 2, 1)"


def chart(
    name: str,
    label: str,
    figure: dict[str, Any] | None = None,
    group: str = "",
    **options: Any,
) -> gr.HTML:
    """A place for figures: its value, or what a `chart` event of this name brings in the browser.

    `label` describes it for those who cannot see it. Raises no error for an empty one: it waits.
    Pointing at a point marks those of the same customdata in the other charts of its `group`.
    """
    named: dict[str, Any] = {"name": name, "label": label, "group": group}
    return gr.HTML(figure, plotly=served(PLOTLY), **named, **web("parts/chart"), **options)


def layout(x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A plain figure's layout in the page's ink, with these axes."""
    axis = {"color": INK, "gridcolor": GRID, "zeroline": False, "automargin": True}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 12},
        "margin": {"l": 52, "r": 12, "t": 8, "b": 40},
        "hovermode": "closest",
        "showlegend": False,
        "xaxis": axis | x,
        "yaxis": axis | y,
    } | more
