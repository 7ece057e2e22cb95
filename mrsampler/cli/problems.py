"""The photos that solvers are compared on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mrsampler.cli import files, options
from mrsampler.cli.errors import CommandError

if TYPE_CHECKING:
    from mrsampler.problem import Problem
    from mrsampler.restorer import Restorer


def add_crops(command: argparse.ArgumentParser, photos: int) -> None:
    """The photos that a Problem is made of; `crops` makes it."""
    command.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="a folder of clean photos (default: the page's examples)",
    )
    command.add_argument(
        "--photos", type=options.count, default=photos, metavar="N", help="how many of them"
    )
    command.add_argument(
        "--side", type=options.number(int, 32), default=64, metavar="PIXELS", help="of their crops"
    )


def crops(args: argparse.Namespace, restorer: Restorer, images: Path | None = None) -> Problem:
    """A crop of each photo, degraded by the tasks in turn, spread over the folder's names."""
    from mrsampler import folder
    from mrsampler.examples import examples
    from mrsampler.problem import photo_problem

    images = images or args.images
    if images is None:
        paths = [example.path for example in examples() if not example.damaged]
    else:
        files.check_folder(images)
        paths = folder.pictures(images)
    if not paths:
        raise CommandError(f"{images} holds no picture")
    spread = paths[:: max(1, len(paths) // args.photos)][: args.photos]
    photos = [files.read(path).within(256).rgb for path in spread]
    try:
        return photo_problem(restorer, photos, side=args.side)
    except ValueError as error:
        raise CommandError(str(error)) from None
