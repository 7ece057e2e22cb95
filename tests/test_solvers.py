"""The solvers against the poster's formulas, the published code, and closed forms."""

import math
import re
from fractions import Fraction
from functools import partial
from itertools import pairwise

import pytest
import torch
from models import Counting, mixture_run
from scipy.integrate import quad, solve_ivp

from mrsampler import SOLVERS, Denoiser, MeanRevertingSDE, sample, trajectory
from mrsampler.solvers.phi import interpolation_weights, phi
from mrsampler.timesteps import timesteps

PROCESS = MeanRevertingSDE()
# Those that take the grid's steps on a mean-reverting process, a known number of evaluations each.
STEPPED = [
    name
    for name, solver in SOLVERS.items()
    if isinstance(PROCESS, solver.processes) and not solver.adaptive
]
ODE = [name for name in STEPPED if not SOLVERS[name].stochastic and SOLVERS[name].order]


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def run(network, mu, solver, target, steps, draws, process=PROCESS, **settings):
    """x after every step, from the public trajectory()."""
    stream = trajectory(
        Denoiser(network, target),
        mu,
        process=process,
        solver=solver,
        nfe=steps,
        noise=lambda index, shape: draws[index],
        **settings,
    )
    return [step.x for step in stream]


# --- the poster's four solutions, in x and with mu -----------------------------------------------


def taylor(outputs, lams):
    """f, f', f'' at the first lambda, of the polynomial through as many outputs, newest first."""
    if len(outputs) == 1:
        return [outputs[0]]
    first = (outputs[0] - outputs[1]) / (lams[0] - lams[1])
    if len(outputs) == 2:
        return [outputs[0], first]
    second = (first - (outputs[1] - outputs[2]) / (lams[1] - lams[2])) / (lams[0] - lams[2])
    return [outputs[0], first + second * (lams[0] - lams[1]), 2 * second]


def poster_step(kind, mu, x, outputs, draw, t, *evaluated):
    """One step to t as the poster prints it; outputs and the nodes they are from newest first.

    The integrals of (lambda - lambda_s)^n / n! against each kernel, n = 0, 1 and 2, by hand.
    """
    s = evaluated[0]
    h = t.lam - s.lam
    derivatives = taylor(outputs, [node.lam for node in evaluated])
    if kind.endswith("n"):
        # int e^{-lambda} (lambda - lambda_s)^n / n! = e^{-lambda_t} (e^h - sum_{m <= n} h^m / m!)
        integrals = [
            math.exp(-t.lam) * (math.exp(h) - 1),
            math.exp(-t.lam) * (math.exp(h) - 1 - h),
            math.exp(-t.lam) * (math.exp(h) - 1 - h - h * h / 2),
        ]
        ratio = t.alpha / s.alpha
        result = ratio * x + (1 - ratio) * mu
        factor = -t.alpha if kind == "ode-n" else -2 * t.alpha
        spread = t.sigma * math.sqrt(math.exp(2 * h) - 1)
    elif kind == "ode-d":
        # int e^lambda (lambda - lambda_s)^n / n!
        integrals = [
            math.exp(t.lam) - math.exp(s.lam),
            math.exp(t.lam) * (h - 1) + math.exp(s.lam),
            math.exp(t.lam) * (h * h / 2 - h + 1) - math.exp(s.lam),
        ]
        ratio = t.sigma / s.sigma
        result = ratio * x + mu * (1 - ratio + ratio * s.alpha - t.alpha)
        factor, spread = t.sigma, 0.0
    else:
        # int e^{-2 (lambda_t - lambda)} (lambda - lambda_s)^n / n!
        decay = math.exp(-2 * h)
        integrals = [(1 - decay) / 2, h / 2 - (1 - decay) / 4]
        result = t.sigma / s.sigma * math.exp(-h) * x
        result = result + mu * (1 - t.alpha / s.alpha * decay - t.alpha + t.alpha * decay)
        factor, spread = 2 * t.alpha, t.sigma * math.sqrt(1 - decay)
    for integral, derivative in zip(integrals, derivatives, strict=False):
        result = result + factor * integral * derivative
    return result + spread * draw if kind.startswith("sde") else result


@pytest.mark.parametrize("spacing", ["uniform-lambda", "uniform-t"])
@pytest.mark.parametrize(
    "kind, order",
    [(kind, order) for kind in ("ode-n", "ode-d", "sde-n", "sde-d") for order in (1, 2)]
    + [("ode-n", 3), ("ode-d", 3)],
)
def test_the_y_space_solvers_equal_the_posters_x_space_solutions(kind, order, spacing):
    steps = 6
    mu, outputs, draws = randn(3, 4), randn(steps, 3, 4, seed=1), randn(steps + 1, 3, 4, seed=2)
    remaining = iter(outputs)
    computed = run(
        lambda x, mu, t: next(remaining),
        mu,
        f"mrs-{kind}-{order}",
        "data" if kind.endswith("d") else "noise",
        steps,
        draws,
        spacing=spacing,
        lower_order_final=False,
    )
    nodes = timesteps(PROCESS, steps, spacing)
    x = mu + PROCESS.sigma_inf * draws[0]
    for i in range(steps):
        known = [j for j in (i, i - 1, i - 2) if j >= 0][:order]
        newest_first, evaluated = [outputs[j] for j in known], [nodes[j] for j in known]
        x = poster_step(kind, mu, x, newest_first, draws[i + 1], nodes[i + 1], *evaluated)
        torch.testing.assert_close(computed[i + 1], x, rtol=1e-10, atol=1e-10)


def test_lower_order_final_takes_the_last_step_at_first_order():
    steps, spacing = 4, "uniform-t"
    mu, outputs, draws = randn(3, 4), randn(steps, 3, 4, seed=1), randn(steps + 1, 3, 4, seed=2)
    remaining = iter(outputs)
    computed = run(
        lambda x, mu, t: next(remaining), mu, "mrs-ode-d-2", "data", steps, draws, spacing=spacing
    )
    nodes = timesteps(PROCESS, steps, spacing)
    last = poster_step("ode-d", mu, computed[-2], [outputs[-1]], 0, nodes[-1], nodes[-2])
    torch.testing.assert_close(computed[-1], last, rtol=1e-10, atol=1e-10)
    before = poster_step(
        "ode-d", mu, computed[-3], [outputs[-2], outputs[-3]], 0, nodes[-2], nodes[-3], nodes[-4]
    )
    torch.testing.assert_close(computed[-2], before, rtol=1e-10, atol=1e-10)


# --- identities ----------------------------------------------------------------------------------


def ddim(mu, x, data, noise, draw, s, t, eta):
    """DDIM (arXiv 2010.02502, eqs. 12 and 16) around mu, in units of sigma_inf."""
    scale = PROCESS.sigma_inf
    spread = eta * t.sigma / s.sigma * math.sqrt(1 - (s.alpha / t.alpha) ** 2)
    towards = math.sqrt((t.sigma / scale) ** 2 - spread**2)
    return mu + t.alpha * data + scale * (towards * noise + spread * draw)


@pytest.mark.parametrize("spacing", ["uniform-lambda", "uniform-t"])
@pytest.mark.parametrize(
    "solver, eta",
    [("mrs-ode-n-1", 0), ("mrs-ode-d-1", 0), ("mrs-sde-d-1", 1), ("posterior", 1)],
)
def test_the_first_order_solvers_are_ddim(solver, eta, spacing):
    steps = 7
    mu, outputs, draws = randn(3, 4), randn(steps, 3, 4, seed=1), randn(steps + 1, 3, 4, seed=2)
    remaining = iter(outputs)
    computed = run(
        lambda x, mu, t: next(remaining), mu, solver, "noise", steps, draws, spacing=spacing
    )
    nodes = timesteps(PROCESS, steps, spacing)
    x = mu + PROCESS.sigma_inf * draws[0]
    for i, (s, t) in enumerate(pairwise(nodes)):
        data = (x - mu - s.sigma * outputs[i]) / s.alpha
        x = ddim(mu, x, data, outputs[i], draws[i + 1], s, t, eta)
        torch.testing.assert_close(computed[i + 1], x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 9])
@pytest.mark.parametrize(
    "one, other", [("mrs-ode-n-1", "mrs-ode-d-1"), ("posterior", "mrs-sde-d-1")]
)
def test_two_names_for_one_sampler(one, other, steps):
    denoiser, mu, x_T = mixture_run(PROCESS)
    draws = randn(steps + 1, *mu.shape)
    runs = [
        run(denoiser.network, mu, name, "noise", steps, draws, x_T=x_T) for name in (one, other)
    ]
    for a, b in zip(*runs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", STEPPED)
def test_a_sample_does_not_depend_on_what_the_exact_network_predicts(solver):
    results = []
    for target in ("noise", "data", "velocity"):
        denoiser, mu, x_T = mixture_run(PROCESS, target=target)
        draws = randn(13, *mu.shape)
        results.append(run(denoiser.network, mu, solver, target, 12, draws, x_T=x_T)[-1])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-10, atol=1e-11)


# --- the published code --------------------------------------------------------------------------


class PublishedIRSDE:
    """IR-SDE's sampler (`sde_utils.py`), without and with its subtraction of theta[0]."""

    def __init__(self, zero_start):
        x = torch.linspace(0, 102, 103, dtype=torch.float64)
        cumprod = torch.cos((x / 102 + 0.008) / 1.008 * math.pi * 0.5) ** 2
        self.thetas = 1 - (cumprod / cumprod[0])[1:-1]
        self.cumsum = self.thetas.cumsum(0) - (self.thetas[0] if zero_start else 0)
        self.dt = -1 / self.cumsum[-1] * math.log(0.005)
        self.max_sigma = 50 / 255
        self.sigmas = (self.max_sigma**2 * 2 * self.thetas).sqrt()
        self.sigma_bars = (self.max_sigma**2 * (1 - torch.exp(-2 * self.cumsum * self.dt))).sqrt()

    def reverse_posterior_step(self, mu, xt, noise, t, draw):
        x0 = (xt - mu - self.sigma_bars[t] * noise) * torch.exp(self.cumsum[t] * self.dt) + mu
        A = torch.exp(-self.thetas[t] * self.dt)
        B = torch.exp(-self.cumsum[t] * self.dt)
        C = torch.exp(-self.cumsum[t - 1] * self.dt)
        term1 = A * (1 - C**2) / (1 - B**2)
        term2 = C * (1 - A**2) / (1 - B**2)
        std = ((1 - A**2) * (1 - C**2) / (1 - B**2)).sqrt() * self.max_sigma
        return term1 * (xt - mu) + term2 * (x0 - mu) + mu + std * draw

    def reverse_sde_step(self, mu, xt, noise, t, draw):
        score = -noise / self.sigma_bars[t]
        drift = (self.thetas[t] * (mu - xt) - self.sigmas[t] ** 2 * score) * self.dt
        return xt - drift - self.sigmas[t] * draw * self.dt.sqrt()

    def reverse_ode_step(self, mu, xt, noise, t, draw):
        score = -noise / self.sigma_bars[t]
        return xt - (self.thetas[t] * (mu - xt) - 0.5 * self.sigmas[t] ** 2 * score) * self.dt


def published_run(published, step, mu, x_T, outputs, draws, times):
    x = x_T
    xs = [x]
    for i, t in enumerate(times):
        x = step(published, mu, x, outputs[i], t, draws[i + 1])
        xs.append(x)
    return xs


@pytest.mark.parametrize("zero_start", [False, True])
@pytest.mark.parametrize("solver", ["posterior", "posterior-published"])
def test_posterior_at_100_unit_strides_is_the_published_one(solver, zero_start):
    process = MeanRevertingSDE(zero_start=zero_start)
    mu, outputs, draws = randn(2, 3), randn(100, 2, 3, seed=1), randn(101, 2, 3, seed=2)
    remaining = iter(outputs)
    computed = run(
        lambda x, mu, t: next(remaining),
        mu,
        solver,
        "noise",
        100,
        draws,
        process=process,
        spacing="uniform-t",
    )
    expected = published_run(
        PublishedIRSDE(zero_start),
        PublishedIRSDE.reverse_posterior_step,
        mu,
        mu + 50 / 255 * draws[0],
        outputs,
        draws,
        range(100, 0, -1),
    )
    assert len(computed) == 101
    for a, b in zip(computed, expected, strict=True):
        # Random outputs are not a network's: x grows to about 30, and 1 - C^2 loses digits.
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "solver, step, sign",
    [
        ("euler", PublishedIRSDE.reverse_ode_step, 1),
        ("euler-maruyama", PublishedIRSDE.reverse_sde_step, -1),
    ],
)
def test_euler_at_100_unit_strides_is_the_published_one(solver, step, sign):
    mu, outputs, draws = randn(2, 3), randn(100, 2, 3, seed=1), randn(101, 2, 3, seed=2)
    remaining = iter(outputs)
    computed = run(
        lambda x, mu, t: next(remaining), mu, solver, "noise", 100, draws, spacing="uniform-t"
    )
    # The published code subtracts its noise, ours adds it.
    expected = published_run(
        PublishedIRSDE(False),
        step,
        mu,
        mu + 50 / 255 * draws[0],
        outputs,
        sign * draws,
        range(100, 0, -1),
    )
    for a, b in zip(computed, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_posterior_published_moves_by_unit_strides_and_does_not_reach_the_data():
    published, nfe = PublishedIRSDE(False), 8
    mu, outputs, draws = randn(2, 3), randn(nfe, 2, 3, seed=1), randn(nfe + 1, 2, 3, seed=2)
    seen = []

    def network(x, mu, t):
        seen.append(t)
        return outputs[len(seen) - 1]

    computed = run(network, mu, "posterior-published", "noise", nfe, draws)
    assert seen == [100, 85, 71, 57, 43, 29, 15, 1], "equally apart, truncated"
    expected = published_run(
        published,
        PublishedIRSDE.reverse_posterior_step,
        mu,
        mu + 50 / 255 * draws[0],
        outputs,
        draws,
        [int(t) for t in seen],
    )
    for a, b in zip(computed, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_posterior_reaches_the_data_at_10_evaluations_and_posterior_published_does_not():
    def distance(solver):
        denoiser, mu, x_T = mixture_run(PROCESS, batch=200)
        generator = torch.Generator().manual_seed(1)
        x = sample(
            denoiser, mu, process=PROCESS, solver=solver, nfe=10, x_T=x_T, generator=generator
        )
        gaps = torch.cdist(x - mu, denoiser.network.network.means)
        return gaps.min(1).values.median().item()

    # From x_0 itself the nearest mean is at about 0.12 (a spread of 0.12 in two dimensions).
    assert distance("posterior") < 0.2
    assert distance("posterior-published") > distance("posterior") + 0.05


def test_posterior_published_has_no_more_steps_than_units_of_t():
    denoiser, mu, x_T = mixture_run(PROCESS)
    with pytest.raises(ValueError, match="100 unit steps, cannot take 101"):
        sample(denoiser, mu, process=PROCESS, solver="posterior-published", nfe=101, x_T=x_T)


# --- the end of the PF-ODE -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixture():
    """A denoiser, mu, x_T and the exact solution of the PF-ODE at t = 0.

    With u = y / alpha the ODE is du/dlambda = -e^{-lambda} eps, integrated by another hand.
    """
    denoiser, mu, x_T = mixture_run(PROCESS)
    network = denoiser.network.network

    def slope(lam, u):
        alpha = 1 / math.sqrt(1 + math.exp(-2 * lam) / PROCESS.sigma_inf**2)
        sigma = alpha * math.exp(-lam)
        y = alpha * torch.from_numpy(u).reshape(mu.shape)
        noise = (y - alpha * network.data(y, alpha, sigma)) / sigma
        return (-math.exp(-lam) * noise).numpy().ravel()

    u_T = ((x_T - mu) / PROCESS.alpha(100.0)).numpy().ravel()
    span = PROCESS.lam(100.0), PROCESS.lam(0.0)
    solution = solve_ivp(slope, span, u_T, method="DOP853", rtol=1e-12, atol=1e-13)
    u_0 = torch.from_numpy(solution.y[:, -1]).reshape(mu.shape)
    return denoiser, mu, x_T, mu + PROCESS.alpha(0.0) * u_0


def error(mixture, solver, nfe, **settings):
    denoiser, mu, x_T, exact = mixture
    x = sample(denoiser, mu, process=PROCESS, solver=solver, nfe=nfe, x_T=x_T, **settings)
    return (x - exact).norm().item()


def test_euler_keeps_its_order_where_its_steps_in_t_are_uneven(mixture):
    # The orders of all, on the grids they are stated for, are in test_order.py.
    coarse, fine = (error(mixture, "euler", nfe, spacing="uniform-lambda") for nfe in (160, 320))
    assert math.log2(coarse / fine) >= 0.85
    assert fine < 0.01


def test_lowering_the_last_order_mends_the_uniform_t_grid_at_10_evaluations(mixture):
    # The last step spans lambda 3.4 to 6.1: at full order it extrapolates far outside its nodes.
    full, lowered, first = (
        error(mixture, "mrs-ode-d-2", 10, spacing="uniform-t", lower_order_final=False),
        error(mixture, "mrs-ode-d-2", 10, spacing="uniform-t"),
        error(mixture, "mrs-ode-d-1", 10, spacing="uniform-t"),
    )
    assert lowered < 0.5 * full
    assert lowered < 0.5 * first


# --- the integrals -------------------------------------------------------------------------------


def phi_exactly(k, z):
    """sum_m z^m / (m + k)! in rationals, z being a float and so a rational."""
    z, total, term, m = Fraction(z), Fraction(0), Fraction(1, math.factorial(k)), 0
    while m < 4 * abs(z) + 40:
        total += term
        m += 1
        term *= z / (m + k)
    return float(total)


@pytest.mark.parametrize("k", [0, 1, 2, 3, 4])
def test_phi_holds_its_digits_at_any_argument(k):
    # Near |z| = 1 the recurrence divides what is left of 1 / (k - 1)!: three digits at phi_4.
    for z in (0.0, 1e-300, 1e-12, 1e-6, 0.01, 0.3, 0.999, 1.0, 1.001, 2.5, 9.0, 40.0):
        for signed in (z, -z):
            assert phi(k, signed) == pytest.approx(phi_exactly(k, signed), rel=2e-13)


@pytest.mark.parametrize("c", [1, -1, -2])
@pytest.mark.parametrize("h", [1e-4, 0.06, 1.0, 2.7])
@pytest.mark.parametrize("ratios", [[0.0], [0.0, -1.0], [0.0, -0.3], [0.0, -0.8, -2.1]])
def test_interpolation_weights_integrate_polynomials_of_their_degree_exactly(c, h, ratios):
    offsets = [h * ratio for ratio in ratios]
    weights = interpolation_weights(c, h, offsets)
    for n in range(len(offsets)):
        exact, _ = quad(
            lambda u, n=n: math.exp(c * (h - u)) * (u / h) ** n, 0, h, epsabs=0, epsrel=1e-13
        )
        computed = sum(w * (u / h) ** n for w, u in zip(weights, offsets, strict=True))
        assert computed == pytest.approx(exact, rel=1e-11)


# --- evaluations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("zero_start", [False, True])
@pytest.mark.parametrize("nfe", [1, 2, 5, 12])
@pytest.mark.parametrize("solver", STEPPED)
def test_network_calls_are_counted_and_stay_within_what_was_asked(solver, nfe, zero_start):
    process = MeanRevertingSDE(zero_start=zero_start)
    denoiser, mu, x_T = mixture_run(process)
    assert isinstance(denoiser.network, Counting)
    settings = {"process": process, "solver": solver, "nfe": nfe, "x_T": x_T}
    cost = partial(SOLVERS[solver].cost, to_data=zero_start)
    if nfe < cost(1):
        with pytest.raises(ValueError, match=re.escape(solver)):
            trajectory(denoiser, mu, **settings)
        return
    generator = torch.Generator().manual_seed(0)
    for step in trajectory(denoiser, mu, generator=generator, **settings):
        assert step.nfe == denoiser.network.count
    # No step is left out that would have fitted.
    assert step.nfe == cost(step.index) <= nfe < cost(step.index + 1)


def test_the_registry_describes_each_solver():
    assert {
        "mrs-ode-n-1",
        "mrs-ode-n-2",
        "mrs-ode-d-1",
        "mrs-ode-d-2",
        "mrs-sde-n-1",
        "mrs-sde-n-2",
        "mrs-sde-d-1",
        "mrs-sde-d-2",
        "posterior",
        "posterior-published",
        "euler",
        "euler-maruyama",
    } <= set(SOLVERS)
    for name, solver in SOLVERS.items():
        assert solver.summary and solver.family and solver.evaluations >= 1
        if name.startswith("mrs-") and not name.endswith("-published"):
            assert solver.order == int(name[-1])
            assert solver.stochastic == name.startswith("mrs-sde")
