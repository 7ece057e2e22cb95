"""`mrsampler restore`: a photo, or every photo of a folder."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrsampler.cli import files, loading, options
from mrsampler.cli.errors import CommandError, reason
from mrsampler.run import CLEAN, DAMAGED, FAILURES, Run

if TYPE_CHECKING:
    from PIL import Image

    from mrsampler.photo import Photo
    from mrsampler.restorer import Restorer

_LONG = 5.0  # seconds that are worth a word before


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
    options.add_severity(
        command,
        ". The photo is clean: damage it first, at its own size or within --size pixels, as the "
        "page does (default: it is damaged already)",
    )
    options.add_sampler(command)
    options.add(command, "seed", ", for each photo anew", metavar="N")
    options.add(command, "texture", metavar="TAU")
    options.add(
        command,
        "size",
        ". With `own` what is a matter of pixels (noise, JPEG) is restored by tiles, the rest "
        "within 512",
        metavar="PIXELS",
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


def run(args: argparse.Namespace) -> int:
    if not args.input.exists():
        raise CommandError(f"{args.input}: there is no such file or folder")
    return (_folder if args.input.is_dir() else _file)(args)


@dataclass(frozen=True)
class _Job:
    """A loaded checkpoint and what it is to make of each photo; `finer` are its --set."""

    restorer: Restorer
    asked: Run
    finer: dict[str, Any]

    def run(self, source: Path, target: Path, progress: Callable[[float], None]) -> str:
        """Restores one file to another and says so. Raises CommandError.

        `progress` is told the evaluations spent so far: after each step, and after each tile.
        """
        given = files.read(source)
        width, height = given.size
        started = time.perf_counter()
        try:
            picture, seen, nfe = self._restored(given, source, progress)
        except FAILURES as error:
            hint = "; a smaller --size needs less memory" * ("memory" in str(error))
            raise CommandError(f"{source}: {reason(error)}{hint}") from None
        seconds = time.perf_counter() - started
        try:
            note = files.save(picture, target)
        except CommandError as error:
            raise _CannotWriteError(str(error)) from None
        if seen != given.size:
            note += f"; restored at {seen[0]} x {seen[1]}"
        return f"wrote {target}: {width} x {height}, {nfe} NFE in {seconds:.1f} s{note}"

    def _restored(
        self, given: Photo, source: Path, progress: Callable[[float], None]
    ) -> tuple[Image.Image, tuple[int, int], int]:
        """The picture, the (width, height) that the network saw, and the evaluations spent."""
        from mrsampler.size import result, working

        asked = self.asked
        damaged = asked.damaged(given)
        small = working(damaged, asked.task, asked.size)
        height, width = small.rgb.shape[1:]

        def heard(spent: float) -> None:
            forecast.after(spent)
            progress(spent)

        settings = asked.sampler | self.finer
        steps = self.restorer.trajectory(
            small.rgb, asked.task, seed=asked.seed, on_tile=heard, **settings
        )
        forecast = _Forecast(f"{source}, {width} x {height}", asked.nfe)
        for step in steps:
            heard(step.nfe)
        x = step.x
        if asked.texture < 1 and (reading := self.restorer.reading(small.rgb, asked.task)):
            x = reading.textured(x, asked.texture)
        return result(damaged, small, asked.task, x[0].cpu()), (width, height), step.nfe


class _Forecast:
    """Says on stderr, once, how long a run of `nfe` evaluations will take, if that is long."""

    def __init__(self, what: str, nfe: int):
        self._what, self._nfe = what, nfe
        self._began, self._told = time.perf_counter(), False

    def after(self, spent: float) -> None:
        """`spent`: the evaluations so far; the first part of one is what is measured."""
        from tqdm import tqdm

        if self._told or not spent:
            return
        self._told = True
        left = (time.perf_counter() - self._began) * (self._nfe / spent - 1)
        if left >= _LONG:
            tqdm.write(f"{self._what}: about {_duration(left)} to go", file=sys.stderr)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class _CannotWriteError(CommandError):
    """The result, not the input, is the trouble: the next file would fail as well."""


def _job(args: argparse.Namespace) -> _Job:
    asked = replace(options.run(args), damage=DAMAGED if args.severity is None else CLEAN)
    finer = dict(args.set or ())
    restorer = loading.load(args, asked.task, texture=asked.texture, **(asked.sampler | finer))
    return _Job(restorer, asked, finer)


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
