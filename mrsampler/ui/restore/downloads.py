"""A run to take away: the race as an animation, its numbers and frames, what repeats it."""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from mrsampler.photo import to_pil
from mrsampler.ui.parts.charts import COLOURS
from mrsampler.ui.restore.live import Entrant, Still, distances
from mrsampler.ui.restore.memory import RunResult

# Pixels, and milliseconds.
PANEL, GAP, STRIP = 320, 8, 44
A_FRAME, THE_LAST = 90, 2500


def animation(run: RunResult) -> bytes:
    """Both samplers' x_t side by side as an animated WebP, a frame an evaluation."""
    tracks = [(entrant, run.stills[entrant.key]) for entrant in run.entrants]
    ticks = sorted({still.index for _, stills in tracks for still in stills})
    frames = [_side_by_side([(e, _at(stills, tick)) for e, stills in tracks]) for tick in ticks]
    file = io.BytesIO()
    frames[0].save(
        file,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=[A_FRAME] * (len(frames) - 1) + [THE_LAST],
        loop=0,
        quality=70,
        method=1,
    )
    return file.getvalue()


def _at(stills: list[Still], tick: int) -> Still:
    """Where a sampler is at a tick: its latest step by then."""
    return next(still for still in reversed(stills) if still.index <= tick)


def _side_by_side(shown: list[tuple[Entrant, Still]]) -> Image.Image:
    height, width = shown[0][1].x.pixels.shape[1:]
    scale = min(1.0, PANEL / width)
    size = round(width * scale), round(height * scale)
    sheet = Image.new("RGB", (len(shown) * (size[0] + GAP) + GAP, size[1] + STRIP + GAP), "#ffffff")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, (entrant, still) in enumerate(shown):
        left = GAP + i * (size[0] + GAP)
        picture = to_pil(still.x.image)
        sheet.paste(picture.resize(size, Image.Resampling.BILINEAR), (left, STRIP))
        draw.text((left, 6), entrant.label, COLOURS[entrant.key], font)
        draw.text((left, 24), f"{still.nfe} / {entrant.nfe} NFE", "#5a6270", font)
    return sheet


def arrays(run: RunResult) -> bytes:
    """The run as .npz: what of each sampler, as NAME_a for the first and NAME_b for the second.

    x_*, x0_*          frames, (n, H, W, 3) uint8
    x_range_*          (n, 2): x_t is x / 255 * (high - low) + low; x_0 is x0 / 255 likewise
    x0_step_*          which steps the x0 are of
    step_*, nfe_*, t_*, lambda_*, seconds_*   (n,)
    projection_2d_*, projection_3d_*          (n, 2) and (n, 3), as in the plot
    record             the JSON of `record`, as a string
    """
    held: dict[str, Any] = {"record": np.array(json.dumps(record(run)))}
    for key, stills in run.stills.items():
        predicted = [still for still in stills if still.x0 is not None]
        steps = np.array([still.index for still in stills])
        mine = {
            "x": _frames([s.x.pixels for s in stills]),
            "x_range": np.array([(s.x.low, s.x.high) for s in stills], dtype=np.float32),
            "x0": _frames([s.x0.pixels for s in predicted if s.x0]),
            "x0_range": np.array([(s.x0.low, s.x0.high) for s in predicted if s.x0], np.float32),
            "x0_step": np.array([s.index for s in predicted]),
            "step": steps,
            "nfe": np.array([s.nfe for s in stills]),
            "t": np.array([s.t for s in stills]),
            "lambda": np.array([s.lam for s in stills]),
            "seconds": np.array([s.seconds for s in stills]),
        }
        for n, figure in run.figures.items():
            line = next(trace for trace in figure["data"] if trace["name"] == key)
            points = np.stack([line[axis] for axis in "xyz"[: int(n)]], axis=1)
            mine[f"projection_{n}d"] = points[steps]
        held |= {f"{name}_{key}": value for name, value in mine.items()}
    file = io.BytesIO()
    np.savez_compressed(file, **held)
    return file.getvalue()


def _frames(pixels: list[torch.Tensor]) -> np.ndarray:
    if not pixels:
        return np.zeros((0, 0, 0, 3), np.uint8)
    return torch.stack(pixels).permute(0, 2, 3, 1).contiguous().numpy()


def record(run: RunResult) -> dict[str, Any]:
    """The run as JSON: its settings, its numbers, the digests of its pictures.

    `stopped_at_nfe` is where a sampler was stopped, null for one that finished. The digest of the
    restored picture is that of what was reached; `command` is null where none stops there.
    `to_sample` is the predicted x_0's distance to the sampler's last x_t (see `distances`), `lam`
    null where it is infinite.
    """
    samplers = [asdict(entrant) for entrant in run.entrants]
    for sampler in samplers:
        stills = run.stills[sampler["key"]]
        far = distances(stills)
        sampler["stopped_at_nfe"] = run.stopped.get(sampler["key"])
        sampler["steps"] = [
            _finite(still.numbers) | {"to_sample": distance}
            for still, distance in zip(stills, far, strict=True)
        ]
    return {
        "state": "stopped" if run.stopped else "finished",
        "settings": run.asked.to_json(),
        "samplers": samplers,
        "sha256": run.digests,
        "torch": torch.__version__,
        "command": run.command,
        "python": run.python,
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity: lambda where sigma is 0, PSNR of equal pictures."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = _finite(value)
        plain[name] = None if isinstance(value, float) and not math.isfinite(value) else value
    return plain
