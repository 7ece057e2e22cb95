"""The clean photos that commands degrade themselves, so that the truth is known."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mrsampler.cli import files, options
from mrsampler.cli.errors import CommandError

if TYPE_CHECKING:
    from torch import Tensor


def add_images(command: argparse.ArgumentParser, photos: int, which: str) -> None:
    """`--images`, of which `paths` makes a list, and `--photos`; `which` ends the latter's help."""
    command.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="a folder of clean photos (default: the page's examples)",
    )
    command.add_argument(
        "--photos", type=options.count, default=photos, metavar="N", help=f"how many of them{which}"
    )


def add_damage(command: argparse.ArgumentParser, largest_side: int) -> None:
    """`--largest-side`, to which `read` scales, and `--severity`."""
    command.add_argument(
        "--largest-side",
        type=options.number(int, 32),
        default=largest_side,
        metavar="PIXELS",
        help="larger photos are first scaled down to this",
    )
    options.add(command, "severity", "; 0 to 1", metavar="S")


def paths(images: Path | None) -> list[Path]:
    """The folder's pictures in order of name, or the examples; CommandError where none are."""
    from mrsampler import folder
    from mrsampler.examples import examples

    if images is None:
        return sorted(example.path for example in examples() if not example.damaged)
    files.check_folder(images)
    found = folder.pictures(images)
    if not found:
        raise CommandError(f"{images} holds no picture")
    return found


def read(pictures: Sequence[Path], largest_side: int) -> list[Tensor]:
    """Each (3, H, W) in [0, 1], no side longer than this; CommandError for what is no photo."""
    return [files.read(path).within(largest_side).rgb for path in pictures]
