"""A tab as small as one can be: photo controls, preview, Run and Stop, states and failure."""

import time
from pathlib import Path

import gradio as gr

from mrsampler.ui.parts.components import as_text, panel
from mrsampler.ui.parts.frames import jpeg
from mrsampler.ui.parts.photo_controls import controls, read
from mrsampler.ui.parts.tab import Runs, buttons, wire_preview, wire_run

RUNS, HERE = Runs(), Path(__file__).parent


def preview(example, upload):
    return {"state": "idle", "picture": jpeg(read(example, upload).rgb), "say": "Ready."}


def run(example, upload, severity, request: gr.Request):
    with RUNS.one(request) as stop:
        image = read(example, upload).rgb
        for step in range(1, 41):
            if severity == 1:
                yield {"state": "failed", "say": "It is too dark."}
                return
            if stop.is_set():
                yield {"state": "stopped", "say": f"Stopped at {step}."}
                return
            yield {"state": "running", "picture": jpeg(image / step), "say": f"Step {step}."}
            time.sleep(0.05)
        yield {"state": "finished", "say": "Done."}


def build(page):
    gr.set_static_paths([HERE / "stage.js"])
    with gr.Row(elem_id="toy"):
        with gr.Column(elem_id="toy-knobs"):
            photo = controls()
        run_and_stop = buttons("toy-")
        stage = panel(HERE / "stage")
    what = [photo.example, photo.drop]
    wire_preview(as_text(preview), photo.picked, [], what, stage)
    wire_run("toy", run_and_stop, as_text(run), [*what, photo.severity], stage, RUNS.stop)
    page.unload(RUNS.stop)
