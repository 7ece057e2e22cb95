"""The page's run for programs: the endpoint /restore."""

import gradio as gr

from mrsampler import checkpoints, photo
from mrsampler.degradations import TASKS
from mrsampler.solvers import SOLVERS
from mrsampler.timesteps import SPACINGS
from mrsampler.ui import restore as tab

# mypy: disable-error-code="misc,index,union-attr"
# gradio reads the hints its own way: a dict for FileData, and what a yield holds as the return.


def restore(
    image: gr.FileData,
    task: str = "noisy",
    solver: str = "mrs-ode-d-2",
    nfe: int = 10,
    seed: int = 0,
    spacing: str = "uniform-lambda",
    checkpoint: str = checkpoints.DEFAULT,
    largest_side: int = 512,
) -> tuple[gr.FileData, dict]:
    """Restores a damaged photo, reporting after every network evaluation.

    Args:
        image: The damaged photo: PNG, JPEG, WebP, TIFF or BMP, at most 64 megapixels.
        task: Which damage to undo, one of mrsampler.TASKS.
        solver: A name in mrsampler.SOLVERS, e.g. mrs-ode-d-2 or posterior.
        nfe: Network evaluations to spend at most, 1 to 1000.
        seed: Fixes x_T and every draw; the same seed gives the same pixels.
        spacing: Where the steps fall, one of mrsampler.SPACINGS.
        checkpoint: The network, one of the bundled checkpoints.
        largest_side: In pixels, 32 to 1024; a larger photo is scaled down for the run.
    """
    _check(task, solver, nfe, spacing, checkpoint, largest_side)
    try:
        source = photo.read(image["path"])  # gradio hands over a dict
        shown = tab.subject(source, False, task, 0.0, int(seed), int(largest_side))
        with tab.LINE.turn() as turn:
            while not turn.arrive(0.5):
                yield None, {"state": "waiting", "ahead": turn.ahead, "seconds": turn.seconds}
            steps = tab.load(checkpoint).trajectory(
                shown.degraded, task, seed=int(seed), solver=solver, nfe=int(nfe), spacing=spacing
            )
            for step in steps:
                report = {"state": "running", "nfe": step.nfe, "t": step.t, "lambda": step.lam}
                yield None, report | {"seconds": round(step.seconds, 4)}
            restored = source.image(step.x[0].cpu())
    except (ValueError, FloatingPointError, FileNotFoundError) as error:
        raise gr.Error(str(error), print_exception=False) from None
    path = tab.save(restored, f"restored-{task}.png")
    yield gr.FileData(path=path), report | {"state": "finished", "size": list(source.size)}


def _check(
    task: str, solver: str, nfe: int, spacing: str, checkpoint: str, largest_side: int
) -> None:
    """gradio checks nothing of what a program sends."""
    for name, value, known in (
        ("task", task, TASKS),
        ("solver", solver, SOLVERS),
        ("spacing", spacing, SPACINGS),
        ("checkpoint", checkpoint, checkpoints.names()),
    ):
        if value not in known:
            choices = ", ".join(known)
            raise gr.Error(
                f"{name} must be one of {choices}; got {value!r}.", print_exception=False
            )
    for name, number, low, high in (
        ("nfe", nfe, 1, 1000),
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
