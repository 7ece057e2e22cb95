"""What the commands' options share: the parser, readers of numbers, options of several commands."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from mrsampler.cli.errors import CommandError
from mrsampler.run import OPTIONS, SETTINGS, RefusedError, Run


class Parser(argparse.ArgumentParser):
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


def number(
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


def above_zero(text: str) -> float:
    value = number(float, 0)(text)
    if value == 0:
        raise argparse.ArgumentTypeError("expected a number above 0")
    return value


def truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return text == "true"


count = number(int, 1)


def reader(name: str) -> Callable[[str], Any]:
    """Reads a setting of a run; one that no run can have is refused in its words."""

    def read(text: str) -> Any:
        try:
            return SETTINGS[name].check(text)
        except RefusedError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


FINER: dict[str, Callable[[str], float | bool]] = {
    "eta": number(float, 0, 1),
    "tolerance": above_zero,
    "lambda_min": number(float, -50, 50),
    "lower_order_final": truth,
    "denoise_final": truth,
}


def setting(text: str) -> tuple[str, float | bool]:
    """One of FINER, as NAME=VALUE."""
    name, _, value = text.partition("=")
    if name not in FINER:
        raise argparse.ArgumentTypeError(
            f"expected NAME=VALUE with a NAME of {', '.join(FINER)}, got {text!r}"
        )
    try:
        return name, FINER[name](value)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{name}: {error}") from None


def pair(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value a number, true, false or a word."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def add(command: argparse.ArgumentParser, name: str, more: str = "", **options: Any) -> None:
    """An option for a setting of a run; `more` is what its help says beyond."""
    setting = SETTINGS[name]
    said = f"{setting.documented.removesuffix('.')}{more}"
    given = {"type": reader(name), "default": setting.default, "help": said}
    command.add_argument(f"--{name}", **(given | options))


def add_task(command: argparse.ArgumentParser, required: bool = True) -> None:
    add(command, "task", "; `mrsampler list tasks`", required=required, default=None)


def add_severity(command: argparse.ArgumentParser, more: str) -> None:
    """It has no default of its own: what there is without it, `more` says."""
    add(command, "severity", more, default=None, metavar="S")


def add_sampler(command: argparse.ArgumentParser) -> None:
    add(command, "solver", "; `mrsampler list solvers`", metavar="NAME")
    add(command, "nfe", metavar="N")
    add(
        command,
        "spacing",
        ": `mrsampler list spacings`, karras:RHO, or the times: 100,60,30,0",
        metavar="NAME",
    )
    command.add_argument(
        "--set",
        type=setting,
        action="append",
        metavar="NAME=VALUE",
        help=f"a finer setting of the sampler, one of {', '.join(FINER)}; as often as needed",
    )
    add_checkpoint(command)


def add_checkpoint(command: argparse.ArgumentParser) -> None:
    add(
        command,
        "checkpoint",
        ": a bundled or published checkpoint (`mrsampler list checkpoints`), the latter also as "
        "NAME@REVISION; a .safetensors file with its .json card; with --architecture, any file",
        metavar="NAME",
    )
    adopted = command.add_argument_group(
        "a checkpoint of one's own", "a .pth, .pt or .safetensors file without a card"
    )
    adopted.add_argument("--architecture", metavar="NAME", help="what it is: irsde-unet")
    adopted.add_argument(
        "--encoder", type=Path, metavar="FILE", help="DA-CLIP's, for a network that takes contexts"
    )
    adopted.add_argument(
        "--encoder-heads",
        type=count,
        metavar="N",
        help="the encoder's attention heads (default: one for 64 channels, as CLIP's)",
    )
    adopted.add_argument(
        "--trained-on",
        nargs="+",
        metavar="TASK",
        help="the tasks that it knows (default: all of `mrsampler list tasks`)",
    )
    adopted.add_argument(
        "--process",
        metavar="KIND",
        help="`mrsampler list processes` (default: mean-reverting, whose parameters follow)",
    )
    adopted.add_argument(
        "--max-sigma",
        type=above_zero,
        metavar="S",
        help="its noise, in 1/255 from 1 up (default: 50)",
    )
    adopted.add_argument("--schedule", metavar="NAME", help="its noise schedule (default: cosine)")
    adopted.add_argument(
        "--num-steps", type=count, metavar="N", help="its schedule's steps (default: 100)"
    )
    adopted.add_argument(
        "--eps", type=above_zero, metavar="E", help="alpha where it ends (default: 0.005)"
    )
    adopted.add_argument(
        "--zero-start",
        type=truth,
        metavar="BOOL",
        help="whether the schedule starts without noise (default: true, as IR-SDE's code trains)",
    )
    adopted.add_argument(
        "--process-set",
        type=pair,
        action="append",
        metavar="NAME=VALUE",
        help="a parameter of another process; as often as needed",
    )
    adopted.add_argument("--target", metavar="NAME", help="what it predicts (default: noise)")


ADOPTED = (
    "architecture",
    "encoder",
    "encoder_heads",
    "process",
    "max_sigma",
    "schedule",
    "num_steps",
    "eps",
    "zero_start",
    "target",
)


def checkpoint(args: argparse.Namespace) -> dict[str, Any]:
    """What `add_checkpoint` declares of a file without a card, as `mrsampler.load` takes it."""
    chosen = {name: getattr(args, name, None) for name in ADOPTED}
    chosen["tasks"] = getattr(args, "trained_on", None)
    given = dict(getattr(args, "process_set", None) or ())
    return {name: value for name, value in chosen.items() if value is not None} | given


def check_card(args: argparse.Namespace) -> None:
    """Refuses, before the work, a checkpoint that has no card to write its outcome to."""
    if args.architecture is not None:
        raise CommandError(f"{args.checkpoint} has no card to write to")


def run(args: argparse.Namespace) -> Run:
    """The run that the options give."""
    given = {name: getattr(args, name, None) for name in OPTIONS}
    return Run(**{name: value for name, value in given.items() if value is not None})


def sampler(args: argparse.Namespace) -> dict[str, Any]:
    """What `add_sampler` declares of the trajectory's settings."""
    return run(args).sampler | dict(args.set or ())


def add_device(command: argparse.ArgumentParser) -> None:
    add(command, "device", metavar="NAME")
