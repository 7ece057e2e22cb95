"""Pairs of clean and damaged crops."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from mrsampler import photo
from mrsampler.degradations.drawing import draw
from mrsampler.folder import pictures
from mrsampler.networks import Reader
from mrsampler.photo import PhotoError
from mrsampler.training.config import WINDOW, TrainConfig

PHOTOS_IN_A_ROW = 2  # are damaged alike: the reader's outermost level runs once for each task


class Crop(NamedTuple):
    """A crop of a photo that was degraded in a window, whose statistics are those of the window.

    x0 is (3, crop, crop) uint8, mu the same in float16, within a tenth of a grey level of itself: a
    GPU takes more crops a second than processes pass in float32. Of a blurred photo `window` is the
    (x0, mu) of all of it and `corner` the crop's place there: a blur is read from the whole.
    """

    x0: Tensor
    mu: Tensor
    task: int
    statistics: Tensor
    window: tuple[Tensor, Tensor] | None
    corner: tuple[int, int]


def read_photos(folders: Sequence[Path], least_side: int) -> list[Tensor]:
    """The folders' photos, (3, H, W) uint8; the damaged and those smaller than this left out.

    Raises ValueError if none is left.
    """
    photos = []
    for path in (path for folder in folders for path in pictures(folder)):
        try:
            rgb = photo.read(path).rgb
        except PhotoError as error:
            print(f"{path.name} is left out: {error}", file=sys.stderr)
            continue
        if min(rgb.shape[1:]) >= least_side:
            photos.append((rgb * 255).round().to(torch.uint8))
    if not photos:
        where = ", ".join(str(folder) for folder in folders)
        raise ValueError(f"{where} holds no photo of at least {least_side} x {least_side} pixels")
    return photos


class DegradedCrops(IterableDataset):
    """An endless stream of Crops; `tasks` are the names that the network's numbers stand for.

    Degrading a window much larger than the crop keeps the geometry of rain, blur and shadow what it
    is in use.
    """

    def __init__(
        self,
        photos: list[Tensor],
        config: TrainConfig,
        tasks: Sequence[str],
        blurred: Sequence[int],
        start: int,
    ):
        self.photos, self.config, self.start = photos, config, start
        self.tasks, self.blurred = tuple(tasks), frozenset(blurred)

    def __iter__(self) -> Iterator[Crop]:
        worker = get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
        config, generator = self.config, torch.Generator()
        # Another stream for each worker and each resumption.
        generator.manual_seed(hash((config.seed, self.start, worker.id if worker else 0)) % 2**63)

        def integer(high: int) -> int:
            return int(torch.randint(high, (), generator=generator))

        drawn = (config.only or self.tasks) + config.favour
        while True:
            task = drawn[integer(len(drawn))]
            for _ in range(PHOTOS_IN_A_ROW):
                picture = self.photos[integer(len(self.photos))]
                x0, mu, *_ = draw(picture, task, generator, config.forms, window=WINDOW)
                number = self.tasks.index(task)
                statistics = Reader.statistics(mu[None])[0]
                whole = (x0, mu.half()) if number in self.blurred else None
                for _ in range(config.crops_per_photo):
                    # Even places: the grid of JPEG's colours and of the network's cells.
                    top, left = (2 * integer((n - config.crop) // 2 + 1) for n in mu.shape[1:])
                    at = (..., slice(top, top + config.crop), slice(left, left + config.crop))
                    clean, damaged = x0[at].contiguous(), mu[at].half().contiguous()
                    yield Crop(clean, damaged, number, statistics, whole, (top, left))


class Batch(NamedTuple):
    """Crops together, those of each task in a row: x0 and mu (B, 3, crop, crop) in [0, 1].

    `windows` are those of the blurred ones, each with its place in the batch and its corner.
    """

    x0: Tensor
    mu: Tensor
    task: Tensor
    statistics: Tensor
    windows: list[tuple[int, tuple[int, int], Tensor, Tensor]]

    def to(self, device: torch.device) -> Batch:
        """On a device in float32; the tasks stay on the CPU, where they choose kernels."""

        def moved(x: Tensor) -> Tensor:
            scale = 1 / 255 if x.dtype == torch.uint8 else 1.0
            x = x.to(device, non_blocking=True).float() * scale
            return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x

        windows = [(i, corner, moved(x0), moved(mu)) for i, corner, x0, mu in self.windows]
        return Batch(moved(self.x0), moved(self.mu), self.task, moved(self.statistics), windows)


def batch(crops: list[Crop]) -> Batch:
    """The crops of each task together."""
    crops = sorted(crops, key=lambda crop: crop.task)
    windows = [
        (i, crop.corner, *crop.window) for i, crop in enumerate(crops) if crop.window is not None
    ]
    return Batch(
        torch.stack([crop.x0 for crop in crops]),
        torch.stack([crop.mu for crop in crops]),
        torch.tensor([crop.task for crop in crops]),
        torch.stack([crop.statistics for crop in crops]),
        windows,
    )
