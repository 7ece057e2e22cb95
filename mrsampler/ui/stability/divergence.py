"""Noise and data prediction side by side, as a stream of moments for the page.

Both start from one x_T over one network; each with where the expansion that it makes diverges.
"""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import Any, get_args

import torch
from PIL import Image
from torch import Tensor

from mrsampler.metrics import psnr
from mrsampler.restorer import Restorer
from mrsampler.stability import QUANTILES, Convergence, Prediction, convergence
from mrsampler.trajectory import Step
from mrsampler.ui.parts.charts import BLUE, INK, VERMILION, layout
from mrsampler.ui.parts.frames import jpeg

PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)
COLOURS: dict[Prediction, str] = {"noise": VERMILION, "data": BLUE}
UPDATES_PER_SECOND = 12
RADII = 1e-2, 1e4
"""What the plot of the radius shows: its axis stays, and infinity is at its upper end."""

Steps = dict[Prediction, list[dict[str, Any]]]
"""The `numbers` of each parameterisation's steps."""


@dataclass(frozen=True)
class Moment:
    """What the page is told at once: the frames since the last moment, and all steps so far.

    `steps` are the convergence of each parameterisation's steps, `psnr` its x_t's now, None without
    a truth. Plain values: on ZeroGPU it comes out of another process.
    """

    frames: list[dict[str, Any]]
    steps: Steps
    psnr: dict[Prediction, float | None]
    done: bool


@dataclass(frozen=True)
class Comparison:
    """What is run: `solvers` by what they expand, otherwise the same, from the x_T of `seed`."""

    task: str
    solvers: dict[Prediction, str]
    nfe: int
    spacing: str
    seed: int


def followed(
    steps: Iterator[Step], prediction: Prediction, restorer: Restorer, mu: Tensor
) -> Iterator[tuple[Step, Convergence | None]]:
    """The Steps of a run, each with its convergence; None where it makes no expansion."""
    ahead, behind = tee(steps)
    records = convergence(behind, prediction, process=restorer.process, mu=mu)
    try:
        for step in ahead:
            expands = step.index >= 2 and step.lam < math.inf
            yield step, next(records) if expands else None
    finally:
        steps.close()  # type: ignore[attr-defined]


def compared(
    restorer: Restorer,
    degraded: Tensor,
    truth: Tensor | None,
    asked: Comparison,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Moment]:
    """Both parameterisations from one x_T, a step of each at a time, at most UPDATES_PER_SECOND.

    Closing it, or `stopped`, ends it before the next step. Raises FloatingPointError if the network
    returns values that are not finite.
    """
    mu = degraded[None].to(restorer.device)
    settings: dict[str, Any] = {"nfe": asked.nfe, "spacing": asked.spacing, "seed": asked.seed}
    runs = []
    for prediction, solver in asked.solvers.items():
        trajectory = restorer.trajectory(degraded, asked.task, solver=solver, **settings)
        runs.append(followed(trajectory, prediction, restorer, mu))
    steps: Steps = {prediction: [] for prediction in asked.solvers}
    qualities: dict[Prediction, float | None] = {}
    frames: list[dict[str, Any]] = []
    due, done = 0.0, False

    def moment() -> Moment:
        so_far = {prediction: made.copy() for prediction, made in steps.items()}
        return Moment(frames, so_far, qualities.copy(), done)

    try:
        for both in zip(*runs, strict=True):
            first = both[0][0]
            lam = first.lam if first.lam < math.inf else None
            frames.append({"index": first.index, "nfe": first.nfe, "t": first.t, "lam": lam})
            for prediction, (step, record) in zip(asked.solvers, both, strict=True):
                image = step.x[0].cpu()
                qualities[prediction] = None if truth is None else psnr(image, truth)
                frames[-1][prediction] = {"x": jpeg(image), "psnr": qualities[prediction]}
                if record is not None:
                    steps[prediction].append(numbers(record))
                    diverges = ~record.holds[0].cpu()
                    drawn = overlay(diverges, COLOURS[prediction])
                    frames[-1][prediction] |= {"map": drawn, "fraction": record.fraction}
            if time.perf_counter() >= due:
                yield moment()
                frames, due = [], time.perf_counter() + 1 / UPDATES_PER_SECOND
            if stopped():
                break
        else:
            done = True
    finally:
        for run in runs:
            run.close()  # type: ignore[attr-defined]
    yield moment()


def numbers(record: Convergence) -> dict[str, Any]:
    """What the plots need of a step, the radii within what they show."""
    low, high = RADII
    return {
        "step": record.index,
        "lam": record.lam,
        "gap": record.gap,
        "fraction": record.fraction,
        "radii": [min(max(radius, low), high) for radius in record.quantiles],
    }


def overlay(pixels: Tensor, colour: str) -> str:
    """(3, H, W) bool as a PNG data URI: the more channels are set, the more of `colour`."""
    picture = Image.fromarray(pixels.sum(0).to(torch.uint8).numpy(), "P")
    picture.putpalette(bytes.fromhex(colour[1:]) * 4)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", bits=2, transparency=bytes((0, 85, 170, 255)))
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def share_figure(steps: Steps, span: tuple[float, float]) -> dict[str, Any]:
    """The ratio of convergence: the share of pixels within the radius, step by step."""
    traces = [
        _line(
            prediction,
            made,
            [step["fraction"] for step in made],
            "%{y:.0%} of the pixels converge",
        )
        for prediction, made in steps.items()
    ]
    y = {"range": [-0.04, 1.04], "tickformat": ".0%", "tickvals": [0, 0.25, 0.5, 0.75, 1]}
    return {"data": traces, "layout": layout(_lambda(span), y)}


def radius_figure(steps: Steps, span: tuple[float, float]) -> dict[str, Any]:
    """The step's gap in lambda against the estimated radius: its median and its middle half."""
    traces = []
    for prediction, made in steps.items():
        for quantile, fill in ((0.25, None), (0.75, "tonexty")):
            edge = _line(prediction, made, _radii(made, quantile), "")
            traces.append(
                edge
                | {
                    "mode": "lines",
                    "line": {"width": 0},
                    "fill": fill,
                    "fillcolor": COLOURS[prediction] + "33",
                    "hoverinfo": "skip",
                }
            )
    for prediction, made in steps.items():
        traces.append(_line(prediction, made, _radii(made, 0.5), "median radius %{y:.3g}"))
    gaps = next(iter(steps.values()))
    step = _line("noise", gaps, [made["gap"] for made in gaps], "the step: %{y:.3g}")
    ink = {"name": "step", "line": {"color": INK, "width": 2}, "marker": {"color": INK, "size": 5}}
    traces.append(step | ink)
    y = {"type": "log", "range": [math.log10(radius) for radius in RADII], "dtick": 1}
    return {"data": traces, "layout": layout(_lambda(span), y)}


def _radii(steps: list[dict[str, Any]], quantile: float) -> list[float]:
    return [step["radii"][QUANTILES.index(quantile)] for step in steps]


def _lambda(span: tuple[float, float]) -> dict[str, Any]:
    margin = 0.03 * (span[1] - span[0])
    return {
        "title": {"text": "\u03bb, from noise to data"},
        "range": [span[0] - margin, span[1] + margin],
    }


def _line(
    prediction: Prediction, steps: list[dict[str, Any]], y: list[float], hover: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": prediction,
        "x": [step["lam"] for step in steps],
        "y": y,
        "customdata": [step["step"] for step in steps],
        "line": {"color": COLOURS[prediction], "width": 2},
        "marker": {"color": COLOURS[prediction], "size": 7},
        "hovertemplate": f"step %{{customdata}}, to \u03bb = %{{x:.2f}}<br>{hover}<extra></extra>",
    }
