"""The loop in the middle: a denoiser, a process, a grid and a solver meet in a stream of Steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mrsampler.denoiser import Denoiser, Thresholding
from mrsampler.processes import Process
from mrsampler.solvers import SOLVERS, Solver
from mrsampler.solvers.interface import State
from mrsampler.timesteps import Node, Spacing, explicit, node, timesteps

DEFAULT_SOLVER, DEFAULT_NFE, DEFAULT_SPACING = "mrs-ode-d-2", 10, "uniform-lambda"


@dataclass(frozen=True)
class Step:
    """One moment of a trajectory.

    `x` is x_t at time `t` (lambda `lam`) after `index` steps and `nfe` network calls; `x0` is the
    predicted x_0 that produced it, evaluated at the previous Step's t, and None in the first Step;
    `seconds` is the sampler's own time so far, its consumer's excluded. The tensors have mu's
    shape and are never written to again.
    """

    index: int
    t: float
    lam: float
    x: Tensor
    x0: Tensor | None
    nfe: int
    seconds: float


class _Model:
    """A denoiser in the residual, at one mu: what solvers call. Counts its calls."""

    def __init__(
        self,
        denoiser: Denoiser,
        mu: Tensor,
        process: Process,
        conditioning: Mapping[str, Any],
        thresholding: Thresholding | None,
        anchored: bool,
    ):
        self.denoiser, self.mu, self.process = denoiser, mu, process
        self.conditioning, self.thresholding = conditioning, thresholding
        self.nfe = 0
        self._anchored = anchored
        self._placed: tuple[Tensor, Tensor] | None = None

    def place(self, y: Tensor) -> Tensor:
        """x = mu + y, once: the x of a Step is what the network is called with next."""
        if self._placed is None or self._placed[0] is not y:
            self._placed = y, self.lift(y)
        return self._placed[1]

    def lift(self, residual: Tensor) -> Tensor:
        """mu + residual; the residual itself where mu is 0, as for VPSDE and VESDE."""
        return self.mu + residual if self._anchored else residual

    def residual(self, x: Tensor) -> Tensor:
        """x - mu."""
        return x - self.mu if self._anchored else x

    def __call__(self, y: Tensor, node: Node) -> _Prediction:
        self.nfe += 1
        output = self.denoiser(self.place(y), self.mu, node.t, **self.conditioning)
        return _Prediction(self, output, y, node)


class _Prediction:
    """The network's output at (y, node), converted when and as a solver asks."""

    def __init__(self, model: _Model, output: Tensor, y: Tensor, node: Node):
        self._model, self._output, self._y, self._node = model, output, y, node

    @property
    def _given(self) -> tuple[Tensor, Tensor, Tensor, float, float, float]:
        mu, sigma_inf = self._model.mu, self._model.process.sigma_inf
        return self._output, self._y, mu, self._node.alpha, self._node.sigma, sigma_inf

    @cached_property
    def data(self) -> Tensor:
        data = self._model.denoiser.data(*self._given)
        if self._model.thresholding is None:
            return data
        return self._model.thresholding(self._model.lift(data)) - self._model.mu

    @cached_property
    def noise(self) -> Tensor:
        if self._model.thresholding is None:
            return self._model.denoiser.noise(*self._given)
        return (self._y - self._node.alpha * self.data).div_(self._node.sigma)


def trajectory(
    denoiser: Denoiser,
    mu: Tensor,
    *,
    process: Process,
    solver: str = DEFAULT_SOLVER,
    nfe: int = DEFAULT_NFE,
    spacing: str | Spacing | Sequence[float] = DEFAULT_SPACING,
    x_T: Tensor | None = None,
    noise: Callable[[int, torch.Size], Tensor] | None = None,
    generator: torch.Generator | None = None,
    lower_order_final: bool = True,
    lambda_min: float = -math.inf,
    denoise_final: bool | None = None,
    thresholding: Thresholding | None = None,
    conditioning: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[Step]:
    """Samples x_0 given mu, a Step at a time.

    Returns a generator: nothing is computed before it is asked for, and closing it stops the work
    before the next network call. The first Step is x_T, at nfe 0.

    denoiser     the network and its target; called under no_grad with x and mu of mu's shape
    mu           the anchor, (B, ...), floating point, finite: the degraded images, zeros for VPSDE
                 and VESDE
    solver       a name in SOLVERS
    nfe          the most network calls: a solver takes as many steps as they pay for
    spacing      a name in SPACINGS, "karras:RHO", a function like theirs, or the times themselves,
                 falling, from x_T's to the last
    x_T          the start; process.prior(mu, noise, t) unless given, t the first time: T, or t_max
                 where alpha_T is 0 and the network predicts noise, which tells nothing there
    noise        noise(step_index, shape) -> standard normal tensor, for exact reproduction; index 0
                 is the draw behind x_T, index i that of step i. Otherwise drawn from `generator`,
                 or torch's own where that is None too.
    lower_order_final
                 multistep solvers end with steps of falling order
    lambda_min   the run starts no noisier than this lambda
    denoise_final
                 whether the last step returns the predicted x_0 (sigma = 0), counted in nfe; None:
                 where the process has sigma_0 = 0
    thresholding keeps each predicted x_0 in the range of images
    conditioning keyword arguments handed to the network at every call
    options      the solver's own, named in SOLVERS[solver].options: eta, tolerance, ...

    Raises ValueError for an unknown name, an option or setting that the solver does not take, an
    nfe that pays for no step, times that do not fall, a process that the solver or a velocity is
    not defined on, or tensors that do not fit; TypeError for an mu that is no floating-point
    tensor. While it runs, a solver that chooses its own steps raises BudgetError where `nfe` do not
    suffice.
    """
    if solver not in SOLVERS:
        raise ValueError(f"unknown solver {solver!r}; choose from {', '.join(SOLVERS)}")
    chosen = SOLVERS[solver]
    anchored = _check_tensors(mu, x_T)
    if not isinstance(process, chosen.processes):
        names = " or ".join(kind.__name__ for kind in chosen.processes)
        raise ValueError(f"{solver} is defined on {names}, not on {process!r}")
    _check_target(denoiser, process)
    try:
        chosen.check_options(options)
        told = denoiser.tells_data(process.alpha(process.T), process.sigma(process.T))
        first = process.T if told else process.t_max
        nodes = _nodes(chosen, process, nfe, spacing, first, lambda_min, denoise_final)
        if not denoiser.tells_data(nodes[0].alpha, nodes[0].sigma):
            raise ValueError(
                f"starts where {denoiser.target} tells nothing of x_0: give times from "
                f"{process.t_max:g} down"
            )
    except ValueError as error:
        raise ValueError(f"{solver} {error}") from None
    to_data = nodes[-1].sigma == 0
    if "final_order" in chosen.given:
        # The step to sigma = 0 is of order 1: where it follows, the last before it may be of 2.
        options["final_order"] = 1 + to_data if lower_order_final else None
    if "budget" in chosen.given:
        options["budget"] = nfe - to_data - (nodes[0].alpha == 0)

    def draw(index: int) -> Tensor:
        if noise is not None:
            return noise(index, mu.shape).to(mu)
        device = generator.device if generator is not None else mu.device
        return torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=device).to(mu)

    model = _Model(denoiser, mu, process, conditioning or {}, thresholding, anchored)
    return _steps(model, chosen, nodes, options, x_T, draw)


def _nodes(
    solver: Solver,
    process: Process,
    nfe: int,
    spacing: str | Spacing | Sequence[float],
    first: float,
    lambda_min: float,
    denoise_final: bool | None,
) -> list[Node]:
    """The grid of a run, as long as `nfe` pay for; only its ends matter to an adaptive solver.

    `first` is where a named spacing begins.
    """
    if isinstance(spacing, str) or callable(spacing):
        to_data = process.lam(0.0) == math.inf if denoise_final is None else denoise_final
        begins = process.lam(first) == lambda_min == -math.inf
        steps = _affordable(solver, nfe, to_data, begins)
        if solver.own_nodes and (lambda_min > -math.inf or denoise_final is not None):
            raise ValueError("takes its own steps: it has no lambda_min and no denoise_final")
        if solver.own_nodes and steps > process.T:
            raise ValueError(f"has {process.T:g} unit steps, cannot take {steps}")
        if solver.adaptive:
            steps = min(steps, 1 + to_data + begins)
        nodes = timesteps(
            process, steps, spacing, first=first, lambda_min=lambda_min, denoise_final=denoise_final
        )
        if solver.own_nodes:
            nodes[0] = node(process, process.T)  # where it starts whatever the spacing
        return nodes
    nodes = explicit(process, spacing, denoise_final=denoise_final)
    to_data = nodes[-1].sigma == 0
    if lambda_min > -math.inf:
        raise ValueError("starts at the first of its times: lambda_min is for a named spacing")
    begins = nodes[0].alpha == 0
    if solver.own_nodes or (solver.adaptive and len(nodes) - to_data - begins > 2):
        raise ValueError("takes its own steps, not those of a list of times")
    if not solver.adaptive and len(nodes) - 1 > _affordable(solver, nfe, to_data, begins):
        cost = begins + solver.cost(len(nodes) - 1 - begins, to_data)
        raise ValueError(f"needs {cost} evaluations for these times, got nfe={nfe}")
    return nodes


def _affordable(solver: Solver, nfe: int, to_data: bool, begins: bool) -> int:
    """The most steps that `nfe` pay for; one that `begins` where alpha is 0 costs a single one."""
    if not begins:
        return solver.steps(nfe, to_data)
    if nfe == 1 and to_data:
        return 1
    return 1 + solver.steps(nfe - 1, to_data)


def _check_target(denoiser: Denoiser, process: Process) -> None:
    """Raises ValueError for a target that is not defined on the process."""
    if denoiser.target == "velocity" and not process.circular:
        raise ValueError(
            f"{process!r} has no velocity to predict: its alpha and sigma are no circle"
        )
    if denoiser.target == "flow" and process.sigma_inf == math.inf:
        raise ValueError(f"{process!r} has no flow to predict: its sigma_inf is infinite")


def _check_tensors(mu: Tensor, x_T: Tensor | None) -> bool:
    """Whether mu is anything but 0. Raises as `trajectory` says."""
    if not isinstance(mu, Tensor) or not mu.is_floating_point():
        raise TypeError("mu must be a floating-point tensor")
    low, high = (value.item() for value in mu.aminmax()) if mu.numel() else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("mu has values that are not finite")
    if x_T is not None and (x_T.shape, x_T.dtype, x_T.device) != (mu.shape, mu.dtype, mu.device):
        raise ValueError(
            f"x_T must match mu: {tuple(x_T.shape)} {x_T.dtype} on {x_T.device} against "
            f"{tuple(mu.shape)} {mu.dtype} on {mu.device}"
        )
    return low != 0 or high != 0


@torch.no_grad()
def _steps(
    model: _Model,
    solver: Solver,
    nodes: list[Node],
    options: dict[str, Any],
    x_T: Tensor | None,
    draw: Callable[[int], Tensor],
) -> Iterator[Step]:
    mu = model.mu
    started, paused = time.perf_counter(), 0.0

    def step(index: int, node: Node, x: Tensor, x0: Tensor | None) -> Step:
        if mu.is_cuda:
            torch.cuda.synchronize(mu.device)  # `seconds` is of finished work
        seconds = time.perf_counter() - started - paused
        return Step(index, node.t, node.lam, x, x0, model.nfe, seconds)

    x = model.process.prior(mu, draw(0), nodes[0].t) if x_T is None else x_T
    states = _states(model, solver, model.residual(x), nodes, options, draw)
    current = step(0, nodes[0], x, None)
    index = 0
    while True:
        handed_over = time.perf_counter()
        yield current
        paused += time.perf_counter() - handed_over
        state = next(states, None)
        if state is None:
            return
        index += 1
        current = step(index, state.node, model.place(state.y), model.lift(state.predicted.data))


def _states(
    model: _Model,
    solver: Solver,
    y: Tensor,
    nodes: list[Node],
    options: dict[str, Any],
    draw: Callable[[int], Tensor],
) -> Iterator[State]:
    if nodes[0].alpha == 0:
        begun = _begun(model, solver, y, nodes, draw)
        yield begun
        y, nodes = begun.y, nodes[1:]
        if len(nodes) == 1:
            return
        yield from _states(model, solver, y, nodes, options, lambda index: draw(index + 1))
        return
    if nodes[-1].sigma > 0 or solver.own_nodes:
        yield from solver.run(model, y, nodes, draw, **options)
        return
    # lambda is infinite at sigma = 0: whatever the solver, the last step returns D.
    last = nodes[-2]
    if len(nodes) > 2:
        for state in solver.run(model, y, nodes[:-1], draw, **options):
            y, last = state.y, state.node
            yield state
    predicted = model(y, last)
    yield State(predicted.data, nodes[-1], predicted)


def _begun(
    model: _Model, solver: Solver, y: Tensor, nodes: list[Node], draw: Callable[[int], Tensor]
) -> State:
    """The step from where alpha is 0 and lambda -inf: y = alpha D + sigma eps, whatever the solver.

    eps is what y is made of there; where sigma is 0 as well, as at a bridge's end, and for a
    stochastic solver, which keeps nothing of it, a new draw.
    """
    (start, end), predicted = nodes[:2], model(y, nodes[0])
    following = end.alpha * predicted.data
    if end.sigma > 0:
        kept = start.sigma > 0 and not solver.stochastic
        following.add_(y if kept else draw(1), alpha=end.sigma / (start.sigma if kept else 1.0))
    return State(following, end, predicted)


def sample(denoiser: Denoiser, mu: Tensor, **settings: Any) -> Tensor:
    """The last Step's x. Takes what `trajectory` takes and raises what it raises."""
    for step in trajectory(denoiser, mu, **settings):
        x = step.x
    return x


def race(*runs: Iterator[Step]) -> Iterator[tuple[Step, ...]]:
    """Advances several trajectories together, one step of each a tick.

    Yields the latest Step of each; one that is done keeps its last. Closing it closes them all.
    Give them the same x_T for a fair race.
    """
    try:
        latest = [next(run) for run in runs]
        running = list(range(len(runs)))
        while running:
            yield tuple(latest)
            advanced = [(i, next(runs[i], None)) for i in running]
            for i, step in advanced:
                if step is not None:
                    latest[i] = step
            running = [i for i, step in advanced if step is not None]
    finally:
        for run in runs:
            run.close()  # type: ignore[attr-defined]
