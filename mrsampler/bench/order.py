"""The order of convergence of every ODE solver, measured where the exact solution is known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mrsampler import processes
from mrsampler.bench.accuracy import ode_solvers
from mrsampler.extras import need
from mrsampler.problem import THREE, Problem, mixture_problem
from mrsampler.processes import MeanRevertingSDE, Process, make
from mrsampler.solvers import SOLVERS

Row = dict[str, float | str]

NFES = (10, 20, 40, 80, 160, 320)
PROCESSES: dict[str, Process] = {kind: make(kind) for kind in processes.PROCESSES}
# Wide enough that 160 evaluations are in the range where the leading term of the error rules.
DENSITIES = {
    "gaussian": ([[0.3, -0.2]], [1.0], 0.5),
    "mixture": (THREE[0], THREE[1], 0.2),
}

# An error this small is rounding: a slope from it says nothing.
ROUNDING = 1e-12


# Where sigma_0 is 0 it is singular in t as a square root, or t(lambda) is: an order in t holds away
# from there.
LAST_SHARE = 0.05


def start(density: str, process: Process, spacing: str) -> Problem:
    """The problem on which the order of a solver is stated, given the spacing it is stated for."""
    problem = mixture_problem(process, DENSITIES[density], count=16)
    singular = spacing == "uniform-t" and process.sigma(0.0) == 0
    return replace(problem, end=LAST_SHARE * process.T) if singular else problem


def error(problem: Problem, solver: str, nfe: int) -> float:
    """The RMSE at full order throughout, on the spacing that the solver's order is stated for."""
    spacing: str | list[float] = SOLVERS[solver].spacing
    if problem.end is not None:  # uniform-t down to there
        first, steps = problem.process.t_max, SOLVERS[solver].steps(nfe)
        spacing = [first + (problem.end - first) * i / steps for i in range(steps + 1)]
    x = problem.sample(
        solver=solver, nfe=nfe, spacing=spacing, lower_order_final=False, denoise_final=False
    )
    return problem.error(x)


def slope(coarse: float, fine: float) -> float:
    """The order that an error shows on halving the steps."""
    return math.log2(coarse / max(fine, ROUNDING))


def order(solvers: Iterable[str] | None = None, nfes: Sequence[int] = NFES) -> Iterator[Row]:
    """A row for each solver, density and process: the error at each NFE and the last slope.

    `nfes` doubles from one to the next.
    """
    problems = {
        (spacing, density, name): start(density, process, spacing)
        for spacing in ("uniform-lambda", "uniform-t")
        for density in DENSITIES
        for name, process in PROCESSES.items()
    }
    for solver in ode_solvers() if solvers is None else solvers:
        for (spacing, density, process), problem in problems.items():
            if spacing != SOLVERS[solver].spacing:
                continue
            errors = [error(problem, solver, nfe) for nfe in nfes]
            row: Row = {"solver": solver, "declared": SOLVERS[solver].order}
            row |= {"density": density, "process": process, "measured": slope(*errors[-2:])}
            yield row | {str(nfe): value for nfe, value in zip(nfes, errors, strict=True)}


def plot(rows: Iterable[Row], target: Path) -> None:
    """Error against NFE on the mixture under the mean-reverting process, a panel for each family.

    Solvers that are one and the same share a line; families of one or two share the last panel.
    Raises MissingExtraError without matplotlib.
    """
    need("bench", "matplotlib")
    from matplotlib import pyplot

    panels = _panels(
        [r for r in rows if (r["density"], r["process"]) == ("mixture", MeanRevertingSDE.kind)]
    )
    height = math.ceil(len(panels) / 3)
    figure, axes = pyplot.subplots(
        height, 3, figsize=(12, 4.2 * height), sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        for slope in (1, 2, 3, 4):  # the guides meet at 10 evaluations
            axis.plot((10, 320), (0.1, 0.1 * 32.0**-slope), color="0.85", linewidth=1, zorder=0)
            axis.annotate(
                str(slope), (335, 0.1 * 32.0**-slope), color="0.6", fontsize=8, va="center"
            )
        for i, (label, errors) in enumerate(lines.items()):
            style = {"color": f"C{i % 6}", "linestyle": "-" if i < 6 else "--"}
            axis.loglog(*zip(*errors.items(), strict=True), marker=".", lw=1, label=label, **style)
        axis.set_title(title, loc="left", fontsize=11)
        axis.legend(fontsize=7, frameon=False, loc="lower left", borderpad=0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set(ylim=(1e-12, 30), xticks=NFES, xticklabels=NFES)  # room for the legend
        axis.minorticks_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("RMSE to the exact solution")
    for axis in axes[-1]:
        axis.set_xlabel("NFE")
    figure.tight_layout()
    figure.savefig(target, dpi=100)
    pyplot.close(figure)


def _panels(rows: Sequence[Row]) -> dict[str, dict[str, dict[int, float]]]:
    """Panel title -> line's label -> NFE -> error."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(SOLVERS[str(row["solver"])].family, []).append(row)
    small = [name for name, members in families.items() if len(members) <= 2]
    if len(small) > 1:
        families[", ".join(small)] = [row for name in small for row in families.pop(name)]
    panels = {}
    for family, members in families.items():
        found: list[tuple[list[str], dict[int, float]]] = []
        for row in members:
            errors = {int(key): float(value) for key, value in row.items() if key.isdigit()}
            name = f"{row['solver']} ({row['measured']:.1f})"
            for names, others in found:
                if all(math.isclose(errors[n], others[n], rel_tol=1e-3) for n in errors):
                    names.append(name)
                    break
            else:
                found.append(([name], errors))
        panels[family] = {" = ".join(names): errors for names, errors in found}
    return panels
