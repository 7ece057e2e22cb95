"""How much of the damage a restoration takes away, task by task: `mrsampler bench quality`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mrsampler.degradations import degrade
from mrsampler.metrics import STLPIPS, TRUNKS, SlicedWasserstein, psnr, rmse
from mrsampler.restorer import Restorer


class Perception:
    """The distances of pictures to one true photo (3, H, W) in what people see."""

    def __init__(self, truth: Tensor):
        self._patches = SlicedWasserstein([truth])
        self._learned = {trunk: STLPIPS(truth, trunk) for trunk in TRUNKS}

    def __call__(self, image: Tensor) -> dict[str, float]:
        """swd, alex and vgg, of an image of the truth's shape."""
        learned = {trunk: distance(image) for trunk, distance in self._learned.items()}
        return {"swd": self._patches([image])} | learned


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
    wild: bool = False,
) -> Iterator[dict[str, float | str]]:
    """Means over clean `photos` (3, H, W), a row for each task as it is done.

    Row: task; the PSNR in dB: degraded (the input), one (the estimate of one evaluation at T) and
    restored (`solver` at `nfe`); the same two's distances to the truth, lower is better: one_swd,
    restored_swd, one_alex, restored_alex, one_vgg, restored_vgg (sliced Wasserstein and ST-LPIPS on
    either trunk); worse (photos restored to more than 0.5 dB below their input). With `field` also
    whether the network's PF-ODE can be solved, on mrs-ode-d-2 and uniform-lambda, from the same
    x_T: at_50 (PSNR at 50 evaluations) and apart (RMSE in 1/255 between the solutions at 50 and at
    200). With `wild` the damage is as `degrade`'s of that name.
    Photo i of every task is degraded, and started from, seed i.
    Raises RuntimeError where the weights of ST-LPIPS are missing.
    """
    yardsticks = [Perception(photo) for photo in photos]
    for task in tasks:
        totals: dict[str, float] = defaultdict(float)
        worse = 0
        for seed, photo in enumerate(photos):
            generator = torch.Generator().manual_seed(seed)
            degraded = degrade(photo, task, severity, generator, wild=wild)
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
            before, after = psnr(degraded, photo), psnr(restored, photo)
            totals["degraded"] += before
            totals["one"] += psnr(one, photo)
            totals["restored"] += after
            for name, image in (("one", one), ("restored", restored)):
                for measure, distance in yardsticks[seed](image).items():
                    totals[f"{name}_{measure}"] += distance
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
