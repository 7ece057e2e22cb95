"""Heun and Adams-Moulton for the PF-ODE in rho = sigma / alpha.

With u = y / alpha the PF-ODE is du/drho = eps: no linear part is left, and a classical method
applies. Each step predicts, evaluates, corrects, and evaluates again where it ended (PECE).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from mrsampler.solvers.interface import Model, Noise, Solver, State
from mrsampler.solvers.mr import Coefficients
from mrsampler.solvers.phi import interpolation_weights
from mrsampler.timesteps import Node


class Step(NamedTuple):
    """The predictor takes eps_0, eps_1, ..., newest first; the corrector one at its end before."""

    predictor: Coefficients
    corrector: Coefficients


def rho(node: Node) -> float:
    """sigma / alpha, the noise that u = y / alpha carries."""
    return node.sigma / node.alpha


def adams(s: Node, t: Node, evaluated: list[Node]) -> Coefficients:
    """The step from s to t: the polynomial in rho through the evaluations, integrated."""
    offsets = [rho(node) - rho(s) for node in evaluated]
    weights = interpolation_weights(0.0, rho(t) - rho(s), offsets)
    return Coefficients(t.alpha / s.alpha, [t.alpha * weight for weight in weights])


def adams_moulton(
    model: Model, y: Tensor, nodes: list[Node], noise: Noise, *, order: int
) -> Iterator[State]:
    """Predictor Adams-Bashforth of order k - 1, corrector Adams-Moulton of order k = `order`.

    The first steps are of order 2, 3, ..., k. Order 2, Euler corrected by the trapezoid, is Heun:
    the deterministic sampler of EDM.
    Source: Karras et al., EDM (arXiv 2206.00364), Algorithm 1; Adams-Moulton as the
    MR Sampler's baseline.
    """
    table = []
    for i, (s, t) in enumerate(pairwise(nodes)):
        past = nodes[i::-1][: order - 1]
        table.append(Step(adams(s, t, past), adams(s, t, [t, *past])))
    history: deque[Tensor] = deque(maxlen=order - 1)
    for i, (s, t) in enumerate(pairwise(nodes)):
        predicted = model(y, s)
        history.appendleft(predicted.noise)
        ahead = model(table[i].predictor.combine(y, history), t)
        y = table[i].corrector.combine(y, [ahead.noise, *history])
        yield State(y, t, predicted)


SOLVERS = {
    "heun": Solver(
        "Heun",
        "Heun for the PF-ODE, in σ/α",
        "Classical",
        order=2,
        evaluations=2,
        prediction="noise",
        run=partial(adams_moulton, order=2),
    ),
    "adams-moulton-3": Solver(
        "Adams–Moulton",
        "Adams–Moulton for the PF-ODE, in σ/α, two past evaluations",
        "Classical",
        variant="3",
        order=3,
        evaluations=2,
        prediction="noise",
        run=partial(adams_moulton, order=3),
    ),
    "adams-moulton-4": Solver(
        "Adams–Moulton",
        "Adams–Moulton for the PF-ODE, in σ/α, three past evaluations",
        "Classical",
        variant="4",
        order=3,  # 4 in the limit, from below: 3.6 measured at 320 evaluations
        evaluations=2,
        prediction="noise",
        run=partial(adams_moulton, order=4),
    ),
}
