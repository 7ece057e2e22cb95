"""What something of one exact colour was painted over: which pixels, and the photo around them.

A stroke's pixels all have its very colour, hundreds of them in thin shapes with an edge all around;
a photo's own pixels hardly ever do. Where they are found they need not be guessed: the photo is
shown to the network with them in white, as networks for such strokes are taught, and what was not
painted over stays as it was.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_SHARE = 0.003  # of the photo, for a colour to be looked at
MOST_COLOURS = 12
THIN = 24  # a stroke is thinner than the photo's shorter side over this, but for so much of it:
BROAD_SHARE = 0.3
EDGE, EDGED_SHARE = 0.08, 0.6  # another colour by so much, on so much of the rim
UNTOUCHED, ELSEWHERE = 0.1, 0.005  # a change by so much in so many pixels is of other damage
WHITE = 0.99


def painted(image: Tensor) -> Tensor | None:
    """Where an exact colour lies over a photo (3, H, W) in [0, 1]: (H, W) bool, or None.

    A sky or a wall is neither thin nor edged all around.
    """
    codes = (image.float().clamp(0, 1) * 255).round().long()
    codes = codes[0] * 65536 + codes[1] * 256 + codes[2]
    colours, counts = codes.unique(return_counts=True)
    common = counts.topk(min(MOST_COLOURS, len(counts)))
    least = LEAST_SHARE * codes.numel()
    shapes = [
        codes == colours[i]
        for i, n in zip(common.indices, common.values, strict=True)
        if n >= least
    ]
    drawn = [shape for shape in shapes if _is_drawn(shape, image)]
    return torch.stack(drawn).any(0) if drawn else None


def _is_drawn(shape: Tensor, image: Tensor) -> bool:
    """Whether a shape of one colour is thin and differs from what is around it."""
    margin = max(1, min(shape.shape) // THIN)
    broad = ~grown(~shape, margin)
    if broad.sum() > BROAD_SHARE * shape.sum():
        return False
    rim = grown(shape, 2) & ~shape
    colour = image[:, shape][:, :1]
    off = (image[:, rim] - colour).abs().amax(0)
    return bool((off > EDGE).float().mean() > EDGED_SHARE) if off.numel() else False


def grown(mask: Tensor, pixels: int) -> Tensor:
    """A mask (H, W) and all within so many pixels of it."""
    return F.max_pool2d(mask[None, None].float(), 2 * pixels + 1, 1, pixels)[0, 0] > 0


def whitened(image: Tensor, mask: Tensor) -> Tensor:
    """The photo with what is painted over in white, and a pixel around where colours are mixed."""
    coloured = mask & (image.amin(0) < WHITE)
    return torch.where(grown(coloured, 1), 1.0, image) if coloured.any() else image


def shown(image: Tensor) -> Tensor:
    """A photo as a network for painted photos is to see it, (3, H, W)."""
    mask = painted(image)
    return image if mask is None else whitened(image, mask)


def kept(photo: Tensor, small: Tensor, restored: Tensor) -> Tensor:
    """`restored` where the photo was painted over, the photo elsewhere, with a soft edge.

    photo and restored are (3, H, W), small (3, h, w) what the network saw, in which paint is
    looked for. Where there is none, or much else was changed, `restored` as it is.
    """
    mask = painted(small)
    if mask is None:
        return restored
    around = grown(mask, 2)
    change = (F.interpolate(restored[None], small.shape[1:], mode="area")[0] - small).abs().amax(0)
    if ((change > UNTOUCHED) & ~around).float().mean() > ELSEWHERE:
        return restored
    weight = F.interpolate(around[None, None].float(), photo.shape[1:], mode="nearest")
    weight = F.avg_pool2d(weight, 3, 1, 1, count_include_pad=False)[0]
    return torch.lerp(photo, restored, weight)
