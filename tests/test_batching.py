"""Runs that share a network: the same steps, with fewer calls."""

import threading

import pytest
import torch
from models import Mixture

from mrsampler import Denoiser, MeanRevertingSDE
from mrsampler.batching import Batched
from mrsampler.trajectory import race, trajectory

PROCESS = MeanRevertingSDE()


class Rows:
    """An exact network that takes a t for each row, and keeps the rows of each call."""

    def __init__(self):
        self.mixture, self.calls = Mixture(PROCESS), []

    def __call__(self, x, mu, t, shift=None):
        times = t.tolist() if isinstance(t, torch.Tensor) else [t] * len(x)
        self.calls.append(times)
        rows = [self.mixture(x[i : i + 1], mu[i : i + 1], time) for i, time in enumerate(times)]
        return torch.cat(rows) + (0 if shift is None else shift)


def start(seed=0, rows=1):
    generator = torch.Generator().manual_seed(seed)
    mu, noise = torch.rand(2, rows, 2, dtype=torch.float64, generator=generator)
    return mu, PROCESS.prior(mu, noise)


def run(network, solver, nfe, **settings):
    mu, x_T = start()
    settings = {"generator": torch.Generator().manual_seed(1)} | settings
    denoiser = Denoiser(network, "noise")
    return trajectory(denoiser, mu, process=PROCESS, solver=solver, nfe=nfe, x_T=x_T, **settings)


SOLVERS = [("mrs-ode-d-2", 4), ("posterior", 7)]


@pytest.mark.parametrize(
    "solvers",
    [SOLVERS, [("heun", 9), ("mrs-sde-d-2", 3)], [("unipc-bh2-d-2", 5)], [*SOLVERS, ("heun", 6)]],
)
def test_the_steps_of_a_shared_race_are_those_of_each_run_alone(solvers):
    shared = Batched(Rows())
    ticks = list(shared.race(*(run(shared, *solver) for solver in solvers)))
    alone = list(race(*(run(Rows(), *solver) for solver in solvers)))
    assert len(ticks) == len(alone)
    for together, apart in zip(ticks, alone, strict=True):
        for a, b in zip(together, apart, strict=True):
            assert (a.index, a.t, a.nfe) == (b.index, b.t, b.nfe)
            # t goes in as float32, of 1e-7 of itself.
            torch.testing.assert_close(a.x, b.x, rtol=0, atol=1e-5)


def test_evaluations_that_are_due_together_are_one_call():
    network = Rows()
    shared = Batched(network)
    list(shared.race(*(run(shared, *solver) for solver in SOLVERS)))
    assert [len(times) for times in network.calls] == [2, 2, 2, 2, 1, 1, 1]
    network.calls.clear()
    # Heun evaluates twice a step: its second has no company.
    list(shared.race(run(shared, "heun", 4), run(shared, "mrs-ode-d-1", 2)))
    assert [len(times) for times in network.calls] == [2, 1, 2, 1]


def test_the_batch_has_the_runs_order_whatever_their_threads_do():
    for _ in range(20):
        network = Rows()
        shared = Batched(network)
        fine, coarse = [100.0, 90.0, 80.0], [100.0, 50.0, 10.0]
        runs = [run(shared, "mrs-ode-d-1", 2, spacing=times) for times in (fine, coarse)]
        list(shared.race(*runs))
        assert network.calls == [[100.0, 100.0], [90.0, 50.0]]


def test_conditioning_goes_along_a_row_a_run():
    mu, x_T = start(rows=2)
    seen = []

    def network(x, mu, t, task, context):
        seen.append((task, context))
        return x - mu

    shared = Batched(network)
    runs = [
        trajectory(
            Denoiser(shared),
            mu[:rows],
            process=PROCESS,
            solver="mrs-ode-d-1",
            nfe=1,
            x_T=x_T[:rows],
            conditioning={"task": task, "context": torch.full((rows, 3), float(task))},
        )
        for rows, task in ((1, 4), (2, 7))
    ]
    ticks = list(shared.race(*runs))
    assert [tuple(step.x.shape) for step in ticks[-1]] == [(1, 2), (2, 2)]
    ((task, context),) = seen
    assert task.tolist() == [4, 7, 7] and context[:, 0].tolist() == [4, 7, 7]


def test_calls_of_other_shapes_or_conditioning_are_made_one_by_one():
    network = Rows()
    shared = Batched(network)
    shift = {"shift": torch.zeros(1, 1)}
    list(shared.race(run(shared, "ddim", 2, conditioning=shift), run(shared, "ddim", 2)))
    assert [len(times) for times in network.calls] == [1, 1, 1, 1]


def test_outside_a_race_a_call_is_made_at_once():
    network = Rows()
    assert len(list(run(Batched(network), "mrs-ode-d-2", 3))) == 4
    assert [len(times) for times in network.calls] == [1, 1, 1]


@pytest.mark.parametrize("fails_at", [1, 3])
def test_an_error_of_the_network_ends_the_race_for_all(fails_at):
    calls = 0

    def network(x, mu, t):
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise FloatingPointError("not finite")
        return x - mu

    shared = Batched(network)
    runs = [run(shared, *solver) for solver in SOLVERS]
    with pytest.raises(FloatingPointError, match="not finite"):
        list(shared.race(*runs))
    assert calls == fails_at
    assert all(next(each, None) is None for each in runs)


def test_closing_a_race_stops_before_the_next_call_and_leaves_no_thread():
    network = Rows()
    shared = Batched(network)
    before = threading.active_count()
    ticks = shared.race(*(run(shared, *solver) for solver in SOLVERS))
    next(ticks), next(ticks)
    ticks.close()
    assert len(network.calls) == 1 and threading.active_count() == before


def test_an_error_of_one_runs_own_ends_the_race():
    def broken():
        yield from list(run(Rows(), "ddim", 2))[:2]
        raise ValueError("its own")

    shared = Batched(Rows())
    other = run(shared, "ddim", 5)
    with pytest.raises(ValueError, match="its own"):
        list(shared.race(broken(), other))
    assert next(other, None) is None
