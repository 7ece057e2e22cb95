"""What a training run is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mrsampler.degradations import TASKS

PARTS = ("both", "reader", "light")
TARGETS = ("data", "noise")
WINDOW = 256  # pixels, at most: a photo is degraded in a window of this side, then cropped
FEWEST, MOST = 32, WINDOW


@dataclass
class TrainConfig:
    """The settings of a run; `minutes` counts training alone, over all its sessions.

    `part` is what is trained: "reader", the estimate of the mean, "light", the denoiser and what it
    is told of a photo, or both at once; the denoiser predicts x_0 or, for a `target` of "noise",
    eps.

    images: folders of clean photos. out: the checkpoint's path, without its ending.
    start: a checkpoint whose weights the first session begins with; the light part needs one with a
        trained reader.
    noises: levels of noise at which the light part learns from a crop that was read once.
    forms: the share of photos damaged in another than the task's usual form.
    favour: tasks drawn twice as often. only: these tasks alone are trained, and of the reader only
        the kernels that are theirs: what it makes of the others stays as it was.
    """

    images: tuple[Path, ...]
    out: Path
    part: str = "both"
    target: str = "data"
    start: str | None = None
    valid: Path | None = None
    minutes: float = 90.0
    batch: int = 16
    crop: int = 128
    crops_per_photo: int = 2
    noises: int = 4
    learning_rate: float = 1e-3
    ema: float = 0.999
    workers: int = 1
    seed: int = 0
    save_every: float = 5.0
    valid_every: float = 30.0
    valid_photos: int = 4
    device: str = "auto"
    forms: float = 0.5
    favour: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    compile: bool = False

    def check(self) -> None:
        """Raises ValueError for a setting out of range."""
        if self.part not in PARTS:
            raise ValueError(f"unknown part {self.part!r}; choose from {', '.join(PARTS)}")
        if self.target not in TARGETS:
            raise ValueError(f"unknown target {self.target!r}; choose from {', '.join(TARGETS)}")
        for task in self.favour + self.only:
            if task not in TASKS:
                raise ValueError(f"unknown task {task!r}; choose from {', '.join(TASKS)}")
        if not FEWEST <= self.crop <= MOST or self.crop % 2:
            raise ValueError(f"crop must be even and from {FEWEST} to {MOST}, got {self.crop}")
        if self.part == "light" and self.start is None:
            raise ValueError(
                "the light part needs a checkpoint with a trained reader to start from"
            )
        if self.part != "reader" and self.only:
            raise ValueError("the light part has no kernels of a task's own: train the reader")
