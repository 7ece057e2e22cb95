"""`mrsampler bench prediction`: noise against data prediction, of the network and of the solver."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mrsampler.cli import clean, files, loading, options, tables
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Row, Table

if TYPE_CHECKING:
    from mrsampler.bench.prediction import Case
    from mrsampler.restorer import Restorer


def add(benches: Any) -> None:
    command = benches.add_parser(
        "prediction",
        help="noise against data prediction: quality, solver error and ratio of convergence",
        description="Keeps apart what the network predicts (its checkpoint's target) and what the "
        "solver expands in lambda: noise (mrs-ode-n-2, mrs-sde-n-2) or data (mrs-ode-d-2, "
        "mrs-sde-d-2). Degrades clean photos, restores each with all four over every checkpoint, "
        "and prints at each NFE the mean PSNR and SSIM, the distance of the ODE solvers from the "
        "converged PF-ODE with the same x_T, and the share of pixels where the expansion "
        "converges. The ODE solvers also run where the score is known exactly. --out has every "
        "run, and FILE-steps beside it every step.",
    )
    command.set_defaults(command=run)
    command.add_argument(
        "--checkpoints",
        nargs="+",
        metavar="NAME",
        help="bundled ones or .safetensors files (default: a bundled one of each target)",
    )
    clean.add_images(command, 1, ", in order of name, for each task")
    clean.add_damage(command, 128)
    command.add_argument("--tasks", nargs="+", metavar="NAME", help="only these (default: all)")
    command.add_argument(
        "--nfe", type=options.count, nargs="+", metavar="N", help="only these evaluations"
    )
    options.add_device(command)
    command.add_argument(
        "--plot", type=Path, metavar="FILE", help="also draw the result (.png or .svg; matplotlib)"
    )
    tables.add_out(command)


QUANTITIES = {
    "psnr": ("PSNR in dB", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "rmse": ("RMSE to the converged PF-ODE in 1/255", ".2f"),
    "converges": ("Share of pixels whose expansion converges, mean over the steps", ".3f"),
}
RUNS = Table(
    Column("network", "network", "<14"),
    Column("target", "target", "<8"),
    Column("solver", "solver", "<11"),
    Column("nfe", "NFE", "4g"),
    Column("task", "task", "<15"),
    Column("photo", "photo", "5g"),
    *(Column(name, title, f"9{form}") for name, (title, form) in QUANTITIES.items()),
)
STEPS = Table(
    *RUNS.columns[:4],
    Column("step", "step", "4g"),
    Column("lam", "lambda", "6.2f"),
    Column("gap", "gap", "5.2f"),
    Column("radius", "radius", "8.2f"),
    Column("converges", "converges", "9.3f"),
)


def run(args: argparse.Namespace) -> int:
    from mrsampler import TASKS
    from mrsampler.bench import prediction

    tables.check_out(args.out)
    files.check_plot(args.plot)
    paths = clean.paths(args.images)[: args.photos]
    tasks = list(dict.fromkeys(args.tasks or TASKS))
    nfes = sorted(set(args.nfe or prediction.NFES))
    if unknown := [task for task in tasks if task not in TASKS]:
        raise CommandError(f"unknown task {unknown[0]!r}; choose from {', '.join(TASKS)}")
    restorers = _load(args, tasks)
    photos = clean.read(paths, args.largest_side)

    def cases() -> Iterator[Case]:
        yield prediction.exact_case()
        for restorer, task in product(restorers, tasks):
            for i, photo in enumerate(photos):
                yield prediction.photo_case(restorer, photo, task, i, args.severity)

    rows, steps, uncertainties = [], [], []

    def runs() -> Iterator[Row]:
        for case in cases():
            for row, own in prediction.measure(case, nfes):
                rows.append(row)
                steps.extend(own)
                yield row
            uncertainties.append(case.problem.uncertainty)

    starts = len(restorers) * len(tasks) * len(photos)
    print(f"{starts} starts, {starts * prediction.cost(nfes):,} evaluations", flush=True)
    solvers = starts * len(prediction.PARAMETERISATION) + 2
    try:
        with tables.progress(runs(), solvers * len(nfes), "run") as bar:
            for _ in bar:
                pass
    except ArithmeticError as error:
        raise CommandError(reason(error)) from None
    _print(rows, nfes)
    print(f"\nThe converged PF-ODE is known to {fmean(uncertainties):.1g}/255.")
    if args.out is not None:
        settings = {
            "checkpoints": [restorer.checkpoint.name for restorer in restorers],
            "photos": len(photos),
            "tasks": tasks,
            "largest_side": args.largest_side,
            "severity": args.severity,
            "nfe": nfes,
            "uncertainty": fmean(uncertainties),
        }
        RUNS.write(args.out, rows, settings)
        STEPS.write(_steps_file(args.out), prediction.by_step(steps), settings)
    if args.plot is not None:
        prediction.plot(rows, steps, args.plot)
        print(f"wrote {args.plot}")
    return 0


def _load(args: argparse.Namespace, tasks: list[str]) -> list[Restorer]:
    """Every checkpoint, once, and only if it knows all tasks."""
    restorers = []
    for name in dict.fromkeys(args.checkpoints or _one_of_each_target()):
        loaded = loading.load(argparse.Namespace(checkpoint=name, device=args.device))
        if lacking := [task for task in tasks if task not in loaded.tasks]:
            raise CommandError(f"{name} was not trained on {', '.join(lacking)}")
        restorers.append(loaded)
    return restorers


def _one_of_each_target() -> list[str]:
    """The first bundled checkpoint of each."""
    from mrsampler import checkpoints

    first: dict[str, str] = {}
    for name in checkpoints.names():
        try:
            first.setdefault(checkpoints.read_card(name).get("target", ""), name)
        except ValueError as error:
            raise CommandError(str(error)) from None
    return list(first.values())


def _print(rows: list[Row], nfes: list[int]) -> None:
    """A table for each quantity: its mean at each NFE, a line for each network and solver."""
    from mrsampler.bench.prediction import by_nfe

    for name, (title, form) in QUANTITIES.items():
        lines = by_nfe(rows, name)
        widest = max((len(line["network"]) for line in lines), default=0)
        table = Table(
            Column("network", "network", f"<{max(7, widest)}"),
            *RUNS.columns[1:3],
            *(Column(str(nfe), str(nfe), f"{max(5, len(str(nfe)))}{form}") for nfe in nfes),
        )
        print(f"\n{title}, at each NFE\n\n{table.head()}")
        for line in lines:
            print(table.line(line))


def _steps_file(target: Path) -> Path:
    return target.with_stem(f"{target.stem}-steps")
