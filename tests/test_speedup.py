"""From how many evaluations quality is stable: the rule, the plan, the runs and the command."""

import csv
import json
import math
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from mrsampler import (
    SPACINGS,
    TASKS,
    Denoiser,
    MeanRevertingSDE,
    checkpoints,
    cli,
    degrade,
    trajectory,
)
from mrsampler.bench import controls, stable
from mrsampler.bench.speedup import (
    CONVERGED_ODE,
    CONVERGED_SDE,
    GRAIN,
    INPUT,
    ONE,
    READER,
    Run,
    Speedup,
    key,
)
from mrsampler.bench.speedup_figure import plot
from mrsampler.bench.speedup_plan import MR_SAMPLERS, NFES, PUBLISHED, RIVALS, Plan
from mrsampler.bench.stable import compare, fewest, races, ratios, solved
from mrsampler.bench.yardstick import MEASURES, Yardstick, better
from mrsampler.metrics import SlicedWasserstein, psnr, rmse, ssim, st_lpips
from mrsampler.networks import LightDenoiser
from mrsampler.restorer import Reading, Restorer, load

# --- the rule, on rows made by hand

GOOD = {"psnr": 24.0, "alex": 0.05, "vgg": 0.1, "swd": 0.2}
"""A converged family's; that of one evaluation is a whole dB and half the distance away."""
BLURRED = {"psnr": 25.0, "alex": 0.075, "vgg": 0.15, "swd": 0.3}


def row(run, *, seed=0, task="noisy", rmse=None, **values):
    return {"seed": seed, "task": task} | run._asdict() | GOOD | values | {"rmse": rmse}


def fixed(*, seed=0, task="noisy", **reference):
    """One evaluation and both references."""
    return [
        row(ONE, seed=seed, task=task, **BLURRED),
        row(CONVERGED_SDE, seed=seed, task=task, **reference),
        row(CONVERGED_ODE, seed=seed, task=task, rmse=0.0, **reference),
    ]


def ode(nfe, solver="mrs-ode-d-2", spacing="uniform-lambda"):
    return Run(solver, spacing, nfe)


def only(rows):
    (found,) = compare(rows)
    return found


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("side", [-1, 1])
def test_stable_is_within_5_percent_of_the_way_from_one_evaluation_on_either_side(measure, side):
    way = BLURRED[measure] - GOOD[measure]
    for share, is_stable in ((0.04, True), (0.06, False)):
        value = GOOD[measure] + side * share * way
        it = only([*fixed(), row(ode(5), **{measure: value})])
        assert it.stable == is_stable
        assert it.worst == pytest.approx(share / 0.05)
        assert it.gaps[measure].difference == pytest.approx(side * share * way)


def test_to_be_better_than_the_reference_by_one_measure_is_no_stable_quality():
    sharper = row(ode(5), alex=0.5 * GOOD["alex"])
    blurrier = row(ode(8), psnr=BLURRED["psnr"])
    assert not any(it.stable for it in compare([*fixed(), sharper, blurrier]))


def test_a_task_where_one_evaluation_is_as_good_is_stable_from_one_on():
    rows = [r for seed in (0, 1) for r in fixed(seed=seed, psnr=24.0 + 0.2 * seed)]
    near = {name: GOOD[name] for name in MEASURES} | {"psnr": 24.15}
    rows = [r | near if r["solver"] == ONE.solver else r for r in rows]
    rows += [row(ode(1), seed=seed, **near) for seed in (0, 1)]
    # The reference is 24.1 with a standard error of 0.1; all else is equal.
    (race,) = races(compare(rows))
    assert race.ours == ode(1)


def test_what_chance_does_to_the_reference_is_allowed_and_more_of_it_to_what_shares_no_draw():
    levels = [23.6, 24.0, 24.4]  # a standard error of 0.4 / sqrt(3)
    error = 0.4 / math.sqrt(3)
    for run, allowed in (
        (ode(5), error),
        (Run("posterior", "uniform-t", 5), error * 2 * math.sqrt(2)),
    ):
        for shift, is_stable in ((0.95 * allowed, True), (1.05 * allowed, False)):
            rows = [r for seed, level in enumerate(levels) for r in fixed(seed=seed, psnr=level)]
            rows += [row(run, seed=seed, psnr=x - shift) for seed, x in enumerate(levels)]
            it = only(rows)
            assert it.gaps["psnr"].allowed == pytest.approx(allowed)
            assert it.stable == is_stable


def test_each_family_is_measured_by_its_own_limit():
    rows = [*fixed(), row(ode(5)), row(Run("posterior", "uniform-t", 5))]
    rows[2] |= {"psnr": 20.0}  # the PF-ODE's
    by_solver = {it.run.solver: it.stable for it in compare(rows)}
    assert by_solver == {"mrs-ode-d-2": False, "posterior": True}


def test_a_spacing_that_was_only_screened_is_not_compared():
    rows = [r for seed in (0, 1) for r in fixed(seed=seed)]
    rows += [row(ode(5)), row(ode(5, spacing="blend")), row(ode(5, spacing="blend"), seed=1)]
    assert only(rows).run.spacing == "blend"
    assert compare([row(ode(5))]) == [], "and nothing without a reference"


def test_the_headline_is_the_fewest_of_each_on_its_best_spacing_and_their_ratio():
    rows = fixed()
    rows += [row(ode(n), psnr=20.0) for n in (1, 2, 3, 5)]
    rows += [row(ode(5, spacing="karras")), row(ode(8)), row(ode(5, "euler"), psnr=20.0)]
    rows += [row(ode(50, "euler")), row(Run("posterior", "blend", 20))]
    rows += [row(Run("posterior-published", "uniform-t", 2))]
    compared = compare(rows)
    (race,) = races(compared)
    assert race.ours == ode(5, spacing="karras")
    assert race.rival == Run("posterior", "blend", 20), "as published is no rival"
    assert race.ratio == 4
    assert fewest(compared) == [
        {"solver": "mrs-ode-d-2", "median": 5, "noisy": 5},
        {"solver": "posterior", "median": 20, "noisy": 20},
        {"solver": "euler", "median": 50, "noisy": 50},
        {"solver": "posterior-published", "median": 2, "noisy": 2},
    ]
    times = {line["solver"]: line["noisy"] for line in ratios(compared)}
    assert times == {"posterior": 4, "euler": 10, "posterior-published": 0.4}


def test_who_never_gets_there_is_counted_as_such():
    rows = []
    for task, ours, rival in zip(TASKS, (5, None, 10, None), (None, 20, 20, None), strict=False):
        rows += fixed(task=task)
        rows += [row(ode(ours or 3), task=task, psnr=24.0 if ours else 0.0)]
        rows += [row(ode(rival or 3, "euler"), task=task, psnr=24.0 if rival else 0.0)]
    found = races(compare(rows))
    assert [race.ratio for race in found] == [math.inf, 0, 2, None]
    assert stable.median_ratio(found) == 2, "of those where anyone does"
    assert {line["solver"]: line["median"] for line in fewest(compare(rows))} == {
        "mrs-ode-d-2": None,
        "euler": None,
    }


def test_solved_is_within_2_of_255_root_mean_square_over_the_seeds():
    rows = [row(ode(5), seed=seed, rmse=error) for seed, error in ((0, 1.0), (1, 2.7))]
    rows += [row(ode(8), seed=seed, rmse=error) for seed, error in ((0, 1.0), (1, 2.6))]
    rows += [row(ode(20), seed=seed, task="hazy", rmse=1.9) for seed in (0, 1)]
    rows += [row(ode(2, spacing="karras"), rmse=0.1), row(ode(100, "euler"), rmse=0.5)]
    rows += [row(Run("mrs-sde-d-2", "blend", 3)), row(CONVERGED_ODE, rmse=0.0)]
    # (1 + 2.7^2)/2 > 4 > (1 + 2.6^2)/2; karras was measured on one seed of two.
    assert solved(rows) == [
        {"solver": "mrs-ode-d-2", "median": 14, "noisy": 8, "hazy": 20},
        {"solver": "euler", "median": None},
    ]


# --- the rule, where the posterior is known

DEVIATION = 0.08  # of what the damage has taken away: blocks of 4 x 4 pixels, Gaussian


def blocks(x):
    return F.interpolate(F.avg_pool2d(x, 4), scale_factor=4)


def exact(process):
    """D is constant on each block: the block's mean of y says all, sixteen times as surely."""

    def network(x, mu, t):
        alpha, sigma = process.alpha(t), process.sigma(t)
        gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2 / 16)
        return mu + gain * blocks(x - mu)

    return Denoiser(network, "data")


def drawn(seed, side, scale):
    noise = torch.randn(1, 3, side // scale, side // scale, generator=seeded(seed))
    return F.interpolate(noise, scale_factor=scale)[0]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def gaussian():
    """Comparisons by name of what is done to two photos whose posterior is known, on four seeds."""
    side, process = 64, MeanRevertingSDE()
    y, x = torch.linspace(0, 5, side)[:, None], torch.linspace(0, 6, side)
    means = [(0.5 + 0.2 * torch.sin(x + y + i)).expand(3, side, side) for i in range(2)]
    truths = [mean + DEVIATION * drawn(100 + i, side, 4) for i, mean in enumerate(means)]
    yardstick, denoiser, rows = Yardstick(truths), exact(process), []

    def sampled(seed, solver, nfe, spacing="uniform-t"):
        ends = []
        for i, mean in enumerate(means):
            settings = {"solver": solver, "nfe": nfe, "spacing": spacing}
            generator = seeded(10 * seed + i)
            *_, last = trajectory(
                denoiser, mean[None], process=process, generator=generator, **settings
            )
            ends.append(last)
        return ends

    def grainy(seed, tau):
        return [
            mean + tau * DEVIATION * drawn(999 + 10 * seed + i, side, 1)
            for i, mean in enumerate(means)
        ]

    for seed in range(4):
        made = {
            ONE: [end.x0[0] for end in sampled(seed, "mrs-ode-d-1", 1)],
            CONVERGED_SDE: [end.x[0] for end in sampled(seed + 50, "posterior", 200)],
            # As if a stochastic sampler had made them:
            Run("posterior", "sampled", 100): [end.x[0] for end in sampled(seed, "posterior", 50)],
            Run("posterior", "blur", 100): means,
            Run("posterior", "half", 100): grainy(seed, 0.5),
            Run("posterior", "grain", 100): grainy(seed, 1.0),
        }
        rows += [row(run, seed=seed, **yardstick(images)) for run, images in made.items()]
    return {it.run.spacing: it for it in compare(rows)}


def test_other_samples_of_the_posterior_are_of_stable_quality(gaussian):
    assert gaussian["sampled"].stable


def test_blur_fails_although_its_psnr_is_the_best(gaussian):
    blur = gaussian["blur"]
    assert not blur.stable
    # The mean of a posterior is 3 dB above its samples.
    assert blur.gaps["psnr"].difference == pytest.approx(10 * math.log10(2), abs=0.5)
    assert all(blur.gaps[name].difference > 0 for name in ("alex", "vgg", "swd"))


@pytest.mark.parametrize("size", ["half", "grain"])
def test_grain_fails_although_it_buys_some_of_the_measures(gaussian, size):
    assert not gaussian[size].stable
    blur = gaussian["blur"]
    for name in ("alex", "vgg"):
        assert gaussian[size].gaps[name].difference < blur.gaps[name].difference, "it buys these"


def test_grain_of_the_right_psnr_is_given_away_by_the_other_measures(gaussian):
    # White noise of the posterior's spread is as far from the truth, pixel by pixel, as a sample.
    gaps = gaussian["grain"].gaps
    assert gaps["psnr"].ratio < 1.5 and gaps["swd"].ratio > 5 and gaps["vgg"].ratio > 2


# --- what is measured


def units(plan, rows=()):
    return plan.screening(), plan.measuring(rows)


def test_all_samplers_are_measured_at_one_grid_of_evaluations_on_all_seeds():
    _, measured = units(Plan(("noisy", "hazy"), seeds=2))
    assert len(measured) == len(set(measured))
    for solver in MR_SAMPLERS + RIVALS + PUBLISHED:
        own = [(seed, task, run.nfe) for seed, task, run in measured if run.solver == solver]
        assert own == [(s, task, n) for s in (0, 1) for task in ("noisy", "hazy") for n in NFES]


def test_spacings_are_screened_on_the_first_seed_at_some_evaluations():
    screened, _ = units(Plan(("noisy",), seeds=3))
    assert {seed for seed, _, _ in screened} == {0}
    own = [run for _, _, run in screened if run.solver == "posterior"]
    assert own == [Run("posterior", spacing, n) for n in (3, 5, 10) for spacing in SPACINGS]
    assert not [run for _, _, run in screened if run.solver in PUBLISHED], "these have no choice"


def test_each_goes_on_with_the_spacing_that_came_nearest_at_the_next_nfe_task_by_task():
    plan = Plan(("noisy", "hazy"), seeds=2, solvers=("mrs-ode-d-2",), spacings=("blend", "karras"))
    rows = []
    for task in plan.tasks:
        rows += fixed(task=task)
        for nfe in (3, 5, 10):
            best = "karras" if (task, nfe) == ("hazy", 10) else "blend"
            for spacing in plan.spacings:
                level = 24.0 if spacing == best else 24.5
                rows.append(row(ode(nfe, spacing=spacing), task=task, psnr=level))
    rows.append(row(ode(3, spacing="karras"), seed=1))  # of no screening
    chosen = {
        (task, run.nfe): run.spacing
        for seed, task, run in plan.measuring(rows)
        if run.solver == "mrs-ode-d-2" and seed == 1
    }
    assert {chosen["noisy", nfe] for nfe in NFES} == {"blend"}
    assert [n for n in NFES if chosen["hazy", n] == "karras"] == [8, 10, 20, 50, 100]


def test_fitted_times_are_measured_beside_the_spacings_wherever_the_card_has_some():
    fitted = {"mrs-ode-d-2": {"3": [100, 20, 5, 0], "7": [100, 0]}}
    _, measured = units(Plan(("noisy",), seeds=1, fitted=fitted))
    assert [run for _, _, run in measured if run.spacing == "optimised"] == [
        Run("mrs-ode-d-2", "optimised", 3)
    ]


def test_a_solver_is_not_asked_for_fewer_evaluations_than_it_needs():
    screened, measured = units(Plan(("noisy",), seeds=1, solvers=("pndm",)))
    assert {run.nfe for _, _, run in screened if run.solver == "pndm"} == {5, 10}
    assert [run.nfe for _, _, run in measured if run.solver == "pndm"] == [5, 8, 10, 20, 50, 100]


def test_the_controls_are_rows_where_there_is_a_reader():
    for reads in (False, True):
        (_, measured) = units(Plan(("noisy",), 1, controls=reads, posterior=300))
        runs = [run for _, _, run in measured]
        assert (READER in runs, GRAIN in runs) == (reads, reads)
        assert {INPUT, ONE, CONVERGED_ODE, CONVERGED_SDE._replace(nfe=300)} <= set(runs)


# --- the controls


def reading(seed=0, side=40):
    estimate = 0.5 + 0.1 * torch.sin(torch.linspace(0, 9, side)).expand(1, 3, side, side)
    return Reading(estimate, torch.full((1, 3, side, side), 0.1), torch.eye(3))


def test_grain_has_of_each_measure_the_best_that_any_amount_buys():
    flat = reading()
    truth = flat.estimate[0] + 0.1 * torch.randn(3, 40, 40, generator=seeded(5))
    yardstick = Yardstick([truth])
    found = controls.grain([flat], yardstick)
    # The truth is as grainy as d says: PSNR wants the least there is, the patches all of it.
    assert found["tau_psnr"] == min(controls.TAUS) and found["tau_swd"] == 1
    reader = yardstick([flat.estimate[0]])
    assert better("swd", found["swd"], reader["swd"])
    assert better("alex", found["alex"], reader["alex"])
    assert found == controls.grain([flat], yardstick)


def test_grain_is_of_the_colours_that_the_spread_is_told_in():
    seen = []
    own = reading()
    grey = torch.tensor([[1.0, 1, 1], [1, 1, -2], [1, -1, 0]])
    grey = grey / grey.norm(dim=1, keepdim=True)
    spread = torch.zeros(1, 3, 40, 40)
    spread[:, 0] = 0.1  # in grey alone
    controls.grain([Reading(own.estimate, spread, grey)], lambda images: seen.extend(images) or {})
    for image in seen:
        added = image - own.estimate[0]
        assert added.std() > 0.01
        torch.testing.assert_close(added, added.mean(0).expand_as(added), rtol=0, atol=1e-6)


def test_texture_moves_a_sample_between_the_reader_and_itself():
    own, sample = reading(), torch.rand(3, 40, 40, generator=seeded(1))
    assert torch.equal(controls.textured(sample, own, 0), own.estimate[0])
    torch.testing.assert_close(controls.textured(sample, own, 1), sample)
    half = controls.textured(sample, own, 0.5)
    torch.testing.assert_close(half, (sample + own.estimate[0]) / 2)


# --- the runs, with a network that is next to free


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Weights, and times fitted for one solver and NFE."""
    torch.manual_seed(0)
    shape = {"channels": (8, 8), "blocks": (1, 1), "embedding": 16}
    network = LightDenoiser(MeanRevertingSDE(), shape, **shape)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    card = {
        "architecture": "light-denoiser",
        "config": network.config,
        "target": "data",
        "process": {"max_sigma": 50 / 255, "schedule": "cosine", "num_steps": 100, "eps": 0.005},
        "tasks": list(TASKS),
        "timesteps": {"mrs-ode-d-1": {"3": [100.0, 60.0, 20.0, 0.0]}},
    }
    checkpoints.save(path, network, card)
    return str(path)


@pytest.fixture(autouse=True, scope="module")
def made():
    """Every call of a network, answered by a field that bends with x, mu, t and the task."""
    made = []

    def forward(self, x, mu, t, task, **told):
        made.append(t)
        return torch.sin(9 * (x - mu) + task).mul_(0.1 + t / 500).sub_(0.3 * mu)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LightDenoiser, "forward", forward)
        yield made


@pytest.fixture
def calls(made):
    """Grows by one with each call of a network."""
    made.clear()
    return made


def read_by(self, image, task):
    """A reader's: the photo a little brighter, uncertain everywhere alike."""
    return Reading(image[None] + 0.01, torch.full((1, 3, 1, 1), 0.05), torch.eye(3))


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.setattr(Restorer, "reading", read_by, raising=False)


@pytest.fixture
def no_reader(monkeypatch):
    monkeypatch.setattr(Restorer, "reading", lambda self, image, task: None)


def picture(seed=0, size=(40, 32)):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def photos(count):
    return [
        torch.from_numpy(np.array(picture(seed))).permute(2, 0, 1).float() / 255
        for seed in range(count)
    ]


POSTERIOR = CONVERGED_SDE._replace(nfe=20)
RUNS = [
    INPUT,
    ONE,
    CONVERGED_ODE,
    POSTERIOR,
    Run("mrs-ode-d-1", "uniform-lambda", 5),
    Run("posterior", "uniform-t", 5),
]


@pytest.fixture(scope="module")
def measured(checkpoint):
    """Two seeds of two photos."""
    restorer = load(checkpoint, "cpu")
    todo = [(seed, "noisy", run) for seed in (0, 1) for run in RUNS]
    return restorer, list(Speedup(restorer, photos(2)).rows(todo))


def restored(restorer, seed, **settings):
    """The last Step of each of the two photos."""
    ends = []
    for i, photo in enumerate(photos(2)):
        degraded = degrade(photo, "noisy", 0.5, seeded(i))
        *_, last = restorer.trajectory(degraded, "noisy", seed=2 * seed + i, **settings)
        ends.append(last)
    return ends


def test_a_row_is_what_the_restorer_gives_and_the_metrics_say(measured):
    restorer, rows = measured
    clean = photos(2)
    assert [key(row) for row in rows] == [(s, "noisy", run) for s in (0, 1) for run in RUNS]
    ours = [end.x[0] for end in restored(restorer, 1, solver="mrs-ode-d-1", nfe=5)]
    solution = [
        end.x[0] for end in restored(restorer, 1, solver="mrs-ode-d-3", nfe=200, spacing="blend")
    ]
    row = rows[len(RUNS) + 4]
    assert row["psnr"] == fmean(map(psnr, ours, clean))
    assert row["ssim"] == fmean(map(ssim, ours, clean))
    for trunk in ("alex", "vgg"):
        assert row[trunk] == fmean(map(partial(st_lpips, trunk=trunk), ours, clean))
    assert row["swd"] == SlicedWasserstein(clean)(ours)
    assert row["rmse"] == pytest.approx(255 * rmse(torch.stack(ours), torch.stack(solution)))
    assert row["seconds"] > 0


def test_one_evaluation_is_the_prediction_that_all_samplers_begin_with(measured):
    restorer, rows = measured
    for solver in ("mrs-ode-d-1", "posterior"):
        first = [end.x0[0] for end in restored(restorer, 0, solver=solver, nfe=1)]
        assert rows[1]["psnr"] == fmean(map(psnr, first, photos(2)))


def test_the_damage_is_the_same_on_every_seed_and_the_noise_is_not(measured):
    rows = measured[1]
    first, second = rows[: len(RUNS)], rows[len(RUNS) :]
    assert first[0]["psnr"] == second[0]["psnr"], "the input"
    assert all(a["psnr"] != b["psnr"] for a, b in zip(first[1:], second[1:], strict=True))


def test_only_what_follows_the_ode_has_an_error_to_its_solution(measured):
    rows = {row["solver"]: row for row in measured[1]}
    assert rows[CONVERGED_ODE.solver]["rmse"] == 0 < rows["mrs-ode-d-1"]["rmse"]
    assert rows["input"]["rmse"] is rows["posterior"]["rmse"] is rows[ONE.solver]["rmse"] is None
    assert rows["input"]["seconds"] == 0


def test_a_part_measured_alone_is_the_same_so_that_a_run_can_go_on(measured):
    restorer, rows = measured
    bench = Speedup(restorer, photos(2))
    for i in (5, 4, -2):
        (alone,) = bench.rows([key(rows[i])])
        assert alone | {"seconds": 0} == rows[i] | {"seconds": 0}


def test_the_progress_is_the_evaluations_that_were_announced(measured, calls):
    told = []
    bench = Speedup(measured[0], photos(2), progress=told.append)
    todo = [(0, "hazy", run) for run in RUNS]
    announced = bench.evaluations(todo)
    list(bench.rows(todo))
    assert sum(told) == announced == 2 * (1 + 200 + 20 + 5 + 5) == len(calls) - 2, "two to warm up"
    assert bench.evaluations(todo) == announced - 2 * 200, "the solution is known by now"


def test_with_a_reader_its_photo_and_its_grain_are_rows(measured, reader):
    bench = Speedup(measured[0], photos(2))
    found = {row["solver"]: row for row in bench.rows([(0, "noisy", READER), (0, "noisy", GRAIN)])}
    damaged = [degrade(photo, "noisy", 0.5, seeded(i)) for i, photo in enumerate(photos(2))]
    expected = Yardstick(photos(2))([image + 0.01 for image in damaged])
    assert found["reader"]["alex"] == pytest.approx(expected["alex"])
    assert found["grain"]["tau_psnr"] in controls.TAUS
    assert found["grain"]["rmse"] is None and found["grain"]["nfe"] == 0


def test_texture_0_makes_every_sample_the_readers_photo(measured, reader):
    runs = [READER, ONE, CONVERGED_ODE, Run("posterior", "uniform-t", 5)]
    bench = Speedup(measured[0], photos(2), texture=0)
    rows = list(bench.rows([(0, "noisy", run) for run in runs]))
    assert len({round(row["psnr"], 6) for row in rows}) == 1


def test_the_figure_has_a_line_for_each_sampler_and_a_row_for_each_task(tmp_path):
    rows = []
    for task in TASKS[:2]:
        rows += fixed(task=task)
        rows += [row(ode(nfe), task=task, psnr=24 + 1 / nfe) for nfe in (3, 5, 100)]
        rows += [row(ode(5, "heun"), task=task, psnr=-40.0), row(ode(50, "euler"), task=task)]
        rows += [row(Run("posterior-published", "uniform-t", 10), task=task, psnr=3.0)]
    plot(rows, tmp_path / "speedup.svg")
    drawn = (tmp_path / "speedup.svg").read_text()
    for text in ("mrs-ode-d-2", "posterior-published", "euler", "heun", "best rival", *TASKS[:2]):
        assert f"<!-- {text} -->" in drawn
    assert drawn.count('<g id="axes_') == 2


# --- the command


@pytest.fixture
def argv(tmp_path, monkeypatch, checkpoint):
    monkeypatch.chdir(tmp_path)
    Path("clean").mkdir()
    for i in range(2):
        picture(i).save(f"clean/{i}.png")
    own = ["--photos", "1", "--seeds", "2", "--tasks", "noisy", "--solvers", "mrs-ode-d-1"]
    own += ["--posterior", "20", "--spacings", "blend", "uniform-lambda", "--screen", "5"]
    return ["bench", "speedup", "--images", "clean", "--checkpoint", checkpoint, *own]


# A seed: one evaluation, the solution, the posterior, the grid (199) and once on fitted times; on
# the first seed the spacing that is not chosen besides.
CALLS, SCREENING = 1 + 200 + 20 + 199 + 3, 5
ROWS = 6 + 9 + 1


def read(name):
    """The rows of a table on disk, without their times, by what they measure."""
    if name.endswith(".json"):
        rows = json.loads(Path(name).read_text())["rows"]
    else:
        with open(name, newline="") as file:
            rows = list(csv.DictReader(file))
    return [{k: str(v) if v is not None else "" for k, v in row.items()} for row in rows]


def untimed(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.parametrize("out", ["table.csv", "table.json"])
def test_a_run_that_was_stopped_goes_on_where_it_was(argv, calls, capsys, monkeypatch, out):
    assert cli.main([*argv, "--out", f"whole-{out}"]) == 0
    whole = capsys.readouterr().out
    assert len(calls) == 2 * CALLS + SCREENING + 1, "one to warm up"

    calls.clear()
    forward = LightDenoiser.forward

    def stopped(*args, **kwargs):
        if len(calls) == 600:
            raise KeyboardInterrupt
        return forward(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(LightDenoiser, "forward", stopped)
        assert cli.main([*argv, "--out", out]) == 130
    done = len(read(out))
    assert ROWS < done < 2 * ROWS
    calls.clear()
    capsys.readouterr()
    assert cli.main([*argv, "--out", out]) == 0
    assert 0 < len(calls) < CALLS + 1, "the first seed is not run again"
    assert untimed(read(out)) == untimed(read(f"whole-{out}"))
    assert len(read(out)) == 2 * ROWS + 1
    assert len(cells_of(capsys.readouterr().out)[0]) == 2 * ROWS + 1 - done

    calls.clear()
    assert cli.main([*argv, "--out", out, "--plot", "figure.svg"]) == 0
    assert calls == [], "all is there"
    again = capsys.readouterr().out
    first, second = (text[text.index("What sampling is worth") :] for text in (whole, again))
    assert second == first + "wrote figure.svg\n"
    assert Path("figure.svg").read_text().startswith("<?xml")


def test_more_seeds_and_tasks_are_added_to_what_is_there(argv, calls):
    assert cli.main([*argv, "--seeds", "1", "--out", "table.csv"]) == 0
    once = read("table.csv")
    calls.clear()
    assert cli.main([*argv, "--tasks", "noisy", "hazy", "--seeds", "1", "--out", "table.csv"]) == 0
    assert len(calls) == CALLS + SCREENING + 1
    rows = read("table.csv")
    assert rows[: len(once)] == once
    assert [row["task"] for row in rows] == ["noisy"] * (ROWS + 1) + ["hazy"] * (ROWS + 1)
    assert {row["checkpoint"] for row in rows} == {"tiny"} and {row["photos"] for row in rows} == {
        "1"
    }


def test_the_summary_says_what_the_rows_say(argv, capsys):
    assert cli.main([*argv, "--out", "table.json"]) == 0
    out = capsys.readouterr().out
    rows = json.loads(Path("table.json").read_text())["rows"]
    compared = compare(rows)
    screened, more, worth, good, times, best, near = cells_of(out)
    assert len(screened) + len(more) == len(rows) == 2 * ROWS + 1
    assert [float(cells[5]) for cells in screened + more] == [round(r["psnr"], 2) for r in rows]
    assert [cells[1] for cells in worth] == [
        "input",
        "one evaluation",
        "reader",
        "grain",
        "converged PF-ODE",
        "converged posterior",
    ]
    both = [r["alex"] for r in rows if r["solver"] == "one evaluation"]
    assert float(worth[1][4]) == pytest.approx(fmean(both), abs=5e-5)
    assert [cells[0] for cells in good] == [r["solver"] for r in fewest(compared)]
    assert [cells[0] for cells in times] == [r["solver"] for r in ratios(compared)]
    assert [cells[0] for cells in best] == ["noisy"]
    assert [cells[0] for cells in near] == [r["solver"] for r in solved(rows)]


def test_without_a_reader_there_are_no_controls_and_the_summary_says_so(argv, capsys, no_reader):
    assert cli.main([*argv, "--seeds", "1"]) == 0
    out = capsys.readouterr().out
    worth = cells_of(out)[2]
    assert [cells[1] for cells in worth][:3] == ["input", "one evaluation", "converged PF-ODE"]
    assert "No rows of reader and grain: tiny has no reader." in out
    line = refused(capsys, *argv, "--texture", "0.5")
    assert "--texture: tiny has no reader to move towards" in line


def test_where_one_evaluation_is_as_good_the_summary_says_so(argv, capsys, monkeypatch, no_reader):
    monkeypatch.setattr(stable, "NEAR", 1.2)  # the whole way is near, and what one step draws
    assert cli.main([*argv, "--seeds", "1"]) == 0
    assert "One evaluation is as good as sampling on: noisy." in capsys.readouterr().out


def cells_of(out):
    """The cells of each Markdown table, without its head."""
    tables = []
    for before, line in zip(["", *out.splitlines()], out.splitlines(), strict=False):
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append([])
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [table[2:] for table in tables]


def refused(capsys, *argv):
    """The one line with which the command refuses."""
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


def test_rows_of_other_settings_are_never_mixed(argv, capsys, checkpoint, tmp_path):
    assert cli.main([*argv, "--seeds", "1", "--out", "table.csv"]) == 0
    capsys.readouterr()
    before = Path("table.csv").read_text()
    line = refused(capsys, *argv, "--out", "table.csv", "--severity", "0.7", "--photos", "2")
    assert "photos 1, not 2" in line and "severity 0.5, not 0.7" in line

    # The same name, but trained on.
    network = load(checkpoint, "cpu").checkpoint.denoiser.network
    next(network.parameters()).add_(0.1)
    checkpoints.save(tmp_path / "tiny.safetensors", network, checkpoints.read_card(checkpoint))
    at = argv.index("--checkpoint") + 1
    line = refused(capsys, *argv[:at], "tiny", *argv[at + 1 :], "--out", "table.csv")
    assert "weights" in line and "fitted" not in line

    picture(7, (48, 48)).save("clean/0.png")
    assert "pictures" in refused(capsys, *argv, "--out", "table.csv")
    assert Path("table.csv").read_text() == before


def test_a_file_of_something_else_is_not_written_over(argv, capsys):
    for name, text in {
        "notes.json": "my notes",
        "list.json": "[1, 2]",
        "half.json": '{"settings": {}, "rows": [{"task": "noisy"}]}',
        "other.csv": "task,degraded\nnoisy,20.1\n",
    }.items():
        Path(name).write_text(text)
        assert f"{name}: not a table of this command" in refused(capsys, *argv, "--out", name)
        assert Path(name).read_text() == text


@pytest.mark.parametrize(
    "options, says",
    [
        ("--tasks rusty", "tiny does not know rusty; choose from motion-blurry, hazy"),
        ("--solvers magic", "unknown solver 'magic'"),
        ("--solvers rk45", "rk45 follows no grid"),
        ("--solvers langevin", "langevin follows no grid on this process"),
        ("--spacings blend magic", "unknown spacing 'magic'; choose from uniform-lambda"),
        ("--screen 4", "--screen 4: choose from 1, 2, 3, 5"),
        ("--texture 2", "--texture: expected"),
        ("--plot figure.pdf", "figure.pdf: expected a file that ends in .png or .svg"),
        ("--plot nowhere/figure.png", "there is no folder nowhere"),
        ("--out table.txt", "table.txt: expected a file that ends in .csv or .json"),
        ("--images nowhere", "nowhere: there is no such folder"),
        ("--images .", ". holds no picture"),
        ("--photos 0", "--photos: expected a whole number from 1"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_run(argv, capsys, calls, options, says):
    assert says in refused(capsys, *argv, *options.split())
    assert calls == []
