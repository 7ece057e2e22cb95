"""The GOU bridge and flow matching: both ends singular, and every solver all the same."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from mrsampler import (
    SOLVERS,
    VESDE,
    Denoiser,
    FlowMatching,
    GOUBridge,
    MeanRevertingSDE,
    trajectory,
)
from mrsampler.denoiser import flow
from mrsampler.playground import Mixture
from mrsampler.solvers.ancestral import coefficients
from mrsampler.timesteps import node, timesteps

BRIDGE, FLOW = GOUBridge(), FlowMatching(0.3)
both = pytest.mark.parametrize("process", [BRIDGE, FLOW], ids=["bridge", "flow"])
GENERAL = [name for name, solver in SOLVERS.items() if solver.processes[0].__name__ == "Process"]


@pytest.fixture(scope="module")
def published():
    """Made by GOUB's own code: `lambda_square` 30, cosine, T = 100, eps = 0.005; in float32."""
    with np.load(Path(__file__).parent / "reference" / "goub.npz") as arrays:
        return {name: torch.tensor(arrays[name]) for name in arrays if name != "schedule"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def run(process, solver, target="data", means=((0.3, -0.2),), spread=0.2, count=16, **settings):
    """A run of an exact network from T, around an anchor that is not 0."""
    mu = torch.full((count, 2), 0.5, dtype=torch.float64)
    mixture = Mixture(process, torch.tensor(means).double() - 0.5, spread=spread, target=target)
    given = {"nfe": 8, "generator": seeded(1)} | settings
    return list(trajectory(Denoiser(mixture, target), mu, process=process, solver=solver, **given))


# --- the processes


def test_the_bridges_alpha_and_sigma_are_the_published_ones(published):
    t = torch.arange(101)
    # Sums of a hundred thetas in float32.
    torch.testing.assert_close(BRIDGE.alpha(t).float(), published["m"], rtol=0, atol=5e-7)
    torch.testing.assert_close(BRIDGE.sigma(t).float(), published["f_sigma"], rtol=0, atol=1e-7)
    torch.testing.assert_close(1 - BRIDGE.alpha(t).float(), published["n"], rtol=0, atol=5e-7)


@pytest.mark.parametrize("t", [99, 60, 20, 2])
def test_a_unit_step_of_posterior_is_the_published_one(published, t):
    step = coefficients(node(BRIDGE, t), node(BRIDGE, t - 1))
    x0, mu, x_t = (published[name].double() for name in ("x0", "mu", "xt"))
    mean = mu + step.y * (x_t - mu) + step.data * (x0 - mu)
    # Near t = 0 the published float32 code loses digits in 1 - m: 1e-5 of a value of 1.
    expected = published[f"posterior_mean_{t}"].double()
    torch.testing.assert_close(mean, expected, rtol=0, atol=2e-5 if t == 2 else 1e-6)
    assert step.noise == pytest.approx(float(published[f"posterior_sigma_{t}"]), rel=1e-5)


@both
def test_lambda_goes_from_infinity_to_minus_infinity(process):
    assert process.lam(0.0) == math.inf and process.lam(process.T) == -math.inf
    ends = process.lam(torch.tensor([0.0, process.T]))
    assert ends.tolist() == [math.inf, -math.inf]
    assert process.alpha(process.T) == 0 and process.alpha(0.0) == 1 and process.sigma(0.0) == 0
    assert process.time(-math.inf) == process.T and process.time(math.inf) == 0


@both
def test_time_is_the_inverse_of_lambda(process):
    for share in (1e-6, 0.01, 0.3, 0.7, 0.99, 0.9999):
        t = share * process.T
        assert process.time(process.lam(t)) == pytest.approx(t, rel=1e-9)


@both
def test_numbers_and_tensors_agree(process):
    t = torch.linspace(0, process.T, 7, dtype=torch.float64)
    for name in ("alpha", "sigma", "lam"):
        values = [getattr(process, name)(float(v)) for v in t]
        assert getattr(process, name)(t).tolist() == pytest.approx(values, rel=1e-12)


@both
def test_drift_and_diffusion_are_those_of_alpha_and_sigma(process):
    for share in (0.305, 0.705, 0.985):
        t, h = share * process.T, 1e-5 * process.T
        slope = (process.log_alpha(t + h) - process.log_alpha(t - h)) / (2 * h)
        rise = (process.sigma(t + h) ** 2 - process.sigma(t - h) ** 2) / (2 * h)
        assert process.drift(t) == pytest.approx(-slope, rel=1e-6)
        # d sigma^2/dt = g^2 - 2 f sigma^2
        expected = rise + 2 * process.drift(t) * process.sigma(t) ** 2
        assert process.diffusion(t) == pytest.approx(expected, rel=1e-5)


def test_the_bridge_is_the_mean_reverting_sde_given_where_it_ends():
    """By Bayes, from the free process's own transitions: p(x_t | x_0, x_T = mu)."""
    free = MeanRevertingSDE(max_sigma=30, zero_start=True)
    for t in (1.0, 33.0, 77.5, 99.0):
        a, v = free.alpha(t), free.sigma(t) ** 2
        left = free.alpha(free.T) / a  # from t to T
        added = free.sigma_inf**2 * (1 - left**2)
        # y_t ~ N(a D, v), and 0 = left y_t + N(0, added).
        precision = 1 / v + left**2 / added
        assert BRIDGE.sigma(t) ** 2 == pytest.approx(1 / precision, rel=1e-9)
        assert BRIDGE.alpha(t) == pytest.approx(a / v / precision, rel=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GOUBridge(max_sigma=0),
        lambda: GOUBridge(eps=1),
        lambda: GOUBridge(num_steps=1),
        lambda: GOUBridge(schedule="sine"),
        lambda: FlowMatching(0),
        lambda: FlowMatching(math.inf),
    ],
)
def test_a_parameter_out_of_range_is_refused(make):
    with pytest.raises(ValueError, match=r"must lie|must be|unknown schedule"):
        make()


# --- where a run begins


@both
def test_a_run_begins_at_T_and_its_spacing_at_t_max(process):
    nodes = timesteps(process, 6)
    assert nodes[0].t == process.T and nodes[1].t == process.t_max and nodes[-1].sigma == 0
    assert len(nodes) == 7
    steps = np.diff([n.lam for n in nodes[1:-1]])
    np.testing.assert_allclose(steps, steps[0])
    assert [n.t for n in timesteps(process, 1)] == [process.T, 0]


@both
@pytest.mark.parametrize("solver", GENERAL)
def test_every_solver_begins_at_T(process, solver):
    steps = run(process, solver, nfe=600 if SOLVERS[solver].adaptive else 8)
    assert steps[0].t == process.T and steps[0].lam == -math.inf
    assert steps[1].t == process.t_max and steps[1].nfe == 1
    assert steps[-1].lam == math.inf and torch.isfinite(steps[-1].x).all()


@both
@pytest.mark.parametrize("solver", GENERAL)
def test_where_x_0_is_known_every_solver_ends_on_it(process, solver):
    steps = run(process, solver, spread=0.0, nfe=600 if SOLVERS[solver].adaptive else 8)
    expected = torch.tensor([[0.3, -0.2]]).double().expand(16, 2)
    torch.testing.assert_close(steps[-1].x, expected, rtol=0, atol=1e-12)


def test_a_bridge_begins_on_mu_and_its_first_step_draws_the_noise():
    first, second, *_ = run(BRIDGE, "mrs-ode-d-2", count=4000, spread=0.0)
    assert (first.x == 0.5).all()
    t = BRIDGE.t_max
    centre = 0.5 + BRIDGE.alpha(t) * (torch.tensor([0.3, -0.2]) - 0.5)
    # Of 4,000 draws a mean is known to 1.6 % of sigma, and sigma to 1.1 %; five of those.
    off = (second.x.mean(0) - centre).abs().max()
    assert off < 5 * BRIDGE.sigma(t) / 4000**0.5
    assert second.x.std(0).tolist() == pytest.approx([BRIDGE.sigma(t)] * 2, rel=0.056)


def test_a_deterministic_run_of_flow_keeps_the_noise_that_it_begins_with():
    first, second, *_ = run(FLOW, "mrs-ode-d-2")
    eps = (first.x - 0.5) / FLOW.scale
    expected = 0.5 + FLOW.alpha(second.t) * (second.x0 - 0.5) + FLOW.sigma(second.t) * eps
    torch.testing.assert_close(second.x, expected)


def test_a_stochastic_run_of_flow_draws_anew():
    one, other = (run(FLOW, "posterior", generator=seeded(seed))[1].x for seed in (1, 2))
    x_T = run(FLOW, "posterior")[0].x
    first, second = (run(FLOW, "posterior", x_T=x_T, generator=seeded(s))[1].x for s in (3, 4))
    assert (one - other).abs().min() > 0 and (first - second).abs().min() > 0


def test_all_deterministic_solvers_of_one_seed_draw_the_same_at_a_bridges_end():
    starts = [run(BRIDGE, s)[1].x for s in ("mrs-ode-d-1", "unipc-bh2-d-3", "heun", "euler")]
    assert all(torch.equal(starts[0], other) for other in starts)


@both
@pytest.mark.parametrize("solver", ["posterior", "mrs-sde-d-2", "mrs-ode-d-2"])
def test_a_gaussian_is_sampled_with_its_mean_and_spread(process, solver):
    nfe = 60 if SOLVERS[solver].order > 1 else 600
    final = run(process, solver, nfe=nfe, count=6000)[-1].x
    # 1.3 % of the spread for the mean, 0.9 % for the spread; five of each, and what the steps
    # leave.
    assert final.mean(0).tolist() == pytest.approx([0.3, -0.2], abs=0.2 * 0.08)
    assert final.std(0).tolist() == pytest.approx([0.2, 0.2], rel=0.08)


@both
@pytest.mark.parametrize("nfe", [1, 2, 3, 7])
@pytest.mark.parametrize("solver", ["mrs-ode-d-2", "heun", "dpm-solver-3", "pndm"])
def test_no_more_is_evaluated_than_allowed(process, nfe, solver):
    if nfe > 1 and nfe - 1 < SOLVERS[solver].cost(1, True):
        return
    assert run(process, solver, nfe=nfe)[-1].nfe <= nfe


@both
def test_a_prediction_of_noise_begins_where_it_tells_something(process):
    steps = run(process, "mrs-ode-d-2", target="noise")
    assert steps[0].t == process.t_max
    with pytest.raises(ValueError, match="noise tells nothing of x_0: give times from"):
        run(process, "mrs-ode-d-2", target="noise", spacing=[process.T, process.t_max, 0])


@both
def test_times_of_ones_own_may_begin_at_T(process):
    times = [process.T, 0.7 * process.T, 0.2 * process.T, 0.0]
    steps = run(process, "mrs-ode-d-2", spacing=times, nfe=3)
    assert [step.t for step in steps] == times
    with pytest.raises(ValueError, match="needs 3 evaluations"):
        run(process, "mrs-ode-d-2", spacing=times, nfe=2)


# --- the target "flow"


@pytest.mark.parametrize(
    "process", [FLOW, BRIDGE, MeanRevertingSDE()], ids=["flow", "bridge", "mr"]
)
def test_a_flow_is_converted_exactly(process):
    denoiser = Denoiser(lambda x, mu, t: x, "flow")
    data, eps, s = normal(5, 2), normal(5, 2, seed=1), process.sigma_inf
    for share in (0.02, 0.5, 0.97):
        alpha, sigma = process.alpha(share * process.T), process.sigma(share * process.T)
        given = flow(data, eps, s), alpha * data + sigma * eps, data, alpha, sigma, s
        torch.testing.assert_close(denoiser.data(*given), data)
        torch.testing.assert_close(denoiser.noise(*given), eps)


def test_a_flow_tells_x_0_at_flow_matchings_T_and_not_where_a_bridge_ends():
    assert run(FLOW, "mrs-ode-d-2", target="flow")[0].t == 1
    assert run(BRIDGE, "mrs-ode-d-2", target="flow")[0].t == BRIDGE.t_max


@pytest.mark.parametrize("process", [FLOW, BRIDGE, VESDE()], ids=["flow", "bridge", "VE"])
def test_a_velocity_in_an_angle_is_refused_off_the_circle(process):
    denoiser, mu = Denoiser(lambda x, mu, t: x, "velocity"), torch.zeros(1, 2)
    with pytest.raises(ValueError, match="has no velocity to predict"):
        trajectory(denoiser, mu, process=process)


def test_a_flow_is_refused_where_the_noise_has_no_scale():
    with pytest.raises(ValueError, match="no flow to predict"):
        trajectory(Denoiser(lambda x, mu, t: x, "flow"), torch.zeros(1, 2), process=VESDE())
    with pytest.raises(ValueError, match="sigma_inf is infinite"):
        flow(torch.zeros(2), torch.zeros(2), math.inf)


def test_euler_on_a_flow_is_that_of_diffusers():
    """x_t' = x_t + (t' - t) u, step by step from the same noise, mu = 0 and s = 1."""
    times = [1.0, 0.8, 0.55, 0.3, 0.1, 0.0]
    process, noise = FlowMatching(1.0), normal(4, 2, 1, 1)

    def network(x, mu, t):
        return torch.sin(3 * x) + t

    steps = trajectory(
        Denoiser(network, "flow"),
        torch.zeros_like(noise),
        process=process,
        solver="euler",
        nfe=5,
        spacing=times,
        x_T=noise,
    )
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=times[:-1])
    x = noise
    for t, timestep, step in zip(times, scheduler.timesteps, list(steps)[1:], strict=False):
        x = scheduler.step(network(x, None, t), timestep, x).prev_sample.double()
        # diffusers' sigmas are of float32.
        torch.testing.assert_close(step.x, x, rtol=0, atol=5e-7)
