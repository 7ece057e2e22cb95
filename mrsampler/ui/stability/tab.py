"""The Stability tab: noise against data prediction, and where the expansion of each diverges."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
from torch import Tensor

from mrsampler import checkpoints
from mrsampler.run import FAILURES, SETTINGS, OneOf, Run, Setting, Whole, reason
from mrsampler.solvers import mr
from mrsampler.stability import Prediction
from mrsampler.timesteps import SPACINGS
from mrsampler.ui.hardware import crosses_processes, gpu
from mrsampler.ui.parts import choices
from mrsampler.ui.parts import photo_controls as given
from mrsampler.ui.parts.charts import chart
from mrsampler.ui.parts.components import arrival_line, as_text, menu, panel, style
from mrsampler.ui.parts.frames import jpeg
from mrsampler.ui.parts.networks import left, made_ready, task_told
from mrsampler.ui.parts.settings import LARGEST_SIDE, seed_box, size_radio, slider
from mrsampler.ui.parts.tab import (
    PRIVATE,
    Runs,
    buttons,
    by_name,
    waiting,
    wire_preview,
    wire_run,
)
from mrsampler.ui.queue import THROUGHPUT
from mrsampler.ui.session import QUEUE, Subject, arrival, load, subject
from mrsampler.ui.stability.divergence import (
    PREDICTIONS,
    Comparison,
    Moment,
    Steps,
    compared,
    radius_figure,
    share_figure,
)

SOLVERS: dict[str, dict[Prediction, str]] = {
    f"{'SDE' if stochastic else 'ODE'}, order {order}": {
        prediction: mr.name(stochastic, prediction, order) for prediction in PREDICTIONS
    }
    for stochastic, orders in mr.ORDERS.items()
    for order in orders
}
# What the tab opens with: where the two differ most.
SOLVER, NFE, SPACING = "SDE, order 2", 10, "uniform-lambda"
COUNT = replace(
    SETTINGS["nfe"].within(Whole(2, 50)),
    help="Network evaluations each. Fewer: longer steps in \u03bb.",
)

LEAD = """
From its last evaluation the solver expands the network's prediction in \u03bb and integrates that
over the step. Where the step is longer than the radius of convergence <i>R</i>, the expansion
diverges: more terms make it worse. Both solvers start from the same <i>x<sub>T</sub></i> over the
same network; one expands the noise it predicts, the other the data.
"""

RUNS = Runs()
_run_numbers = itertools.count(1)


def moments(
    checkpoint: str, shown: Subject, asked: Comparison, stop: threading.Event
) -> Iterator[Moment]:
    """`compared` where the GPU is; it ends before the next step once `stop` is set."""
    seen = None if crosses_processes() else stop
    stream = _compared(checkpoint, shown.degraded, shown.truth, asked, seen)
    try:
        for moment in stream:
            yield moment
            if seen is None and stop.is_set():
                return
    finally:
        stream.close()  # type: ignore[attr-defined]


@gpu
def _compared(
    checkpoint: str,
    degraded: Tensor,
    truth: Tensor | None,
    asked: Comparison,
    stop: threading.Event | None,
) -> Iterator[Moment]:
    stopped = stop.is_set if stop else lambda: False
    yield from compared(load(checkpoint), degraded, truth, asked, stopped)


def say(moment: Moment) -> str:
    """The line under the pictures once a run is over."""
    if not moment.done:
        return "Stopped: what was reached stays here."
    return f"Finished. {' '.join(_verdict(p, moment) for p in moment.steps)}"


def _verdict(prediction: Prediction, moment: Moment) -> str:
    quality, steps = moment.psnr[prediction], moment.steps[prediction]
    words = f"{prediction.capitalize()} prediction"
    if quality is not None:
        words += f" ends at {quality:.1f} dB"
    if not steps:
        return f"{words}; with so few evaluations nothing is expanded."
    worst = min(steps, key=lambda step: step["fraction"])
    words += "; at" if quality is not None else ": at"
    share = f"{_percent(worst['fraction'])} of its pixels converge"
    return f"{words} worst {share} (step {worst['step']})."


def _percent(share: float) -> str:
    """Never 0 % or 100 % of what is not none or all."""
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def setup(shown: Subject) -> dict[str, Any]:
    """The degraded picture, which both panels hold until there is a frame."""
    return {"degraded": jpeg(shown.degraded)}


def preview(values: dict[str, Any], request: gr.Request | None = None) -> dict[str, Any]:
    """The degraded picture, before anything runs."""
    _, shown = _subject(values)
    return {
        "run": f"preview {next(_run_numbers)}",
        "state": "idle",
        "say": shown.note or "",
        "setup": setup(shown),
        "figures": figures({prediction: [] for prediction in PREDICTIONS}, checkpoints.DEFAULT),
    }


def figures(steps: Steps, checkpoint: str) -> dict[str, Any]:
    """Both plots, of all steps so far, over the whole of the process's lambda."""
    process = load(checkpoint).process
    span = process.lam(process.T), process.lam(process.t_min)
    return {"share": share_figure(steps, span), "radius": radius_figure(steps, span)}


def _subject(values: dict[str, Any], **offered: Setting) -> tuple[Run, Subject]:
    settings = {name: value for name, value in values.items() if name != "solver"}
    source, asked = given.read_run(settings, size=LARGEST_SIDE, **offered)
    return asked, subject(source.within(int(asked.size)), asked)


def run(values: dict[str, Any], request: gr.Request) -> Iterator[dict[str, Any]]:
    """Both parameterisations, as updates of the stage."""
    update: dict[str, Any] = {"run": f"run {next(_run_numbers)}"}
    with RUNS.one(request) as stop:
        try:
            asked, shown = _subject(values, nfe=COUNT)
            checkpoint, nfe = asked.checkpoint, asked.nfe
            pictures: dict[str, Any] = {"setup": setup(shown)}
            for far in arrival(checkpoint):
                if stop.is_set():
                    yield update | {"state": "stopped", "say": left(checkpoint)}
                    return
                yield update | pictures | {"state": "waiting", "say": far.says}
                pictures = {}
            with given.refusals():
                load(checkpoint).check_task(asked.task)
            compared = Comparison(
                asked.task, SOLVERS[values["solver"]], nfe, asked.spacing, asked.seed
            )
            pixels = shown.degraded[0].numel()
            with QUEUE.turn(THROUGHPUT.seconds(checkpoint, pixels, len(PREDICTIONS) * nfe)) as turn:
                for says in waiting(turn, stop):
                    yield update | {"state": "waiting", "say": says}
                if stop.is_set():
                    yield update | {"state": "stopped", "say": "Stopped before it began."}
                    return
                first: dict[str, Any] = {"setup": setup(shown) | {"nfe": nfe}}
                for moment in moments(checkpoint, shown, compared, stop):
                    plots = figures(moment.steps, checkpoint)
                    told = {"state": "running", "frames": moment.frames, "figures": plots}
                    yield update | first | told | {"say": shown.note or ""}
                    first = {}
            state = "finished" if moment.done else "stopped"
            yield update | {"state": state, "say": f"{say(moment)} {shown.note or ''}"}
        except gr.Error:  # it is a ValueError, too
            raise
        except FAILURES as error:
            sentence = f"The run failed: {reason(error)}. Another setting or photo may work."
            yield update | {"state": "failed", "say": sentence}
            raise gr.Error(sentence, print_exception=False) from None


def build(page: gr.Blocks) -> None:
    """Lays out the tab, inside the page's Blocks context."""
    opening = choices.opening().to_json() | {"size": LARGEST_SIDE.default}
    with gr.Row(elem_id="stability"):
        with gr.Column(elem_id="stability-rail", scale=0, min_width=0):
            with gr.Column(elem_id="stability-knobs"):
                photo = given.controls("stability")
                solver = gr.Dropdown(
                    list(SOLVERS),
                    value=SOLVER,
                    label="Solver",
                    info="The equation that is solved, and how many evaluations a step looks back.",
                )
                nfe = slider(COUNT, NFE)
                spacing = gr.Dropdown(
                    list(SPACINGS),
                    value=SPACING,
                    label="Step spacing",
                    info="Where the steps of both fall.",
                )
                checkpoint = menu(
                    "Network",
                    "What it predicts is converted to what the solver expands.",
                    checkpoints.DEFAULT,
                    name="expanded network",
                    **choices.networks(),
                )
                # On a phone these are folded away, so that the pictures are in sight.
                for knob in (photo.damage, photo.severity, solver, nfe, spacing, checkpoint):
                    knob.elem_classes = ["folds"]
                given.unfold("stability", "solver, NFE, severity")
                with gr.Accordion("Advanced", open=False, elem_classes="folds"):
                    seed = seed_box()
                    size = size_radio(
                        LARGEST_SIDE.within(OneOf(choices.LARGEST_SIDES)),
                        LARGEST_SIDE.default,
                    )
            with gr.Row(elem_id="stability-runbar"):
                line = arrival_line("menu-expanded-network")
                run_and_stop = buttons("stability-")
        with gr.Column(elem_id="stability-stage"):
            shown = preview(opening | {"example": 0, "upload": None})
            gr.HTML(f"<p>{LEAD}</p>", elem_id="stability-lead", padding=False)
            stage = panel("stability/stage", value=shown, head=style("stability/page.css"))
            with gr.Row(elem_id="stability-plots"):
                for name, title, about in (
                    (
                        "share",
                        "Ratio of convergence",
                        "share of pixels whose radius R is above the step",
                    ),
                    (
                        "radius",
                        "Radius R against the step",
                        "<i></i>the step; line: median, band: middle half",
                    ),
                ):
                    with gr.Column():
                        gr.HTML(f"<h3>{title} <span>{about}</span></h3>", padding=False)
                        chart(f"stability-{name}", title, shown["figures"][name], "stability")

    what = photo.values | {"seed": seed, "size": size}
    moved = [photo.damage.input, photo.task.input, photo.severity.release, seed.submit, size.input]
    previewed = as_text(by_name(what, preview))
    wire_preview(previewed, photo.picked, moved, list(what.values()), stage)
    for chosen in made_ready(checkpoint, line, PRIVATE):
        chosen.success(task_told, checkpoint, photo.task, **PRIVATE)
    settings = what | {"solver": solver, "nfe": nfe, "spacing": spacing, "checkpoint": checkpoint}
    controls = list(settings.values())
    wire_run("stability", run_and_stop, as_text(by_name(settings, run)), controls, stage, RUNS.stop)
    page.unload(RUNS.stop)
