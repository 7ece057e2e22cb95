"""`mrsampler bench quality`: what each task restores of a folder of clean photos."""

from __future__ import annotations

import argparse
from typing import Any

from mrsampler.cli import clean, loading, options, tables
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Row, Table


def add(benches: Any) -> None:
    command = benches.add_parser(
        "quality",
        help="quality of each task over a folder of clean photos",
        description="Degrades clean photos by each task, restores them, and prints the mean PSNR "
        "in dB before and after as a Markdown table; then, after one evaluation and at the end, "
        "the distances to the truth in what people see, which are better when lower: between the "
        "patches (SWD) and the learned ST-LPIPS, on AlexNet's and VGG-16's features. `worse` "
        "counts the photos whose restoration lost more than 0.5 dB.",
    )
    command.set_defaults(command=run)
    clean.add_images(command, 8, ", in order of name")
    clean.add_damage(command, 256)
    command.add_argument(
        "--tasks", nargs="+", metavar="TASK", help="only these (default: all of the checkpoint's)"
    )
    command.add_argument(
        "--form",
        default="usual",
        metavar="NAME",
        help="damaged in this form, which `list tasks` names; tasks that have none of that name "
        "are left out. held-out: each task's form that the bundled networks were never trained on",
    )
    command.add_argument(
        "--field",
        action="store_true",
        help="also whether the network's PF-ODE can be solved: PSNR at 50 evaluations, and how far "
        "the solutions at 50 and 200 are apart, in 1/255 (slow)",
    )
    command.add_argument(
        "--card", action="store_true", help="also write the rows to the checkpoint's card"
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
    Column("one_swd", "SWD of one", "10.4f"),
    Column("restored_swd", "restored", "8.4f"),
    Column("one_alex", "AlexNet of one", "14.4f"),
    Column("restored_alex", "restored", "8.4f"),
    Column("one_vgg", "VGG of one", "10.4f"),
    Column("restored_vgg", "restored", "8.4f"),
    Column("worse", "worse", "5g"),
)
FIELD = Table(
    *QUALITY.columns,
    Column("at_50", "at 50", "6.2f"),
    Column("apart", "50 to 200", "9.2f"),
)


def run(args: argparse.Namespace) -> int:
    from mrsampler import TASKS, checkpoints
    from mrsampler.bench.quality import quality
    from mrsampler.degradations import REGISTRY, USUAL
    from mrsampler.metrics import st_lpips_missing
    from mrsampler.solvers import BudgetError

    tables.check_out(args.out)
    if (missing := st_lpips_missing()) is not None:
        raise CommandError(missing)
    if args.card:
        options.check_card(args)
        if args.tasks or args.form != USUAL:
            raise CommandError("the card is of all tasks as they are: no --tasks, no --form")
        if args.images is None:
            raise CommandError("the card is of photos kept from training: give their --images")
    paths = clean.paths(args.images)[: args.photos]
    sampler = options.sampler(args)
    restorer = loading.load(args, **sampler)
    if unknown := set(restorer.tasks) - set(TASKS):
        raise CommandError(f"no degradation for the checkpoint's {', '.join(sorted(unknown))}")
    tasks = args.tasks or restorer.tasks
    if foreign := set(tasks) - set(restorer.tasks):
        raise CommandError(f"{restorer.checkpoint.name} has no task {', '.join(sorted(foreign))}")
    asked, tasks = tasks, [task for task in tasks if REGISTRY[task].has(args.form)]
    if not tasks:
        raise CommandError(f"no form {args.form!r} of {', '.join(asked)}; see list tasks")
    photos = clean.read(paths, args.largest_side)
    table = FIELD if args.field else QUALITY
    measured = quality(
        restorer,
        photos,
        tasks,
        severity=args.severity,
        field=args.field,
        form=args.form,
        **sampler,
    )
    gained = (row | {"gain": float(row["restored"]) - float(row["degraded"])} for row in measured)
    try:
        rows = table.print(gained, len(tasks), "task")
    except (BudgetError, ArithmeticError) as error:
        raise CommandError(reason(error)) from None
    settings = {
        "checkpoint": restorer.checkpoint.name,
        "photos": len(photos),
        "largest_side": args.largest_side,
        "severity": args.severity,
    }
    settings |= sampler | ({} if args.form == USUAL else {"form": args.form})
    mean = _mean(rows, table)
    print(table.line(mean))
    if args.out is not None:
        table.write(args.out, [*rows, mean], settings)
    if args.card:
        held = {"held_out": [_rounded(row) for row in rows], "held_out_settings": settings}
        print(f"wrote {checkpoints.add_to_card(args.checkpoint, held)}")
    return 0


def _rounded(row: Row) -> Row:
    """As a card has it: dB to a hundredth, distances to a ten-thousandth."""
    fine = ("_swd", "_alex", "_vgg")
    return {
        name: round(value, 4 if name.endswith(fine) else 2) if isinstance(value, float) else value
        for name, value in row.items()
    }


def _mean(rows: list[Row], table: Table) -> Row:
    """The mean of each column, and the sum of `worse`."""
    names = [column.name for column in table.columns if not column.is_text]
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    return {"task": "mean"} | mean | {"worse": sum(row["worse"] for row in rows)}
