"""Particles in a density whose score is exact: a solver's, the exact solution's, how far apart.

Of a deterministic solver the exact solution is that of the PF-ODE from the same x_T, and its error
the distance between the same particles. A stochastic one has no such partner: there the exact
paths are those of the forward process played backwards, which have the law of the reverse-time
SDE's (Anderson, 1982), and its error is the energy distance to the density.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mrsampler.denoiser import Denoiser
from mrsampler.playground import Density, Mixture
from mrsampler.processes import Process
from mrsampler.solvers import SOLVERS
from mrsampler.timesteps import DATA, node, timesteps
from mrsampler.trajectory import Step, trajectory

FRAMES = 60
"""Of the exact solution, after the first."""

# Of all solvers the closest in as many evaluations: the root mean square is below 5e-5.
EXACT_SOLVER, SPACING, STEPS_A_FRAME = "unipc-bh2-d-3", "uniform-lambda", 3

BUDGETS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 50)
"""The NFE that errors are measured at."""

TOLERANCES = (1.0, 0.3, 0.1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4)
"""Those of a solver that chooses its own steps, instead."""


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| of two samples (n, d) and (m, d), in units of x.

    0 for samples of one distribution, but for the noise of either sign of an unbiased estimate.
    Source: Székely & Rizzo, Energy statistics (2013).
    """
    n, m = len(x), len(y)
    within = torch.cdist(x, x).sum() / (n * (n - 1)) + torch.cdist(y, y).sum() / (m * (m - 1))
    return (2 * torch.cdist(x, y).mean() - within).item()


class Ended(NamedTuple):
    """What a run has cost and its error, in units of x."""

    nfe: int
    error: float


@dataclass(frozen=True)
class Particles:
    """Particles of a density under a process, before any solver: positions are (n, 2), float64.

    `mu` is the anchor of them all, the origin under VPSDE and VESDE. Every draw is from `seed`.
    """

    density: Density
    process: Process
    mu: tuple[float, float] = (0.0, 0.0)
    count: int = 300
    seed: int = 0

    @cached_property
    def mixture(self) -> Mixture:
        """The exact network."""
        return self.density.under(self.process, self.anchor[0], target="data")

    @cached_property
    def anchor(self) -> Tensor:
        """mu, once a particle."""
        return torch.tensor(self.mu, dtype=torch.float64).repeat(self.count, 1)

    @cached_property
    def x_T(self) -> Tensor:
        """Where every run from T starts."""
        noise = torch.randn(self.count, 2, generator=self._draws(0), dtype=torch.float64)
        return self.process.prior(self.anchor, noise)

    def steps(self, solver: str, nfe: int, **settings: Any) -> Iterator[Step]:
        """`mrsampler.trajectory` of these particles; raises what it raises."""
        given: dict[str, Any] = {"x_T": self.x_T, "generator": self._draws(1)} | settings
        return trajectory(
            Denoiser(self.mixture, "data"),
            self.anchor,
            process=self.process,
            solver=solver,
            nfe=nfe,
            **given,
        )

    def walk(self, nfe: int, sigma: float, step_size: float = 0.2) -> Iterator[Step]:
        """Langevin dynamics that is not annealed: at one noise level, from all over [-1.5, 1.5]^2.

        Under VESDE. The last of its steps is that to sigma = 0.
        """
        spread = torch.rand(self.count, 2, generator=self._draws(0), dtype=torch.float64)
        level = {"lambda_min": -math.log(sigma), "per_level": nfe, "step_size": step_size}
        return self.steps("langevin", nfe, x_T=3 * spread - 1.5, **level)

    @cached_property
    def flow(self) -> list[Step]:
        """The PF-ODE's exact solution from x_T, at FRAMES + 1 times."""
        steps = self.steps(EXACT_SOLVER, FRAMES * STEPS_A_FRAME, spacing=SPACING)
        return list(islice(steps, 0, None, STEPS_A_FRAME))

    @cached_property
    def times(self) -> list[float]:
        """FRAMES + 1 times from T to the end."""
        return [place.t for place in timesteps(self.process, FRAMES, SPACING)]

    def paths(self, times: Sequence[float]) -> Tensor:
        """Exact paths of the reverse-time SDE at times that fall or stay, (times, n, 2).

        The forward process from x_0 of the density, by its exact transitions, played backwards.
        """
        generator = self._draws(2)
        residual, at, backwards = self.mixture.sample(self.count, generator), DATA, []
        for after in (node(self.process, t) for t in reversed(times)):
            left = after.alpha / at.alpha
            spread = math.sqrt(max(0.0, after.sigma**2 - (left * at.sigma) ** 2))
            noise = torch.randn(residual.shape, generator=generator, dtype=torch.float64)
            residual, at = left * residual + spread * noise, after
            backwards.append(self.anchor + residual)
        return torch.stack(backwards[::-1])

    def error(self, x: Tensor, stochastic: bool) -> float:
        """How far a run has ended from the exact solution, in units of x; inf if it diverged.

        The root mean square distance to where the PF-ODE takes the same particles; of a stochastic
        solver's the energy distance to the density.
        """
        if not torch.isfinite(x).all():
            return math.inf
        if stochastic:
            return energy_distance(x, self.samples(1000, 3))
        return (x - self.flow[-1].x).square().sum(1).mean().sqrt().item()

    @cached_property
    def chance(self) -> float:
        """The energy distance that as many exact samples stay below, 19 times out of 20."""
        reference = self.samples(1000, 3)
        draws = (energy_distance(self.samples(self.count, 4 + i), reference) for i in range(20))
        return sorted(draws)[18]

    def errors(self, solver: str, budgets: Sequence[int], **settings: Any) -> list[Ended]:
        """A solver's runs at the budgets that pay for one; an adaptive one's at the TOLERANCES."""
        chosen = SOLVERS[solver]
        if chosen.adaptive:
            runs = [self.steps(solver, 10_000, tolerance=value) for value in TOLERANCES]
        else:
            least = chosen.cost(1, self.process.lam(0.0) == math.inf)
            runs = [self.steps(solver, nfe, **settings) for nfe in budgets if nfe >= least]
        return [self.ended(run, chosen.stochastic) for run in runs]

    def ended(self, run: Iterator[Step], stochastic: bool) -> Ended:
        """A run to its end."""
        *_, last = run
        return Ended(last.nfe, self.error(last.x, stochastic))

    def samples(self, count: int, stream: int) -> Tensor:
        """`count` draws of x_0, (count, 2)."""
        return self.anchor[0] + self.mixture.sample(count, self._draws(stream))

    def _draws(self, stream: int) -> torch.Generator:
        """A generator of its own for each use of the seed."""
        return torch.Generator().manual_seed(32 * self.seed + stream)
