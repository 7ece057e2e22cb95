"""`mrsampler bench peers`: the network beside what else one can install, on the same photos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrsampler.cli import clean, files, loading, options, tables
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Table

if TYPE_CHECKING:
    from mrsampler.bench.peers import Case

TRUE, DAMAGED = "_gt", "_lq"  # how the two photos of a pair end

PEERS = Table(
    Column("case", "case", "<17"),
    Column("method", "method", "<19"),
    Column("told", "told", "<8"),
    Column("setting", "at", "6g"),
    Column("psnr", "PSNR", "6.2f"),
    Column("ssim", "SSIM", "6.3f"),
    Column("alex", "AlexNet", "7.4f"),
    Column("vgg", "VGG", "7.4f"),
    Column("swd", "SWD", "7.4f"),
)


def add(benches: Any) -> None:
    command = benches.add_parser(
        "peers",
        help="the network beside other methods",
        description="Restores the same damaged photos by the network and by what else one can "
        "install: FFDNet, OpenCV's and scikit-image's methods, the dark channel prior. Each is at "
        "the best of a few settings, and told what it asks for of the truth. Prints a Markdown "
        "table: PSNR in dB and SSIM, better when higher; ST-LPIPS on AlexNet and VGG-16 and SWD, "
        "better when lower.",
    )
    command.set_defaults(command=run)
    clean.add_images(command, 8, ", in order of name")
    clean.add_damage(command, 256)
    command.add_argument(
        "--tasks", nargs="+", metavar="TASK", help="only these (default: all of the checkpoint's)"
    )
    command.add_argument(
        "--form", default="usual", metavar="NAME", help="of the damage, as `list tasks` names them"
    )
    command.add_argument(
        "--pairs",
        type=Path,
        metavar="DIR",
        help=f"instead, photos with a camera's noise and without: X{DAMAGED}.png and X{TRUE}.png",
    )
    options.add_sampler(command)
    options.add_device(command)
    tables.add_out(command)


def run(args: argparse.Namespace) -> int:
    from mrsampler.bench.peers import compared
    from mrsampler.extras import MissingExtraError
    from mrsampler.metrics import st_lpips_missing
    from mrsampler.solvers import BudgetError

    tables.check_out(args.out)
    if (missing := st_lpips_missing()) is not None:
        raise CommandError(missing)
    pairs = None if args.pairs is None else _paired(args.pairs)
    sampler = options.sampler(args)
    restorer = loading.load(args, **sampler)
    cases = _cases(args, restorer.tasks, pairs)
    rows: list[dict[str, Any]] = []
    print(PEERS.head(), flush=True)
    try:
        for case in cases:
            for row in compared(restorer, case, sampler):
                rows.append(row)
                print(PEERS.line(row), flush=True)
    except (BudgetError, ArithmeticError, MissingExtraError) as error:
        raise CommandError(reason(error)) from None
    if args.out is not None:
        settings = {"checkpoint": restorer.checkpoint.name, "photos": len(cases[0].pairs)}
        PEERS.write(args.out, rows, settings | sampler)
    return 0


def _cases(
    args: argparse.Namespace, known: tuple[str, ...], pairs: list[tuple[Path, Path]] | None
) -> list[Case]:
    """What is measured; CommandError for a task or a form that is not known."""
    from mrsampler.bench.peers import NOISY, Case, cases
    from mrsampler.degradations import REGISTRY

    if pairs is not None:
        if NOISY not in known:
            raise CommandError(f"{args.checkpoint} has no task {NOISY}")
        read = [(files.read(damaged).rgb, files.read(true).rgb) for damaged, true in pairs]
        return [Case("a camera's noise", NOISY, read)]
    tasks = tuple(args.tasks or known)
    if foreign := set(tasks) - (set(known) & set(REGISTRY)):
        raise CommandError(f"{args.checkpoint} has no task {', '.join(sorted(foreign))}")
    tasks = tuple(task for task in tasks if REGISTRY[task].has(args.form))
    if not tasks:
        raise CommandError(f"no task has a form {args.form!r}; see list tasks")
    photos = clean.read(clean.paths(args.images)[: args.photos], args.largest_side)
    return list(cases(photos, tasks, args.severity, args.form))


def _paired(folder: Path) -> list[tuple[Path, Path]]:
    """A folder's photos in pairs, damaged and true; CommandError where there are none."""
    from mrsampler.folder import pictures

    files.check_folder(folder)
    found = {path.stem: path for path in pictures(folder)}
    pairs = [
        (path, found[true])
        for stem, path in found.items()
        if stem.endswith(DAMAGED) and (true := stem.removesuffix(DAMAGED) + TRUE) in found
    ]
    if not pairs:
        raise CommandError(f"{folder} holds no pair: X{DAMAGED}.png and X{TRUE}.png")
    return pairs
