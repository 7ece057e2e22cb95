"""PNDM and PLMS against the paper's weights, diffusers, and themselves on uneven grids."""

from functools import cache

import pytest
from diffusers_runs import assert_same_path, betas, diffusers_run, single
from models import mixture_run
from numpy.polynomial import Polynomial

from mrsampler import SOLVERS, VPSDE, Denoiser, MeanRevertingSDE, trajectory
from mrsampler.solvers.pndm import multistep_weights, transfer
from mrsampler.timesteps import explicit, node, timesteps

PROCESS = MeanRevertingSDE()


def xs(denoiser, mu, solver, **settings):
    return [step.x for step in trajectory(denoiser, mu, solver=solver, **settings)]


# --- the weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights",
    [
        [1],
        [3 / 2, -1 / 2],
        [23 / 12, -16 / 12, 5 / 12],
        [55 / 24, -59 / 24, 37 / 24, -9 / 24],
    ],
)
def test_on_a_uniform_grid_the_weights_are_the_papers(weights):
    nodes = timesteps(PROCESS, 20, "uniform-t")
    s, t, past = nodes[10], nodes[11], nodes[10::-1][: len(weights)]
    assert multistep_weights(s, t, past) == pytest.approx(weights, rel=1e-12)


@pytest.mark.parametrize("spacing", ["uniform-lambda", "karras"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_on_any_grid_the_weights_average_polynomials_in_t_exactly(order, spacing):
    nodes = timesteps(PROCESS, 12, spacing)
    s, t, past = nodes[6], nodes[7], nodes[6::-1][:order]
    weights = multistep_weights(s, t, past)
    for degree in range(order):
        power = Polynomial.basis(degree)
        integral = power.integ()
        mean = (integral(t.t) - integral(s.t)) / (t.t - s.t)
        computed = sum(w * power(at.t) for w, at in zip(weights, past, strict=True))
        assert computed == pytest.approx(mean, rel=1e-10)


def test_the_transfer_is_exact_for_noise_that_never_changes():
    s, t = node(PROCESS, 60.0), node(PROCESS, 31.5)
    step = transfer(s, t)
    D, eps = 0.3, -1.2
    y = step.y * (s.alpha * D + s.sigma * eps) + step.history[0] * eps
    assert y == pytest.approx(t.alpha * D + t.sigma * eps, rel=1e-12)


# --- where the network is called -----------------------------------------------------------------


def called(solver, times):
    denoiser, mu, x_T = mixture_run(PROCESS)
    nfe = SOLVERS[solver].cost(len(times) - 1)
    settings = {"process": PROCESS, "solver": solver, "nfe": nfe, "x_T": x_T, "spacing": times}
    stream = list(trajectory(denoiser, mu, **settings))
    return [t for _, t, _, _ in denoiser.network.calls], [step.nfe for step in stream]


def test_pndm_starts_with_three_steps_of_four_evaluations():
    times, nfe = called("pndm", [100, 80, 60, 40, 20, 0])
    assert times == [100, 90, 90, 80, 80, 70, 70, 60, 60, 50, 50, 40, 40, 20]
    assert nfe == [0, 4, 8, 12, 13, 14]


def test_plms_starts_with_one_step_of_two():
    times, nfe = called("plms", [100, 80, 60, 40, 20, 0])
    assert times == [100, 80, 80, 60, 40, 20]
    assert nfe == [0, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("solver, least", [("pndm", 4), ("plms", 2)])
def test_fewer_evaluations_than_the_first_step_takes_are_refused(solver, least):
    denoiser, mu, x_T = mixture_run(PROCESS)
    with pytest.raises(ValueError, match=f"{solver} needs at least {least} evaluations"):
        trajectory(denoiser, mu, process=PROCESS, solver=solver, nfe=least - 1, x_T=x_T)


# --- against diffusers ---------------------------------------------------------------------------


def scheduler_and_grid(process, solver):
    """diffusers' PNDM on its own grid, ours without its last step, which stays where it is."""
    from diffusers import PNDMScheduler

    skip = solver == "plms"
    if process is None:
        scheduler = PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=skip)
        scheduler.set_timesteps(20)  # 950, 900, ..., 0
        times = list(range(950, -1, -50))
        scheduler.timesteps = scheduler.timesteps[:-1]
        return scheduler, VPSDE.from_alphas_cumprod(scheduler.alphas_cumprod), times
    scheduler = PNDMScheduler(
        101,
        trained_betas=betas(process),
        skip_prk_steps=skip,
        steps_offset=10,
    )
    scheduler.set_timesteps(10)  # 100, 90, ..., 10, and from there to 0
    return scheduler, process, list(range(100, -1, -10))


@pytest.mark.parametrize("process", [None, PROCESS], ids=["VP", "mean-reverting"])
@pytest.mark.parametrize("solver", ["plms", "pndm"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pndm_in_diffusers_takes_the_same_path(solver, process):
    scheduler, process, times = scheduler_and_grid(process, solver)
    network, mu, x_T = single(process)
    ours = xs(
        Denoiser(network),
        mu,
        solver,
        process=process,
        nfe=SOLVERS[solver].cost(len(times) - 1),
        x_T=x_T,
        spacing=times,
    )
    called_at = [node(process, float(t)) for t in scheduler.timesteps]
    theirs = diffusers_run(scheduler, network, mu, x_T, None, called_at, process, own_grid=True)
    first = {"plms": [0, 2], "pndm": [0, 4, 8, 12]}[solver]
    theirs = [theirs[i] for i in first] + theirs[first[-1] + 1 :]
    assert len(ours) == len(times)
    assert_same_path(ours, theirs, mu)


# --- convergence ---------------------------------------------------------------------------------


@cache
def converged():
    denoiser, mu, x_T = mixture_run(PROCESS)
    return xs(denoiser, mu, "dpm-solver-3", process=PROCESS, nfe=3000, x_T=x_T)[-1]


def error(solver, nfe, spacing):
    denoiser, mu, x_T = mixture_run(PROCESS)
    x = xs(denoiser, mu, solver, process=PROCESS, nfe=nfe, x_T=x_T, spacing=spacing)[-1]
    return (x - converged()).norm().item()


@pytest.mark.parametrize("spacing", ["uniform-t", "uniform-lambda", "karras"])
@pytest.mark.parametrize("solver", ["pndm", "plms"])
def test_variable_steps_keep_the_second_order_on_every_grid(solver, spacing):
    # Weights for equal steps would be of first order on the other grids.
    assert error(solver, 160, spacing) >= 2**1.85 * error(solver, 320, spacing)


def test_at_equal_cost_plms_beats_ddim():
    assert error("plms", 40, "uniform-lambda") < 0.1 * error("ddim", 40, "uniform-lambda")


def test_the_grid_of_a_run_may_be_any_that_falls():
    nodes = explicit(PROCESS, [100.0, 99.5, 71.25, 20.0, 3.0, 0.0])
    denoiser, mu, x_T = mixture_run(PROCESS)
    times = [n.t for n in nodes]
    stream = list(
        trajectory(denoiser, mu, process=PROCESS, solver="plms", nfe=9, x_T=x_T, spacing=times)
    )
    assert [step.t for step in stream] == times
