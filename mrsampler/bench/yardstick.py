"""What restored photos are measured by: one measure of distortion and three of perception.

Any one of them can be bought, PSNR by blur, AlexNet's distance by grain: only all together judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from torch import Tensor

from mrsampler.metrics import STLPIPS, TRUNKS, SlicedWasserstein, psnr, ssim

MEASURES = {"psnr": "PSNR", "alex": "AlexNet", "vgg": "VGG", "swd": "SWD"}
"""Those that judge, and what tables call them: PSNR in dB, ST-LPIPS on either trunk, and SWD."""


class Yardstick:
    """Measures sets of pictures against one set of true photos, (3, H, W) in [0, 1].

    What the truths alone decide is computed once. Raises ValueError without photos, and what
    `STLPIPS` raises.
    """

    def __init__(self, truths: Sequence[Tensor]):
        self.truths = truths
        self._patches = SlicedWasserstein(truths)
        self._learned = {trunk: [STLPIPS(x, trunk) for x in truths] for trunk in TRUNKS}

    def __call__(self, images: Sequence[Tensor]) -> dict[str, float]:
        """psnr, ssim, alex and vgg, means over the photos, and swd, of the set."""
        pairs = list(zip(images, self.truths, strict=True))
        learned = {
            trunk: fmean(own(x) for own, x in zip(truths, images, strict=True))
            for trunk, truths in self._learned.items()
        }
        return {
            "psnr": fmean(psnr(*pair) for pair in pairs),
            "ssim": fmean(ssim(*pair) for pair in pairs),
            "swd": self._patches(images),
        } | learned


def better(measure: str, value: float, other: float) -> bool:
    """Whether a value of a measure is better than another: PSNR higher, a distance lower."""
    return value > other if measure in ("psnr", "ssim") else value < other
