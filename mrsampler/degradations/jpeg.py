"""JPEG-compressed: a real encoder, 4:2:0 chroma."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

BEST, WORST = 95, 10
BEND = 0.6  # below 1: the first steps down in quality hardly show


def quality(severity: float) -> int:
    """Encoder quality, from 95 at severity 0 down to 10 at severity 1."""
    return round(BEST * (WORST / BEST) ** severity**BEND)


def jpeg(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] through a JPEG file and back; draws nothing from `generator`."""
    return through_file(image, quality(severity))


def through_file(image: Tensor, quality: int) -> Tensor:
    """(3, H, W) in [0, 1] as a JPEG file of this encoder quality gives it back."""
    pixels = (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    decoded = np.array(Image.open(file))
    return torch.from_numpy(decoded).permute(2, 0, 1).contiguous().float() / 255
