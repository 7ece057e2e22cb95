"""What a sampler's own arithmetic costs: our step against diffusers', the network being free."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median

import torch
from torch import Tensor

from mrsampler.denoiser import Denoiser
from mrsampler.process import VPSDE
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

    A run of 20 steps with its set-up (grid and coefficients), in turns with theirs; the median of
    `repeats`. Raises ImportError without diffusers.
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
                ours.append(_seconds(lambda: _our_run(name, process, x_T, output)))  # noqa: B023
                their = getattr(diffusers, scheduler)(**settings)
                theirs.append(_seconds(lambda: _their_run(their, x_T, output)))  # noqa: B023
            us, them = (1e6 * median(times) / STEPS for times in (ours, theirs))
            yield {"solver": name, "side": side, "ours": us, "diffusers": them, "ratio": us / them}


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _our_run(solver: str, process: VPSDE, x_T: Tensor, output: Tensor) -> None:
    denoiser = Denoiser(lambda x, mu, t: output)
    mu = torch.zeros_like(x_T)
    for _ in trajectory(denoiser, mu, process=process, solver=solver, nfe=STEPS, x_T=x_T):
        pass


@torch.no_grad()
def _their_run(scheduler, x_T: Tensor, output: Tensor) -> None:  # type: ignore[no-untyped-def]
    scheduler.set_timesteps(STEPS)
    x = x_T
    for t in scheduler.timesteps:
        x = scheduler.step(output, t, x).prev_sample
