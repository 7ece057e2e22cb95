"""Training of the bundled network: photos in, a checkpoint and its card out. Resumable.

It has two parts, trained one after the other: the `reader`, run once a photo, and the `light`
denoiser, run at every step, to which the reader stays as it is.
"""

from mrsampler.training.config import PARTS, TARGETS, TrainConfig
from mrsampler.training.loop import train

__all__ = ["PARTS", "TARGETS", "TrainConfig", "train"]
