"""Time steps fitted to a checkpoint: those whose solution comes closest to the converged PF-ODE.

First a shortest path through a fine grid (`shortest`): the length of a step is its local error on
reference trajectories times what the flow makes of an error from there to the end. A multistep
solver's step depends on the one before it, so the path runs over pairs of nodes. Then the real
solver decides (`refine`): the path and the hand-made spacings are run, and the best one's times
moved, one at a time, as long as that brings it closer.

Source: the dynamic programming is that of Optimal Stepsize for Diffusion Sampling (arXiv
2503.21774) and GITS (On the trajectory regularity of ODE-based diffusion sampling, ICML 2024);
here with the history a part of the state, and verified.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from mrsampler.problem import REFERENCE_SOLVER, Problem
from mrsampler.processes import Process
from mrsampler.solvers import SOLVERS
from mrsampler.solvers.mr import coefficients, orders
from mrsampler.timesteps import SPACINGS, Node, Span, timesteps

Times = list[float]


@dataclass(frozen=True)
class Reference:
    """Converged trajectories of a problem at the nodes of a fine grid.

    products  the inner products of all of y_0 ... y_M, D_0 ... D_{M-1} (at the nodes, all cases
              together), (2M + 1, 2M + 1): of these vectors every local error is a combination
    growth    what an error made at each node has become at the end, per unit, (M + 1,)
    """

    nodes: list[Node]
    products: np.ndarray
    growth: np.ndarray


def reference(problem: Problem, size: int = 40, finer: int = 5) -> Reference:
    """Solves the problem on a grid `finer` times as fine as its `size` steps, down to t_min."""
    nodes = timesteps(problem.process, size, "blend", denoise_final=False)
    lams = [a.lam + (b.lam - a.lam) * i / finer for a, b in pairwise(nodes) for i in range(finer)]
    times = [problem.process.time(lam) for lam in lams] + [nodes[-1].t]
    steps = problem.trajectory(
        solver=REFERENCE_SOLVER, nfe=len(lams), spacing=times, denoise_final=False
    )
    y = [step.x - problem.mu for step in steps[::finer]]
    data = [_x0(step.x0) - problem.mu for step in steps[1::finer]]
    vectors = torch.stack([v.flatten() for v in y + data])
    products = np.zeros((len(vectors),) * 2)
    for block in vectors.split(2**16, dim=1):  # not a float64 copy of everything at once
        products += (block.double() @ block.double().T).cpu().numpy()
    return Reference(nodes, products, _growth(problem, nodes, y, data))


def _x0(x0: Tensor | None) -> Tensor:
    assert x0 is not None
    return x0


def _growth(
    problem: Problem, nodes: list[Node], y: list[Tensor], data: list[Tensor], probes: int = 6
) -> np.ndarray:
    """Measured with the error of a first-order step into each of a few nodes; then interpolated."""
    last = len(nodes) - 1
    found = {last: 0.0}
    for k in np.linspace(last // 8, last - 2, probes).round().astype(int).tolist():
        j = k - max(1, last // 10)
        if j < 0:
            continue
        step = coefficients(nodes[j], nodes[k], [nodes[j]], "data")
        ends = []
        for start in (y[k], step.combine(y[j], [data[j]])):
            run = replace(problem, x_T=problem.mu + start)
            times = [node.t for node in nodes[k:]]
            ends.append(run.sample(nfe=last - k, spacing=times, denoise_final=False))
        before = (step.combine(y[j], [data[j]]) - y[k]).norm().item()
        found[k] = math.log((ends[1] - ends[0]).norm().item() / before)
    known = sorted(found)
    lams = [nodes[k].lam for k in known]
    return np.exp(np.interp([n.lam for n in nodes], lams, [found[k] for k in known]))


def shortest(reference: Reference, steps: int, order: int = 2, weight: float = 1.0) -> Times:
    """The times of the path of least total error with `steps` steps, first and last included.

    Raises ValueError for more steps than the reference has.

    `order` 1 or 2: of the data-prediction MR Sampler whose local errors are counted; its first and
    last step are of order 1. `weight` 1 counts an error as what it becomes at the end, 0 as what it
    is: few and long steps leave the range in which the measured growth holds.
    """
    last = len(reference.nodes) - 1
    if not 1 <= steps <= last:
        raise ValueError(f"a path takes 1 to {last} steps through this reference, got {steps}")
    growth = reference.growth**weight
    single = _lengths(reference, 1) * growth
    double = single if order == 1 else _lengths(reference, 2) * growth
    # cost[j, k]: of the best path so far whose last step leads from node j to node k.
    cost = np.full((last + 1, last + 1), np.inf)
    cost[0] = single[0, 0]
    came_from = []
    for step in range(1, steps):
        lengths = single if step == steps - 1 else double
        total = cost[:, :, None] + lengths  # (i, j, k): i to j, then j to k
        came_from.append(total.argmin(0))
        cost = total.min(0)
    j, k = int(cost[:, last].argmin()), last
    path = [k, j]
    for origin in reversed(came_from):
        j, k = int(origin[j, k]), j
        path.append(j)
    return [reference.nodes[i].t for i in reversed(path)]


def _lengths(reference: Reference, order: int) -> np.ndarray:
    """[i, j, k]: the error of the step j to k on the reference, where i was the node before j."""
    nodes, last = reference.nodes, len(reference.nodes) - 1
    lengths = np.full((last + 1,) * 3, np.inf)
    for k in range(1, last + 1):
        for j in range(k):
            earlier = range(j) if order == 2 and j else [0]
            for i in earlier:
                history = [j] if order == 1 or j == 0 else [j, i]
                step = coefficients(nodes[j], nodes[k], [nodes[n] for n in history], "data")
                which = [j, k, *(last + 1 + n for n in history)]
                factors = np.array([step.y, -1.0, *step.history])
                square = factors @ reference.products[np.ix_(which, which)] @ factors
                lengths[i, j, k] = math.sqrt(max(square, 0.0))
            if order == 1:
                lengths[:, j, k] = lengths[0, j, k]
    return lengths


def refine(
    problem: Problem,
    solver: str,
    nfe: int,
    times: Times,
    *,
    rounds: int = 3,
    progress: Callable[[], None] = lambda: None,
) -> tuple[Times, float]:
    """Moves the inner times, one at a time in lambda, while the real solver comes closer.

    Returns the times and their error. Each round tries a step of half the last one's size. What
    leads to sigma = 0, and where it starts, stays.
    """
    process = problem.process
    lams = [process.lam(t) for t in times]
    last = len(times) - (2 if lams[-1] == math.inf else 1)
    least = problem.error(problem.sample(solver=solver, nfe=nfe, spacing=times))
    for size in (0.3 / 2**n for n in range(rounds)):
        for m in range(1, last):
            for direction in (-1, 1):
                gap = lams[m + 1] - lams[m] if direction == 1 else lams[m] - lams[m - 1]
                lam = lams[m] + direction * size * gap
                tried = [*times[:m], process.time(lam), *times[m + 1 :]]
                error = problem.error(problem.sample(solver=solver, nfe=nfe, spacing=tried))
                progress()
                if error < least:
                    times, least, lams[m] = tried, error, lam
                    break
    return times, least


def optimise(
    problem: Problem,
    reference: Reference,
    solver: str,
    nfe: int,
    *,
    rounds: int = 3,
    starts: Sequence[Times] = (),
    progress: Callable[[], None] = lambda: None,
) -> Times:
    """The times, first and last included, that bring `solver` closest on this problem.

    Where the process has sigma_0 = 0 the last is 0: the run returns the predicted x_0. `starts` are
    tried beside the shortest paths and the hand-made spacings.
    Raises ValueError for a solver that is stochastic or chooses its own steps, or an `nfe` that
    pays for no step.
    """
    chosen, process = SOLVERS[solver], problem.process
    if chosen.stochastic or chosen.adaptive or chosen.own_nodes:
        raise ValueError(f"{solver} does not follow given times to a solution")
    to_data = process.lam(0.0) == math.inf
    try:
        steps = chosen.steps(nfe, to_data)
    except ValueError as refusal:
        raise ValueError(f"{solver} {refusal}") from None
    proper = steps - to_data
    by_hand = [[node.t for node in timesteps(process, steps, name)] for name in SPACINGS]
    candidates = [times for times in by_hand if times[0] == process.T]
    if 0 < proper < len(reference.nodes):
        candidates += [
            shortest(reference, proper, order, weight) + [0.0] * to_data
            for order in {1, min(2, chosen.order)}
            for weight in (0.0, 0.5, 1.0)
        ]

    def error(times: Times) -> float:
        progress()
        return problem.error(problem.sample(solver=solver, nfe=nfe, spacing=times))

    best = min([*candidates, *starts], key=error)
    return refine(problem, solver, nfe, best, rounds=rounds, progress=progress)[0]


def resample(process: Process, times: Times, steps: int) -> Times:
    """As many steps as asked for, spread in lambda as `times` are: a start from another NFE's.

    Raises ValueError unless two of the times have a finite lambda.
    """
    ending = times[-1:] if process.lam(times[-1]) == math.inf else []
    proper = times[: len(times) - len(ending)]
    if len(proper) < 2:
        raise ValueError(f"nothing to spread steps by in {times}")
    lams = [process.lam(t) for t in proper]
    places = np.linspace(0, len(lams) - 1, steps + 1 - len(ending))[1:-1]
    inner = np.interp(places, range(len(lams)), lams)
    return [proper[0], *(process.time(lam) for lam in inner.tolist()), proper[-1], *ending]


def least_bound(span: Span, steps: int, order: int = 2) -> Times:
    """A spacing that needs no network: it minimises a bound on the solution's error.

    The error of the network's x_0 at lambda is taken to grow as sigma^2/alpha; each evaluation
    enters the solution by a coefficient, and the sum of error times coefficient is minimised.
    Source: Xue et al., Accelerating diffusion sampling with optimized time steps (CVPR 2024,
    arXiv 2402.17376), for the exact coefficients of the MR Sampler's data prediction.
    Raises ValueError for VESDE.
    """
    process = span.process
    if not math.isfinite(process.sigma_inf):
        raise ValueError(f"the bound is relative to sigma_inf, which {process!r} has none of")

    parts = steps - 1 if span.to_data else steps
    if parts < 2:
        return [span.first, span.last][: max(steps, 1)]
    first, last = span.lams

    def times(shares: np.ndarray) -> Times:
        """Any numbers make a grid: the steps in lambda are as their exponentials."""
        widths = np.exp(shares - shares.max()) + 1e-3  # no step vanishes
        inner = first + (last - first) * np.cumsum(widths)[:-1] / widths.sum()
        return [span.first, *(process.time(lam) for lam in inner.tolist()), span.last]

    def bound(shares: np.ndarray) -> float:
        t = times(shares)
        nodes = [Node(x, process.alpha(x), process.sigma(x), process.lam(x)) for x in t]
        entering = np.zeros(len(nodes) - 1)
        for i, k in enumerate(orders(order, len(nodes) - 1, 1)):
            history = [i - j for j in range(k)]
            step = coefficients(nodes[i], nodes[i + 1], [nodes[n] for n in history], "data")
            entering[history] += np.array(step.history) * nodes[-1].sigma / nodes[i + 1].sigma
        # relative to sigma_inf, as the paper's VP has it
        errors = [(n.sigma / process.sigma_inf) ** 2 / n.alpha for n in nodes[:-1]]
        return float(np.abs(entering) @ errors)

    return times(minimize(bound, np.zeros(parts), method="BFGS").x)[:steps]
