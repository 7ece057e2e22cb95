"""Noise against data prediction: what the network predicts and what the solver expands, apart.

The target is the network's: noise, data, velocity or residual, as its checkpoint was trained. The
parameterisation is the solver's: whether its Taylor polynomial in lambda, under the integral of the
exact solution, is that of eps (mrs-*-n-*) or of x_0 (mrs-*-d-*). Any network's output is converted
to either exactly; so each network is measured under both solvers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, get_args

import torch
from torch import Tensor

from mrsampler.degradations import degrade
from mrsampler.extras import need
from mrsampler.metrics import psnr, ssim
from mrsampler.problem import REFERENCE_NFE, Problem, mixture_problem
from mrsampler.restorer import Restorer
from mrsampler.solvers import SOLVERS, mr
from mrsampler.stability import Prediction, convergence

Row = dict[str, Any]

NFES = (3, 4, 5, 6, 8, 10, 15, 20, 50)
PARAMETERISATION: dict[str, Prediction] = {
    mr.name(stochastic, prediction, 2): prediction
    for stochastic in (False, True)
    for prediction in get_args(Prediction)
}


@dataclass(frozen=True)
class Case:
    """One start x_T over one network: what every solver is given.

    `truth` is the clean photo (3, H, W), None where there is none; `seed` fixes the draws of the
    stochastic solvers, the same under both parameterisations.
    """

    network: str
    target: str
    task: str
    photo: int
    problem: Problem
    truth: Tensor | None = None
    seed: int = 0

    @property
    def solvers(self) -> list[str]:
        """Without a truth there is nothing to judge a stochastic one by."""
        return [s for s in PARAMETERISATION if self.truth is not None or not SOLVERS[s].stochastic]


def photo_case(
    restorer: Restorer, truth: Tensor, task: str, photo: int, severity: float = 0.5
) -> Case:
    """A clean photo (3, H, W) degraded by a task; its number `photo` seeds every draw."""
    generator = torch.Generator().manual_seed(photo)
    mu = degrade(truth, task, severity, generator)[None]
    # From where the degradation's draws ended: none of its noise is in x_T too.
    noise = torch.randn(mu.shape, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    mu = mu.to(restorer.device, memory_format=torch.channels_last)
    checkpoint = restorer.checkpoint
    problem = Problem(
        f"{checkpoint.name} on photo {photo}, {task}",
        checkpoint.denoiser,
        restorer.process,
        mu,
        restorer.process.prior(mu, noise.to(mu)),
        restorer.conditioning(mu[0], task),
        unit=1 / 255,
    )
    return Case(checkpoint.name, checkpoint.denoiser.target, task, photo, problem, truth, seed)


def exact_case() -> Case:
    """Three Gaussians in the plane, whose score is known: no network's error plays a part.

    Each coordinate of its 256 starts counts as a pixel.
    """
    problem = replace(mixture_problem(), unit=1 / 255)
    return Case("exact score", "any", "mixture", 0, problem)


def cost(nfes: Sequence[int]) -> int:
    """The evaluations of a photo's runs, of its converged solution and of what that is known to."""
    return len(PARAMETERISATION) * sum(nfes) + REFERENCE_NFE + REFERENCE_NFE // 2


def measure(case: Case, nfes: Sequence[int] = NFES) -> Iterator[tuple[Row, list[Row]]]:
    """A row for each solver and NFE as it is done, and one for each of the run's steps.

    Both have network, target, solver, nfe. The run's also

    task, photo  the case's
    psnr, ssim   in dB and [-1, 1], to the truth; None without one
    rmse         to the converged PF-ODE from the same x_T, in 1/255; None for a stochastic solver
    converges    the mean of that of its steps; None for fewer than two steps

    and a step's, of the prediction that the solver expands,

    step         its index, from 2 on
    lam, gap     the lambda that it leads to, its length in lambda
    radius       of convergence, the median over the pixels
    converges    the share of pixels, in [0, 1], whose radius is above the gap

    Every run is uniform in lambda. Raises ArithmeticError where the converged solution is not
    finite.
    """
    problem, truth = case.problem, case.truth
    for solver in case.solvers:
        for nfe in nfes:
            draws = torch.Generator().manual_seed(case.seed)
            run = problem.trajectory(solver=solver, nfe=nfe, generator=draws)
            prediction = PARAMETERISATION[solver]
            records = list(convergence(run, prediction, process=problem.process, mu=problem.mu))
            shared = {"network": case.network, "target": case.target, "solver": solver, "nfe": nfe}
            row = shared | {
                "task": case.task,
                "photo": case.photo,
                "psnr": None,
                "ssim": None,
                "rmse": None if SOLVERS[solver].stochastic else problem.error(run[-1].x),
                "converges": fmean(r.fraction for r in records) if records else None,
            }
            if truth is not None:
                restored = run[-1].x[0].cpu()
                row |= {"psnr": psnr(restored, truth), "ssim": ssim(restored, truth)}
            steps = [
                {
                    "step": record.index,
                    "lam": record.lam,
                    "gap": record.gap,
                    "radius": record.radius,
                    "converges": record.fraction,
                }
                for record in records
            ]
            yield row, [shared | step for step in steps]


def by_nfe(rows: Iterable[Row], quantity: str) -> list[Row]:
    """A row for each network and solver: the mean of `quantity` at each NFE, under its number.

    Without the rows that lack it.
    """
    found: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row[quantity] is not None:
            found[row["network"], row["target"], row["solver"]][str(row["nfe"])].append(
                row[quantity]
            )
    return [
        {"network": network, "target": target, "solver": solver}
        | {nfe: fmean(values) for nfe, values in at.items()}
        for (network, target, solver), at in found.items()
    ]


def by_step(steps: Iterable[Row]) -> list[Row]:
    """A row for each step of each network, solver and NFE, over all runs.

    The median of `radius`, which may be infinite, and the mean of the rest.
    """
    found: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for step in steps:
        key = tuple(step[name] for name in ("network", "target", "solver", "nfe", "step"))
        found[key].append(step)
    return [
        dict(zip(("network", "target", "solver", "nfe", "step"), key, strict=True))
        | {name: fmean(s[name] for s in same) for name in ("lam", "gap", "converges")}
        | {"radius": median(s["radius"] for s in same)}
        for key, same in found.items()
    ]


_COLOUR = {"noise": "#D55E00", "data": "#0072B2"}
_LINE: dict[str, Any] = {"residual": "-", "velocity": "-.", "noise": "--", "data": ":"}
_DRAWN = 10  # NFE, of the runs whose convergence is drawn; or the nearest measured


def plot(rows: Iterable[Row], steps: Iterable[Row], target: Path) -> None:
    """Of the networks for photos: PSNR against NFE, and the ratio of convergence against lambda.

    Colour says what the solver expands, the line what the network predicts, the marker whether it
    is the ODE or the SDE that is solved.
    Raises MissingExtraError without matplotlib.
    """
    need("bench", "matplotlib")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D
    from matplotlib.ticker import PercentFormatter

    quality = by_nfe(rows, "psnr")
    measured = sorted({int(key) for row in quality for key in row if key.isdigit()})
    drawn = min(measured, key=lambda nfe: abs(nfe - _DRAWN))
    converging: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for step in by_step(steps):
        if step["nfe"] == drawn:
            converging[step["network"], step["solver"]].append(step)

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.8))
    for row in quality:
        expanded = PARAMETERISATION[row["solver"]]
        stochastic = SOLVERS[row["solver"]].stochastic
        style = {
            "color": _COLOUR[expanded],
            "linestyle": _LINE[row["target"]],
            "marker": "o" if stochastic else "s",
            "markerfacecolor": _COLOUR[expanded] if stochastic else "white",
            "markersize": 5,
            "linewidth": 1.5,
        }
        left.plot(measured, [row[str(nfe)] for nfe in measured], **style)
        curve = converging[row["network"], row["solver"]]
        right.plot([s["lam"] for s in curve], [s["converges"] for s in curve], **style)

    left.set_xscale("log")
    left.set_xticks(measured, measured)
    left.minorticks_off()
    left.set(xlabel="NFE", ylabel="PSNR of the restored photo in dB")
    left.set_title("Quality", loc="left", fontsize=11)
    right.set(xlabel="λ at the end of the step", ylim=(-0.03, 1.03))
    right.set_ylabel("pixels whose expansion converges")
    right.yaxis.set_major_formatter(PercentFormatter(1))
    right.set_title(f"Ratio of convergence at {drawn} NFE", loc="left", fontsize=11)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="0.93", zorder=0)

    key = [
        Line2D([], [], color=_COLOUR[name], linewidth=4, label=f"the solver expands {what}")
        for name, what in (("noise", "the noise (-n-2)"), ("data", "the data (-d-2)"))
    ]
    key += [
        Line2D([], [], color="0.3", linestyle=_LINE[name], label=f"the network predicts {name}")
        for name in dict.fromkeys(row["target"] for row in quality)
    ]
    key += [
        Line2D([], [], color="0.3", linestyle="", marker=m, markerfacecolor=face, label=label)
        for m, face, label in (("o", "0.3", "SDE"), ("s", "white", "ODE"))
    ]
    figure.legend(handles=key, ncols=3, frameon=False, fontsize=9, loc="lower center")
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(target, dpi=100)
    pyplot.close(figure)
