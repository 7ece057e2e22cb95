"""`mrsampler train`: the bundled kind of network, on folders of photos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrsampler.cli import files, loading, options
from mrsampler.cli.errors import CommandError, reason

if TYPE_CHECKING:
    from mrsampler.training import TrainConfig


def add(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="train the network on a folder of photos",
        description="Trains a part of the bundled kind of network on clean photos, or goes on with "
        "a run that was stopped: the same --out resumes it.",
    )
    command.set_defaults(command=run)
    command.add_argument(
        "--images",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="folders of clean photos",
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
        "--minutes",
        type=options.above_zero,
        default=90.0,
        help="of training, over all its sessions",
    )
    command.add_argument("--batch", type=options.count, default=16, help="crops in a step")
    command.add_argument(
        "--crop", type=options.number(int, 32, 256), default=128, help="side of a crop, in pixels"
    )
    command.add_argument(
        "--crops-per-photo",
        type=options.count,
        default=2,
        help="crops taken of each degraded photo",
    )
    command.add_argument(
        "--learning-rate",
        type=options.above_zero,
        default=1e-3,
        help="at its peak, after the warm-up",
    )
    command.add_argument(
        "--ema",
        type=options.number(float, 0, 1),
        default=0.999,
        help="decay of the averaged weights",
    )
    command.add_argument(
        "--workers", type=options.number(int, 0), default=1, help="processes that degrade photos"
    )
    command.add_argument(
        "--seed", type=options.reader("seed"), default=0, help="of the weights and the crops"
    )
    command.add_argument(
        "--save-every",
        type=options.above_zero,
        default=5.0,
        metavar="MINUTES",
        help="between saves",
    )
    command.add_argument(
        "--valid-every",
        type=options.above_zero,
        default=30.0,
        metavar="MINUTES",
        help="between reports",
    )
    command.add_argument(
        "--valid-photos", type=options.count, default=4, metavar="N", help="photos in a report"
    )
    options.add_device(command)
    command.add_argument(
        "--part",
        choices=("both", "reader", "light"),
        default="both",
        help="what is trained: the reader, run once a photo; the light denoiser, run at every "
        "step, over the reader of --from as it is; or both",
    )
    command.add_argument(
        "--target",
        choices=("data", "noise"),
        default="data",
        help="what the light denoiser predicts",
    )
    command.add_argument(
        "--noises",
        type=options.count,
        default=4,
        help="levels of noise at which the light denoiser learns from a crop that was read once",
    )
    command.add_argument(
        "--favour",
        nargs="+",
        default=(),
        metavar="TASK",
        help="tasks that are trained twice as often as the others",
    )
    command.add_argument(
        "--only",
        nargs="+",
        default=(),
        metavar="TASK",
        help="with --part reader, train these tasks alone, and only the kernels that are theirs",
    )
    command.add_argument(
        "--forms",
        type=options.number(float, 0, 1),
        default=0.5,
        metavar="SHARE",
        help="of the photos that are damaged in a task's other forms, which `list tasks` names; "
        "the held-out ones are never trained on",
    )
    command.add_argument(
        "--from",
        dest="start",
        metavar="NAME",
        help="a checkpoint of this architecture to begin with (default: random weights)",
    )
    command.add_argument(
        "--compile", action="store_true", help="compile the network first: needs a C++ compiler"
    )


def run(args: argparse.Namespace) -> int:
    for folder in filter(None, (*args.images, args.valid)):
        files.check_folder(folder)
    config = config_of(args)
    files.make_folder(config.out.parent)
    from mrsampler.training import train

    try:
        path = train(config)
    except (ValueError, OSError, FloatingPointError) as error:
        raise CommandError(reason(error)) from None
    print(f"wrote {path}")
    return 0


def config_of(args: argparse.Namespace) -> TrainConfig:
    from mrsampler.training import TrainConfig

    settings = {name: value for name, value in vars(args).items() if name != "command"}
    if args.out.suffix == ".safetensors":
        settings["out"] = args.out.with_suffix("")
    for name in ("images", "favour", "only"):
        settings[name] = tuple(settings[name])
    settings["device"] = loading.device(args.device) or "auto"
    return TrainConfig(**settings)
