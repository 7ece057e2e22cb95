"""`mrsampler bench order`: the order of convergence of every ODE solver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mrsampler.cli import files, tables
from mrsampler.cli.tables import Column, Table


def add(benches: Any) -> None:
    command = benches.add_parser(
        "order",
        help="order of convergence of every ODE solver",
        description="Measures the order of convergence where the exact solution is known: the "
        "slope of the error from 160 to 320 evaluations, on a Gaussian and a mixture, under the "
        "mean-reverting, the VP and the VE process. Each solver at full order throughout, on the "
        "spacing that its order is stated for.",
    )
    command.set_defaults(command=run)
    command.add_argument(
        "--plot", type=Path, metavar="FILE", help="also draw the errors (.png or .svg; matplotlib)"
    )
    tables.add_out(command)


ORDER = Table(
    Column("solver", "solver", "<21"),
    Column("density", "density", "<8"),
    Column("process", "process", "<14"),
    Column("declared", "declared", "8g"),
    Column("measured", "measured", "8.2f"),
    *(Column(str(n), str(n), "8.1e") for n in (10, 20, 40, 80, 160, 320)),
)


def run(args: argparse.Namespace) -> int:
    from mrsampler.bench.accuracy import ode_solvers
    from mrsampler.bench.order import DENSITIES, PROCESSES, order, plot

    tables.check_out(args.out)
    files.check_plot(args.plot)
    rows = ORDER.print(order(), len(ode_solvers()) * len(DENSITIES) * len(PROCESSES), "row")
    if args.plot is not None:
        plot(rows, args.plot)
        print(f"wrote {args.plot}")
    if args.out is not None:
        ORDER.write(args.out, rows, {})
    return 0
