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
# Each with its options; ddim is stochastic where its eta is above 0.
SDE = {name: (name, {}) for name, solver in SOLVERS.items() if solver.stochastic and solver.order}
SDE |= {f"ddim at eta {eta}": ("ddim", {"eta": eta}) for eta in (0.5, 1.0)}
OFFSET = torch.tensor([3.0, -2.0], dtype=torch.float64)


def moments(network, solver, nfe, spacing, **options):
    """Mean and covariance of y at the end that a solver makes of an affine network.

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
        **options,
    )
    columns = x[1:] - x[0]
    return x[0], columns.T @ columns


def exact_moments(network, end, eta=1.0):
    """The same of the reverse-time SDE at t = `end`, from the equations of its moments.

    With w = y / alpha: dw = (1 + eta^2) (D - w) dlambda + sqrt(2) eta e^{-lambda} dB, D = K y + b;
    eta as ddim's: the PF-ODE at 0, and at 1 the SDE of all the other solvers.
    """
    process, d = network.process, len(network.mean)
    mean, cov = network.marginal(process.T)
    alpha_T = process.alpha(process.T)
    start = torch.cat([(mean + OFFSET) / alpha_T, cov.flatten() / alpha_T**2])
    first, last = process.lam(process.T), process.lam(end)

    def slope(lam, state):
        t = process.time(min(max(lam, first), last))
        gain, offset = (value.numpy() for value in network.affine(t))
        m, c = state[:d], state[d:].reshape(d, d)
        pull = (1 + eta**2) * (process.alpha(t) * gain - np.eye(d))
        growth = pull @ c + c @ pull.T + 2 * eta**2 * math.exp(-2 * lam) * np.eye(d)
        return np.concatenate([pull @ m + (1 + eta**2) * offset, growth.ravel()])

    solution = solve_ivp(slope, (first, last), start.numpy(), "DOP853", rtol=1e-11, atol=1e-12)
    alpha, final = process.alpha(end), torch.from_numpy(solution.y[:, -1])
    return alpha * final[:d], alpha**2 * final[d:].reshape(d, d)


@pytest.mark.parametrize("eta", [0.5, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.05])
@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_the_moment_equations_end_at_the_true_marginal(process, share, eta):
    # With the exact network every eta keeps the marginals. Of w an offset is carried by a matrix M:
    # at eta = 1 to the mean of w_t given w_T, and by M^((1 + eta^2) / 2) at any other.
    network, end = Gaussian(process), max(share * process.T, process.t_min)
    (mean_t, cov_t), (_, cov_T) = network.marginal(end), network.marginal(process.T)
    ratio = process.alpha(process.T) / process.alpha(end)
    values, axes = torch.linalg.eigh(ratio**2 * cov_t @ torch.linalg.inv(cov_T))
    carried = axes @ (values ** ((1 + eta**2) / 2)).diag() @ axes.T / ratio
    mean, cov = exact_moments(network, end, eta)
    torch.testing.assert_close(mean, mean_t + carried @ OFFSET, rtol=0, atol=1e-8)
    torch.testing.assert_close(cov, cov_t, rtol=0, atol=1e-8)


def equal_steps(process, nfe, end):
    return [process.T + (end - process.T) * i / nfe for i in range(nfe + 1)]


# The exact network, whose mean data prediction has without error; and one that gives it some.
TRUSTS = (1.0, 0.6)


@pytest.mark.parametrize("trust", TRUSTS)
@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("case", SDE)
def test_mean_and_covariance_converge_at_the_declared_order(case, process, trust):
    solver, options = SDE[case]
    network = Gaussian(PROCESSES[process], trust=trust)
    process, end = network.process, network.process.t_min
    if solver == "euler-maruyama":
        # It takes its steps in t, where sigma is singular at 0 on VP and VE. 380 or 760 steps of
        # 0.95 T: on the mean-reverting process none spans a whole t, where its drift jumps.
        end, coarse = 0.05 * process.T, 380
    else:
        coarse = 160
    mean, cov = exact_moments(network, end, options.get("eta", 1.0))
    errors = []
    for nfe in (coarse, 2 * coarse):
        spacing = equal_steps(process, nfe, end) if end > process.t_min else "uniform-lambda"
        computed = moments(network, solver, nfe, spacing, **options)
        errors.append([(computed[0] - mean).norm().item(), (computed[1] - cov).norm().item()])
    for coarser, finer in zip(*errors, strict=True):
        assert finer < 0.02
        # Below that only the reference's own error is left.
        if coarser > 1e-8:
            assert math.log2(coarser / finer) >= SOLVERS[solver].order - 0.15
    assert errors[1][1] < 0.005


def test_euler_maruyama_converges_to_the_end_of_the_mean_reverting_process():
    network = Gaussian(MR)
    mean, cov = exact_moments(network, MR.t_min)
    coarse, fine = (moments(network, "euler-maruyama", nfe, "uniform-t") for nfe in (200, 400))
    for exact, *computed in zip((mean, cov), coarse, fine, strict=True):
        first, second = ((value - exact).norm().item() for value in computed)
        assert second < 0.02 and math.log2(first / second) >= 0.85


PARTICLES, ERRORS = 20_000, 4


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("case", SDE)
def test_20000_particles_at_320_evaluations_have_the_gaussians_moments(case, process):
    solver, options = SDE[case]
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
        **options,
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
