"""Any input: a run is finite all along and counts its evaluations, or says what it needs."""

import math
import random
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, note, settings
from hypothesis import strategies as st

from mrsampler import SOLVERS, SPACINGS, VESDE, VPSDE, Denoiser, MeanRevertingSDE, trajectory
from mrsampler.solvers import BudgetError

PROCESSES = [
    MeanRevertingSDE(),
    MeanRevertingSDE(zero_start=True),
    VPSDE(),
    VPSDE("cosine"),
    VPSDE.from_alphas_cumprod([0.98**i * 0.999 for i in range(200)]),
    VESDE(),
]
ALL_SPACINGS = [*SPACINGS, "karras:2"]
# What mu is in, and what the network answers in.
PRECISIONS = [
    (torch.float32, torch.float32),
    (torch.float64, torch.float64),
    (torch.float32, torch.bfloat16),
    (torch.float64, torch.bfloat16),
]
TARGETS = ["noise", "data", "velocity"]
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def anchor(*shape, dtype, low=0.0, high=1.0, seed=0):
    """A mu of uniform draws, no two alike."""
    draws = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return low + (high - low) * draws


class Network:
    """Says that x_0 is 0.9 of mu, and follows x a little: smooth, and bounded in all targets."""

    def __init__(self, process, target, dtype):
        self.process, self.target, self.dtype, self.calls = process, target, dtype, 0

    def __call__(self, x, mu, t):
        self.calls += 1
        assert type(t) is float and 0 <= t <= self.process.T
        assert x.shape == mu.shape and x.isfinite().all()
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        data = 0.1 * (torch.tanh(x) - mu)
        if self.target == "data":
            return (mu + data).to(self.dtype)
        noise = (x - mu - alpha * data) / sigma
        if self.target == "noise":
            return noise.to(self.dtype)
        scale = self.process.sigma_inf
        return (alpha * scale * noise - sigma / scale * data).to(self.dtype)


def check_run(solver, spacing, process, nfe, *, mu, target, dtype):
    """Runs it; what it may raise is refused above all else."""
    chosen = SOLVERS[solver]
    network = Network(process, target, dtype)
    to_data = process.lam(0.0) == math.inf
    run = {
        "process": process,
        "solver": solver,
        "spacing": spacing,
        "nfe": nfe,
        "generator": torch.Generator().manual_seed(0),
    }
    try:
        stream = trajectory(Denoiser(network, target), mu, **run)
    except ValueError as error:
        message = str(error)
        if not isinstance(process, chosen.processes):
            assert message.startswith(f"{solver} is defined on ")
        elif target == "velocity" and process.sigma_inf == math.inf:
            assert "has no velocity to predict" in message
        elif nfe < chosen.cost(1, to_data):
            assert message.startswith(f"{solver} needs at least {chosen.cost(1, to_data)} ")
        else:
            assert chosen.own_nodes and nfe > process.T, message
            assert message == f"{solver} has {process.T:g} unit steps, cannot take {nfe}"
        assert network.calls == 0
        return
    steps = []
    try:
        for step in stream:
            steps.append(step)
    except BudgetError as error:
        assert chosen.adaptive and "raise nfe or tolerance" in str(error)
        assert network.calls <= nfe
        return
    for step in steps:
        assert step.x.shape == mu.shape and step.x.dtype == mu.dtype
        assert step.x.isfinite().all() and (step.index == 0 or step.x0.isfinite().all())
    assert all(a.lam <= b.lam and a.t >= b.t and a.nfe < b.nfe for a, b in pairwise(steps))
    taken = len(steps) - 1
    assert steps[-1].nfe == network.calls <= nfe
    if not chosen.adaptive:
        # As many steps as fit, and no evaluation but theirs.
        assert network.calls == chosen.cost(taken, to_data)
        assert chosen.cost(taken + 1, to_data) > nfe


@every_solver
def test_every_solver_runs_with_every_spacing_on_every_process(solver):
    draws = random.Random(solver)
    for nfe, spacing, process in product([1, 2, 5, 13], ALL_SPACINGS, PROCESSES):
        own, network = draws.choice(PRECISIONS)
        # rk45 is given what it needs, to be seen to the end.
        nfe = 40 * nfe if SOLVERS[solver].adaptive else nfe
        mu, target = anchor(2, 3, dtype=own, seed=nfe), draws.choice(TARGETS)
        check_run(solver, spacing, process, nfe, mu=mu, target=target, dtype=network)


def check_case(solver, spacing, process, precision, nfe, batch, shape, target, low, high, seed):
    note(f"{solver}, {spacing}, {process!r}, mu and network in {precision}")
    dtype, network = precision
    mu = anchor(batch, *shape, dtype=dtype, low=low, high=high, seed=seed)
    check_run(solver, spacing, process, nfe, mu=mu, target=target, dtype=network)


def test_any_input():
    met = []

    # The rest of a case is drawn from all that hypothesis drew: most of its examples repeat their
    # predecessors' choices, and of the pairs of solver and spacing would meet a half.
    @settings(max_examples=1000, derandomize=True, deadline=None, database=None)
    @given(
        nfe=st.integers(1, 200),
        batch=st.integers(1, 3),
        shape=st.lists(st.integers(1, 3), min_size=1, max_size=4),
        target=st.sampled_from(TARGETS),
        low=st.floats(-1, 2, width=32),
        high=st.floats(-1, 2, width=32),
        seed=st.integers(0, 2**32 - 1),
    )
    def run(**drawn):
        lists = list(SOLVERS), ALL_SPACINGS, PROCESSES, PRECISIONS
        case = tuple(map(random.Random(repr(drawn)).choice, lists))
        met.append(case)
        check_case(*case, **drawn)

    run()
    solvers, spacings, processes, precisions = zip(*met, strict=True)
    for others, many in [
        (spacings, ALL_SPACINGS),
        (processes, PROCESSES),
        (precisions, PRECISIONS),
    ]:
        assert len(set(zip(solvers, others, strict=True))) >= 0.9 * len(SOLVERS) * len(many)
    both = set(zip(processes, precisions, strict=True))
    assert len(both) == len(PROCESSES) * len(PRECISIONS)


@every_solver
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_fewest_evaluations_suffice_and_one_less_is_an_error(solver, process):
    to_data = process.lam(0.0) == math.inf
    least = SOLVERS[solver].cost(1, to_data)
    for nfe in (least, least - 1, 0):
        mu = anchor(2, 1, dtype=torch.float64)
        check_run(solver, "uniform-lambda", process, nfe, mu=mu, target="data", dtype=torch.float64)
