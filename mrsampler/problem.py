"""What solvers are compared on: a denoiser, the starts, and the converged solutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from mrsampler.batching import joined
from mrsampler.degradations import degrade
from mrsampler.denoiser import Denoiser
from mrsampler.metrics import rmse
from mrsampler.playground import Mixture
from mrsampler.processes import MeanRevertingSDE, Process
from mrsampler.restorer import Restorer
from mrsampler.tiles import part
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
    end: float | None = None  # the time where it ends; None: the process's t_min

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
        """x_0 of the converged PF-ODE. Raises ArithmeticError where that is not finite."""
        x = self.sample(solver=REFERENCE_SOLVER, nfe=REFERENCE_NFE, spacing="blend")
        if not torch.isfinite(x).all():
            raise ArithmeticError(f"{self.name}: the converged solution is not finite")
        return x

    def error(self, x: Tensor) -> float:
        """The root mean square distance of x to the solution, in `unit`s."""
        return rmse(x, self.solution) / self.unit

    @cached_property
    def uncertainty(self) -> float:
        """The error of half as many evaluations: well above the solution's own."""
        return self.error(
            self.sample(solver=REFERENCE_SOLVER, nfe=REFERENCE_NFE // 2, spacing="blend")
        )


class MixtureProblem(Problem):
    """One whose network is a Mixture: its solution is that of the PF-ODE itself, to about 1e-11."""

    @cached_property
    def solution(self) -> Tensor:
        """x_0 by SciPy's DOP853, in u = y/alpha: du/dlambda = -e^{-lambda} eps."""
        mixture, process = self.denoiser.network, self.process
        assert isinstance(mixture, Mixture)
        end = process.t_min if self.end is None else self.end
        first, last = process.lam(process.t_max), process.lam(end)

        def slope(lam: float, flat: np.ndarray) -> np.ndarray:
            t = process.time(min(max(lam, first), last))
            alpha, sigma = process.alpha(t), process.sigma(t)
            y = alpha * torch.from_numpy(flat).view_as(self.mu)
            noise = (y - alpha * mixture.data(y, alpha, sigma)) / sigma
            return -math.exp(-lam) * noise.flatten().numpy()

        u_T = (self.x_T - self.mu) / process.alpha(process.t_max)
        run = solve_ivp(
            slope, (first, last), u_T.flatten().numpy(), "DOP853", rtol=1e-12, atol=1e-13
        )
        u = torch.from_numpy(run.y[:, -1].copy()).view_as(self.mu)
        return self.mu + process.alpha(end) * u


THREE = ([[0.35, 0.10], [-0.25, 0.30], [0.05, -0.40]], [0.5, 0.3, 0.2], 0.12)
"""Means, weights and spread of three Gaussians in the plane: a non-linear field."""


def mixture_problem(
    process: Process | None = None,
    density: tuple[list[list[float]], list[float], float] = THREE,
    count: int = 256,
) -> MixtureProblem:
    """`count` starts in a space where the score is known exactly; in float64."""
    process = process or MeanRevertingSDE()
    means, weights, spread = density
    double = torch.float64
    mixture = Mixture(
        process, torch.tensor(means, dtype=double), torch.tensor(weights, dtype=double), spread
    )
    generator = torch.Generator().manual_seed(0)
    mu = torch.zeros(count, len(means[0]), dtype=torch.float64)
    noise = torch.randn(mu.shape, dtype=torch.float64, generator=generator)
    # A prediction of noise tells nothing at T where alpha is 0: its runs begin at t_max.
    x_T = process.prior(mu, noise, process.t_max)
    return MixtureProblem("mixture", Denoiser(mixture), process, mu, x_T)


def photo_problem(
    restorer: Restorer,
    photos: Sequence[Tensor],
    *,
    side: int = 64,
    severity: float = 0.5,
    seed: int = 0,
) -> Problem:
    """A crop of each photo (3, H, W), degraded whole by the tasks in turn; errors in 1/255.

    Crops begin where all that the network was told of a photo has a pixel: on its `multiple`.
    Raises ValueError without photos, for one smaller than `side` pixels, and for a `side` that is
    no multiple.
    """
    if not photos or min(min(photo.shape[1:]) for photo in photos) < side:
        raise ValueError(f"expected photos of at least {side} pixels a side")
    cell = getattr(restorer.denoiser.network, "multiple", 1)
    if side % cell:
        raise ValueError(f"side must be a multiple of {cell}, got {side}")
    generator = torch.Generator().manual_seed(seed)
    crops, told = [], []
    for i, photo in enumerate(photos):
        task = restorer.tasks[i % len(restorer.tasks)]
        degraded = degrade(photo, task, severity, generator)
        top, left = (
            cell * int(torch.randint((size - side) // cell + 1, (), generator=generator))
            for size in photo.shape[1:]
        )
        crop = (..., slice(top, top + side), slice(left, left + side))
        crops.append(degraded[crop])
        told.append(part(restorer.conditioning(degraded, task), degraded, crop))
    mu = torch.stack(crops).to(restorer.device, memory_format=torch.channels_last)
    noise = torch.randn(mu.shape, generator=generator).to(mu)
    return Problem(
        restorer.checkpoint.name,
        restorer.checkpoint.denoiser,
        restorer.process,
        mu,
        restorer.process.prior(mu, noise),
        {name: joined([one[name] for one in told], [1] * len(told), mu.device) for name in told[0]},
        unit=1 / 255,
    )
