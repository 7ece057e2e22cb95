"""Annealed Langevin dynamics: a random walk at each of a falling sequence of noise levels."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from mrsampler.processes import VESDE
from mrsampler.solvers.interface import Model, Noise, Option, Solver, State
from mrsampler.timesteps import Node


def levels(nodes: list[Node], per_level: int) -> list[Node]:
    """The level of each of the len(nodes) - 1 updates.

    ceil(updates / per_level) nodes spread evenly over the grid, from its first to its last, and the
    updates evenly over them. A single level is the first node's: that of the start.
    """
    updates = len(nodes) - 1
    count = math.ceil(updates / per_level)
    thinned = [nodes[round(i * updates / max(1, count - 1))] for i in range(count)]
    return [thinned[i * count // updates] for i in range(updates)]


def langevin(
    model: Model,
    y: Tensor,
    nodes: list[Node],
    noise: Noise,
    *,
    step_size: float = 0.2,
    per_level: int = 10,
) -> Iterator[State]:
    """One update a step, y += a/2 score + sqrt(a) z with a = step_size sigma^2 of the level.

    The score is -eps / sigma. Several States in a row are at the same node, their level's. The
    `step_size` is NCSN's epsilon / sigma_L^2, of epsilon = 2e-5 and sigma_L = 0.01.
    Source: NCSN (arXiv 1907.05600), Algorithm 1.
    """
    for i, level in enumerate(levels(nodes, per_level)):
        predicted = model(y, level)
        y = y.add(predicted.noise, alpha=-step_size * level.sigma / 2)
        y.add_(noise(i + 1), alpha=math.sqrt(step_size) * level.sigma)
        yield State(y, level, predicted)


SOLVERS = {
    "langevin": Solver(
        "Langevin",
        "annealed Langevin dynamics, one update a step",
        "Langevin",
        order=0,
        stochastic=True,
        options={
            "step_size": Option("positive", lambda value: 0 < value < math.inf),
            "per_level": Option("a whole number of at least 1", lambda n: n == int(n) >= 1),
        },
        processes=(VESDE,),
        run=langevin,
    ),
}
