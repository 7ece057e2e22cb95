"""What `pip install .` leaves behind works without the repository, and the repository is whole."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mrsampler import SOLVERS, checkpoints

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package alone in a folder, installed from a copy of what git tracks."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(target), "."], cwd=source, check=True)
    return target


def test_an_installed_package_restores_with_the_bundled_checkpoint(installed, tmp_path):
    script = """
import mrsampler, torch
assert "installed" in mrsampler.__file__, mrsampler.__file__
steps = list(mrsampler.load().trajectory(torch.rand(3, 32, 32), "noisy", nfe=1))
assert len(steps) == 2
from mrsampler import examples
from mrsampler.ui.parts import components
from mrsampler.ui.restore import tab as restore
from mrsampler.ui import theme
assert len(examples.examples()) == 10 and all(e.path.exists() for e in examples.examples())
assert restore.RECORDING.exists() and "#rail" in theme.head()
assert set(components.web("restore/stage")) >= {"html_template", "css_template", "js_on_load"}
"""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="another OpenMP, which spins otherwise")
@pytest.mark.parametrize("asked, spins", [({}, "'10000'"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "'0'")])
def test_torchs_threads_soon_sleep_while_they_wait_unless_it_is_asked_otherwise(asked, spins):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GOMP_", "OMP_"))}
    environment |= asked | {"OMP_DISPLAY_ENV": "verbose"}
    loading = [sys.executable, "-c", "import mrsampler"]
    told = subprocess.run(loading, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert f"GOMP_SPINCOUNT = {spins}" in told.stderr


def test_every_folder_of_the_package_is_installed(installed):
    tracked = {p.relative_to(ROOT) for p in (ROOT / "mrsampler").rglob("*.py")}
    assert {p for p in tracked if not (installed / p).exists()} == set()


def test_the_readme_shows_pictures_that_are_there_and_has_no_gap_left_to_fill():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) >= 3
    tracked = subprocess.run(
        ["git", "ls-files", "assets"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(pictures) <= set(tracked)
    assert not re.search(r"[A-Z]{4,}_[A-Z]{4,}|TODO|TBD", text)


def test_the_bundled_network_restores_every_task_by_what_its_card_measured():
    """Floors, in dB gained at severity 0.5 over photos it never saw; the card is a command's."""
    floors = {
        "motion-blurry": 1.5,
        "hazy": 8,
        "jpeg-compressed": 1,
        "low-light": 9,
        "noisy": 6.5,
        "raindrop": 2.5,
        "rainy": 7,
        "shadowed": 3,
        "snowy": 5,
        "uncompleted": 9,
    }
    card = checkpoints.read_card("bundled")
    settings, rows = card["held_out_settings"], card["held_out"]
    assert (settings["photos"], settings["severity"], settings["largest_side"]) == (20, 0.5, 256)
    assert (settings["solver"], settings["nfe"]) == ("mrs-ode-d-2", 10)
    assert [row["task"] for row in rows] == list(floors)
    for row in rows:
        assert row["gain"] >= floors[row["task"]]
        assert row["gain"] == pytest.approx(row["restored"] - row["degraded"], abs=0.015)
    assert sum(row["worse"] for row in rows) <= 5


def test_the_readme_s_table_of_quality_is_the_cards():
    rows = {
        name: {row["task"]: row for row in checkpoints.read_card(name)["held_out"]}
        for name in ("bundled", "bundled-noise")
    }
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for by_task in rows.values():
        columns = ("degraded", "one", "restored", "gain")
        sums = {name: sum(row[name] for row in by_task.values()) for name in columns}
        by_task["mean"] = {name: total / len(by_task) for name, total in sums.items()}
    for task, row in rows["bundled"].items():
        values = [row[name] for name in ("degraded", "one", "restored", "gain")]
        values.append(rows["bundled-noise"][task]["restored"])
        line = re.search(rf"^\| {task} \|(( [\d.-]+ \|){{5}})$", text, re.MULTILINE)
        assert line, f"no row for {task}"
        shown = [float(cell) for cell in line[1].split("|")[:-1]]
        # The card has hundredths, the table tenths.
        assert shown == pytest.approx(values, abs=0.056)


def test_fitted_times_of_the_bundled_network_beat_what_is_made_by_hand_where_they_were_measured():
    card = checkpoints.read_card("bundled")
    measured = {(row["solver"], row["nfe"]): row for row in card["timesteps_measured"]}
    for solver, fitted in card["timesteps"].items():
        for nfe, times in fitted.items():
            row = measured[solver, int(nfe)]
            assert row["held_out"] and row["optimised"] < min(row["hand_made"], row["least_bound"])
            assert SOLVERS[solver].steps(int(nfe)) == len(times) - 1
    assert list(card["timesteps"]["mrs-ode-d-2"]) == [str(nfe) for nfe in range(3, 13)]
