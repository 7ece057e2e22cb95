"""The stochastic solvers on a correlated Gaussian, where every step is affine."""

import math

import numpy as np
import pytest
import torch
from models import Gaussian
from scipy.integrate import solve_ivp

from mrsampler import SOLVERS, VESDE, VPSDE, Denoiser, MeanRevertingSDE, sample

MR = MeanRevertingSDE()
PROCESSES = {"mean-reverting": MR, "VP": VPSDE(), "VE": VESDE(0.01, 10.0)}
SDE = [name for name, solver in SOLVERS.items() if solver.stochastic and solver.order]
OFFSET = torch.tensor([3.0, -2.0], dtype=torch.float64)


def moments(network, solver, nfe, spacing):
    """Mean and covariance of x_0 - mu that a solver makes of an affine network.

    Every step is affine in y_T and in the draws, so one batched run suffices: its first row takes
    no noise, each other row one unit of one coordinate of one draw. y_T starts from the true
    marginal, its mean moved by OFFSET.
    """
    d = len(network.mean)
    rows = 1 + d * (nfe + 1)
    units = torch.eye(rows, dtype=torch.float64)[:, 1:].T.reshape(nfe + 1, d, rows).mT
    mean, cov = network.marginal(network.process.T)
    start = mean + OFFSET + units[0] @ torch.linalg.cholesky(cov).T
    x = sample(
        Denoiser(network, network.target),
        torch.zeros(rows, d, dtype=torch.float64),
        process=network.process,
        solver=solver,
        nfe=nfe,
        spacing=spacing,
        x_T=start,
        noise=lambda index, shape: units[index],
        lower_order_final=False,
        denoise_final=False,
    )
    columns = x[1:] - x[0]
    return x[0], columns.T @ columns


def exact_moments(network):
    """The same of the reverse-time SDE, from the equations of its moments.

    With w = y / alpha: dw = 2 (D - w) dlambda + sqrt(2) e^{-lambda} dB, D = K y + b.
    """
    process, d = network.process, len(network.mean)
    mean, cov = network.marginal(process.T)
    alpha_T = process.alpha(process.T)
    start = torch.cat([(mean + OFFSET) / alpha_T, cov.flatten() / alpha_T**2])
    first, last = process.lam(process.T), process.lam(process.t_min)

    def slope(lam, state):
        t = process.time(min(max(lam, first), last))
        gain, offset = (value.numpy() for value in network.affine(t))
        m, c = state[:d], state[d:].reshape(d, d)
        pull = 2 * (process.alpha(t) * gain - np.eye(d))
        growth = pull @ c + c @ pull.T + 2 * math.exp(-2 * lam) * np.eye(d)
        return np.concatenate([pull @ m + 2 * offset, growth.ravel()])

    solution = solve_ivp(slope, (first, last), start.numpy(), "DOP853", rtol=1e-11, atol=1e-12)
    alpha_0, end = process.alpha(process.t_min), torch.from_numpy(solution.y[:, -1])
    return alpha_0 * end[:d], alpha_0**2 * end[d:].reshape(d, d)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_the_moment_equations_end_at_the_true_marginal(process):
    # An offset start ends at the mean of y_0 given y_T, linear in the offset.
    network = Gaussian(process)
    (mean_0, cov_0), (_, cov_T) = network.marginal(process.t_min), network.marginal(process.T)
    carried = process.alpha(process.T) / process.alpha(process.t_min) * cov_0
    mean, cov = exact_moments(network)
    expected = mean_0 + carried @ torch.linalg.inv(cov_T) @ OFFSET
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(cov, cov_0, rtol=0, atol=1e-8)


# The exact network, whose mean data prediction has without error; and one that gives it some.
# Euler-Maruyama, of one order in mean and covariance anyway, is spared the second, and the
# processes on which sigma is singular in t, where it has no order on a uniform grid.
CASES = [
    (solver, name, trust)
    for solver in SDE
    for name in PROCESSES
    for trust in (1.0, 0.6)
    if not solver.startswith("euler") or (name, trust) == ("mean-reverting", 1.0)
]


@pytest.mark.parametrize("solver, process, trust", CASES)
def test_mean_and_covariance_converge_at_the_declared_order(solver, process, trust):
    # The drift in t jumps at every whole t: Euler in t converges smoothly where no step spans one.
    spacing, coarse = ("uniform-t", 200) if solver.startswith("euler") else ("uniform-lambda", 160)
    network = Gaussian(PROCESSES[process], trust=trust)
    mean, cov = exact_moments(network)
    errors = []
    for nfe in (coarse, 2 * coarse):
        computed = moments(network, solver, nfe, spacing)
        errors.append([(computed[0] - mean).norm().item(), (computed[1] - cov).norm().item()])
    (mean_1, cov_1), (mean_2, cov_2) = errors
    assert mean_2 < 0.02 and cov_2 < 0.005
    # Below that only the reference's own error is left.
    if mean_1 > 1e-8:
        assert math.log2(mean_1 / mean_2) >= SOLVERS[solver].order - 0.15
    assert math.log2(cov_1 / cov_2) >= 0.85


PARTICLES, ERRORS = 20_000, 4


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("solver", SDE)
def test_20000_particles_at_320_evaluations_have_the_gaussians_moments(solver, process):
    network = Gaussian(PROCESSES[process])
    generator = torch.Generator().manual_seed(0)
    x = sample(
        Denoiser(network, network.target),
        torch.zeros(PARTICLES, 2, dtype=torch.float64),
        process=network.process,
        solver=solver,
        nfe=320,
        x_T=_start(network, generator),
        generator=generator,
        denoise_final=False,
    )
    mean, cov = network.marginal(network.process.t_min)
    variances = cov.diagonal()
    error_of_mean = (variances / PARTICLES).sqrt()
    error_of_cov = ((variances[:, None] * variances + cov.square()) / PARTICLES).sqrt()
    assert ((x.mean(0) - mean).abs() <= ERRORS * error_of_mean).all()
    assert ((x.T.cov() - cov).abs() <= ERRORS * error_of_cov).all()


def _start(network, generator):
    """Particles of the true marginal at T."""
    mean, cov = network.marginal(network.process.T)
    draws = torch.randn(PARTICLES, 2, dtype=torch.float64, generator=generator)
    return mean + draws @ torch.linalg.cholesky(cov).T
