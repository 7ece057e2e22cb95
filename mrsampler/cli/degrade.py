"""`mrsampler degrade`: the damage of a task done to a clean photo, or of all tasks on a sheet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mrsampler.cli import files, options
from mrsampler.cli.errors import CommandError


def add(commands: Any) -> None:
    command = commands.add_parser(
        "degrade",
        help="damage a clean photo the way a task does",
        description="Damages a clean photo the way a task does, or shows all tasks on one sheet: "
        "degrade --contact-sheet SHEET.png PHOTO [PHOTO ...]",
    )
    command.set_defaults(command=run)
    command.add_argument("input", type=Path, nargs="+", metavar="PHOTO", help="a clean picture")
    options.add_task(command, required=False)
    options.add_severity(
        command,
        ", from 0, next to none, to 1 (default: 0.5; a contact sheet shows 0.2, 0.5, 1)",
    )
    command.add_argument(
        "--form",
        metavar="NAME",
        help="of the damage, one of the task's that `list tasks` names (default: usual); held-out: "
        "the one that the bundled networks were never trained on",
    )
    options.add(command, "seed", metavar="N")
    command.add_argument(
        "--out",
        metavar="PATH",
        help="a .png, .jpg, .webp or .tiff file, or a folder that exists (default: PHOTO's name "
        "with -TASK.png, beside it)",
    )
    command.add_argument(
        "--contact-sheet", metavar="SHEET", help="write every task's damage to this picture instead"
    )
    command.add_argument(
        "--forms", action="store_true", help="all of a task's forms, on a contact sheet"
    )


def run(args: argparse.Namespace) -> int:
    if args.contact_sheet is not None:
        return _contact_sheet(args)
    if args.task is None:
        raise CommandError("the following arguments are required: --task (or --contact-sheet)")
    if len(args.input) > 1:
        raise CommandError("one photo at a time, unless --contact-sheet shows them together")
    import torch

    from mrsampler import TASKS, degrade
    from mrsampler.degradations import REGISTRY, USUAL

    if args.task not in TASKS:
        raise CommandError(f"unknown task {args.task!r}; choose from {', '.join(TASKS)}")
    form = USUAL if args.form is None else args.form
    if not REGISTRY[args.task].has(form):
        names = ", ".join(REGISTRY[args.task].forms)
        raise CommandError(f"{args.task} has no form {form!r}; choose from {names}")
    if args.forms:
        raise CommandError("--forms is for a --contact-sheet")
    severity = 0.5 if args.severity is None else args.severity
    given = files.read(args.input[0])
    target = files.target(args.input, args.out, args.task)
    generator = torch.Generator().manual_seed(args.seed)
    picture = given.image(degrade(given.rgb, args.task, severity, generator, form=form))
    note = files.save(picture, target)
    width, height = given.size
    print(f"wrote {target}: {width} x {height}, {args.task} at severity {severity:g}{note}")
    return 0


def _contact_sheet(args: argparse.Namespace) -> int:
    from mrsampler import photo
    from mrsampler.degradations.contact_sheet import contact_sheet

    for option in ("task", "out", "form"):
        if getattr(args, option) is not None:
            raise CommandError(f"--{option} does not go with --contact-sheet")
    photos = [photo.to_pil(files.read(path).rgb) for path in args.input]
    target = files.target(args.input, args.contact_sheet, "contact-sheet")
    severities = (0.2, 0.5, 1.0) if args.severity is None else (args.severity,)
    sheet = contact_sheet(photos, severities, args.seed, forms=args.forms)
    files.save(sheet, target)
    print(f"wrote {target}: {sheet.width} x {sheet.height}")
    return 0
