"""DPM-Solver's singlestep methods against the paper's formulas, diffusers, and each other."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers_runs import assert_same_path, diffusers_run, single
from models import Counting, mixture_run

from mrsampler import SOLVERS, VESDE, VPSDE, Denoiser, MeanRevertingSDE, trajectory
from mrsampler.timesteps import node, timesteps

PROCESSES = [MeanRevertingSDE(), VPSDE(), VESDE()]
MULTISTAGE = ["dpm-solver-2", "dpm-solver-3", "dpm-solver++-2s", "dpm-solver++-3s"]


def randn(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, generator=generator)


def xs(denoiser, mu, **settings):
    return [step.x for step in trajectory(denoiser, mu, **settings)]


# --- the papers' formulas ------------------------------------------------------------------------


def published_step(solver, call, y, s, t, process):
    """One step of the algorithms as their papers print them; `call` gives eps, or x_0 for ++."""
    h = t.lam - s.lam

    def at(r):
        return node(process, process.time(s.lam + r * h))

    if solver == "dpm-solver-1":
        return t.alpha / s.alpha * y - t.sigma * math.expm1(h) * call(y, s)
    if solver == "dpm-solver-2":
        m = at(1 / 2)
        u = m.alpha / s.alpha * y - m.sigma * math.expm1(h / 2) * call(y, s)
        return t.alpha / s.alpha * y - t.sigma * math.expm1(h) * call(u, m)
    if solver == "dpm-solver-3":
        r_1, r_2 = 1 / 3, 2 / 3
        m_1, m_2 = at(r_1), at(r_2)
        eps = call(y, s)
        u_1 = m_1.alpha / s.alpha * y - m_1.sigma * math.expm1(r_1 * h) * eps
        d_1 = call(u_1, m_1) - eps
        u_2 = m_2.alpha / s.alpha * y - m_2.sigma * math.expm1(r_2 * h) * eps
        u_2 = u_2 - m_2.sigma * r_2 / r_1 * (math.expm1(r_2 * h) / (r_2 * h) - 1) * d_1
        d_2 = call(u_2, m_2) - eps
        y_t = t.alpha / s.alpha * y - t.sigma * math.expm1(h) * eps
        return y_t - t.sigma / r_2 * (math.expm1(h) / h - 1) * d_2
    assert solver == "dpm-solver++-2s"
    m = at(1 / 2)
    u = m.sigma / s.sigma * y - m.alpha * math.expm1(-h / 2) * call(y, s)
    return t.sigma / s.sigma * y - t.alpha * math.expm1(-h) * call(u, m)


@pytest.mark.parametrize("spacing", ["uniform-lambda", "uniform-t"])
@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: type(process).__name__)
@pytest.mark.parametrize(
    "solver", ["dpm-solver-1", "dpm-solver-2", "dpm-solver-3", "dpm-solver++-2s"]
)
def test_a_step_is_the_papers(solver, process, spacing):
    denoiser, mu, x_T = mixture_run(process)
    steps, network = 5, denoiser.network
    computed = xs(
        denoiser,
        mu,
        process=process,
        solver=solver,
        nfe=steps * SOLVERS[solver].evaluations,
        x_T=x_T,
        spacing=spacing,
        denoise_final=False,
    )

    def call(y, at):
        eps = network(mu + y, mu, at.t)
        return (y - at.sigma * eps) / at.alpha if "++" in solver else eps

    nodes = timesteps(process, steps, spacing, denoise_final=False)
    for i, (s, t) in enumerate(pairwise(nodes)):
        expected = published_step(solver, call, computed[i] - mu, s, t, process)
        torch.testing.assert_close(computed[i + 1] - mu, expected, rtol=1e-9, atol=1e-9)


def test_the_first_order_is_the_mr_samplers():
    process = PROCESSES[0]
    denoiser, mu, x_T = mixture_run(process)
    runs = [
        xs(denoiser, mu, process=process, solver=solver, nfe=8, x_T=x_T)
        for solver in ("dpm-solver-1", "mrs-ode-n-1")
    ]
    for a, b in zip(*runs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: type(process).__name__)
@pytest.mark.parametrize("solver", MULTISTAGE)
def test_the_network_is_called_at_equal_parts_of_the_step_in_lambda(solver, process):
    denoiser, mu, x_T = mixture_run(process)
    calls = SOLVERS[solver].evaluations
    xs(
        denoiser, mu, process=process, solver=solver, nfe=3 * calls, x_T=x_T,
        denoise_final=False,
    )  # fmt: skip
    lams = [process.lam(t) for _, t, _, _ in denoiser.network.calls]
    first, last = process.lam(process.T), process.lam(process.t_min)
    expected = [first + (last - first) * i / (3 * calls) for i in range(3 * calls)]
    assert lams == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("solver_type", ["published", "midpoint", "heun"])
@pytest.mark.parametrize("solver", MULTISTAGE)
def test_a_prediction_that_never_changes_is_integrated_exactly(solver, solver_type):
    # From s to t in one step: DDIM with that prediction.
    process = PROCESSES[0]
    mu, constant, y = randn(2, 3), randn(2, 3, seed=1), 0.2 * randn(2, 3, seed=2)
    data = "++" in solver
    denoiser = Denoiser(
        lambda x, mu, t: mu + constant if data else constant, "data" if data else "noise"
    )
    computed = xs(
        denoiser,
        mu,
        process=process,
        solver=solver,
        nfe=SOLVERS[solver].evaluations,
        x_T=mu + y,
        solver_type=solver_type,
    )
    s, t = timesteps(process, 1)
    eps = (y - s.alpha * constant) / s.sigma if data else constant
    D = constant if data else (y - s.sigma * constant) / s.alpha
    torch.testing.assert_close(
        computed[-1], mu + t.alpha * D + t.sigma * eps, rtol=1e-10, atol=1e-11
    )


def test_an_unknown_solver_type_is_refused():
    process = PROCESSES[0]
    denoiser, mu, x_T = mixture_run(process)
    settings = {"process": process, "nfe": 6, "x_T": x_T, "solver_type": "bh1"}
    with pytest.raises(
        ValueError, match="solver_type must be one of published, midpoint, heun, got 'bh1'"
    ):
        xs(denoiser, mu, solver="dpm-solver-2", **settings)
    with pytest.raises(ValueError, match="takes no option 'solver_type'"):
        xs(denoiser, mu, solver="dpm-solver-1", **settings)


# --- against diffusers ---------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", ["uniform-lambda", "uniform-t"])
@pytest.mark.parametrize("variance_preserving", [True, False], ids=["VP", "mean-reverting"])
@pytest.mark.parametrize(
    "solver, algorithm, order, solver_type",
    [
        ("dpm-solver-1", "dpmsolver", 1, None),
        ("dpm-solver-2", "dpmsolver", 2, "midpoint"),
        ("dpm-solver-2", "dpmsolver", 2, "heun"),
        ("dpm-solver-3", "dpmsolver", 3, "midpoint"),
        ("dpm-solver-3", "dpmsolver", 3, "heun"),
        ("dpm-solver++-2s", "dpmsolver++", 2, "midpoint"),
        ("dpm-solver++-2s", "dpmsolver++", 2, "heun"),
        ("dpm-solver++-3s", "dpmsolver++", 3, "midpoint"),
        ("dpm-solver++-3s", "dpmsolver++", 3, "heun"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*algorithm_types=dpmsolver:FutureWarning")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_singlestep_dpm_solver_in_diffusers_takes_the_same_path(
    solver, algorithm, order, solver_type, variance_preserving, spacing
):
    from diffusers import DPMSolverSinglestepScheduler

    scheduler = DPMSolverSinglestepScheduler(
        solver_order=order,
        algorithm_type=algorithm,
        solver_type=solver_type or "midpoint",
        final_sigmas_type="sigma_min",
    )
    process = (
        VPSDE.from_alphas_cumprod(scheduler.alphas_cumprod)
        if variance_preserving
        else MeanRevertingSDE()
    )
    network, mu, x_T = single(process)

    steps = 8
    ours = xs(
        Denoiser(network),
        mu,
        process=process,
        solver=solver,
        nfe=steps * order,
        x_T=x_T,
        spacing=spacing,
        **({"solver_type": solver_type} if solver_type else {}),
    )
    nodes = timesteps(process, steps, spacing)
    # What is inside a step of ours is a step of its own in diffusers.
    every = [
        node(process, process.time(s.lam + i / order * (t.lam - s.lam))) if i else s
        for s, t in pairwise(nodes)
        for i in range(order)
    ]
    theirs = diffusers_run(scheduler, network, mu, x_T, None, [*every, nodes[-1]], process)
    assert len(ours) == steps + 1
    assert_same_path(ours, theirs[::order], mu)


# --- what a run costs ----------------------------------------------------------------------------


@pytest.mark.parametrize("solver", MULTISTAGE)
def test_evaluations_that_pay_for_no_whole_step_are_not_spent(solver):
    process = PROCESSES[0]
    denoiser, mu, x_T = mixture_run(process)
    each = SOLVERS[solver].evaluations
    stream = list(
        trajectory(denoiser, mu, process=process, solver=solver, nfe=3 * each + 1, x_T=x_T)
    )
    assert [step.nfe for step in stream] == [0, each, 2 * each, 3 * each]
    assert isinstance(denoiser.network, Counting) and denoiser.network.count == 3 * each
