"""The Compare tab: solvers x NFE on one photo, as a contact sheet, curves and a table."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from mrsampler import checkpoints
from mrsampler.restorer import Restorer
from mrsampler.run import FAILURES, SETTINGS, OneOf, Run, cut, reason
from mrsampler.solvers import BudgetError
from mrsampler.timesteps import SPACINGS
from mrsampler.ui import session
from mrsampler.ui.compare.contact import contact_sheet
from mrsampler.ui.compare.grid import (
    CONVERGED,
    FITTED,
    USUAL,
    Cell,
    Grid,
    Result,
    ResultCache,
    measured,
    plan,
)
from mrsampler.ui.compare.grid import Subject as Key
from mrsampler.ui.parts import choices
from mrsampler.ui.parts import photo_controls as given
from mrsampler.ui.parts.charts import COLOURS
from mrsampler.ui.parts.components import (
    SEND,
    arrival_line,
    as_text,
    menu,
    panel,
    style,
    web,
)
from mrsampler.ui.parts.files import save_bytes
from mrsampler.ui.parts.frames import jpeg
from mrsampler.ui.parts.networks import left, made_ready, task_told
from mrsampler.ui.parts.quality import Judge
from mrsampler.ui.parts.settings import LARGEST_SIDE, seed_box, size_radio
from mrsampler.ui.parts.tab import PRIVATE, Runs, buttons, by_name, waiting, wire_preview, wire_run
from mrsampler.ui.queue import THROUGHPUT, duration
from mrsampler.ui.restore.memory import digest
from mrsampler.ui.session import (
    QUEUE,
    arrival,
    load,
    restoration,
    subject,
    under_way,
)

# Okabe-Ito; the race's two first. Beyond six a colour comes again, dashed.
_COLOURS = [*COLOURS.values(), "#E69F00"]
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "pentagon", "cross")
STYLES = [
    {"colour": colour, "dash": dash, "symbol": symbol + hollow}
    for dash, hollow in (("solid", ""), ("dash", "-open"))
    for colour, symbol in zip(_COLOURS, _SYMBOLS, strict=True)
]

# What the tab opens with.
SOLVERS = ["mrs-ode-d-2", "posterior", "mrs-sde-d-2", "mrs-ode-n-2", "unipc-bh2-d-2"]
NFES = "3, 5, 10, 20"
MOST_NFES, MOST_EVALUATIONS = 6, 3000

CACHE = ResultCache()

RUNS = Runs()
_warm: set[tuple[str, tuple[int, ...]]] = set()


@dataclass(frozen=True)
class Asked:
    """What a visitor has set: the photo made ready, and the grid as far as it is known."""

    run: Run
    shown: session.Subject
    grid: Grid
    pictures: dict[str, Any]
    judge: Judge | None
    restorer: Restorer

    @property
    def todo(self) -> list[Cell]:
        """The runs that Run makes: those that are not there, and what may do better."""
        return [cell for cell in self.grid.wanted if not self.grid.is_final(cell)]

    @property
    def evaluations(self) -> int:
        """The network calls still to be made."""
        return sum(cell.spends(self.restorer.process) for cell in self.todo)

    @property
    def seconds(self) -> float | None:
        """About how long they take, if any were ever timed here."""
        return self.expected(self.evaluations)

    def expected(self, evaluations: int) -> float | None:
        """About how long so many evaluations take, if any were ever timed here."""
        width, height = self.grid.subject.size
        return THROUGHPUT.seconds(self.run.checkpoint, width * height, evaluations)


def asked(visitor: str, values: dict[str, Any]) -> Asked:
    """The settings, checked. Raises gr.Error with a sentence for what cannot be run."""
    spacings = SETTINGS["spacing"].within(OneOf((USUAL, FITTED, *SPACINGS)))
    with given.refusals():
        spacing = spacings.check(values["spacing"])
    source, run = given.read_run(
        {name: value for name, value in values.items() if name != "spacing"}, size=LARGEST_SIDE
    )
    restorer = load(run.checkpoint)
    chosen = _solvers(restorer, values["solvers"])
    counts = _nfes(values["nfes"])
    cells = plan(restorer, [name for name in chosen if name], counts, spacing)
    with given.refusals():
        restorer.check_task(run.task)
    shown = subject(source.within(int(run.size)), run)
    height, width = shown.degraded.shape[1:]
    truth = "" if shown.truth is None else digest(shown.truth)
    key = Key(run.checkpoint, run.task, run.seed, digest(shown.degraded), truth, (width, height))
    title = {
        "photo": Path(run.photo).name,
        "task": run.task,
        "severity": f"{run.severity:g}" if run.clean else "",
        "seed": f"{run.seed}",
        "checkpoint": run.checkpoint,
        "pixels": f"{width} x {height}",
    }
    judge = None if shown.truth is None else Judge(shown.truth)
    grid = Grid(key, title, chosen, counts, cells, with_rmse=bool(values["with_rmse"]))
    grid.degraded, grid.truth = shown.degraded, shown.truth
    grid.input = judge(shown.degraded) if judge else None
    grid.results = CACHE.known(visitor, key, [*cells, CONVERGED])
    ask = Asked(run, shown, grid, _pictures(shown), judge, restorer)
    if ask.evaluations > MOST_EVALUATIONS:
        raise _refusal(f"These are {ask.evaluations} evaluations; at most {MOST_EVALUATIONS}.")
    return ask


def _refusal(sentence: str) -> gr.Error:
    return gr.Error(sentence, print_exception=False)


def _solvers(restorer: Restorer, solvers: Any) -> list[str | None]:
    """In the order of their colours; None where one is free."""
    if not isinstance(solvers, list):
        raise _refusal("The samplers must be a list of names.")
    known = choices.offered(restorer.process)
    chosen = solvers[: len(STYLES)]
    for name in filter(None, solvers):
        if not isinstance(name, str) or name not in known:
            raise _refusal(f"{cut(name)} is no sampler that is defined on this checkpoint.")
    names = [name for name in solvers if name]
    if not names:
        raise _refusal("Choose at least one sampler.")
    if len(set(names)) < len(names):
        raise _refusal("Each sampler can be compared once.")
    if len(names) > len([name for name in chosen if name]):
        raise _refusal(f"At most {len(STYLES)} samplers can be told apart.")
    return chosen


def _nfes(text: Any) -> list[int]:
    """Rising, each once."""
    words = [word for word in re.split(r"[\s,;]+", str(text)[:200]) if word]
    if not words:
        raise _refusal("Give at least one NFE, for example 3, 5, 10, 20.")
    if not all(re.fullmatch(r"\d{1,3}", word) and 1 <= int(word) <= choices.MOST for word in words):
        raise _refusal(
            f"NFEs are whole numbers from 1 to {choices.MOST}, as in 3, 5, 10, 20; got {cut(text)}."
        )
    counts = sorted({int(word) for word in words})
    if len(counts) > MOST_NFES:
        raise _refusal(f"At most {MOST_NFES} NFEs fit on a sheet; these are {len(counts)}.")
    return counts


def _pictures(shown: session.Subject) -> dict[str, Any]:
    truth = None if shown.truth is None else jpeg(shown.truth)
    height, width = shown.degraded.shape[1:]
    return {"degraded": jpeg(shown.degraded), "truth": truth, "ratio": width / height}


def preview(values: dict[str, Any], request: gr.Request) -> tuple[Any, Any]:
    """The empty sheet, or what is known of it, and what a run would cost."""
    visitor = request.session_hash or ""
    if under_way(values["checkpoint"]):
        return gr.skip(), gr.skip()  # until it is here, which its own line tells of
    try:
        ask = asked(visitor, values)
    except gr.Error as error:
        return gr.skip(), f"Cannot run: {error.message}"
    if visitor in RUNS:
        return gr.skip(), gr.skip()  # Run was pressed meanwhile: the sheet is its own
    CACHE.look(visitor, ask.grid)
    say = " ".join(filter(None, (invitation(ask.grid), ask.shown.note)))
    return told(ask) | {"state": "idle", "say": say, "now": None}, cost(ask)


def invitation(grid: Grid) -> str:
    """What Run will do with an empty sheet; "" once there is something on it."""
    if not grid.cells or any(cell in grid.results for cell in grid.cells):
        return ""
    count, samplers = len(grid.cells), len([name for name in grid.solvers if name])
    return (
        f"Run restores this photo {'once' if count == 1 else f'{count} times'}: "
        f"{_count(samplers, 'sampler')} at {_count(len(grid.nfes), 'budget')} of network "
        "evaluations, a cell each."
    )


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"


def told(ask: Asked) -> dict[str, Any]:
    """The sheet as the page has it: all that is known, so that no update builds on another."""
    grid = ask.grid
    possible = {(cell.solver, cell.nfe) for cell in grid.cells}
    rows = [
        {"solver": name, "label": choices.label(name), "style": STYLES[slot]}
        | {"cells": [(name, nfe) in possible for nfe in grid.nfes]}
        for slot, name in enumerate(grid.solvers)
        if name
    ]
    return {
        "pictures": ask.pictures,
        "input": measured(grid.input) if grid.input else None,
        "nfes": grid.nfes,
        "rows": rows,
        "with_rmse": grid.with_rmse,
        "cells": [
            row | {"picture": grid.results[Cell(row["solver"], row["asked"], row["spacing"])].shown}
            for row in grid.rows()
        ],
    }


def cost(ask: Asked) -> str:
    """What Run will do, before it does."""
    grid = ask.grid
    todo = [cell for cell in ask.todo if cell in grid.cells]
    there = len(grid.cells) - len(todo)
    if not grid.cells:
        return "No sampler can have one of these NFEs."
    if not ask.todo:
        return f"All {len(grid.cells)} runs are here already."
    words = f"{there} of {len(grid.cells)} runs are here already. " if there else ""
    parts = [f"{len(todo)} {'run' if len(todo) == 1 else 'runs'}"] if todo else []
    if len(ask.todo) > len(todo):
        parts.append("the converged solution")
    words += f"{' and '.join(parts)}: {ask.evaluations} evaluations, "
    if ask.seconds is None:
        return words + "how long is known after the first of them."
    return words + f"about {duration(ask.seconds)}."


def run(values: dict[str, Any], request: gr.Request) -> Iterator[tuple[Any, str]]:
    """Fills the sheet: updates of it and of the line about its cost."""
    visitor = request.session_hash or ""
    ask: Asked | None = None
    with RUNS.one(request) as stop:
        try:
            for far in arrival(values["checkpoint"]):
                if stop.is_set():
                    yield (
                        {"state": "stopped", "say": left(values["checkpoint"]), "now": None},
                        gr.skip(),
                    )
                    return
                yield {"state": "waiting", "say": far.says, "now": None}, gr.skip()
            ask = asked(visitor, values)
            CACHE.look(visitor, ask.grid)
            began = time.monotonic()
            for state, say, now in fill(ask, visitor, stop):
                yield told(ask) | {"state": state, "say": say, "now": now}, _left(ask, now)
            state = outcome(ask.grid)
            say = last_word(ask, state, time.monotonic() - began)
            yield told(ask) | {"state": state, "say": say, "now": None}, cost(ask)
        except gr.Error:  # it is a ValueError, too
            raise
        except FAILURES as error:
            sentence = (
                f"The run failed: {reason(error)}. What was reached stays; Run goes on from there."
            )
            known = told(ask) if ask else {}
            yield known | {"state": "failed", "say": sentence, "now": None}, gr.skip()
            raise _refusal(sentence) from None


Told = tuple[str, str, dict[str, Any] | None]
"""A state, a sentence, and the run that is under way: its solver, asked and spent NFE."""


def fill(ask: Asked, visitor: str, stop: threading.Event) -> Iterator[Told]:
    """Runs what is to come. Each has its own turn, so that a long grid lets others in between."""
    for i, cell in enumerate(ask.todo):
        expected = ask.expected(cell.spends(ask.restorer.process))
        with QUEUE.turn(expected, again=i > 0) as turn:
            for says in waiting(turn, stop):
                yield "waiting", says, None
            if stop.is_set():
                return
            result = yield from _run(ask, cell, stop)
            if result is None:
                return
            ask.grid.results[cell] = result
            if result.final:
                CACHE.keep(visitor, ask.grid.subject, result)


def _run(ask: Asked, cell: Cell, stop: threading.Event) -> Generator[Told, None, Result | None]:
    """One run of the grid; None if it was stopped, which is before its next step."""
    grid, degraded = ask.grid, ask.shown.degraded
    name = "The converged solution" if cell == CONVERGED else choices.label(cell.solver)
    now = {"solver": cell.solver, "asked": cell.nfe, "spent": 0}
    yield "running", f"{name}, {cell.nfe} NFE", now
    size = ask.run.checkpoint, tuple(degraded.shape)
    if size not in _warm:  # the first call at a size is slow, and is in nobody's time
        list(restoration(replace(ask.run, solver="mrs-ode-d-1", nfe=2), degraded))
        _warm.add(size)
    began, due = time.perf_counter(), 0.0
    spent, seconds = 0, 0.0
    steps = restoration(replace(ask.run, **cell._asdict()), degraded)
    try:
        for report, x_t in steps:
            if stop.is_set():
                return None
            spent, seconds, x = report["nfe"], report["seconds"], x_t
            if time.perf_counter() >= due:
                due = time.perf_counter() + 0.25
                yield "running", f"{name}, {cell.nfe} NFE", now | {"spent": spent}
    except (BudgetError, ValueError, ArithmeticError) as error:
        # This run's own: the others go on.
        return Result(cell, spent, seconds, failure=error)
    finally:
        steps.close()  # type: ignore[attr-defined]
    width, height = grid.subject.size
    THROUGHPUT.learn(ask.run.checkpoint, width * height, (time.perf_counter() - began) / spent)
    quality = ask.judge(x) if ask.judge else None
    return Result.of(cell, spent, seconds, x, jpeg(x), quality)


def _left(ask: Asked, now: dict[str, Any] | None) -> str:
    """How far a run is, and about how long it still takes."""
    grid = ask.grid
    done = sum(cell in grid.results for cell in grid.cells)
    words = f"{done} of {len(grid.cells)} runs"
    if ask.seconds is None:
        return f"{words} \u00b7 {ask.evaluations} evaluations left"
    spent = now["spent"] if now else 0
    seconds = ask.seconds * (1 - spent / max(1, ask.evaluations))
    return f"{words} \u00b7 about {duration(seconds)} left"


def outcome(grid: Grid) -> str:
    """The state that a run ends in: failed where nothing came out of it at all."""
    if any(cell not in grid.results for cell in grid.wanted):
        return "stopped"
    there = [grid.results[cell] for cell in grid.cells]
    return "failed" if there and not any(r.image is not None for r in there) else "finished"


def last_word(ask: Asked, state: str, seconds: float) -> str:
    """The line over the sheet once a run has ended."""
    grid = ask.grid
    done = sum(cell in grid.results for cell in grid.cells)
    failures = [r.failure for c in grid.cells if (r := grid.results.get(c)) and r.failure]
    if state == "failed":
        return f"All runs failed. The first: {failures[0]}. Another setting or photo may work."
    words = [
        f"Finished in {duration(seconds)}."
        if state == "finished"
        else f"Stopped: {done} of {len(grid.cells)} runs are here; Run goes on with the rest."
    ]
    if failures:
        words.append(f"{len(failures)} failed: the sheet says why.")
    return " ".join([*words, verdict(grid)]).strip()


def verdict(grid: Grid) -> str:
    """What is best in distortion and in perception: seldom the same. "" where nothing is known.

    Of those that are equal as shown, the one of fewest evaluations; "" where all are.
    """
    rows = [row for row in grid.rows() if row["psnr"] is not None and row["swd"] is not None]
    rows.sort(key=lambda row: row["nfe"])
    if len({(round(row["psnr"], 2), round(row["swd"], 3)) for row in rows}) < 2:
        return ""
    sharpest = max(rows, key=lambda row: round(row["psnr"], 2))
    truest = min(rows, key=lambda row: round(row["swd"], 3))

    def name(row: dict[str, Any]) -> str:
        return f"{choices.label(row['solver'])} at {row['asked']} NFE"

    if sharpest is truest:
        return f"Highest PSNR and closest texture (SWD): {name(sharpest)}."
    return f"Highest PSNR: {name(sharpest)}. Closest texture (SWD): {name(truest)}."


def forget(request: gr.Request) -> None:
    """Ends and frees all that is of a visitor who has left."""
    RUNS.stop(request)
    CACHE.forget(request.session_hash or "")


def sheet_of(grid: Grid) -> bytes:
    """The grid's contact sheet, PNG, in the page's colours."""
    return contact_sheet(
        grid, {s: str(STYLES[i]["colour"]) for i, s in enumerate(grid.solvers) if s}
    )


def parcel(event: gr.EventData, request: gr.Request) -> str:
    """A file of what the visitor looks at: its numbers as "csv" or its pictures as "png"."""
    grid = CACHE.grid(request.session_hash or "")
    if grid is None or not grid.rows():
        raise _refusal("This sheet is no longer in memory: run it again to download it.")
    make = {"csv": grid.csv, "png": lambda: sheet_of(grid)}
    kind = str(event.kind)
    if kind not in make:
        raise _refusal(f"There is no download {kind[:20]!r}.")
    return save_bytes(make[kind](), f"compare-{grid.subject.task}.{kind}")


def spacing_groups() -> choices.Groups:
    """What the menu of spacings lists."""
    own = [
        (
            FITTED,
            "fitted, else blend",
            "Times fitted to this network where it has some, else blend.",
        ),
        (USUAL, "each its usual one", "Each sampler on the spacing that it is usually run with."),
    ]
    named = choices.spacings(load(checkpoints.DEFAULT), "mrs-ode-d-1", 1)[0]["options"]
    return [
        {
            "heading": "",
            "options": [{"value": v, "label": n, "text": n, "detail": d} for v, n, d in own],
        },
        {"heading": "all on", "options": [o for o in named if o["value"] in SPACINGS]},
    ]


def build(page: gr.Blocks) -> None:
    """Lays out the tab, inside the page's Blocks context."""
    restorer = load(checkpoints.DEFAULT)
    with gr.Row(elem_id="compare"):
        with gr.Column(elem_id="compare-rail", scale=0, min_width=0):
            with gr.Column(elem_id="compare-knobs"):
                photo = given.controls("compare")
                solvers = gr.HTML(
                    list(SOLVERS),
                    groups=choices.solvers(restorer.process),
                    styles=STYLES,
                    elem_classes="folds",
                    **web("compare/picker", "input"),
                )
                nfes = gr.Textbox(
                    NFES,
                    label="NFEs",
                    info=f"Network evaluations, up to {MOST_NFES} numbers: a column each.",
                    max_lines=1,
                    elem_id="compare-nfes",
                    elem_classes="folds",
                )
                spacing = menu(
                    "Spacing of the steps",
                    "Where each sampler's steps fall.",
                    FITTED,
                    elem_classes="folds",
                    groups=spacing_groups(),
                )
                # On a phone these are folded away, so that the sheet is in sight.
                for knob in (photo.damage, photo.severity):
                    knob.elem_classes = ["folds"]
                given.unfold("compare", "samplers, NFEs, severity")
                with gr.Accordion("Advanced", open=False, elem_classes="folds"):
                    with_rmse = gr.Checkbox(
                        False,
                        label="Distance to the converged solution",
                        info=f"RMSE from the same x_T; costs {CONVERGED.nfe} more evaluations.",
                    )
                    seed = seed_box()
                    checkpoint = menu(
                        "Network",
                        "The checkpoint that all samplers share.",
                        checkpoints.DEFAULT,
                        **choices.networks(),
                    )
                    size = size_radio(
                        LARGEST_SIDE.within(OneOf(choices.LARGEST_SIDES)),
                        LARGEST_SIDE.default,
                    )
            with gr.Column(elem_id="compare-runbar"):
                line = arrival_line("menu-network")
                price = gr.HTML("", elem_id="compare-cost", padding=False)
                with gr.Row(elem_id="compare-buttons"):
                    run_and_stop = buttons("compare-")
        with gr.Column(elem_id="compare-stage"):
            sheet = panel("compare/sheet", "opened", "want", head=style("compare/page.css"))
            box = gr.File(visible="hidden")

    settings = photo.values | {
        "seed": seed,
        "size": size,
        "solvers": solvers,
        "nfes": nfes,
        "spacing": spacing,
        "with_rmse": with_rmse,
        "checkpoint": checkpoint,
    }
    controls, outputs = list(settings.values()), [sheet, price]
    previewed = as_text(by_name(settings, preview))
    sheet.opened(previewed, controls, outputs, **PRIVATE)
    moved = [
        photo.damage.input,
        photo.task.input,
        photo.severity.release,
        seed.submit,
        size.input,
        solvers.input,
        nfes.submit,
        nfes.blur,
        spacing.input,
        with_rmse.input,
    ]
    wire_preview(previewed, photo.picked, moved, controls, outputs)
    for chosen in made_ready(checkpoint, line, PRIVATE):
        chosen.success(previewed, controls, outputs, **PRIVATE).then(
            task_told, checkpoint, photo.task, **PRIVATE
        )
    wire_run("compare", run_and_stop, as_text(by_name(settings, run)), controls, outputs, RUNS.stop)
    sheet.want(parcel, None, box, **PRIVATE)
    box.change(None, box, None, js=SEND)
    page.unload(forget)
