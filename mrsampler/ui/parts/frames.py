"""Pictures as the page streams and keeps them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import torch
from torch import Tensor

from mrsampler.photo import to_pil

LARGEST_SIDE = 512
"""Of what is streamed and kept, in pixels; only the result itself may be larger."""


def within(image: Tensor) -> Tensor:
    """(3, H, W) scaled down, if need be, to LARGEST_SIDE; values outside [0, 1] survive."""
    height, width = image.shape[1:]
    scale = LARGEST_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return torch.nn.functional.interpolate(image[None], size=size, mode="area")[0]


def jpeg(image: Tensor) -> str:
    """(3, H, W) as a data URI, for frames that stream; final results are PNG."""
    buffer = io.BytesIO()
    to_pil(image).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class ByteImage:
    """A frame in 8 bits over its own range, which noise makes wider than [0, 1].

    `pixels` is (3, H, W) uint8; 0 stands for `low` and 255 for `high`.
    """

    pixels: Tensor
    low: float
    high: float

    @classmethod
    def of(cls, image: Tensor) -> ByteImage:
        """Rounded to a 510th of the range at most."""
        low, high = (value.item() for value in image.aminmax())
        scale = 255 / (high - low) if high > low else 0.0
        pixels = (image - low).mul_(scale).round_().to(torch.uint8)
        return cls(pixels.contiguous(), low, high)

    @property
    def image(self) -> Tensor:
        """(3, H, W) in float32."""
        return self.pixels.float() * ((self.high - self.low) / 255) + self.low
