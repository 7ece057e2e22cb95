"""RK45: Dormand-Prince with adaptive steps, as SciPy implements it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mrsampler.solvers.interface import BudgetError, Model, Noise, Option, Prediction, Solver, State
from mrsampler.timesteps import Node, node


class _Field:
    """du/dlambda = -e^{-lambda} eps for u = y / alpha: the PF-ODE without its linear part.

    SciPy's side is float64 on the CPU, the network's has the shape, type and device of y. The last
    evaluation is kept, for the method's last stage is at the point that it accepts; and the first,
    for SciPy's second is a probe for the first step's size.
    """

    y: Tensor
    node: Node
    first: Prediction
    prediction: Prediction

    def __init__(self, model: Model, like: Tensor, nodes: list[Node], budget: float):
        self.model, self.like, self.budget = model, like, budget
        self.ends = {end.lam: end for end in (nodes[0], nodes[-1])}
        self.calls = 0

    def __call__(self, lam: float, u: np.ndarray) -> np.ndarray:
        if self.calls >= self.budget:
            raise BudgetError
        self.calls += 1
        # At the ends the grid's own nodes: time(lam) may differ from their t by rounding.
        process = self.model.process
        self.node = self.ends.get(lam) or node(process, process.time(lam))
        self.y = torch.from_numpy(self.node.alpha * u).reshape(self.like.shape).to(self.like)
        self.prediction = self.model(self.y, self.node)
        if self.calls == 1:
            self.first = self.prediction
        eps = _flat(self.prediction.noise)
        if not np.isfinite(eps).all():  # SciPy would look for a step small enough for ever
            raise ArithmeticError(f"RK45 at t = {self.node.t:.6g}: a prediction is not finite")
        return -math.exp(-lam) * eps


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().double().numpy().ravel()


def rk45(
    model: Model,
    y: Tensor,
    nodes: list[Node],
    noise: Noise,
    *,
    tolerance: float = 1e-4,
    budget: float = math.inf,
) -> Iterator[State]:
    """From the first node to the last in steps of its own, one State an accepted step.

    It solves du/dlambda = -e^{-lambda} eps for u = y / alpha.
    `tolerance` bounds a step's estimated error in u = y / alpha, as SciPy's rtol and atol. A
    rejected step costs its evaluations too.

    Raises BudgetError before a call beyond `budget`, and ArithmeticError where a prediction is not
    finite or no step is small enough.
    Source: Dormand & Prince (1980); for the PF-ODE Song et al. (arXiv 2011.13456).
    """
    from scipy.integrate import RK45  # a third of a second, which only this solver need spend

    field = _Field(model, y, nodes, budget)
    reached, last = nodes[0], nodes[-1]
    try:
        method = RK45(
            field, reached.lam, _flat(y) / reached.alpha, last.lam, rtol=tolerance, atol=tolerance
        )
        predicted = field.first
        while method.status == "running":
            message = method.step()
            if message is not None:
                raise ArithmeticError(f"RK45 at t = {reached.t:.6g}: {message}")
            reached = field.node
            yield State(field.y, reached, predicted)
            predicted = field.prediction
    except BudgetError:
        raise BudgetError(
            f"RK45 at tolerance {tolerance:g} spent its {budget:g} evaluations and reached "
            f"t = {reached.t:.6g}, not {last.t:.6g}: raise nfe or tolerance"
        ) from None


SOLVERS = {
    "rk45": Solver(
        "RK45",
        "Dormand–Prince of order 5, its steps chosen to a tolerance",
        "Adaptive",
        order=5,
        evaluations=6,
        first=(8,),
        adaptive=True,
        options={"tolerance": Option("positive", lambda value: 0 < value < math.inf)},
        given=frozenset({"budget"}),
        run=rk45,
    ),
}
