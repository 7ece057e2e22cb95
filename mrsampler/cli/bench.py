"""`mrsampler bench NAME`: measurements, each an `add_NAME` with its options and a `run_NAME`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mrsampler.cli import files, loading, options, problems, tables
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Row, Table


def add(commands: Any) -> None:
    benches = commands.add_parser(
        "bench", help="measure", description="Measurements; each prints a table."
    ).add_subparsers(metavar="NAME", required=True)
    add_quality(benches)
    add_accuracy(benches)
    add_order(benches)
    add_overhead(benches)


# --- quality


def add_quality(benches: Any) -> None:
    command = benches.add_parser(
        "quality",
        help="PSNR of each task over a folder of clean photos",
        description="Degrades clean photos by each task, restores them, and prints the mean PSNR "
        "in dB before and after as a Markdown table. `worse` counts the photos whose restoration "
        "lost more than 0.5 dB.",
    )
    command.set_defaults(command=run_quality)
    command.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="a folder of clean photos"
    )
    command.add_argument(
        "--photos",
        type=options.count,
        default=8,
        metavar="N",
        help="how many of them, in order of name",
    )
    command.add_argument(
        "--largest-side",
        type=options.number(int, 32),
        default=256,
        metavar="PIXELS",
        help="larger photos are first scaled down to this",
    )
    command.add_argument(
        "--severity", type=options.severity, default=0.5, metavar="S", help="of the damage, 0 to 1"
    )
    options.add_sampler(command)
    options.add_device(command)
    tables.add_out(command)


QUALITY = Table(
    Column("task", "task", "<15"),
    Column("degraded", "degraded", "8.2f"),
    Column("one", "one evaluation", "14.2f"),
    Column("restored", "restored", "8.2f"),
    Column("gain", "gain", "+6.2f"),
    Column("worse", "worse", "5g"),
)


def run_quality(args: argparse.Namespace) -> int:
    from mrsampler import TASKS, folder
    from mrsampler.bench.quality import quality
    from mrsampler.solvers import BudgetError

    tables.check_out(args.out)
    files.check_folder(args.images)
    paths = folder.pictures(args.images)[: args.photos]
    if not paths:
        raise CommandError(f"{args.images} holds no picture")
    sampler = options.sampler(args)
    restorer = loading.load(args, **sampler)
    if unknown := set(restorer.tasks) - set(TASKS):
        raise CommandError(f"no degradation for the checkpoint's {', '.join(sorted(unknown))}")
    photos = [files.read(path).within(args.largest_side).rgb for path in paths]
    measured = quality(restorer, photos, restorer.tasks, severity=args.severity, **sampler)
    gained = (row | {"gain": float(row["restored"]) - float(row["degraded"])} for row in measured)
    try:
        rows = QUALITY.print(gained, len(restorer.tasks), "task")
    except (BudgetError, ArithmeticError) as error:
        raise CommandError(reason(error)) from None
    rows.append(_mean(rows))
    print(QUALITY.line(rows[-1]))
    if args.out is not None:
        settings = {
            "checkpoint": restorer.checkpoint.name,
            "photos": len(photos),
            "largest_side": args.largest_side,
            "severity": args.severity,
        }
        QUALITY.write(args.out, rows, settings | sampler)
    return 0


def _mean(rows: list[Row]) -> Row:
    """The mean of each column, and the sum of `worse`."""
    names = [column.name for column in QUALITY.columns if not column.is_text]
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    return {"task": "mean"} | mean | {"worse": sum(row["worse"] for row in rows)}


# --- accuracy


def add_accuracy(benches: Any) -> None:
    command = benches.add_parser(
        "accuracy",
        help="distance of every ODE solver and spacing from the converged PF-ODE",
        description="Solves the PF-ODE with every ODE solver, spacing and NFE, and prints for each "
        "solver the spacing of least error over the NFEs, best solver first: the root mean square "
        "distance to the converged solution from the same x_T, on crops of photos in 1/255, and "
        "where the score is known exactly. --out has all the rows.",
    )
    command.set_defaults(command=run_accuracy)
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


def run_accuracy(args: argparse.Namespace) -> int:
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


# --- order


def add_order(benches: Any) -> None:
    command = benches.add_parser(
        "order",
        help="order of convergence of every ODE solver",
        description="Measures the order of convergence where the exact solution is known: the "
        "slope of the error from 160 to 320 evaluations, on a Gaussian and a mixture, under the "
        "mean-reverting, the VP and the VE process. Each solver at full order throughout, on the "
        "spacing that its order is stated for.",
    )
    command.set_defaults(command=run_order)
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


def run_order(args: argparse.Namespace) -> int:
    from mrsampler.bench.accuracy import ode_solvers
    from mrsampler.bench.order import DENSITIES, PROCESSES, order, plot

    tables.check_out(args.out)
    if args.plot is not None:
        if args.plot.suffix.lower() not in (".png", ".svg"):
            raise CommandError(f"--plot {args.plot}: expected a file that ends in .png or .svg")
        files.check_writable(args.plot.parent)
    rows = ORDER.print(order(), len(ode_solvers()) * len(DENSITIES) * len(PROCESSES), "row")
    if args.plot is not None:
        try:
            plot(rows, args.plot)
        except ImportError:
            raise CommandError("--plot needs matplotlib: pip install matplotlib") from None
        print(f"wrote {args.plot}")
    if args.out is not None:
        ORDER.write(args.out, rows, {})
    return 0


# --- overhead


def add_overhead(benches: Any) -> None:
    command = benches.add_parser(
        "overhead",
        help="what a step costs beside the network, against diffusers",
        description="Times a step of ours and the same one of diffusers in turns, on the CPU, over "
        "a network that is free. The start, set-up and first step, is timed apart.",
    )
    command.set_defaults(command=run_overhead)
    command.add_argument(
        "--repeats", type=options.count, default=15, metavar="N", help="runs of 20 steps each"
    )
    command.add_argument(
        "--threads", type=options.count, metavar="N", help="of torch (default: all cores)"
    )
    tables.add_out(command)


OVERHEAD = Table(
    Column("solver", "solver", "<16"),
    Column("side", "side", "5g"),
    Column("ours", "ours, us", "9.0f"),
    Column("diffusers", "diffusers, us", "13.0f"),
    Column("ratio", "ratio", "5.2f"),
    Column("start", "our start", "9.0f"),
    Column("their_start", "their start", "11.0f"),
)


def run_overhead(args: argparse.Namespace) -> int:
    import torch

    from mrsampler.bench.overhead import PAIRS, SIDES, overhead

    tables.check_out(args.out)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    try:
        rows = OVERHEAD.print(overhead(repeats=args.repeats), len(PAIRS) * len(SIDES), "pair")
    except ImportError:
        raise CommandError("this compares with diffusers: pip install diffusers") from None
    if args.out is not None:
        OVERHEAD.write(args.out, rows, {"threads": torch.get_num_threads()})
    return 0
