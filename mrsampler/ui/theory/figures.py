"""The plots beside the theory, all computed by the library that the theory describes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from mrsampler import processes
from mrsampler.denoiser import Denoiser
from mrsampler.playground import Mixture
from mrsampler.processes import MeanRevertingSDE, Process, make
from mrsampler.solvers import mr
from mrsampler.solvers.interface import Parameterisation
from mrsampler.solvers.mr import Coefficients, coefficients, orders
from mrsampler.timesteps import SPACINGS, Node, timesteps
from mrsampler.trajectory import trajectory
from mrsampler.ui.parts.charts import BLUE, GREY, INK, VERMILION, layout

PROCESSES: dict[str, Process] = {kind: make(kind) for kind in processes.PROCESSES}
COLOURS: dict[Parameterisation, str] = {"noise": VERMILION, "data": BLUE}
PALER: dict[Parameterisation, tuple[str, str, str]] = {
    "noise": (VERMILION, "#e99a5f", "#f4cdb0"),
    "data": (BLUE, "#6aaed6", "#b8d7ea"),
}
"""Of the newest evaluation and the two before it."""

_ANCHOR = 0.2
"""mu of the paths in one dimension, of a process that has one."""


@dataclass(frozen=True)
class Choice:
    """What the reader has chosen: a process, and a MR Sampler with its steps."""

    process: str = MeanRevertingSDE.kind
    equation: str = "ODE"
    prediction: Parameterisation = "data"
    order: int = 2
    nfe: int = 8
    spacing: str = "blend"

    @property
    def stochastic(self) -> bool:
        return self.equation == "SDE"

    @property
    def solver(self) -> str:
        """Its name in SOLVERS."""
        return mr.name(self.stochastic, self.prediction, self.order)

    @property
    def nodes(self) -> list[Node]:
        """The times of its steps, from t_max to t_min."""
        return _placed(PROCESSES[self.process], self.nfe, self.spacing)

    def table(self, prediction: Parameterisation) -> list[Coefficients]:
        """The coefficients of each step, the last at order 1."""
        nodes = self.nodes
        return [
            coefficients(nodes[i], nodes[i + 1], nodes[i::-1][:k], prediction, self.stochastic)
            for i, k in enumerate(orders(self.order, self.nfe, 1))
        ]


def _placed(process: Process, steps: int, spacing: str) -> list[Node]:
    """Where lambda is finite: the rest of a run is exact."""
    return timesteps(process, steps, spacing, first=process.t_max, denoise_final=False)


Plot = tuple[dict[str, Any], str]
"""A figure, and a sentence that says what it shows in numbers."""


def schedule(choice: Choice) -> Plot:
    """alpha, sigma and lambda against t."""
    process = PROCESSES[choice.process]
    times = torch.linspace(process.t_min, process.t_max, 101, dtype=torch.float64)
    alpha, sigma, lam = (f(times) for f in (process.alpha, process.sigma, process.lam))
    x = _short(times.tolist())
    traces = [
        _line(x, alpha.tolist(), "\u03b1", INK),
        _line(x, sigma.tolist(), "\u03c3", INK, dash="dash"),
        _line(x, lam.tolist(), "\u03bb", INK) | {"yaxis": "y2"},
    ]
    notes = [
        _note("\u03b1", x[15], alpha[15].item(), "y"),
        _note("\u03c3 (dashed)", x[75], sigma[75].item(), "y"),
        _note("\u03bb", x[50], lam[50].item(), "y2"),
    ]
    figure = _figure(
        traces,
        {"title": {"text": "t"}, "anchor": "y2"},
        {"domain": [0.5, 1]},
        yaxis2=_axis({"domain": [0, 0.42]}),
        annotations=notes,
    )
    sentence = (
        f"From t = 0 to {process.t_max:g}: \u03b1 from {alpha[0]:.4g} to {alpha[-1]:.3g}, "
        f"\u03c3 from {sigma[0]:.2g} to {sigma[-1]:.3g}, "
        f"\u03bb from {_number(lam[0].item(), '.2f')} to {_number(lam[-1].item(), '.2f')}."
    )
    return figure, sentence


def paths(choice: Choice) -> Plot:
    """Paths of the PF-ODE and of the reverse-time SDE in one dimension, over lambda."""
    process = processes.shown(choice.process)
    anchor = _ANCHOR if process.anchored else 0.0
    means = torch.tensor([[-0.7], [0.6]], dtype=torch.float64) - anchor
    denoiser = Denoiser(Mixture(process, means, spread=0.05))
    generator = torch.Generator().manual_seed(3)
    mu = torch.full((12, 1), anchor, dtype=torch.float64)
    spread = torch.linspace(-1.8, 1.8, 12, dtype=torch.float64)[:, None]
    x_T = process.prior(mu, spread, process.t_max)
    traces = []
    for solver, colour, label in (
        ("mrs-sde-d-2", GREY, "reverse-time SDE"),
        ("mrs-ode-d-3", BLUE, "PF-ODE"),
    ):
        kept = slice(None, None, 3) if solver == "mrs-sde-d-2" else slice(None)
        run = trajectory(
            denoiser,
            mu[kept].clone(),
            process=process,
            solver=solver,
            nfe=40,
            x_T=x_T[kept].clone(),
            generator=generator,
            denoise_final=False,
        )
        steps = list(run)
        lams = _short([step.lam for step in steps])
        # One trace of all paths: nothing is drawn to a None.
        x, y = [], []
        for path in torch.stack([step.x[:, 0] for step in steps], 1).tolist():
            x += [*lams, None]
            y += [*_short(path), None]
        width = 1.5 if solver == "mrs-ode-d-3" else 1
        traces.append(_line(x, y, label, colour, width=width))
    figure = _figure(
        traces,
        {"title": {"text": "\u03bb: noise to the left, data to the right"}},
        {"title": {"text": "x"}},
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    sentence = (
        "Data at \u22120.7 and 0.6: the flow's paths never cross, so the start decides the end; "
        "an SDE's path decides on its way. In law both fill the two in the same proportion."
    )
    return figure, sentence


def weights(choice: Choice) -> Plot:
    """What the solution under the integral makes of a prediction at each place of a step."""
    h = max(t.lam - s.lam for s, t in pairwise(choice.nodes))
    places = [i / 50 for i in range(51)]
    rate = {"noise": 1.0, "data": -2.0 if choice.stochastic else -1.0}
    traces = []
    for prediction, c in rate.items():
        # The weight e^{c (h - u)} at u into the step, over its mean: 1 where all count alike.
        mean = math.expm1(c * h) / (c * h)
        y = [math.exp(c * h * (1 - u)) / mean for u in places]
        own = prediction == choice.prediction
        label = f"{prediction} prediction"
        traces.append(_line(places, _short(y), label, _colour(prediction), width=3 if own else 1.5))
    figure = _figure(
        traces,
        {
            "title": {"text": "place within the step, in \u03bb"},
            "tickvals": [0, 0.5, 1],
            "ticktext": ["start", "middle", "end"],
            "range": [-0.03, 1.05],
        },
        {"title": {"text": "weight"}, "rangemode": "tozero"},
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    sentence = (
        f"In the longest step, h = {h:.2f}, noise prediction weighs the beginning most, where x "
        "is noisier, and data prediction the end: "
        f"{math.exp(-rate['data'] * h):.3g} times as much as its beginning."
    )
    return figure, sentence


def spacings(choice: Choice) -> Plot:
    """Where the steps of each spacing fall, in t and in lambda."""
    process, names = PROCESSES[choice.process], list(SPACINGS)
    traces = []
    for row, name in enumerate(names):
        nodes = _placed(process, choice.nfe, name)
        own = name == choice.spacing
        for axis, values in (("x", [n.t for n in nodes]), ("x2", [n.lam for n in nodes])):
            marker = {"size": 8 if own else 6, "color": BLUE if own else GREY}
            hover = "t" if axis == "x" else "\u03bb"
            traces.append(
                _line(_short(values), [row] * len(values), name, BLUE if own else GREY, width=1)
                | {"mode": "lines+markers", "marker": marker, "xaxis": axis}
                | {"hovertemplate": f"{name}<br>{hover} = %{{x:.3g}}<extra></extra>"}
            )
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "showgrid": False}
    figure = _figure(
        traces,
        {"title": {"text": "t"}, "domain": [0, 0.48], "autorange": "reversed"},
        {**ticks, "range": [len(names) - 0.4, -0.6]},
        xaxis2=_axis({"title": {"text": "\u03bb"}, "domain": [0.52, 1], "anchor": "y"}),
    )
    gaps = [t.lam - s.lam for s, t in pairwise(choice.nodes)]
    sentence = (
        f"{choice.nfe} steps, {choice.spacing}: the shortest is {min(gaps):.2f} long in \u03bb, "
        f"the longest {max(gaps):.2f}."
    )
    return figure, sentence


def history(choice: Choice) -> Plot:
    """The coefficient that each past evaluation gets at each step."""
    table = choice.table(choice.prediction)
    steps = list(range(1, choice.nfe + 1))
    labels = ("newest evaluation", "the one before", "the one before that")
    traces: list[dict[str, Any]] = []
    for past in range(choice.order):
        y = [step.history[past] if past < len(step.history) else None for step in table]
        traces.append(
            {
                "type": "bar",
                "name": labels[past],
                "x": steps,
                "y": _short(y),
                "marker": {"color": PALER[choice.prediction][past]},
                "hovertemplate": f"step %{{x}}: %{{y:.3g}}<extra>{labels[past]}</extra>",
            }
        )
    carried = [step.y for step in table]
    traces.append(
        _line(steps, _short(carried), "y itself", INK, width=1)
        | {"mode": "lines+markers", "marker": {"size": 6, "color": INK}}
    )
    figure = _figure(
        traces,
        {"title": {"text": "step"}, "dtick": max(1, choice.nfe // 8)},
        {"title": {"text": "coefficient"}},
        barmode="group",
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    middle = table[choice.nfe // 2]
    numbers = ", ".join(_number(weight) for weight in middle.history)
    noise = f" and {middle.noise:.2g} of fresh noise" if choice.stochastic else ""
    sentence = (
        f"{choice.solver}, step {choice.nfe // 2 + 1}: {_number(middle.y)} of y, {numbers} of the "
        f"predicted {choice.prediction}, newest first{noise}."
    )
    return figure, sentence


def response(table: Sequence[Coefficients]) -> list[float]:
    """What an error of 1 in each evaluation adds to the end of a run, the network held still.

    The run is linear in its evaluations: evaluation i has the weight that later steps' history
    gives it, carried on by what they leave of y.
    """
    carried, left = [0.0] * len(table), 1.0
    for j in reversed(range(len(table))):
        for past, weight in enumerate(table[j].history):
            carried[j - past] += left * weight
        left *= table[j].y
    return carried


def amplification(choice: Choice) -> Plot:
    """What an error of 1 in each prediction adds to x_0, for noise and for data prediction."""
    steps = list(range(1, choice.nfe + 1))
    predictions: tuple[Parameterisation, ...] = ("noise", "data")
    found = {kind: [abs(e) for e in response(choice.table(kind))] for kind in predictions}
    traces = [
        _line(steps, _short(found[kind]), f"{kind} prediction", _colour(kind))
        | {"mode": "lines+markers", "marker": {"size": 6, "color": _colour(kind)}}
        for kind in predictions
    ]
    high = max(max(errors) for errors in found.values())
    low = min(e for errors in found.values() for e in errors if e > 0)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    figure = _figure(
        traces,
        {"title": {"text": "evaluation"}, "dtick": max(1, choice.nfe // 8)},
        {
            "type": "log",
            "title": {"text": "added to x\u2080"},
            "tickvals": [10.0**n for n in exponents],
            "ticktext": [f"{10.0**n:g}" for n in exponents],
        },
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    sentence = (
        f"{choice.nfe} steps of order {choice.order}: an error of 1 in one prediction adds at most "
        f"{max(found['noise']):.3g} to x\u2080 where it is of the noise and "
        f"{max(found['data']):.3g} where it is of the data."
    )
    return figure, sentence


PLOTS = {
    "schedule": schedule,
    "paths": paths,
    "weights": weights,
    "spacings": spacings,
    "history": history,
    "amplification": amplification,
}


def _colour(prediction: str) -> str:
    return COLOURS["noise" if prediction == "noise" else "data"]


def _number(value: float, form: str = ".3g") -> str:
    """With a minus and not a hyphen."""
    sign = "\u2212" if value < 0 else ""
    return f"{sign}{abs(value):{form}}"


def _short(values: Sequence[float | None]) -> list[float | None]:
    """Five digits are more than can be seen."""
    return [None if v is None else float(f"{v:.5g}") for v in values]


def _line(
    x: Sequence[Any],
    y: Sequence[Any],
    name: str,
    colour: str,
    width: float = 2,
    dash: str = "solid",
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": colour, "width": width, "dash": dash},
        "hovertemplate": f"{name}<br>%{{x:.3g}}: %{{y:.3g}}<extra></extra>",
    }


def _note(text: str, x: float | None, y: float, axis: str) -> dict[str, Any]:
    where = {"x": x, "y": y, "yref": axis, "xanchor": "left", "yanchor": "bottom"}
    return where | {"text": text, "showarrow": False, "font": {"color": INK, "size": 14}}


def _axis(more: dict[str, Any]) -> dict[str, Any]:
    """A second axis, as the first ones look."""
    return layout({}, more)["yaxis"]


def _figure(
    traces: list[dict[str, Any]], x: dict[str, Any], y: dict[str, Any], **more: Any
) -> dict[str, Any]:
    return {"data": traces, "layout": layout(x, y, **more)}
