"""The How it works tab: the theory as a readable page, each part beside a plot that moves."""

from __future__ import annotations

from typing import Any, get_args

import gradio as gr

from mrsampler.run import OneOf, Whole, check
from mrsampler.solvers import mr
from mrsampler.solvers.interface import Parameterisation
from mrsampler.timesteps import SPACINGS
from mrsampler.ui.parts.charts import chart
from mrsampler.ui.parts.components import style, text
from mrsampler.ui.parts.photo_controls import refusals
from mrsampler.ui.theory.figures import PLOTS, PROCESSES, Choice

DELIMITERS: list[dict[str, str | bool]] = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
]
MOST_STEPS = 30

LABELS = {
    "schedule": "alpha, sigma and lambda against t",
    "paths": "Paths of the probability-flow ODE and of the reverse-time SDE in one dimension",
    "weights": "The weight of a prediction within a step, for noise and for data prediction",
    "spacings": "Where the steps of each spacing fall, in t and in lambda",
    "history": "The coefficient of each past evaluation, step by step",
    "amplification": "What an error of each evaluation adds to the result",
}


def sections() -> list[str]:
    """The theory's parts, Markdown with LaTeX, in the order of PLOTS."""
    parts = text("theory/theory.md").split("## ")
    return [f"## {part.strip()}" for part in parts if part.strip()]


def chosen(
    process: str, equation: str, prediction: str, order: float, nfe: float, spacing: str
) -> Choice:
    """The reader's choice. Raises gr.Error with a sentence for what the page does not offer."""
    with refusals():
        for what, value, known in (
            ("The process", process, PROCESSES),
            ("The equation", equation, ("ODE", "SDE")),
            ("The prediction", prediction, get_args(Parameterisation)),
            ("The spacing", spacing, SPACINGS),
        ):
            check(what, OneOf(known), value)
        terms = check("The order", Whole(1, max(mr.ORDERS[False])), order)
        steps = check("The steps", Whole(1, MOST_STEPS), nfe)
    most = max(mr.ORDERS[equation == "SDE"])
    kind: Parameterisation = "noise" if prediction == "noise" else "data"
    return Choice(process, equation, kind, min(terms, most), steps, spacing)


def shown(*values: Any) -> list[Any]:
    """All figures and their sentences; the last is the order's slider, which SDEs have to 2."""
    choice = chosen(*values)
    plots = [plot(choice) for plot in PLOTS.values()]
    most = max(mr.ORDERS[choice.stochastic])
    order = gr.update(maximum=most, value=choice.order)
    return [*(figure for figure, _ in plots), *(_sentence(text) for _, text in plots), order]


def _sentence(text: str) -> str:
    """The line under a plot."""
    return f'<p class="theory-says">{text}</p>'


def build(page: gr.Blocks) -> None:
    """Lays out the tab, inside the page's Blocks context."""
    first = Choice()
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    charts: list[gr.HTML] = []
    says: list[gr.HTML] = []
    knobs: dict[str, Any] = {}
    with gr.Column(elem_id="theory"):
        gr.HTML("", head=style("theory/page.css"), visible="hidden")
        for text, (name, plot) in zip(sections(), PLOTS.items(), strict=True):
            figure, sentence = plot(first)
            with gr.Row(elem_classes="theory-part"):
                with gr.Column(elem_classes="theory-text", min_width=0):
                    gr.Markdown(text, latex_delimiters=DELIMITERS)
                with gr.Column(elem_classes="theory-plot", min_width=0):
                    if name in _KNOBS:
                        knobs |= _KNOBS[name](first)
                    charts.append(chart(f"theory-{name}", LABELS[name], figure))
                    says.append(gr.HTML(_sentence(sentence)))
    names = ("process", "equation", "prediction", "order", "nfe", "spacing")
    settings = [knobs[name] for name in names]
    gr.on(
        [knob.input for knob in settings],
        shown,
        settings,
        [*charts, *says, knobs["order"]],
        queue=False,
        trigger_mode="always_last",
        **private,
    )


# --- the knobs, each beside the first plot that it moves ------------------------------------------


def _process(first: Choice) -> dict[str, Any]:
    radio = gr.Radio(
        [(process.label, kind) for kind, process in PROCESSES.items()],
        value=first.process,
        label="The process",
        info="All plots on this page follow.",
    )
    return {"process": radio}


def _solution(first: Choice) -> dict[str, Any]:
    with gr.Row(elem_classes="theory-knobs"):
        equation = gr.Radio(
            ["ODE", "SDE"],
            value=first.equation,
            label="Equation",
            info="With or without fresh noise at every step.",
        )
        prediction = gr.Radio(
            ["data", "noise"],
            value=first.prediction,
            label="Prediction",
            info="What stands under the integral.",
        )
    return {"equation": equation, "prediction": prediction}


def _steps(first: Choice) -> dict[str, Any]:
    with gr.Row(elem_classes="theory-knobs"):
        nfe = gr.Slider(
            1,
            MOST_STEPS,
            first.nfe,
            step=1,
            label="Steps (NFE)",
            info="One evaluation each.",
            buttons=[],
        )
        spacing = gr.Dropdown(
            list(SPACINGS), value=first.spacing, label="Spacing of the steps", info="In blue below."
        )
    return {"nfe": nfe, "spacing": spacing}


def _order(first: Choice) -> dict[str, Any]:
    slider = gr.Slider(
        1,
        3,
        first.order,
        step=1,
        label="Order k",
        info="How many evaluations a step looks at: up to 3 for an ODE, 2 for an SDE.",
        buttons=[],
    )
    return {"order": slider}


_KNOBS = {"schedule": _process, "weights": _solution, "spacings": _steps, "history": _order}
