"""The mean-reverting process: the published numbers, and one truth between the grid points."""

import math

import numpy as np
import pytest
import torch

from mrsampler import MeanRevertingSDE
from mrsampler.process import SCHEDULES, theta_schedule

PROCESSES = [
    MeanRevertingSDE(schedule=schedule, zero_start=zero_start)
    for schedule in SCHEDULES
    for zero_start in (False, True)
]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)


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


@every_process
def test_floats_and_tensors_agree(process):
    # A tensor's exp and lerp round differently from the float's, by a few units of 1.1e-16 of
    # numbers up to 6.2; lambda, which passes through 0, keeps that absolute error.
    times = torch.linspace(0, 100, 463, dtype=torch.float64)
    for name in ("log_alpha", "alpha", "sigma", "lam"):
        function = getattr(process, name)
        scalars = [function(t) for t in times.tolist()]
        assert all(isinstance(value, float) for value in scalars)
        tensor = function(times)
        assert tensor.dtype == torch.float64 and tensor.shape == times.shape
        torch.testing.assert_close(
            tensor, torch.tensor(scalars, dtype=torch.float64), rtol=2e-15, atol=2e-15
        )


@every_process
def test_a_tensor_keeps_its_shape_whatever_its_type(process):
    times = torch.tensor([[1, 50], [99, 100]])
    lam = process.lam(times)
    assert lam.shape == (2, 2)
    assert lam[0, 1] == pytest.approx(process.lam(50), rel=1e-15)
    torch.testing.assert_close(process.time(lam), times.double(), rtol=0, atol=1e-9)
    assert process.alpha(torch.tensor(50)).shape == ()


@every_process
def test_time_inverts_lambda_on_and_between_grid_points(process):
    low = 0.001 if process.zero_start else 0.0
    for t in np.unique(np.concatenate([np.linspace(low, 100, 1234), np.arange(1, 101), [low]])):
        assert process.time(process.lam(float(t))) == pytest.approx(t, abs=1e-9)


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


@pytest.mark.parametrize("t", [-0.001, 100.001, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["log_alpha", "alpha", "sigma", "lam", "drift", "diffusion"])
def test_a_time_outside_0_to_T_is_an_error(name, t):
    function = getattr(MeanRevertingSDE(), name)
    with pytest.raises(ValueError, match="t must lie in"):
        function(t)
    if name not in ("drift", "diffusion"):
        with pytest.raises(ValueError, match="t must lie in"):
            function(torch.tensor([50.0, t]))


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
