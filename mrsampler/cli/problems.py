"""The photos that solvers are compared on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mrsampler.cli import clean, options
from mrsampler.cli.errors import CommandError

if TYPE_CHECKING:
    from mrsampler.problem import Problem
    from mrsampler.restorer import Restorer


def add_crops(command: argparse.ArgumentParser, photos: int) -> None:
    """The photos that a Problem is made of; `crops` makes it."""
    clean.add_images(command, photos, "")
    command.add_argument(
        "--side", type=options.number(int, 32), default=64, metavar="PIXELS", help="of their crops"
    )


def crops(args: argparse.Namespace, restorer: Restorer, images: Path | None = None) -> Problem:
    """A crop of each photo, degraded by the tasks in turn, spread over the folder's names."""
    from mrsampler.problem import photo_problem

    paths = clean.paths(images or args.images)
    spread = paths[:: max(1, len(paths) // args.photos)][: args.photos]
    photos = clean.read(spread, 256)
    try:
        return photo_problem(restorer, photos, side=args.side)
    except ValueError as error:
        raise CommandError(str(error)) from None
