"""How close a picture is to the truth, as the page measures it, and what its two axes say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from mrsampler import metrics

# Less than this is no news: a tenth of a dB is not seen, and the patches are a random sample.
FALL_DB, CLOSER = 0.25, 0.1


@dataclass(frozen=True)
class Quality:
    """A picture against the truth: distortion, and perception.

    `psnr` in dB and `ssim` are better when higher; `swd`, the distance between the distributions
    of the two pictures' patches, and `st_lpips`, a learned distance, when lower. All but `psnr` are
    None where they were not measured.
    """

    psnr: float
    ssim: float | None = None
    swd: float | None = None
    st_lpips: float | None = None


class Judge:
    """Measures pictures against one truth (3, H, W)."""

    def __init__(self, truth: Tensor):
        self._truth = truth
        # A fifth of the usual cost; over the seeds its spread is 3 %, as that of the usual one.
        self._patches = metrics.SlicedWasserstein([truth], patches=256, directions=64)

    @cached_property
    def _learned(self) -> metrics.STLPIPS | None:
        """None where its weights are missing: the page does without."""
        return None if metrics.st_lpips_missing() else metrics.STLPIPS(self._truth)

    def __call__(self, image: Tensor) -> Quality:
        """All of it: ST-LPIPS costs about an evaluation of the bundled network."""
        quality = self.without_learned(image)
        return quality if self._learned is None else replace(quality, st_lpips=self._learned(image))

    def without_learned(self, image: Tensor) -> Quality:
        """All but ST-LPIPS, at a tenth of the time; 50 times that of the PSNR."""
        decibels = metrics.psnr(image, self._truth)
        return Quality(decibels, metrics.ssim(image, self._truth), self._patches([image]))


def due_after(nfe: int) -> int:
    """The NFE at which the whole quality is measured next: half as many more (1, 2, 3, 4, 6, 9).

    The curve's axis is logarithmic; of 100 evaluations 12 are measured.
    """
    return max(nfe + 1, round(1.5 * nfe))


def lesson(label: str, course: Sequence[tuple[int, Quality | None]]) -> str | None:
    """What a falling PSNR meant in a run, as a sentence; None where it did not fall.

    `course` is a sampler's (NFE, quality) of its predictions and, last, of its sample.
    Source: Blau and Michaeli, The perception-distortion tradeoff (2018).
    """
    points = [(nfe, q.psnr, q.swd) for nfe, q in course if q is not None and q.swd is not None]
    if not points:
        return None
    early, best, early_swd = max(points, key=lambda point: point[1])
    last, decibels, swd = points[-1]
    if best - decibels < FALL_DB:
        return None
    fell = f"{label}: from {early} to {last} NFE the PSNR fell by {best - decibels:.1f} dB"
    closer = 1 - swd / early_swd if early_swd > 0 else 0.0
    if closer >= CLOSER:
        return (
            f"{fell} while the texture came {closer:.0%} closer to the truth's. The early "
            "prediction is near the mean of all plausible photos, which PSNR favours; the sample "
            "is one of them (Blau & Michaeli 2018)."
        )
    if closer <= -CLOSER:
        return f"{fell} and the texture moved away from the truth's: this was a loss, no trade."
    return f"{fell} and the texture came no closer to the truth's."
