"""Every task's damage to a few photos on one sheet."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps

from mrsampler import degradations  # not its names: it is still to find its tasks

INK, GREY = (32, 32, 36), (128, 128, 134)
GAP = 4  # between tiles; photos and rows stand further apart


def contact_sheet(
    photos: Sequence[Image.Image],
    severities: Sequence[float] = (0.2, 0.5, 1.0),
    seed: int = 0,
    tile: int = 192,
    *,
    tasks: Sequence[str] = (),
    forms: bool = False,
) -> Image.Image:
    """A row for each task; for each photo a column for each severity, on white.

    Photos are cropped to a square of `tile` (at least 32) pixels; every tile of one photo and row
    has the same seed, so that a row shows one and the same damage growing. `tasks`: only these, if
    there are any. With `forms` a row for each form of a task, not the usual one alone.
    """
    if not photos or not severities:
        raise ValueError("A contact sheet needs at least one photo and one severity.")
    rows = _rows(tasks or degradations.TASKS, forms)
    text = max(10, round(tile / 10))
    big, small = ImageFont.load_default(text), ImageFont.load_default(round(text * 0.85))
    margin = round(tile / 8)
    labels = max(round(big.getlength(word)) for row in rows for word in row) + margin
    head = round(text * 1.8)
    block = len(severities) * (tile + GAP) + 3 * GAP
    width = margin + labels + len(photos) * block - 4 * GAP + margin
    height = margin + head + len(rows) * (tile + 2 * GAP) - 2 * GAP + margin
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)

    for i, photo in enumerate(photos):
        clean = _tensor(ImageOps.fit(photo.convert("RGB"), (tile, tile), Image.Resampling.LANCZOS))
        for j, severity in enumerate(severities):
            left = margin + labels + i * block + j * (tile + GAP)
            middle = (left + tile / 2, margin + head / 2)
            draw.text(middle, f"severity {severity:g}", GREY, small, anchor="mm")
            for k, (task, form) in enumerate(rows):
                generator = torch.Generator().manual_seed(seed + 1000 * i + k)
                damaged = degradations.degrade(clean, task, severity, generator, form=form)
                top = margin + head + k * (tile + 2 * GAP)
                sheet.paste(_picture(damaged), (left, top))
    for k, (task, form) in enumerate(rows):
        right = margin + labels - margin / 2
        line = margin + head + k * (tile + 2 * GAP) + tile / 2
        draw.text((right, line - forms * 0.6 * text), task, INK, big, anchor="rm")
        if forms:
            draw.text((right, line + 0.6 * text), form, GREY, big, anchor="rm")
    return sheet


def _rows(tasks: Sequence[str], forms: bool) -> list[tuple[str, str]]:
    """(task, form) of each row."""
    if not forms:
        return [(task, degradations.USUAL) for task in tasks]
    return [(task, form) for task in tasks for form in degradations.REGISTRY[task].forms]


def _tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def _picture(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).contiguous().numpy())
