"""What can be chosen together: the solvers by family, what they cost, the spacings they take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mrsampler import checkpoints, hub
from mrsampler.degradations import TASKS
from mrsampler.examples import examples
from mrsampler.processes import Process
from mrsampler.restorer import OPTIMISED, Restorer
from mrsampler.run import CLEAN, DAMAGED, SETTINGS, Run
from mrsampler.solvers import SOLVERS, Solver
from mrsampler.timesteps import SPACINGS

# What the page opens with, and the race that it has recorded.
SAMPLER, NFE = "mrs-ode-d-2", 8
BASELINE, BASELINE_NFE = "posterior", 100
LARGEST_SIDES = (256, 384, 512)


def opening(example: int = 0) -> Run:
    """The run with which the page opens, of an example photo."""
    photo = examples()[example]
    return Run(
        photo=f"assets/examples/{photo.file}",
        damage=DAMAGED if photo.damaged else CLEAN,
        task=photo.task,
        severity=photo.severity,
        solver=SAMPLER,
        nfe=NFE,
        spacing=OPTIMISED,
        baseline=BASELINE,
        baseline_nfe=BASELINE_NFE,
    )


USUAL_SPACINGS = (OPTIMISED, "blend")
"""The first of them that a run can take is its default."""

MOST, MOST_ADAPTIVE = 100, 200
"""The NFE sliders' ends: RK45 needs about 90 at its default tolerance."""

Groups = list[dict[str, Any]]
"""What a menu lists: headings, each with options of a value, a short label and a whole text.

An option's `detail`, if it has one, is what stands under the menu while it is picked.
"""


def offered(process: Process) -> dict[str, Solver]:
    """The solvers that are defined on a process, in the registry's order."""
    return {name: s for name, s in SOLVERS.items() if isinstance(process, s.processes)}


def label(name: str) -> str:
    """A solver's name for people."""
    return SOLVERS[name].label


def cost(solver: Solver) -> str:
    """What a step costs, in words."""
    if solver.adaptive:
        return "chooses its steps"
    first = "".join(f"{calls}, " for calls in solver.first)
    return f"{first}{'then ' if first else ''}{solver.evaluations} NFE a step"


def solvers(process: Process) -> Groups:
    """The menu of solvers: a heading a family."""
    families: dict[str, Groups] = {}
    for name, solver in offered(process).items():
        text = f"{solver.label}: {solver.summary} \u00b7 {cost(solver)}"
        option = {"value": name, "label": solver.label, "text": text}
        families.setdefault(solver.family, []).append(option)
    return [{"heading": family, "options": options} for family, options in families.items()]


def networks(failed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The menu of checkpoints: one that cannot be had is grey, with the reason under the menu.

    `failed` are reasons that were found out since, by checkpoint.
    """
    options: list[dict[str, Any]] = []
    detail = ""
    for name in checkpoints.offered():
        reason = (failed or {}).get(name) or unavailable(name)
        text = f"{name}: not available" if reason else f"{name}: predicts {_target(name)}"
        options.append({"value": name, "label": text, "text": text, "disabled": bool(reason)})
        if reason:
            detail = f"{reason}."
    return {
        "groups": [{"heading": "", "options": options}],
        "detail": detail,
        "fallback": checkpoints.DEFAULT,
    }


def unavailable(checkpoint: str) -> str | None:
    """Why a checkpoint cannot be had, in a sentence; None where it can."""
    if not checkpoints.at_hand(checkpoint):
        return hub.unavailable(checkpoint)
    try:
        _target(checkpoint)
    except (OSError, ValueError) as error:
        return str(error)
    return None


def _target(checkpoint: str) -> str:
    """What a checkpoint's network predicts."""
    if (published := hub.published(checkpoint)) is not None:
        return published.target
    return checkpoints.read_card(checkpoint).get("target", "something unknown")


def tasks(restorer: Restorer) -> dict[str, Any]:
    """The menu of tasks: one that the network does not know is grey, with the reason."""
    options = [_task(restorer, task) for task in TASKS]
    info = SETTINGS["task"].help
    if restorer.task_note is not None:
        info = f"Which damage to make of a clean photo. What to undo is {restorer.task_note}."
    return {"groups": [{"heading": "", "options": options}], "info": info}


def _task(restorer: Restorer, task: str) -> dict[str, Any]:
    option = {"value": task, "label": task, "text": task}
    if task in restorer.tasks:
        return option
    name = restorer.checkpoint.name
    detail = f"{name} does not know this task: choose another, or another network."
    return option | {"text": f"{task}: {name} does not know it", "detail": detail, "disabled": True}


def bounds(name: str, process: Process) -> tuple[int, int]:
    """The fewest and the most NFE that the page lets a solver have."""
    solver = SOLVERS[name]
    least = solver.cost(1, _to_data(process))
    if solver.adaptive:
        return least, MOST_ADAPTIVE
    return least, min(MOST, int(process.T)) if solver.own_nodes else MOST


def clipped(name: str, nfe: float, process: Process) -> int:
    """The NFE nearest to those that the solver can have."""
    low, high = bounds(name, process)
    return int(min(max(nfe, low), high))


def placed(name: str, wanted: float, process: Process) -> int:
    """The NFE a solver begins with: the wanted ones as near as can be, but all there are for RK45.

    How many it needs it finds out on its way; a ceiling that is too low would waste them.
    """
    return bounds(name, process)[1] if SOLVERS[name].adaptive else clipped(name, wanted, process)


def explained(name: str, nfe: float, process: Process) -> str:
    """What a solver is and what it makes of that many NFE."""
    solver, what = SOLVERS[name], _sentence(SOLVERS[name].summary)
    if solver.adaptive:
        return f"{what} Fails where that takes more NFE than it has."
    nfe, to_data = clipped(name, nfe, process), _to_data(process)
    steps = solver.steps(nfe, to_data)
    made = "1 step" if steps == 1 else f"{steps} steps"
    if solver.own_nodes:
        made = f"the first {steps} of {bounds(name, process)[1]} steps"
    if to_data and (solver.evaluations > 1 or steps <= len(solver.first)):
        made += ", the last of 1 NFE"
    rest = nfe - solver.cost(steps, to_data)
    return f"{what} {_sentence(cost(solver))[:-1]}: {made}{f', {rest} NFE left over' * bool(rest)}."


def spacings(restorer: Restorer, name: str, nfe: float) -> Groups:
    """The menu of spacings that a run can take."""
    options = [
        {"value": s, "label": s, "text": f"{s}: {_what(s)}", "detail": spacing_explained(name, s)}
        for s in restorer.spacings(name, int(nfe))
    ]
    return [{"heading": "", "options": options}]


def spacing(restorer: Restorer, name: str, nfe: float, wanted: str | None) -> str:
    """The spacing of a run: the wanted one where there is such a one, else the default."""
    known = restorer.spacings(name, int(nfe))
    return wanted if wanted in known else next(s for s in USUAL_SPACINGS if s in known)


def spaced(name: str) -> bool:
    """Whether the spacing changes anything for a solver."""
    return not (SOLVERS[name].adaptive or SOLVERS[name].own_nodes)


def spacing_explained(name: str, chosen: str) -> str:
    """What a spacing does to a solver."""
    if spaced(name):
        return _sentence(_what(chosen))
    why = "chooses its own steps" if SOLVERS[name].adaptive else "always takes unit steps"
    return f"No effect: {label(name)} {why}."


def _to_data(process: Process) -> bool:
    """Whether a run's last step goes to sigma = 0, which costs a single evaluation."""
    return process.lam(0.0) == math.inf


def _what(spacing: str) -> str:
    if spacing == OPTIMISED:
        return "fitted to this network, solver and NFE"
    return SPACINGS[spacing].summary


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
