"""A grid as one picture: a labelled contact sheet for a slide."""

from __future__ import annotations

import io
from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mrsampler.photo import to_pil
from mrsampler.ui.compare.grid import Cell, Grid, Result
from mrsampler.ui.parts import choices
from mrsampler.ui.parts.quality import Quality

PAPER, INK, SOFT, EMPTY = "#ffffff", "#17191d", "#5a6270", "#f3f4f6"

# Pixels. The tiles are as large as the photo is, within limits: a sheet of four is a slide wide.
SMALLEST, LARGEST = 200, 384
MARGIN, GAP, LABELS, CAPTION, HEAD = 48, 16, 240, 64, 40


def contact_sheet(grid: Grid, colours: Mapping[str, str]) -> bytes:
    """PNG: a row a solver, a column an NFE, over them the degraded photo and the truth.

    `colours` are those of the solvers. What has not been run stays blank. Raises ValueError for a
    grid without pictures.
    """
    if grid.degraded is None:
        raise ValueError("a contact sheet needs a photo")
    width, height = grid.subject.size
    scale = min(LARGEST, max(SMALLEST, width)) / width
    tile = round(width * scale), max(1, round(height * scale))
    solvers = [solver for solver in grid.solvers if solver]
    columns = max(2, len(grid.nfes))
    row = tile[1] + CAPTION
    size = (
        2 * MARGIN + LABELS + columns * (tile[0] + GAP) - GAP,
        2 * MARGIN + (1 + len(solvers)) * row + 2 * HEAD,
    )
    sheet = Image.new("RGB", size, PAPER)
    page = _Page(sheet, tile)

    lefts = [MARGIN + LABELS + i * (tile[0] + GAP) for i in range(columns)]
    page.words(MARGIN, MARGIN + HEAD, [(grid.title["task"].capitalize(), 30, INK)])
    about = [f"{name} {grid.title[name]}" for name in ("checkpoint", "seed", "severity", "pixels")]
    lines = [line for line in about if not line.endswith(" ")]
    page.words(MARGIN, MARGIN + HEAD + 44, [(line, 16, SOFT) for line in lines])
    for left, name, image, quality in (
        (lefts[0], "Degraded", grid.degraded, grid.input),
        (lefts[1], "Ground truth", grid.truth, None),
    ):
        if image is None:
            continue
        page.words(left, MARGIN, [(name, 20, INK)])
        page.picture(left, MARGIN + HEAD, image)
        if quality:
            page.scores(left, MARGIN + HEAD + tile[1], _score(quality), "")

    top = MARGIN + HEAD + row
    for left, nfe in zip(lefts, grid.nfes, strict=False):
        page.words(left, top, [(f"{nfe} NFE", 20, INK)])
    by_place = {(cell.solver, cell.nfe): cell for cell in grid.cells}
    for i, solver in enumerate(solvers):
        at = top + HEAD + i * row
        page.solver(at, solver, colours[solver])
        for left, nfe in zip(lefts, grid.nfes, strict=False):
            page.cell(left, at, by_place.get((solver, nfe)), grid)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


class _Page:
    """What can be put on a sheet of tiles of this size."""

    def __init__(self, sheet: Image.Image, tile: tuple[int, int]):
        self._sheet, self._draw, self._tile = sheet, ImageDraw.Draw(sheet), tile

    def words(self, left: float, top: float, lines: list[tuple[str, int, str]]) -> None:
        """Lines of a text, size and colour below each other."""
        for text, size, colour in lines:
            self._draw.text((left, top), text, colour, ImageFont.load_default(size))
            top += size * 1.5

    def picture(self, left: int, top: int, image: Tensor) -> None:
        picture = to_pil(image.float())
        if picture.size != self._tile:
            picture = picture.resize(self._tile, Image.Resampling.LANCZOS)
        self._sheet.paste(picture, (left, top))

    def scores(self, left: int, top: int, first: str, second: str) -> None:
        self.words(left, top + 6, [(first, 16, INK), (second, 14, SOFT)])

    def solver(self, top: int, solver: str, colour: str) -> None:
        """The label beside a row, in words that fit, with its colour."""
        self._draw.rectangle((MARGIN, top, MARGIN + 5, top + self._tile[1] - 1), colour)
        font = ImageFont.load_default(20)
        lines = [""]
        for word in choices.label(solver).split():
            longer = f"{lines[-1]} {word}".strip()
            if font.getlength(longer) <= LABELS - 40 or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(word)
        self.words(MARGIN + 20, top, [(line, 20, INK) for line in lines])

    def cell(self, left: int, top: int, cell: Cell | None, grid: Grid) -> None:
        result = grid.results.get(cell) if cell else None
        if result and result.image is not None:
            self.picture(left, top, result.image)
            self.scores(left, top + self._tile[1], *_caption(result, grid.solution))
            return
        width, height = self._tile
        self._draw.rectangle((left, top, left + width - 1, top + height - 1), EMPTY)
        word = "failed" if result else "not run" if cell else "not possible"
        middle = left + width / 2, top + height / 2
        self._draw.text(middle, word, SOFT, ImageFont.load_default(16), anchor="mm")


def _caption(result: Result, solution: Result | None) -> tuple[str, str]:
    spacing = result.cell.spacing if choices.spaced(result.cell.solver) else ""
    spent = f"{result.nfe} NFE" if result.nfe != result.cell.nfe else ""
    means = [spent, f"{result.seconds:.2f} s", spacing]
    error = result.rmse(solution)
    if error is not None:
        means.append(f"RMSE {error:.2f}")
    first = _score(result.quality) if result.quality else " \u00b7 ".join(filter(None, means))
    return first, " \u00b7 ".join(filter(None, means)) if result.quality else ""


def _score(quality: Quality) -> str:
    words = [f"{quality.psnr:.2f} dB"]
    if quality.ssim is not None:
        words.append(f"SSIM {quality.ssim:.3f}")
    if quality.swd is not None:
        words.append(f"SWD {quality.swd:.3f}")
    return " \u00b7 ".join(words)
