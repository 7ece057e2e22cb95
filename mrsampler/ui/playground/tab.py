"""The Playground tab: particles in densities whose score is exact, beside the exact solution."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mrsampler import processes
from mrsampler.particles import BUDGETS, FRAMES, Ended, Particles
from mrsampler.playground import DENSITIES, Density, points
from mrsampler.processes import VPSDE, MeanRevertingSDE, Process
from mrsampler.run import FAILURES, SETTINGS, Number, OneOf, RefusedError, Whole, check, reason
from mrsampler.solvers import SOLVERS, BudgetError
from mrsampler.timesteps import SPACINGS, node
from mrsampler.trajectory import Step
from mrsampler.ui.parts import choices
from mrsampler.ui.parts.charts import BLUE, COLOURS, INK, VERMILION, chart, layout
from mrsampler.ui.parts.components import menu, style, web

PROCESSES: dict[str, Process] = {kind: processes.shown(kind) for kind in processes.PROCESSES}
DRAWN = "drawn by hand"
SOLVER = "mrs-ode-d-2"
MOST_POINTS, MOST_PARTICLES = 200, 800
REACH = 1.4
"""How far from the origin mu can be dragged, in each coordinate."""

VIEW = {kind: process.view.extent for kind, process in PROCESSES.items()}
"""Half of what is seen at t = 0: the density, and where mu can be."""

WALK_SIGMA = 0.1
"""The one noise level of Langevin dynamics that is not annealed."""

EVERY = 3  # frames between two pictures of the density
SIDE, ACROSS = 64, 15  # of a picture, in pixels; of a row of arrows

KNOBS = (
    "density",
    "process",
    "solver",
    "nfe",
    "annealed",
    "per_level",
    "step_size",
    "spacing",
    "lower",
    "particles",
    "seed",
)
"""The settings that gradio's components hold, in their order; mu and points are the stage's."""


def _letters() -> list[list[float]]:
    """What is drawn before anybody has drawn: M and R."""
    m = [(-1.2, -0.6), (-1.2, 0.6), (-0.75, 0.0), (-0.3, 0.6), (-0.3, -0.6)]
    r = [(0.3, -0.6), (0.3, 0.6), (0.8, 0.6), (1.0, 0.3), (0.8, 0.0), (0.3, 0.0), (1.1, -0.6)]
    drawn = []
    for stroke in (m, r):
        for (x, y), (to_x, to_y) in pairwise(stroke):
            count = round(math.hypot(to_x - x, to_y - y) / 0.08)
            drawn += [
                [round(x + (to_x - x) * i / count, 3), round(y + (to_y - y) * i / count, 3)]
                for i in range(count)
            ]
    return drawn


DEFAULTS: dict[str, Any] = {
    "density": "two moons",
    "process": MeanRevertingSDE.kind,
    "solver": SOLVER,
    "nfe": 8,
    "annealed": True,
    "per_level": 5,
    "step_size": 0.5,
    "spacing": "blend",
    "lower": True,
    "particles": 300,
    "seed": 0,
    "mu": [0.8, -0.6],
    "points": _letters(),
}


@dataclass(frozen=True)
class Lesson:
    """A ready-made scene: what is said of it, and the settings that differ from DEFAULTS."""

    title: str
    text: str
    settings: Mapping[str, Any]

    @property
    def whole(self) -> dict[str, Any]:
        """All settings but the points and the seed, which stay the visitor's."""
        kept = {k: v for k, v in DEFAULTS.items() if k not in ("points", "seed")}
        return kept | dict(self.settings)


LESSONS = (
    Lesson(
        "Eight evaluations",
        "Particles start about \u03bc, as a degraded photo plus noise does, and flow to the data: "
        "drag \u03bc, and where they come from changes while where they end stays.",
        {},
    ),
    Lesson(
        "Only one",
        "After a single evaluation every particle lies near the mean of all data that it may have "
        "come from, here where there is none: the blur of a one-step restoration.",
        {"density": "ring", "solver": "ddim", "nfe": 1},
    ),
    Lesson(
        "Overshoot",
        "Steps equal in t make the last one by far the longest in \u03bb; a polynomial through "
        "three past predictions is extrapolated far beyond them there, and overshoots.",
        {"solver": "mrs-ode-d-3", "nfe": 5, "spacing": "uniform-t", "lower": False},
    ),
    Lesson(
        "Fresh noise",
        "The reverse SDE adds noise at every step: no particle ends where the flow would take it, "
        "yet together they fill the same density.",
        {"density": "spiral", "solver": "mrs-sde-d-2", "nfe": 20, "mu": [0.0, 0.0]},
    ),
    Lesson(
        "Langevin, annealed",
        "The poster's picture: a random walk up the score, at one falling noise level after "
        "another; while the noise is wide the particles still cross between the modes.",
        {
            "density": "two Gaussians",
            "process": "VE",
            "solver": "langevin",
            "nfe": 100,
            "spacing": "uniform-t",
        },
    ),
    Lesson(
        "Langevin, one level",
        "The same walk at one low noise level: each particle climbs the nearest mode and stays, "
        "so the two hold as many as started near them and not 20 % and 80 %.",
        {
            "density": "two Gaussians",
            "process": "VE",
            "solver": "langevin",
            "nfe": 100,
            "spacing": "uniform-t",
            "annealed": False,
            "step_size": 0.2,
        },
    ),
    Lesson(
        "Draw your own",
        "Each point becomes a narrow Gaussian, so the score is exact for whatever you draw.",
        {"density": DRAWN, "mu": [0.0, -1.2]},
    ),
)

INVITATION = (
    "Change anything: the particles are computed anew with the exact score, by the library's own "
    "solvers."
)


# --- what the browser sends -----------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """Settings that can run."""

    name: str
    process: str
    mu: tuple[float, float]
    drawn: tuple[tuple[float, float], ...]
    solver: str
    nfe: int
    spacing: str
    lower: bool
    annealed: bool
    per_level: int
    step_size: float
    count: int
    seed: int

    @property
    def density(self) -> Density:
        return points(self.drawn) if self.name == DRAWN else DENSITIES[self.name]

    @property
    def particles(self) -> Particles:
        return _particles(
            self.name, self.drawn if self.name == DRAWN else (), self.process, self.mu, self.count,
            self.seed,
        )  # fmt: skip

    @property
    def langevin(self) -> bool:
        return self.solver == "langevin"

    @property
    def stochastic(self) -> bool:
        return SOLVERS[self.solver].stochastic

    @property
    def walks(self) -> bool:
        """Whether it is Langevin dynamics at one level."""
        return self.langevin and not self.annealed

    @property
    def settings(self) -> dict[str, Any]:
        """What the solver is run with beside its NFE."""
        given = {"spacing": self.spacing, "lower_order_final": self.lower}
        if self.langevin:
            given |= {"per_level": self.per_level, "step_size": self.step_size}
        return given


@lru_cache(maxsize=4)
def _particles(
    name: str,
    drawn: tuple[tuple[float, float], ...],
    process: str,
    mu: tuple[float, float],
    count: int,
    seed: int,
) -> Particles:
    """ByteImage while only the solver changes: the exact solution is most of the work."""
    density = points(drawn) if name == DRAWN else DENSITIES[name]
    return Particles(density, PROCESSES[process], mu, count, seed)


def read(settings: Any) -> Scene:
    """The settings of a scene. Raises RefusedError for any that the page does not offer."""
    if not isinstance(settings, dict):
        raise RefusedError("The settings must be an object.")
    given = DEFAULTS | settings
    process = check("The process", OneOf(PROCESSES), given["process"])
    solver = check("The solver", OneOf(choices.offered(PROCESSES[process])), given["solver"])
    name = check("The density", OneOf((*DENSITIES, DRAWN)), given["density"])
    low, high = choices.bounds(solver, PROCESSES[process])
    mu = (0.0, 0.0)
    if PROCESSES[process].anchored:
        mu = _place(given["mu"], "\u03bc", REACH)
    drawn: tuple[tuple[float, float], ...] = ()
    if name == DRAWN:
        listed = given["points"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_POINTS:
            raise RefusedError(f"Draw 1 to {MOST_POINTS} points.")
        drawn = tuple(_place(place, "A point", max(VIEW.values())) for place in listed)
    nfe = check(f"The NFE of {choices.label(solver)}", Whole(low, high), given["nfe"])
    return Scene(
        name,
        process,
        mu,
        drawn,
        solver,
        nfe,
        check("The spacing", OneOf(SPACINGS), given["spacing"]),
        bool(given["lower"]),
        bool(given["annealed"]),
        check("The updates a level", Whole(1, 100), given["per_level"]),
        check("The step size", Number(0.01, 1), given["step_size"]),
        check("The number of particles", Whole(20, MOST_PARTICLES), given["particles"]),
        check("The seed", SETTINGS["seed"].kind, given["seed"]),
    )


def _place(value: Any, what: str, reach: float) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise RefusedError(f"{what} must be two numbers.")
    x, y = (check(f"Each coordinate of {what}", Number(-reach, reach), v) for v in value)
    return x, y


# --- what it shows --------------------------------------------------------------------------------


def simulate(settings: dict[str, Any]) -> dict[str, Any]:
    """The particles of a scene and what they are seen in; or {"error": a sentence}."""
    try:
        scene = read(settings)
        steps, trouble = solve(scene)
        return _answer(scene, steps, trouble)
    except FAILURES as error:
        return {"error": reason(error)}


def solve(scene: Scene) -> tuple[list[Step], str | None]:
    """The solver's Steps, and why they are not all there where it gave up."""
    particles = scene.particles
    if scene.walks:
        run = particles.walk(scene.nfe, WALK_SIGMA, scene.step_size)
    else:
        run = particles.steps(scene.solver, scene.nfe, **scene.settings)
    steps: list[Step] = []
    try:
        steps.extend(run)
    except (BudgetError, ArithmeticError) as error:
        return steps, f"{error}."
    return steps, None


def _answer(scene: Scene, steps: list[Step], trouble: str | None) -> dict[str, Any]:
    particles, process = scene.particles, PROCESSES[scene.process]
    if scene.langevin:  # time stands still at a level: the clock counts updates
        last = len(steps) - 1
        times = [steps[round(k / FRAMES * last)].t for k in range(FRAMES + 1)]
        at = [i / last * FRAMES for i in range(last + 1)]
    else:
        times = particles.times if scene.stochastic else [step.t for step in particles.flow]
        at = np.interp([-s.t for s in steps], [-t for t in times], range(FRAMES + 1)).tolist()
    if scene.stochastic:
        exact = particles.paths(times)
    else:
        exact = torch.stack([step.x for step in particles.flow])
    halves = [_half(scene.process, t) for t in times]
    reach = 4 * max(halves)
    pictures, arrows = _fields(particles, times[::EVERY], halves[::EVERY])
    lams = [process.lam(t) for t in times]
    return {
        "count": scene.count,
        "frames": FRAMES,
        "t": times,
        "lam": [lam if math.isfinite(lam) else None for lam in lams],
        "half": halves,
        "reach": reach,
        "budget": scene.nfe,
        "paired": not scene.stochastic,
        "sampler": {
            "label": choices.label(scene.solver),
            "note": _steps(len(steps) - 1),
            "score": _score(scene, steps[-1].x),
            "nfe": [step.nfe for step in steps],
            "at": at,
            "x": _packed(torch.stack([step.x for step in steps]), reach),
        },
        "exact": _beside(scene)
        | {
            "at": list(range(FRAMES + 1)),
            "x": _packed(exact, reach),
        },
        "fields": {
            "every": EVERY,
            "side": SIDE,
            "across": ACROSS,
            "count": len(pictures),
            "half": halves[::EVERY],
            "pictures": base64.b64encode(pictures.tobytes()).decode(),
            "arrows": base64.b64encode(arrows.tobytes()).decode(),
        },
        "say": trouble or _seen(scene, steps),
    }


def _beside(scene: Scene) -> dict[str, str]:
    """What the exact particles are: of the same x_T, of the same law, or of the same levels."""
    if scene.langevin:
        said = "samples of p_t", "exact at every noise level"
    elif scene.stochastic:
        said = "forward paths, played backwards", "the law of the reverse-time SDE"
    else:
        said = "PF-ODE, same x_T", "solved to within 5e-5 (RMS)"
    return {"label": "Exact", "note": said[0], "score": said[1]}


def _half(process: str, t: float) -> float:
    """Half of what is seen at t: wider while the noise is."""
    alpha, sigma = PROCESSES[process].alpha(t), PROCESSES[process].sigma(t)
    return max(VIEW[process], 2.6 * math.hypot(sigma, 0.7 * alpha))


def _packed(x: Tensor, reach: float) -> str:
    """Positions (frames, n, 2) as int16 parts of `reach`, clipped there; -32768 for none."""
    part = (x / reach).clamp(-1, 1).mul(32767).nan_to_num(nan=-32768)
    return base64.b64encode(part.round().numpy().astype("<i2").tobytes()).decode()


def _fields(
    particles: Particles, times: list[float], halves: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    """p_t (times, SIDE, SIDE), rows from above, and the score's arrows (times, ACROSS², 2)."""
    mixture, mu, pictures, arrows = particles.mixture, particles.anchor[0], [], []
    cells = (torch.arange(ACROSS, dtype=torch.float64) + 0.5) * 2 / ACROSS - 1
    grid = torch.cartesian_prod(cells, cells).flip(1)  # rows are y, upwards
    for t, half in zip(times, halves, strict=True):
        axis = ((torch.arange(SIDE, dtype=torch.float64) + 0.5) * 2 / SIDE - 1) * half
        picture = mixture.picture(t, axis, mu).flip(0)
        # The root lets the thin tails be seen.
        pictures.append((picture / picture.max().clamp(min=1e-300)).sqrt().mul(255).byte())
        place = node(particles.process, t)
        y, sigma = grid * half - mu, max(place.sigma, 1e-3)
        score = (place.alpha * mixture.data(y, place.alpha, sigma) - y) / sigma**2
        size = score.norm(dim=1, keepdim=True)
        # Directions are exact; lengths saturate, or one arrow in the tails would dwarf all.
        arrows.append((score / (size + size.median())).mul(127).round().to(torch.int8))
    return torch.stack(pictures).numpy(), torch.stack(arrows).numpy()


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _score(scene: Scene, x: Tensor) -> str:
    distance = _measured(scene, scene.particles.error(x, scene.stochastic))
    return f"{'energy distance' if scene.stochastic else 'RMS distance to exact'} {distance}"


def _measured(scene: Scene, error: float) -> str:
    """An error in words: below what chance gives exact samples, its digits say nothing."""
    if scene.stochastic and error <= scene.particles.chance:
        return f"under {_short(scene.particles.chance)}"
    return _short(error)


def _short(value: float) -> str:
    return "infinite" if not math.isfinite(value) else f"{value:.2g}" if value < 1e4 else "> 10000"


def _seen(scene: Scene, steps: list[Step]) -> str:
    """One or two sentences about what has happened."""
    x, label = steps[-1].x, choices.label(scene.solver)
    inside = (torch.isfinite(x) & (x.abs() < VIEW[scene.process])).all(1)
    lost = int((~inside).sum())
    if lost > scene.count / 50:
        return (
            f"{lost} of {scene.count} particles have left the picture and are drawn hollow at its "
            f"edge: {label} is not stable in {_steps(len(steps) - 1)} placed like these. More "
            "evaluations, another spacing or a lower order at the end bring them back."
        )
    if SOLVERS[scene.solver].own_nodes and scene.nfe < scene.particles.process.T:
        return (
            f"{label} moves by one unit of t at each evaluation, however far apart they are: "
            f"{scene.nfe} of the {scene.particles.process.T:.0f} units that lead to the data."
        )
    error = scene.particles.error(x, scene.stochastic)
    words = []
    if scene.name == "two Gaussians":
        larger = (x.sum(1) > 0).double().mean().item()
        words.append(f"{100 * larger:.0f} % of the particles are in the mode that holds 80 %.")
    distance = _measured(scene, error)
    evaluations = "1 evaluation" if steps[-1].nfe == 1 else f"{steps[-1].nfe} evaluations"
    if scene.stochastic:
        chance = scene.particles.chance
        theirs = "so" if error <= chance else f"under {_short(chance)}"
        words.append(
            f"The particles' energy distance to the density is {distance}; that of {scene.count} "
            f"exact samples is {theirs}, 19 times in 20."
        )
    elif error < 0.02:
        words.append(
            f"After {evaluations} the particles are where the exact flow takes them, to within "
            f"{distance} (root mean square)."
        )
    else:
        words.append(
            f"After {evaluations} the particles are {distance} (root mean square) from where the "
            "exact flow takes them; gap draws each one's way there."
        )
    return " ".join(words)


# --- the error against NFE ------------------------------------------------------------------------


def rivals(solver: str) -> list[str]:
    """Two solvers to set beside one: the other parameterisation of the same order, and DDIM."""
    usual = (SOLVER, "ddim", "mrs-ode-n-2")
    if SOLVERS[solver].stochastic:
        usual = ("mrs-sde-d-2", "posterior", "euler-maruyama")
    twin = SOLVERS[solver].counterpart
    return [name for name in dict.fromkeys((twin, *usual)) if name not in (None, solver)][:2]


def errors(settings: dict[str, Any]) -> dict[str, Any]:
    """The error of a scene's solver and two others against NFE: {"figure", "say"}, or an error."""
    try:
        return _errors(read(settings))
    except FAILURES as error:
        return {"error": reason(error)}


def _errors(scene: Scene) -> dict[str, Any]:
    particles, budgets = scene.particles, sorted({*BUDGETS, scene.nfe})
    usual = {"spacing": scene.spacing, "lower_order_final": scene.lower}
    curves = {name: particles.errors(name, budgets, **usual) for name in rivals(scene.solver)}
    if scene.walks:
        runs = (particles.walk(nfe, WALK_SIGMA, scene.step_size) for nfe in budgets if nfe > 1)
        own = [particles.ended(run, True) for run in runs]
    else:
        own = particles.errors(scene.solver, budgets, **scene.settings)
    curves = {scene.solver: own} | curves
    told = [
        f"{choices.label(name)} {_measured(scene, dict(curve)[scene.nfe])}"
        for name, curve in curves.items()
        if scene.nfe in dict(curve)
    ]
    if len(told) < 2:  # an adaptive solver's NFE are its own
        return {"figure": _figure(scene, curves), "say": ""}
    unit = "energy distance to the density" if scene.stochastic else "RMS distance to exact"
    say = f"At {scene.nfe} NFE, {unit}: {', '.join(told)}."
    return {"figure": _figure(scene, curves), "say": say}


def _figure(scene: Scene, curves: dict[str, list[Ended]]) -> dict[str, Any]:
    colours = (BLUE, VERMILION, COLOURS["p1"])
    floor = scene.particles.chance if scene.stochastic else None
    shown = [e for curve in curves.values() for _, e in curve if 0 < e < 1e3]
    low = max(1e-5, min([floor / 3] if floor else shown, default=1e-3))
    traces: list[dict[str, Any]] = []
    for (name, curve), colour in zip(curves.items(), colours, strict=False):
        kept = [(n, max(e, low)) for n, e in curve if e < 1e3]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": choices.label(name),
                "x": [n for n, _ in kept],
                "y": [e for _, e in kept],
                "line": {"color": colour, "width": 2.5 if name == scene.solver else 1.5},
                "marker": {"size": 6, "color": colour},
                "hovertemplate": "%{fullData.name}<br>%{x} NFE: %{y:.2g}<extra></extra>",
            }
        )
    shapes = [_line({"x0": scene.nfe, "x1": scene.nfe, "yref": "paper", "y0": 0, "y1": 1})]
    notes = []
    if floor:
        shapes.append(_line({"xref": "paper", "x0": 0, "x1": 1, "y0": floor, "y1": floor}))
        where = {"xref": "paper", "x": 1, "y": math.log10(floor), "xanchor": "right"}
        text = {"text": "exact samples", "yanchor": "bottom", "showarrow": False}
        notes.append(where | text | {"font": {"size": 12, "color": INK}})
    unit = "energy distance" if scene.stochastic else "RMS distance"
    budgets = [1, 2, 3, 5, 10, 20, 50, 100]
    return {
        "data": traces,
        "layout": layout(
            {
                "type": "log",
                "title": {"text": "NFE"},
                "tickvals": budgets,
                "ticktext": [str(n) for n in budgets],
            },
            {
                "type": "log",
                "title": {"text": unit},
                "tickvals": [10.0**n for n in range(-5, 4)],
                "ticktext": ["0.00001", "0.0001", "0.001", "0.01", "0.1", "1", "10", "100", "1000"],
            },
            showlegend=True,
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            shapes=shapes,
            annotations=notes,
        ),
    }


def _line(ends: dict[str, Any]) -> dict[str, Any]:
    return {"type": "line", "line": {"color": INK, "width": 1, "dash": "dot"}} | ends


# --- the knobs ------------------------------------------------------------------------------------


def _tile(density: Density) -> str:
    """A small picture of a density, black on nothing, as a data URI."""
    mixture = density.under(VPSDE(), torch.zeros(2, dtype=torch.float64))
    axis = torch.linspace(-1.45, 1.45, 72, dtype=torch.float64)
    picture = mixture.picture(1e-3, axis, torch.zeros(2, dtype=torch.float64)).flip(0)
    alpha = (picture / picture.max()).sqrt().mul(255).byte().numpy()
    image = Image.fromarray(np.stack([np.zeros_like(alpha), alpha], -1), "LA")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def tiles() -> list[dict[str, str]]:
    """The densities that can be chosen, each with its picture."""
    known = DENSITIES | {DRAWN: points(_letters())}
    return [
        {"value": name, "label": name, "picture": _tile(density)} for name, density in known.items()
    ]


def solver_menu(process: str, solver: str, nfe: float | None) -> dict[str, Any]:
    """What the menu of solvers shows under a process."""
    offered = PROCESSES[process]
    known = solver if solver in choices.offered(offered) else SOLVER
    return {
        "groups": choices.solvers(offered),
        "detail": choices.explained(known, nfe or 0, offered),
        "fallback": SOLVER,
    }


def spacing_menu(solver: str) -> dict[str, Any]:
    """What the menu of spacings shows."""
    options = [
        {"value": name, "label": name, "text": name}
        | {"detail": choices.spacing_explained(solver, name)}
        for name in SPACINGS
    ]
    return {
        "groups": [{"heading": "", "options": options}],
        "disabled": not choices.spaced(solver),
    }


def settled(process: str, solver: str, nfe: float | None) -> tuple[Any, ...]:
    """The menus, the NFE's bounds and Langevin's own knobs, once process, solver or NFE moved."""
    process = process if process in PROCESSES else DEFAULTS["process"]
    if solver not in choices.offered(PROCESSES[process]):
        solver = SOLVER
    low, high = choices.bounds(solver, PROCESSES[process])
    placed = choices.clipped(solver, nfe or 0, PROCESSES[process])
    if SOLVERS[solver].adaptive and placed < high:
        placed = high
    bounds: dict[str, Any] = {"minimum": low, "maximum": high}
    return (
        gr.update(**solver_menu(process, solver, placed)),
        gr.update(**bounds) if placed == nfe else gr.update(**bounds, value=placed),
        gr.update(**spacing_menu(solver)),
        gr.update(visible=solver == "langevin"),
    )


def _learn(event: gr.EventData) -> tuple[Any, ...]:
    """The knobs of a ready-made scene; the two menus the browser sets itself."""
    given = LESSONS[int(event.index)].whole
    solver, nfe, spacing, langevin = settled(given["process"], given["solver"], given["nfe"])
    nfe = nfe | {"value": given["nfe"]}
    others = (given[name] for name in ("annealed", "per_level", "step_size"))
    spacing = spacing | {"value": given["spacing"]}  # where the menu has not been unfolded yet
    return (
        given["density"], given["process"], solver, nfe, *others, spacing, given["lower"],
        given["particles"], langevin,
    )  # fmt: skip


def build(page: gr.Blocks) -> None:
    """Lays out the tab, inside the page's Blocks context."""
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    process = PROCESSES[DEFAULTS["process"]]
    with gr.Row(elem_id="playground"):
        with gr.Column(elem_id="playground-knobs", scale=0, min_width=0):
            knobs, langevin = _knobs(process)
        with gr.Column(elem_id="playground-scene"):
            scene = gr.HTML(
                None,
                settings=DEFAULTS,
                knobs=KNOBS,
                lessons=[{"title": x.title, "text": x.text, "settings": x.whole} for x in LESSONS],
                invitation=INVITATION,
                drawn=DRAWN,
                most=MOST_POINTS,
                reach=REACH,
                view=VIEW,
                anchored=[kind for kind, process in PROCESSES.items() if process.anchored],
                server_functions=[simulate, errors],
                head=style("playground/page.css"),
                **web("playground/scene", "lesson"),
            )
        with gr.Column(elem_id="playground-error"):
            gr.HTML(
                "<h3>Error against NFE <span>blue is the solver above, whichever it is; the other "
                "colours are two to set beside it</span></h3><p>&nbsp;</p>"
            )
            chart(
                "playground", "The error against NFE of three solvers", elem_id="playground-chart"
            )

    by_name = dict(zip(KNOBS, knobs, strict=True))
    announce = (
        "(...all) => { document.dispatchEvent(new CustomEvent('playground', { detail: all })); }"
    )
    followed = [by_name["process"], by_name["solver"], by_name["nfe"]]
    following = [by_name["solver"], by_name["nfe"], by_name["spacing"], langevin]
    told: dict[str, Any] = {"queue": False, "trigger_mode": "always_last", **private}
    moved = gr.on([knob.input for knob in followed], settled, followed, following, **told)
    # Again: a menu may have gone back to the visitor's own pick, which is listed once more.
    moved = moved.then(settled, followed, following, **told)
    moved.then(None, knobs, None, js=announce, **private)
    rest = [knob.input for knob in knobs if knob not in followed]
    gr.on(rest, None, knobs, None, js=announce, **private)
    shown = [knob for name, knob in by_name.items() if name != "seed"]
    # A walk at one level has no use for the updates a level.
    quietly: dict[str, Any] = {"queue": False, **private}
    by_name["annealed"].change(
        lambda on: gr.update(interactive=on), by_name["annealed"], by_name["per_level"], **quietly
    )
    scene.lesson(_learn, None, [*shown, langevin], queue=False, **private)


def _starts() -> str:
    """Where the particles of each process start."""
    anchored = [p.label for p in PROCESSES.values() if p.anchored]
    others = [p.label for p in PROCESSES.values() if not p.anchored]
    return (
        f"Particles start about \u03bc, which you can drag, with {_listed(anchored)}; "
        f"about the origin with {_listed(others)}."
    )


def _listed(names: list[str]) -> str:
    """In a sentence: "a, b and c"."""
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def _knobs(process: Process) -> tuple[list[Any], gr.Column]:
    """The controls in KNOBS' order, and the column of Langevin's own."""
    density = gr.HTML(
        DEFAULTS["density"],
        title="Density",
        info="Where x\u2080 comes from. Its score is known exactly at every t.",
        options=tiles(),
        **web("playground/density", "input"),
    )
    kind = gr.Radio(
        [(process.label, kind) for kind, process in PROCESSES.items()],
        value=DEFAULTS["process"],
        label="Process",
        info=_starts(),
    )
    solver = menu(
        "Particle solver",
        "SDE adds fresh noise at every step, ODE none.",
        SOLVER,
        **solver_menu(DEFAULTS["process"], SOLVER, DEFAULTS["nfe"]),
    )
    low, high = choices.bounds(SOLVER, process)
    nfe = gr.Slider(
        low,
        high,
        DEFAULTS["nfe"],
        step=1,
        label="Evaluations (NFE)",
        info="More steps, closer to the exact solution.",
        buttons=[],
    )
    with gr.Column(visible=False) as langevin:
        annealed = gr.Checkbox(
            DEFAULTS["annealed"],
            label="Annealed",
            info=f"Noise levels from wide to narrow; without, \u03c3 = {WALK_SIGMA} alone.",
        )
        per_level = gr.Slider(
            1,
            50,
            DEFAULTS["per_level"],
            step=1,
            label="Updates a level",
            info="More time at each level, fewer levels.",
            buttons=[],
        )
        step_size = gr.Slider(
            0.05,
            1,
            DEFAULTS["step_size"],
            step=0.05,
            label="Step size",
            info="In \u03c3\u00b2 of the level: longer walks faster, and rougher.",
            buttons=[],
        )
    with gr.Accordion("Advanced", open=False):
        spacing = menu(
            "Step spacing", "Where the steps fall.", DEFAULTS["spacing"], **spacing_menu(SOLVER)
        )
        lower = gr.Checkbox(
            DEFAULTS["lower"],
            label="Lower order at the end",
            info="The last steps trust fewer past predictions; without it they may overshoot.",
        )
        particles = gr.Slider(
            50,
            MOST_PARTICLES,
            DEFAULTS["particles"],
            step=50,
            label="Particles",
            info="More fill the density better and take longer.",
            buttons=[],
        )
        seed = gr.Number(
            DEFAULTS["seed"],
            label="Playground seed",
            precision=0,
            minimum=0,
            maximum=SETTINGS["seed"].range[1],
            info="Another x_T, other noise.",
        )
    return [
        density, kind, solver, nfe, annealed, per_level, step_size, spacing, lower, particles, seed,
    ], langevin  # fmt: skip
