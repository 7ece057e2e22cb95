"""What the page remembers of a visitor, and the files that were made of it."""

import time
from pathlib import Path

import pytest
from PIL import Image

from mrsampler.run import Run
from mrsampler.ui.parts.files import save, save_bytes
from mrsampler.ui.restore.memory import Memory, RunResult


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


def run_with_files():
    run = RunResult("run", Run(), (), {"degraded": ""})
    run.files = [save(Image.new("RGB", (4, 4)), "restored"), save_bytes(b"{}", "race.json")]
    return run


def files(cache):
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def wait_for_files(cache, number):
    """Until that many are left; fails after 10 seconds."""
    end = time.monotonic() + 10
    while len(files(cache)) != number:
        assert time.monotonic() < end, files(cache)
        time.sleep(0.01)


def run_without():
    return RunResult("another", Run(), (), {"degraded": ""})


def test_a_runs_files_outlive_the_next_run_and_go_with_the_one_after(cache):
    memory = Memory()
    memory.keep("ann", run_with_files())
    memory.keep("ann", run_without())
    assert files(cache) == ["race.json", "restored.png"]
    memory.keep("ann", run_without())
    assert list(cache.iterdir()) == []


def test_a_visitor_who_leaves_takes_only_own_files_away(cache):
    memory = Memory()
    memory.keep("ann", run_with_files())
    memory.keep("ann", run_with_files())
    memory.keep("bob", other := run_with_files())
    memory.forget("ann", linger=0.01)
    wait_for_files(cache, 2)
    assert sorted(path for path in cache.rglob("*") if path.is_file()) == sorted(
        map(Path, other.files)
    )


def test_what_one_who_leaves_is_still_fetching_stays_for_a_while(cache):
    memory = Memory()
    memory.keep("ann", run_with_files())
    memory.forget("ann")
    assert memory.run("ann") is None
    assert files(cache) == ["race.json", "restored.png"]


def test_files_that_are_gone_already_are_no_trouble(cache):
    memory, run = Memory(), run_with_files()
    Path(run.files[0]).unlink()
    memory.keep("ann", run)
    memory.forget("ann", linger=0.01)
    memory.forget("ann", linger=0.01)
    wait_for_files(cache, 0)
