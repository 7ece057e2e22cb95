"""The figure of `mrsampler bench speedup`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from mrsampler.bench.speedup import (
    BASELINES,
    CONVERGED,
    PSNR_LOSS,
    REFERENCE,
    SWD_RATIO,
    Comparison,
    Row,
    best,
    compare,
    is_mr,
)
from mrsampler.extras import need
from mrsampler.restorer import OPTIMISED
from mrsampler.solvers import SOLVERS

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
STYLES = {
    "mrs-ode-d-2": (BLUE, "-"),
    "mrs-ode-n-2": (BLUE, "--"),
    "mrs-sde-d-2": ("#56B4E9", "-"),
    "mrs-sde-n-2": ("#56B4E9", "--"),
    "unipc-bh2-d-2": (GREEN, "-"),
    "posterior": (VERMILION, "-"),
    "euler-maruyama": ("#CC79A7", "-"),
    "euler": ("#CC79A7", "--"),
}
TICKS = (3, 5, 8, 10, 20, 50, 100)


def plot(rows: Iterable[Row], target: Path) -> None:
    """Distortion and perception against NFE, beside the reference's, and the speed-up by task.

    The mean over the tasks of the difference in PSNR, and the geometric mean of the ratio of SWD;
    what counts as as good is shaded, what is off the axis is left out. Then how many times fewer
    evaluations suffice on each task to be as good in both, for the best sampler of each kind.
    Raises MissingExtraError without matplotlib.
    """
    need("bench", "matplotlib")
    from matplotlib import pyplot

    compared = [it for it in compare(rows) if it.run != CONVERGED]
    drawn: Any = pyplot.subplots(
        1, 3, figsize=(14, 5), width_ratios=(1, 1, 0.9), layout="constrained"
    )
    figure, (psnr, swd, tasks) = drawn
    _curves(psnr, swd, compared)
    _by_task(tasks, compared)
    for axis, place, columns in ((psnr, "left", 5), (tasks, "right", 1)):
        lines = axis.get_legend_handles_labels()
        figure.legend(*lines, loc=f"outside lower {place}", ncols=columns, frameon=False)
    for axis in (psnr, swd, tasks):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=100)
    pyplot.close(figure)


def _curves(psnr: Any, swd: Any, compared: Sequence[Comparison]) -> None:
    """A line for each sampler in both panels."""
    samplers: dict[tuple[str, str], dict[int, list[Comparison]]] = defaultdict(dict)
    for it in compared:
        samplers[it.run.solver, it.run.spacing].setdefault(it.run.nfe, []).append(it)
    for (solver, spacing), by_nfe in samplers.items():
        colour, line = STYLES.get(solver, ("0.4", "-."))
        look = {"color": colour, "linestyle": line, "linewidth": 1.6, "marker": "o", "ms": 4}
        name = solver
        if spacing == OPTIMISED:
            look |= {"linestyle": ":", "markerfacecolor": "white", "ms": 5.5}
            name = f"{solver}, {OPTIMISED}"
        nfes = sorted(by_nfe)
        gains = [fmean(it.psnr for it in by_nfe[n]) for n in nfes]
        ratios = [math.exp(fmean(math.log(it.swd) for it in by_nfe[n])) for n in nfes]
        psnr.plot(nfes, gains, label=name, **look)
        swd.plot(nfes, ratios, **look)
    psnr.axhspan(-PSNR_LOSS, 100, color="0.94", zorder=0)
    swd.axhspan(0.01, SWD_RATIO, color="0.94", zorder=0)
    psnr.axhline(0, color=VERMILION, linewidth=0.8)
    swd.axhline(1, color=VERMILION, linewidth=0.8)
    top = max(gain for line in psnr.lines for gain in line.get_ydata())
    psnr.set(ylim=(-3, max(1.0, top + 0.2)), ylabel="dB")
    low = min(ratio for line in swd.lines for ratio in line.get_ydata())
    swd.set(ylim=(min(0.7, low / 1.05), 3), yscale="log")
    swd.set_yticks((0.7, 0.8, 1, 1.25, 1.5, 2, 3), ("0.7", "0.8", "1", "1.25", "1.5", "2", "3"))
    for axis, height in ((psnr, 0.98), (swd, 0.02)):
        at = "top" if height > 0.5 else "bottom"
        axis.text(0.98, height, "as good", color="0.5", ha="right", va=at, transform=axis.transAxes)
    psnr.set_title(f"PSNR less that of {REFERENCE.solver} at {REFERENCE.nfe}", loc="left")
    swd.set_title(f"SWD over that of {REFERENCE.solver} at {REFERENCE.nfe}", loc="left")
    for axis in (psnr, swd):
        axis.set(xscale="log", xlabel="NFE")
        axis.set_xticks(TICKS, TICKS)
        axis.minorticks_off()


def _is_unipc(solver: str) -> bool:
    return solver in SOLVERS and SOLVERS[solver].family == "UniPC"


def _by_task(axis: Any, compared: Sequence[Comparison]) -> None:
    """The speed-up of the best sampler of each kind, a line for each task."""
    kinds = {
        "best MR Sampler": (BLUE, [it for it in compared if is_mr(it.run.solver)]),
        "best UniPC": (GREEN, [it for it in compared if _is_unipc(it.run.solver)]),
        "best baseline": (
            VERMILION,
            [it for it in compared if it.run.solver in BASELINES and it.run != REFERENCE],
        ),
    }
    names = list(dict.fromkeys(it.task for it in compared))
    for offset, (kind, (colour, own)) in zip((-0.22, 0, 0.22), kinds.items(), strict=True):
        reached = {task: it.fewer for task, it in best(own).items() if it.as_good}
        places = [i + offset for i, task in enumerate(names) if task in reached]
        values = [reached[task] for task in names if task in reached]
        axis.hlines(places, 0, values, color=colour, linewidth=1.6)
        axis.plot(values, places, "o", color=colour, ms=5, label=kind)
    for times in (10, 20):
        axis.axvline(times, color="0.85", linewidth=1, zorder=0)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set(xlim=(0, 35), xlabel="times fewer evaluations")
    axis.set_title("As good in both", loc="left")
