"""`mrsampler train`: the bundled kind of network, on a folder of photos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrsampler.cli import files, loading, options
from mrsampler.cli.errors import CommandError, reason

if TYPE_CHECKING:
    from mrsampler.train import TrainConfig


def add(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="train the network on a folder of photos",
        description="Trains the bundled kind of network on clean photos, or goes on with a run "
        "that was stopped: the same --out resumes it.",
    )
    command.set_defaults(command=run)
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
        "--seed", type=options.seed, default=0, help="of the weights and the crops"
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
        "--target",
        choices=("residual", "velocity", "noise"),
        default="residual",
        help="what the network predicts",
    )
    command.add_argument(
        "--sigma-data",
        type=options.above_zero,
        default=0.012,
        metavar="D",
        help="of a residual target: how far the truth is from the estimate, RMS",
    )
    command.add_argument(
        "--texture",
        type=options.number(float, 0, 1),
        default=1.0,
        help="1: samples of the posterior; less: drawn nearer to its mean, smoother and closer to "
        "the truth",
    )
    command.add_argument(
        "--teacher",
        metavar="NAME",
        help="the checkpoint whose one-evaluation estimate is that mean (default: this run's)",
    )
    command.add_argument(
        "--earliest",
        type=options.number(float, 0, 1),
        default=0.0,
        metavar="SHARE",
        help="train on times from this share of T to T: near 1, for the one-evaluation estimate",
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
        help="train these tasks alone, and only the kernels that are theirs",
    )
    command.add_argument(
        "--forms",
        type=options.number(float, 0, 1),
        default=0.0,
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
        "--widen",
        action="store_true",
        help="begin with a network of twice the channels that computes the same",
    )
    command.add_argument(
        "--compile", action="store_true", help="compile the network first: needs a C++ compiler"
    )


def run(args: argparse.Namespace) -> int:
    for images in filter(None, (args.images, args.valid)):
        files.check_folder(images)
    config = config_of(args)
    files.make_folder(config.out.parent)
    from mrsampler.train import train

    try:
        path = train(config)
    except (ValueError, OSError, FloatingPointError) as error:
        raise CommandError(reason(error)) from None
    print(f"wrote {path}")
    return 0


def config_of(args: argparse.Namespace) -> TrainConfig:
    from mrsampler.train import TrainConfig

    settings = {name: value for name, value in vars(args).items() if name != "command"}
    if args.out.suffix == ".safetensors":
        settings["out"] = args.out.with_suffix("")
    settings["favour"], settings["only"] = tuple(args.favour), tuple(args.only)
    settings["device"] = loading.device(args.device) or "auto"
    return TrainConfig(**settings)
