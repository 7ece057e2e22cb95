"""`bench page`: what it measures is there, and what it cannot measure it says."""

import csv
import os
import shutil

import pytest
import torch

from mrsampler import cli
from mrsampler.bench import page


def test_every_measurement_is_made_on_the_real_page(executable, tmp_path):
    out = tmp_path / "page.csv"
    small = "--runs 2 --repeats 1 --loads 1 --nfe 2 --baseline-nfe 3 --cores 1"
    argv = ["bench", "page", *small.split(), "--chromium", executable, "--out", str(out)]
    assert cli.main(argv) == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [
        "first meaningful paint",
        "Run to first streamed frame",
        "a scrub",
        "a scrub in 3-D",
        "a race with the page over one without",
        "server memory, late over early",
        "page memory, late over early",
        "cache folder, late over early",
    ]
    for row in rows:
        assert float(row["value"]) > 0
        assert row["met"] == ("yes" if float(row["value"]) <= float(row["target"]) else "no")


def test_growth_compares_a_warm_start_with_the_end():
    assert page.growth([100, 100, 7, 7, 7, 7, 7, 7, 9, 9]) == (7, 9)
    assert page.growth([5.0]) == (5.0, 5.0)


def test_the_cores_and_threads_are_given_back():
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    with page.pinned(1):
        assert len(os.sched_getaffinity(0)) == 1 and torch.get_num_threads() == 1
    assert os.sched_getaffinity(0) == cores and torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--cores", "4096"], "cores here, not 4096"),
        (["--chromium", "/nowhere/chromium"], "there is no Chromium at /nowhere/chromium"),
        (["--runs", "0"], "--runs"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_exit_code_2(argv, sentence, capsys):
    try:
        code = cli.main(["bench", "page", *argv])
    except SystemExit as error:
        code = error.code
    said = capsys.readouterr().err
    assert code == 2 and sentence in said and "Traceback" not in said


def test_a_page_that_does_not_start_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(page.sys, "executable", shutil.which("false"))
    with (
        pytest.raises(page.FailedError, match="the page did not start: no answer"),
        page.served("cpu", 1, tmp_path),
    ):
        pass
