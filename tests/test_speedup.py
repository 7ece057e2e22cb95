"""How many evaluations are as good as the reference's: the comparison, the runs and the command."""

import csv
import json
import math
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from PIL import Image

from mrsampler import TASKS, MeanRevertingSDE, checkpoints, cli, degrade
from mrsampler.bench.speedup import (
    BASELINES,
    CONVERGED,
    FAST,
    INPUT,
    REFERENCE,
    Run,
    best,
    compare,
    evaluations,
    fewest,
    key,
    plan,
    solved,
    speedup,
)
from mrsampler.bench.speedup_figure import plot
from mrsampler.metrics import SlicedWasserstein, psnr, rmse, ssim
from mrsampler.networks import LightDenoiser
from mrsampler.restorer import load

# --- what is measured


def test_the_plan_is_the_issues():
    planned = plan(fitted={"mrs-ode-d-2": {"3": [100, 20, 5, 0], "7": [100, 0]}})
    assert planned[:3] == [INPUT, REFERENCE, CONVERGED]
    by_solver: dict[str, dict[str, list[int]]] = {}
    for solver, spacing, nfe in [REFERENCE, *planned[3:]]:
        by_solver.setdefault(solver, {}).setdefault(spacing, []).append(nfe)
    assert set(by_solver) == set(BASELINES + FAST)
    for name in BASELINES:
        assert {k: sorted(v) for k, v in by_solver[name].items()} == {
            "uniform-t": [5, 10, 20, 50, 100]
        }
    for name in FAST:
        assert by_solver[name]["uniform-lambda"] == [3, 5, 8, 10, 20]
    assert by_solver["mrs-ode-d-2"]["optimised"] == [3], "only where the card has its times"
    assert len(planned) == len(set(planned))


def test_another_spacing_is_for_those_that_are_no_baseline():
    planned = plan(spacing="blend")
    assert {run.spacing for run in planned if run.solver in BASELINES} == {"uniform-t"}
    assert {run.spacing for run in planned if run.solver in FAST} == {"blend"}
    assert REFERENCE in planned


def test_a_solver_is_not_asked_for_fewer_evaluations_than_it_needs():
    assert [run.nfe for run in plan(["pndm"]) if run.solver == "pndm"] == [5, 8, 10, 20]


def test_the_evaluations_of_a_plan_count_the_solution_once_and_only_where_it_is_needed():
    assert evaluations([INPUT, REFERENCE]) == 100
    assert evaluations([CONVERGED, Run("euler", "uniform-t", 5)]) == 205
    # The default for a photo and task: 3 x 185, 5 x 46 and the solution's 200.
    assert evaluations(plan()) == 985


# --- the comparison, on rows made by hand


def row(solver, nfe, *, seed=0, task="noisy", spacing=None, psnr=25.0, swd=0.2, rmse=None):
    usual = "uniform-t" if solver in BASELINES else "uniform-lambda"
    made = {"seed": seed, "task": task, "solver": solver, "spacing": spacing or usual, "nfe": nfe}
    return made | {"psnr": psnr, "swd": swd, "rmse": rmse, "seconds": nfe / 20 + 1}


def reference(**values):
    return row("posterior", 100, **values)


def only(rows, solver):
    (found,) = (it for it in compare(rows) if it.run.solver == solver)
    return found


@pytest.mark.parametrize(
    "decibels, swd, as_good, short_of",
    [
        (25.0, 0.2, True, ""),
        (24.91, 0.2099, True, ""),
        (24.89, 0.1, False, "PSNR"),
        (40.0, 0.2101, False, "SWD"),
        (20.0, 0.3, False, "PSNR, SWD"),
    ],
)
def test_as_good_is_within_a_tenth_of_a_decibel_and_5_percent_both(
    decibels, swd, as_good, short_of
):
    it = only([reference(), row("mrs-ode-d-2", 5, psnr=decibels, swd=swd)], "mrs-ode-d-2")
    assert (it.as_good, it.short_of) == (as_good, short_of)
    assert (it.shortfall <= 1) == as_good
    assert not it.clearly, "a single seed says nothing about chance"


def test_runs_are_compared_within_a_seed_so_that_what_differs_between_seeds_cancels():
    rows = []
    for seed, (level, texture) in enumerate([(20.0, 0.1), (30.0, 0.4), (26.0, 0.3)]):
        rows.append(reference(seed=seed, psnr=level, swd=texture))
        rows.append(
            row("euler", 10, seed=seed, psnr=level - 0.05, swd=texture * (1.01 + 0.01 * seed))
        )
    it = only(rows, "euler")
    assert it.psnr == pytest.approx(-0.05) and it.psnr_error == pytest.approx(0, abs=1e-12)
    assert it.swd == pytest.approx(1.02)
    assert it.swd_error == pytest.approx(stdev([1.01, 1.02, 1.03]) / math.sqrt(3))
    assert it.as_good and it.clearly
    assert it.fewer == 10 and it.faster == pytest.approx(6 / 1.5)


def test_a_verdict_within_the_standard_error_is_not_a_clear_one():
    rows = [reference(seed=seed) for seed in (0, 1)]
    rows += [row("euler", 10, seed=seed, swd=0.2 * ratio) for seed, ratio in ((0, 0.9), (1, 1.15))]
    it = only(rows, "euler")
    assert it.as_good and not it.clearly


def test_the_speedup_in_seconds_is_of_medians_that_a_busy_moment_does_not_move():
    rows = [reference(task=task, seed=seed) for task in TASKS[:3] for seed in (0, 1)]
    rows += [row("euler", 10, task=task, seed=seed) for task in TASKS[:3] for seed in (0, 1)]
    usual = {it.faster for it in compare(rows) if it.run.nfe == 10}
    for busy in (rows[0], rows[7]):
        busy["seconds"] *= 40
    assert {it.faster for it in compare(rows) if it.run.nfe == 10} == usual == {6 / 1.5}


def test_a_seed_without_its_reference_is_left_out():
    rows = [reference(), row("euler", 5), row("euler", 5, seed=1, psnr=0.0)]
    assert only(rows, "euler").psnr == 0
    assert compare([row("euler", 5)]) == []
    assert compare([reference(), row("input", 0)])[0].run == REFERENCE, "the input is no run"


def test_the_best_is_the_run_of_fewest_evaluations_that_is_as_good():
    rows = [reference(), reference(task="hazy"), reference(task="rainy")]
    rows += [row("mrs-ode-d-2", 3, psnr=20.0), row("mrs-ode-d-2", 8), row("mrs-ode-d-2", 5)]
    rows += [row("mrs-sde-d-2", 5, swd=0.19)]
    rows += [row("mrs-ode-d-2", n, task="hazy", swd=0.5 - n / 100) for n in (3, 5, 8)]
    chosen = best(it for it in compare(rows) if it.run != REFERENCE)
    assert chosen["noisy"].run[::2] == ("mrs-sde-d-2", 5), "of two at 5, the one of less SWD"
    assert chosen["hazy"].run.nfe == 8 and not chosen["hazy"].as_good, "the nearest"
    assert "rainy" not in chosen


def test_the_median_speedup_counts_a_task_that_is_not_reached_as_none():
    rows = [reference(task=task) for task in TASKS[:3]]
    rows += [row("mrs-ode-d-2", 10, task=TASKS[0]), row("mrs-ode-d-2", 5, task=TASKS[1])]
    rows += [row("mrs-ode-d-2", 5, task=TASKS[2], psnr=0.0)]
    rows += [row("euler", 50, task=task) for task in TASKS[:3]]
    mr, euler, posterior = fewest(compare(rows))
    assert mr == {
        "solver": "mrs-ode-d-2",
        "spacing": "uniform-lambda",
        "fewer": 10.0,
        TASKS[0]: 10,
        TASKS[1]: 5,
    }
    assert (euler["solver"], euler["fewer"]) == ("euler", 2.0)
    assert (posterior["solver"], posterior["fewer"]) == ("posterior", 1.0), "beside itself"


def test_solved_is_within_2_of_255_root_mean_square_over_the_seeds():
    rows = [row("mrs-ode-d-2", 5, seed=seed, rmse=error) for seed, error in ((0, 1.0), (1, 2.7))]
    rows += [row("mrs-ode-d-2", 8, seed=seed, rmse=error) for seed, error in ((0, 1.0), (1, 2.6))]
    rows += [row("mrs-ode-d-2", 20, task="hazy", rmse=1.9), row("euler", 100, rmse=5.0)]
    rows += [row("mrs-sde-d-2", 3), row("converged", 200, spacing="blend", rmse=0.0)]
    # (1 + 2.7^2)/2 > 4 > (1 + 2.6^2)/2
    assert solved(rows) == [
        {
            "solver": "mrs-ode-d-2",
            "spacing": "uniform-lambda",
            "median": 14,
            "noisy": 8,
            "hazy": 20,
        },
        {"solver": "euler", "spacing": "uniform-t", "median": None},
    ]


def test_the_figure_has_a_line_for_each_sampler_and_a_row_for_each_task(tmp_path):
    rows = [reference(task=task) for task in TASKS[:2]]
    for task in TASKS[:2]:
        rows += [row("mrs-ode-d-2", nfe, task=task, swd=1 / nfe) for nfe in (3, 5, 10)]
        rows += [row("mrs-ode-d-2", 5, task=task, spacing="optimised"), row("euler", 5, task=task)]
        rows += [row("heun", 8, task=task, psnr=-40.0, swd=90.0)]
    plot(rows, tmp_path / "speedup.svg")
    drawn = (tmp_path / "speedup.svg").read_text()
    for text in ("mrs-ode-d-2", "mrs-ode-d-2, optimised", "posterior", "euler", "heun", *TASKS[:2]):
        assert f"<!-- {text} -->" in drawn
    assert drawn.count('<g id="axes_') == 3


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


def picture(seed=0, size=(40, 32)):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def photos(count):
    return [
        torch.from_numpy(np.array(picture(seed))).permute(2, 0, 1).float() / 255
        for seed in range(count)
    ]


RUNS = [INPUT, CONVERGED, Run("mrs-ode-d-1", "uniform-lambda", 5), Run("posterior", "uniform-t", 5)]


@pytest.fixture(scope="module")
def measured(checkpoint):
    """Two seeds of two of three photos; the last photo is the first one again."""
    restorer = load(checkpoint, "cpu")
    todo = [(seed, "noisy", run) for seed in (0, 1) for run in RUNS]
    return restorer, photos(3), list(speedup(restorer, photos(3), todo, count=2))


def test_a_row_is_what_the_restorer_gives_and_the_metrics_say(measured):
    restorer, clean, rows = measured
    assert [key(row) for row in rows] == [(s, "noisy", run) for s in (0, 1) for run in RUNS]
    clean = [clean[2], clean[0]]  # of seed 1: photos number 2 and 3

    def restored(**settings):
        ends = []
        for number, photo in enumerate(clean, 2):
            degraded = degrade(photo, "noisy", 0.5, torch.Generator().manual_seed(number))
            *_, last = restorer.trajectory(degraded, "noisy", seed=number, **settings)
            ends.append(last.x[0])
        return ends

    ours = restored(solver="mrs-ode-d-1", nfe=5)
    solution = restored(solver="mrs-ode-d-3", nfe=200, spacing="blend")
    row = rows[6]
    assert row["psnr"] == fmean(map(psnr, ours, clean))
    assert row["ssim"] == fmean(map(ssim, ours, clean))
    levels = SlicedWasserstein(clean, seed=1).levels(ours)
    assert [row["swd_1"], row["swd_2"]] == levels and row["swd"] == fmean(levels)
    assert row["rmse"] == pytest.approx(255 * rmse(torch.stack(ours), torch.stack(solution)))
    assert row["seconds"] > 0 and row["lpips"] is None


def test_only_what_follows_the_ode_has_an_error_to_its_solution(measured):
    rows = {row["solver"]: row for row in measured[2]}
    assert rows["converged"]["rmse"] == 0 < rows["mrs-ode-d-1"]["rmse"]
    assert rows["input"]["rmse"] is rows["posterior"]["rmse"] is None
    assert rows["input"]["seconds"] == 0


def test_a_part_measured_alone_is_the_same_so_that_a_run_can_go_on(measured):
    restorer, clean, rows = measured
    for i in (7, 6):
        (alone,) = speedup(restorer, clean, [key(rows[i])], count=2)
        assert alone | {"seconds": 0} == rows[i] | {"seconds": 0}


def test_the_progress_is_the_evaluations_that_were_announced(measured, calls):
    restorer, clean, _ = measured
    told = []
    list(
        speedup(restorer, clean, [(0, "hazy", run) for run in RUNS], count=2, progress=told.append)
    )
    assert sum(told) == 2 * evaluations(RUNS) == len(calls) - 1, "one to warm up"


# --- the command


@pytest.fixture
def argv(tmp_path, monkeypatch, checkpoint):
    monkeypatch.chdir(tmp_path)
    Path("clean").mkdir()
    for i in range(2):
        picture(i).save(f"clean/{i}.png")
    own = ["--photos", "1", "--seeds", "2", "--tasks", "noisy", "--solvers", "mrs-ode-d-1"]
    return ["bench", "speedup", "--images", "clean", "--checkpoint", checkpoint, *own]


# Per seed: the reference, the solution, the solver at its five NFEs and once on fitted times.
CALLS = 100 + 200 + 46 + 3
ROWS = 3 + 5 + 1


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
    assert len(calls) == 2 * CALLS + 1

    calls.clear()
    forward = LightDenoiser.forward

    def stopped(*args, **kwargs):
        if len(calls) == 500:
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
    assert 0 < len(calls) < CALLS, "the first seed is not run again"
    assert untimed(read(out)) == untimed(read(f"whole-{out}")) and len(read(out)) == 2 * ROWS
    assert len(cells_of(capsys.readouterr().out)[0]) == 2 * ROWS - done

    calls.clear()
    assert cli.main([*argv, "--out", out, "--plot", "figure.svg"]) == 0
    assert calls == [], "all is there"
    again = capsys.readouterr().out
    first, second = (text[text.index("Fewest evaluations as good") :] for text in (whole, again))
    assert "wrote figure.svg" in second and Path("figure.svg").read_text().startswith("<?xml")
    for table in (0, 2):  # the second has seconds
        assert cells_of(first)[table] == cells_of(second)[table]


def test_more_seeds_and_tasks_are_added_to_what_is_there(argv, calls):
    assert cli.main([*argv, "--seeds", "1", "--out", "table.csv"]) == 0
    once = read("table.csv")
    calls.clear()
    assert cli.main([*argv, "--tasks", "noisy", "hazy", "--seeds", "1", "--out", "table.csv"]) == 0
    assert len(calls) == CALLS + 1
    rows = read("table.csv")
    assert rows[: len(once)] == once
    assert [row["task"] for row in rows] == ["noisy"] * ROWS + ["hazy"] * ROWS
    assert {row["checkpoint"] for row in rows} == {"tiny"} and {row["photos"] for row in rows} == {
        "1"
    }


def test_the_summary_says_what_the_rows_say(argv, capsys):
    assert cli.main([*argv, "--out", "table.json"]) == 0
    out = capsys.readouterr().out
    rows = json.loads(Path("table.json").read_text())["rows"]
    printed, good, mr, near = cells_of(out)
    assert len(printed) == len(rows) == 2 * ROWS
    assert [float(cells[5]) for cells in printed] == [round(row["psnr"], 2) for row in rows]
    ours = best(it for it in compare(rows) if it.run.solver == "mrs-ode-d-1")["noisy"]
    assert mr[0][:4] == ["noisy", *map(str, ours.run)]
    assert float(mr[0][6]) == pytest.approx(ours.psnr, abs=0.005)
    assert [cells[0] for cells in good] == [row["solver"] for row in fewest(compare(rows))]
    assert [cells[1] for cells in near] == [row["spacing"] for row in solved(rows)]


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
    assert "table.csv was measured with photos 1, not 2; severity 0.5, not 0.7" in line

    # The same name, but trained on.
    network = load(checkpoint, "cpu").checkpoint.denoiser.network
    next(network.parameters()).add_(0.1)
    checkpoints.save(tmp_path / "tiny.safetensors", network, checkpoints.read_card(checkpoint))
    at = argv.index("--checkpoint") + 1
    line = refused(capsys, *argv[:at], "tiny", *argv[at + 1 :], "--out", "table.csv")
    assert "weights" in line and "fitted" not in line

    picture(7, (48, 48)).save("clean/a.png")
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
        ("--spacing magic", "'magic'"),
        ("--spacing optimised", "measured anyway"),
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
