"""The Stability tab: what it is told of both runs, what it draws, and the tab in a browser."""

import base64
import io
import json
import math
import time
from types import SimpleNamespace

import gradio as gr
import plotly.graph_objects as go
import pytest
import torch
from chromium import ARTEFACTS, ASKED, UNEXPLAINED, noted, opened, served, settled
from PIL import Image
from playwright.sync_api import expect

from mrsampler import Denoiser, MeanRevertingSDE, convergence
from mrsampler.checkpoints import Checkpoint
from mrsampler.degradations import TASKS
from mrsampler.restorer import Restorer
from mrsampler.stability import QUANTILES, Convergence
from mrsampler.ui import page as whole_page
from mrsampler.ui.parts import photo_controls as given
from mrsampler.ui.queue import Queue
from mrsampler.ui.stability import tab as stability
from mrsampler.ui.stability.divergence import (
    COLOURS,
    RADII,
    Comparison,
    Moment,
    compared,
    followed,
    numbers,
    overlay,
    radius_figure,
    share_figure,
)

PROCESS = MeanRevertingSDE()
SDE = stability.SOLVERS["SDE, order 2"]


class Network:
    """Predicts an x_0 that changes with t and x, and counts its calls."""

    def __init__(self):
        self.calls, self.seconds, self.broken = 0, 0.0, False

    def __call__(self, x, mu, t, task):
        self.calls += 1
        time.sleep(self.seconds)
        return mu * math.nan if self.broken else mu + 0.3 * torch.tanh(x - mu) + 0.001 * t


def restorer(network=None, process=PROCESS):
    denoiser = Denoiser(network or Network(), "data")
    return Restorer(Checkpoint("test", denoiser, process, TASKS, {}), torch.device("cpu"))


def photo():
    return torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(0))


def moments(solvers=SDE, nfe=6, truth=True, process=PROCESS, network=None, stopped=lambda: False):
    asked = Comparison("noisy", solvers, nfe, "uniform-lambda", 0)
    known, clean = restorer(network, process), photo()
    return list(compared(known, clean * 0.8, clean if truth else None, asked, stopped))


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


# --- the runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["noise", "data"])
def test_a_step_comes_with_its_convergence_and_nothing_is_computed_ahead(prediction):
    network = Network()
    known, mu = restorer(network), photo()[None]

    def trajectory():
        return known.trajectory(mu[0], "noisy", solver=SDE[prediction], nfe=5)

    records = list(convergence(trajectory(), prediction, process=PROCESS, mu=mu))
    network.calls = 0
    for step, record in followed(trajectory(), prediction, known, mu):
        assert network.calls == step.index
        if step.index < 2:
            assert record is None
        else:
            expected = records[step.index - 2]
            assert record.index == step.index and record.quantiles == expected.quantiles
            assert torch.equal(record.holds, expected.holds)


def test_both_start_from_one_x_T_and_every_frame_is_told_once():
    told = moments()
    frames = [frame for moment in told for frame in moment.frames]
    assert [frame["index"] for frame in frames] == [frame["nfe"] for frame in frames]
    assert [frame["index"] for frame in frames] == list(range(7))
    assert frames[0]["noise"] == frames[0]["data"]
    assert frames[-1]["noise"]["x"] != frames[-1]["data"]["x"]
    assert [moment.done for moment in told] == [False] * (len(told) - 1) + [True]


def test_the_steps_are_those_of_the_two_solvers():
    known, last = restorer(), moments()[-1]
    mu = 0.8 * photo()[None]
    for prediction, solver in SDE.items():
        run = known.trajectory(mu[0], "noisy", seed=0, solver=solver, nfe=6)
        records = convergence(run, prediction, process=PROCESS, mu=mu)
        assert last.steps[prediction] == [numbers(record) for record in records]


def test_a_map_shows_where_the_step_to_its_frame_diverges():
    frames = [frame for moment in moments() for frame in moment.frames]
    for frame in frames:
        for prediction in SDE:
            of = frame[prediction]
            assert ("map" in of) == (frame["index"] >= 2)
            if "map" in of:
                alpha = decoded(of["map"]).convert("RGBA").getchannel("A")
                mean = sum(alpha.tobytes()) / 255 / (alpha.width * alpha.height)
                assert mean == pytest.approx(1 - of["fraction"], abs=1e-6)


def test_the_more_channels_diverge_the_more_opaque_is_a_pixel():
    pixels = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 1, 1]], [[0, 0, 0, 1]]]).bool()
    picture = decoded(overlay(pixels, "#D55E00")).convert("RGBA")
    assert picture.size == (4, 1)
    expected = [(0xD5, 0x5E, 0x00, alpha) for alpha in (0, 85, 170, 255)]
    assert [picture.getpixel((i, 0)) for i in range(4)] == expected


def test_a_run_to_sigma_0_ends_without_an_expansion():
    told = moments(process=MeanRevertingSDE(zero_start=True), nfe=4)
    last = [frame for moment in told for frame in moment.frames][-1]
    assert last["lam"] is None and "map" not in last["data"]
    assert [step["step"] for step in told[-1].steps["data"]] == [2, 3]


def test_of_order_1_the_ode_has_one_sample_and_still_two_expansions():
    last = moments(solvers=stability.SOLVERS["ODE, order 1"])[-1]
    assert last.psnr["noise"] == pytest.approx(last.psnr["data"], abs=1e-3)
    assert last.steps["noise"] != last.steps["data"]


def test_stopped_it_makes_no_further_step_and_keeps_what_it_has():
    network = Network()
    told = moments(network=network, stopped=lambda: network.calls >= 4)
    assert network.calls == 4 and not told[-1].done
    assert [f["index"] for moment in told for f in moment.frames] == [0, 1, 2]


def test_a_network_that_is_not_finite_ends_it():
    network = Network()
    network.broken = True
    with pytest.raises(FloatingPointError):
        moments(network=network)


def test_without_a_truth_there_is_no_score():
    assert moments(truth=False)[-1].psnr == {"noise": None, "data": None}


# --- what is drawn and said ----------------------------------------------------------------------


def record(quantiles, index=2, lam=1.0, gap=0.5, fraction=0.25):
    return Convergence(index, 10.0, lam, gap, fraction, quantiles, torch.ones(1).bool())


def test_the_plots_show_the_shares_the_radii_and_the_gap():
    steps = {
        "noise": [numbers(record((0.1, 0.2, 0.4, 0.8, 1.6)))],
        "data": [numbers(record((1, 2, 3, 4, math.inf), fraction=1.0))],
    }
    span = (PROCESS.lam(PROCESS.T), PROCESS.lam(0.0))
    share, radius = share_figure(steps, span), radius_figure(steps, span)
    assert {trace["name"]: trace["y"] for trace in share["data"]} == {"noise": [0.25], "data": [1]}
    lines = {t["name"]: t for t in radius["data"] if t["mode"] == "lines+markers"}
    assert {name: line["y"] for name, line in lines.items()} == {
        "noise": [0.4],
        "data": [3],
        "step": [0.5],
    }
    bands = [t["y"] for t in radius["data"] if t["mode"] == "lines"]
    assert bands == [[0.2], [0.8], [2], [4]]
    for name, colour in COLOURS.items():
        assert lines[name]["line"]["color"] == colour
    for figure in (share, radius):
        go.Figure(figure)  # raises for what plotly does not know
        low, high = figure["layout"]["xaxis"]["range"]
        assert low < span[0] and span[1] < high
        assert all(trace["x"] == [1.0] for trace in figure["data"])


def test_radii_that_are_0_or_infinite_stay_within_the_plot_and_in_json():
    radii = numbers(record((0.0, 0.5, 1.0, math.inf, math.inf)))["radii"]
    assert radii == [RADII[0], 0.5, 1.0, RADII[1], RADII[1]]
    json.dumps(radii, allow_nan=False)
    assert len(radii) == len(QUANTILES)


def test_the_last_word_says_how_each_ended_and_its_worst_step():
    steps = {"noise": [numbers(record((1,) * 5)), numbers(record((1,) * 5, 3, fraction=0.02))]}
    assert stability.say(Moment([], steps, {"noise": 4.11}, True)) == (
        "Finished. Noise prediction ends at 4.1 dB; at worst 2 % of its pixels converge (step 3)."
    )
    assert stability.say(Moment([], steps, {"noise": None}, True)) == (
        "Finished. Noise prediction: at worst 2 % of its pixels converge (step 3)."
    )
    for fraction, words in ((0.001, "under 1 %"), (0.999, "over 99 %"), (1.0, "100 %")):
        steps = {"data": [numbers(record((1,) * 5, fraction=fraction))]}
        assert f"at worst {words} of" in stability.say(Moment([], steps, {"data": 9.0}, True))
    assert "nothing is expanded" in stability.say(Moment([], {"data": []}, {"data": 9.0}, True))
    assert stability.say(Moment([], steps, {"noise": 4.1}, False)).startswith("Stopped")


VISITOR = SimpleNamespace(session_hash="ann")


def asked(**other):
    whole = {
        "example": 0,
        "upload": None,
        "damage": given.CLEAN,
        "task": "noisy",
        "severity": 0.5,
        "seed": 0,
        "size": 64,
        "solver": "SDE, order 2",
        "nfe": 3,
        "spacing": "blend",
        "checkpoint": "bundled",
    }
    return whole | other


def test_what_the_visitor_is_told_to_change_is_said_once_and_without_quotes(monkeypatch):
    monkeypatch.setattr(stability, "load", lambda checkpoint: restorer())
    with pytest.raises(gr.Error) as refused:
        list(stability.run(asked(seed=-1), VISITOR))
    assert (
        refused.value.message == "seed must be a whole number from 0 to 9007199254740992; got -1."
    )
    monkeypatch.setattr(stability, "QUEUE", Queue(limit=0))
    with stability.QUEUE.turn(), pytest.raises(gr.Error) as refused:
        list(stability.run(asked(), VISITOR))
    assert refused.value.message == "The line is full (0 waiting): try again in a minute."


def test_every_solver_that_is_offered_comes_in_both_parameterisations():
    for solvers in stability.SOLVERS.values():
        assert moments(solvers=solvers, nfe=2)[-1].done


def test_the_page_has_the_tab():
    tabs = [c for c in whole_page.build().config["components"] if c["type"] == "tabitem"]
    assert "Stability" in [tab["props"]["label"] for tab in tabs]


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    return Network()


@pytest.fixture(scope="module")
def address(executable, network):
    """The tab on a page of its own, over a network that is quick, slow or broken as asked."""
    known = restorer(network)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stability, "load", lambda checkpoint: known)
        with served("Stability", stability.build) as url:
            yield url


def ready(page):
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length === 2")


def visit(browser, address, theme="light", **window):
    return opened(browser, f"{address}?__theme={theme}", ready, **window)


@pytest.fixture
def page(browser, address, network):
    network.seconds, network.broken = 0.0, False
    with visit(browser, address) as page:
        yield page


def run(page, nfe):
    more = page.locator(".unfold")
    if more.is_visible() and more.get_attribute("aria-expanded") == "false":
        more.click()
    box = page.get_by_label("number input for NFE", exact=True)
    box.fill(str(nfe))
    box.press("Enter")
    page.locator("#stability-run").click()


def wait_for(page, state):
    page.wait_for_function(
        "state => document.querySelector('#stability').dataset.run === state", arg=state
    )
    if state != "waiting":  # it has ended
        settled(page)


def drawn(page):
    """The number of points of each line, and where the marker is, in both plots."""
    return page.evaluate("""() => [...document.querySelectorAll('#stability .chart')].map((c) => ({
      points: c.data.filter((t) => t.mode !== 'lines').map((t) => t.x.length),
      marker: c.layout.shapes?.[0]?.x0 ?? null,
    }))""")


def shown(page):
    """What both sides show: x_t and the map."""
    return page.locator(".pair img.x, .pair img.over").evaluate_all("all => all.map(i => i.src)")


def test_before_a_run_it_shows_the_degraded_photo_and_empty_plots(page):
    pictures = shown(page)
    assert pictures[0] == pictures[2] and pictures[0].startswith("data:image/jpeg")
    assert pictures[1] == pictures[3] == ""
    expect(page.locator(".none").first).to_have_text("Run, and it is drawn here.")
    assert [plot["points"] for plot in drawn(page)] == [[0, 0], [0, 0, 0]]
    assert page.locator(".scrub").is_disabled()
    page.screenshot(path=ARTEFACTS / "stability-empty.png", full_page=True)


def test_the_scrubber_moves_pictures_maps_and_both_markers_without_a_run(page, network):
    run(page, 5)
    wait_for(page, "finished")
    expect(page.locator(".say")).to_contain_text("Finished. Noise prediction ends at")
    assert [plot["points"] for plot in drawn(page)] == [[4, 4], [4, 4, 4]]
    calls, seen, markers = network.calls, set(), []
    with noted(page, "request") as sent:
        for step in range(6):
            page.locator(".scrub").fill(str(step))
            first, second = drawn(page)
            assert first["marker"] == second["marker"]
            markers.append(first["marker"])
            pictures = shown(page)
            assert all(bool(picture) == (step >= 2) for picture in pictures[1::2])
            seen.add(tuple(pictures))
            expect(page.locator(".at")).to_contain_text(f"Step {step} \u00b7 \u03bb = ")
    assert len(seen) == 6 and markers == sorted(set(markers))
    assert (markers[0], markers[-1]) == pytest.approx((PROCESS.lam(PROCESS.T), PROCESS.lam(0.0)))
    assert network.calls == calls and not [url for url in sent if ASKED.search(url)]
    page.screenshot(path=ARTEFACTS / "stability-finished.png", full_page=True)


def test_a_step_pointed_at_in_one_plot_is_marked_in_the_other_and_a_click_shows_it(page):
    run(page, 6)
    wait_for(page, "finished")
    x, y = page.evaluate("""() => {
      const plot = document.querySelector('#stability .chart'), { xaxis, yaxis } = plot._fullLayout;
      const line = plot.data.find((t) => t.name === 'data'), i = line.customdata.indexOf(4);
      const box = plot.querySelector('.nsewdrag').getBoundingClientRect();
      return [box.x + xaxis.l2p(line.x[i]), box.y + yaxis.l2p(line.y[i])];
    }""")
    page.mouse.move(x, y)
    labels = page.locator("#stability .hovertext")
    expect(labels).to_have_count(2)
    for label in labels.all():
        expect(label).to_contain_text("step 4, to")
    page.screenshot(path=ARTEFACTS / "stability-pointed.png")
    page.mouse.click(x, y)
    expect(page.locator(".at")).to_contain_text("Step 4 ")
    assert drawn(page)[0]["marker"] == drawn(page)[1]["marker"]
    page.mouse.move(2, 2)
    expect(labels).to_have_count(0)


def test_while_it_runs_the_controls_are_locked_and_stop_keeps_what_is_there(page, network):
    network.seconds = 0.3
    run(page, 50)
    page.wait_for_function("+document.querySelector('.stability .scrub').max >= 3")
    assert page.evaluate("document.querySelector('#stability-knobs').inert")
    assert page.locator(".scrub").is_disabled()
    page.screenshot(path=ARTEFACTS / "stability-running.png", full_page=True)
    page.locator("#stability-stop").click()
    wait_for(page, "stopped")
    expect(page.locator(".say")).to_contain_text("Stopped: what was reached stays here.")
    reached = int(page.locator(".scrub").get_attribute("max"))
    assert 3 <= reached < 50 and not page.locator(".scrub").is_disabled()
    assert drawn(page)[0]["points"] == [reached - 1] * 2
    calls = network.calls
    with stability.QUEUE.turn() as turn:
        assert turn.arrive(10), "it holds the line after Stop"
    assert network.calls == calls, "it went on after Stop"
    page.screenshot(path=ARTEFACTS / "stability-stopped.png", full_page=True)


def test_a_run_that_fails_says_why_and_the_next_one_runs(page, network):
    network.broken = True
    run(page, 3)
    wait_for(page, "failed")
    expect(page.locator(".say")).to_contain_text("values that are not finite")
    page.screenshot(path=ARTEFACTS / "stability-failed.png", full_page=True)
    network.broken = False
    page.locator("#stability-run").click()
    wait_for(page, "finished")


def test_it_waits_its_turn(page):
    with stability.QUEUE.turn() as turn:
        assert turn.arrive(5)
        run(page, 2)
        wait_for(page, "waiting")
        expect(page.locator(".say")).to_contain_text("1 visitor is ahead of you")
        page.screenshot(path=ARTEFACTS / "stability-waiting.png", full_page=True)
    wait_for(page, "finished")


def test_a_full_line_is_said_and_what_was_there_stays(page, monkeypatch):
    run(page, 3)
    wait_for(page, "finished")
    pictures = shown(page)
    monkeypatch.setattr(stability.QUEUE, "limit", 0)
    with stability.QUEUE.turn():
        page.locator("#stability-run").click()
        expect(page.locator(".toast-body")).to_contain_text("The line is full (0 waiting)")
        expect(page.locator(".say")).to_contain_text("The run did not start")
        page.screenshot(path=ARTEFACTS / "stability-refused.png")
    assert shown(page) == pictures
    page.locator("#stability-run").click()
    wait_for(page, "finished")


def test_another_example_is_shown_at_once_and_its_damage_soon(page):
    before = shown(page)[0]
    page.locator("#stability button[data-index='1']").click()
    page.wait_for_function("was => document.querySelector('.pair img.x').src !== was", arg=before)
    pictures = shown(page)
    assert pictures[0] == pictures[2]


def test_every_control_says_what_it_does(page):
    page.locator("#stability .label-wrap").click()
    page.wait_for_function("document.querySelector('#stability-run').title")
    expect(page.get_by_label("Seed")).to_be_visible()
    assert page.evaluate(UNEXPLAINED, "stability") == []


def test_on_a_phone_the_pictures_are_in_sight_and_the_settings_unfold(address, browser):
    with visit(browser, address, width=390, height=844) as page:
        box = page.locator(".noise .frame").first.bounding_box()
        assert box["y"] + box["height"] < 844
        nfe = page.get_by_label("number input for NFE", exact=True)
        expect(nfe).to_be_hidden()
        more = page.get_by_role("button", name="More settings")
        expect(more).to_have_attribute("aria-expanded", "false")
        more.click()
        expect(more).to_have_attribute("aria-expanded", "true")
        expect(nfe).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_fits_its_window_in_both_themes(address, browser, network, width, theme):
    network.seconds, network.broken = 0.0, False
    with visit(browser, address, theme, width=width, height=900) as page:
        run(page, 4)
        wait_for(page, "finished")
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, "the tab scrolls sideways"
        box = page.locator("#stability-run").bounding_box()
        assert box["y"] + box["height"] <= 900, "Run is out of sight"
        page.screenshot(path=ARTEFACTS / f"stability-{width}-{theme}.png", full_page=True)
