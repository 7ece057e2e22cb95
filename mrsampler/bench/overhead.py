"""What a sampler's own arithmetic costs: our step against diffusers', the network being free."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from mrsampler.denoiser import Denoiser
from mrsampler.processes import VPSDE
from mrsampler.trajectory import trajectory

STEPS = 20
SIDES = (256, 1024)
# Each of ours beside the scheduler of diffusers that makes the same steps.
PAIRS = {
    "dpm-solver++-2m": ("DPMSolverMultistepScheduler", {"solver_order": 2}),
    "unipc-bh2-d-2": ("UniPCMultistepScheduler", {"solver_order": 2}),
}


def overhead(sides: Sequence[int] = SIDES, repeats: int = 15) -> Iterator[dict[str, float | str]]:
    """Microseconds a step on (1, 3, side, side) float32 on the CPU, a row for each pair and side.

    Of runs of 20 steps, ours and theirs in turns, the median of `repeats`. `start` is what passes
    until the first step, which is of order 1, is done: our coefficients are all computed in it,
    theirs step by step. Raises ImportError without diffusers.
    """
    import diffusers

    for name, (scheduler, settings) in PAIRS.items():
        table = getattr(diffusers, scheduler)(**settings).alphas_cumprod
        process = VPSDE.from_alphas_cumprod(table)
        for side in sides:
            generator = torch.Generator().manual_seed(0)
            x_T, output = torch.randn(2, 1, 3, side, side, generator=generator)
            ours, theirs = [], []
            for _ in range(repeats):
                ours.append(_times(_our_run(name, process, x_T, output)))
                made = getattr(diffusers, scheduler)(**settings)
                theirs.append(_times(_their_run(made, x_T, output)))
            start, step = _medians(ours)
            their_start, their_step = _medians(theirs)
            yield {
                "solver": name,
                "side": side,
                "ours": step,
                "diffusers": their_step,
                "ratio": step / their_step,
                "start": start,
                "their_start": their_start,
            }


def _medians(times: list[tuple[float, float]]) -> tuple[float, float]:
    """In microseconds."""
    starts, steps = zip(*times, strict=True)
    return 1e6 * median(starts), 1e6 * median(steps)


def _times(run: Iterator[None]) -> tuple[float, float]:
    """The seconds of a run until its first step is done, and of each step after it."""
    started = time.perf_counter()
    next(run)
    first = time.perf_counter()
    for _ in run:
        pass
    return first - started, (time.perf_counter() - first) / (STEPS - 1)


def _our_run(solver: str, process: VPSDE, x_T: Tensor, output: Tensor) -> Iterator[None]:
    denoiser = Denoiser(lambda x, mu, t: output)
    mu = torch.zeros_like(x_T)
    steps = trajectory(denoiser, mu, process=process, solver=solver, nfe=STEPS, x_T=x_T)
    next(steps)  # x_T itself
    for _ in steps:
        yield


@torch.no_grad()
def _their_run(scheduler: Any, x_T: Tensor, output: Tensor) -> Iterator[None]:
    scheduler.set_timesteps(STEPS)
    x = x_T
    for t in scheduler.timesteps:
        x = scheduler.step(output, t, x).prev_sample
        yield
