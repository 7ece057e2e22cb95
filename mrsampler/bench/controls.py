"""What no sampler is needed for: the reader's photo, and the same with grain.

The reader's estimate is what a run begins with; white noise as large as its own error is a
perceptual distance bought for nothing. A sampler that is no better has learnt nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mrsampler.bench.yardstick import Yardstick, better
from mrsampler.restorer import Reading, Restorer

TAUS = (0.25, 0.5, 0.75, 1.0)
# Other draws than those of the damage and of x_T.
_GRAIN_STREAM = 0x677261696E


def reading_of(restorer: Restorer, image: Tensor, task: str) -> Reading | None:
    """The reading of a degraded photo (3, H, W); None for a network that has no reader."""
    read = getattr(restorer, "reading", None)
    return None if read is None else read(image, task)


def textured(image: Tensor, reading: Reading, tau: float) -> Tensor:
    """A sample (3, H, W) moved towards the reader's estimate: tau = 0 is that, 1 the sample."""
    estimate = reading.estimate[0].to(image)
    return estimate + tau * (image - estimate)


def grain(
    readings: Sequence[Reading], yardstick: Yardstick, first_seed: int = 0
) -> dict[str, float]:
    """The quality of estimate + tau * grain of the spread, at each measure's own best tau.

    `tau_` and a measure's name is that tau. Photo i has the noise of seed first_seed + i.
    """
    found: dict[str, float] = {}
    for tau in TAUS:
        images = []
        for seed, reading in enumerate(readings, first_seed):
            generator = torch.Generator().manual_seed(seed + _GRAIN_STREAM)
            noise = torch.randn(reading.estimate.shape[1:], generator=generator)
            # In the channels that the spread is told in: each colour's own is another.
            image = reading.estimate + tau * reading.grain(noise[None])
            images.append(image[0].cpu())
        for measure, value in yardstick(images).items():
            if measure not in found or better(measure, value, found[measure]):
                found |= {measure: value, f"tau_{measure}": tau}
    return found
