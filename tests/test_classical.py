"""Heun, Adams-Moulton, RK45, DDIM, the published Euler and Langevin dynamics."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers_runs import assert_same_path, betas, diffusers_run, single
from models import Counting, Gaussian, Mixture, mixture_run
from scipy.integrate import solve_ivp

from mrsampler import SOLVERS, VESDE, VPSDE, Denoiser, MeanRevertingSDE, sample, trajectory
from mrsampler.solvers import BudgetError
from mrsampler.solvers.langevin import levels
from mrsampler.solvers.rho import adams, rho
from mrsampler.timesteps import node, timesteps

PROCESS = MeanRevertingSDE()
PROCESSES = [PROCESS, VPSDE(), VESDE()]
each_process = pytest.mark.parametrize(
    "process", PROCESSES, ids=lambda process: type(process).__name__
)


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def xs(denoiser, mu, solver, **settings):
    return [step.x for step in trajectory(denoiser, mu, solver=solver, **settings)]


# --- Heun and Adams-Moulton ----------------------------------------------------------------------


def test_on_equal_steps_of_sigma_over_alpha_the_weights_are_adams():
    process = VESDE()
    nodes = [node(process, process.time(-math.log(sigma))) for sigma in (9, 8, 7, 6, 5)]
    s, t, past = nodes[3], nodes[4], nodes[3::-1]
    for evaluated, weights in [
        (past[:1], [1]),
        (past[:2], [3 / 2, -1 / 2]),
        (past[:3], [23 / 12, -16 / 12, 5 / 12]),
        ([t, *past[:1]], [1 / 2, 1 / 2]),
        ([t, *past[:2]], [5 / 12, 8 / 12, -1 / 12]),
        ([t, *past[:3]], [9 / 24, 19 / 24, -5 / 24, 1 / 24]),
    ]:
        step = adams(s, t, evaluated)
        assert step.y == 1
        assert step.history == pytest.approx([-weight for weight in weights], rel=1e-8)


@each_process
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_on_any_grid_the_weights_integrate_polynomials_in_sigma_over_alpha(order, process):
    nodes = timesteps(process, 9, "uniform-lambda", denoise_final=False)
    s, t, evaluated = nodes[4], nodes[5], nodes[5:1:-1][:order]
    step = adams(s, t, evaluated)
    for n in range(order):
        exact = (rho(t) ** (n + 1) - rho(s) ** (n + 1)) / (n + 1)
        computed = sum(w * rho(at) ** n for w, at in zip(step.history, evaluated, strict=True))
        assert computed == pytest.approx(t.alpha * exact, rel=1e-9)


def test_heun_is_the_trapezoid_after_an_euler_step():
    denoiser, mu, x_T = mixture_run(PROCESS)
    computed = xs(denoiser, mu, "heun", process=PROCESS, nfe=10, x_T=x_T, spacing="uniform-t")
    for x, x_next, (s, t) in zip(
        computed, computed[1:], pairwise(timesteps(PROCESS, 5, "uniform-t")), strict=False
    ):
        u, span = (x - mu) / s.alpha, rho(t) - rho(s)
        d_cur = denoiser.network(x, mu, s.t)
        d_prime = denoiser.network(mu + t.alpha * (u + span * d_cur), mu, t.t)
        u = u + span * (d_cur + d_prime) / 2
        torch.testing.assert_close(x_next, mu + t.alpha * u, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("order", [3, 4])
def test_adams_moulton_takes_its_first_steps_at_lower_order(order):
    denoiser, mu, x_T = mixture_run(PROCESS)
    settings = {"process": PROCESS, "x_T": x_T, "spacing": [100, 90, 80, 70, 60]}
    heun = xs(denoiser, mu, "heun", nfe=8, **settings)
    third = xs(denoiser, mu, "adams-moulton-3", nfe=8, **settings)
    own = xs(denoiser, mu, f"adams-moulton-{order}", nfe=8, **settings)
    assert torch.equal(own[1], heun[1])
    assert torch.equal(own[2], third[2]) and not torch.equal(own[2], heun[2])
    assert torch.equal(own[3], third[3]) == (order == 3)


def test_the_corrected_point_is_evaluated_and_the_history_made_of_such():
    # PECE: at each node the prediction's evaluation, then the corrected point's.
    denoiser, mu, x_T = mixture_run(PROCESS)
    computed = xs(denoiser, mu, "adams-moulton-3", process=PROCESS, nfe=8, x_T=x_T)
    calls = denoiser.network.calls
    assert len(calls) == 8
    for x, (given, _, _, _) in zip(computed, calls[::2], strict=False):
        assert torch.equal(x, given)


@pytest.mark.parametrize("spacing", ["uniform-lambda", "uniform-t"])
@pytest.mark.parametrize("process", ["VP", "mean-reverting"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_heun_in_diffusers_takes_the_same_path(process, spacing):
    from diffusers import HeunDiscreteScheduler

    scheduler = HeunDiscreteScheduler(beta_schedule="scaled_linear")
    process = VPSDE.from_alphas_cumprod(scheduler.alphas_cumprod) if process == "VP" else PROCESS
    network, mu, x_T = single(process)
    steps = 10
    settings = {"process": process, "x_T": x_T, "spacing": spacing}
    ours = xs(Denoiser(network), mu, "heun", nfe=2 * steps, **settings)

    # diffusers carries u = y / alpha, and steps once for each of the two evaluations.
    nodes = timesteps(process, steps, spacing)
    places = [nodes[0], *(n for n in nodes[1:] for _ in range(2))]
    scheduler.sigmas = torch.tensor([rho(n) / process.sigma_inf for n in places]).double()
    scheduler.timesteps = torch.arange(2 * steps)
    scale = process.sigma_inf
    u, theirs = (x_T - mu) / scale / nodes[0].alpha, [x_T]
    for i, at in enumerate(places[:-1]):
        eps = network(mu + scale * at.alpha * u, mu, at.t)
        u = scheduler.step(eps, scheduler.timesteps[i], u).prev_sample
        if i % 2:
            theirs.append(mu + scale * at.alpha * u)
    assert_same_path(ours, theirs, mu)


# --- DDIM ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("process", ["VP", "mean-reverting"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_ddim_in_diffusers_takes_the_same_path(process, eta):
    from diffusers import DDIMScheduler

    if process == "VP":
        scheduler = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False)
        process = VPSDE.from_alphas_cumprod(scheduler.alphas_cumprod)
        stride = 50
    else:
        process, stride = PROCESS, 5
        scheduler = DDIMScheduler(101, trained_betas=betas(PROCESS), clip_sample=False)
    times = list(range(stride * 19 if stride == 50 else 100, -1, -stride))
    scheduler.set_timesteps(20)  # for the stride, of 1000 // 20 or 101 // 20
    scheduler.timesteps = torch.tensor(times[:-1])
    network, mu, x_T = single(process)
    draws = randn(len(times), 4, 2, seed=3, dtype=torch.float32)

    class WithEta:
        timesteps = scheduler.timesteps

        @staticmethod
        def step(output, timestep, z, variance_noise):
            return scheduler.step(output, timestep, z, eta=eta, variance_noise=variance_noise)

    nodes = [node(process, float(t)) for t in times]
    theirs = diffusers_run(WithEta, network, mu, x_T, draws, nodes, process, own_grid=True)
    ours = xs(
        Denoiser(network),
        mu,
        "ddim",
        process=process,
        nfe=len(times) - 1,
        x_T=x_T,
        spacing=times,
        noise=lambda index, shape: draws[index],
        eta=eta,
    )
    assert_same_path(ours, theirs, mu)


@each_process
@pytest.mark.parametrize("eta, other", [(0, "mrs-ode-n-1"), (1, "posterior")])
def test_ddim_runs_from_the_first_order_ode_to_the_posterior(eta, other, process):
    denoiser, mu, x_T = mixture_run(process)
    draws = randn(13, *mu.shape)
    settings = {"process": process, "nfe": 12, "x_T": x_T}
    settings["noise"] = lambda index, shape: draws[index]
    ddim = xs(denoiser, mu, "ddim", eta=eta, **settings)
    for a, b in zip(ddim, xs(denoiser, mu, other, **settings), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@each_process
@pytest.mark.parametrize("eta", [0, 0.3, 1])
def test_ddim_keeps_every_marginal_whatever_eta(eta, process):
    # D known: one step takes y_s = alpha_s D + sigma_s e to a y_t of variance sigma_t^2 about
    # alpha_t D. The rows are D alone, one unit of e, one unit of the draw.
    s, t = (node(process, share * process.T) for share in (0.7, 0.4))
    unit = torch.eye(3, dtype=torch.float64)
    y_s = s.alpha * 0.4 + s.sigma * unit[:, 1:2]
    x = sample(
        Denoiser(lambda x, mu, t: torch.full_like(x, 0.4), "data"),
        torch.zeros(3, 1, dtype=torch.float64),
        process=process,
        solver="ddim",
        nfe=1,
        spacing=[s.t, t.t],
        denoise_final=False,
        x_T=y_s,
        noise=lambda index, shape: unit[:, 2:3],
        eta=eta,
    )
    assert x[0].item() == pytest.approx(t.alpha * 0.4, rel=1e-10)
    kept, drawn = (x[1:] - x[0]).flatten().tolist()
    assert kept**2 + drawn**2 == pytest.approx(t.sigma**2, rel=1e-9)
    posterior = t.sigma**2 * -math.expm1(2 * (s.lam - t.lam))
    assert drawn == pytest.approx(eta * math.sqrt(posterior), rel=1e-9)


def test_ddim_draws_no_noise_unless_eta_asks_for_it():
    denoiser, mu, x_T = mixture_run(PROCESS)
    drawn = []

    def noise(index, shape):
        drawn.append(index)
        return torch.zeros(shape, dtype=torch.float64)

    settings = {"process": PROCESS, "solver": "ddim", "nfe": 3, "x_T": x_T, "noise": noise}
    sample(denoiser, mu, **settings)
    assert drawn == []
    sample(denoiser, mu, eta=0.1, **settings)
    assert drawn == [1, 2, 3]


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_an_eta_outside_0_to_1_is_refused(eta):
    denoiser, mu, x_T = mixture_run(PROCESS)
    with pytest.raises(ValueError, match="eta must be from 0 to 1"):
        sample(denoiser, mu, process=PROCESS, solver="ddim", nfe=3, x_T=x_T, eta=eta)


# --- as published --------------------------------------------------------------------------------

PUBLISHED = {
    "euler-published": "euler",
    "euler-maruyama-published": "euler-maruyama",
    "posterior-published": "posterior",
}


@pytest.mark.parametrize("published, strided", PUBLISHED.items())
def test_the_published_variant_at_100_steps_is_the_strided_one(published, strided):
    denoiser, mu, x_T = mixture_run(PROCESS)
    draws = randn(101, *mu.shape)
    settings = {"process": PROCESS, "nfe": 100, "x_T": x_T, "spacing": "uniform-t"}
    settings["noise"] = lambda index, shape: draws[index]
    ours, theirs = (xs(denoiser, mu, solver, **settings) for solver in (published, strided))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("zero_start", [False, True])
@pytest.mark.parametrize("published, strided", PUBLISHED.items())
def test_with_fewer_steps_the_published_variant_still_moves_by_one_unit(
    published, strided, zero_start
):
    process = MeanRevertingSDE(zero_start=zero_start)
    denoiser, mu, x_T = mixture_run(process)
    draws = randn(11, *mu.shape)
    stream = list(
        trajectory(
            denoiser,
            mu,
            process=process,
            solver=published,
            nfe=10,
            x_T=x_T,
            noise=lambda index, shape: draws[index],
        )
    )
    called_at = [t for _, t, _, _ in denoiser.network.calls]
    assert called_at == [100, 89, 78, 67, 56, 45, 34, 23, 12, 1]
    assert [step.t for step in stream[1:]] == [t - 1 for t in called_at]
    for before, after in pairwise(stream):
        if after.lam == math.inf and strided != "posterior":
            break  # to sigma = 0 the strided one returns x_0, Euler as published does not
        x = sample(
            denoiser,
            mu,
            process=process,
            solver=strided,
            nfe=1,
            x_T=before.x,
            spacing=[after.t + 1, after.t],
            noise=lambda index, shape, i=after.index: draws[i],
        )
        torch.testing.assert_close(after.x, x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("process", [VPSDE(), VESDE()], ids=["VP", "VE"])
@pytest.mark.parametrize("solver", PUBLISHED)
def test_the_published_variants_belong_to_the_mean_reverting_process(solver, process):
    denoiser, mu, x_T = mixture_run(process)
    with pytest.raises(ValueError, match=f"{solver} is defined on MeanRevertingSDE"):
        trajectory(denoiser, mu, process=process, solver=solver, nfe=10, x_T=x_T)


# --- RK45 ----------------------------------------------------------------------------------------


@each_process
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_rk45_is_scipys(tolerance, process):
    denoiser, mu, x_T = mixture_run(process)
    first, last = timesteps(process, 1, denoise_final=False)
    network = Mixture(process)

    def slope(lam, u):
        at = node(process, min(max(process.time(lam), last.t), first.t))
        y = at.alpha * torch.from_numpy(u).reshape(mu.shape)
        return -math.exp(-lam) * network(mu + y, mu, at.t).numpy().ravel()

    u_T = ((x_T - mu) / first.alpha).numpy().ravel()
    expected = solve_ivp(slope, (first.lam, last.lam), u_T, rtol=tolerance, atol=tolerance)
    settings = {"process": process, "nfe": 10_000, "x_T": x_T, "denoise_final": False}
    stream = list(trajectory(denoiser, mu, solver="rk45", tolerance=tolerance, **settings))
    assert stream[-1].nfe == denoiser.network.count == expected.nfev
    assert len(stream) == len(expected.t)
    np.testing.assert_allclose([step.lam for step in stream], expected.t, rtol=0, atol=1e-6)
    assert (stream[0].t, stream[-1].t) == (first.t, last.t)
    for step, u in zip(stream, expected.y.T, strict=True):
        y = process.alpha(step.t) * torch.from_numpy(u).reshape(mu.shape)
        torch.testing.assert_close(step.x - mu, y, rtol=1e-7, atol=1e-8)


def test_rk45_counts_rejected_attempts_too():
    _, mu, x_T = mixture_run(PROCESS)
    network = Counting(lambda x, mu, t: torch.full_like(x, 1.0 if t > 50 else -1.0))  # a jump
    settings = {"process": PROCESS, "solver": "rk45", "nfe": 10_000, "x_T": x_T}
    counts = [step.nfe for step in trajectory(Denoiser(network), mu, **settings)]
    costs = [after - before for before, after in pairwise(counts)]
    assert costs[0] % 6 == 2 and all(cost % 6 == 0 for cost in costs[1:])
    assert max(costs[1:]) > 6  # some attempt was rejected
    assert network.count == counts[-1]


def test_rk45_says_which_prediction_began_each_step():
    denoiser, mu, x_T = mixture_run(PROCESS, target="data")
    stream = list(trajectory(denoiser, mu, process=PROCESS, solver="rk45", nfe=10_000, x_T=x_T))
    network = Mixture(PROCESS, target="data")
    for before, after in pairwise(stream):
        torch.testing.assert_close(after.x0, network(before.x, mu, before.t), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("nfe", [8, 30, 31])
def test_rk45_stops_before_the_call_that_its_budget_does_not_pay_for(nfe):
    denoiser, mu, x_T = mixture_run(PROCESS)
    stream = trajectory(
        denoiser, mu, process=PROCESS, solver="rk45", nfe=nfe, x_T=x_T, tolerance=1e-6
    )
    seen = []
    with pytest.raises(BudgetError, match=rf"tolerance 1e-06 .* {nfe} evaluations") as error:
        seen.extend(stream)
    assert denoiser.network.count == nfe
    assert f"t = {seen[-1].t:.6g}" in str(error.value)


@each_process
def test_rk45_reaches_a_step_to_sigma_0_within_its_budget(process):
    denoiser, mu, x_T = mixture_run(process)
    settings = {"process": process, "solver": "rk45", "x_T": x_T, "denoise_final": True}
    *_, last = trajectory(denoiser, mu, nfe=10_000, **settings)
    assert math.isinf(last.lam)
    *_, again = trajectory(denoiser, mu, nfe=last.nfe, **settings)
    assert torch.equal(again.x, last.x) and again.nfe == last.nfe
    with pytest.raises(BudgetError):
        sample(denoiser, mu, nfe=last.nfe - 1, **settings)


def test_rk45_works_in_the_type_of_mu():
    network, mu, x_T = single(PROCESS)
    given = Counting(network)
    x = sample(Denoiser(given), mu, process=PROCESS, solver="rk45", nfe=500, x_T=x_T)
    assert x.dtype == torch.float32
    assert all(call[0].dtype == torch.float32 for call in given.calls)
    exact = sample(
        Denoiser(Mixture(PROCESS)),
        mu.double(),
        process=PROCESS,
        solver="dpm-solver-3",
        nfe=600,
        x_T=x_T.double(),
    )
    torch.testing.assert_close(x.double(), exact, rtol=0, atol=1e-2)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan, math.inf])
def test_a_tolerance_that_is_not_positive_is_refused(tolerance):
    denoiser, mu, x_T = mixture_run(PROCESS)
    with pytest.raises(ValueError, match="tolerance must be positive"):
        sample(denoiser, mu, process=PROCESS, solver="rk45", nfe=50, x_T=x_T, tolerance=tolerance)


def test_rk45_names_the_time_of_a_prediction_that_is_not_finite():
    _, mu, x_T = mixture_run(PROCESS)
    denoiser = Denoiser(lambda x, mu, t: x * (math.nan if t < 100 else 1))
    with pytest.raises(ArithmeticError, match=r"RK45 at t = 99\.\d+: a prediction is not finite"):
        sample(denoiser, mu, process=PROCESS, solver="rk45", nfe=50, x_T=x_T)


# --- Langevin dynamics ---------------------------------------------------------------------------


def test_updates_are_spread_evenly_over_levels_and_levels_over_the_grid():
    nodes = timesteps(VESDE(), 40, denoise_final=False)
    spread = levels(nodes, 10)
    assert [nodes.index(level) for level in spread[::10]] == [0, 13, 27, 40]
    assert all(spread.count(level) == 10 for level in set(spread))
    assert levels(nodes[:26], 10).count(nodes[0]) in (8, 9)
    assert levels(nodes[:4], 10) == [nodes[0]] * 3
    assert levels(nodes, 1)[-1] == nodes[-1] and len(set(levels(nodes, 1))) == 40


def test_an_update_is_ncsns():
    process = VESDE()
    denoiser, mu, x_T = mixture_run(process)
    draws = randn(7, *mu.shape)
    stream = list(
        trajectory(
            denoiser,
            mu,
            process=process,
            solver="langevin",
            nfe=6,
            x_T=x_T,
            noise=lambda index, shape: draws[index],
            denoise_final=False,
            per_level=2,
        )
    )
    assert [step.nfe for step in stream] == list(range(7))
    for before, after in pairwise(stream):
        sigma = process.sigma(after.t)
        size = 2e-5 * sigma**2 / 0.01**2
        score = -denoiser.network(before.x, mu, after.t) / sigma
        x = before.x + size / 2 * score + math.sqrt(size) * draws[after.index]
        torch.testing.assert_close(after.x, x, rtol=1e-11, atol=1e-11)


def test_langevin_draws_a_gaussians_covariance():
    # At a level the walk y <- (1 - q) y + sqrt(a) z, q = a / (2 s^2), in each principal direction
    # of N(mean, s^2) settles at variance s^2 / (1 - q/2): with a <= 0.2 s^2, from 1 to 1 / 0.95.
    process = VESDE(sigma_min=0.05, sigma_max=2.0)
    network = Gaussian(process)
    batch = 4000
    mu = torch.zeros(batch, 2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    spacing = [process.time(-math.log(sigma)) for sigma in np.geomspace(1.99, 0.05, 901)]
    x = sample(
        Denoiser(network),
        mu,
        process=process,
        solver="langevin",
        nfe=900,
        spacing=spacing,
        generator=generator,
        denoise_final=False,
        per_level=50,
    )
    mean, cov = network.marginal(spacing[-1])
    centred = x - x.mean(0)
    computed = centred.T @ centred / (batch - 1)
    axes = torch.linalg.eigh(cov)[1]
    for exact, found in zip(
        (axes.T @ cov @ axes).diag(), (axes.T @ computed @ axes).diag(), strict=True
    ):
        error = exact * math.sqrt(2 / (batch - 1))
        assert exact - 4 * error <= found <= exact / 0.95 + 4 * error
    errors = (cov.diag() / batch).sqrt()
    assert ((x.mean(0) - mean).abs() <= 4 * errors).all()


@pytest.mark.parametrize(
    "option, match",
    [
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"per_level": 0}, "per_level must be a whole number of at least 1"),
    ],
)
def test_langevin_refuses_options_out_of_range(option, match):
    process = VESDE()
    denoiser, mu, x_T = mixture_run(process)
    with pytest.raises(ValueError, match=match):
        sample(denoiser, mu, process=process, solver="langevin", nfe=20, x_T=x_T, **option)


def test_langevin_belongs_to_the_variance_exploding_process():
    denoiser, mu, x_T = mixture_run(PROCESS)
    with pytest.raises(ValueError, match="langevin is defined on VESDE"):
        trajectory(denoiser, mu, process=PROCESS, solver="langevin", nfe=10, x_T=x_T)
    assert SOLVERS["langevin"].stochastic


def test_ddim_with_eta_1_is_the_posterior_over_steps_of_any_length():
    # e^{-2 h} vanishes beside 1: all of the noise is fresh.
    process = VESDE(1e-6, 1e4)
    denoiser = Denoiser(lambda x, mu, t: x / process.sigma(t))
    mu = torch.zeros(3, 2, dtype=torch.float64)
    ends = [
        sample(
            denoiser,
            mu,
            process=process,
            solver=solver,
            nfe=1,
            denoise_final=False,
            x_T=mu + 7e3,
            noise=lambda index, shape: torch.ones(shape),
            **options,
        )
        for solver, options in (("ddim", {"eta": 1.0}), ("posterior", {}))
    ]
    torch.testing.assert_close(*ends, rtol=1e-12, atol=0)
