"""What a solver is given and what it yields. It knows nothing of images, tasks or networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from mrsampler.process import MeanRevertingSDE
from mrsampler.timesteps import Node


class Prediction(Protocol):
    """One evaluation of the network, read in either parameterisation."""

    @property
    def data(self) -> Tensor:
        """D = x_0 - mu."""

    @property
    def noise(self) -> Tensor:
        """eps."""


class Model(Protocol):
    """The network in the residual: one call is one function evaluation."""

    process: MeanRevertingSDE

    def __call__(self, y: Tensor, node: Node) -> Prediction: ...


Noise = Callable[[int], Tensor]
"""The standard normal draw that makes step i (1, 2, ...), of y's shape."""


class State(NamedTuple):
    """y after a step, the node it is at, and the prediction that produced it."""

    y: Tensor
    node: Node
    predicted: Prediction


Run = Callable[..., Iterator[State]]
"""run(model, y, nodes, noise, **options): a generator of the State after each step."""


@dataclass(frozen=True)
class Solver:
    """An entry of the registry.

    `order` is the order of convergence, of the mean for a stochastic solver; `evaluations` the
    network calls a step; `options` the keyword options that `run` takes. With `own_nodes` it takes
    from the grid only the number of steps, and goes to sigma = 0 by itself.
    """

    description: str
    order: int
    run: Run
    stochastic: bool = False
    evaluations: int = 1
    own_nodes: bool = False
    options: frozenset[str] = field(default_factory=frozenset)

    def steps(self, nfe: int, ends_at_zero: bool = False) -> int:
        """The most steps that `nfe` evaluations pay for; the one to sigma = 0 costs a single one.

        Raises ValueError where not even one fits.
        """
        steps = (nfe - 1) // self.evaluations + 1 if ends_at_zero else nfe // self.evaluations
        if steps < 1:
            raise ValueError(f"needs at least {self.evaluations} evaluations, got nfe={nfe}")
        return steps

    def keep_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Those of `options` that `run` takes."""
        return {name: value for name, value in options.items() if name in self.options}
