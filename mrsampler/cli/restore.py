"""`mrsampler restore`: a photo, or every photo of a folder."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrsampler.cli import files, loading, options
from mrsampler.cli.errors import CommandError, reason

if TYPE_CHECKING:
    from torch import Tensor

    from mrsampler.restorer import Restorer


def add(commands: Any) -> None:
    command = commands.add_parser(
        "restore",
        help="restore a photo, or every photo of a folder",
        description="Restores a photo, or every photo of a folder. Size, transparency and colour "
        "profile are kept; the same seed gives the same pixels. A folder can be run again after "
        "an interruption: what is done is skipped.",
    )
    command.set_defaults(command=run)
    command.add_argument("input", type=Path, metavar="INPUT", help="a picture file or a folder")
    options.add_task(command)
    command.add_argument(
        "--out",
        metavar="PATH",
        help="where the result goes: a .png, .jpg, .webp or .tiff file, or a folder that exists "
        "(default: INPUT's name with -restored.png, beside it). For a folder INPUT it is required: "
        "another folder, made if need be, whose results are all .png",
    )
    command.add_argument(
        "--severity",
        type=options.severity,
        metavar="S",
        help="the photo is clean: damage it first, at the size it is restored at, as the page does "
        "(default: it is damaged already)",
    )
    options.add_sampler(command)
    command.add_argument(
        "--seed",
        type=options.seed,
        default=0,
        metavar="N",
        help="fixes all chance, for each photo anew",
    )
    command.add_argument(
        "--largest-side",
        type=_side,
        default=512,
        metavar="PIXELS",
        help="a larger photo is restored scaled down to this, then scaled back; `full` restores "
        "any photo at full resolution, by tiles",
    )
    options.add_device(command)
    command.add_argument(
        "--recursive", action="store_true", help="the folder's subfolders too (default: not)"
    )
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="restore also the folder's photos whose results exist (default: skip them)",
    )


def _side(text: str) -> float | None:
    if text == "full":
        return None
    try:
        return options.number(int, 32)(text)
    except argparse.ArgumentTypeError:
        wanted = f"expected full, or a whole number from 32, got {text!r}"
        raise argparse.ArgumentTypeError(wanted) from None


def run(args: argparse.Namespace) -> int:
    if not args.input.exists():
        raise CommandError(f"{args.input}: there is no such file or folder")
    return (_folder if args.input.is_dir() else _file)(args)


@dataclass(frozen=True)
class _Job:
    """A loaded checkpoint and how it is to restore."""

    restorer: Restorer
    task: str
    largest_side: int | None
    severity: float | None
    settings: dict[str, Any]

    def run(self, source: Path, target: Path, progress: Callable[[float], None]) -> str:
        """Restores one file to another and says so. Raises CommandError.

        `progress` is told the evaluations spent so far: after each step, and after each tile.
        """
        given = files.read(source)
        width, height = given.size
        scaled = given.within(self.largest_side)
        started = time.perf_counter()
        try:
            degraded = self._degraded(scaled.rgb)
            for step in self.restorer.trajectory(
                degraded, self.task, on_tile=progress, **self.settings
            ):
                progress(step.nfe)
            picture = scaled.image(step.x[0].cpu())
        except (RuntimeError, MemoryError, ValueError, ArithmeticError) as error:
            hint = "; a smaller --largest-side needs less memory" * ("memory" in str(error))
            raise CommandError(f"{source}: {reason(error)}{hint}") from None
        seconds = time.perf_counter() - started
        try:
            note = files.save(picture, target)
        except CommandError as error:
            raise _CannotWriteError(str(error)) from None
        if scaled.rgb.shape != given.rgb.shape:
            note += f"; restored at {scaled.rgb.shape[2]} x {scaled.rgb.shape[1]} and scaled back"
        return f"wrote {target}: {width} x {height}, {step.nfe} NFE in {seconds:.1f} s{note}"

    def _degraded(self, given: Tensor) -> Tensor:
        if self.severity is None:
            return given
        import torch

        from mrsampler import degrade

        generator = torch.Generator().manual_seed(self.settings["seed"])
        return degrade(given, self.task, self.severity, generator)


class _CannotWriteError(CommandError):
    """The result, not the input, is the trouble: the next file would fail as well."""


def _job(args: argparse.Namespace) -> _Job:
    settings = options.sampler(args) | {"seed": args.seed}
    restorer = loading.load(args, args.task, **settings)
    return _Job(restorer, args.task, args.largest_side, args.severity, settings)


def _file(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    for option in ("recursive", "overwrite"):
        if getattr(args, option):
            raise CommandError(f"--{option} is for a folder, and {args.input} is a file")
    target = files.target([args.input], args.out, "restored")
    job = _job(args)
    form = "{l_bar}{bar}| {n:.4g}/{total} NFE [{elapsed}<{remaining}]"
    with tqdm(total=args.nfe, bar_format=form, leave=False, disable=None) as bar:
        line = job.run(args.input, target, lambda spent: bar.update(spent - bar.n))
    print(line)
    return 0


def _folder(args: argparse.Namespace) -> int:
    """Restores what is not yet restored, goes on after a bad file, and sums up."""
    from tqdm import tqdm

    if args.out is None:
        raise CommandError(
            f"{args.input} is a folder: say with --out which folder the results go to"
        )
    work = _folder_work(args.input, Path(args.out), args.recursive)
    job = _job(args)
    files.make_folder(Path(args.out))
    todo = [pair for pair in work if args.overwrite or not pair[1].exists()]
    failures: list[str] = []
    with tqdm(todo, unit="photo", disable=None) as bar:
        for source, target in bar:
            bar.set_postfix_str(source.name)
            files.make_folder(target.parent)

            def progress(spent: float, name: str = source.name) -> None:
                bar.set_postfix_str(f"{name}, {spent:.4g}/{args.nfe} NFE")

            try:
                line = job.run(source, target, progress)
            except _CannotWriteError:
                raise
            except (CommandError, OSError) as error:
                line = f"failed {reason(error)}"
                failures.append(line)
            if bar.disable:
                print(line, flush=True)
    skipped = len(work) - len(todo)
    print(
        f"{len(todo) - len(failures)} restored to {args.out}, {skipped} skipped as done already"
        f"{' (--overwrite restores them again)' if skipped else ''}, {len(failures)} failed"
    )
    for line in failures:
        print(line, file=sys.stderr)
    return 1 if failures else 0


def _folder_work(source: Path, out: Path, recursive: bool) -> list[tuple[Path, Path]]:
    """Each picture of the folder and where its result goes, which is never another's place."""
    from mrsampler import folder

    if out.exists() and not out.is_dir():
        raise CommandError(f"--out {out} is a file; the results of a folder need a folder")
    if out.resolve() == source.resolve():
        raise CommandError(f"--out {out} is the input itself; give another folder")
    inside = out.resolve().is_relative_to(source.resolve())
    sources = folder.pictures(source, recursive, leave_out=out if inside else None)
    if not sources:
        raise CommandError(
            f"{source} holds no picture ({', '.join(sorted(folder.SUFFIXES))})"
            + ("" if recursive else "; --recursive looks in its subfolders too")
        )
    targets = folder.targets(sources, source, out)
    if {path.resolve() for path in sources} & {path.resolve() for path in targets}:
        raise CommandError(f"results in {out} would overwrite pictures of {source}")
    return list(zip(sources, targets, strict=True))
