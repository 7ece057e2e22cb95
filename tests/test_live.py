"""What the page is told: the race's moments, the plot, and the line of visitors."""

import pickle
import threading
import time

import plotly.graph_objects as go
import pytest
import torch

from mrsampler import Denoiser, MeanRevertingSDE
from mrsampler.checkpoints import Checkpoint
from mrsampler.restorer import Restorer
from mrsampler.ui import live
from mrsampler.ui.live import Entrant, LiveRace
from mrsampler.ui.turnstile import Turnstile

ENTRANTS = [
    Entrant("a", "MR Sampler, ODE", "mrs-ode-d-2", 3, "uniform-lambda"),
    Entrant("b", "Posterior", "posterior", 5, "uniform-t"),
]


class Network:
    """Returns mu a little brighter as x_0, and counts its calls."""

    def __init__(self, seconds=0.0):
        self.calls, self.seconds = 0, seconds

    def __call__(self, x, mu, t, task):
        self.calls += 1
        time.sleep(self.seconds)
        return mu + 0.1


def race(network, truth=True):
    restorer = Restorer(
        Checkpoint("test", Denoiser(network, "data"), MeanRevertingSDE(), ("noisy",), {}),
        torch.device("cpu"),
    )
    clean = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0)) * 0.8
    return LiveRace(restorer, clean - 0.0, clean if truth else None, "noisy", ENTRANTS, 0)


def test_every_frame_is_told_once_and_both_samplers_start_from_one_x_T():
    moments = list(race(Network()).moments())
    frames = [frame for moment in moments for frame in moment.frames]
    assert [frame["index"] for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert frames[0]["a"]["x"] == frames[0]["b"]["x"]
    assert [frame["a"]["nfe"] for frame in frames if "a" in frame] == [0, 1, 2, 3]
    assert [frame["b"]["nfe"] for frame in frames if "b" in frame] == [0, 1, 2, 3, 4, 5]
    assert [result.done for result in moments[-1].results] == [True, True]
    assert [result.nfe for result in moments[-1].results] == [3, 5]


def test_updates_are_coalesced_and_slow_ones_are_not():
    # 8 calls in no time fit into one update's span, and the last frames come at the end.
    assert len(list(race(Network()).moments())) <= 3
    assert len(list(race(Network(seconds=0.1)).moments())) == 6


def test_nothing_is_evaluated_once_it_is_to_stop():
    network, stop = Network(seconds=0.05), threading.Event()
    moments = race(network).moments(stop.is_set)
    next(moments), next(moments)
    assert network.calls == 2
    stop.set()
    assert list(moments) == []
    assert network.calls == 2


def test_closing_it_stops_the_work():
    network = Network()
    moments = race(network).moments()
    next(moments)
    moments.close()
    assert network.calls == 0


def test_without_the_truth_there_is_no_score():
    last = list(race(Network(), truth=False).moments())[-1]
    assert all(result.psnr is None and result.ssim is None for result in last.results)
    assert all(frame["a"]["psnr"] is None for frame in last.frames if "a" in frame)


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
    assert "% of variance" in axes.xaxis.title.text
    if dimensions == 2:
        assert axes.yaxis.scaleanchor == "x", "the axes are not equal"
    else:
        widths = {round(a.range[1] - a.range[0], 6) for a in (axes.xaxis, axes.yaxis, axes.zaxis)}
        assert len(widths) == 1 and axes.aspectmode == "cube", "the axes are not equal"


def test_the_updates_a_second_are_at_most_twelve():
    assert live.UPDATES_PER_SECOND <= 12


def test_visitors_are_served_in_order_and_told_their_place():
    line, order = Turnstile(), []

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
    line = Turnstile()
    with pytest.raises(RuntimeError), line.turn() as turn:
        assert turn.arrive(0)
        raise RuntimeError("the run failed")
    with line.turn() as turn:
        assert turn.arrive(0)
