"""`mrsampler optimise`: fits time steps to a checkpoint and writes them into its card."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrsampler.cli import files, loading, options, problems, tables
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Row, Table

if TYPE_CHECKING:
    from mrsampler.problem import Problem


def add(commands: Any) -> None:
    command = commands.add_parser(
        "optimise",
        help="fit the time steps of a solver to a checkpoint",
        description="Finds, for each solver and NFE, the time steps whose solution comes closest "
        "to the converged PF-ODE on crops of photos, and writes them into the checkpoint's card, "
        "where the spacing `optimised` finds them. What is in the card already is kept, so that a "
        "run can be stopped and gone on with. The table measures them on photos they were not "
        "fitted to.",
    )
    command.set_defaults(command=run)
    options.add_checkpoint(command)
    problems.add_crops(command, photos=40)
    command.add_argument(
        "--valid", type=Path, metavar="DIR", help="a folder of other photos to measure on"
    )
    command.add_argument(
        "--solvers", nargs="+", default=["mrs-ode-d-2"], metavar="NAME", help="ODE solvers"
    )
    command.add_argument(
        "--nfe",
        type=options.count,
        nargs="+",
        default=list(range(3, 13)),
        metavar="N",
        help="evaluations (default: 3 to 12)",
    )
    command.add_argument(
        "--rounds", type=options.count, default=3, metavar="N", help="of refining; more take longer"
    )
    command.add_argument("--overwrite", action="store_true", help="fit anew what the card has")
    options.add_device(command)


FITTED = Table(
    Column("solver", "solver", "<16"),
    Column("nfe", "NFE", "3g"),
    Column("fit", "fitted on", "9.2f"),
    Column("optimised", "optimised", "9.2f"),
    Column("least_bound", "least bound", "11.2f"),
    Column("hand_made", "best hand-made", "14.2f"),
    Column("spacing", "which", "<14"),
    Column("kept", "kept", "<4"),
)


def run(args: argparse.Namespace) -> int:
    from mrsampler import SOLVERS
    from mrsampler.bench.accuracy import ode_solvers
    from mrsampler.optimise import optimise, reference, resample

    if unknown := set(args.solvers) - set(ode_solvers()):
        raise CommandError(f"no ODE solver that follows a grid: {', '.join(sorted(unknown))}")
    options.check_card(args)
    for folder in (args.images, args.valid):
        if folder is not None:
            files.check_folder(folder)
    restorer = loading.load(args)
    to_data = restorer.process.lam(0.0) == math.inf
    for solver in args.solvers:
        least = SOLVERS[solver].cost(1, to_data)
        if min(args.nfe) < least:
            raise CommandError(f"{solver} needs at least {least} evaluations")
    fitted = restorer.checkpoint.card.get("timesteps", {})
    todo = [
        (solver, nfe)
        for solver in args.solvers
        for nfe in args.nfe
        if args.overwrite or str(nfe) not in fitted.get(solver, {})
    ]
    if not todo:
        print(f"{restorer.checkpoint.name} has them all; --overwrite fits them anew")
        return 0
    problem = problems.crops(args, restorer)
    other = problem if args.valid is None else problems.crops(args, restorer, args.valid)
    print("solving the reference trajectories", flush=True)
    try:
        known = reference(problem)
        print(
            f"RMSE to the converged PF-ODE in 1/255, on {len(other.mu)} crops of "
            f"{'other photos' if args.valid else 'the very photos fitted on'}\n\n{FITTED.head()}",
            flush=True,
        )
        for solver, nfe in todo:
            fitted = restorer.checkpoint.card.get("timesteps", {}).get(solver, {})
            near = [
                times for n, times in fitted.items() if abs(int(n) - nfe) <= 1 and len(times) > 2
            ]
            steps = SOLVERS[solver].steps(nfe, to_data)
            starts = [resample(restorer.process, times, steps) for times in near]
            with tables.counter(f"{solver} at {nfe}", "run") as tick:
                times = optimise(
                    problem, known, solver, nfe, rounds=args.rounds, starts=starts, progress=tick
                )
            times = [round(t, 5) for t in times]
            fit = problem.error(problem.sample(solver=solver, nfe=nfe, spacing=times))
            row = {"solver": solver, "nfe": nfe, "fit": fit} | measure(other, solver, nfe, times)
            # What loses to a spacing made by hand on photos it was not fitted to is no help.
            best = min(row["least_bound"], row["hand_made"])
            row["kept"] = "yes" if args.valid is None or row["optimised"] < best else "no"
            print(FITTED.line(row), flush=True)
            row |= {
                "photos": len(problem.mu),
                "measured_on": len(other.mu),
                "side": args.side,
                "held_out": args.valid is not None,
            }
            path = keep(args.checkpoint, row, times, restorer.checkpoint.card)
    except ArithmeticError as error:
        raise CommandError(reason(error)) from None
    print(f"wrote {path}")
    return 0


def measure(problem: Problem, solver: str, nfe: int, times: list[float]) -> Row:
    """The error of the times, of the least bound, and of the best spacing made by hand."""
    from mrsampler import SPACINGS
    from mrsampler.optimise import least_bound

    def error(spacing: Any) -> float:
        return problem.error(problem.sample(solver=solver, nfe=nfe, spacing=spacing))

    hand_made = {name: error(name) for name in SPACINGS}
    best = min(hand_made, key=hand_made.__getitem__)
    row: Row = {"optimised": error(times), "least_bound": error(least_bound)}
    return row | {"hand_made": hand_made[best], "spacing": best}


def keep(checkpoint: str, row: Row, times: list[float], card: dict[str, Any]) -> Path:
    """Writes the measurement into the card, and the times if they are kept; returns its path.

    What is on disk by now is kept beside them; `card` is brought up to date.
    """
    from mrsampler import checkpoints

    card |= checkpoints.read_card(checkpoint)
    solver, nfe = row["solver"], row["nfe"]
    fitted = {**card.get("timesteps", {}).get(solver, {}), str(nfe): times}
    if row["kept"] == "no":
        del fitted[str(nfe)]
    card["timesteps"] = card.get("timesteps", {}) | {
        solver: dict(sorted(fitted.items(), key=lambda item: int(item[0])))
    }
    others = [
        known
        for known in card.get("timesteps_measured", [])
        if (known["solver"], known["nfe"]) != (solver, nfe)
    ]
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}
    card["timesteps_measured"] = sorted([*others, rounded], key=lambda r: (r["solver"], r["nfe"]))
    entries = {name: card[name] for name in ("timesteps", "timesteps_measured")}
    return checkpoints.add_to_card(checkpoint, entries)
