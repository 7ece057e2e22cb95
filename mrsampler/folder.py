"""Pictures on disk: those in a folder, what their results are called, and whole files or none."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}

_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".tif": ("TIFF", {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_deflate"}),
}
WRITABLE = tuple(_FORMATS)


def pictures(folder: Path, recursive: bool = False, leave_out: Path | None = None) -> list[Path]:
    """The picture files in `folder` by their suffix, sorted; hidden ones are left out.

    With `recursive` those of its subfolders too, except what lies in `leave_out`.
    """
    found = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(
        path
        for path in found
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
        and not (leave_out and path.resolve().is_relative_to(leave_out.resolve()))
    )


def targets(sources: list[Path], folder: Path, out: Path) -> list[Path]:
    """Where each source's result goes: its place in `folder`, in `out`, as a .png of its name.

    Sources that would share a name (a.jpg, a.png) keep their suffix in it (a.jpg.png, a.png.png).
    """
    places = [out / source.relative_to(folder) for source in sources]
    keeps_suffix: set[int] = set()
    while True:
        chosen = [
            place.with_name(place.name + ".png") if i in keeps_suffix else place.with_suffix(".png")
            for i, place in enumerate(places)
        ]
        # Case folded: on many disks A.png and a.png are one file.
        shares = Counter(str(path).casefold() for path in chosen)
        shared = {i for i, path in enumerate(chosen) if shares[str(path).casefold()] > 1}
        if shared <= keeps_suffix:
            return chosen
        keeps_suffix |= shared


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that becomes `target` if the block ends well.

    Otherwise it is deleted, and whatever was at `target` stays.
    """
    partial = target.with_name(f".mrsampler-{os.getpid()}.part")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def save(picture: Image.Image, target: Path) -> bool:
    """Writes `picture` with its colour profile, in the format of `target`'s suffix, atomically.

    JPEG has no transparency: a transparent picture is laid on white, and False is returned.
    Raises OSError where it cannot be written and ValueError where the format cannot hold it.
    """
    name, options = _FORMATS[target.suffix.lower()]
    profile = picture.info.get("icc_profile")
    flatten = name == "JPEG" and picture.mode in ("LA", "RGBA")
    if flatten:
        white = Image.new(picture.mode, picture.size, "white")
        picture = Image.alpha_composite(white.convert("RGBA"), picture.convert("RGBA"))
        picture = picture.convert("L" if white.mode == "LA" else "RGB")
    with replacing(target) as partial:
        picture.save(partial, name, icc_profile=profile, **options)
    return not flatten
