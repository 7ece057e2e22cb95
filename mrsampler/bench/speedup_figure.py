"""The figure of `mrsampler bench speedup`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from mrsampler.bench.speedup import Row
from mrsampler.bench.stable import Comparison, compare, is_published, nearest, races
from mrsampler.extras import need

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
STYLES = {
    "mrs-ode-d-2": (BLUE, "-"),
    "mrs-sde-d-2": ("#56B4E9", "-"),
    "unipc-bh2-d-2": (GREEN, "-"),
    "posterior": (VERMILION, "-"),
    "euler-maruyama": ("#CC79A7", "-"),
    "euler": ("#CC79A7", "--"),
}
TICKS = (1, 2, 3, 5, 8, 10, 20, 50, 100)
CEILING = 100.0  # times what is allowed; a run that is farther off is drawn there


def plot(rows: Iterable[Row], target: Path) -> None:
    """How far each sampler is from its family converged against NFE, and the fewest by task.

    Left: the worst measure's gap over what is allowed, on the best spacing, the median over the
    tasks; below 1, shaded, the quality is stable. Right: the fewest evaluations of the best MR
    Sampler and of the best rival on each task. Raises MissingExtraError without matplotlib.
    """
    need("bench", "matplotlib")
    from matplotlib import pyplot

    compared = compare(rows)
    drawn: Any = pyplot.subplots(1, 2, figsize=(12, 5), width_ratios=(1.4, 1), layout="constrained")
    figure, (gaps, tasks) = drawn
    _curves(gaps, compared)
    _by_task(tasks, compared)
    for axis, place, columns in ((gaps, "left", 4), (tasks, "right", 2)):
        lines = axis.get_legend_handles_labels()
        figure.legend(*lines, loc=f"outside lower {place}", ncols=columns, frameon=False)
    for axis in (gaps, tasks):
        axis.set(xscale="log", xlabel="NFE")
        axis.set_xticks(TICKS, TICKS)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=100)
    pyplot.close(figure)


def _curves(axis: Any, compared: Sequence[Comparison]) -> None:
    """A line for each sampler."""
    found: dict[str, dict[int, list[float]]] = {}
    for (_, solver, nfe), it in nearest(compared).items():
        worst = min(it.worst, CEILING)
        found.setdefault(solver, {}).setdefault(nfe, []).append(worst)
    for solver, by_nfe in found.items():
        colour, line = STYLES.get(solver, ("0.6", ":" if is_published(solver) else "-."))
        nfes = sorted(by_nfe)
        look = {"color": colour, "linestyle": line, "linewidth": 1.6, "marker": "o", "ms": 4}
        axis.plot(nfes, [median(by_nfe[n]) for n in nfes], label=solver, **look)
    axis.axhspan(1e-9, 1, color="0.94", zorder=0)
    low = min((value for line in axis.lines for value in line.get_ydata() if value), default=0.5)
    axis.set(yscale="log", ylim=(min(0.5, low / 1.2), CEILING * 1.2))
    axis.text(0.02, 0.02, "stable", color="0.5", transform=axis.transAxes)
    axis.set_title("Worst gap to the converged family, over what is allowed", loc="left")


def _by_task(axis: Any, compared: Sequence[Comparison]) -> None:
    """The fewest evaluations of the best sampler of each kind, a line for each task."""
    found = races(compared)
    for place, race in enumerate(found):
        ends = [run.nfe for run in (race.ours, race.rival) if run is not None]
        if len(ends) == 2:
            axis.hlines(place, min(ends), max(ends), color="0.8", linewidth=2, zorder=0)
    for side, label, look in (
        ("ours", "best MR Sampler", {"color": BLUE, "ms": 6}),
        # A ring, so that both are seen where they are equal.
        ("rival", "best rival", {"color": VERMILION, "ms": 10, "markerfacecolor": "none"}),
    ):
        points = [(getattr(race, side), place) for place, race in enumerate(found)]
        reached = [(run.nfe, place) for run, place in points if run is not None]
        nfes, places = ([point[i] for point in reached] for i in (0, 1))
        axis.plot(nfes, places, "o", label=label, **look)
    axis.set_yticks(range(len(found)), [race.task for race in found])
    axis.set(ylim=(len(found) - 0.4, -0.6), xlim=(0.9, 110))
    axis.set_title("Fewest evaluations of stable quality", loc="left")
