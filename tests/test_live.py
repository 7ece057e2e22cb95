"""What the page is told: the race's moments, the plot, and the line of visitors."""

import json
import math
import pickle
import re
import threading
import time
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import gradio as gr
import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from mrsampler import SPACINGS, VESDE, Denoiser, MeanRevertingSDE
from mrsampler.checkpoints import Checkpoint
from mrsampler.metrics import ssim
from mrsampler.restorer import Restorer
from mrsampler.run import Run
from mrsampler.solvers import SOLVERS
from mrsampler.ui.parts import choices
from mrsampler.ui.parts.frames import jpeg
from mrsampler.ui.queue import Queue
from mrsampler.ui.restore import live, samplers
from mrsampler.ui.restore import tab as restore
from mrsampler.ui.restore.figures import free_side
from mrsampler.ui.restore.live import Entrant, LiveRace, ended, lasting, measured

ENTRANTS = [
    Entrant("a", "MR Sampler, ODE", "mrs-ode-d-2", 3, "uniform-lambda"),
    Entrant("b", "Posterior", "posterior", 5, "uniform-t"),
]


ZERO_START = MeanRevertingSDE(zero_start=True)


class Network:
    """Returns mu a little brighter as x_0, and counts its calls."""

    def __init__(self, seconds=0.0):
        self.calls, self.seconds = 0, seconds

    def __call__(self, x, mu, t, task):
        self.calls += 1
        time.sleep(self.seconds)
        return mu + 0.1


def restorer(network=None, timesteps=None, process=None):
    """As of a checkpoint whose card holds these fitted times."""
    network, card = network or Network(), {"timesteps": timesteps or {}}
    denoiser, process = Denoiser(network, "data"), process or MeanRevertingSDE()
    return Restorer(Checkpoint("test", denoiser, process, ("noisy",), card), torch.device("cpu"))


TRUTH = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0)) * 0.8


def race(network, truth=True, entrants=ENTRANTS, timesteps=None, process=None):
    known = restorer(network, timesteps, process)
    return LiveRace(known, TRUTH.clone(), TRUTH if truth else None, "noisy", entrants, 0)


def test_every_frame_is_told_once_and_both_samplers_start_from_one_x_T():
    moments = list(race(Network()).moments())
    frames = [frame for moment in moments for frame in moment.frames]
    assert [frame["index"] for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert frames[0]["a"]["x"] == frames[0]["b"]["x"]
    assert [frame["a"]["nfe"] for frame in frames if "a" in frame] == [0, 1, 2, 3]
    assert [frame["b"]["nfe"] for frame in frames if "b" in frame] == [0, 1, 2, 3, 4, 5]
    assert [result.done for result in moments[-1].results] == [True, True]
    assert [result.nfe for result in moments[-1].results] == [3, 5]


@pytest.mark.parametrize(
    ("solver", "nfe", "spent"),
    [("heun", 9, 8), ("pndm", 9, 8), ("rk45", 200, None), ("posterior-published", 9, 9)],
)
def test_a_sampler_is_done_at_its_last_step_whatever_nfe_it_leaves(solver, nfe, spent):
    spacing = SOLVERS[solver].spacing
    entrants = [Entrant("a", solver, solver, nfe, spacing), ENTRANTS[1]]
    moments = list(race(Network(), entrants=entrants).moments())
    told = [frame["a"]["done"] for moment in moments for frame in moment.frames if "a" in frame]
    assert told == [False] * (len(told) - 1) + [True]
    result = moments[-1].results[0]
    assert result.done and result.nfe == (spent or result.nfe)


@pytest.mark.parametrize("solver", choices.offered(ZERO_START))
def test_where_sigma_0_is_0_a_sampler_is_done_at_the_step_that_goes_there(solver):
    nfe = choices.placed(solver, 9, ZERO_START)
    entrants = [Entrant("a", solver, solver, nfe, "blend"), ENTRANTS[1]]
    moments = list(race(Network(), entrants=entrants, process=ZERO_START).moments())
    told = [frame["a"] for moment in moments for frame in moment.frames if "a" in frame]
    assert [state["done"] for state in told] == [False] * (len(told) - 1) + [True]
    assert told[-1]["lam"] == math.inf or SOLVERS[solver].own_nodes
    if not (SOLVERS[solver].adaptive or SOLVERS[solver].own_nodes):
        assert f": {len(told) - 1} steps" in choices.explained(solver, nfe, ZERO_START)


def test_a_run_that_ends_elsewhere_is_done_when_nothing_follows():
    fitted = {"mrs-ode-d-2": {"3": [100, 60, 20]}}  # fewer steps than nfe, and not to the end
    entrants = [Entrant("a", "MR", "mrs-ode-d-2", 3, "optimised"), ENTRANTS[1]]
    moments = list(race(Network(), entrants=entrants, timesteps=fitted).moments())
    assert [result.done for result in moments[-1].results] == [True, True]
    assert moments[-1].results[0].nfe == 2


@pytest.mark.parametrize(("rate", "updates"), [(1e-6, 2), (math.inf, 6)])
def test_updates_are_coalesced_to_a_rate(monkeypatch, rate, updates):
    monkeypatch.setattr(live, "UPDATES_PER_SECOND", rate)
    moments = [moment for moment in race(Network()).moments() if moment.frames]
    assert len(moments) == updates  # x_T at once, and the last frames at the end
    assert [frame["index"] for moment in moments for frame in moment.frames] == list(range(6))


def test_while_it_runs_the_newest_frames_alone_have_pictures_and_the_others_follow(monkeypatch):
    monkeypatch.setattr(live, "UPDATES_PER_SECOND", 1e-6)
    moments = list(race(Network()).moments())
    told = [frame[key] for m in moments for frame in m.frames for key in "ab" if key in frame]
    stills = {key: [s for m in moments for s in m.stills if s.key == key] for key in "ab"}
    # x_T at once; at the end the last of either.
    for key, last in ("a", 3), ("b", 5):
        assert [s.index for s in stills[key] if s.shown] == [0, last]
    assert sum("x" in state for state in told) == sum("x0" in state for state in told) == 4
    late = restore.closing(ENTRANTS, stills)["late"]
    for key, missing in ("a", [1, 2]), ("b", [1, 2, 3, 4]):
        follow = {state["step"]: state for state in late[key] if "x" in state}
        assert list(follow) == missing
        for still in stills[key]:
            if still.index in follow:
                assert follow[still.index]["x"] == jpeg(still.x.image)
                assert follow[still.index]["x0"] == jpeg(still.x0.image)
    assert all(s.shown for key in "ab" for s in lasting(stills[key]))


def test_of_the_recorded_race_the_frames_that_the_curves_show_alone_are_kept():
    updates = json.loads(restore.RECORDING.read_text(encoding="utf-8"))
    steps = [f["b"]["step"] for update in updates for f in update["frames"] if "b" in f]
    assert steps == [*range(12), 14, 21, 32, 48, 72, 100]


def test_nothing_is_evaluated_once_it_is_to_stop():
    network, stop = Network(seconds=0.15), threading.Event()
    moments = race(network).moments(stop.is_set)
    next(moments)
    assert not any(result.done for result in next(moments).results)
    assert network.calls == 2
    stop.set()
    assert not any(moment.frames for moment in moments), "only the plot as it is by now"
    assert network.calls == 2


def test_closing_it_stops_the_work():
    network = Network()
    moments = race(network).moments()
    next(moments)
    moments.close()
    assert network.calls == 0


def test_without_the_truth_there_is_no_score():
    frames = [f for moment in race(Network(), truth=False).moments() for f in moment.frames]
    told = [frame["a"] for frame in frames if "a" in frame]
    assert len(told) == 4
    assert all(state["of_x"] is None and state["of_x0"] is None for state in told)


def test_while_it_runs_psnr_alone_is_measured():
    told = [f["a"] for moment in race(Network()).moments() for f in moment.frames if "a" in f]
    assert told[0]["of_x0"] is None, "nothing is predicted at x_T"
    for quality in (*(state["of_x"] for state in told), *(state["of_x0"] for state in told[1:])):
        assert quality["psnr"] > 0 and quality["ssim"] is None and quality["swd"] is None


def test_of_a_long_run_a_thinned_set_is_measured_in_full_with_both_its_ends_and_the_sample(
    monkeypatch,
):
    monkeypatch.setattr(live, "UPDATES_PER_SECOND", 1e-6)  # however long it takes here
    entrants = [ENTRANTS[0], Entrant("b", "Posterior", "posterior", 100, "uniform-t")]
    moments = list(race(Network(), entrants=entrants).moments())
    raced = [still for moment in moments for still in moment.stills if still.key == "b"]
    assert [still.nfe for still in raced] == list(range(101))
    stills = measured(raced, TRUTH)
    whole = [still.nfe for still in stills if still.of_x0 and still.of_x0.swd is not None]
    assert whole == [1, 2, 3, 4, 6, 9, 14, 21, 32, 48, 72, 100]
    assert all(still.x0 for still in stills[1:]) and not any(still.shown for still in raced[1:-1])
    assert [still.nfe for still in lasting(stills) if still.x0] == whole
    assert [still.nfe for still in stills if still.of_x.swd is not None] == [100]
    assert [still.nfe for still in stills if still.of_x.st_lpips is not None] == [100]
    assert all(still.of_x0.st_lpips is None for still in stills[1:]), "the sample alone is worth it"
    for still, before in zip(stills, raced, strict=True):
        assert still.of_x.psnr == before.of_x.psnr
    sample = stills[-1]
    assert sample.of_x.ssim == pytest.approx(ssim(sample.x.image, TRUTH))


def test_the_curve_of_a_stopped_run_goes_to_where_it_was_stopped():
    entrants = [ENTRANTS[0], Entrant("b", "Posterior", "posterior", 100, "uniform-t")]
    moments = race(Network(), entrants=entrants).moments()
    made = [still for moment in moments for still in moment.stills if still.key == "b"]
    stopped = ended(made[:31])
    assert not made[30].judged, "the next to be judged would have been the 32nd"
    whole = [s.nfe for s in measured(stopped, TRUTH) if s.of_x0 and s.of_x0.swd is not None]
    assert whole[-3:] == [14, 21, 30]
    assert live.distances(stopped)[-1] is not None
    assert lasting(stopped)[-1].x0 is not None


def test_the_plot_comes_at_once_and_at_the_end_and_seldomer_than_the_frames(monkeypatch):
    monkeypatch.setattr(live, "UPDATES_PER_SECOND", 1e9)
    monkeypatch.setattr(live, "FIGURES_PER_SECOND", 1e-9)
    moments = list(race(Network()).moments())
    assert [bool(moment.figures) for moment in moments] == [True] + 5 * [False] + [True]
    ends = {t["name"]: t["customdata"][-1][0] for t in moments[-1].figures["2"]["data"][:2]}
    assert ends == {"a": 3, "b": 5}


def test_while_one_goes_on_alone_the_page_is_told_half_as_often(monkeypatch):
    clock = [0.0]

    class Timed(Network):
        def __call__(self, *args, **told):
            clock[0] += 0.01
            return super().__call__(*args, **told)

    monkeypatch.setattr(live.time, "perf_counter", lambda: clock[0])
    entrants = [replace(e, nfe=n) for e, n in zip(ENTRANTS, (40, 140), strict=True)]
    told = [m for m in race(Timed(), entrants=entrants).moments() if m.frames]
    ends = [max(frame["index"] for frame in moment.frames) for moment in told]
    both = [b - a for a, b in pairwise(e for e in ends if e <= 40)]
    alone = [b - a for a, b in pairwise(e for e in ends[:-1] if e > 60)]
    # A tick of both takes 0.02 s, of one 0.01 s.
    assert set(both) <= {12, 13, 14} and set(alone) <= {49, 50, 51} and both and alone


def test_a_race_that_is_closed_ends_the_moment_that_is_being_made(monkeypatch):
    network, stop = Network(seconds=0.02), threading.Event()
    monkeypatch.setattr(live, "load", lambda name: restorer(network))
    monkeypatch.setattr(live, "UPDATES_PER_SECOND", 1e-6)  # the second moment is the whole race
    shown = SimpleNamespace(degraded=TRUTH.clone(), truth=TRUTH)
    entrants = [replace(entrant, nfe=200) for entrant in ENTRANTS]
    moments = live.race(Run(checkpoint="test"), shown, entrants, stop)
    next(moments)
    moments.close()
    assert stop.is_set()
    time.sleep(0.2)
    made = network.calls
    time.sleep(0.2)
    assert network.calls == made < 30


def test_its_moments_can_cross_to_another_process():
    moment = next(race(Network()).moments())
    assert pickle.loads(pickle.dumps(moment)).frames == moment.frames
    pickle.dumps(ENTRANTS)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_plot_is_a_plotly_figure_with_a_point_an_evaluation(dimensions):
    figure = list(race(Network()).moments())[-1].figures[str(dimensions)]
    checked = go.Figure(figure["data"], figure["layout"])  # raises for what plotly does not know
    assert [trace.name for trace in checked.data] == ["a", "b", "landmarks"]
    assert [len(trace.x) for trace in checked.data] == [4, 6, 3]
    assert [note[0] for note in checked.data[1].customdata] == [0, 1, 2, 3, 4, 5]
    axes = checked.layout.scene if dimensions == 3 else checked.layout
    assert re.search(r"PC 1 · \d+ %", axes.xaxis.title.text)
    if dimensions == 2:
        assert axes.yaxis.scaleanchor == "x", "the axes are not equal"
    else:
        widths = {round(a.range[1] - a.range[0], 6) for a in (axes.xaxis, axes.yaxis, axes.zaxis)}
        assert len(widths) == 1 and axes.aspectmode == "cube", "the axes are not equal"


def test_a_label_goes_where_no_line_strikes_it_and_stays_there_as_long_as_it_can():
    mark, away = np.zeros(2), np.array([[900.0, 900.0]])
    below = np.stack([np.linspace(-30, 30, 9), np.full(9, -15.0)], axis=1)
    assert free_side("bottom center", mark, away, 12, 1) == "bottom center"
    assert free_side("bottom center", mark, below, 12, 1) == "top center"
    assert free_side("top center", mark, away, 12, 1) == "top center", "it hops back"
    # Smaller pixels, and the same line passes beneath the label.
    assert free_side("bottom center", mark, below, 12, 0.1) == "bottom center"


def test_the_updates_a_second_are_at_most_twelve():
    assert live.UPDATES_PER_SECOND <= 12


def test_visitors_are_served_in_order_and_told_their_place():
    line, order = Queue(), []

    def visit(name):
        with line.turn() as turn:
            while not turn.arrive(0.01):
                pass
            order.append(name)
            time.sleep(0.05)

    with line.turn() as first:
        assert first.arrive(0) and first.ahead == 0 and first.seconds == 0
        threads = []
        for index in range(3):
            threads.append(threading.Thread(target=visit, args=(index,)))
            threads[-1].start()
            while len(line._line) < index + 2:
                time.sleep(0.001)
        with line.turn() as last:
            assert last.ahead == 4
            assert not last.arrive(0.01)
            assert 0 < last.seconds <= 40  # four runs of ten seconds, until some were measured
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2]


def test_one_who_leaves_the_line_holds_up_nobody():
    line = Queue()
    with pytest.raises(RuntimeError), line.turn() as turn:
        assert turn.arrive(0)
        raise RuntimeError("the run failed")
    with line.turn() as turn:
        assert turn.arrive(0)


def test_the_menu_offers_every_solver_of_the_process_in_the_registrys_order():
    groups = choices.solvers(MeanRevertingSDE())
    listed = [option["value"] for group in groups for option in group["options"]]
    assert listed == [name for name in SOLVERS if name != "langevin"]
    assert "langevin" in choices.offered(VESDE()) and "posterior-published" not in choices.offered(
        VESDE()
    )
    labels = [option["label"] for group in groups for option in group["options"]]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("name", "label", "cost"),
    [
        ("mrs-ode-d-2", "MR Sampler ODE d-2", "1 NFE a step"),
        ("mrs-ode-n-3-published", "MR Sampler ODE n-3, published", "1 NFE a step"),
        ("dpm-solver++-sde-2m", "DPM-Solver++ sde-2m", "1 NFE a step"),
        ("dpm-solver-3", "DPM-Solver 3", "3 NFE a step"),
        ("pndm", "PNDM", "4, 4, 4, then 1 NFE a step"),
        ("euler-maruyama-published", "Euler\u2013Maruyama, published", "1 NFE a step"),
        ("heun", "Heun", "2 NFE a step"),
        ("rk45", "RK45", "chooses its steps"),
    ],
)
def test_an_entry_says_in_words_what_it_is_and_costs(name, label, cost):
    assert (choices.label(name), choices.cost(SOLVERS[name])) == (label, cost)


@pytest.mark.parametrize("process", [MeanRevertingSDE(), ZERO_START])
@pytest.mark.parametrize("name", choices.offered(MeanRevertingSDE()))
def test_every_nfe_that_can_be_set_pays_for_a_run(name, process):
    known = restorer(process=process)
    for nfe in choices.bounds(name, process):
        asked = samplers.checked(known, Run(solver=name, nfe=nfe, spacing="blend"))
        next(known.trajectory(torch.rand(3, 8, 8), "noisy", solver=name, nfe=asked.nfe))
        assert choices.explained(name, nfe, process).endswith(".")


def test_the_step_to_sigma_0_is_told_to_cost_a_single_evaluation():
    assert choices.bounds("heun", ZERO_START) == (1, 100)
    assert choices.bounds("pndm", ZERO_START) == (1, 100)
    assert choices.explained("heun", 9, ZERO_START).endswith(
        "2 NFE a step: 5 steps, the last of 1 NFE."
    )
    assert choices.explained("mrs-ode-d-2", 9, ZERO_START).endswith("1 NFE a step: 9 steps.")


def test_fitted_times_are_offered_where_there_are_some_and_taken_by_default():
    fitted = restorer(timesteps={"mrs-ode-d-2": {"8": [100, 50, 0]}})
    assert samplers.spacing_menu(fitted, "mrs-ode-d-2", 8)["fallback"] == "optimised"
    elsewhere = samplers.spacing_menu(fitted, "mrs-ode-d-2", 9)
    assert elsewhere["fallback"] == "blend"
    assert [option["value"] for option in elsewhere["groups"][0]["options"]] == list(SPACINGS)
    # Pressed before the page has heard of it.
    assert samplers.checked(fitted, Run(nfe=9, spacing="optimised")).spacing == "blend"


@pytest.mark.parametrize(
    ("before", "process", "solver", "nfe", "bounds", "value"),
    [
        (("test", "heun"), MeanRevertingSDE(), "heun", 1, (2, 100), None),  # still being typed
        (("test", "heun"), MeanRevertingSDE(), "rk45", 8, (8, 200), 200),
        (("test", "heun"), MeanRevertingSDE(), "unipc-bh2-d-2", 20, (1, 100), None),
        (("test", "rk45"), MeanRevertingSDE(), "unipc-bh2-d-2", 200, (1, 100), 20),
        (("other", "heun"), ZERO_START, "heun", 1, (1, 100), None),
        (("other", "heun"), MeanRevertingSDE(), "heun", 1, (2, 100), 2),
        (("other", "rk45"), MeanRevertingSDE(), "rk45", 150, (8, 200), None),
    ],
)
def test_an_nfe_slider_follows_the_solver_and_the_checkpoint(
    monkeypatch, before, process, solver, nfe, bounds, value
):
    monkeypatch.setattr(samplers, "load", lambda checkpoint: restorer(process=process))
    monkeypatch.setattr(samplers, "loaded", lambda checkpoint: True)
    steady = ("test", "posterior")
    updates = samplers.settled("test", solver, nfe, 20, "posterior", 100, 100, (before, steady))
    assert (updates[1]["minimum"], updates[1]["maximum"]) == bounds
    assert updates[1].get("value") == value
    assert all("value" not in updates[menu] for menu in (0, 2, 4)), "picks are the visitor's"
    assert updates[5] == (("test", solver), steady)


def test_while_a_checkpoint_is_on_its_way_the_controls_are_those_of_the_one_before(monkeypatch):
    here = {"before": restorer(process=MeanRevertingSDE())}
    monkeypatch.setattr(samplers, "load", here.__getitem__)
    monkeypatch.setattr(samplers, "loaded", here.__contains__)
    placed = (("before", "heun"), ("before", "posterior"))
    updates = samplers.settled("on its way", "heun", 20, 20, "posterior", 100, 100, placed)
    assert updates[5] == placed and updates[1] == gr.update(minimum=2, maximum=100)


def test_a_baseline_runs_on_its_own_usual_spacing():
    for baseline, spacing in (("posterior", "uniform-t"), ("heun", "uniform-lambda")):
        assert samplers.entrants(Run(baseline=baseline))[1].spacing == spacing


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"solver": "langevin"}, r"solver must be one of mrs-ode-d-1, .*; got 'langevin'\."),
        ({"solver": "pndm", "nfe": 3}, r"nfe must be a whole number from 4 to 100; got 3\."),
        ({"solver": "heun", "nfe": 101}, r"nfe must be a whole number from 2 to 100; got 101\."),
        ({"baseline": "langevin"}, "baseline must be one of"),
        ({"baseline": "heun", "baseline_nfe": 1}, "baseline_nfe must be a whole number from 2"),
        ({"spacing": "karras:5"}, "spacing must be one of uniform-lambda"),
    ],
)
def test_what_the_page_does_not_offer_gets_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        samplers.checked(restorer(), Run(**settings))


@pytest.mark.parametrize("solver", ["magic", "langevin", {"a": 1}])
def test_a_solver_that_is_not_offered_has_no_menu(monkeypatch, solver):
    monkeypatch.setattr(samplers, "load", lambda checkpoint: restorer())
    monkeypatch.setattr(samplers, "loaded", lambda checkpoint: True)
    placed = (("test", "heun"), ("test", "posterior"))
    with pytest.raises(gr.Error, match="solver must be one of"):
        samplers.settled("test", solver, 8, 8, "posterior", 100, 100, placed)
