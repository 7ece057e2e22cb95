"""The whole page, and its launch."""

from __future__ import annotations

import os
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send
from threadpoolctl import threadpool_limits

from mrsampler.ui import api, gradio_private, session, theme
from mrsampler.ui.compare import tab as compare
from mrsampler.ui.hardware import share_cores
from mrsampler.ui.parts.components import SERVED, web
from mrsampler.ui.parts.examples import attribution
from mrsampler.ui.playground import tab as playground
from mrsampler.ui.restore import tab as restore
from mrsampler.ui.stability import tab as stability
from mrsampler.ui.theory import tab as theory

ABOUT = """
### What you see

Both samplers start from the same x_T (the degraded photo plus noise) and share one network; only
the steps between differ. The MR Sampler solves the mean-reverting diffusion's equations exactly
but for the network, so that a few evaluations suffice; the baseline takes many small steps, here
the 100 it is published with. Both advance one step a tick; what a step costs the menu says.

**Fair and not.** Seconds are each sampler's own time on this machine, drawing excluded. PSNR and
SSIM need the ground truth, so they are shown for photos that the page has degraded itself. PSNR
rewards the mean of all plausible photos: it may fall while texture gets truer, which is why the
number and the picture are shown together. A race marked *recorded* was computed earlier.

**The network** is small and was trained on 1,198 photos with synthetic damage, so that it runs on
a laptop. It does not do what a large model does, and is for teaching and research.

### The photos

"""


MAX_QUEUE = 64
"""Runs that may wait at once, whichever tab or endpoint they are of."""

LOOK_EVERY = 0.02
"""Seconds between two looks for work."""


class Compressed(GZipMiddleware):
    """Compresses what is no file, as the page itself: gradio goes by a file's ending."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = "." in scope.get("path", "").rpartition("/")[2]
        await (self.app if named else super().__call__)(scope, receive, send)


def build(max_queue: int = MAX_QUEUE) -> gr.Blocks:
    """The page as a Blocks app, its files allowed, ready for `launch`.

    Whoever comes while `max_queue` runs are waiting is told that the line is full.
    """
    session.QUEUE.limit = max_queue
    gr.set_static_paths([*SERVED, restore.RECORDING])
    with gr.Blocks(
        title="MR Sampler explorer",
        fill_width=True,
        analytics_enabled=False,
        delete_cache=(600, 3600),
    ) as demo:
        gr.HTML(**web("parts/header"))
        with gr.Tab("Restore"):
            restore.build(demo)
        with gr.Tab("Compare"):
            compare.build(demo)
        with gr.Tab("Stability"):
            stability.build(demo)
        with gr.Tab("Playground"):
            playground.build(demo)
        with gr.Tab("How it works"):
            theory.build(demo)
        with gr.Tab("About"):
            gr.Markdown(ABOUT + attribution(), elem_id="about")
        api.build(demo)
    demo.queue(default_concurrency_limit=8)
    gradio_private.look_for_work_every(demo, LOOK_EVERY)
    return demo


def launch(
    host: str | None = None,
    port: int | None = None,
    device: str | None = None,
    max_queue: int = MAX_QUEUE,
    **options: Any,
) -> None:
    """Serves the page until it is interrupted.

    `host` and `port` fall back to GRADIO_SERVER_NAME and GRADIO_SERVER_PORT, then to
    127.0.0.1:7860; `options` are those of gr.Blocks.launch: with `mcp_server=True` the endpoints
    are also tools of the Model Context Protocol. Raises OSError where the port is taken.
    """
    session.device = device
    share_cores()
    # After each small matrix OpenBLAS's threads spin for a while, on the cores that the network
    # needs: without a browser a race took twice as long. Those that the projection brings, too.
    import sklearn.decomposition  # noqa: F401

    threadpool_limits(1, "blas")
    demo = build(max_queue)
    more = options.pop("app_kwargs", None) or {}
    demo.launch(
        server_name=host or os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        server_port=port or int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        theme=theme.theme(),
        head=theme.head(first=restore.recording()),
        footer_links=[],
        run_history=False,
        show_error=True,
        max_threads=max_queue + 40,  # each that waits holds one
        max_file_size="100mb",
        ssr_mode=False,
        enable_monitoring=False,
        app_kwargs=more | {"middleware": [*more.get("middleware", []), Middleware(Compressed)]},
        **options,
    )
