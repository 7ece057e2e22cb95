"""Measurements, each a command: `python -m mrsampler bench NAME`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mrsampler.degradations import degrade
from mrsampler.denoiser import Denoiser
from mrsampler.metrics import psnr
from mrsampler.process import MeanRevertingSDE
from mrsampler.trajectory import trajectory


def quality(
    denoiser: Denoiser,
    process: MeanRevertingSDE,
    photos: Sequence[Tensor],
    tasks: Sequence[str],
    *,
    severity: float = 0.5,
    solver: str = "mrs-ode-d-2",
    nfe: int = 10,
) -> Iterator[dict[str, float | str]]:
    """Mean PSNR in dB over clean `photos` (3, H, W), a row for each task as it is done.

    Row: task; degraded (the input); one (the estimate of one evaluation at T); restored (`solver`
    at `nfe`); worse (photos restored to more than 0.5 dB below their input).
    Photo i of every task is degraded, and started from, seed i.
    """
    device = next(denoiser.network.parameters()).device  # type: ignore[union-attr]
    for index, task in enumerate(tasks):
        totals = dict.fromkeys(("degraded", "one", "restored", "worse"), 0.0)
        for seed, photo in enumerate(photos):
            generator = torch.Generator().manual_seed(seed)
            degraded = degrade(photo, task, severity, generator)
            run = trajectory(
                denoiser,
                degraded[None].to(device),
                process=process,
                solver=solver,
                nfe=nfe,
                generator=generator,
                conditioning={"task": index},
            )
            next(run)
            first = step = next(run)
            for step in run:
                pass
            before, after = psnr(degraded, photo), psnr(step.x[0].cpu(), photo)
            totals["degraded"] += before
            totals["one"] += psnr(first.x0[0].cpu(), photo)
            totals["restored"] += after
            totals["worse"] += len(photos) * (after < before - 0.5)
        yield {"task": task} | {name: total / len(photos) for name, total in totals.items()}
