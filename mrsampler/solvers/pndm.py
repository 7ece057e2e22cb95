"""PNDM: pseudo-numerical methods, in which DDIM carries y and a classical method averages eps.

DDIM is exact for a constant eps, and the average is that of the classical method in t. The pair is
of order 2 however many evaluations are averaged, for DDIM is linear in sigma/alpha, not in t.
Source: PNDM (arXiv 2202.09778).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor

from mrsampler.solvers.interface import Model, Noise, Solver, State
from mrsampler.solvers.mr import Coefficients, coefficients
from mrsampler.solvers.phi import interpolation_weights
from mrsampler.timesteps import Node, node


def transfer(s: Node, t: Node, weights: Sequence[float] = (1.0,)) -> Coefficients:
    """DDIM from s to t with the weighted mean of evaluations."""
    ddim = coefficients(s, t, [s], "noise")
    return Coefficients(ddim.y, [ddim.history[0] * weight for weight in weights])


def multistep_weights(s: Node, t: Node, evaluated: Sequence[Node]) -> list[float]:
    """Adams-Bashforth: the mean from s to t of the polynomial in t through the evaluations.

    On a uniform-t grid the paper's 55/24, -59/24, 37/24, -9/24.
    """
    offsets = [(node.t - s.t) / (t.t - s.t) for node in evaluated]
    return interpolation_weights(0.0, 1.0, offsets)


def pndm(
    model: Model, y: Tensor, nodes: list[Node], noise: Noise, *, runge_kutta: bool
) -> Iterator[State]:
    """Linear multistep with the last four evaluations.

        y_t = alpha_t/alpha_s y_s - alpha_t (sigma_s/alpha_s - sigma_t/alpha_t) eps',
        eps' = (55 eps_0 - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24 where steps are equal in t.

    With `runge_kutta` the first three steps are of the pseudo-Runge-Kutta method, 4 evaluations
    each (PNDM); without, the first is of the pseudo improved Euler method, 2 evaluations, and the
    next use the two or three that there are (PLMS, PNDM with `skip_prk_steps` in diffusers).
    """
    pairs = list(pairwise(nodes))
    started = 3 if runge_kutta else 1
    middles = [node(model.process, (s.t + t.t) / 2) for s, t in pairs[:3]]
    halves = [transfer(s, middle) for (s, _), middle in zip(pairs, middles, strict=False)]
    whole = [transfer(s, t) for s, t in pairs[:3]]
    mean = [1 / 6, 1 / 3, 1 / 3, 1 / 6] if runge_kutta else [1 / 2, 1 / 2]
    table = [
        transfer(s, t, mean if i < started else multistep_weights(s, t, nodes[i::-1][:4]))
        for i, (s, t) in enumerate(pairs)
    ]
    history: deque[Tensor] = deque(maxlen=4)
    for i, (s, t) in enumerate(pairs):
        predicted = model(y, s)
        history.appendleft(predicted.noise)
        values = list(history)
        if i < started:
            values = values[:1]
            if runge_kutta:
                for _ in range(2):
                    values.append(model(halves[i].combine(y, values[-1:]), middles[i]).noise)
            values.append(model(whole[i].combine(y, values[-1:]), t).noise)
        y = table[i].combine(y, values)
        yield State(y, t, predicted)


SOLVERS = {
    "pndm": Solver(
        "PNDM",
        "pseudo linear multistep after three pseudo Runge-Kutta steps",
        "PNDM",
        order=2,
        prediction="noise",
        spacing="uniform-t",
        first=(4, 4, 4),
        run=partial(pndm, runge_kutta=True),
    ),
    "plms": Solver(
        "PLMS",
        "pseudo linear multistep after one pseudo improved Euler step",
        "PNDM",
        order=2,
        prediction="noise",
        spacing="uniform-t",
        first=(2,),
        run=partial(pndm, runge_kutta=False),
    ),
}
