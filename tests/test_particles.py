"""Particles in densities with exact scores: the exact solutions, and how far solvers end from them.

An energy distance is an average over pairs, so its own noise is measured, not assumed: a bound is
what exact samples of the same number stay below.
"""

import math

import pytest
import torch

from mrsampler import VESDE, VPSDE, MeanRevertingSDE
from mrsampler.denoiser import Denoiser
from mrsampler.particles import FRAMES, Particles, energy_distance
from mrsampler.playground import DENSITIES, points
from mrsampler.problem import MixtureProblem

PROCESSES = [MeanRevertingSDE(max_sigma=0.4), VPSDE(), VESDE(0.01, 4.0)]
MU = {PROCESSES[0]: (0.8, -0.6)}


def particles(process=PROCESSES[0], density="two moons", count=300, seed=0):
    return Particles(DENSITIES[density], process, MU.get(process, (0.0, 0.0)), count, seed)


def test_the_energy_distance_of_two_points_is_twice_their_distance():
    x, y = torch.zeros(3, 2).double(), torch.tensor([[3.0, 4.0]] * 5).double()
    assert energy_distance(x, y) == pytest.approx(10)
    assert energy_distance(x, x) == 0


def test_the_energy_distance_of_two_samples_of_one_density_is_0_on_average():
    generator = torch.Generator().manual_seed(0)
    values = [
        energy_distance(*torch.randn(2, 50, 2, dtype=torch.float64, generator=generator))
        for _ in range(200)
    ]
    mean, deviation = torch.tensor(values).mean(), torch.tensor(values).std()
    assert abs(mean) < 5 * deviation / 200**0.5
    assert min(values) < 0 < max(values), "the estimate is unbiased, so of either sign"


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_flow_is_the_PF_ODE_to_5e_5(process, density):
    some = particles(process, density, count=60)
    problem = MixtureProblem("", Denoiser(some.mixture), process, some.anchor, some.x_T)
    exact = problem.solution  # to about 1e-11, at t_min
    if process.lam(0.0) == math.inf:  # where a run returns the predicted x_0
        t = process.t_min
        exact = some.anchor + some.mixture.data(
            exact - some.anchor, process.alpha(t), process.sigma(t)
        )
    assert len(some.flow) == FRAMES + 1
    assert (some.flow[-1].x - exact).square().sum(1).mean().sqrt() < 5e-5
    assert (some.flow[0].t, some.flow[-1].t) == (some.times[0], some.times[-1])


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_exact_paths_have_the_mean_and_covariance_of_the_process_at_every_time(process):
    n = 4000
    some = particles(process, "two Gaussians", count=n)
    times = some.times[::20]
    paths = some.paths(times) - some.anchor
    means, weights = some.mixture.means, some.mixture.weights[:, None]
    mean = (weights * means).sum(0)
    covariance = (weights * (means - mean)).T @ (means - mean)
    covariance += some.mixture.spread**2 * torch.eye(2, dtype=torch.float64)
    for t, y in zip(times, paths, strict=True):
        alpha, sigma = process.alpha(t), process.sigma(t)
        wanted = alpha**2 * covariance + sigma**2 * torch.eye(2, dtype=torch.float64)
        scale = wanted.diagonal().max().item()
        # Five standard errors: of a mean, and of a variance (2/n of its square, for a normal).
        torch.testing.assert_close(y.mean(0), alpha * mean, rtol=0, atol=5 * (scale / n) ** 0.5)
        torch.testing.assert_close(y.T.cov(), wanted, rtol=0, atol=5 * scale * (2 / n) ** 0.5)


def test_exact_paths_are_markov_with_the_processs_own_transitions():
    process, n = PROCESSES[0], 4000
    some = particles(process, "ring", count=n)
    late, early = (path - some.anchor for path in some.paths([60.0, 20.0]))
    left = process.alpha(60.0) / process.alpha(20.0)
    noise = (late - left * early) / (
        process.sigma(60.0) ** 2 - (left * process.sigma(20.0)) ** 2
    ) ** 0.5
    torch.testing.assert_close(
        noise.T.cov(), torch.eye(2, dtype=torch.float64), rtol=0, atol=5 * (2 / n) ** 0.5
    )
    assert (noise.T @ early / n).abs().max() < 5 * early.std() / n**0.5, "the noise is fresh"


def test_a_path_stays_while_the_time_does():
    paths = particles(PROCESSES[2]).paths([1.0, 0.5, 0.5, 0.0])
    assert (paths[1] == paths[2]).all() and not (paths[0] == paths[1]).any()


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("solver", ["mrs-ode-d-2", "mrs-sde-d-2"])
def test_particles_end_distributed_as_the_density(solver, process, density):
    some = particles(process, density)
    *_, last = some.steps(solver, 60)
    # Both samples are random: twice what exact ones stay under 19 times in 20.
    assert energy_distance(last.x, some.samples(1000, 3)) < 2 * some.chance
    off = last.x + 0.2  # beside it by about a tenth of its width
    assert energy_distance(off, some.samples(1000, 3)) > 2 * some.chance


def test_all_runs_start_from_one_x_T_and_a_seed_repeats_them():
    some, again, other = particles(), particles(), particles(seed=1)
    for solver in ("mrs-ode-d-2", "mrs-sde-d-2", "rk45"):
        assert torch.equal(next(some.steps(solver, 100)).x, some.x_T)
    runs = [list(p.steps("mrs-sde-d-2", 5))[-1].x for p in (some, again, other)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_the_error_is_the_distance_of_the_same_particles_and_inf_where_a_run_diverges():
    some = particles(count=4)
    end = some.flow[-1].x
    assert some.error(end, stochastic=False) == 0
    moved = end + torch.tensor([0.3, 0.4], dtype=torch.float64)
    assert some.error(moved, stochastic=False) == pytest.approx(0.5)
    assert some.error(end.clone().fill_(math.nan), stochastic=True) == math.inf


def test_errors_fall_with_the_evaluations_and_say_what_was_spent():
    some = particles(count=100)
    ended = some.errors("mrs-ode-d-2", (2, 8, 30), spacing="blend")
    assert [run.nfe for run in ended] == [2, 8, 30]
    assert ended[0].error > ended[1].error > ended[2].error
    assert [run.nfe for run in some.errors("heun", (1, 2, 5))] == [2, 4], "it is two a step"
    adaptive = some.errors("rk45", ())
    assert [run.nfe for run in adaptive] == sorted(run.nfe for run in adaptive)
    assert adaptive[-1].error < 1e-3


def test_annealing_lets_langevin_dynamics_find_the_weights_of_the_modes():
    some = particles(PROCESSES[2], "two Gaussians")

    def share(run):
        *_, last = run
        return (last.x.sum(1) > 0).double().mean().item()

    walked = share(some.walk(100, sigma=0.1))
    # Uniform starts: half of them nearer to either mode, to five standard errors.
    assert walked == pytest.approx(0.5, abs=5 * (0.25 / 300) ** 0.5)
    annealed = some.steps("langevin", 100, spacing="uniform-t", step_size=0.5, per_level=5)
    assert abs(share(annealed) - 0.8) < abs(walked - 0.8) / 2


def test_a_walk_stays_at_its_level_until_the_last_step():
    steps = list(particles(PROCESSES[2], count=4).walk(6, sigma=0.1))
    assert [PROCESSES[2].sigma(step.t) for step in steps] == pytest.approx([0.1] * 6 + [0.0])


def test_one_drawn_point_is_a_density_too():
    some = Particles(points([[0.2, 0.1]]), PROCESSES[0], (0.5, 0.5), 50)
    *_, last = some.steps("mrs-ode-d-2", 20)
    assert (last.x - torch.tensor([0.2, 0.1]).double()).norm(dim=1).mean() < 0.1
