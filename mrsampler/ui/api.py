"""The page's run for programs: the endpoint /restore."""

import gradio as gr

from mrsampler import checkpoints, photo
from mrsampler.degradations import TASKS
from mrsampler.restorer import OPTIMISED
from mrsampler.solvers import SOLVERS
from mrsampler.timesteps import SPACINGS
from mrsampler.trajectory import DEFAULT_NFE, DEFAULT_SOLVER, DEFAULT_SPACING
from mrsampler.ui import choices
from mrsampler.ui.session import QUEUE, load, restoration, save, subject

# mypy: disable-error-code="misc,index,union-attr"
# gradio reads the hints its own way: a dict for FileData, and what a yield holds as the return.


def restore(
    image: gr.FileData,
    task: str = "noisy",
    solver: str = DEFAULT_SOLVER,
    nfe: int = DEFAULT_NFE,
    seed: int = 0,
    spacing: str = DEFAULT_SPACING,
    checkpoint: str = checkpoints.DEFAULT,
    largest_side: int = 512,
) -> tuple[gr.FileData, dict]:
    """Restores a damaged photo, reporting after every step.

    Args:
        image: The damaged photo: PNG, JPEG, WebP, TIFF or BMP, at most 64 megapixels.
        task: Which damage to undo, one of mrsampler.TASKS.
        solver: A name in mrsampler.SOLVERS, e.g. mrs-ode-d-2 or posterior.
        nfe: Network evaluations to spend at most, 1 to 1000; a solver may need more than 1 a step.
        seed: Fixes x_T and every draw; the same seed gives the same pixels.
        spacing: One of mrsampler.SPACINGS, karras:RHO, or optimised where times have been fitted.
        checkpoint: The network: a bundled checkpoint, or daclip-uir, which is fetched once.
        largest_side: In pixels, 32 to 1024; a larger photo is scaled down for the run.
    """
    _check(task, solver, nfe, seed, spacing, checkpoint, largest_side)
    # Without `meta` gradio would not look whether the file is an upload.
    if not isinstance(image, dict) or image.get("meta") != {"_type": "gradio.FileData"}:
        raise gr.Error("image must be an uploaded file.", print_exception=False)
    try:
        shown = subject(photo.read(image["path"]), False, task, 0.0, seed, int(largest_side))
        settings = {"seed": int(seed), "solver": solver, "nfe": int(nfe), "spacing": spacing}
        with QUEUE.turn() as turn:
            while not turn.arrive(0.5):
                yield None, {"state": "waiting", "ahead": turn.ahead, "seconds": turn.seconds}
            for report, x_t in restoration(checkpoint, shown.degraded, task, settings):
                yield None, {"state": "running"} | report
                x = x_t
        restored = shown.source.image(x)
    except FileNotFoundError:
        raise gr.Error("The uploaded file is no longer there.", print_exception=False) from None
    except (ValueError, ArithmeticError, OSError, RuntimeError, MemoryError) as error:
        raise gr.Error(str(error), print_exception=False) from None
    finished = report | {"state": "finished", "size": list(shown.source.size)}
    yield gr.FileData(path=save(restored, f"restored-{task}")), finished


def _check(
    task: str, solver: str, nfe: int, seed: int, spacing: str, checkpoint: str, largest_side: int
) -> None:
    """gradio checks nothing of what a program sends."""
    for name, value, known in (
        ("task", task, TASKS),
        ("checkpoint", checkpoint, checkpoints.offered()),
        ("solver", solver, SOLVERS),
        ("spacing", spacing, (OPTIMISED, *SPACINGS, "karras:RHO")),
    ):
        # What follows the colon the spacing itself checks.
        word = "karras:RHO" if str(value).startswith("karras:") else value
        if not isinstance(value, str) or word not in known:
            raise gr.Error(
                f"{name} must be one of {', '.join(known)}; got {value!r}.", print_exception=False
            )
    try:
        process = load(checkpoint).process
    except (OSError, ValueError) as error:
        raise gr.Error(str(error), print_exception=False) from None
    if solver not in choices.offered(process):
        raise gr.Error(
            f"solver {solver} is not defined on the process of checkpoint {checkpoint}.",
            print_exception=False,
        )
    for name, number, low, high in (
        ("nfe", nfe, 1, 1000),
        ("seed", seed, 0, 2**31 - 1),
        ("largest_side", largest_side, 32, 1024),
    ):
        if not isinstance(number, int | float) or not low <= number <= high:
            raise gr.Error(
                f"{name} must be from {low} to {high}; got {number!r}.", print_exception=False
            )


def build() -> None:
    """Adds the endpoints, inside a Blocks context, with their parameters documented."""
    event = gr.api(restore, api_name="restore", concurrency_limit=4)
    page = gr.context.Context.root_block
    assert page is not None
    function = page.fns[event["id"]]
    _, words, _ = gr.utils.get_function_description(restore)
    # gradio names the parameters of gr.api "1st", "2nd" and leaves their descriptions out.
    for block, (name, text) in zip(function.inputs, words.items(), strict=True):
        block.label = name
        block._api_info = {**block._api_info, "additional_description": text}
    results = {
        "restored": "The restored photo as PNG, at its own size; null until it is finished.",
        "report": "state, nfe, t, lambda and seconds so far.",
    }
    for block, (name, text) in zip(function.outputs, results.items(), strict=True):
        block.label = name
        block._api_info = {**block._api_info, "description": text}
