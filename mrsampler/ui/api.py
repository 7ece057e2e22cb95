"""The page for programs: the endpoints /restore, /degrade, /compare and /playground.

As Model Context Protocol tools they carry the same names, parameters and descriptions.
"""

import math
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from mrsampler import checkpoints, photo
from mrsampler.degradations import TASKS
from mrsampler.photo import Photo, PhotoError
from mrsampler.restorer import OPTIMISED
from mrsampler.size import OWN, is_local, result, working
from mrsampler.solvers import SOLVERS
from mrsampler.timesteps import SPACINGS
from mrsampler.trajectory import DEFAULT_NFE, DEFAULT_SOLVER, DEFAULT_SPACING
from mrsampler.ui.compare import tab as sheets
from mrsampler.ui.parts import choices
from mrsampler.ui.parts import photo_controls as given
from mrsampler.ui.parts.files import save, save_bytes, uploaded
from mrsampler.ui.playground import tab as scenes
from mrsampler.ui.queue import THROUGHPUT
from mrsampler.ui.session import (
    QUEUE,
    arrival,
    check_own_size,
    load,
    restoration,
    subject,
)

# mypy: disable-error-code="misc,index,union-attr"
# gradio reads the hints its own way: a dict for FileData, and what a yield holds as the return.


def restore(
    image: gr.FileData,
    task: str = "noisy",
    solver: str = DEFAULT_SOLVER,
    nfe: int = DEFAULT_NFE,
    seed: int = 0,
    spacing: str = DEFAULT_SPACING,
    checkpoint: str = "",
    size: str = OWN,
) -> tuple[gr.FileData, dict]:
    """Restores a damaged photo, reporting after every step.

    Args:
        image: The damaged photo: PNG, JPEG, WebP, TIFF or BMP, at most 64 megapixels.
        task: Which damage to undo, one of mrsampler.TASKS.
        solver: A name in mrsampler.SOLVERS, e.g. mrs-ode-d-2 or posterior.
        nfe: Network evaluations to spend at most, 1 to 1000; a solver may need more than 1 a step.
        seed: Fixes x_T and every draw; the same seed gives the same pixels.
        spacing: One of mrsampler.SPACINGS, karras:RHO, or optimised where times have been fitted.
        checkpoint: The network: a bundled checkpoint, or daclip-uir, which is fetched once; empty
            for the one that the page opens with.
        size: own, the photo's own, which takes long for a large one (noisy, low-light and
            jpeg-compressed: at most 4 megapixels); or the longest side in pixels,
            "32" to "1024", that it is scaled down to for the run. The result has the photo's size.
    """
    _known("task", task, TASKS)
    checkpoint = checkpoint or checkpoints.DEFAULT
    _known("checkpoint", checkpoint, checkpoints.offered())
    _known("solver", solver, SOLVERS)
    # What follows the colon the spacing itself checks.
    named = "karras:RHO" if str(spacing).startswith("karras:") else spacing
    _known("spacing", named, (OPTIMISED, *SPACINGS, "karras:RHO"), spacing)
    _whole("nfe", nfe, 1, 1000)
    _whole("seed", seed, 0, 2**31 - 1)
    side = _size(size, 1024)
    with _sentences():
        for far in arrival(checkpoint):
            yield None, {"state": "fetching", "done": far.done, "total": far.total}
        if solver not in choices.offered(load(checkpoint).process):
            raise ValueError(
                f"solver {solver} is not defined on the process of checkpoint {checkpoint}."
            )
        source = _photo(image)
        if side == OWN:
            check_own_size(source, is_local(task))
        small = working(source, task, side)
        settings = {"seed": int(seed), "solver": solver, "nfe": int(nfe), "spacing": spacing}
        expected = THROUGHPUT.seconds(checkpoint, small.rgb[0].numel(), int(nfe))
        with QUEUE.turn(expected) as turn:
            while not turn.arrive(0.5):
                yield None, {"state": "waiting", "ahead": turn.ahead, "seconds": turn.seconds}
            for report, x_t in restoration(checkpoint, small.rgb, task, settings):
                yield None, {"state": "running"} | report
                x = x_t
        restored = result(source, small, task, x)
    finished = report | {"state": "finished", "size": list(source.size)}
    yield gr.FileData(path=save(restored, f"restored-{task}")), finished


def degrade(
    image: gr.FileData,
    task: str = "noisy",
    severity: float = 0.5,
    seed: int = 0,
    size: str = OWN,
) -> gr.FileData:
    """Damages a clean photo the way a task does, as the page does before it restores one.

    Args:
        image: A clean photo: PNG, JPEG, WebP, TIFF or BMP, at most 64 megapixels.
        task: Which damage to do, one of mrsampler.TASKS.
        severity: From 0, next to no damage, to 1.
        seed: Fixes all chance; the same seed gives the same pixels.
        size: own, of at most 4 megapixels; or the longest side in pixels, "32" to "2048", that the
            photo is scaled down to first.
    """
    _known("task", task, TASKS)
    _within("severity", severity, 0, 1)
    _whole("seed", seed, 0, 2**31 - 1)
    side = _size(size, 2048)
    with _sentences():
        source = subject(_photo(image), True, task, float(severity), int(seed), side).source
        return gr.FileData(path=save(source.image(source.rgb), f"{task}"))


def compare(
    image: gr.FileData,
    solvers: list[str],
    nfes: list[int],
    task: str = "noisy",
    severity: float = 0.5,
    damaged: bool = False,
    seed: int = 0,
    spacing: str = sheets.FITTED,
    with_rmse: bool = False,
    checkpoint: str = "",
    largest_side: int = 256,
) -> tuple[gr.FileData, gr.FileData, dict]:
    """Runs several samplers at several budgets on one photo, reporting as results arrive.

    Args:
        image: The photo: PNG, JPEG, WebP, TIFF or BMP, at most 64 megapixels.
        solvers: Names in mrsampler.SOLVERS, at most 12.
        nfes: Network evaluations that each may spend: at most 6 numbers from 1 to 100.
        task: Which damage to do and to undo, one of mrsampler.TASKS.
        severity: Of the damage done to a clean photo, 0 to 1.
        damaged: Whether the photo is damaged already: then nothing is known to measure PSNR by.
        seed: Fixes the damage, x_T and every draw.
        spacing: fitted (to the network where there is one, else blend), usual (each solver's own),
            or one of mrsampler.SPACINGS.
        with_rmse: Also solve the PF-ODE to convergence and report the distance to it.
        checkpoint: The network: a bundled checkpoint, or daclip-uir, which is fetched once; empty
            for the one that the page opens with.
        largest_side: In pixels, 32 to 1024; a larger photo is scaled down for the runs.
    """
    _known("task", task, TASKS)
    _within("severity", severity, 0, 1)
    _whole("largest_side", largest_side, 32, 1024)
    if not isinstance(nfes, list):
        raise _refusal("nfes must be a list of whole numbers.")
    checkpoint = checkpoint or checkpoints.DEFAULT
    _known("checkpoint", checkpoint, checkpoints.offered())
    visitor = f"program-{secrets.token_hex(8)}"
    with _sentences():
        for far in arrival(checkpoint):
            yield None, None, {"state": "fetching", "say": far.says, "rows": []}
        ask = sheets.asked(
            visitor,
            0,
            _upload(image),
            given.DAMAGED if damaged else given.CLEAN,
            task,
            float(severity),
            seed,
            int(largest_side),
            solvers,
            " ".join(str(nfe) for nfe in nfes),
            spacing,
            with_rmse,
            checkpoint,
        )
        if not ask.grid.cells:
            raise ValueError("No sampler can have one of these NFEs.")
        began = time.monotonic()
        try:
            for state, say, _ in sheets.fill(ask, visitor, threading.Event()):
                yield None, None, {"state": state, "say": say, "rows": _rows(ask)}
        finally:
            sheets.CACHE.forget(visitor)
        state = sheets.outcome(ask.grid)
        say = sheets.last_word(ask, state, time.monotonic() - began)
        files = [
            gr.FileData(path=save_bytes(content, f"compare-{task}.{kind}"))
            for kind, content in (("png", sheets.sheet_of(ask.grid)), ("csv", ask.grid.csv()))
        ]
    yield *files, {"state": state, "say": say, "rows": _rows(ask)}


def _rows(ask: sheets.Asked) -> list[dict[str, Any]]:
    return [_plain(row) for row in ask.grid.rows()]


def playground(
    density: str = scenes.DEFAULTS["density"],
    process: str = scenes.DEFAULTS["process"],
    solver: str = scenes.DEFAULTS["solver"],
    nfe: int = scenes.DEFAULTS["nfe"],
    spacing: str = scenes.DEFAULTS["spacing"],
    mu: list[float] = scenes.DEFAULTS["mu"],
    points: list[list[float]] | None = None,
    particles: int = scenes.DEFAULTS["particles"],
    seed: int = scenes.DEFAULTS["seed"],
    lower_order_final: bool = scenes.DEFAULTS["lower"],
) -> dict:
    """Moves particles through a 2-D density whose score is exact, and says how far off they end.

    Args:
        density: two Gaussians, ring, two moons, spiral, checkerboard, or drawn by hand.
        process: A kind in mrsampler.processes.PROCESSES, e.g. mean-reverting.
        solver: A name in mrsampler.SOLVERS.
        nfe: Evaluations of the exact score to spend at most.
        spacing: One of mrsampler.SPACINGS.
        mu: The anchor [x, y] of the mean-reverting process, each from -1.4 to 1.4.
        points: Of "drawn by hand": 1 to 200 points [x, y].
        particles: 20 to 800.
        seed: Fixes x_T and every draw.
        lower_order_final: Whether the last steps of a multistep solver are of falling order.
    """
    settings = {
        "density": density,
        "process": process,
        "solver": solver,
        "nfe": nfe,
        "spacing": spacing,
        "mu": mu,
        "particles": particles,
        "seed": seed,
        "lower": lower_order_final,
    }
    with _sentences():
        scene = scenes.read(settings if points is None else settings | {"points": points})
        steps, trouble = scenes.solve(scene)
        exact = scene.particles
        end = steps[-1].x
        answer = {
            "nfe": [step.nfe for step in steps],
            "t": [step.t for step in steps],
            "lambda": [step.lam for step in steps],
            "x": [step.x.tolist() for step in steps],
            # The PF-ODE's solution from the same x_T; a stochastic solver has no such partner.
            "exact": None if scene.stochastic else exact.flow[-1].x.tolist(),
            "measure": "energy distance" if scene.stochastic else "RMS distance to exact",
            "error": exact.error(end, scene.stochastic),
            "trouble": trouble,
        }
    return _plain(answer)


def _plain(value: Any) -> Any:
    """With None for what JSON does not know: infinities and no numbers."""
    if isinstance(value, dict):
        return {name: _plain(x) for name, x in value.items()}
    if isinstance(value, list):
        return [_plain(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- gradio checks nothing of what a program sends ------------------------------------------------


def _refusal(sentence: str) -> gr.Error:
    return gr.Error(sentence, print_exception=False)


@contextmanager
def _sentences() -> Iterator[None]:
    """What is raised inside reaches the caller as one sentence."""
    try:
        yield
    except gr.Error:  # it is a ValueError, too
        raise
    except (ValueError, ArithmeticError, OSError, RuntimeError, MemoryError) as error:
        raise _refusal(str(error)) from None


def _known(name: str, value: Any, known: Collection[str], given: Any = None) -> None:
    if not isinstance(value, str) or value not in known:
        got = value if given is None else given
        raise _refusal(f"{name} must be one of {', '.join(known)}; got {got!r}.")


def _within(name: str, number: Any, low: int, high: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise _refusal(f"{name} must be from {low} to {high}; got {number!r}.")


def _whole(name: str, number: Any, low: int, high: int) -> None:
    _within(name, number, low, high)
    if number != int(number):
        raise _refusal(f"{name} must be a whole number; got {number!r}.")


def _size(size: Any, most: int) -> int | str:
    """OWN, or the number of pixels that `size` says."""
    if size == OWN:
        return OWN
    if not str(size).isdecimal() or not 32 <= int(size) <= most:
        raise _refusal(f"size must be {OWN} or a whole number from 32 to {most}; got {size!r}.")
    return int(size)


def _upload(image: Any) -> dict[str, Any]:
    try:
        if uploaded(image):
            return image
    except PhotoError:
        pass
    raise _refusal("image must be an uploaded file.")


def _photo(image: Any) -> Photo:
    try:
        return photo.read(_upload(image)["path"])
    except FileNotFoundError:
        raise _refusal("The uploaded file is no longer there.") from None


# --- the endpoints --------------------------------------------------------------------------------

ENDPOINTS: tuple[tuple[str, Callable[..., Any], dict[str, str]], ...] = (
    (
        "restore",
        restore,
        {
            "restored": "The restored photo as PNG, at its own size; null until it is finished.",
            "report": "state, nfe, t, lambda and seconds so far; while a checkpoint is being "
            "fetched, the bytes done and in total.",
        },
    ),
    ("degrade", degrade, {"degraded": "The damaged photo as PNG, at its own size."}),
    (
        "compare",
        compare,
        {
            "sheet": "All pictures as one labelled PNG; null until all runs are done.",
            "table": "All numbers as CSV; null until all runs are done.",
            "report": "state, a sentence, and a row for each run that is done: solver, spacing, "
            "asked, nfe, seconds, psnr in dB, ssim, swd, st_lpips, rmse in 1/255, failure.",
        },
    ),
    (
        "playground",
        playground,
        {
            "report": "After each step nfe, t, lambda and x, the particles' positions; exact, "
            "where the exact solution ends; error, how far off x ends, and measure, what that is.",
        },
    ),
)


def build(page: gr.Blocks) -> None:
    """Adds the endpoints, inside the page's Blocks context, with their parameters documented."""
    for name, function, results in ENDPOINTS:
        # Those that take turns have their own line.
        limit = None if function in (restore, compare) else 4
        event = gr.api(function, api_name=name, concurrency_limit=limit)
        _, words, _ = gr.utils.get_function_description(function)
        # gradio names the parameters of gr.api "1st", "2nd" and leaves their descriptions out.
        for ids, texts, kind in (
            (event["inputs"], words, "additional_description"),
            (event["outputs"], results, "description"),
        ):
            for part, (label, text) in zip(ids, texts.items(), strict=True):
                block = page.blocks[part]
                block.label = label
                block.api_info()[kind] = text
