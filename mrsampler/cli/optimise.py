"""`mrsampler optimise`: fits time steps to a checkpoint and writes them into its card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mrsampler.cli import files, loading, options, problems, tables
from mrsampler.cli.errors import CommandError
from mrsampler.cli.tables import Column, Row, Table


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
)


def run(args: argparse.Namespace) -> int:
    from mrsampler import SOLVERS, SPACINGS, checkpoints
    from mrsampler.bench.accuracy import ode_solvers
    from mrsampler.optimise import least_bound, optimise, reference, resample
    from mrsampler.timesteps import Spacing

    if unknown := set(args.solvers) - set(ode_solvers()):
        raise CommandError(f"no ODE solver that follows a grid: {', '.join(sorted(unknown))}")
    for folder in (args.images, args.valid):
        if folder is not None:
            files.check_folder(folder)
    restorer = loading.load(args)
    card = restorer.checkpoint.card
    fitted: dict[str, dict[str, list[float]]] = card.get("timesteps", {})
    measured: list[Row] = card.get("timesteps_measured", [])
    todo = [
        (solver, nfe)
        for solver in args.solvers
        for nfe in args.nfe
        if nfe >= SOLVERS[solver].cost(1)
        and (args.overwrite or str(nfe) not in fitted.get(solver, {}))
    ]
    if not todo:
        print(f"{restorer.checkpoint.name} has them all; --overwrite fits them anew")
        return 0
    problem = problems.crops(args, restorer)
    other = problem
    if args.valid is not None:
        other = problems.crops(args, restorer, args.valid)
    print("solving the reference trajectories", flush=True)
    known = reference(problem)
    print(
        f"RMSE to the converged PF-ODE in 1/255, on {len(other.mu)} crops of "
        f"{'other photos' if args.valid else 'the very photos fitted on'}\n\n{FITTED.head()}",
        flush=True,
    )
    for solver, nfe in todo:
        with tables.counter(f"{solver} at {nfe}", "run") as tick:
            near = [times for n, times in fitted.get(solver, {}).items() if abs(int(n) - nfe) <= 1]
            steps = SOLVERS[solver].steps(nfe)
            starts = [resample(restorer.process, times, steps) for times in near]
            times = optimise(
                problem, known, solver, nfe, rounds=args.rounds, starts=starts, progress=tick
            )
        times = [round(t, 5) for t in times]

        def error(spacing: str | Spacing | list[float]) -> float:
            x = other.sample(solver=solver, nfe=nfe, spacing=spacing)  # noqa: B023
            return other.error(x)

        hand_made = {name: error(name) for name in SPACINGS}
        best = min(hand_made, key=hand_made.__getitem__)
        row = {
            "solver": solver,
            "nfe": nfe,
            "fit": problem.error(problem.sample(solver=solver, nfe=nfe, spacing=times)),
            "optimised": error(times),
            "least_bound": error(least_bound),
            "hand_made": hand_made[best],
            "spacing": best,
        }
        print(FITTED.line(row), flush=True)
        fitted.setdefault(solver, {})[str(nfe)] = times
        fitted[solver] = dict(sorted(fitted[solver].items(), key=lambda item: int(item[0])))
        rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}
        measured = [r for r in measured if (r["solver"], r["nfe"]) != (solver, nfe)] + [rounded]
        path = checkpoints.add_to_card(
            args.checkpoint, {"timesteps": fitted, "timesteps_measured": measured}
        )
    print(f"wrote {path}")
    return 0
