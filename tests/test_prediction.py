"""Noise against data prediction: what the network predicts and what the solver expands, apart."""

import csv
import json
import math
from statistics import fmean

import pytest
import torch
from PIL import Image

from mrsampler import Denoiser, MeanRevertingSDE, checkpoints, cli, convergence
from mrsampler.bench import prediction
from mrsampler.bench.prediction import (
    PARAMETERISATION,
    by_nfe,
    by_step,
    exact_case,
    measure,
    photo_case,
    plot,
)
from mrsampler.checkpoints import Checkpoint
from mrsampler.metrics import psnr, ssim
from mrsampler.networks import LightDenoiser
from mrsampler.restorer import Restorer
from mrsampler.solvers import SOLVERS

PROCESS = MeanRevertingSDE()
SPREAD = 0.1
TARGETS = ("noise", "data", "velocity")
SHAPE = {"channels": (8, 8), "blocks": (1, 1), "embedding": 16}


def variance(t):
    """Of every pixel of y_t."""
    return (PROCESS.alpha(t) * SPREAD) ** 2 + PROCESS.sigma(t) ** 2


class Normal:
    """A perfect network, where every pixel of x_0 - mu is drawn from N(0, SPREAD^2)."""

    def __init__(self, target):
        self.target = target
        self.calls = 0

    def __call__(self, x, mu, t, task):
        self.calls += 1
        alpha, sigma, scale = PROCESS.alpha(t), PROCESS.sigma(t), PROCESS.sigma_inf
        y = x - mu
        data = alpha * SPREAD**2 / variance(t) * y
        noise = (y - alpha * data) / sigma
        velocity = alpha * scale * noise - sigma / scale * data
        return {"data": data + mu, "noise": noise, "velocity": velocity}[self.target]


def restorer(target="velocity"):
    denoiser = Denoiser(Normal(target), target)
    checkpoint = Checkpoint(f"normal-{target}", denoiser, PROCESS, ("hazy", "noisy"), {})
    return Restorer(checkpoint, torch.device("cpu"))


def photo(seed=0, side=32):
    return torch.rand(3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def measured():
    """The runs and steps of one photo at 3 and 8 evaluations."""
    case = photo_case(restorer(), photo(), "noisy", 3)
    runs = list(measure(case, (3, 8)))
    return case, [row for row, _ in runs], [step for _, own in runs for step in own]


# --- what is measured ----------------------------------------------------------------------------


def test_both_parameterisations_of_both_equations_have_a_row_at_each_nfe(measured):
    _, rows, _ = measured
    assert [(row["solver"], row["nfe"]) for row in rows] == [
        (solver, nfe) for solver in PARAMETERISATION for nfe in (3, 8)
    ]
    for solver, parameterisation in PARAMETERISATION.items():
        assert (SOLVERS[solver].prediction, SOLVERS[solver].order) == (parameterisation, 2)


@pytest.mark.parametrize("nfe", [3, 8])
def test_a_row_is_that_of_the_solvers_run_from_the_cases_start(measured, nfe):
    case, rows, _ = measured
    for row in rows:
        if row["nfe"] != nfe:
            continue
        draws = torch.Generator().manual_seed(case.seed)
        run = case.problem.trajectory(solver=row["solver"], nfe=nfe, generator=draws)
        assert torch.equal(run[0].x, case.problem.x_T)
        assert row["psnr"] == psnr(run[-1].x[0], case.truth)
        assert row["ssim"] == ssim(run[-1].x[0], case.truth)


def test_the_error_is_the_distance_to_the_exact_solution(measured):
    case, rows, _ = measured
    problem = case.problem
    # The PF-ODE keeps quantiles: y_0 = sqrt(v_0 / v_T) y_T.
    y = (variance(0) / variance(PROCESS.T)) ** 0.5 * (problem.x_T - problem.mu)
    for row in rows:
        if SOLVERS[row["solver"]].stochastic:
            assert row["rmse"] is None
            continue
        x = problem.sample(solver=row["solver"], nfe=row["nfe"])
        expected = 255 * (x - problem.mu - y).square().mean().sqrt().item()
        # The reference itself is off by less than its uncertainty.
        assert row["rmse"] == pytest.approx(expected, abs=problem.uncertainty)
        assert row["rmse"] > 10 * problem.uncertainty


def test_the_convergence_is_that_of_what_the_solver_expands(measured):
    case, rows, steps = measured
    for row in rows:
        draws = torch.Generator().manual_seed(case.seed)
        run = case.problem.trajectory(solver=row["solver"], nfe=row["nfe"], generator=draws)
        expanded = PARAMETERISATION[row["solver"]]
        records = list(convergence(run, expanded, process=PROCESS, mu=case.problem.mu))
        own = [s for s in steps if (s["solver"], s["nfe"]) == (row["solver"], row["nfe"])]
        assert [s["step"] for s in own] == list(range(2, row["nfe"] + 1))
        for step, record in zip(own, records, strict=True):
            assert step["converges"] == record.fraction and step["radius"] == record.radius
            assert (step["lam"], step["gap"]) == (record.lam, record.gap)
        assert row["converges"] == fmean(step["converges"] for step in own)


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_perfect_network_predicts_makes_no_difference(measured, target):
    # The target is only a way of saying the same; the parameterisation changes the result.
    case, expected, _ = measured
    case = photo_case(restorer(target), photo(), "noisy", 3)
    for (row, _), same in zip(measure(case, (3, 8)), expected, strict=True):
        assert row["network"] == f"normal-{target}" and row["target"] == target
        # float32, its rounding amplified by sigma/alpha, 39 at T, where noise becomes data.
        assert row["psnr"] == pytest.approx(same["psnr"], abs=1e-3)
    psnrs = {row["solver"]: row["psnr"] for row in expected if row["nfe"] == 3}
    assert psnrs["mrs-ode-n-2"] != pytest.approx(psnrs["mrs-ode-d-2"], abs=0.01)


def test_the_evaluations_are_those_announced():
    case = photo_case(restorer(), photo(), "hazy", 0)
    list(measure(case, (2, 3)))
    assert case.problem.uncertainty > 0
    assert case.problem.denoiser.network.calls == prediction.cost((2, 3))


def test_a_run_of_one_evaluation_expands_nothing():
    for row, steps in measure(photo_case(restorer(), photo(), "hazy", 0), (1,)):
        assert steps == [] and row["converges"] is None


# --- the starts ----------------------------------------------------------------------------------


def test_a_photos_number_fixes_its_damage_its_start_and_its_draws():
    first, again = (photo_case(restorer(), photo(), "noisy", 3) for _ in range(2))
    other = photo_case(restorer(), photo(), "noisy", 4)
    for name in ("mu", "x_T"):
        assert torch.equal(getattr(first.problem, name), getattr(again.problem, name))
        assert not torch.equal(getattr(first.problem, name), getattr(other.problem, name))
    assert first.seed == again.seed != other.seed


def test_the_noise_of_the_start_is_not_that_of_the_photo():
    case = photo_case(restorer(), photo(), "noisy", 0)
    damage = (case.problem.mu[0] - case.truth).flatten()
    noise = (case.problem.x_T - case.problem.mu).flatten()
    correlation = torch.corrcoef(torch.stack([damage, noise]))[0, 1]
    assert abs(correlation) < 4 / math.sqrt(len(noise))  # four standard deviations of chance


def test_a_task_reaches_the_network_by_its_place_in_the_checkpoint():
    assert photo_case(restorer(), photo(), "noisy", 0).problem.conditioning == {"task": 1}


def test_over_the_exact_score_only_the_odes_have_anything_to_be_judged_by():
    runs = list(measure(exact_case(), (5, 20)))
    assert {row["solver"] for row, _ in runs} == {"mrs-ode-n-2", "mrs-ode-d-2"}
    for row, steps in runs:
        assert row["psnr"] is row["ssim"] is None
        assert row["rmse"] > 0 and len(steps) == row["nfe"] - 1


# --- means ---------------------------------------------------------------------------------------


def a_run(**values):
    return {"network": "a", "target": "noise", "solver": "s", "nfe": 5} | values


def test_the_mean_at_each_nfe_leaves_out_what_has_none():
    rows = [a_run(psnr=1.0), a_run(psnr=2.0), a_run(nfe=8, psnr=5.0), a_run(network="b", psnr=None)]
    assert by_nfe(rows, "psnr") == [
        {"network": "a", "target": "noise", "solver": "s", "5": 1.5, "8": 5.0}
    ]


def test_the_steps_of_all_runs_are_taken_together_and_an_infinite_radius_does_no_harm():
    steps = [
        a_run(step=2, lam=1.0, gap=0.5, radius=radius, converges=share)
        for radius, share in ((1.0, 0.25), (math.inf, 1.0), (3.0, 1.0))
    ]
    other = a_run(step=3, lam=2.0, gap=1.0, radius=2.0, converges=0.5)
    first, second = by_step([*steps, other])
    assert first == a_run(step=2, lam=1.0, gap=0.5, radius=3.0, converges=0.75)
    assert second == other


def test_the_plot_has_a_panel_for_quality_and_one_for_convergence(measured, tmp_path):
    _, rows, steps = measured
    plot(rows, steps, tmp_path / "prediction.svg")
    drawn = (tmp_path / "prediction.svg").read_text()
    assert drawn.startswith("<?xml") and drawn.count('<g id="axes_') == 2
    for colour in ("#0072b2", "#d55e00"):
        assert colour in drawn.lower()


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with two photos in "clean", and a network of each target beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clean").mkdir()
    for i in range(2):
        pixels = (photo(i, 40).permute(1, 2, 0) * 255).byte().numpy()
        Image.fromarray(pixels).save(tmp_path / "clean" / f"{i}.png")
    for target, tasks in (("data", ["hazy", "noisy"]), ("noise", ["noisy"])):
        torch.manual_seed(0)
        network = LightDenoiser(PROCESS, SHAPE, **SHAPE, target=target)
        card = {
            "architecture": "light-denoiser",
            "config": network.config,
            "target": target,
            "process": {"max_sigma": 50 / 255},
            "tasks": tasks,
        }
        checkpoints.save(tmp_path / f"{target}.safetensors", network, card)
    return tmp_path


def bench(*arguments):
    return cli.main(["bench", "prediction", "--images", "clean", *arguments])


def test_the_command_prints_and_writes_every_run_and_step(here, capsys):
    small = ["--nfe", "3", "5", "--largest-side", "32", "--tasks", "noisy", "--photos", "2"]
    names = ["--checkpoints", "data", "noise"]
    assert bench(*names, *small, "--out", "out.csv", "--plot", "out.svg") == 0
    printed = capsys.readouterr().out
    assert f"4 starts, {4 * prediction.cost((3, 5)):,} evaluations" in printed
    for title in ("PSNR in dB", "SSIM", "RMSE to the converged PF-ODE", "Share of pixels"):
        assert printed.count(title) == 1
    with (here / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Four solvers, two NFEs, two photos, two networks; two solvers over the exact score.
    assert len(rows) == 4 * 2 * 2 * 2 + 2 * 2
    assert {row["network"]: row["target"] for row in rows} == {
        "exact score": "any",
        "data": "data",
        "noise": "noise",
    }
    mean = fmean(
        float(row["psnr"])
        for row in rows
        if (row["network"], row["solver"], row["nfe"]) == ("noise", "mrs-sde-n-2", "3")
    )
    line = next(x for x in printed.splitlines() if x.startswith("| noise ") and "sde-n" in x)
    assert f" {mean:.2f} |" in line  # the first table is that of PSNR
    with (here / "out-steps.csv").open(newline="") as file:
        steps = list(csv.DictReader(file))
    assert len(steps) == (2 + 4) * (4 * 2 + 2)  # 2 and 4 steps each, of 4 solvers and of 2
    assert (here / "out.svg").read_text().startswith("<?xml")


def test_the_json_says_how_it_was_measured(here, capsys):
    small = ["--nfe", "3", "--largest-side", "32", "--tasks", "noisy"]
    assert bench("--checkpoints", "noise", *small, "--out", "out.json") == 0
    written = json.loads((here / "out.json").read_text())
    settings = written["settings"]
    assert settings["checkpoints"] == ["noise"] and settings["nfe"] == [3]
    assert settings["uncertainty"] > 0
    assert written["rows"][-1]["task"] == "noisy" and written["rows"][-1]["photo"] == 0


def test_without_a_choice_it_takes_a_bundled_network_of_each_target(here, monkeypatch, capsys):
    for name in ("data", "noise"):
        card = json.loads((here / f"{name}.json").read_text())
        (here / f"{name}.json").write_text(json.dumps(card | {"tasks": ["noisy"]}))
        for suffix in (".json", ".safetensors"):
            twin = (here / f"{name}{suffix}").read_bytes()
            (here / f"z-{name}{suffix}").write_bytes(twin)
    monkeypatch.setattr(checkpoints, "_HOMES", (here,))
    assert bench("--nfe", "2", "--largest-side", "32", "--tasks", "noisy") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2 starts,")
    assert "| data" in printed and "| noise" in printed and "z-" not in printed


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ("--checkpoints nothing", "no checkpoint 'nothing'"),
        ("--checkpoints data noise --tasks hazy", "noise was not trained on hazy"),
        ("--checkpoints data --tasks foggy", "unknown task 'foggy'"),
        ("--checkpoints data", "data was not trained on motion-blurry"),
        ("--checkpoints data --nfe 0", "--nfe"),
        ("--checkpoints data --images nowhere", "nowhere: there is no such folder"),
        ("--checkpoints data --images .", "holds no picture"),
        ("--checkpoints data --out out.txt", "out.txt"),
        ("--checkpoints data --plot out.pdf", "out.pdf: expected a file that ends in"),
        ("--checkpoints data --plot nowhere/out.png", "there is no folder nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(here, capsys, arguments, reason):
    assert bench(*arguments.split()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and reason in lines[0]


def test_a_network_that_is_not_finite_is_one_line(here, capsys):
    network = LightDenoiser(PROCESS, SHAPE, **SHAPE)
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, math.nan)
    card = json.loads((here / "noise.json").read_text())
    checkpoints.save(here / "broken.safetensors", network, card)
    assert bench("--checkpoints", "broken", "--tasks", "noisy", "--nfe", "2") == 2
    assert "the converged solution is not finite" in capsys.readouterr().err
