"""The command line: `python -m mrsampler restore|degrade|bench|train|list|serve`.

What is slow to import is imported by the commands, so that a mistyped option is answered at once.
Exit codes: 0 done, 1 some files of a folder failed, 2 bad input (one line says what), 130 stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from PIL import Image

    from mrsampler.photo import Photo
    from mrsampler.restorer import Restorer
    from mrsampler.trajectory import Step

SECTIONS = ("tasks", "solvers", "spacings", "checkpoints")


class CommandError(Exception):
    """Input that a command cannot work with; its text is the line that the user reads."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. `--help` exits by SystemExit(0), as usual."""
    try:
        args = parser().parse_args(argv)
        return args.command(args)
    except CommandError as error:
        reason = str(error)
    except OSError as error:
        reason = _reason(error)
    except KeyboardInterrupt:
        print("mrsampler: stopped", file=sys.stderr)
        return 130
    print(f"mrsampler: error: {' '.join(reason.split())}", file=sys.stderr)
    return 2


# --- the options


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any):
        super().__init__(allow_abbrev=False, formatter_class=_Help, **settings)

    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Ends an option's help with its default, where it has one to tell."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; the parsed `command` takes the arguments and runs."""
    top = _Parser(
        prog="mrsampler",
        description="Fast photo restoration with mean-reverting diffusion.",
        epilog="`mrsampler COMMAND --help` says what a command takes.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _add_restore(commands)
    _add_degrade(commands)
    _add_bench(commands)
    _add_train(commands)
    _add_list(commands)
    _add_serve(commands)
    return top


def _number(
    kind: type[int] | type[float], low: float, high: float = math.inf
) -> Callable[[str], float]:
    """Reads an option's number and refuses one outside [low, high]."""
    wanted = "a whole number" if kind is int else "a number"
    wanted += f" from {low:g}" + (f" to {high:g}" if high < math.inf else "")

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return value

    return read


def _above_zero(text: str) -> float:
    value = _number(float, 0)(text)
    if value == 0:
        raise argparse.ArgumentTypeError("expected a number above 0")
    return value


_count = _number(int, 1)
_seed = _number(int, 0, 2**53)
_severity = _number(float, 0, 1)


def _add_task(command: argparse.ArgumentParser, required: bool = True) -> None:
    command.add_argument(
        "--task", required=required, help="what is wrong with the photo; `mrsampler list tasks`"
    )


def _add_sampler(command: argparse.ArgumentParser) -> None:
    command.add_argument("--solver", default="mrs-ode-d-2", help="`mrsampler list solvers`")
    command.add_argument(
        "--nfe", type=_count, default=10, metavar="N", help="the most evaluations of the network"
    )
    command.add_argument(
        "--checkpoint",
        default="bundled",
        metavar="NAME",
        help="a bundled checkpoint (`mrsampler list checkpoints`) or a .safetensors file with its "
        ".json card",
    )


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:1, mps; auto takes the GPU if there is one",
    )


def _add_restore(commands: Any) -> None:
    command = commands.add_parser(
        "restore",
        help="restore a photo, or every photo of a folder",
        description="Restores a photo, or every photo of a folder. Size, transparency and colour "
        "profile are kept; the same seed gives the same pixels. A folder can be run again after "
        "an interruption: what is done is skipped.",
    )
    command.set_defaults(command=_restore)
    command.add_argument("input", type=Path, metavar="INPUT", help="a picture file or a folder")
    _add_task(command)
    command.add_argument(
        "--out",
        metavar="PATH",
        help="where the result goes: a .png, .jpg, .webp or .tiff file, or a folder that exists "
        "(default: INPUT's name with -restored.png, beside it). For a folder INPUT it is required: "
        "another folder, made if need be, whose results are all .png",
    )
    _add_sampler(command)
    command.add_argument("--spacing", default="uniform-lambda", help="`mrsampler list spacings`")
    command.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="fixes all chance, for each photo anew"
    )
    command.add_argument(
        "--largest-side",
        type=_number(int, 32),
        default=512,
        metavar="PIXELS",
        help="a larger photo is restored scaled down to this, then scaled back",
    )
    _add_device(command)
    command.add_argument(
        "--recursive", action="store_true", help="the folder's subfolders too (default: not)"
    )
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="restore also the folder's photos whose results exist (default: skip them)",
    )


def _add_degrade(commands: Any) -> None:
    command = commands.add_parser(
        "degrade",
        help="damage a clean photo the way a task does",
        description="Damages a clean photo the way a task does, or shows all tasks on one sheet: "
        "degrade --contact-sheet SHEET.png PHOTO [PHOTO ...]",
    )
    command.set_defaults(command=_degrade)
    command.add_argument("input", type=Path, nargs="+", metavar="PHOTO", help="a clean picture")
    _add_task(command, required=False)
    command.add_argument(
        "--severity",
        type=_severity,
        metavar="S",
        help="from 0, next to no damage, to 1 (default: 0.5; a contact sheet shows 0.2, 0.5, 1)",
    )
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="fixes all chance")
    command.add_argument(
        "--out",
        metavar="PATH",
        help="a .png, .jpg, .webp or .tiff file, or a folder that exists (default: PHOTO's name "
        "with -TASK.png, beside it)",
    )
    command.add_argument(
        "--contact-sheet", metavar="SHEET", help="write every task's damage to this picture instead"
    )


def _add_bench(commands: Any) -> None:
    benches = commands.add_parser(
        "bench", help="measure", description="Measurements; each prints a table."
    ).add_subparsers(metavar="NAME", required=True)
    quality = benches.add_parser(
        "quality",
        help="PSNR of each task over a folder of clean photos",
        description="Degrades clean photos by each task, restores them, and prints the mean PSNR "
        "in dB before and after as a Markdown table. `worse` counts the photos whose restoration "
        "lost more than 0.5 dB.",
    )
    quality.set_defaults(command=_bench_quality)
    quality.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="a folder of clean photos"
    )
    quality.add_argument(
        "--photos", type=_count, default=8, metavar="N", help="how many of them, in order of name"
    )
    quality.add_argument(
        "--largest-side",
        type=_number(int, 32),
        default=256,
        metavar="PIXELS",
        help="larger photos are first scaled down to this",
    )
    quality.add_argument(
        "--severity", type=_severity, default=0.5, metavar="S", help="of the damage, 0 to 1"
    )
    _add_sampler(quality)
    _add_device(quality)
    quality.add_argument("--out", type=Path, metavar="FILE", help="also write a .csv or .json file")


def _add_train(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="train the network on a folder of photos",
        description="Trains the bundled kind of network on clean photos, or goes on with a run "
        "that was stopped: the same --out resumes it.",
    )
    command.set_defaults(command=_train)
    command.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="a folder of clean photos"
    )
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="NAME",
        help="the checkpoint's path: writes NAME.safetensors, NAME.json and NAME.state.pt",
    )
    command.add_argument(
        "--valid", type=Path, metavar="DIR", help="a folder of photos to report PSNR on"
    )
    command.add_argument(
        "--minutes", type=_above_zero, default=90.0, help="of training, over all its sessions"
    )
    command.add_argument("--batch", type=_count, default=16, help="crops in a step")
    command.add_argument(
        "--crop", type=_number(int, 32, 256), default=128, help="side of a crop, in pixels"
    )
    command.add_argument(
        "--crops-per-photo", type=_count, default=2, help="crops taken of each degraded photo"
    )
    command.add_argument(
        "--learning-rate", type=_above_zero, default=1e-3, help="at its peak, after the warm-up"
    )
    command.add_argument(
        "--ema", type=_number(float, 0, 1), default=0.999, help="decay of the averaged weights"
    )
    command.add_argument(
        "--huber", type=_above_zero, default=0.1, help="where the loss turns from square to linear"
    )
    command.add_argument(
        "--workers", type=_number(int, 0), default=1, help="processes that degrade photos"
    )
    command.add_argument("--seed", type=_seed, default=0, help="of the weights and the crops")
    command.add_argument(
        "--save-every", type=_above_zero, default=5.0, metavar="MINUTES", help="between saves"
    )
    command.add_argument(
        "--valid-every", type=_above_zero, default=30.0, metavar="MINUTES", help="between reports"
    )
    command.add_argument(
        "--valid-photos", type=_count, default=4, metavar="N", help="photos in a report"
    )
    _add_device(command)
    command.add_argument(
        "--target",
        choices=("velocity", "noise"),
        default="velocity",
        help="what the network predicts",
    )


def _add_list(commands: Any) -> None:
    command = commands.add_parser(
        "list",
        help="list the tasks, solvers, spacings and checkpoints",
        description="Lists what there is to choose from.",
    )
    command.set_defaults(command=_list)
    command.add_argument(
        "section",
        nargs="?",
        choices=SECTIONS,
        metavar="SECTION",
        help=f"one of {', '.join(SECTIONS)} (default: all)",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_serve(commands: Any) -> None:
    command = commands.add_parser(
        "serve", help="open the demo page", description="Serves the demo page until Ctrl-C."
    )
    command.set_defaults(command=_serve)
    command.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1",
        help="the address to listen on, 0.0.0.0 for all; or set GRADIO_SERVER_NAME",
    )
    command.add_argument(
        "--port",
        type=_number(int, 1, 65535),
        default=os.environ.get("GRADIO_SERVER_PORT") or "7860",
        help="or set GRADIO_SERVER_PORT",
    )
    _add_device(command)
    command.add_argument(
        "--share",
        action="store_true",
        help="make a public link to this page through gradio's servers (default: not)",
    )


# --- what the commands share


def _reason(error: BaseException) -> str:
    """What went wrong, in one line, with the file if the error names one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _read(path: Path) -> Photo:
    from mrsampler import photo

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about what `photo` copes with
            return photo.read(path)
    except photo.PhotoError as error:
        raise CommandError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise CommandError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise CommandError(f"{path} is a folder, not a picture") from None


def _save(picture: Image.Image, target: Path) -> str:
    """Writes the result; what there is to add to the line about it."""
    from mrsampler import folder

    try:
        whole = folder.save(picture, target)
    except OSError as error:
        raise CommandError(f"cannot write {target}: {error.strerror or error}") from None
    except ValueError as error:
        raise CommandError(f"cannot write {target}: {error}") from None
    return "" if whole else f"; {target.suffix} has no transparency, so it was laid on white"


def _target(sources: list[Path], out: str | None, ending: str) -> Path:
    """The file a result goes to, named after the first source unless `out` says otherwise.

    Raises CommandError unless it can be written there, and for one of the sources.
    """
    from mrsampler import folder

    source = sources[0]
    if out is None:
        target = source.with_name(f"{source.stem}-{ending}.png")
    elif os.path.isdir(out):
        target = Path(out) / f"{source.stem}.png"
    elif Path(out).suffix.lower() in folder.WRITABLE and not out.endswith(os.sep):
        target = Path(out)
    else:
        raise CommandError(
            f"--out {out}: expected a file that ends in {', '.join(folder.WRITABLE)}, or a folder "
            "that exists"
        )
    _check_writable(target.parent)
    if target.is_dir():
        raise CommandError(f"cannot write {target}: it is a folder")
    if target.exists() and any(path.exists() and target.samefile(path) for path in sources):
        raise CommandError(f"{target} is the input itself; give another --out")
    return target


def _check_writable(folder: Path) -> None:
    if not folder.is_dir():
        raise CommandError(f"there is no folder {folder} to write to")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(f"the folder {folder} cannot be written to")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder {folder}: {error.strerror}") from None
    _check_writable(folder)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise CommandError(f"{folder}: there is no such folder")


def _device(name: str) -> str | None:
    """A device that this machine has, None for auto. Raises CommandError for another."""
    import torch

    if name == "auto":
        return None
    kind, _, index = name.partition(":")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if kind not in there or (index or "0") not in map(str, range(there[kind])):
        present = ", ".join(
            f"{kind}:{i}" if kind == "cuda" else kind for kind, n in there.items() for i in range(n)
        )
        raise CommandError(f"no device {name!r} on this machine; choose from auto, {present}")
    return name


def _load(args: argparse.Namespace, task: str | None = None, **settings: Any) -> Restorer:
    """The checkpoint, once it has agreed to `task` (None: its first) and the sampler's settings."""
    import torch

    from mrsampler import restorer

    try:
        loaded = restorer.load(args.checkpoint, _device(args.device))
        # Settings are checked when a trajectory is made; it does not run before it is asked.
        probe = torch.zeros(3, 32, 32)
        loaded.trajectory(probe, loaded.tasks[0] if task is None else task, **settings)
    except (FileNotFoundError, ValueError) as error:
        raise CommandError(_reason(error)) from None
    return loaded


# --- restore


@dataclass(frozen=True)
class _Job:
    """A loaded checkpoint and how it is to restore."""

    restorer: Restorer
    task: str
    largest_side: int
    settings: dict[str, Any]

    def run(
        self, source: Path, target: Path, on_step: Callable[[Step], None] = lambda step: None
    ) -> str:
        """Restores one file to another and says so. Raises CommandError."""
        given = _read(source)
        width, height = given.size
        scaled = given.within(self.largest_side)
        started = time.perf_counter()
        try:
            for step in self.restorer.trajectory(scaled.rgb, self.task, **self.settings):
                on_step(step)
            picture = scaled.image(step.x[0].cpu())
        except (RuntimeError, MemoryError, ValueError, FloatingPointError) as error:
            hint = "; a smaller --largest-side needs less memory" * ("memory" in str(error))
            raise CommandError(f"{source}: {_reason(error)}{hint}") from None
        seconds = time.perf_counter() - started
        try:
            note = _save(picture, target)
        except CommandError as error:
            raise _CannotWriteError(str(error)) from None
        if scaled.rgb.shape != given.rgb.shape:
            note += f"; restored at {scaled.rgb.shape[2]} x {scaled.rgb.shape[1]} and scaled back"
        return f"wrote {target}: {width} x {height}, {step.nfe} NFE in {seconds:.1f} s{note}"


class _CannotWriteError(CommandError):
    """The result, not the input, is the trouble: the next file would fail as well."""


def _restore(args: argparse.Namespace) -> int:
    if not args.input.exists():
        raise CommandError(f"{args.input}: there is no such file or folder")
    run = _restore_folder if args.input.is_dir() else _restore_file
    return run(args)


def _job(args: argparse.Namespace) -> _Job:
    settings = {name: getattr(args, name) for name in ("solver", "nfe", "spacing", "seed")}
    return _Job(_load(args, args.task, **settings), args.task, args.largest_side, settings)


def _restore_file(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    for option in ("recursive", "overwrite"):
        if getattr(args, option):
            raise CommandError(f"--{option} is for a folder, and {args.input} is a file")
    target = _target([args.input], args.out, "restored")
    job = _job(args)
    with tqdm(total=args.nfe, unit="NFE", leave=False, disable=None) as bar:
        seen = 0

        def advance(step: Step) -> None:
            nonlocal seen
            bar.update(step.nfe - seen)
            seen = step.nfe

        line = job.run(args.input, target, advance)
    print(line)
    return 0


def _restore_folder(args: argparse.Namespace) -> int:
    """Restores what is not yet restored, goes on after a bad file, and sums up."""
    from tqdm import tqdm

    if args.out is None:
        raise CommandError(
            f"{args.input} is a folder: say with --out which folder the results go to"
        )
    work = _folder_work(args.input, Path(args.out), args.recursive)
    job = _job(args)
    _make_folder(Path(args.out))
    todo = [pair for pair in work if args.overwrite or not pair[1].exists()]
    failures: list[str] = []
    with tqdm(todo, unit="photo", disable=None) as bar:
        for source, target in bar:
            bar.set_postfix_str(source.name)
            _make_folder(target.parent)
            try:
                line = job.run(source, target)
            except _CannotWriteError:
                raise
            except (CommandError, OSError) as error:
                line = f"failed {_reason(error)}"
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


# --- degrade


def _degrade(args: argparse.Namespace) -> int:
    if args.contact_sheet is not None:
        return _contact_sheet(args)
    if args.task is None:
        raise CommandError("the following arguments are required: --task (or --contact-sheet)")
    if len(args.input) > 1:
        raise CommandError("one photo at a time, unless --contact-sheet shows them together")
    import torch

    from mrsampler import TASKS, degrade

    if args.task not in TASKS:
        raise CommandError(f"unknown task {args.task!r}; choose from {', '.join(TASKS)}")
    severity = 0.5 if args.severity is None else args.severity
    given = _read(args.input[0])
    target = _target(args.input, args.out, args.task)
    generator = torch.Generator().manual_seed(args.seed)
    picture = given.image(degrade(given.rgb, args.task, severity, generator))
    note = _save(picture, target)
    width, height = given.size
    print(f"wrote {target}: {width} x {height}, {args.task} at severity {severity:g}{note}")
    return 0


def _contact_sheet(args: argparse.Namespace) -> int:
    from mrsampler import photo
    from mrsampler.degradations.contact_sheet import contact_sheet

    for option in ("task", "out"):
        if getattr(args, option) is not None:
            raise CommandError(f"--{option} does not go with --contact-sheet")
    photos = [photo.to_pil(_read(path).rgb) for path in args.input]
    target = _target(args.input, args.contact_sheet, "contact-sheet")
    severities = (0.2, 0.5, 1.0) if args.severity is None else (args.severity,)
    sheet = contact_sheet(photos, severities, args.seed)
    _save(sheet, target)
    print(f"wrote {target}: {sheet.width} x {sheet.height}")
    return 0


# --- bench


def _bench_quality(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from mrsampler import TASKS, bench, folder

    if args.out is not None:
        if args.out.suffix.lower() not in (".csv", ".json"):
            raise CommandError(f"--out {args.out}: expected a file that ends in .csv or .json")
        _check_writable(args.out.parent)
    _check_folder(args.images)
    paths = folder.pictures(args.images)[: args.photos]
    if not paths:
        raise CommandError(f"{args.images} holds no picture")
    restorer = _load(args, solver=args.solver, nfe=args.nfe)
    if unknown := set(restorer.tasks) - set(TASKS):
        raise CommandError(f"no degradation for the checkpoint's {', '.join(sorted(unknown))}")
    photos = [_read(path).within(args.largest_side).rgb for path in paths]
    run = bench.quality(
        restorer,
        photos,
        restorer.tasks,
        severity=args.severity,
        solver=args.solver,
        nfe=args.nfe,
    )
    rows = []
    print(_QUALITY_HEAD, flush=True)
    with tqdm(run, total=len(restorer.tasks), unit="task", leave=False, disable=None) as bar:
        for row in bar:
            rows.append(row | {"gain": float(row["restored"]) - float(row["degraded"])})
            bar.write(_quality_line(rows[-1]), file=sys.stdout)
    rows.append(_mean(rows))
    print(_quality_line(rows[-1]))
    if args.out is not None:
        settings = {
            "checkpoint": restorer.checkpoint.name,
            "photos": len(photos),
            "largest_side": args.largest_side,
            "severity": args.severity,
            "solver": args.solver,
            "nfe": args.nfe,
        }
        _write_rows(args.out, rows, settings)
        print(f"wrote {args.out}")
    return 0


_QUALITY_COLUMNS = ("degraded", "one", "restored", "gain", "worse")
_QUALITY_HEAD = (
    "| task            | degraded | one evaluation | restored |   gain | worse |\n"
    "|:----------------|---------:|---------------:|---------:|-------:|------:|"
)


def _quality_line(row: dict[str, Any]) -> str:
    return (
        f"| {row['task']:<15} | {row['degraded']:8.2f} | {row['one']:14.2f} "
        f"| {row['restored']:8.2f} | {row['gain']:+6.2f} | {row['worse']:5g} |"
    )


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each column, and the sum of `worse`."""
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in _QUALITY_COLUMNS}
    return {"task": "mean"} | mean | {"worse": sum(row["worse"] for row in rows)}


def _write_rows(target: Path, rows: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    import csv

    from mrsampler import folder

    with (
        folder.replacing(target) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        if target.suffix.lower() == ".json":
            json.dump({"settings": settings, "rows": rows}, file, indent=2)
            file.write("\n")
        else:
            writer = csv.DictWriter(file, fieldnames=("task", *_QUALITY_COLUMNS))
            writer.writeheader()
            writer.writerows(rows)


# --- train


def _train(args: argparse.Namespace) -> int:
    for images in filter(None, (args.images, args.valid)):
        _check_folder(images)
    config = _train_config(args)
    _make_folder(config.out.parent)
    from mrsampler.train import train

    try:
        path = train(config)
    except (ValueError, FloatingPointError) as error:
        raise CommandError(_reason(error)) from None
    print(f"wrote {path}")
    return 0


def _train_config(args: argparse.Namespace) -> Any:
    from mrsampler.train import TrainConfig

    options = {name: value for name, value in vars(args).items() if name != "command"}
    if args.out.suffix == ".safetensors":
        options["out"] = args.out.with_suffix("")
    options["device"] = _device(args.device) or "auto"
    return TrainConfig(**options)


# --- list


def _list(args: argparse.Namespace) -> int:
    sections = {
        "tasks": _tasks,
        "solvers": _solvers,
        "spacings": _spacings,
        "checkpoints": _checkpoints,
    }
    chosen = {name: sections[name]() for name in ([args.section] if args.section else SECTIONS)}
    if args.json:
        print(json.dumps(chosen, indent=2))
    elif args.section:
        print("\n".join(_table(chosen[args.section])))
    else:
        for name, rows in chosen.items():
            print("\n  ".join([name, *_table(rows)]), end="\n\n")
    return 0


def _tasks() -> list[dict[str, Any]]:
    from mrsampler import TASKS

    return [{"name": name} for name in TASKS]


def _solvers() -> list[dict[str, Any]]:
    from mrsampler import SOLVERS

    return [
        {
            "name": name,
            "order": solver.order,
            "stochastic": solver.stochastic,
            "evaluations": solver.evaluations,
            "description": solver.description,
        }
        for name, solver in SOLVERS.items()
    ]


def _spacings() -> list[dict[str, Any]]:
    from mrsampler import SPACINGS

    return [{"name": name} for name in SPACINGS]


def _checkpoints() -> list[dict[str, Any]]:
    from mrsampler import checkpoints

    found: list[dict[str, Any]] = []
    for name in checkpoints.names():
        try:
            card = checkpoints.read(name).card
        except (FileNotFoundError, ValueError) as error:
            found.append({"name": name, "error": _reason(error)})
            continue
        found.append(
            {
                "name": name,
                "target": card["target"],
                "parameters": card.get("parameters"),
                "minutes trained": card.get("training", {}).get("minutes"),
            }
        )
    return found


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Aligned lines under the columns' names, or the names alone if that is all there is."""
    if not rows:
        return ["(none)"]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    if len(columns) > 1:
        cells.insert(0, columns)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


# --- serve


def _serve(args: argparse.Namespace) -> int:
    device = _device(args.device)
    from mrsampler.ui.page import launch

    try:
        launch(host=args.host, port=args.port, device=device, share=args.share)
    except OSError as error:
        raise CommandError(
            f"cannot serve on {args.host}:{args.port} (is it in use?): {_reason(error)}"
        ) from None
    return 0
