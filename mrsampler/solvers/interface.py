"""What a solver is given and what it yields. It knows nothing of images, tasks or networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, chain, repeat
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor

from mrsampler.processes import Process
from mrsampler.timesteps import Node

Parameterisation = Literal["noise", "data"]
"""What a solver expands: eps or D."""

OTHER: dict[Parameterisation, Parameterisation] = {"noise": "data", "data": "noise"}
"""The one for the other."""


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

    process: Process

    def __call__(self, y: Tensor, node: Node) -> Prediction: ...


Noise = Callable[[int], Tensor]
"""The standard normal draw that makes step i (1, 2, ...), of y's shape."""


class State(NamedTuple):
    """y after a step, the node it is at, and the prediction that produced it.

    `predicted` is the evaluation at the node where the step began: its first one, where a step
    takes several.
    """

    y: Tensor
    node: Node
    predicted: Prediction


Run = Callable[..., Iterator[State]]
"""run(model, y, nodes, noise, **options): a generator of the State after each step."""


class Option(NamedTuple):
    """What an option of a solver must be, in words and as a check of a number or a name."""

    wanted: str
    holds: Callable[[Any], bool]

    def __call__(self, value: Any) -> bool:
        try:
            return bool(self.holds(value))
        except TypeError:  # no number
            return False


@dataclass(frozen=True)
class Solver:
    """An entry of the registry: all that the command line and the page say of it is made from this.

    method       whose it is, as people call it: "MR Sampler", "Heun"
    variant      which of the method's, in short: "ODE d-2"
    summary      what it does, in a line without what a step costs
    family       the heading under which it is listed
    order        of convergence, of the mean for a stochastic solver; 0: none
    prediction   what its polynomial is one of; None where it has none
    counterpart  the solver that differs from it in `prediction` alone
    baseline     a usual sampler, which others are measured against
    published    as in the code of the MR Sampler's paper, where that is of another order or stride
    spacing      the one that its order is stated for, and that it is usually run with
    evaluations  network calls a step; `first` those of the first steps where they differ
    own_nodes    takes from the grid only the number of steps, and starts at T
    adaptive     chooses its own steps between the grid's ends
    options      the settings of its own that a user can give `run`
    given        those that the trajectory gives it: final_order (the highest order of the last
                 step, None for no limit) and budget (of evaluations)
    processes    those that it is defined on
    """

    method: str
    summary: str
    family: str
    order: int
    run: Run
    variant: str = ""
    prediction: Parameterisation | None = None
    counterpart: str | None = None
    stochastic: bool = False
    baseline: bool = False
    published: bool = False
    spacing: str = "uniform-lambda"
    evaluations: int = 1
    first: tuple[int, ...] = ()
    own_nodes: bool = False
    adaptive: bool = False
    options: Mapping[str, Option] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    processes: tuple[type[Process], ...] = (Process,)

    @property
    def label(self) -> str:
        """Its short name for people: "MR Sampler ODE d-2"."""
        return f"{self.method} {self.variant}".strip() + ", published" * self.published

    @property
    def words(self) -> str:
        """What it is to somebody who knows no names: "MR Sampler, deterministic, order 2".

        Data prediction is the usual one and goes without saying.
        """
        said = [self.method, "stochastic" if self.stochastic else "deterministic"]
        said += [f"order {self.order}"] * (self.order > 0)
        said += ["noise prediction"] * (self.prediction == "noise")
        return ", ".join(said + ["as published"] * self.published)

    def cost(self, steps: int, to_data: bool = False) -> int:
        """The network calls of a run; the step to sigma = 0 costs a single one."""
        proper = steps - 1 if to_data else steps
        started = self.first[:proper]
        return sum(started) + (proper - len(started)) * self.evaluations + to_data

    def steps(self, nfe: int, to_data: bool = False) -> int:
        """The most steps that `nfe` evaluations pay for.

        Raises ValueError where not even one fits.
        """
        steps = 0
        left = nfe - to_data
        for spent in accumulate(chain(self.first, repeat(self.evaluations))):
            if spent > left:
                break
            steps += 1
        steps += to_data and left >= 0
        if steps < 1:
            raise ValueError(f"needs at least {self.cost(1, to_data)} evaluations, got nfe={nfe}")
        return steps

    def check_options(self, options: dict[str, Any]) -> None:
        """Raises ValueError for an option that `run` does not take, or a value that it cannot."""
        for name, value in options.items():
            if name not in self.options:
                takes = ", ".join(sorted(self.options)) or "none"
                raise ValueError(f"takes no option {name!r}, only: {takes}")
            if not self.options[name](value):
                raise ValueError(f"{name} must be {self.options[name].wanted}, got {value!r}")


class BudgetError(RuntimeError):
    """A solver that chooses its own steps would need more evaluations than it was given."""
