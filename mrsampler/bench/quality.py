"""How much of the damage a restoration takes away, task by task: `mrsampler bench quality`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mrsampler.bench.yardstick import Yardstick
from mrsampler.degradations import USUAL, degrade
from mrsampler.metrics import psnr, rmse
from mrsampler.restorer import Restorer


def quality(
    restorer: Restorer,
    photos: Sequence[Tensor],
    tasks: Sequence[str],
    *,
    severity: float = 0.5,
    solver: str = "mrs-ode-d-2",
    nfe: int = 10,
    spacing: str | Sequence[float] = "uniform-lambda",
    field: bool = False,
    form: str = USUAL,
) -> Iterator[dict[str, float | str]]:
    """Means over clean `photos` (3, H, W), a row for each task as it is done.

    Row: task; the PSNR in dB: degraded (the input), one (the estimate of one evaluation at T) and
    restored (`solver` at `nfe`); the same two's distances to the truth, lower is better: one_swd,
    restored_swd, one_alex, restored_alex, one_vgg, restored_vgg (sliced Wasserstein and ST-LPIPS on
    either trunk); worse (photos restored to more than 0.5 dB below their input). With `field` also
    whether the network's PF-ODE can be solved, on mrs-ode-d-2 and uniform-lambda, from the same
    x_T: at_50 (PSNR at 50 evaluations) and apart (RMSE in 1/255 between the solutions at 50 and at
    200). `form` is `degrade`'s.
    Photo i of every task is degraded, and started from, seed i.
    Raises RuntimeError where the weights of ST-LPIPS are missing.
    """
    yardsticks = [Yardstick([photo]) for photo in photos]
    for task in tasks:
        totals: dict[str, float] = defaultdict(float)
        worse = 0
        for seed, photo in enumerate(photos):
            generator = torch.Generator().manual_seed(seed)
            degraded = degrade(photo, task, severity, generator, form=form)
            run = restorer.trajectory(
                degraded, task, seed=seed, solver=solver, nfe=nfe, spacing=spacing
            )
            next(run)
            first = next(run)
            x = first.x
            for step in run:
                x = step.x
            assert first.x0 is not None
            one, restored = first.x0[0].cpu(), x[0].cpu()
            before, after = psnr(degraded, photo), 0.0
            totals["degraded"] += before
            for name, image in (("one", one), ("restored", restored)):
                measured = yardsticks[seed]([image])
                after = measured["psnr"]
                totals[name] += after
                for measure in ("swd", "alex", "vgg"):
                    totals[f"{name}_{measure}"] += measured[measure]
            worse += after < before - 0.5
            if field:
                coarse, fine = (_solution(restorer, degraded, task, seed, n) for n in (50, 200))
                totals["at_50"] += psnr(coarse, photo)
                totals["apart"] += 255 * rmse(coarse, fine)
        means = {name: total / len(photos) for name, total in totals.items()}
        yield {"task": task} | means | {"worse": worse}


def _solution(restorer: Restorer, degraded: Tensor, task: str, seed: int, nfe: int) -> Tensor:
    run = restorer.trajectory(
        degraded, task, seed=seed, solver="mrs-ode-d-2", nfe=nfe, spacing="uniform-lambda"
    )
    for step in run:
        x = step.x
    return x[0].cpu()
