"""`mrsampler bench accuracy`: every ODE solver and spacing against the converged PF-ODE."""

from __future__ import annotations

import argparse
from typing import Any

from mrsampler.cli import loading, options, problems, tables
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Table


def add(benches: Any) -> None:
    command = benches.add_parser(
        "accuracy",
        help="distance of every ODE solver and spacing from the converged PF-ODE",
        description="Solves the PF-ODE with every ODE solver, spacing and NFE, and prints for each "
        "solver the spacing of least error over the NFEs, best solver first: the root mean square "
        "distance to the converged solution from the same x_T, on crops of photos in 1/255, and "
        "where the score is known exactly. --out has all the rows.",
    )
    command.set_defaults(command=run)
    problems.add_crops(command, photos=10)
    command.add_argument(
        "--solvers", nargs="+", metavar="NAME", help="only these (default: all that follow a grid)"
    )
    command.add_argument(
        "--nfe", type=options.count, nargs="+", metavar="N", help="only these evaluations"
    )
    options.add_checkpoint(command)
    options.add_device(command)
    tables.add_out(command)


def run(args: argparse.Namespace) -> int:
    from mrsampler import SOLVERS, SPACINGS
    from mrsampler.bench.accuracy import NFES, accuracy, best_spacing, ode_solvers
    from mrsampler.problem import mixture_problem

    tables.check_out(args.out)
    names, nfes = args.solvers or ode_solvers(), args.nfe or NFES
    if unknown := set(names) - set(ode_solvers()):
        raise CommandError(f"no ODE solver that follows a grid: {', '.join(sorted(unknown))}")
    for name in names:
        if max(nfes) < SOLVERS[name].cost(1):
            raise CommandError(f"{name} needs at least {SOLVERS[name].cost(1)} evaluations")
    spacings = list(SPACINGS)
    widths = [f"{max(6, len(str(n)))}.2f" for n in nfes]
    ranking = Table(
        Column("solver", "solver", "<21"),
        Column("spacing", "spacing", "<14"),
        *(Column(str(n), str(n), width) for n, width in zip(nfes, widths, strict=True)),
    )
    restorer = loading.load(args)
    everything = []
    for problem, unit, scale, fitted in (
        (mixture_problem(), "1/1000", 1000, {}),
        (problems.crops(args, restorer), "1/255", 1, restorer.checkpoint.card.get("timesteps")),
    ):
        try:
            uncertainty = problem.uncertainty * scale
        except ArithmeticError as error:
            raise CommandError(reason(error)) from None
        print(
            f"\n{problem.name}: RMSE in {unit} at each NFE; the reference is converged to "
            f"{uncertainty:.1g}\n",
            flush=True,
        )
        runs = accuracy(problem, names, spacings, nfes, fitted)
        with tables.progress(runs, len(names) * len(spacings) * len(nfes), "run") as bar:
            rows = list(bar)
        everything += rows
        print(ranking.head())
        for row in best_spacing(rows):
            shown = {key: scale * row[key] if key.isdigit() else row[key] for key in row}
            print(ranking.line(shown))
        for n in nfes:
            at_n = [row for row in rows if row["nfe"] == n]
            if at_n:
                least = min(at_n, key=lambda row: row["rmse"])
                print(f"best at {n}: {least['solver']}, {least['spacing']}")
    if args.out is not None:
        settings = {"checkpoint": args.checkpoint, "photos": args.photos, "side": args.side}
        ACCURACY.write(args.out, everything, settings)
    return 0


ACCURACY = Table(
    Column("problem", "problem", "<8"),
    Column("solver", "solver", "<21"),
    Column("spacing", "spacing", "<14"),
    Column("nfe", "NFE", "4g"),
    Column("rmse", "RMSE", "9.3g"),
)
