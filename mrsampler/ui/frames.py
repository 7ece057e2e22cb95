"""Pictures as the page streams them."""

from __future__ import annotations

import base64
import io

from torch import Tensor

from mrsampler.photo import to_pil


def jpeg(image: Tensor) -> str:
    """(3, H, W) as a data URI, for frames that stream; final results are PNG."""
    buffer = io.BytesIO()
    to_pil(image).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
