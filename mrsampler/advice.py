"""Whether a task plainly does not fit a photo, as one sentence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)


def advice(image: Tensor, task: str, estimate: Tensor | None = None) -> str | None:
    """A sentence if `task` plainly does not fit the degraded `image` (3, H, W), else None.

    A quick look at the photo's statistics, then at how much the network would change it:
    `estimate` is its first predicted x_0. Errs on the side of silence.
    """
    grey = sum(w * c for w, c in zip(_LUMA, image.float().cpu(), strict=True))
    assert isinstance(grey, Tensor)
    bright = grey.quantile(0.95).item() if grey.numel() < 2**24 else grey.max().item()
    low = image.float().cpu().amin(0)
    drawn = (low > 0.996).float()
    white = drawn.mean().item()
    dark_channel = -F.max_pool2d(-low[None], 15, 1, 7)
    veil = dark_channel.quantile(0.1).item() if grey.numel() < 2**24 else 0.0
    noise = noise_sigma(grey)
    if task != "low-light" and bright < 0.25:
        return "This photo is very dark: the task low-light may fit it better."
    if task == "low-light" and bright > 0.75:
        return "This photo is not dark: low-light will make it too bright."
    if task != "uncompleted" and white > 0.04 and _strokes(low, drawn):
        return "This photo has pure white areas: the task uncompleted may fit it better."
    if task == "uncompleted" and white < 0.002:
        return "This photo has no pure white strokes for the task uncompleted to fill."
    if task not in ("noisy", "low-light", "rainy", "snowy") and noise > 12 / 255:
        return (
            f"This photo is noisy (sigma about {noise * 255:.0f} of 255): "
            "the task noisy may fit it better."
        )
    if task == "noisy" and noise < 2.5 / 255:
        return "There is hardly any noise in this photo for the task noisy to remove."
    if task not in ("hazy", "uncompleted", "snowy") and veil > 0.45:
        return "This photo looks hazy: the task hazy may fit it better."
    if estimate is not None:
        change = (estimate.squeeze(0).cpu() - image.cpu()).square().mean().sqrt().item()
        if change < 1.5 / 255:
            return f"The network hardly changes this photo: it finds little {task} damage to undo."
    return None


def noise_sigma(grey: Tensor) -> float:
    """The standard deviation of the noise in (H, W), estimated from a Laplacian difference.

    Source: Immerkaer, Fast noise variance estimation (1996), taken by median so that edges and
    texture count less.
    """
    kernel = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    response = F.conv2d(grey[None, None], kernel[None, None])[0, 0].abs()
    # The filter scales the noise by 6; the median of |N(0, 1)| is 0.6745.
    return response.flatten()[: 2**23].median().item() / (6 * 0.6745)


def _strokes(low: Tensor, white: Tensor) -> bool:
    """Whether `white` (H, W) looks drawn: thin, so that an erosion takes most of it, and with a
    jump at its border in `low`, the darkest channel. A bright sky or backdrop is neither."""
    margin = min(white.shape) // 24
    core = -F.max_pool2d(-white[None], 2 * margin + 1, 1, margin)
    rim = F.max_pool2d(white[None], 5, 1, 2)[0] - white
    if core.sum() > 0.3 * white.sum() or rim.sum() == 0:
        return False
    return (low[rim > 0] < 0.9).float().mean().item() > 0.7
