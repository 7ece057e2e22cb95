"""The Compare tab: which runs a grid has, what is kept of them, and the tab in a browser."""

import csv
import inspect
import io
import itertools
import math
import re
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from chromium import ARTEFACTS, UNEXPLAINED, opened, served, settled
from PIL import Image
from playwright.sync_api import expect

from mrsampler import SOLVERS, Denoiser, MeanRevertingSDE
from mrsampler.checkpoints import Checkpoint
from mrsampler.degradations import TASKS
from mrsampler.restorer import OPTIMISED, Restorer
from mrsampler.ui import api, session
from mrsampler.ui import page as whole_page
from mrsampler.ui.compare import contact, grid
from mrsampler.ui.compare import tab as compare
from mrsampler.ui.compare.grid import (
    CONVERGED,
    FITTED,
    USUAL,
    Cell,
    Grid,
    Result,
    ResultCache,
    plan,
)
from mrsampler.ui.parts import choices
from mrsampler.ui.parts import photo_controls as given
from mrsampler.ui.parts.quality import Quality
from mrsampler.ui.queue import Queue, Throughput, duration

PROCESS, ZERO_START = MeanRevertingSDE(), MeanRevertingSDE(zero_start=True)


class Network:
    """Predicts an x_0 that changes with x, and counts its calls."""

    def __init__(self):
        self.calls, self.seconds, self.broken = 0, 0.0, False

    def __call__(self, x, mu, t, task):
        self.calls += 1
        time.sleep(self.seconds)
        return mu * math.nan if self.broken else mu + 0.3 * torch.tanh(x - mu) + 0.001 * t


def restorer(network=None, process=PROCESS, timesteps=None):
    denoiser, card = Denoiser(network or Network(), "data"), {"timesteps": timesteps or {}}
    return Restorer(Checkpoint("test", denoiser, process, TASKS, card), torch.device("cpu"))


def read(known):
    """A checkpoint that has been read, as the session keeps it."""
    reading = Future()
    reading.set_result(known)
    return reading


# --- the grid ------------------------------------------------------------------------------------


def test_the_cheapest_runs_of_all_samplers_come_first():
    cells = plan(restorer(), ["posterior", "mrs-ode-d-2"], [5, 2])
    assert [(cell.nfe, cell.solver) for cell in cells] == [
        (2, "posterior"),
        (2, "mrs-ode-d-2"),
        (5, "posterior"),
        (5, "mrs-ode-d-2"),
    ]


def test_a_run_that_a_solver_cannot_make_is_left_out():
    cells = plan(restorer(), ["pndm", "heun"], [1, 2, 4])
    assert [(c.solver, c.nfe) for c in cells] == [("heun", 2), ("pndm", 4), ("heun", 4)]


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        (USUAL, ["uniform-lambda", "uniform-t", "uniform-t"]),
        (FITTED, [OPTIMISED, "blend", "uniform-t"]),
        ("karras", ["karras", "karras", "uniform-t"]),
    ],
)
def test_each_sampler_has_its_usual_spacing_unless_told_otherwise(spacing, expected):
    known = restorer(timesteps={"mrs-ode-d-2": {"3": [100, 60, 20, 0]}})
    solvers = ["mrs-ode-d-2", "posterior", "posterior-published"]
    assert [cell.spacing for cell in plan(known, solvers, [3], spacing)] == expected


def test_the_default_spacing_is_the_one_that_the_restore_tab_makes():
    known = restorer(timesteps={"mrs-ode-d-2": {"3": [100, 60, 20, 0]}})
    for solver in filter(choices.spaced, choices.offered(PROCESS)):
        for cell in plan(known, [solver], [3, 8]):
            restored = choices.spacing(known, solver, cell.nfe, None)
            assert cell.spacing == restored, cell
    asked = inspect.signature(api.compare).parameters["spacing"].default
    first = compare.spacing_groups()[0]["options"][0]["value"]
    assert asked == first == FITTED


@pytest.mark.parametrize("process", [PROCESS, ZERO_START])
@pytest.mark.parametrize("solver", choices.offered(PROCESS))
def test_what_a_run_spends_is_known_before_it(solver, process):
    network = Network()
    known = restorer(network, process)
    nfe = choices.placed(solver, 9, process)
    (cell,) = plan(known, [solver], [nfe])
    for step in known.trajectory(torch.full((3, 8, 8), 0.5), "noisy", **cell._asdict()):
        spent = step.nfe
    assert network.calls == spent
    known_before = cell.spends(process)
    assert spent <= known_before if SOLVERS[solver].adaptive else spent == known_before


def image(value, side=32):
    return torch.full((3, side, side), float(value))


def result(cell, value=0.5, quality=None, shown="", side=32):
    return Result.of(cell, cell.nfe, 0.5, image(value, side), shown, quality)


def test_a_small_distance_to_the_converged_solution_survives_what_is_kept():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 64, 64, generator=generator)
    near = x + 0.5 / 255 * torch.randn(x.shape, generator=generator)
    cell = Cell("mrs-ode-d-2", 5, "blend")
    solution = Result.of(CONVERGED, 200, 1.0, x, "", None)
    exact = 255 * (near - x).square().mean().sqrt().item()
    assert Result.of(cell, 5, 1.0, near, "", None).rmse(solution) == pytest.approx(exact, abs=0.01)
    drawn = Cell("mrs-sde-d-2", 5, "blend")
    assert Result.of(drawn, 5, 1.0, near, "", None).rmse(solution) is None, "it has no such limit"
    assert Result.of(cell, 5, 1.0, near, "", None).rmse(None) is None


KEY = grid.Subject("bundled", "noisy", 0, "d", "t", (32, 32))
OTHER = replace(KEY, task="hazy")


def test_a_visitor_has_what_they_ran_on_that_photo_and_no_other():
    shelf, cell = ResultCache(), Cell("heun", 4, "blend")
    shelf.keep("ann", KEY, result(cell))
    assert list(shelf.known("ann", KEY, [cell])) == [cell]
    assert shelf.known("ann", OTHER, [cell]) == shelf.known("bob", KEY, [cell]) == {}
    shelf.forget("ann")
    assert shelf.known("ann", KEY, [cell]) == {}


def test_of_too_many_results_the_oldest_go():
    cells = [Cell("heun", nfe, "blend") for nfe in range(2, 7)]
    size = result(cells[0]).size
    assert size == 3 * 32 * 32 * 2
    shelf = ResultCache(per_visitor=3 * size, for_all=4 * size)
    for cell in cells:
        shelf.keep("ann", KEY, result(cell))
    assert list(shelf.known("ann", KEY, cells)) == cells[2:]
    shelf.known("ann", KEY, cells[2:3])  # looked at again: it stays longer
    shelf.keep("ann", KEY, result(cells[0]))
    assert set(shelf.known("ann", KEY, cells)) == {cells[0], cells[2], cells[4]}
    shelf.keep("bob", KEY, result(cells[0]))
    shelf.keep("bob", KEY, result(cells[1]))
    assert shelf.known("ann", KEY, cells) == {}, "ann has been away longer than bob"
    assert len(shelf.known("bob", KEY, cells)) == 2


def test_the_pace_is_that_of_the_nearest_size_and_of_late_evaluations():
    pace = Throughput()
    assert pace.seconds("a", 100) is None
    pace.learn("a", 100, 1.0)
    pace.learn("a", 400, 5.0)
    assert pace.seconds("a", 100, 7) == 7.0
    assert pace.seconds("a", 200) in (2.0, 2.5) and pace.seconds("a", 800) == 10.0
    assert pace.seconds("b", 100) is None
    for _ in range(20):
        pace.learn("a", 100, 3.0)
    assert pace.seconds("a", 100) == pytest.approx(3.0, abs=0.01)


def small_grid(**more):
    title = {"photo": "a.png", "task": "noisy", "severity": "0.5", "seed": "0"}
    title |= {"checkpoint": "bundled", "pixels": "32 x 32"}
    cells = plan(restorer(), ["heun", "posterior"], [2, 4])
    made = Grid(KEY, title, ["posterior", None, "heun"], [2, 4], cells, **more)
    made.degraded, made.truth = image(0.1), image(1.0)
    made.input = Quality(10.0, 0.5, 0.3)
    made.results = {cell: result(cell, 0.4, Quality(20.0 + cell.nfe, 0.9, 0.1)) for cell in cells}
    return made


def test_the_table_has_a_row_a_run_in_the_order_of_the_samplers():
    rows = list(csv.DictReader(io.StringIO(small_grid().csv().decode())))
    assert [(row["solver"], row["nfe"]) for row in rows] == [
        ("posterior", "2"),
        ("posterior", "4"),
        ("heun", "2"),
        ("heun", "4"),
    ]
    first = {"photo": "a.png", "task": "noisy", "severity": "0.5", "seed": "0", "psnr": "22.0"}
    assert first.items() <= rows[0].items() and rows[0]["rmse"] == ""


def test_equal_pictures_have_no_number_for_their_psnr():
    values = grid.measured(Quality(math.inf, 1.0, 0.0, 0.0))
    assert values == {"psnr": None, "ssim": 1.0, "swd": 0.0, "st_lpips": 0.0}


def test_the_contact_sheet_has_every_picture_at_its_place_and_nothing_where_none_is():
    made = small_grid()
    del made.results[Cell("heun", 4, "blend")]
    colours = {"posterior": "#D55E00", "heun": "#CC79A7"}
    sheet = Image.open(io.BytesIO(contact.contact_sheet(made, colours))).convert("RGB")
    tile, gap = contact.SMALLEST, contact.GAP
    left, top = contact.MARGIN + contact.LABELS, contact.MARGIN + contact.HEAD
    assert sheet.width == 2 * contact.MARGIN + contact.LABELS + 2 * tile + gap

    def middle(column, down):
        return sheet.getpixel((left + column * (tile + gap) + tile // 2, down + 20))

    assert (middle(0, top), middle(1, top)) == ((26,) * 3, (255,) * 3), "degraded, and the truth"
    rows = [top + (i + 1) * (tile + contact.CAPTION) + contact.HEAD for i in range(2)]
    assert [middle(column, rows[0]) for column in (0, 1)] == [(102,) * 3] * 2
    assert [middle(column, rows[1]) for column in (0, 1)] == [(102,) * 3, (243, 244, 246)]
    assert sheet.getpixel((contact.MARGIN + 2, rows[0] + 20)) == (213, 94, 0)
    assert sheet.getpixel((contact.MARGIN + 2, rows[1] + 20)) == (204, 121, 167)


# --- a run ---------------------------------------------------------------------------------------


@pytest.fixture
def network(monkeypatch):
    """Runs go over this network, and nothing is known of earlier ones."""
    network = Network()
    monkeypatch.setattr(session, "_readings", {"bundled": read(restorer(network))})
    monkeypatch.setattr(compare, "CACHE", ResultCache())
    monkeypatch.setattr(compare, "THROUGHPUT", Throughput())
    monkeypatch.setattr(compare, "_warm", {("bundled", (3, 43, 64))})
    return network


VISITOR = SimpleNamespace(session_hash="ann")


def settings(solvers=("mrs-ode-d-2", "posterior"), nfes="2, 3", **other):
    whole = {
        "example": 0,
        "upload": None,
        "damage": given.CLEAN,
        "task": "noisy",
        "severity": 0.5,
        "seed": 0,
        "size": 64,
        "solvers": solvers if isinstance(solvers, str) else list(solvers),
        "nfes": nfes,
        "spacing": USUAL,
        "with_rmse": False,
        "checkpoint": "bundled",
    }
    return whole | other


def filled(*args, **other):
    """The updates of a run to its end."""
    return [state for state, _ in compare.run(settings(*args, **other), VISITOR)]


def test_a_sheet_fills_in_as_results_arrive(network):
    states = filled()
    counts = [len(state["cells"]) for state in states]
    assert counts == sorted(counts) and set(counts) == {0, 1, 2, 3, 4}
    assert {state["state"] for state in states[:-1]} == {"running"}
    assert states[-1]["state"] == "finished"
    assert network.calls == 2 * (2 + 3)
    assert states[0]["rows"][0]["cells"] == [True, True]
    for cell in states[-1]["cells"]:
        assert cell["picture"].startswith("data:image/jpeg")
        assert cell["psnr"] > 0 and cell["swd"] > 0 and cell["seconds"] >= 0


def test_a_cell_is_what_the_restorer_gives(network):
    filled()
    ask = compare.asked("ann", settings())
    cell = Cell("posterior", 3, "uniform-t")
    for step in ask.restorer.trajectory(ask.shown.degraded, "noisy", seed=0, **cell._asdict()):
        x = step.x[0]
    assert torch.equal(ask.grid.results[cell].image, x.half())
    row = next(r for r in ask.grid.rows() if (r["solver"], r["asked"]) == ("posterior", 3))
    assert row["psnr"] == compare.Judge(ask.shown.truth)(x).psnr


def test_what_is_there_is_not_computed_again(network):
    filled()
    state, price = compare.preview(settings(("mrs-ode-d-2", "posterior", "heun")), VISITOR)
    assert len(state["cells"]) == 4
    assert re.match(r"4 of 6 runs are here already. 2 runs: 4 evaluations, about \d+ s", price)
    before = network.calls
    filled(("mrs-ode-d-2", "posterior", "heun"))
    assert network.calls - before == 2 + 2  # Heun of 3 NFE leaves one
    before = network.calls
    assert filled()[-1]["state"] == "finished" and network.calls == before
    filled(seed=1)
    assert network.calls - before == 2 * (2 + 3)


def test_before_a_run_its_cost_is_said_and_seconds_only_once_they_are_known(network):
    _, price = compare.preview(settings(), VISITOR)
    assert price == "4 runs: 10 evaluations, how long is known after the first of them."
    network.seconds = 0.05
    filled(nfes="2")
    _, price = compare.preview(settings(nfes="40"), VISITOR)
    seconds = compare.THROUGHPUT.seconds("bundled", 43 * 64, 80)
    assert seconds >= 80 * network.seconds
    assert price == f"2 runs: 80 evaluations, about {duration(seconds)}."


def test_stop_ends_before_the_next_step_and_keeps_what_is_there(network):
    network.seconds = 0.02
    updates = compare.run(settings(nfes="2, 30"), VISITOR)
    for state, _ in updates:
        if len(state["cells"]) == 2 and state["now"]["spent"]:
            break
    calls = network.calls
    compare.RUNS.stop(VISITOR)
    states = [state for state, _ in updates]
    assert network.calls <= calls + 1
    assert states[-1]["state"] == "stopped" and len(states[-1]["cells"]) == 2
    assert states[-1]["say"].startswith("Stopped: 2 of 4 runs are here; Run goes on with the rest.")
    before = network.calls
    filled(nfes="2, 30")
    assert network.calls - before == 60


def test_a_preview_that_comes_late_leaves_the_sheet_of_the_run_alone(network):
    updates = compare.run(settings(), VISITOR)
    next(updates)
    assert compare.preview(settings(), VISITOR) == (gr.skip(), gr.skip())
    list(updates)
    assert len(compare.CACHE.grid("ann").rows()) == 4, "what is downloaded"


def test_the_distance_to_the_converged_solution_costs_its_evaluations_and_no_run_again(network):
    filled()
    before = network.calls
    states = filled(with_rmse=True)
    assert network.calls - before == CONVERGED.nfe
    errors = {(c["solver"], c["asked"]): c["rmse"] for c in states[-1]["cells"]}
    assert errors["posterior", 3] is None
    assert 0 < errors["mrs-ode-d-2", 3] < errors["mrs-ode-d-2", 2]


def test_a_run_that_fails_leaves_the_others_alone(network):
    last = filled(("rk45", "posterior"), nfes="8")[-1]
    assert last["state"] == "finished"
    (failed,) = [c for c in last["cells"] if c["failure"]]
    assert failed["solver"] == "rk45" and "tolerance" in failed["failure"]
    assert (failed["psnr"], failed["picture"]) == (None, "")
    assert "1 failed: the sheet says why." in last["say"]
    before = network.calls
    filled(("rk45", "posterior"), nfes="8")
    assert network.calls == before, "a budget that was too small still is"


def test_where_all_fail_the_sheet_says_so_and_the_next_run_tries_again(network):
    network.broken = True
    last = filled()[-1]
    assert last["state"] == "failed" and "not finite" in last["say"]
    network.broken = False
    assert filled()[-1]["state"] == "finished"


def test_without_a_truth_there_are_pictures_and_seconds(network):
    last = filled(damage=given.DAMAGED)[-1]
    assert last["input"] is None and last["pictures"]["truth"] is None
    assert all(c["psnr"] is None and c["picture"] for c in last["cells"])


def test_between_two_runs_of_a_sheet_another_visitor_has_their_turn(network):
    updates = compare.run(settings(), VISITOR)
    next(updates)  # the first run has begun
    came, gone = threading.Event(), threading.Event()

    def other():
        with compare.QUEUE.turn() as turn:
            turn.arrive(10)
            came.set()
            gone.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    for state, _ in updates:
        if state["state"] == "waiting":
            break
    assert came.is_set() and len(state["cells"]) == 1
    assert "1 visitor is ahead of you" in state["say"]
    gone.set()
    thread.join()
    assert [state for state, _ in updates][-1]["state"] == "finished"


def test_a_full_line_refuses_a_new_sheet_and_lets_one_that_has_begun_go_on(network, monkeypatch):
    line = Queue(limit=0)
    monkeypatch.setattr(compare, "QUEUE", line)
    updates = compare.run(settings(), VISITOR)
    next(updates)
    with pytest.raises(gr.Error, match="The line is full"):
        list(compare.run(settings(), SimpleNamespace(session_hash="bob")))
    assert list(updates)[-1][0]["state"] == "finished"


def test_a_run_tells_the_line_what_it_will_take(network, monkeypatch):
    compare.THROUGHPUT.learn("bundled", 43 * 64, 2.0)
    line, expected = Queue(), []
    turn = line.turn
    monkeypatch.setattr(
        line, "turn", lambda seconds=None, again=False: expected.append(seconds) or turn(seconds)
    )
    monkeypatch.setattr(compare, "QUEUE", line)
    filled(("posterior",), nfes="3")
    assert expected == [6.0]


def test_what_is_best_in_distortion_and_in_perception_is_named(network):
    made = small_grid()
    assert compare.verdict(made) == (
        "Highest PSNR: Posterior at 4 NFE. Closest texture (SWD): Posterior at 2 NFE."
    ), "of equal ones the cheapest"
    first = made.cells[0]
    made.results[first] = result(first, 0.4, Quality(30.0, 0.9, 0.05))
    assert compare.verdict(made) == "Highest PSNR and closest texture (SWD): Heun at 2 NFE."
    for cell in made.cells:
        made.results[cell] = result(cell, 0.4, Quality(20.0, 0.9, 0.1))
    assert compare.verdict(made) == "", "none is best"


GONE = {"path": "/nowhere/photo.png", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"nfes": "three"}, "whole numbers from 1 to 100"),
        ({"nfes": "0"}, "whole numbers from 1 to 100"),
        ({"nfes": "101"}, "whole numbers from 1 to 100"),
        ({"nfes": " , "}, "at least one NFE"),
        ({"nfes": "1 2 3 4 5 6 7"}, "At most 6 NFEs"),
        ({"solvers": []}, "at least one sampler"),
        ({"solvers": [None]}, "at least one sampler"),
        ({"solvers": "heun"}, "must be a list"),
        ({"solvers": ["langevin"]}, "no sampler that is defined"),
        ({"solvers": [["heun"]]}, "no sampler that is defined"),
        ({"solvers": ["heun", "heun"]}, "compared once"),
        ({"solvers": list(choices.offered(PROCESS))[:13]}, "At most 12 samplers"),
        ({"spacing": "even"}, "spacing must be one of usual, fitted, uniform-lambda"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"checkpoint": "/etc/passwd"}, "There is no checkpoint"),
        ({"upload": GONE}, "no longer there"),
        ({"upload": "/etc/passwd"}, "must be an uploaded file"),
        ({"upload": {"path": "/etc/passwd"}}, "must be an uploaded file"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_sentence(network, wrong, sentence):
    with pytest.raises(gr.Error, match=sentence):
        filled(**wrong)
    state, price = compare.preview(settings(**wrong), VISITOR)
    assert price.startswith("Cannot run: ") and sentence in price
    assert "cells" not in state, "what is on the sheet stays"
    assert network.calls == 0


def test_every_sampler_that_is_compared_can_be_told_from_the_others():
    looks = [(s["colour"], s["dash"]) for s in compare.STYLES]
    assert len(set(looks)) == len(looks) == 12
    assert len({s["symbol"] for s in compare.STYLES}) == 12


def test_the_page_has_the_tab():
    tabs = [c for c in whole_page.build().config["components"] if c["type"] == "tabitem"]
    labels = [tab["props"]["label"] for tab in tabs]
    assert labels.index("Restore") < labels.index("Compare") < labels.index("Stability")


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow():
    return Network()


@pytest.fixture(scope="module")
def address(executable, slow):
    """The tab on a page of its own, over a network that is quick, slow or broken as asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_readings", {"bundled": read(restorer(slow))})
        with served("Compare", compare.build) as url:
            yield url


def ready(page):
    page.wait_for_selector(".sheet .cell")
    page.wait_for_function("window.Plotly")


def visit(browser, address, theme="light", **window):
    return opened(browser, f"{address}?__theme={theme}", ready, **window)


@pytest.fixture
def page(browser, address, slow):
    slow.seconds, slow.broken = 0.0, False
    with visit(browser, address) as page:
        yield page


def give(page, nfes):
    box = page.locator("#compare-nfes :is(input, textarea)")
    box.fill(nfes)
    box.press("Enter")
    page.wait_for_function(
        "n => document.querySelectorAll('.nfe').length === n", arg=len(nfes.split())
    )


def go(page):
    page.locator("#compare-run").click()


def wait_for(page, state):
    page.wait_for_function(
        "state => document.querySelector('#compare').dataset.run === state", arg=state
    )
    if state != "waiting":  # it has ended
        settled(page)


def boxes(page):
    return page.locator(".cell .frame").evaluate_all(
        "all => all.map(f => { const b = f.getBoundingClientRect();"
        " return [b.x, b.y + scrollY, b.width, b.height]; })"
    )


def done(page):
    return page.locator(".cell[data-is=done]").count()


def test_all_that_are_best_as_shown_are_marked(page, monkeypatch):
    tick = itertools.count()
    near = lambda self, image: Quality(28 + 1e-4 * next(tick), 0.5, 0.25, 0.1)  # noqa: E731
    monkeypatch.setattr(compare.Judge, "__call__", near)
    give(page, "2")
    go(page)
    wait_for(page, "finished")
    rows = page.evaluate("""() => [...document.querySelectorAll('.numbers tbody tr:not(.input)')]
      .map((tr) => [...tr.children].map((td) => [td.textContent, td.className === 'best']))""")
    for column in list(zip(*rows, strict=True))[3:7]:  # PSNR, SSIM, SWD, ST-LPIPS
        best = {text for text, marked in column if marked}
        assert len(best) == 1 and sum(text in best for text, _ in column) > 1
        assert all(marked == (text in best) for text, marked in column)


def test_the_sheet_fills_in_without_a_jump_and_the_curves_with_it(page, slow):
    give(page, "2 3")
    expect(page.locator("#compare-cost")).to_contain_text("10 runs: 25 evaluations")
    before = boxes(page)
    assert len(before) == 10 and len({tuple(b[2:]) for b in before}) == 1
    expect(page.locator(".say")).to_contain_text(
        "Run restores this photo 10 times: 5 samplers at 2 budgets of network evaluations"
    )
    faint = "getComputedStyle(document.querySelector('.cell .frame')).backgroundImage"
    assert page.evaluate(faint).startswith('url("data:image/jpeg')
    page.screenshot(path=ARTEFACTS / "compare-empty.png", full_page=True)
    slow.seconds = 0.1
    go(page)
    page.wait_for_function("document.querySelectorAll('.cell[data-is=done]').length >= 6")
    assert page.locator(".cell[data-is=now]").count() <= 1
    assert page.evaluate("document.querySelector('#compare-knobs').inert")
    expect(page.locator("#compare-cost")).to_contain_text("of 10 runs \u00b7 about")
    assert boxes(page) == before
    page.screenshot(path=ARTEFACTS / "compare-running.png", full_page=True)
    slow.seconds = 0.0
    wait_for(page, "finished")
    assert done(page) == 10 and boxes(page) == before
    lines = page.evaluate("document.querySelector('.plot').data.map(t => t.x.length)")
    assert lines == [2] * 20, "five samplers in four plots, a point an NFE"
    page.get_by_role("button", name="seconds").first.click()
    seconds = page.evaluate("document.querySelector('.plot').data[0].x")
    assert all(0 < value < 60 for value in seconds) and seconds != [2, 3]
    expect(page.locator(".numbers tbody tr")).to_have_count(11)
    page.screenshot(path=ARTEFACTS / "compare-finished.png", full_page=True)


def test_stop_keeps_what_is_there_and_another_sampler_costs_only_its_own(page, slow):
    give(page, "2 40")
    slow.seconds = 0.05
    go(page)
    page.wait_for_function("document.querySelectorAll('.cell[data-is=done]').length === 5")
    page.locator("#compare-stop").click()
    wait_for(page, "stopped")
    calls = slow.calls
    expect(page.locator(".say")).to_contain_text("Stopped: 5 of 10 runs are here")
    page.screenshot(path=ARTEFACTS / "compare-stopped.png", full_page=True)
    with compare.QUEUE.turn() as turn:
        assert turn.arrive(10), "it holds the line after Stop"
    assert slow.calls == calls, "it went on after Stop"
    give(page, "2")
    page.locator(".picker summary").click()
    page.get_by_label("Heun", exact=True).check()
    expect(page.locator("#compare-cost")).to_contain_text("5 of 6 runs are here already. 1 run: 2")
    strokes, of = page.locator(".picked line"), "all => all.map(l => l.getAttribute('stroke'))"
    colours = strokes.evaluate_all(of)
    assert len(set(colours)) == 6
    page.get_by_role("button", name="Remove Posterior").click()
    assert strokes.evaluate_all(of) == [c for c in colours if c != colours[1]], (
        "a colour stays with its sampler"
    )
    expect(page.locator(".who")).to_have_count(5)
    slow.seconds, before = 0.0, slow.calls
    go(page)
    wait_for(page, "finished")
    assert slow.calls - before == 2


def test_the_loupe_shows_one_place_of_all_and_a_click_sets_a_cell_beside_the_truth(page):
    give(page, "2 3")
    go(page)
    wait_for(page, "finished")
    frame = page.locator(".cell .frame").nth(3).bounding_box()
    page.mouse.move(frame["x"] + frame["width"] * 0.25, frame["y"] + frame["height"] * 0.5)
    origins = page.locator(".board .frame img").evaluate_all(
        "all => all.map(i => { const s = getComputedStyle(i), [x] = s.transformOrigin.split(' ');"
        " return [s.transform, Math.round(100 * parseFloat(x) / i.clientWidth)]; })"
    )
    assert len(origins) == 12
    assert {tuple(o) for o in origins} == {("matrix(2, 0, 0, 2, 0, 0)", 25)}
    page.screenshot(path=ARTEFACTS / "compare-loupe.png")
    page.mouse.click(frame["x"] + 20, frame["y"] + 20)
    title = page.locator(".closeup .title")
    expect(title).to_have_text("Posterior, 3 NFE")
    left, right = page.locator(".closeup .left"), page.locator(".closeup .right")
    truth = page.locator("[data-ref=truth] img").get_attribute("src")
    assert right.get_attribute("src") == truth != left.get_attribute("src")
    page.screenshot(path=ARTEFACTS / "compare-closeup.png")
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text("Posterior, 2 NFE")
    page.keyboard.press("ArrowDown")
    expect(title).to_have_text("MR Sampler SDE d-2, 2 NFE")
    page.keyboard.press("Escape")
    expect(page.locator(".closeup")).not_to_be_visible()
    label = "document.activeElement.getAttribute('aria-label')"
    # A dialog says that it was closed a moment after it is gone.
    page.wait_for_function(f"{label}?.startsWith('MR Sampler SDE d-2, 2 NFE: ')")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"{label}?.startsWith('MR Sampler SDE d-2, 3 NFE: ')")
    page.keyboard.press("Enter")
    expect(title).to_have_text("MR Sampler SDE d-2, 3 NFE")


def test_a_point_lights_its_cell_and_its_row(page):
    give(page, "2 3")
    go(page)
    wait_for(page, "finished")
    page.locator(".numbers tbody tr").nth(4).hover()
    lit = page.locator(".lit").evaluate_all("all => all.map(n => n.dataset.key)")
    assert lit == ["posterior 3", "posterior 3"]
    labels = page.locator(".plot .hoverlayer .hovertext").all_text_contents()
    assert len(labels) == 4 and all("Posterior" in text for text in labels), "in all four plots"
    page.get_by_role("button", name="PSNR, dB").click()
    column = page.locator(".numbers tbody tr:not(.input) td:nth-child(4)").all_text_contents()
    assert [float(x) for x in column] == sorted(map(float, column), reverse=True)


def test_the_table_and_the_sheet_can_be_taken_away(page):
    give(page, "2 3")
    go(page)
    wait_for(page, "finished")
    with page.expect_download() as table:
        page.locator("[data-want=csv]").click()
    rows = list(csv.DictReader(table.value.path().open(encoding="utf-8", newline="")))
    assert len(rows) == 10
    shown = page.locator(".numbers tbody tr:not(.input)").first.locator("td").all_text_contents()
    assert f"{float(rows[0]['psnr']):.2f}" == shown[3]
    with page.expect_download() as sheet:
        page.locator("[data-want=png]").click()
    assert sheet.value.suggested_filename == "compare-rainy.png"
    assert Image.open(sheet.value.path()).width > 800


def test_every_control_says_what_it_does(page):
    page.locator("#compare .label-wrap").click()
    page.wait_for_function("document.querySelector('#compare-run').title")
    expect(page.get_by_label("Seed")).to_be_visible()
    assert page.evaluate(UNEXPLAINED, "compare") == []


def test_bad_input_says_what_is_wrong_and_loses_nothing(page):
    give(page, "2 3")
    box = page.locator("#compare-nfes :is(input, textarea)")
    box.fill("many")
    box.press("Enter")
    expect(page.locator("#compare-cost")).to_contain_text("NFEs are whole numbers from 1 to 100")
    assert page.locator(".cell").count() == 10
    settled(page)
    go(page)
    expect(page.locator(".toast-body")).to_contain_text("whole numbers from 1 to 100")
    wait_for(page, "failed")
    page.screenshot(path=ARTEFACTS / "compare-failed.png", full_page=True)


def test_it_waits_its_turn(page):
    give(page, "4")
    with compare.QUEUE.turn() as turn:
        assert turn.arrive(5)
        go(page)
        wait_for(page, "waiting")
        expect(page.locator(".say")).to_contain_text("1 visitor is ahead of you")
        page.screenshot(path=ARTEFACTS / "compare-waiting.png", full_page=True)
    wait_for(page, "finished")


@pytest.mark.parametrize("nfes", ["3", "3 5 10", "1 2 3 4 5 6"])
def test_the_sheet_has_as_many_columns_as_there_are_nfes(page, nfes):
    give(page, nfes)
    count = len(nfes.split())
    columns = page.evaluate(
        "getComputedStyle(document.querySelector('.sheet')).gridTemplateColumns"
    )
    widths = [float(width[:-2]) for width in columns.split()]
    assert len(widths) == count and max(widths) - min(widths) < 1
    there = page.locator(".sheet").bounding_box()["width"]
    assert max(widths) == pytest.approx(400, abs=1) or sum(widths) + 12 * (count - 1) > there - 1


def test_on_a_phone_the_sheet_is_in_sight_and_the_settings_unfold(address, browser):
    with visit(browser, address, width=390, height=844) as page:
        assert page.locator("[data-ref=degraded] img").bounding_box()["y"] < 700
        expect(page.locator("#compare-nfes")).to_be_hidden()
        more = page.get_by_role("button", name="More settings")
        expect(more).to_have_attribute("aria-expanded", "false")
        more.click()
        expect(more).to_have_attribute("aria-expanded", "true")
        expect(page.locator("#compare-nfes")).to_be_visible()
        page.screenshot(path=ARTEFACTS / "compare-390-unfolded.png", full_page=True)


@pytest.mark.parametrize(("width", "theme"), [(1440, "dark"), (390, "light"), (390, "dark")])
def test_it_fits_its_window_in_both_themes(address, browser, slow, width, theme):
    slow.seconds, slow.broken = 0.0, False
    with visit(browser, address, theme, width=width, height=900) as page:
        go(page)
        wait_for(page, "finished")
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, "the tab scrolls sideways"
        box = page.locator("#compare-run").bounding_box()
        assert box["y"] + box["height"] <= 900, "Run is out of sight"
        page.screenshot(path=ARTEFACTS / f"compare-{width}-{theme}.png", full_page=True)
