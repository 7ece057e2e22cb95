"""The Restore tab: a photo, a task, two samplers and the race between them."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from mrsampler import checkpoints
from mrsampler.examples import ASSETS
from mrsampler.run import FAILURES, LINK_KEYS, SETTINGS, reason
from mrsampler.size import OWN, is_local
from mrsampler.solvers import BudgetError
from mrsampler.ui.parts import choices
from mrsampler.ui.parts import photo_controls as given
from mrsampler.ui.parts.charts import COLOURS
from mrsampler.ui.parts.components import (
    SEND,
    arrival_line,
    as_text,
    panel,
    served,
    web,
)
from mrsampler.ui.parts.files import save, save_bytes
from mrsampler.ui.parts.frames import jpeg, within
from mrsampler.ui.parts.networks import left, made_ready
from mrsampler.ui.parts.quality import Judge, Quality, lesson
from mrsampler.ui.parts.settings import menu_of, seed_box, size_radio
from mrsampler.ui.parts.settings import slider as setting_slider
from mrsampler.ui.parts.tab import PRIVATE, Runs, buttons, by_name, waiting, wire_preview, wire_run
from mrsampler.ui.queue import THROUGHPUT
from mrsampler.ui.restore import downloads, figures, link, samplers
from mrsampler.ui.restore.live import (
    Entrant,
    Moment,
    Pin,
    Result,
    Still,
    distances,
    ended,
    lasting,
    measured,
    own_size,
    race,
)
from mrsampler.ui.restore.memory import PER_RUN, Memory, RunResult, Sample, digest
from mrsampler.ui.restore.samplers import (
    baseline_menu,
    checked,
    nfe_slider,
    offered,
    sampler_menu,
    settled,
    spacing_menu,
)
from mrsampler.ui.session import (
    QUEUE,
    Subject,
    arrival,
    load,
    subject,
)

RECORDING = ASSETS / "recorded_race.json"
MEMORY = Memory()

SENT = f"(file) => {{ ({SEND})(file); document.dispatchEvent(new CustomEvent('parcel-sent')); }}"
"""SEND, and the takeaway hears of it."""

RUNS = Runs()
_run_numbers = itertools.count(1)


def preview(values: dict[str, Any], request: gr.Request) -> dict[str, Any]:
    """The degraded picture and the truth in the panels, before anything runs."""
    shown = subject(*given.read_run(values))
    pins, note = _pins(request, digest(shown.degraded))
    return {
        "run": f"preview {torch.randint(2**31, ()).item()}",
        "state": "idle",
        "say": " ".join(filter(None, (shown.note, note))),
        "setup": _pictures(shown) | {"pins": pin_lines(pins)},
    }


def _pins(request: gr.Request, of: str) -> tuple[list[Pin], str | None]:
    """The lines pinned on that subject, and a sentence where there are others."""
    visitor = request.session_hash or ""
    note = "Lines pinned on another photo are hidden until you are back at it."
    return MEMORY.pins(visitor, of), note if MEMORY.others(visitor, of) else None


def run(values: dict[str, Any], request: gr.Request) -> Iterator[tuple[Any, ...]]:
    """The race, as updates of the stage, the slider, the table, the download and the takeaway."""
    nothing = (gr.skip(), gr.skip(), gr.skip(), gr.skip())
    update: dict[str, Any] = {"run": f"run {next(_run_numbers)}"}
    failed = "refused"  # until it has begun: what an earlier run has reached stays on the page
    visitor = request.session_hash or ""
    with RUNS.one(request) as stop:
        try:
            source, asked = given.read_run(values)
            checkpoint = asked.checkpoint
            shown = subject(source, asked)
            pictures: dict[str, Any] = {"setup": _pictures(shown)}
            for far in arrival(checkpoint):
                failed = "failed"
                if stop.is_set():
                    yield update | {"state": "stopped", "say": left(checkpoint)}, *nothing
                    return
                yield update | pictures | {"state": "waiting", "say": far.says}, *nothing
                pictures = {}
            with given.refusals():
                load(checkpoint).check_task(asked.task)
                load(checkpoint).check_texture(asked.texture)
                asked = checked(load(checkpoint), asked)
            entrants = samplers.entrants(asked)
            kept = RunResult(
                update["run"],
                asked,
                entrants,
                {"photo": digest(source.rgb), "degraded": digest(shown.degraded)},
            )
            pins, note = _pins(request, kept.subject)
            pixels = shown.degraded[0].numel()
            evaluations = sum(entrant.nfe for entrant in entrants)
            with QUEUE.turn(THROUGHPUT.seconds(checkpoint, pixels, evaluations)) as turn:
                first: dict[str, Any] = {"setup": setup(shown, entrants, pins)}
                failed = "failed"
                for says in waiting(turn, stop):
                    yield update | first | {"state": "waiting", "say": says}, *nothing
                    first = {}
                if stop.is_set():
                    yield update | {"state": "stopped", "say": "Stopped before it began."}, *nothing
                    return
                for moment in race(asked, shown, entrants, stop, pins):
                    kept.add(moment.stills)
                    page: dict[str, Any] = {"state": "running", "frames": moment.frames}
                    if moment.figures:
                        page["figures"] = moment.figures
                    word = say(moment, shown, note)
                    yield update | first | page | {"say": word}, *nothing
                    first = {}
                spent = sum(result.nfe for result in moment.results)
                if spent and turn.began is not None:
                    THROUGHPUT.learn(checkpoint, pixels, (time.monotonic() - turn.began) / spent)
                finished = all(result.done for result in moment.results)
                kept.end(moment.results)
                sample: Tensor | None = None  # of the photo itself, where that takes another run
                alone = asked.size == OWN and is_local(asked.task) and shown.scaled
                if finished and alone:
                    with RUNS.one(request) as stop:  # the race has set its own
                        for says, sample in own_size(asked, shown, entrants[0].label):
                            if stop.is_set():
                                finished, sample = False, None
                                break
                            yield update | {"state": "running", "say": says}, *nothing
                if alone and sample is None:
                    kept.stopped["a"] = moment.results[0].nfe
            word = last_word(moment, shown, finished, note)
            last = update | {"state": "finished" if finished else "stopped", "say": word}
            # The word first: to measure takes a while, to compress a large photo seconds.
            yield last, *nothing
            kept.stills = {key: ended(stills) for key, stills in kept.stills.items()}
            if shown.truth is not None:
                truth = within(shown.truth)
                kept.stills = {key: measured(stills, truth) for key, stills in kept.stills.items()}
            kept.figures = moment.figures
            last |= closing(entrants, kept.stills)
            kept.stills = {key: lasting(stills) for key, stills in kept.stills.items()}
            MEMORY.keep(visitor, kept)
            yield last, gr.skip(), table(moment.results, shown), gr.skip(), gr.skip()
            x, seen = moment.results[0].image, shown.small
            if sample is not None:
                x, seen = sample, shown.source
            kept.sample = Sample(shown.source, seen, x)
            both, download = _outcome(kept)
            if kept.size > PER_RUN:
                kept.sample = None  # another texture takes another run
            yield last | {"outcome": True}, both, gr.skip(), download, takeaway(kept)
        except gr.Error as error:  # a ValueError, too, but a sentence of its own
            yield update | {"state": failed, "say": error.message}, *nothing
        except FAILURES as error:
            yield update | {"state": failed, "say": why(error)}, *nothing


def why(error: Exception) -> str:
    """What went wrong in a run and what the page offers against it."""
    if isinstance(error, BudgetError):
        # What it advises itself is for programs.
        spent = str(error).partition(":")[0]
        return f"The run failed: {spent}. Give it more NFE, or race another sampler."
    return f"The run failed: {reason(error)}. Another setting or photo may work."


def forget(request: gr.Request) -> None:
    """Ends and frees all that is of a visitor who has left."""
    RUNS.stop(request)
    MEMORY.forget(request.session_hash or "")


def pin(event: gr.EventData, request: gr.Request) -> Any:
    """Pins a line of the latest run, "a" or "b", and draws it; forgets another, which is pinned."""
    visitor, key = request.session_hash or "", str(event.key)
    kept = MEMORY.run(visitor)
    if key not in ("a", "b"):
        MEMORY.unpin(visitor, key)
        if kept:
            kept.figures = figures.unpinned(kept.figures, key)
        return gr.skip()  # the browser has taken it away
    if kept is None:
        gr.Warning("This run is no longer in memory: run it again to pin it.")
        return gr.skip()
    pinned = MEMORY.pin(visitor, key)
    if pinned is None:
        gr.Warning("Three lines are pinned already: unpin one first.")
        return gr.skip()
    line = figures.Line(pinned.key, pinned.label, COLOURS[pinned.key])
    kept.figures = figures.pinned(kept.figures, key, line)
    pins = pin_lines(MEMORY.pins(visitor, kept.subject))
    return {"run": kept.name, "setup": {"pins": pins}, "figures": kept.figures}


def parcel(event: gr.EventData, request: gr.Request) -> str:
    """A file of the latest run: its race as "webp", or the run as "npz" or "json"."""
    kept = MEMORY.run(request.session_hash or "")
    if kept is None:
        raise gr.Error(
            "This run is no longer in memory: run it again to download it.", print_exception=False
        )
    make = {
        "webp": downloads.animation,
        "npz": downloads.arrays,
        "json": lambda kept: json.dumps(downloads.record(kept), indent=2).encode(),
    }
    kind = str(event.kind)
    if kind not in make:
        raise gr.Error(f"There is no download {kind[:20]!r}.", print_exception=False)
    path = save_bytes(make[kind](kept), f"race-{kept.asked.task}.{kind}")
    kept.files.append(path)
    return path


def takeaway(kept: RunResult) -> dict[str, Any]:
    """What can be copied after a run: no command where the sampler was stopped."""
    return {
        "python": kept.python,
        "command": kept.command,
        "query": kept.asked.to_query(),
        "own": kept.asked.example is None,
        "stopped": kept.stopped_at,
    }


def setup(shown: Subject, entrants: Sequence[Entrant], pins: Sequence[Pin] = ()) -> dict[str, Any]:
    """What the stage needs to know before a race's first frame."""
    return _pictures(shown) | {
        "entrants": {e.key: {"label": e.label, "nfe": e.nfe} for e in entrants},
        "pins": pin_lines(pins),
    }


def _pictures(shown: Subject) -> dict[str, Any]:
    truth = None if shown.truth is None else jpeg(within(shown.truth))
    return {"degraded": jpeg(within(shown.degraded)), "truth": truth}


def pin_lines(pins: Sequence[Pin]) -> list[dict[str, Any]]:
    """The pinned lines' numbers, for the curves."""
    return [
        {
            "key": pin.key,
            "label": pin.label,
            "nfe": pin.nfe,
            "states": [
                still.numbers | {"to_sample": distance}
                for still, distance in zip(pin.stills, distances(pin.stills), strict=True)
            ],
        }
        for pin in pins
    ]


def closing(entrants: Sequence[Entrant], stills: Mapping[str, Sequence[Still]]) -> dict[str, Any]:
    """What is only known at the end: by sampler and step what was measured, the pictures that were
    not shown while it ran, and what it says.
    """
    late, lessons = {}, []
    for e in entrants:
        kept = stills[e.key]
        late[e.key] = [
            still.numbers | {"to_sample": distance} | ({} if still.shown else still.pictures)
            for still, distance in zip(kept, distances(kept), strict=True)
            if still.judged or not still.shown
        ]
        course: list[tuple[int, Quality | None]] = [(still.nfe, still.of_x0) for still in kept]
        if kept[-1].done:
            lessons.append(lesson(e.label, [*course, (kept[-1].nfe, kept[-1].of_x)]))
    return {"late": late, "lesson": next(filter(None, lessons), "")}


def say(moment: Moment, shown: Subject, note: str | None = None) -> str:
    """The line under the panels while a race runs."""
    done = [f"{r.entrant.label} is done; the other goes on." for r in moment.results if r.done]
    notes = [note for note in (moment.advice, shown.note, note) if note]
    return " ".join((done if len(done) == 1 else []) + notes)


def last_word(moment: Moment, shown: Subject, finished: bool, note: str | None = None) -> str:
    """The line under the panels once it has ended."""
    times = (f"{r.entrant.label} in {r.seconds:.1f} s" for r in moment.results)
    word = f"Finished: {', '.join(times)}." if finished else "Stopped: what was reached stays here."
    return " ".join([word] + [note for note in (moment.advice, shown.note, note) if note])


def _outcome(kept: RunResult) -> tuple[tuple[str, str], str]:
    """Files of before and after, losslessly and at the photo's own size."""
    assert kept.sample is not None
    task, source = kept.asked.task, kept.sample.source
    # A stopped run is repeated up to there, as it is.
    asked = kept.asked if kept.stopped_at is None else replace(kept.asked, texture=1)
    restored = kept.sample.picture(asked)
    kept.digests["restored"] = sha256(restored.tobytes()).hexdigest()
    before = save(source.image(source.rgb), f"degraded-{task}")
    after = save(restored, f"restored-{task}")
    kept.files += before, after
    return (before, after), after


def mix(texture: float, request: gr.Request) -> tuple[Any, Any, Any]:
    """The latest result with another texture, without another run: slider, download, takeaway."""
    kept = MEMORY.run(request.session_hash or "")
    if kept is None or kept.sample is None or kept.stopped_at is not None:
        gr.Info("The next run has this texture: what it is mixed from is no longer here.")
        return gr.skip(), gr.skip(), gr.skip()
    with given.refusals():
        load(kept.asked.checkpoint).check_texture(texture)
        kept.asked = replace(kept.asked, texture=texture)
    both, download = _outcome(kept)
    return both, download, takeaway(kept)


def table(results: Sequence[Result], shown: Subject) -> list[dict[str, str]]:
    """The rows under the race: the degraded photo and both samplers."""
    rows = []
    judge = None if shown.truth is None else Judge(shown.truth)
    if judge:
        rows.append(_row("input", "degraded photo", "", "\u2013", "\u2013", judge(shown.degraded)))
    for r in results:
        means = r.entrant.solver
        if choices.spaced(means):
            means += f", {r.entrant.spacing}"
        quality = judge(r.image) if judge else None
        rows.append(
            _row(r.entrant.key, r.entrant.label, means, str(r.nfe), f"{r.seconds:.2f}", quality)
        )
    return rows


def _row(
    kind: str, name: str, means: str, nfe: str, seconds: str, quality: Quality | None
) -> dict[str, str]:
    numbers = dict.fromkeys(("psnr", "ssim", "swd", "st_lpips"), "")
    if quality:
        numbers = {
            "psnr": f"{quality.psnr:.2f}",
            "ssim": f"{quality.ssim:.3f}",
            "swd": f"{quality.swd:.3f}",
            "st_lpips": "\u2013" if quality.st_lpips is None else f"{quality.st_lpips:.3f}",
        }
    return {"kind": kind, "name": name, "means": means, "nfe": nfe, "seconds": seconds} | numbers


def _linked(controls: Sequence[str], request: gr.Request) -> list[Any]:
    """The controls as a link sets them; as they are without one."""
    if not LINK_KEYS & set(request.query_params):
        return [gr.skip()] * len(controls)
    asked, refused = link.read(request.query_params)
    if refused:
        gr.Warning(f"Left out of the link, as there is no such thing: {', '.join(refused)}.")
    if why_not := choices.unavailable(asked.checkpoint):
        gr.Warning(f"The link's checkpoint is left out: {why_not}.")
        asked = replace(asked, checkpoint=checkpoints.DEFAULT)
    if asked.example is None:
        gr.Info("The link set everything but its photo, which cannot travel in it: choose yours.")
    by = link.laid_out_by(asked.checkpoint)
    restorer, example = load(by), asked.example or 0
    sampler, baseline = (asked.solver, asked.nfe), (asked.baseline, asked.baseline_nfe)
    updates = asked.to_json() | {
        "example": example,
        "row": gr.update(picked=example),
        "task": given.task_asked(asked.task),
        "solver": gr.update(**sampler_menu(restorer, *sampler), asked=asked.solver),
        "baseline": gr.update(**baseline_menu(restorer, *baseline), asked=asked.baseline),
        "spacing": gr.update(**spacing_menu(restorer, *sampler), asked=asked.spacing),
        "checkpoint": gr.update(asked=asked.checkpoint),
        "wanted_nfe": asked.nfe,
        "wanted_baseline_nfe": asked.baseline_nfe,
        "placed": ((by, asked.solver), (by, asked.baseline)),
    }
    settings = offered(restorer, asked)
    for name in ("nfe", "baseline_nfe"):
        low, high = settings[name].range
        updates[name] = gr.update(minimum=low, maximum=high, value=updates[name])
    return [updates[name] for name in controls]


def _preview_linked(values: dict[str, Any], request: gr.Request) -> Any:
    if not LINK_KEYS & set(request.query_params):
        return gr.skip()  # the recorded race goes on
    return preview(values, request)


def recording() -> str:
    """The URL of the race that the page opens with, "" where there is none."""
    return served(RECORDING) if RECORDING.exists() else ""


def build(page: gr.Blocks) -> None:
    """Lays out the tab, inside the page's Blocks context."""
    restorer = load(checkpoints.DEFAULT)
    opening = checked(restorer, choices.opening())
    # No progress of gradio's own, and that of nothing: even hidden, each status tracker asks for
    # every frame of the screen while it waits, on the cores that the network needs.
    nothing = gr.State()
    private: dict[str, Any] = PRIVATE | {"show_progress_on": nothing}
    # What the visitor asked for, while the sliders hold what there is.
    wanted_nfe, wanted_baseline_nfe = gr.State(choices.NFE), gr.State(choices.BASELINE_NFE)
    placed = gr.State(
        ((checkpoints.DEFAULT, choices.SAMPLER), (checkpoints.DEFAULT, choices.BASELINE))
    )
    with gr.Row(elem_id="restore"):
        with gr.Column(elem_id="rail", scale=0, min_width=0):
            with gr.Column(elem_id="knobs"):
                photo = given.controls("restore")
                solver = menu_of(
                    SETTINGS["solver"],
                    opening.solver,
                    asked="",
                    **sampler_menu(restorer, opening.solver, opening.nfe),
                )
                nfe = nfe_slider(restorer, opening, "nfe")
                baseline = menu_of(
                    SETTINGS["baseline"],
                    opening.baseline,
                    asked="",
                    elem_classes="folds",
                    **baseline_menu(restorer, opening.baseline, opening.baseline_nfe),
                )
                baseline_nfe = nfe_slider(restorer, opening, "baseline_nfe")
                # On a phone these are folded away with the advanced ones.
                for knob in (photo.damage, photo.severity, baseline_nfe):
                    knob.elem_classes = ["folds"]
                with gr.Row(elem_id="pair", elem_classes="folds"):
                    seed = seed_box()
                    dice = gr.Button("New seed", size="sm", elem_id="dice")
                # Not an accordion: what a closed one holds is not there yet, and loses its updates.
                more = gr.Button("Advanced", size="sm", elem_id="more")
                with gr.Column(elem_id="advanced"):
                    spacing = menu_of(
                        SETTINGS["spacing"],
                        opening.spacing,
                        asked="",
                        **spacing_menu(restorer, opening.solver, opening.nfe),
                    )
                    checkpoint = menu_of(
                        SETTINGS["checkpoint"], opening.checkpoint, asked="", **choices.networks()
                    )
                    size = size_radio(offered(restorer, opening)["size"], opening.size)
            with gr.Row(elem_id="runbar"):
                line = arrival_line("menu-checkpoint")
                run_and_stop = buttons("")
        with gr.Column(elem_id="stage"):
            stage = panel(
                "restore/stage",
                "pin",
                recording=recording(),
            )
            with gr.Row(elem_id="outcome"):
                with gr.Column():
                    gr.HTML("<h3>Before and after</h3>", padding=False)
                    slider = gr.ImageSlider(
                        format="png",
                        type="pil",
                        show_label=False,
                        interactive=False,
                        max_height=400,
                        buttons=["fullscreen"],
                        elem_id="slider",
                    )
                    texture = setting_slider(SETTINGS["texture"], opening.texture, 0.05)
                with gr.Column():
                    gr.HTML("<h3>Result</h3>", padding=False)
                    rows = gr.HTML(value=[], elem_id="table", **web("restore/table"))
                    download = gr.DownloadButton("", visible="hidden")
                    take = gr.HTML(value=None, **web("restore/takeaway", "picture", "want"))
                    box = gr.File(visible="hidden")

    more.click(
        None,
        None,
        None,
        js="() => document.querySelector('#more').setAttribute('aria-expanded', "
        "document.body.classList.toggle('advanced'))",
    )
    what = photo.values | {"seed": seed, "size": size}
    shown = list(what.values())
    rolled = dice.click(
        lambda: torch.randint(10_000, ()).item(), None, seed, queue=False, **private
    )
    moved = [photo.damage.input, photo.task.input, photo.severity.release, seed.submit, size.input]
    previewed = as_text(by_name(what, preview))
    wire_preview(previewed, (*photo.picked, rolled), moved, shown, stage, private)
    # One listener for all: "always_last" asks again, once an answer came, if anything has moved.
    told: dict[str, Any] = {"queue": False, "trigger_mode": "always_last", **private}
    settled_by = [solver.input, baseline.input]
    for count, wanted in ((nfe, wanted_nfe), (baseline_nfe, wanted_baseline_nfe)):
        count.input(lambda value: value, count, wanted, **told)
        settled_by.append(count.change)  # also by the browser, back into its bounds
    settling = (
        settled,
        [checkpoint, solver, nfe, wanted_nfe, baseline, baseline_nfe, wanted_baseline_nfe, placed],
        [solver, nfe, baseline, baseline_nfe, spacing, placed, photo.task, texture],
    )
    gr.on(settled_by, *settling, **told)
    for chosen in made_ready(checkpoint, line, private):
        chosen.success(*settling, **told)
    settings = what | {
        "solver": solver,
        "nfe": nfe,
        "baseline": baseline,
        "baseline_nfe": baseline_nfe,
        "spacing": spacing,
        "checkpoint": checkpoint,
        "texture": texture,
    }
    outputs = [stage, slider, rows, download, take]
    wire_run(
        "restore",
        run_and_stop,
        as_text(by_name(settings, run)),
        list(settings.values()),
        outputs,
        RUNS.stop,
        private,
    )
    texture.release(mix, texture, [slider, download, take], **private)
    # Through the queue, for without it gradio shows no message.
    stage.pin(as_text(pin), None, stage, **private)
    take.picture(None, download, None, js=SENT)
    sent = take.want(parcel, None, box, **private)
    box.change(
        None,
        box,
        None,
        js=f"(file) => {{ ({SEND})(file); "
        "document.dispatchEvent(new CustomEvent('parcel-sent')); }",
    )
    sent.failure(
        None, None, None, js="() => { document.dispatchEvent(new CustomEvent('parcel-failed')); }"
    )
    linked = {name: control for name, control in settings.items() if name != "upload"}
    linked |= {
        "wanted_nfe": wanted_nfe,
        "wanted_baseline_nfe": wanted_baseline_nfe,
        "placed": placed,
        "row": photo.row,
    }

    def load_link(request: gr.Request) -> list[Any]:
        return _linked(list(linked), request)

    page.load(load_link, None, list(linked.values()), **private).then(
        as_text(by_name(what, _preview_linked)), shown, stage, **private
    )
    page.unload(forget)
