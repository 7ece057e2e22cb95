"""What the page costs, in headless Chromium on a few cores: `mrsampler bench page`.

The server, the browser and the race without them share the same cores. Everything is timed where a
visitor would: in the browser, from the click to the picture on the screen.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mrsampler import checkpoints, photo, restorer
from mrsampler.degradations import degrade
from mrsampler.examples import examples
from mrsampler.ui.parts import choices

Row = dict[str, Any]

SIDE, SCRUBS = 256, 20
# Seconds, but for the last two: at most so many times as long, or as large.
PAINT, FIRST_FRAME, SCRUB, OVERHEAD, FLAT = 2.0, 0.5, 0.1, 1.15, 1.05

# Chromium's own housekeeping would ask the internet, and share the cores with what is measured.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

_SOON = """
const until = (test) => new Promise((done) => {
  const look = () => (test() ? done() : requestAnimationFrame(look));
  look();
});
const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
"""

# The controls and the first frame of the recorded race are there.
_OPENED = f"""(() => {{{_SOON}
  const there = () => {{
    const image = document.querySelector('[data-panel=a] img');
    return document.querySelector('#run')?.offsetParent && image?.complete && image.naturalWidth;
  }};
  until(there).then(painted).then(() => {{ window.openedAt = performance.now(); }});
}})()"""

_RUN = f"""async () => {{{_SOON}
  const panel = document.querySelector('[data-panel=a]'), image = panel.querySelector('img');
  const before = image.src, began = performance.now();
  const passed = () => (performance.now() - began) / 1000;
  const over = () => !['running', 'waiting'].includes(document.body.dataset.run);
  let asked = false;
  const tab = document.querySelector('#restore');
  tab.addEventListener('asked', () => {{ asked = true; }}, {{ once: true }});
  // Told, too: on a busy core a short race may end, as the one before did, within a frame.
  await new Promise((done) => {{
    const observer = new MutationObserver(() => {{
      if (!(image.src && image.src !== before) && !(asked && over())) return;
      observer.disconnect();
      done();
    }});
    observer.observe(image, {{ attributes: true, attributeFilter: ['src'] }});
    observer.observe(document.body, {{ attributes: true, attributeFilter: ['data-run'] }});
    document.querySelector('#run').click();
  }});
  await until(() => image.complete);
  await painted();
  const first = passed();
  await until(() => +(panel.querySelector('.count em')?.textContent || 0) > 0 || over());
  const evaluated = passed();
  // Told, not asked for at every frame of the screen: that would cost a tenth of a core.
  await new Promise((done) => {{
    const observer = new MutationObserver(() => look());
    const look = () => {{
      if (!over()) return;
      observer.disconnect();
      done();
    }};
    observer.observe(document.body, {{ attributes: true, attributeFilter: ['data-run'] }});
    look();
  }});
  return {{ first, evaluated, whole: passed(), state: document.body.dataset.run }};
}}"""

_SCRUBS = f"""async (count) => {{{_SOON}
  const scrub = document.querySelector('.scrub'), last = +scrub.max;
  const images = [...document.querySelectorAll('[data-panel=a] img, [data-panel=b] img')];
  const seconds = [];
  for (let i = 0; i < count; i += 1) {{
    // There and back in long strides, so that no two are alike.
    const value = Math.round(last * (i % 2 ? 1 - i / (2 * count) : i / (2 * count)));
    const began = performance.now();
    scrub.value = value;
    scrub.dispatchEvent(new Event('input', {{ bubbles: true }}));
    await Promise.all(images.map((image) => image.decode()));
    await painted();
    seconds.push((performance.now() - began) / 1000);
  }}
  return seconds;
}}"""


class MissingError(RuntimeError):
    """What this measurement needs is not here; its text is one sentence."""


class FailedError(RuntimeError):
    """The page did not do what was to be measured; its text is one sentence."""


@dataclass(frozen=True)
class Settings:
    """What is measured: `runs` short ones for memory, `repeats` races of these NFE, `loads`."""

    runs: int = 50
    repeats: int = 15
    loads: int = 5
    nfe: int = choices.NFE
    baseline_nfe: int = choices.BASELINE_NFE
    cores: int = 2
    device: str = "cpu"
    chromium: str | None = None


def measure(asked: Settings, progress: Callable[[str], None] = lambda doing: None) -> Iterator[Row]:
    """A row for each measurement; `progress` is told what is being measured.

    Row: name; value; unit; target (the most it may be, or None); met; note.

    Raises MissingError without Playwright, a Chromium or so many cores, before anything starts;
    FailedError where the page fails.
    """
    chromium = find_chromium(asked.chromium)
    with contextlib.ExitStack() as stack:
        stack.enter_context(pinned(asked.cores))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        picture = _picture(folder / "photo.png")
        progress("the server starts")
        server, url = stack.enter_context(served(asked.device, asked.cores, folder / "cache"))
        browser = stack.enter_context(_browser(chromium))
        progress("the page opens")
        yield _row("first meaningful paint", _opening(browser, url, asked.loads), "s", PAINT)

        page = _page(browser, url)
        _give(page, picture)
        _set(page, asked.nfe, asked.baseline_nfe)
        _run(page)  # the first is slow on either side, and is in nobody's time
        bare = _bare(picture, asked)
        bare()
        with_page, without = [], []
        for i in range(asked.repeats):
            progress(f"race {i + 1} of {asked.repeats}")
            with_page.append(_run(page))
            without.append(bare())
        first, evaluated, whole = (
            median(times[name] for times in with_page) for name in ("first", "evaluated", "whole")
        )
        note = f"after one evaluation each: {evaluated:.2f} s"
        yield _row("Run to first streamed frame", first, "s", FIRST_FRAME, note)

        for dimensions, name in ((2, "a scrub"), (3, "a scrub in 3-D")):
            progress(f"scrubs in {dimensions}-D")
            _turn(page, dimensions)
            scrubs = page.evaluate(_SCRUBS, SCRUBS)
            note = f"the slowest of {SCRUBS}; median {1000 * median(scrubs):.0f} ms"
            yield _row(name, max(scrubs), "s", SCRUB, note)
        _turn(page, 2)

        note = f"{whole:.2f} s and {median(without):.2f} s"
        ratio = median(a["whole"] / b for a, b in zip(with_page, without, strict=True))
        yield _row("a race with the page over one without", ratio, "times", OVERHEAD, note)

        yield from _flat(page, server.pid, folder / "cache", asked.runs, progress)


def _row(name: str, value: float, unit: str, target: float, note: str = "") -> Row:
    met = "yes" if value <= target else "no"
    return {"name": name, "value": value, "unit": unit, "target": target, "met": met, "note": note}


def find_chromium(given: str | None = None) -> str:
    """A Chromium's path: the given one, $CHROMIUM, one on the PATH, or Playwright's own.

    Raises MissingError where there is none, or no Playwright.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = 'this drives a browser by Playwright: pip install "mrsampler[bench]"'
        raise MissingError(missing) from None
    named = given or os.environ.get("CHROMIUM")
    if named:
        if found := shutil.which(named):
            return found
        raise MissingError(f"there is no Chromium at {named}")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if Path(own).is_file():
        return own
    raise MissingError("there is no Chromium here: playwright install chromium")


@contextlib.contextmanager
def pinned(cores: int) -> Iterator[None]:
    """This process and what it starts have only so many cores, and torch as many threads.

    Raises MissingError where there are fewer, or where the system cannot be asked for it.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise MissingError(
            "this system cannot tie a process to cores, so figures would mean little"
        )
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    if len(before) < cores:
        raise MissingError(f"there are {len(before)} cores here, not {cores}")
    os.sched_setaffinity(0, sorted(before)[:cores])
    torch.set_num_threads(cores)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def served(device: str, cores: int, cache: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The page's own process and its address. Raises FailedError if it does not answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(cores),
        "GRADIO_TEMP_DIR": str(cache),
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
    command = [sys.executable, "-m", "mrsampler", "serve", "--port", str(port), "--device", device]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/"
            deadline = time.monotonic() + 120
            while not _answers(url):
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    last = log.read().decode(errors="replace").strip().splitlines()[-1:]
                    raise FailedError(f"the page did not start: {''.join(last) or 'no answer'}")
                time.sleep(0.2)
            yield server, url
        finally:
            server.terminate()
            server.wait(20)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(url, timeout=5).close()
        return True
    return False


@contextlib.contextmanager
def _browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        except Error as error:
            raise MissingError(
                f"{chromium} does not start: {error.message.splitlines()[0]}"
            ) from None
        try:
            yield browser
        except Error as error:
            raise FailedError(f"the page: {error.message.splitlines()[0]}") from None
        finally:
            browser.close()


def _page(browser: Any, url: str) -> Any:
    """The page, opened as by someone who has never been there."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.add_init_script(_OPENED)
    page.goto(url)
    page.wait_for_function("window.openedAt", timeout=60_000)
    return page


def _opening(browser: Any, url: str, loads: int) -> float:
    """Seconds from the request to the controls and a picture, the median after a first visit."""
    seconds = []
    for _ in range(loads + 1):
        page = _page(browser, url)
        seconds.append(page.evaluate("window.openedAt") / 1000)
        page.context.close()
    return median(seconds[1:])


def _picture(target: Path) -> Path:
    """The middle of an example photo, SIDE pixels square."""
    rgb = photo.read(examples()[0].path).rgb
    top, left = ((size - SIDE) // 2 for size in rgb.shape[1:])
    photo.to_pil(rgb[:, top : top + SIDE, left : left + SIDE]).save(target)
    return target


def _give(page: Any, picture: Path) -> None:
    """The page has this photo, as a clean one that it damages: so all is measured on the way."""
    page.set_input_files("#restore input[type=file]", picture)
    page.wait_for_selector("[data-panel=truth].unknown")
    page.get_by_label("clean: damage it for me").check()
    page.wait_for_selector("[data-panel=truth]:not(.unknown)")


def _set(page: Any, nfe: int, baseline_nfe: int) -> None:
    for label, value in (("NFE", nfe), ("Baseline NFE", baseline_nfe)):
        box = page.get_by_label(f"number input for {label}", exact=True)
        box.fill(str(value))
        box.press("Enter")
    page.wait_for_timeout(1000)  # the menus follow


def _run(page: Any) -> dict[str, float]:
    """Seconds from the click to the first frame, the first evaluation and the end of a race."""
    times = page.evaluate(_RUN)
    if times["state"] != "finished":
        raise FailedError(f"a race {times['state']}: {page.locator('.words').inner_text()}")
    page.wait_for_selector("body[data-outcome=there]", timeout=60_000)  # its pictures follow
    return times


def _turn(page: Any, dimensions: int) -> None:
    """The trajectories are drawn in so many dimensions, and at rest."""
    page.locator(f"[data-dims='{dimensions}']").click()
    kind = "scatter3d" if dimensions == 3 else "scatter"
    page.wait_for_function(
        "kind => document.querySelector('.plot').data?.[0].type === kind", arg=kind
    )
    page.wait_for_timeout(1000)


def _bare(picture: Path, asked: Settings) -> Callable[[], float]:
    """The page's race without the page: seconds of each call."""
    known = restorer.load(checkpoints.DEFAULT, asked.device)
    first = examples()[0]
    damage = torch.Generator().manual_seed(0)
    degraded = degrade(photo.read(picture).rgb, first.task, first.severity, damage)
    entrants = [
        {"solver": solver, "nfe": nfe, "spacing": choices.spacing(known, solver, nfe, wanted)}
        for solver, nfe, wanted in (
            (choices.SAMPLER, asked.nfe, None),
            (choices.BASELINE, asked.baseline_nfe, "uniform-t"),
        )
    ]

    def run() -> float:
        began = time.perf_counter()
        for ticks in known.race(degraded, first.task, entrants, seed=0):
            last = ticks
        last[0].x.cpu()
        return time.perf_counter() - began

    return run


def _flat(
    page: Any, server: int, cache: Path, runs: int, progress: Callable[[str], None]
) -> Iterator[Row]:
    """Whether memory and cache stay as they are from run to run."""
    _set(page, 2, 2)
    seed = page.get_by_role("button", name="New seed")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    kinds = {
        "server": lambda: _resident(server),
        "page": lambda: _heap(devtools),
        "cache": lambda: _size(cache),
    }
    seen: dict[str, list[float]] = {kind: [] for kind in kinds}
    for i in range(runs):
        progress(f"run {i + 1} of {runs}")
        with page.expect_response(lambda response: "/queue/data" in response.url):
            seed.click()  # other pictures, or the cache would hold them already
        page.wait_for_function("document.body.dataset.run === 'idle'")
        _run(page)
        for kind, megabytes in kinds.items():
            seen[kind].append(megabytes())
    for kind, name in (
        ("server", "server memory"),
        ("page", "page memory"),
        ("cache", "cache folder"),
    ):
        early, late = growth(seen[kind])
        note = f"{early:.1f} and {late:.1f} MB, {(late - early) / runs * 1000:.0f} kB a run"
        ratio = late / early if early > 0 else 1.0
        yield _row(f"{name}, late over early", ratio, "times", FLAT, note)


def growth(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the second fifth, when all is warm, and of the last one."""
    fifth = max(1, len(values) // 5)
    return median(values[fifth : 2 * fifth] or values), median(values[-fifth:])


def _resident(process: int) -> float:
    """Megabytes that a process holds in memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _heap(devtools: Any) -> float:
    """Megabytes of the page's JavaScript once what it no longer needs is gone."""
    devtools.send("HeapProfiler.collectGarbage")
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize") / 1e6


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
