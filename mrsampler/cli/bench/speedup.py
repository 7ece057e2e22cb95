"""`mrsampler bench speedup`: how many evaluations are as good as the usual sampler's hundred."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mrsampler.cli import clean, files, loading, options, tables
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Row, Table

if TYPE_CHECKING:
    from torch import Tensor

    from mrsampler.bench.speedup import Comparison, Run, Unit
    from mrsampler.restorer import Restorer


def add(benches: Any) -> None:
    command = benches.add_parser(
        "speedup",
        help="how many evaluations are as good as the usual sampler's hundred",
        description="Restores clean photos degraded by each task with the usual samplers and with "
        "fast ones, and prints for each the fewest evaluations that are at least as good as "
        "posterior sampling at 100: PSNR within 0.1 dB and sliced Wasserstein distance (SWD) "
        "within 5 %, the speed-up in evaluations and in seconds of the same run, and the fewest "
        "that come within 2/255 of the converged PF-ODE. A photo costs about 1000 evaluations a "
        "task. With --out a run that was stopped goes on where it was; one that is done prints and "
        "draws again. For the seconds, let the machine do nothing else.",
    )
    command.set_defaults(command=run)
    clean.add_images(command, 2, " a seed, in order of name")
    clean.add_damage(command, 128)
    command.add_argument(
        "--seeds",
        type=options.count,
        default=5,
        metavar="K",
        help="how often: each takes the next N photos, from the first again where there are no "
        "more, with damage, x_T and patches of its own; the tables have the means and their "
        "standard errors",
    )
    command.add_argument("--tasks", nargs="+", metavar="TASK", help="only these (default: all)")
    command.add_argument(
        "--solvers",
        nargs="+",
        metavar="NAME",
        help="only these beside the reference (default: the usual baselines, the MR Samplers of "
        "order 2, UniPC)",
    )
    command.add_argument(
        "--spacing",
        help="of those that are no baseline (default: each its own, and the checkpoint's optimised "
        "times where it has some)",
    )
    command.add_argument(
        "--plot", type=Path, metavar="FILE", help="also draw it (.png or .svg; matplotlib)"
    )
    options.add_checkpoint(command)
    options.add_device(command)
    tables.add_out(command)


SETTINGS = (
    "checkpoint",
    "weights",
    "fitted",
    "pictures",
    "photos",
    "largest_side",
    "severity",
    "device",
    "threads",
    "with_lpips",
)

SPEEDUP = Table(
    Column("seed", "seed", "4d"),
    Column("task", "task", "<15"),
    Column("solver", "solver", "<14"),
    Column("spacing", "spacing", "<14"),
    Column("nfe", "NFE", "3d"),
    Column("psnr", "PSNR", "6.2f"),
    Column("ssim", "SSIM", "6.3f"),
    Column("swd", "SWD", "6.4f"),
    Column("lpips", "LPIPS", "6.3f"),
    Column("rmse", "RMSE", "6.2f"),
    Column("seconds", "seconds", "7.2f"),
)


def run(args: argparse.Namespace) -> int:
    from mrsampler.bench.speedup import BASELINES, FAST, key, plan

    tables.check_out(args.out)
    files.check_plot(args.plot)
    _check_samplers(args)
    paths = clean.paths(args.images)
    spacing = {} if args.spacing is None else {"spacing": args.spacing}
    restorer = loading.load(args, **spacing)
    tasks = _tasks(args, restorer)
    fitted = restorer.checkpoint.card.get("timesteps")
    runs = plan(args.solvers or BASELINES + FAST, args.spacing, fitted)
    record = Record(args.out, _settings(args, restorer, paths))
    done = {key(row) for row in record.rows}
    units = [(seed, task, run) for seed in range(args.seeds) for task in tasks for run in runs]
    todo = [unit for unit in units if unit not in done]
    if todo:
        photos = clean.read(paths[: args.photos * args.seeds], args.largest_side)
        _measure(args, restorer, photos, todo, record)
    asked = set(units)
    rows = [row for row in record.rows if key(row) in asked]
    _summary(rows, tasks)
    if args.plot is not None:
        from mrsampler.bench.speedup_figure import plot

        plot(rows, args.plot)
        print(f"wrote {args.plot}")
    return 0


def _measure(
    args: argparse.Namespace,
    restorer: Restorer,
    photos: Sequence[Tensor],
    todo: Sequence[Unit],
    record: Record,
) -> None:
    """Prints and keeps each row as it is done."""
    from mrsampler.bench.speedup import speedup

    with _evaluations(todo, args.photos) as bar:
        rows = speedup(
            restorer,
            photos,
            todo,
            count=args.photos,
            severity=args.severity,
            with_lpips=record.settings["with_lpips"],
            progress=bar.update,
        )
        bar.write(SPEEDUP.head(), file=sys.stdout)
        try:
            for row in rows:
                record.add(row)
                bar.write(SPEEDUP.line(row), file=sys.stdout)
        except ArithmeticError as error:
            raise CommandError(reason(error)) from None


def _check_samplers(args: argparse.Namespace) -> None:
    from mrsampler import SOLVERS
    from mrsampler.bench.speedup import BASELINES, FAST_NFES
    from mrsampler.processes import MeanRevertingSDE
    from mrsampler.restorer import OPTIMISED

    for name in args.solvers or ():
        if name not in SOLVERS:
            raise CommandError(f"unknown solver {name!r}; `mrsampler list solvers`")
        solver = SOLVERS[name]
        follows = not (solver.adaptive or solver.own_nodes)
        if not (follows and issubclass(MeanRevertingSDE, solver.processes)):
            raise CommandError(f"{name} follows no grid on this process")
        if name not in BASELINES and solver.cost(1) > max(FAST_NFES):
            raise CommandError(f"{name} needs at least {solver.cost(1)} evaluations")
    if args.spacing == OPTIMISED:
        raise CommandError(f"{OPTIMISED} times are measured anyway, beside --spacing")


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

    from mrsampler.metrics import lpips_missing

    checkpoint = restorer.checkpoint
    network = checkpoint.denoiser.network
    assert isinstance(network, torch.nn.Module)
    weights = (tensor.cpu().numpy().tobytes() for tensor in network.state_dict().values())
    fitted = json.dumps(checkpoint.card.get("timesteps"), sort_keys=True).encode()
    pictures = (f"{path.name} {path.stat().st_size}".encode() for path in paths)
    values = (
        checkpoint.name,
        _digest(weights),
        _digest([fitted]),
        _digest(pictures),
        args.photos,
        args.largest_side,
        args.severity,
        str(restorer.device),
        torch.get_num_threads(),
        lpips_missing() is None,
    )
    return dict(zip(SETTINGS, values, strict=True))


def _digest(parts: Iterable[bytes]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()[:12]


def _evaluations(todo: Sequence[Unit], photos: int) -> Any:
    """A bar over the network calls, of which every row has another number: its time left holds."""
    from tqdm import tqdm

    from mrsampler.bench.speedup import evaluations

    grouped: dict[tuple[int, str], list[Run]] = {}
    for seed, task, run in todo:
        grouped.setdefault((seed, task), []).append(run)
    total = photos * sum(map(evaluations, grouped.values()))
    return tqdm(total=total, unit=" evaluations", leave=False, disable=None)


class Record:
    """The rows measured so far and, where there is a file, the same on disk after each.

    The file is a table for anyone: .json with the settings and the rows, .csv with the settings in
    every row. Raises CommandError for one that holds something else, or other settings.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]):
        from mrsampler.bench.speedup import key

        self.path, self.settings = path, settings
        self.rows: list[Row] = []
        if path is None or not path.exists():
            return
        try:
            known, self.rows = (_read_csv if path.suffix.lower() == ".csv" else _read_json)(path)
            for row in self.rows:
                key(row)
        except (ValueError, KeyError, TypeError):
            raise CommandError(f"--out {path}: not a table of this command") from None
        other = [
            f"{name} {known.get(name)}, not {value}"
            for name, value in settings.items()
            if str(known.get(name)) != str(value)
        ]
        if self.rows and other:
            raise CommandError(f"--out {path} was measured with {'; '.join(other)}")

    def add(self, row: Row) -> None:
        """Keeps a row; the file is replaced as a whole, so that it never ends in half a row."""
        from mrsampler import folder

        self.rows.append(row)
        if self.path is None:
            return
        with (
            folder.replacing(self.path) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            if self.path.suffix.lower() == ".json":
                json.dump({"settings": self.settings, "rows": self.rows}, file, indent=1)
                file.write("\n")
            else:
                names = dict.fromkeys(name for row in self.rows for name in row)
                writer = csv.DictWriter(file, [*names, *self.settings])
                writer.writeheader()
                writer.writerows(row | self.settings for row in self.rows)


def _read_json(path: Path) -> tuple[dict[str, Any], list[Row]]:
    table = json.loads(path.read_text(encoding="utf-8"))
    return dict(table["settings"]), list(table["rows"])


def _read_csv(path: Path) -> tuple[dict[str, Any], list[Row]]:
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    settings = {name: lines[0][name] for name in SETTINGS} if lines else {}
    return settings, [
        {name: _cell(name, text) for name, text in line.items() if name not in SETTINGS}
        for line in lines
    ]


def _cell(name: str, text: str) -> str | float | None:
    if name in ("task", "solver", "spacing"):
        return text
    if name in ("seed", "nfe"):
        return int(text)
    return float(text) if text else None


def _summary(rows: Sequence[Row], tasks: Sequence[str]) -> None:
    """The three tables that the measurement is made for."""
    from mrsampler.bench.speedup import best, compare, fewest, is_mr, solved

    compared = compare(rows)
    sampler = [Column("solver", "solver", "<14"), Column("spacing", "spacing", "<14")]
    sampler += [Column(task, task, f"{len(task)}d") for task in tasks]
    print(
        "\nFewest evaluations as good as posterior at 100, in PSNR and in SWD (blank: none is):\n"
    )
    _print(Table(*sampler, Column("fewer", "times fewer", "11.1f")), fewest(compared))
    chosen = best(it for it in compared if is_mr(it.run.solver)).values()
    if chosen:
        print("\nThe best MR Sampler on each task; where none is as good, what comes nearest:\n")
        _print(BEST, (it._asdict() | it.run._asdict() | {"short_of": it.short_of} for it in chosen))
        print(_headline(chosen))
    print("\nFewest evaluations within 2/255 of the converged PF-ODE (root mean square):\n")
    _print(Table(*sampler, Column("median", "median", "6.0f")), solved(rows))


def _headline(chosen: Collection[Comparison]) -> str:
    fewer, faster = (
        median(getattr(it, name) if it.as_good else 0.0 for it in chosen)
        for name in ("fewer", "faster")
    )
    reached = [it for it in chosen if it.as_good]
    return (
        f"\nReached on {len(reached)} of {len(chosen)} tasks, by more than the standard error (±, "
        f"over the seeds) on {sum(it.clearly for it in reached)}. Median over the tasks: "
        f"{fewer:.1f} times fewer evaluations, {faster:.1f} times less time."
    )


def _print(table: Table, rows: Iterable[Row]) -> None:
    print(table.head())
    for row in rows:
        print(table.line(row))


BEST = Table(
    Column("task", "task", "<15"),
    Column("solver", "solver", "<14"),
    Column("spacing", "spacing", "<14"),
    Column("nfe", "NFE", "3d"),
    Column("fewer", "times fewer", "11.1f"),
    Column("faster", "less time", "9.1f"),
    Column("psnr", "PSNR, dB", "+8.2f"),
    Column("psnr_error", "±", "5.2f"),
    Column("swd", "SWD ratio", "9.3f"),
    Column("swd_error", "±", "5.3f"),
    Column("short_of", "short of", "<9"),
)
