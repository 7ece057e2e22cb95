"""The processes: the published numbers, and one truth between the grid points."""

import json
import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from scipy.integrate import quad

from mrsampler import VESDE, VPSDE, Denoiser, MeanRevertingSDE, trajectory
from mrsampler import processes as registry
from mrsampler.processes import from_card, make, shown, to_card
from mrsampler.processes.mean_reverting import SCHEDULES, theta_schedule

PROCESSES = [
    MeanRevertingSDE(schedule=schedule, zero_start=zero_start)
    for schedule in SCHEDULES
    for zero_start in (False, True)
]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)

DDPM_TABLE = DDPMScheduler().alphas_cumprod
VP = [
    VPSDE(),
    VPSDE(beta_min=0.5, beta_max=3.0),
    VPSDE("cosine"),
    VPSDE.from_alphas_cumprod(DDPM_TABLE),
    VPSDE.from_alphas_cumprod([1.0, 0.9, 0.4, 0.01]),
]
VE = [VESDE(), VESDE(sigma_min=0.002, sigma_max=80.0)]
every_process_of_all = pytest.mark.parametrize("process", [*PROCESSES, *VP, *VE], ids=repr)


def inner_times(process):
    """Times over (0, T), on no grid point of a table."""
    return [process.T * (i + 0.317) / 41 for i in range(41)]


def published_theta(schedule, timesteps):
    """As IR-SDE's code has it, line by line, in float64."""
    if schedule == "cosine":
        timesteps += 2
        x = np.linspace(0, timesteps, timesteps + 1)
        alphas_cumprod = np.cos(((x / timesteps) + 0.008) / (1 + 0.008) * math.pi * 0.5) ** 2
        alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
        return 1 - alphas_cumprod[1:-1]
    timesteps += 1
    if schedule == "linear":
        scale = 1000 / timesteps
        return np.linspace(scale * 0.0001, scale * 0.02, timesteps)
    return np.ones(timesteps)


def published_alpha(schedule, timesteps, eps, zero_start):
    theta = published_theta(schedule, timesteps)
    cumulative = np.cumsum(theta) - (theta[0] if zero_start else 0)
    dt = -1 / cumulative[-1] * math.log(eps)
    return np.exp(-cumulative * dt)


def test_the_published_numbers():
    process = MeanRevertingSDE()
    assert process.alpha(0) == pytest.approx(0.999936, abs=5e-7)
    assert process.alpha(50) == pytest.approx(0.360803, abs=5e-7)
    assert process.alpha(100) == pytest.approx(0.005, abs=1e-15)
    assert process.sigma_inf == 50 / 255
    assert (process.T, process.t_min) == (100.0, 0.0)


@pytest.mark.parametrize("zero_start", [False, True])
@pytest.mark.parametrize("num_steps, eps", [(100, 0.005), (37, 0.01), (1, 0.1)])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_published_tables(schedule, num_steps, eps, zero_start):
    process = MeanRevertingSDE(0.3, schedule, num_steps, eps, zero_start)
    alpha = published_alpha(schedule, num_steps, eps, zero_start)
    times = torch.arange(num_steps + 1)
    np.testing.assert_allclose(process.alpha(times).numpy(), alpha, rtol=1e-12)
    # 1 - alpha^2 loses digits near alpha = 1, here in the reference.
    sigma = 0.3 * np.sqrt(1 - alpha**2)
    np.testing.assert_allclose(process.sigma(times).numpy(), sigma, rtol=1e-11, atol=1e-12)


def test_zero_start_begins_at_the_data_and_the_default_does_not():
    process = MeanRevertingSDE(zero_start=True)
    assert (process.alpha(0.0), process.sigma(0.0)) == (1.0, 0.0)
    assert process.lam(0.0) == math.inf
    assert process.time(math.inf) == 0.0
    assert process.t_min == 1.0
    assert MeanRevertingSDE().sigma(0.0) > 0


@pytest.mark.parametrize(
    "given, used", [(50, 50 / 255), (10, 10 / 255), (1, 1 / 255), (0.9, 0.9), (50 / 255, 50 / 255)]
)
def test_a_max_sigma_of_at_least_1_is_in_units_of_255(given, used):
    assert MeanRevertingSDE(max_sigma=given).sigma_inf == pytest.approx(used, rel=1e-15)


@every_process_of_all
def test_floats_and_tensors_agree(process):
    # A tensor's exp, lerp, sin and log round differently from the float's, by a few units of
    # 1.1e-16 of themselves. lambda, up to 9, passes through 0 and keeps that absolute error. The
    # cosine's sin^2 near T is 1 - 7e-5, and log1p(-sin^2) has 1/7e-5 times its rounding.
    times = torch.linspace(0, process.T, 463, dtype=torch.float64)
    tolerance = 1e-11 if process is VP[2] else 4e-15
    for name in ("log_alpha", "alpha", "sigma", "lam"):
        function = getattr(process, name)
        scalars = [function(t) for t in times.tolist()]
        assert all(isinstance(value, float) for value in scalars)
        tensor = function(times)
        assert tensor.dtype == torch.float64 and tensor.shape == times.shape
        torch.testing.assert_close(
            tensor, torch.tensor(scalars, dtype=torch.float64), rtol=tolerance, atol=tolerance
        )


@every_process
def test_a_tensor_keeps_its_shape_whatever_its_type(process):
    times = torch.tensor([[1, 50], [99, 100]])
    lam = process.lam(times)
    assert lam.shape == (2, 2)
    # A tensor's log rounds differently from the float's, by a few units of 1.1e-16.
    assert lam[0, 1] == pytest.approx(process.lam(50), rel=4e-15, abs=4e-15)
    torch.testing.assert_close(process.time(lam), times.double(), rtol=0, atol=1e-9)
    assert process.alpha(torch.tensor(50)).shape == ()


@every_process_of_all
def test_time_inverts_lambda_on_and_between_grid_points(process):
    low = process.t_min / 1000 if process.t_min else 0.0
    grid = np.arange(1, process.T)
    for t in [*grid, *np.linspace(low, process.T, 1234), process.t_min, process.T]:
        assert process.time(process.lam(float(t))) == pytest.approx(t, abs=1e-9)
    # 1e-9 says little of a t_min of 1e-5.
    for t in process.t_min * np.linspace(0.5, 2, 31):
        if 0 < t <= process.T:
            assert process.time(process.lam(float(t))) == pytest.approx(t, rel=1e-9)


@every_process_of_all
def test_the_ends_of_lambda_are_the_ends_of_time(process):
    low, high = process.lam(process.T), process.lam(0.0)
    assert (process.time(low), process.time(high)) == (process.T, 0.0)
    # What a spacing computed may pass an end by a rounding, not by more.
    assert process.time(low - 5e-10) == process.T
    for lam in (low - 1e-3, -math.inf, math.nan):
        with pytest.raises(ValueError, match="lambda must lie in"):
            process.time(lam)
    times = process.time(torch.tensor([low, high], dtype=torch.float64))
    assert times.tolist() == [process.T, 0.0]


@every_process
def test_alpha_sigma_and_lambda_agree_between_grid_points(process):
    # The published code interpolates the three apart; at half steps they then contradict.
    t = torch.linspace(0.5, 99.5, 300, dtype=torch.float64)
    alpha, sigma, lam = process.alpha(t), process.sigma(t), process.lam(t)
    whole = alpha.square() + (sigma / process.sigma_inf).square()
    torch.testing.assert_close(whole, torch.ones_like(whole), rtol=0, atol=1e-14)
    torch.testing.assert_close(lam, (alpha / sigma).log(), rtol=0, atol=1e-13)
    assert (lam.diff() < 0).all()


@every_process
def test_the_drift_is_minus_the_derivative_of_log_alpha(process):
    for t in (0.3, 1.5, 20.25, 50.75, 99.6):
        slope = (process.log_alpha(t + 0.1) - process.log_alpha(t - 0.1)) / 0.2
        assert process.drift(t) == pytest.approx(-slope, rel=1e-9)
        assert process.diffusion(t) == pytest.approx(
            2 * process.sigma_inf**2 * process.drift(t), rel=1e-15
        )
    # On a grid point: of the unit of time that a step back in time enters.
    assert process.drift(50.0) == process.drift(49.5) != process.drift(50.5) or (
        process.schedule == "constant"
    )


def test_the_constant_schedule_reverts_at_one_rate():
    process = MeanRevertingSDE(schedule="constant", zero_start=True)
    for t in (0.5, 50, 100):
        assert process.drift(t) == pytest.approx(-math.log(0.005) / 100, rel=1e-12)


# --- all processes -------------------------------------------------------------------------------


@every_process_of_all
def test_alpha_and_lambda_fall_and_sigma_rises(process):
    t = torch.linspace(0, process.T, 500, dtype=torch.float64)
    alpha, sigma, lam = process.alpha(t), process.sigma(t), process.lam(t)
    assert (lam.diff() < 0).all() and (sigma.diff() > 0).all()
    assert (alpha.diff() <= 0).all() and (alpha > 0).all() and (alpha <= 1).all()
    torch.testing.assert_close(alpha.log(), process.log_alpha(t), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(lam[1:], (alpha / sigma)[1:].log(), rtol=0, atol=1e-12)


@every_process_of_all
def test_drift_and_diffusion_are_the_true_derivatives(process):
    # f = -dlog alpha/dt and g^2 = alpha^2 d(sigma^2/alpha^2)/dt = dsigma^2/dt + 2 f sigma^2.
    # A central difference errs by the third derivative times step^2 / 6, and by rounding.
    for t in inner_times(process):
        step = 1e-4 * min(t, process.T / 40)

        def slope(function, t=t, step=step):
            return (function(t + step) - function(t - step)) / (2 * step)

        f, g2 = process.drift(t), process.diffusion(t)
        assert f == pytest.approx(-slope(process.log_alpha), rel=1e-6, abs=1e-12)
        ratio = slope(lambda t: math.exp(-2 * process.lam(t)))
        assert g2 == pytest.approx(process.alpha(t) ** 2 * ratio, rel=1e-6)
        variance = slope(lambda t: process.sigma(t) ** 2)
        assert g2 == pytest.approx(variance + 2 * f * process.sigma(t) ** 2, rel=1e-6)


@every_process_of_all
def test_perturb_is_its_definition(process):
    generator = torch.Generator().manual_seed(0)
    x0, mu, noise = torch.rand(3, 4, 5, generator=generator, dtype=torch.float64)
    for t in (process.t_min, 0.4 * process.T, process.T):
        expected = mu + process.alpha(t) * (x0 - mu) + process.sigma(t) * noise
        torch.testing.assert_close(process.perturb(x0, mu, t, noise), expected)
    times = torch.tensor([0.1, 0.4, 0.7, 1.0], dtype=torch.float64) * process.T
    together = process.perturb(x0, mu, times, noise)
    for i, t in enumerate(times.tolist()):
        torch.testing.assert_close(together[i], process.perturb(x0[i], mu[i], t, noise[i]))


@pytest.mark.parametrize("process", [VP[0], VP[1], VP[2], VP[4], *VE], ids=repr)
def test_vp_and_ve_begin_at_the_data_where_lambda_is_infinite(process):
    assert (process.alpha(0.0), process.sigma(0.0), process.lam(0.0)) == (1.0, 0.0, math.inf)
    assert process.lam(torch.zeros(1)).item() == math.inf
    assert process.time(math.inf) == 0.0
    assert math.isfinite(process.lam(process.t_min))


def test_where_a_solver_stops_short_of_sigma_0():
    assert VPSDE().t_min == VPSDE("cosine").t_min == 1e-3
    assert VESDE().t_min == 1e-5
    assert VPSDE.from_alphas_cumprod([1.0, 0.5, 0.1]).t_min == 1.0
    # A table that is below 1 at t = 0, as diffusers', has no sigma = 0 to stop short of.
    process = VPSDE.from_alphas_cumprod(DDPM_TABLE)
    assert process.t_min == 0.0 and math.isfinite(process.lam(0.0))


@pytest.mark.parametrize("process", VP, ids=repr)
def test_vp_preserves_variance_and_starts_from_a_standard_normal(process):
    for t in inner_times(process):
        assert process.alpha(t) ** 2 + process.sigma(t) ** 2 == pytest.approx(1, abs=1e-14)
    noise = torch.tensor([1.0, -2.0])
    assert process.sigma_inf == 1
    assert torch.equal(process.prior(torch.zeros(2), noise), noise)


@pytest.mark.parametrize("beta_min, beta_max", [(0.1, 20.0), (0.5, 3.0)])
def test_vp_linear_is_the_integral_of_its_beta(beta_min, beta_max):
    process = VPSDE(beta_min=beta_min, beta_max=beta_max)
    assert process.T == 1
    for t in (1e-3, 0.2, 0.7, 1.0):
        integral, _ = quad(lambda s: beta_min + s * (beta_max - beta_min), 0, t)
        assert process.log_alpha(t) == pytest.approx(-integral / 2, rel=1e-12)
        assert process.diffusion(t) == pytest.approx(beta_min + t * (beta_max - beta_min))


def test_vp_cosine_is_the_integral_of_its_beta():
    # alpha^2 = cos^2(a) with a = (t + 0.008)/1.008 pi/2, so beta = -dlog alpha^2/dt = 2 a' tan a.
    process, rate = VPSDE("cosine"), math.pi / 2 / 1.008
    assert process.T == 0.9946
    for t in (1e-3, 0.2, 0.7, 0.9946):
        integral, _ = quad(lambda s: 2 * rate * math.tan(rate * (s + 0.008)), 0, t)
        assert process.log_alpha(t) == pytest.approx(-integral / 2, rel=1e-9)
        assert process.diffusion(t) == pytest.approx(2 * rate * math.tan(rate * (t + 0.008)))
        alpha = math.cos(rate * (t + 0.008)) / math.cos(rate * 0.008)
        assert process.alpha(t) == pytest.approx(alpha, rel=1e-11)


def test_a_table_is_hit_at_whole_times_and_log_alpha_is_linear_between():
    process = VPSDE.from_alphas_cumprod(DDPM_TABLE)
    assert process.T == 999
    squared = process.alpha(torch.arange(1000)).square()
    torch.testing.assert_close(squared, DDPM_TABLE.double(), rtol=1e-13, atol=0)
    middle = (process.log_alpha(500.0) + process.log_alpha(501.0)) / 2
    assert process.log_alpha(500.5) == pytest.approx(middle, rel=1e-14)


def test_a_table_may_be_a_list_or_a_tensor_of_any_float_type():
    values = [0.9, 0.5, 0.1]
    process = VPSDE.from_alphas_cumprod(values)  # not rounded to torch's float32
    assert [process.alpha(t) ** 2 for t in (0, 1, 2)] == pytest.approx(values, rel=1e-14)
    trained = VPSDE.from_alphas_cumprod(torch.tensor(values, requires_grad=True))
    assert not trained.alpha(torch.tensor(1.0)).requires_grad
    assert trained.alpha(1) ** 2 == pytest.approx(0.5, rel=1e-7)


@pytest.mark.parametrize(
    "table",
    [
        [],
        [0.9],
        [[0.9, 0.5], [0.4, 0.1]],
        0.9,
        [0.9, 0.9, 0.1],
        [0.1, 0.5, 0.9],
        [0.9, 0.5, 0.0],
        [0.9, 0.5, -0.1],
        [1.1, 0.5, 0.1],
        [0.9, math.nan, 0.1],
        [math.nan, 0.5, 0.1],
    ],
    ids=str,
)
def test_a_table_that_does_not_fall_within_0_and_1_is_an_error(table):
    with pytest.raises(ValueError, match="alphas_cumprod must"):
        VPSDE.from_alphas_cumprod(table)


@pytest.mark.parametrize("process", VE, ids=repr)
def test_ve_sigma_is_the_geometric_one_less_its_start(process):
    low, high = process.sigma_min, process.sigma_max
    for t in (0.01, 0.3, 0.999, 1.0):
        sigma = low * (high / low) ** t
        assert process.sigma(t) == pytest.approx(math.sqrt(sigma**2 - low**2), rel=1e-12)
        assert process.diffusion(t) == pytest.approx(2 * sigma**2 * math.log(high / low), rel=1e-12)
        assert (process.alpha(t), process.log_alpha(t), process.drift(t)) == (1, 0, 0)
    # sigma^2 - low^2 would lose its digits at t_min; (e^z - 1) = z (1 + z/2 + ...), z below 3e-4.
    z = 2e-5 * math.log(high / low)
    assert process.sigma(1e-5) ** 2 == pytest.approx(low**2 * z * (1 + z / 2), rel=z**2)


def test_the_prior_of_ve_has_its_largest_sigma():
    mu, noise = torch.tensor([0.5]), torch.tensor([2.0])
    expected = mu + math.sqrt(50**2 - 0.01**2) * noise
    torch.testing.assert_close(VESDE().prior(mu, noise), expected)


@pytest.mark.parametrize(
    "low, high", [(0, 20), (-1, 20), (20, 0.1), (1, 1), (0.1, math.inf), (math.nan, 20)]
)
def test_a_vp_or_ve_whose_range_is_none_is_an_error(low, high):
    with pytest.raises(ValueError, match="0 < beta_min < beta_max"):
        VPSDE(beta_min=low, beta_max=high)
    with pytest.raises(ValueError, match="0 < sigma_min < sigma_max"):
        VESDE(low, high)


def test_an_unknown_vp_schedule_is_an_error_that_lists_them():
    with pytest.raises(ValueError, match="unknown schedule 'constant'; choose from linear, cosine"):
        VPSDE("constant")


def test_ve_has_no_velocity_to_predict():
    with pytest.raises(ValueError, match="has no velocity to predict"):
        trajectory(Denoiser(lambda x, mu, t: x, "velocity"), torch.zeros(1, 2), process=VESDE())


def test_perturb_has_the_mean_and_spread_it_states():
    process = MeanRevertingSDE()
    n = 200_000
    x0, mu = torch.full((n, 1), 0.9), torch.full((n, 1), 0.2)
    noise = torch.randn(n, 1, generator=torch.Generator().manual_seed(0))
    for t in (1.0, 50.0, 100.0):
        x = process.perturb(x0, mu, t, noise).double()
        sigma = process.sigma(t)
        # Five standard errors of a mean and of a standard deviation.
        assert x.mean().item() == pytest.approx(
            0.2 + process.alpha(t) * 0.7, abs=5 * sigma / n**0.5
        )
        assert x.std().item() == pytest.approx(sigma, abs=5 * sigma / (2 * n) ** 0.5)


def test_perturb_takes_one_time_for_all_or_one_an_image():
    process = MeanRevertingSDE()
    x0, mu, noise = torch.rand(3, 3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([3.5, 40.0, 100.0])
    together = process.perturb(x0, mu, times, noise)
    assert together.dtype == torch.float32 and together.shape == x0.shape
    for i, t in enumerate(times.tolist()):
        alone = process.perturb(x0[i : i + 1], mu[i : i + 1], t, noise[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=2e-7)
    torch.testing.assert_close(
        process.perturb(x0, mu, torch.tensor(40.0), noise),
        process.perturb(x0, mu, 40.0, noise),
        rtol=0,
        atol=2e-7,
    )


def test_the_prior_is_mu_plus_noise_of_sigma_inf():
    mu, noise = torch.tensor([0.5, 0.25]), torch.tensor([1.0, -2.0])
    expected = torch.tensor([0.5 + 50 / 255, 0.25 - 100 / 255])
    torch.testing.assert_close(MeanRevertingSDE().prior(mu, noise), expected)


@every_process_of_all
@pytest.mark.parametrize("name", ["log_alpha", "alpha", "sigma", "lam", "drift", "diffusion"])
def test_a_time_outside_0_to_T_is_an_error(process, name):
    function = getattr(process, name)
    for t in (-0.001, process.T + 0.001, math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="t must lie in"):
            function(t)
        if name not in ("drift", "diffusion"):
            with pytest.raises(ValueError, match="t must lie in"):
                function(torch.tensor([process.T / 2, t]))


@pytest.mark.parametrize("zero_start", [False, True])
def test_a_lambda_outside_the_process_is_an_error(zero_start):
    process = MeanRevertingSDE(zero_start=zero_start)
    for lam in (process.lam(100.0) - 1e-3, math.nan, -math.inf):
        with pytest.raises(ValueError, match="lambda must lie in"):
            process.time(lam)
        with pytest.raises(ValueError, match="lambda must lie in"):
            process.time(torch.tensor([0.0, lam]))
    if not zero_start:
        for lam in (process.lam(0.0) + 1e-3, math.inf):
            with pytest.raises(ValueError, match="lambda must lie in"):
                process.time(lam)


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "cubic"},
        {"schedule": ""},
        {"num_steps": 0},
        {"num_steps": -5},
        *({"eps": eps} for eps in (0, 1, -0.1, 1.5, math.nan)),
        *({"max_sigma": sigma} for sigma in (0, -50, math.nan, math.inf)),
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_an_error(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        MeanRevertingSDE(**settings)


def test_theta_is_positive_and_one_longer_than_the_steps():
    for schedule in SCHEDULES:
        theta = theta_schedule(schedule, 100)
        assert theta.shape == (101,) and theta.dtype == torch.float64
        assert (theta > 0).all()


# --- what a process declares ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", registry.PROCESSES)
def test_a_card_makes_the_same_process_again(kind):
    for process in (make(kind), shown(kind)):
        again = from_card(json.loads(json.dumps(to_card(process))))
        assert type(again) is registry.PROCESSES[kind] and again.settings == process.settings
        times = [process.t_min, 0.3 * process.T, process.T]
        assert [again.lam(t) for t in times] == [process.lam(t) for t in times]


@pytest.mark.parametrize("kind", registry.PROCESSES)
def test_the_declared_defaults_and_bounds_are_the_constructors(kind):
    assert make(kind).settings == {p.name: p.default for p in registry.PROCESSES[kind].parameters}
    for parameter in registry.PROCESSES[kind].parameters:
        outside = ["no such"] if parameter.choices else []
        if parameter.low is not None:
            outside.append(parameter.low - (parameter.kind is int))
        for value in outside:
            with pytest.raises(ValueError):
                make(kind, **{parameter.name: value})
        for value in parameter.choices:
            assert make(kind, **{parameter.name: value}).settings[parameter.name] == value


def test_a_card_without_a_kind_is_of_the_mean_reverting_process():
    process = from_card({"max_sigma": 10, "zero_start": True})
    assert isinstance(process, MeanRevertingSDE)
    assert (process.sigma_inf, process.zero_start) == (10 / 255, True)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (
            {"kind": "brigde"},
            "unknown process 'brigde'; choose from mean-reverting, VP, VE, bridge, flow",
        ),
        ({"kind": ["VP"]}, "unknown process"),
        ({"kind": "VE", "max_sigma": 1}, "the VE process takes no 'max_sigma', only: sigma_min"),
        ({"max_sigma": "wide"}, "the mean-reverting process cannot be made"),
        (None, "the process must be an object"),
    ],
)
def test_a_card_that_names_no_process_is_refused(entry, sentence):
    with pytest.raises(ValueError, match=sentence):
        from_card(entry)


def test_no_card_tells_the_process_of_a_table():
    with pytest.raises(ValueError, match="has no settings"):
        to_card(VPSDE.from_alphas_cumprod(DDPM_TABLE))
