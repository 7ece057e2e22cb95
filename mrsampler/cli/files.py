"""The pictures and folders that commands read and write; every refusal is a CommandError."""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mrsampler.cli.errors import CommandError

if TYPE_CHECKING:
    from PIL import Image

    from mrsampler.photo import Photo


def read(path: Path) -> Photo:
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


def save(picture: Image.Image, target: Path) -> str:
    """Writes the result; what there is to add to the line about it."""
    from mrsampler import folder

    try:
        whole = folder.save(picture, target)
    except OSError as error:
        raise CommandError(f"cannot write {target}: {error.strerror or error}") from None
    except ValueError as error:
        raise CommandError(f"cannot write {target}: {error}") from None
    return "" if whole else f"; {target.suffix} has no transparency, so it was laid on white"


def target(sources: list[Path], out: str | None, ending: str) -> Path:
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
    check_writable(target.parent)
    if target.is_dir():
        raise CommandError(f"cannot write {target}: it is a folder")
    if target.exists() and any(path.exists() and target.samefile(path) for path in sources):
        raise CommandError(f"{target} is the input itself; give another --out")
    return target


def check_writable(folder: Path) -> None:
    if not folder.is_dir():
        raise CommandError(f"there is no folder {folder} to write to")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(f"the folder {folder} cannot be written to")


def check_plot(target: Path | None) -> None:
    """Raises CommandError before the measurement for what could not be drawn or written after."""
    if target is None:
        return
    if target.suffix.lower() not in (".png", ".svg"):
        raise CommandError(f"--plot {target}: expected a file that ends in .png or .svg")
    check_writable(target.parent)
    if find_spec("matplotlib") is None:
        raise CommandError('--plot needs matplotlib: pip install "mrsampler[bench]"')


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder {folder}: {error.strerror}") from None
    check_writable(folder)


def check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise CommandError(f"{folder}: there is no such folder")
