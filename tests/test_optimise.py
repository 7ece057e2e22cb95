"""Time steps fitted to a checkpoint: by shortest path, then by the real solver."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from mrsampler import SPACINGS, VESDE, MeanRevertingSDE
from mrsampler.optimise import least_bound, optimise, reference, refine, resample, shortest
from mrsampler.problem import mixture_problem
from mrsampler.timesteps import timesteps


@pytest.fixture(scope="module")
def problem():
    return mixture_problem(count=64)


@pytest.fixture(scope="module")
def known(problem):
    return reference(problem, size=24)


def run(problem, nfe, spacing, solver="mrs-ode-d-2"):
    return problem.error(problem.sample(solver=solver, nfe=nfe, spacing=spacing))


def test_a_path_goes_from_T_to_the_end_in_the_steps_asked_for(known):
    for steps in (1, 2, 3, 7, 24):
        for order in (1, 2):
            times = shortest(known, steps, order)
            assert len(times) == steps + 1
            assert (times[0], times[-1]) == (100.0, 0.0)
            assert all(a > b for a, b in pairwise(times))


def test_the_path_is_the_shortest_of_all(known):
    # Of order 1 every path's length is a sum over its steps: all of them can be tried.
    from itertools import combinations

    from mrsampler.optimise import _lengths

    lengths = _lengths(known, 1)[0] * known.growth
    last = len(known.nodes) - 1
    paths = [(0, *inner, last) for inner in combinations(range(1, last), 3)]
    cost = {path: sum(lengths[j, k] for j, k in pairwise(path)) for path in paths}
    best = min(paths, key=cost.__getitem__)
    assert shortest(known, 4, 1) == [known.nodes[i].t for i in best]


def test_the_length_of_a_step_is_its_error_on_the_reference(problem, known):
    from mrsampler.optimise import _lengths

    # The first step is of order 1 whatever the order: run it from x_T, as it is in the reference.
    for k in (3, 10):
        t = known.nodes[k].t
        there = problem.sample(solver="mrs-ode-d-3", nfe=200, spacing=_fine(problem, 0, t))
        step = problem.sample(solver="mrs-ode-d-1", nfe=1, spacing=[100.0, t])
        expected = (step - there).norm().item()
        assert _lengths(known, 2)[0, 0, k] == pytest.approx(expected, rel=1e-2)


def _fine(problem, start, end):
    process = problem.process
    lams = np.linspace(process.lam(100.0), process.lam(end), 201)
    return [100.0, *(process.time(lam) for lam in lams[1:-1]), end]


def test_a_path_of_more_steps_than_the_reference_has_is_refused(known):
    with pytest.raises(ValueError, match="1 to 24 steps"):
        shortest(known, 25)


@pytest.mark.parametrize("nfe", [1, 2, 6])
def test_with_zero_start_the_fitted_run_ends_with_the_predicted_x_0(nfe):
    problem = mixture_problem(MeanRevertingSDE(zero_start=True), count=64)
    times = optimise(problem, reference(problem, size=24), "mrs-ode-d-2", nfe, rounds=1)
    assert len(times) == nfe + 1 and (times[0], times[-1]) == (100.0, 0.0)
    steps = problem.trajectory(solver="mrs-ode-d-2", nfe=nfe, spacing=times)
    assert steps[-1].lam == math.inf and torch.equal(steps[-1].x, steps[-1].x0)
    from_T = [name for name in SPACINGS if name != "leading"]
    assert run(problem, nfe, times) <= min(run(problem, nfe, name) for name in from_T)
    if nfe == 1:
        with pytest.raises(ValueError, match="nothing to spread"):
            resample(problem.process, times, 9)
        return
    again = resample(problem.process, times, 9)
    assert len(again) == 10 and again[-1] == 0.0 and all(a > b for a, b in pairwise(again))


def test_growth_is_1_at_the_end(known):
    assert known.growth[-1] == 1.0 and (known.growth > 0).all()


@pytest.mark.parametrize("solver", ["mrs-ode-d-2", "unipc-bh2-d-2", "heun"])
def test_fitted_times_beat_every_hand_made_spacing_where_they_were_fitted(problem, known, solver):
    times = optimise(problem, known, solver, 8, rounds=2)
    fitted = run(problem, 8, times, solver)
    assert fitted < min(run(problem, 8, name, solver) for name in SPACINGS)


def test_they_are_better_from_other_starts_too(problem, known):
    times = optimise(problem, known, "mrs-ode-d-2", 8)
    other = mixture_problem(count=256)  # of which the fitted ones are a quarter
    assert run(other, 8, times) < 0.8 * min(run(other, 8, name) for name in SPACINGS)


def test_refining_never_makes_it_worse_and_counts_its_runs(problem):
    start = [node.t for node in timesteps(problem.process, 5, "blend")]
    runs = []
    times, error = refine(
        problem, "mrs-ode-d-2", 5, start, rounds=2, progress=lambda: runs.append(1)
    )
    assert error < run(problem, 5, start)
    assert error == pytest.approx(run(problem, 5, times), rel=1e-12)
    assert 2 * 4 <= len(runs) <= 2 * 4 * 2
    assert (times[0], times[-1]) == (100.0, 0.0)


@pytest.mark.parametrize("solver", ["posterior", "rk45", "euler-published"])
def test_a_solver_that_follows_no_grid_to_a_solution_is_refused(problem, known, solver):
    with pytest.raises(ValueError, match=solver):
        optimise(problem, known, solver, 100)


def bound_processes():
    for schedule in ("cosine", "linear", "constant"):
        for zero_start in (False, True):
            yield MeanRevertingSDE(schedule=schedule, zero_start=zero_start)
    yield MeanRevertingSDE(max_sigma=10, schedule="constant", zero_start=True)


@pytest.mark.parametrize("process", list(bound_processes()), ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 12])
def test_the_least_bound_is_a_spacing(process, steps):
    nodes = timesteps(process, steps, least_bound)
    assert len(nodes) == steps + 1 and nodes[0].t == 100.0
    assert nodes[-1].t == 0.0 and all(a.lam < b.lam for a, b in pairwise(nodes))


def test_the_least_bound_needs_a_finite_sigma():
    with pytest.raises(ValueError, match="sigma_inf"):
        timesteps(VESDE(), 5, least_bound)


def test_reference_products_are_inner_products_of_the_trajectory(problem, known):
    size = len(known.nodes)
    assert known.products.shape == (2 * size - 1, 2 * size - 1)
    start = (problem.x_T - problem.mu).square().sum().item()
    assert known.products[0, 0] == pytest.approx(start, rel=1e-12)
    end = problem.solution.square().sum().item()
    assert known.products[size - 1, size - 1] == pytest.approx(end, rel=1e-3)
    assert math.isfinite(known.products.sum()) and np.allclose(known.products, known.products.T)


def test_photos_are_cropped_degraded_by_the_tasks_in_turn_and_started_from_x_T():
    from mrsampler import TASKS, Denoiser
    from mrsampler.checkpoints import Checkpoint
    from mrsampler.problem import photo_problem
    from mrsampler.restorer import Restorer

    process = MeanRevertingSDE()
    denoiser = Denoiser(lambda x, mu, t, task: mu, "data")
    restorer = Restorer(Checkpoint("test", denoiser, process, TASKS, {}), torch.device("cpu"))
    photos = list(torch.rand(12, 3, 40, 48, generator=torch.Generator().manual_seed(0)))
    problem = photo_problem(restorer, photos, side=32)
    assert problem.mu.shape == (12, 3, 32, 32)
    assert problem.conditioning["task"].tolist() == [*range(10), 0, 1]
    spread = (problem.x_T - problem.mu).std().item()
    assert spread == pytest.approx(process.sigma_inf, rel=0.02)  # 37,000 draws: 5 errors of 0.4 %
    # This network's x_0 is mu itself: first order is exact.
    assert problem.error(problem.sample(solver="mrs-ode-d-1", nfe=1)) < 1e-3
    with pytest.raises(ValueError, match="at least 64 pixels"):
        photo_problem(restorer, photos)
    with pytest.raises(ValueError):
        photo_problem(restorer, [])


def light():
    """The bundled kind, small: what it reads has pixels of 1, 2 and 4 of the photo's."""
    from mrsampler import TASKS, Denoiser
    from mrsampler.checkpoints import Checkpoint
    from mrsampler.networks import LightDenoiser
    from mrsampler.restorer import Restorer

    torch.manual_seed(0)
    process, shape = MeanRevertingSDE(), {"channels": (8, 8), "blocks": (1, 1), "embedding": 8}
    network = LightDenoiser(process, {**shape, "blurred": (0,)}, **shape).requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    checkpoint = Checkpoint("test", Denoiser(network, "data"), process, TASKS, {})
    return Restorer(checkpoint, torch.device("cpu"))


def test_of_a_crop_the_network_is_told_what_it_reads_of_the_whole_photo_there():
    import mrsampler as mrs
    from mrsampler.problem import photo_problem

    restorer = light()
    photos = list(torch.rand(4, 3, 99, 81, generator=torch.Generator().manual_seed(0)))
    problem = photo_problem(restorer, photos, severity=0.6)
    told = problem.conditioning
    assert told["task"].tolist() == [0, 1, 2, 3] and told["estimate"].shape == (4, 3, 64, 64)
    assert told["level_0"].shape == (4, 8, 32, 32) and told["level_1"].shape == (4, 8, 16, 16)
    generator = torch.Generator().manual_seed(0)
    for i, photo in enumerate(photos):
        degraded = mrs.degrade(photo, mrs.TASKS[i], 0.6, generator)
        whole = restorer.conditioning(degraded, mrs.TASKS[i])
        top, left = (
            4 * int(torch.randint((n - 64) // 4 + 1, (), generator=generator))
            for n in photo.shape[1:]
        )
        assert torch.equal(problem.mu[i], degraded[:, top : top + 64, left : left + 64])
        for name, scale in (("estimate", 1), ("spread", 1), ("level_0", 2), ("level_1", 4)):
            rows, columns = (slice(a // scale, (a + 64) // scale) for a in (top, left))
            assert torch.equal(told[name][i], whole[name][0, :, rows, columns])
    assert problem.sample(nfe=2).shape == problem.mu.shape


def test_crops_whose_sides_the_networks_grid_does_not_divide_are_refused():
    from mrsampler.problem import photo_problem

    with pytest.raises(ValueError, match="side must be a multiple of 4, got 66"):
        photo_problem(light(), list(torch.rand(1, 3, 96, 80)), side=66)
