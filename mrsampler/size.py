"""The size at which a network sees a photo, and its result at the photo's own."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from mrsampler.degradations import REGISTRY
from mrsampler.guided import upsampled
from mrsampler.painted import kept
from mrsampler.photo import Photo

OWN = "own"
WORKING_SIDE = 512
"""The longest side in pixels at which what is smooth or large is found, for a result at OWN size.

Measured on photos of 1280 pixels: at 768, and by tiles, rain and snow lose 3 to 13 dB."""


def is_local(task: str) -> bool:
    """Whether its damage is a matter of pixels; of another checkpoint's own task nothing is known,
    and its photo is taken as it is."""
    return task not in REGISTRY or REGISTRY[task].local


def is_painted(task: str) -> bool:
    """Whether its damage lies over a photo like paint."""
    return task in REGISTRY and REGISTRY[task].painted


def working(photo: Photo, task: str, size: int | str) -> Photo:
    """The photo with `rgb` as the network is to see it: scaled down, never up.

    With `size` OWN the photo itself for a `local` task, which takes tiles where it is large,
    else within WORKING_SIDE; with a number, within so many pixels. Raises ValueError for another
    word and for a number under 32.
    """
    if size == OWN:
        return photo if is_local(task) else photo.within(WORKING_SIDE)
    if not isinstance(size, int):
        raise ValueError(f"size must be {OWN!r} or a whole number of pixels, got {size!r}")
    return photo.within(size)


def result(photo: Photo, small: Photo, task: str, restored: Tensor) -> Image.Image:
    """The picture of `photo`'s size of what has been `restored` (3, h, w) of `small`.

    Of a local task it is scaled back, for a small copy does not know what a large one's pixels
    suffer from; of the others the change is made to the photo itself. Of a painted task what was
    not painted over stays as it was.
    """
    if small.rgb.shape != photo.rgb.shape:
        if is_local(task):
            return photo.image(restored)
        restored = upsampled(photo.rgb, small.rgb, restored)
    return photo.image(kept(photo.rgb, small.rgb, restored) if is_painted(task) else restored)
