"""A network over a photo larger than it can take at once: overlapping tiles, blended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mrsampler.denoiser import Denoiser
from mrsampler.networks.blocks import pad_to_multiple

# Measured on the bundled network at 3 evaluations, on a row of tiles over the ten tasks: the pixel
# that is furthest off the whole's is so by 2.7/255 with 12 cells, by 0.2 with 15. Rows and columns
# of tiles, 1024 x 1536 in the dark: by 13 (mean 0.12), but no jump between neighbours by 0.03.
OVERLAP_CELLS = 15
CELL = 16
TILE = 1024  # pixels: the longest side that is evaluated as one


class TiledDenoiser(Denoiser):
    """A Denoiser that evaluates its network a tile at a time. Made for one run, for its `mu`.

    At a given y and t each target is affine in D, with the same coefficients in every pixel:
    windows that sum to one, laid over the outputs, blend the predicted residual. Solver, schedule
    and noise are those of the whole photo and know nothing of tiles.

    A tile's outputs are wrong near an edge that is not the photo's, where the network found zeros
    instead of the neighbourhood. Neighbours therefore overlap by at least OVERLAP_CELLS cells of
    the network's coarsest grid (`network.multiple` pixels; CELL where it does not say). The third
    of the overlap at either edge is not used, over the middle third one tile fades into the next: a
    network that looks no further than a third of the overlap returns what it would for the whole.
    Tiles begin on that grid, so that a pixel lies in the same cells as in the whole photo.

    What a network takes over the photo must come as conditioning, taken once of the whole, as
    `read_by_tiles` does; a tensor of the photo's height and width, or a half, a quarter, ... of
    them, is cut as the photo is. A network that normalises over its input, or attends to all of it,
    sees only the tile: its tiles may differ as a whole, which the fading softens and does not
    remove.

    What the network needs of memory is bounded by the tile; the trajectory's own tensors are of the
    whole photo.

    mu       (B, C, H, W), the anchor of the run
    tile     the longest side of a tile in pixels; all are about equal, and as short as cover mu
    on_tile  called after each tile with the evaluations spent so far, 2.25 a quarter into the
             third; what it raises ends the run there

    Raises ValueError for a `tile` that is not a multiple of the cell or shorter than two overlaps.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        mu: Tensor,
        *,
        tile: int,
        on_tile: Callable[[float], None] = lambda spent: None,
    ):
        super().__init__(denoiser.network, denoiser.target, denoiser.sigma_data)
        cell = getattr(self.network, "multiple", CELL)
        overlap = OVERLAP_CELLS * cell
        if tile % cell or tile < 2 * overlap:
            raise ValueError(
                f"tile must be a multiple of {cell}, and at least {2 * overlap}; got {tile}"
            )
        self._rows, self._columns = (
            [(span, window.to(mu)) for span, window in _windows(side, tile, overlap, cell)]
            for side in mu.shape[-2:]
        )
        self._on_tile, self._tiles_done = on_tile, 0

    def __call__(self, x: Tensor, mu: Tensor, t: float, **conditioning: Any) -> Tensor:
        """The blended raw output, in x's shape and type. Raises what Denoiser raises."""
        blended = torch.zeros_like(x)
        for rows, down in self._rows:
            for columns, across in self._columns:
                tile = (..., rows, columns)
                told = part(conditioning, mu, tile)
                output = super().__call__(x[tile], mu[tile], t, **told)
                blended[tile].addcmul_(output, down[:, None] * across)
                self._tiles_done += 1
                self._on_tile(self._tiles_done / (len(self._rows) * len(self._columns)))
        return blended


def part(told: Mapping[str, Any], whole: Tensor, crop: tuple[Any, ...]) -> dict[str, Any]:
    """What a network is told of whole[crop]: of what is told of each pixel, those.

    A tensor of a half, a quarter, ... of the photo's (padded) height and width is cut likewise; the
    crop begins where all of them have a pixel.
    """
    height = whole.shape[-2]
    *_, rows, columns = crop

    def cut(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.ndim != 4:
            return value
        scale = 2 ** math.ceil(math.log2(height / value.shape[-2]))
        down, across = (
            slice(span.start // scale, None if span.stop >= side else span.stop // scale)
            for span, side in zip((rows, columns), whole.shape[-2:], strict=True)
        )
        return value[..., down, across]

    return {name: cut(value) for name, value in told.items()}


@torch.no_grad()
def read_by_tiles(network: Any, mu: Tensor, task: int | Tensor, tile: int) -> dict[str, Tensor]:
    """What `network.of_photo(mu, task)` returns, of a photo too large to be read at once.

    The tiles overlap and are blended as those of a TiledDenoiser, at each of the resolutions that
    the network returns; what it takes over the whole photo is taken of the whole.
    """
    cell, (height, width) = network.multiple, mu.shape[-2:]
    whole = {
        name: pad_to_multiple(value, cell) if value.ndim == 4 else value
        for name, value in network.whole(mu, task).items()
    }
    mu = pad_to_multiple(mu, cell)
    rows, columns = (_windows(side, tile, OVERLAP_CELLS * cell, cell) for side in mu.shape[-2:])
    read: dict[str, Tensor] = {}
    for down_span, down in rows:
        for across_span, across in columns:
            crop = (..., down_span, across_span)
            told = network.of_photo(mu[crop], task, **part(whole, mu, crop))
            for name, value in told.items():
                scale = len(down) // value.shape[-2]
                shape = (*value.shape[:2], *(side // scale for side in mu.shape[-2:]))
                weight = _reduced(down, scale)[:, None] * _reduced(across, scale)
                blended = read.setdefault(name, value.new_zeros(shape))
                top, left = down_span.start // scale, across_span.start // scale
                place = blended[..., top : top + len(weight), left : left + weight.shape[1]]
                place.addcmul_(value, weight.to(value))
    return {
        name: value[..., :height, :width] if value.shape[-2:] == mu.shape[-2:] else value
        for name, value in read.items()
    }


def _reduced(window: Tensor, scale: int) -> Tensor:
    """The mean of each `scale` weights."""
    return window.unflatten(0, (-1, scale)).mean(1)


def _spans(side: int, tile: int, overlap: int, cell: int) -> list[slice]:
    """The fewest pieces of `side` pixels, equal but for the last one's cut-off end."""
    if side <= tile:
        return [slice(0, side)]
    count = math.ceil((side - overlap) / (tile - overlap))
    length = cell * math.ceil((side + (count - 1) * overlap) / (count * cell))
    last = cell * math.ceil(side / cell) - length
    starts = (i * last // (count - 1) // cell * cell for i in range(count))
    return [slice(start, min(start + length, side)) for start in starts]


def _windows(side: int, tile: int, overlap: int, cell: int) -> list[tuple[slice, Tensor]]:
    """The pieces with their weights, which sum to one in each pixel."""
    spans = _spans(side, tile, overlap, cell)
    pixels = torch.arange(side, dtype=torch.float64) + 0.5
    # How far each piece has taken over from the one before.
    taken = [torch.ones_like(pixels)]
    for before, after in pairwise(spans):
        middle = (before.stop + after.start) / 2
        phase = ((pixels - middle) / (overlap / 3) + 0.5).clamp(0, 1)
        taken.append((math.pi / 2 * phase).sin() ** 2)
    taken.append(torch.zeros_like(pixels))
    return [(span, (taken[i] - taken[i + 1])[span]) for i, span in enumerate(spans)]
