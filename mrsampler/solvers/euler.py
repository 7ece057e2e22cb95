"""Euler in t: the classical schemes, with drift and diffusion frozen over a step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from mrsampler.processes import MeanRevertingSDE
from mrsampler.solvers.ancestral import unit_strides
from mrsampler.solvers.interface import Model, Noise, Solver, State
from mrsampler.timesteps import Node


class Coefficients(NamedTuple):
    """y_t = y * y_s + eps * eps_s + noise * z."""

    y: float
    eps: float
    noise: float


def coefficients(model: Model, s: Node, t: Node, stochastic: bool) -> Coefficients:
    """One step of dy = [-f y + g^2/(2 sigma) eps] dt, or of the SDE with twice that and g dw."""
    f, g2 = model.process.drift(s.t), model.process.diffusion(s.t)
    dt = t.t - s.t  # negative
    pull = g2 / s.sigma * dt
    if stochastic:
        return Coefficients(1 - f * dt, pull, math.sqrt(-g2 * dt))
    return Coefficients(1 - f * dt, pull / 2, 0.0)


def euler(
    model: Model,
    y: Tensor,
    nodes: list[Node],
    noise: Noise,
    *,
    stochastic: bool,
    published: bool = False,
) -> Iterator[State]:
    """Euler for the PF-ODE, Euler-Maruyama for the reverse-time SDE, backwards in t:

        dy = [-f y + g^2/(2 sigma) eps] dt,        dy = [-f y + g^2/sigma eps] dt + g dw

    With `published` in unit strides of t, as in the published code (see `unit_strides`).
    Source: Song et al., Score-based generative modeling through SDEs (arXiv 2011.13456);
    IR-SDE (arXiv 2301.11699).
    """
    pairs = unit_strides(model.process, len(nodes) - 1) if published else list(pairwise(nodes))
    table = [coefficients(model, s, t, stochastic) for s, t in pairs]
    for i, (s, t) in enumerate(pairs):
        predicted = model(y, s)
        step = table[i]
        y = step.y * y
        y.add_(predicted.noise, alpha=step.eps)
        if stochastic:
            y.add_(noise(i + 1), alpha=step.noise)
        yield State(y, t, predicted)


SOLVERS = {
    "euler": Solver(
        "Euler",
        "Euler for the PF-ODE, in t",
        "Classical",
        order=1,
        baseline=True,
        spacing="uniform-t",
        run=partial(euler, stochastic=False),
    ),
    "euler-maruyama": Solver(
        "Euler–Maruyama",
        "Euler–Maruyama for the reverse-time SDE, in t",
        "Classical",
        order=1,
        baseline=True,
        spacing="uniform-t",
        stochastic=True,
        run=partial(euler, stochastic=True),
    ),
    "euler-published": Solver(
        "Euler",
        "Euler as published: unit strides, whatever the number of steps",
        "Classical",
        order=0,
        published=True,
        spacing="uniform-t",
        own_nodes=True,
        processes=(MeanRevertingSDE,),
        run=partial(euler, stochastic=False, published=True),
    ),
    "euler-maruyama-published": Solver(
        "Euler–Maruyama",
        "Euler–Maruyama as published: unit strides, whatever the number of steps",
        "Classical",
        order=0,
        published=True,
        spacing="uniform-t",
        stochastic=True,
        own_nodes=True,
        processes=(MeanRevertingSDE,),
        run=partial(euler, stochastic=True, published=True),
    ),
}
