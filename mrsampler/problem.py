"""What solvers are compared on: a denoiser, the starts it is solved from, the converged solutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mrsampler.degradations import degrade
from mrsampler.denoiser import Denoiser
from mrsampler.playground import Mixture
from mrsampler.process import MeanRevertingSDE, Process
from mrsampler.restorer import Restorer
from mrsampler.trajectory import Step, trajectory

# Third order and fine enough: `Problem.uncertainty` says how fine.
REFERENCE_SOLVER, REFERENCE_NFE = "mrs-ode-d-3", 200


@dataclass(frozen=True)
class Problem:
    """A batch of initial value problems of the PF-ODE: mu and x_T (B, ...), at one denoiser."""

    name: str
    denoiser: Denoiser
    process: Process
    mu: Tensor
    x_T: Tensor
    conditioning: dict[str, Any] = field(default_factory=dict)
    unit: float = 1.0

    def trajectory(self, **settings: Any) -> list[Step]:
        """The Steps of a run of `mrsampler.trajectory` with these settings."""
        run = trajectory(
            self.denoiser,
            self.mu,
            process=self.process,
            x_T=self.x_T,
            conditioning=self.conditioning,
            **settings,
        )
        return list(run)

    def sample(self, **settings: Any) -> Tensor:
        """The last Step's x."""
        return self.trajectory(**settings)[-1].x

    @cached_property
    def solution(self) -> Tensor:
        """x_0 of the converged PF-ODE."""
        return self.sample(solver=REFERENCE_SOLVER, nfe=REFERENCE_NFE, spacing="blend")

    def error(self, x: Tensor) -> float:
        """The root mean square distance of x to the solution, in `unit`s."""
        return (x.double() - self.solution).square().mean().sqrt().item() / self.unit

    @cached_property
    def uncertainty(self) -> float:
        """The error of half as many evaluations: well above the solution's own."""
        return self.error(
            self.sample(solver=REFERENCE_SOLVER, nfe=REFERENCE_NFE // 2, spacing="blend")
        )


def mixture_problem(process: Process | None = None, count: int = 256) -> Problem:
    """Three Gaussians in the plane, of which the score is known exactly; in float64."""
    process = process or MeanRevertingSDE()
    means = torch.tensor([[0.35, 0.10], [-0.25, 0.30], [0.05, -0.40]])
    mixture = Mixture(process, means, torch.tensor([0.5, 0.3, 0.2]), spread=0.12)
    generator = torch.Generator().manual_seed(0)
    mu = torch.zeros(count, 2, dtype=torch.float64)
    noise = torch.randn(count, 2, dtype=torch.float64, generator=generator)
    return Problem("mixture", Denoiser(mixture), process, mu, process.prior(mu, noise))


def photo_problem(
    restorer: Restorer,
    photos: Sequence[Tensor],
    *,
    side: int = 64,
    severity: float = 0.5,
    seed: int = 0,
) -> Problem:
    """A crop of each photo (3, H, W), degraded by the tasks in turn; errors in 1/255.

    Raises ValueError without photos, or for one smaller than `side` pixels.
    """
    if not photos or min(min(photo.shape[1:]) for photo in photos) < side:
        raise ValueError(f"expected photos of at least {side} pixels a side")
    generator = torch.Generator().manual_seed(seed)
    crops, tasks = [], []
    for i, photo in enumerate(photos):
        tasks.append(i % len(restorer.tasks))
        degraded = degrade(photo, restorer.tasks[tasks[-1]], severity, generator)
        top, left = (
            int(torch.randint(size - side + 1, (), generator=generator)) for size in photo.shape[1:]
        )
        crops.append(degraded[:, top : top + side, left : left + side])
    mu = torch.stack(crops).to(restorer.device, memory_format=torch.channels_last)
    noise = torch.randn(mu.shape, generator=generator).to(mu)
    return Problem(
        restorer.checkpoint.name,
        restorer.checkpoint.denoiser,
        restorer.process,
        mu,
        restorer.process.prior(mu, noise),
        {"task": torch.tensor(tasks, device=restorer.device)},
        unit=1 / 255,
    )
