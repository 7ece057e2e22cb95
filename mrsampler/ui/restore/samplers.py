"""The controls that give samplers: their menus and NFE sliders, which follow each other."""

from __future__ import annotations

from typing import Any

import gradio as gr

from mrsampler.restorer import OPTIMISED, Restorer
from mrsampler.solvers import SOLVERS
from mrsampler.ui.parts import choices
from mrsampler.ui.parts.photo_controls import whole
from mrsampler.ui.restore.live import Entrant
from mrsampler.ui.session import load, loaded

Placed = tuple[tuple[str, str], tuple[str, str]]
"""The checkpoint and solver that each of the NFE sliders was last set for."""


def _offered(restorer: Restorer, solver: Any) -> str:
    if isinstance(solver, str) and solver in choices.offered(restorer.process):
        return solver
    raise gr.Error(
        f"{str(solver)[:80]!r} is no solver that is defined on this checkpoint's process.",
        print_exception=False,
    )


def entrant(restorer: Restorer, key: str, solver: Any, nfe: Any, spacing: Any = None) -> Entrant:
    """A sampler that can run: on the given spacing, the baseline ("b") on its own usual one.

    Raises gr.Error with a sentence for what the page does not offer.
    """
    solver = _offered(restorer, solver)
    label = choices.label(solver)
    nfe = whole(nfe, f"The NFE of {label}", *choices.bounds(solver, restorer.process))
    if key == "b":
        return Entrant(key, label, solver, nfe, SOLVERS[solver].spacing)
    # Run can be pressed before the page has heard that there are no fitted times for another NFE.
    known = dict.fromkeys((OPTIMISED, *restorer.spacings(solver, nfe)))
    if not isinstance(spacing, str) or spacing not in known:
        sentence = f"The spacing must be one of {', '.join(known)}; got {str(spacing)[:80]!r}."
        raise gr.Error(sentence, print_exception=False)
    return Entrant(key, label, solver, nfe, choices.spacing(restorer, solver, nfe, spacing))


def sampler_menu(restorer: Restorer, solver: str, nfe: float | None) -> dict[str, Any]:
    """What the sampler's menu shows."""
    solver = _offered(restorer, solver)
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
        gr.update(info=choices.task_info(restorer)),
    )


def _nfe(
    restorer: Restorer,
    nfe: float | None,
    wanted: float,
    before: tuple[str, str],
    after: tuple[str, str],
) -> dict[str, Any]:
    """An NFE slider's bounds, and a value where what it was set for has changed."""
    solver, process = _offered(restorer, after[1]), restorer.process
    low, high = choices.bounds(solver, process)
    bounds = {"minimum": low, "maximum": high}
    if after == before:
        return bounds  # a number that is still being typed is the browser's to correct
    if solver == before[1]:
        value = choices.clipped(solver, nfe or 0, process)
    else:
        value = choices.placed(solver, wanted, process)
    return bounds if value == nfe else bounds | {"value": value}


def nfe_slider(restorer: Restorer, solver: str, value: int, label: str, info: str) -> gr.Slider:
    """A slider with the NFE that a solver can have."""
    low, high = choices.bounds(solver, restorer.process)
    return gr.Slider(low, high, value, step=1, label=label, buttons=[], info=info)
