"""`mrsampler bench speedup`: from how many evaluations on the quality of a sampler is stable."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mrsampler.cli import clean, files, loading, options, tables
from mrsampler.cli.bench.record import Record
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Row, Table

if TYPE_CHECKING:
    from mrsampler.bench.speedup import Speedup, Unit
    from mrsampler.bench.speedup_plan import Plan
    from mrsampler.restorer import Restorer


def add(benches: Any) -> None:
    command = benches.add_parser(
        "speedup",
        help="from how many evaluations on the quality of each sampler is stable",
        description="Restores clean photos degraded by each task with the MR Samplers and their "
        "rivals, all at 1 to 100 evaluations, and prints the fewest at which the quality is that "
        "of the same family of samplers converged (posterior at 1000, PF-ODE at 200): neither "
        "worse nor better than it by more than its standard error over the seeds (2.8 of them for "
        "a stochastic sampler, which shares no draw with it), or by 5 % of the way to it from one "
        "evaluation, in PSNR, ST-LPIPS on AlexNet and on VGG-16, and SWD each. "
        "Then the fewest that come within 2/255 of the converged PF-ODE. Spacings are screened on "
        "the first seed. Two photos and seeds cost about 12,000 evaluations a task. With --out a "
        "run that was stopped goes on where it was; one that is done prints and draws again.",
    )
    command.set_defaults(command=run)
    clean.add_images(command, 2, ", in order of name")
    clean.add_damage(command, 128)
    _add_grid(command)
    command.add_argument(
        "--plot", type=Path, metavar="FILE", help="also draw it (.png or .svg; matplotlib)"
    )
    options.add_checkpoint(command)
    options.add_device(command)
    tables.add_out(command)


def _add_grid(command: argparse.ArgumentParser) -> None:
    """What is run: the seeds, tasks, samplers and spacings, the reference and the texture."""
    command.add_argument(
        "--seeds",
        type=options.count,
        default=2,
        metavar="K",
        help="how often the noise of all runs is drawn, on the same damaged photos",
    )
    command.add_argument("--tasks", nargs="+", metavar="TASK", help="only these (default: all)")
    command.add_argument(
        "--solvers",
        nargs="+",
        metavar="NAME",
        help="only these (default: the MR Samplers of order 2 and data prediction, posterior, "
        "Euler and Euler-Maruyama, UniPC, and the stochastic two as published)",
    )
    command.add_argument(
        "--spacings",
        nargs="+",
        metavar="NAME",
        help="only these (default: all, and the checkpoint's optimised times where it has some)",
    )
    command.add_argument(
        "--screen",
        nargs="+",
        type=options.count,
        metavar="NFE",
        help="where spacings are compared; another NFE takes the nearest's (default: 3 5 10)",
    )
    command.add_argument(
        "--posterior",
        type=options.count,
        default=1000,
        metavar="NFE",
        help="the evaluations of the converged posterior",
    )
    command.add_argument(
        "--texture",
        type=options.number(float, 0, 1),
        default=1.0,
        metavar="TAU",
        help="of every sample, beyond the reader's estimate: 0 is that, 1 the sample",
    )


SPEEDUP = Table(
    Column("seed", "seed", "4d"),
    Column("task", "task", "<15"),
    Column("solver", "solver", "<24"),
    Column("spacing", "spacing", "<14"),
    Column("nfe", "NFE", "4d"),
    Column("psnr", "PSNR", "6.2f"),
    Column("ssim", "SSIM", "6.3f"),
    Column("alex", "AlexNet", "7.4f"),
    Column("vgg", "VGG", "6.4f"),
    Column("swd", "SWD", "6.4f"),
    Column("rmse", "RMSE", "6.2f"),
    Column("seconds", "seconds", "7.2f"),
)


def run(args: argparse.Namespace) -> int:
    from mrsampler.bench.controls import reading_of
    from mrsampler.bench.speedup import Speedup, key
    from mrsampler.metrics import st_lpips_missing

    tables.check_out(args.out)
    files.check_plot(args.plot)
    if (missing := st_lpips_missing()) is not None:
        raise CommandError(missing)
    _check_samplers(args)
    paths = clean.paths(args.images)[: args.photos]
    restorer = loading.load(args)
    tasks = _tasks(args, restorer)
    record = Record(args.out, _settings(args, restorer, paths))
    photos = clean.read(paths, args.largest_side)
    reads = reading_of(restorer, photos[0], tasks[0]) is not None
    if args.texture != 1 and not reads:
        raise CommandError(f"--texture: {restorer.checkpoint.name} has no reader to move towards")
    plan = _plan(args, restorer, tasks, reads)
    bench = Speedup(restorer, photos, severity=args.severity, texture=args.texture)
    _measure(bench, plan.screening(), record, "All spacings, on the first seed")
    screened = set(plan.screening())
    units = plan.measuring(row for row in record.rows if key(row) in screened)
    _measure(bench, units, record, "All evaluations, on the best spacing of each")
    if not reads:
        print(f"\nNo rows of reader and grain: {restorer.checkpoint.name} has no reader.")
    asked = screened | set(units)
    rows = [row for row in record.rows if key(row) in asked]
    _summary(rows, tasks)
    if args.plot is not None:
        from mrsampler.bench.speedup_figure import plot

        plot(rows, args.plot)
        print(f"wrote {args.plot}")
    return 0


def _plan(args: argparse.Namespace, restorer: Restorer, tasks: Sequence[str], reads: bool) -> Plan:
    from mrsampler.bench.speedup_plan import Plan

    asked = {"solvers": args.solvers, "spacings": args.spacings, "screened": args.screen}
    return Plan(
        tasks,
        args.seeds,
        posterior=args.posterior,
        controls=reads,
        fitted=restorer.checkpoint.card.get("timesteps", {}),
        **{name: value for name, value in asked.items() if value is not None},
    )


def _measure(bench: Speedup, units: Sequence[Unit], record: Record, title: str) -> None:
    """Prints and keeps each row that is not there yet, as it is done, under a title."""
    from tqdm import tqdm

    from mrsampler.bench.speedup import key

    done = {key(row) for row in record.rows}
    todo = [unit for unit in dict.fromkeys(units) if unit not in done]
    if not todo:
        return
    with tqdm(total=bench.evaluations(todo), unit=" evaluations", leave=False, disable=None) as bar:
        bench.progress = bar.update
        bar.write(f"\n{title}:\n\n{SPEEDUP.head()}", file=sys.stdout)
        try:
            for row in bench.rows(todo):
                record.add(row)
                bar.write(SPEEDUP.line(row), file=sys.stdout)
        except ArithmeticError as error:
            raise CommandError(reason(error)) from None
        finally:
            record.save()


def _check_samplers(args: argparse.Namespace) -> None:
    from mrsampler import SOLVERS
    from mrsampler.bench.speedup_plan import NFES
    from mrsampler.processes import MeanRevertingSDE
    from mrsampler.timesteps import SPACINGS

    for name in args.solvers or ():
        if name not in SOLVERS:
            raise CommandError(f"unknown solver {name!r}; `mrsampler list solvers`")
        solver = SOLVERS[name]
        if solver.adaptive or not issubclass(MeanRevertingSDE, solver.processes):
            raise CommandError(f"{name} follows no grid on this process")
    for name in args.spacings or ():
        if name not in SPACINGS:
            raise CommandError(f"unknown spacing {name!r}; choose from {', '.join(SPACINGS)}")
    if other := [nfe for nfe in args.screen or () if nfe not in NFES]:
        raise CommandError(f"--screen {other[0]}: choose from {', '.join(map(str, NFES))}")


def _tasks(args: argparse.Namespace, restorer: Restorer) -> tuple[str, ...]:
    from mrsampler import TASKS

    tasks = tuple(dict.fromkeys(args.tasks)) if args.tasks else restorer.tasks
    if unknown := set(tasks) - set(restorer.tasks):
        raise CommandError(
            f"{restorer.checkpoint.name} does not know {', '.join(sorted(unknown))}; choose from "
            f"{', '.join(restorer.tasks)}"
        )
    if undone := set(tasks) - set(TASKS):
        raise CommandError(f"no degradation for the checkpoint's {', '.join(sorted(undone))}")
    return tasks


def _settings(args: argparse.Namespace, restorer: Restorer, paths: list[Path]) -> dict[str, Any]:
    """All that a row depends on and does not say itself; digests of what is too long."""
    import torch

    checkpoint = restorer.checkpoint
    network = checkpoint.denoiser.network
    assert isinstance(network, torch.nn.Module)
    weights = (tensor.cpu().numpy().tobytes() for tensor in network.state_dict().values())
    fitted = json.dumps(checkpoint.card.get("timesteps"), sort_keys=True).encode()
    pictures = (f"{path.name} {path.stat().st_size}".encode() for path in paths)
    return {
        "checkpoint": checkpoint.name,
        "weights": _digest(weights),
        "fitted": _digest([fitted]),
        "pictures": _digest(pictures),
        "photos": args.photos,
        "largest_side": args.largest_side,
        "severity": args.severity,
        "texture": args.texture,
        "device": str(restorer.device),
        "threads": torch.get_num_threads(),
    }


def _digest(parts: Iterable[bytes]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()[:12]


def _summary(rows: Sequence[Row], tasks: Sequence[str]) -> None:
    """The tables that the measurement is made for."""
    from mrsampler.bench.stable import compare, fewest, median_ratio, races, ratios, solved

    compared = compare(rows)
    print("\nWhat sampling is worth: without a sampler, and converged (means over the seeds):\n")
    _print(WORTH, _worth(rows, tasks))
    print(
        "\nFewest evaluations of stable quality: as the same family converged, in PSNR, both "
        "ST-LPIPS\nand SWD, neither worse nor better (blank: none is):\n"
    )
    _print(_by_task(tasks, "d", "median", "6.0f"), fewest(compared))
    print(
        "\nHow many times fewer the best MR Sampler needs than (inf: that one never gets there):\n"
    )
    _print(_by_task(tasks, ".1f", "median", "6.1f"), ratios(compared))
    found = races(compared)
    print("\nThe best of each:\n")
    _print(RACES, map(_race, found))
    ratio = median_ratio(found)
    print(
        "\nNo sampler is of stable quality on any task."
        if ratio is None
        else f"\nMedian over the tasks: {ratio:.1f} times fewer evaluations than the best rival."
    )
    one = [race.task for race in found if race.ours and race.ours.nfe == 1]
    if one:
        print(f"One evaluation is as good as sampling on: {', '.join(one)}.")
    print("\nFewest evaluations within 2/255 of the converged PF-ODE (root mean square):\n")
    _print(_by_task(tasks, "d", "median", "6.0f"), solved(rows))


def _worth(rows: Sequence[Row], tasks: Sequence[str]) -> Iterable[Row]:
    """The rows that are no sampler's: each a mean over the seeds."""
    from mrsampler.solvers import SOLVERS

    names = ("psnr", "ssim", "alex", "vgg", "swd")
    for task in tasks:
        fixed = [row for row in rows if row["task"] == task and row["solver"] not in SOLVERS]
        for what in dict.fromkeys(row["solver"] for row in fixed):
            own = [row for row in fixed if row["solver"] == what]
            yield {"task": task, "solver": what} | {
                name: fmean(row[name] for row in own) for name in names
            }


def _race(race: Any) -> Row:
    row = {"task": race.task, "ratio": race.ratio}
    for side in ("ours", "rival"):
        run = getattr(race, side)
        if run is not None:
            row |= {side: run.solver, f"{side}_spacing": run.spacing, f"{side}_nfe": run.nfe}
    return row


def _by_task(tasks: Sequence[str], cell: str, last: str, form: str) -> Table:
    """A row a sampler, a column a task."""
    columns = [Column(task, task, f"{len(task)}{cell}") for task in tasks]
    return Table(Column("solver", "solver", "<24"), *columns, Column(last, last, form))


def _print(table: Table, rows: Iterable[Row]) -> None:
    print(table.head())
    for row in rows:
        print(table.line(row))


WORTH = Table(
    Column("task", "task", "<15"),
    Column("solver", "", "<19"),
    Column("psnr", "PSNR", "6.2f"),
    Column("ssim", "SSIM", "6.3f"),
    Column("alex", "AlexNet", "7.4f"),
    Column("vgg", "VGG", "6.4f"),
    Column("swd", "SWD", "6.4f"),
)
RACES = Table(
    Column("task", "task", "<15"),
    Column("ours", "MR Sampler", "<14"),
    Column("ours_spacing", "spacing", "<14"),
    Column("ours_nfe", "NFE", "3d"),
    Column("rival", "rival", "<14"),
    Column("rival_spacing", "spacing", "<14"),
    Column("rival_nfe", "NFE", "3d"),
    Column("ratio", "times fewer", "11.1f"),
)
