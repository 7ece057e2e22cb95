"""The page for programs: the endpoints /restore, /degrade, /compare and /playground.

As Model Context Protocol tools they carry the same names, parameters and descriptions.
"""

import inspect
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gradio as gr

from mrsampler import photo
from mrsampler.photo import Photo, PhotoError
from mrsampler.run import (
    CLEAN,
    DAMAGED,
    FAILURES,
    SETTINGS,
    Run,
    Setting,
    Size,
    Whole,
    reason,
)
from mrsampler.size import OWN, is_local, working
from mrsampler.ui.compare import tab as sheets
from mrsampler.ui.parts.files import save, save_bytes, uploaded
from mrsampler.ui.parts.settings import LARGEST_SIDE
from mrsampler.ui.playground import tab as scenes
from mrsampler.ui.queue import THROUGHPUT
from mrsampler.ui.restore.memory import Sample
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


OFFERED = SETTINGS | {
    "nfe": SETTINGS["nfe"].within(Whole(1, 1000)),
    "size": SETTINGS["size"].within(Size(1024)),
}
"""The settings of a run that a program may ask for here."""


def described(
    names: str, **narrower: Setting
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes an endpoint of a function: its parameters are `names`, in this order.

    Those that are settings of a run it gets as one, `asked`; the others are its own, and its
    docstring has them. An empty text is a setting's default. What it raises is a sentence.
    """

    def endpoint(function: Callable[..., Any]) -> Callable[..., Any]:
        own, settings = inspect.signature(function), OFFERED | narrower
        parameters, words = [], [inspect.getdoc(function) or ""]
        for name in names.split():
            if name in own.parameters:
                parameters.append(own.parameters[name])
                continue
            setting = settings[name]
            kind, given = inspect.Parameter.POSITIONAL_OR_KEYWORD, type(setting.default)
            parameters.append(
                inspect.Parameter(name, kind, default=setting.default, annotation=given)
            )
            words.append(f"    {name}: {setting.documented} It must be {setting.kind.wanted}.")
        signature = own.replace(parameters=parameters)

        def values(*args: Any, **given: Any) -> dict[str, Any]:
            bound = signature.bind(*args, **given)
            bound.apply_defaults()
            mine = {n: v for n, v in bound.arguments.items() if n in own.parameters}
            run = {
                name: settings[name].check(settings[name].default if value == "" else value)
                for name, value in bound.arguments.items()
                if name not in mine
            }
            return mine | {"asked": Run(**run)}

        def whole(*args: Any, **given: Any) -> Any:
            with _sentences():
                return function(**values(*args, **given))

        def streaming(*args: Any, **given: Any) -> Iterator[Any]:
            with _sentences():
                yield from function(**values(*args, **given))

        made: Any = streaming if inspect.isgeneratorfunction(function) else whole
        made.__name__, made.__doc__ = function.__name__, "\n".join(words)
        made.__signature__ = signature
        made.__annotations__ = {p.name: p.annotation for p in parameters}
        made.__annotations__["return"] = own.return_annotation
        return made

    return endpoint


@described("image task solver nfe seed spacing checkpoint size texture")
def restore(image: gr.FileData, asked: Run) -> tuple[gr.FileData, dict]:
    """Restores a damaged photo, reporting after every step.

    Args:
        image: The damaged photo: PNG, JPEG, WebP, TIFF or BMP, at most 64 megapixels.
    """
    for far in arrival(asked.checkpoint):
        yield None, {"state": "fetching", "done": far.done, "total": far.total}
    load(asked.checkpoint).check(asked.task, texture=asked.texture, **asked.sampler)
    source = _photo(image)
    if asked.size == OWN:
        check_own_size(source, is_local(asked.task))
    small = working(source, asked.task, asked.size)
    expected = THROUGHPUT.seconds(asked.checkpoint, small.rgb[0].numel(), asked.nfe)
    with QUEUE.turn(expected) as turn:
        while not turn.arrive(0.5):
            yield None, {"state": "waiting", "ahead": turn.ahead, "seconds": turn.seconds}
        for report, x_t in restoration(asked, small.rgb):
            yield None, {"state": "running"} | report
            x = x_t
    restored = Sample(source, small, x).picture(asked)
    finished = report | {"state": "finished", "size": list(source.size)}
    yield gr.FileData(path=save(restored, f"restored-{asked.task}")), finished


@described("image task severity seed size", size=SETTINGS["size"].within(Size(2048)))
def degrade(image: gr.FileData, asked: Run) -> gr.FileData:
    """Damages a clean photo the way a task does, as the page does before it restores one.

    Args:
        image: A clean photo: PNG, JPEG, WebP, TIFF or BMP, at most 64 megapixels.
    """
    source = subject(_photo(image), replace(asked, damage=CLEAN)).source
    return gr.FileData(path=save(source.image(source.rgb), asked.task))


@described(
    "image solvers nfes task severity damaged seed spacing with_rmse checkpoint largest_side"
)
def compare(
    image: gr.FileData,
    solvers: list[str],
    nfes: list[int],
    asked: Run,
    damaged: bool = False,
    spacing: str = sheets.FITTED,
    with_rmse: bool = False,
    largest_side: int = LARGEST_SIDE.default,
) -> tuple[gr.FileData, gr.FileData, dict]:
    """Runs several samplers at several budgets on one photo, reporting as results arrive.

    Args:
        image: The photo: PNG, JPEG, WebP, TIFF or BMP, at most 64 megapixels.
        solvers: Names in mrsampler.SOLVERS, at most 12.
        nfes: Network evaluations that each may spend: at most 6 numbers from 1 to 100.
        damaged: Whether the photo is damaged already: then nothing is known to measure PSNR by.
        spacing: fitted (to the network where there is one, else blend), usual (each solver's own),
            or one of mrsampler.SPACINGS.
        with_rmse: Also solve the PF-ODE to convergence and report the distance to it.
        largest_side: In pixels, 32 to 1024; a larger photo is scaled down for the runs.
    """
    if not isinstance(nfes, list):
        raise _refusal("nfes must be a list of whole numbers.")
    visitor = f"program-{secrets.token_hex(8)}"
    for far in arrival(asked.checkpoint):
        yield None, None, {"state": "fetching", "say": far.says, "rows": []}
    values = asked.to_json() | {
        "example": 0,
        "upload": _upload(image),
        "damage": DAMAGED if damaged else CLEAN,
        "size": largest_side,
        "solvers": solvers,
        "nfes": " ".join(str(nfe) for nfe in nfes),
        "spacing": spacing,
        "with_rmse": with_rmse,
    }
    ask = sheets.asked(visitor, values)
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
        gr.FileData(path=save_bytes(content, f"compare-{asked.task}.{kind}"))
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
    except FAILURES as error:
        raise _refusal(reason(error)) from None


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
