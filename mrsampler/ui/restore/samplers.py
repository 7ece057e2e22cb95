"""The controls that give samplers: their menus and NFE sliders, which follow each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from mrsampler import checkpoints
from mrsampler.restorer import OPTIMISED, Restorer
from mrsampler.run import SETTINGS, Kind, Number, OneOf, Run, Setting, Whole
from mrsampler.size import OWN
from mrsampler.solvers import SOLVERS
from mrsampler.ui.parts import choices
from mrsampler.ui.parts.photo_controls import refusals
from mrsampler.ui.parts.settings import slider
from mrsampler.ui.restore.live import Entrant
from mrsampler.ui.session import load, loaded

Placed = tuple[tuple[str, str], tuple[str, str]]
"""The checkpoint and solver that each of the NFE sliders was last set for."""


def _solvers(restorer: Restorer) -> OneOf:
    return OneOf(choices.offered(restorer.process))


def offered(restorer: Restorer, asked: Run) -> dict[str, Setting]:
    """The settings as the page offers them for a network, and for a run's samplers."""

    def counts(solver: str) -> Whole:
        return Whole(*choices.bounds(solver, restorer.process))

    kinds: dict[str, Kind] = {
        "task": OneOf(restorer.tasks),
        "solver": _solvers(restorer),
        "nfe": counts(asked.solver),
        "spacing": OneOf(restorer.spacings(asked.solver, asked.nfe)),
        "baseline": _solvers(restorer),
        "baseline_nfe": counts(asked.baseline),
        "texture": Number(0, 1) if restorer.reads else OneOf((1.0,)),
        "size": OneOf((OWN, *choices.LARGEST_SIDES)),
        "checkpoint": OneOf(checkpoints.offered()),
    }
    return SETTINGS | {name: SETTINGS[name].within(kind) for name, kind in kinds.items()}


def checked(restorer: Restorer, asked: Run) -> Run:
    """A run whose samplers the page offers. Raises RefusedError for others."""
    settings = offered(restorer, asked)
    for name in ("solver", "nfe", "baseline", "baseline_nfe"):
        settings[name].check(getattr(asked, name))
    # Run can be pressed before the page has heard that there are no fitted times for another NFE.
    if asked.spacing != OPTIMISED:
        settings["spacing"].check(asked.spacing)
    spacing = choices.spacing(restorer, asked.solver, asked.nfe, asked.spacing)
    return replace(asked, spacing=spacing)


def entrants(asked: Run) -> tuple[Entrant, Entrant]:
    """Its samplers, the baseline on the spacing that is usual for it."""
    baseline, usual = asked.baseline, SOLVERS[asked.baseline].spacing
    return (
        Entrant("a", choices.label(asked.solver), asked.solver, asked.nfe, asked.spacing),
        Entrant("b", choices.label(baseline), baseline, asked.baseline_nfe, usual),
    )


def sampler_menu(restorer: Restorer, solver: str, nfe: float | None) -> dict[str, Any]:
    """What the sampler's menu shows."""
    detail = choices.explained(solver, nfe or 0, restorer.process)
    return {"groups": choices.solvers(restorer.process), "detail": detail}


def baseline_menu(restorer: Restorer, solver: str, nfe: float | None) -> dict[str, Any]:
    """What the baseline's menu shows."""
    shown = sampler_menu(restorer, solver, nfe)
    if choices.spaced(solver):
        shown["detail"] += f" On {SOLVERS[solver].spacing}, its usual spacing."
    return shown


def spacing_menu(restorer: Restorer, solver: str, nfe: float | None) -> dict[str, Any]:
    """What the spacing's menu shows: it keeps the visitor's pick where there is such a one."""
    nfe = choices.clipped(solver, nfe or 0, restorer.process)
    return {
        "groups": choices.spacings(restorer, solver, nfe),
        "fallback": choices.spacing(restorer, solver, nfe, None),
        "disabled": not choices.spaced(solver),
    }


def settled(
    checkpoint: str,
    sampler: str,
    nfe: float | None,
    wanted_nfe: float,
    baseline: str,
    baseline_nfe: float | None,
    wanted_baseline_nfe: float,
    before: Placed,
) -> tuple[Any, ...]:
    """All menus and NFE sliders, once any of them or the checkpoint has moved.

    What is picked in a menu only the visitor's browser changes: an answer may come after the next
    pick. So may one for a slider, hence a value is sent only where the slider cannot keep its own.
    While a checkpoint is still on its way, they stay those of the one before.
    """
    if not loaded(checkpoint):
        checkpoint = before[0][0]
    restorer, after = load(checkpoint), ((checkpoint, sampler), (checkpoint, baseline))
    with refusals():
        for solver in (sampler, baseline):
            SETTINGS["solver"].within(_solvers(restorer)).check(solver)
    first = _nfe(restorer, nfe, wanted_nfe, before[0], after[0])
    second = _nfe(restorer, baseline_nfe, wanted_baseline_nfe, before[1], after[1])
    nfe, baseline_nfe = first.get("value", nfe), second.get("value", baseline_nfe)
    return (
        gr.update(**sampler_menu(restorer, sampler, nfe)),
        gr.update(**first),
        gr.update(**baseline_menu(restorer, baseline, baseline_nfe)),
        gr.update(**second),
        gr.update(**spacing_menu(restorer, sampler, nfe)),
        after,
        gr.update(**choices.tasks(restorer)),
        gr.update(**texture(restorer)),
    )


def texture(restorer: Restorer) -> dict[str, Any]:
    """What of the texture's slider depends on the network."""
    if restorer.reads:
        return {"interactive": True, "info": SETTINGS["texture"].help}
    why = f"{restorer.checkpoint.name} makes no estimate to mix the sample with."
    return {"interactive": False, "info": why, "value": 1}


def _nfe(
    restorer: Restorer,
    nfe: float | None,
    wanted: float,
    before: tuple[str, str],
    after: tuple[str, str],
) -> dict[str, Any]:
    """An NFE slider's bounds, and a value where what it was set for has changed."""
    solver, process = after[1], restorer.process
    low, high = choices.bounds(solver, process)
    bounds = {"minimum": low, "maximum": high}
    if after == before:
        return bounds  # a number that is still being typed is the browser's to correct
    if solver == before[1]:
        value = choices.clipped(solver, nfe or 0, process)
    else:
        value = choices.placed(solver, wanted, process)
    return bounds if value == nfe else bounds | {"value": value}


def nfe_slider(restorer: Restorer, asked: Run, name: str) -> gr.Slider:
    """For the NFE, of which `name` says whose, that its solver can have."""
    return slider(offered(restorer, asked)[name], getattr(asked, name))
