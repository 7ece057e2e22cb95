"""All that is used of gradio's own parts, which it may change without a word; each with a test."""

from __future__ import annotations

import gradio as gr


def look_for_work_every(page: gr.Blocks, seconds: float) -> None:
    """How long the page's queue sleeps between two looks for work.

    There is no public way. At gradio's own thousandth of a second it takes a twentieth of a core,
    of which a race's network has two: 0.3 s of one in each race.
    """
    page._queue.sleep_when_free = seconds
