"""A change found in a small copy of a photo, made to the photo at its own size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 8  # in pixels of the small photo
EPS = 1e-5  # of its variance about a pixel: where it has less, the whole photo's slope counts
_STRIP = 128


def upsampled(photo: Tensor, small: Tensor, restored: Tensor) -> Tensor:
    """The change from `small` to `restored`, both (C, h, w), made to `photo` (C, H, W) itself.

    About each pixel of the small photo the change of a channel is read as slope x channel + rest.
    Slope and rest are enlarged bicubically, and the slope meets the photo at its own size: what
    darkens or pales the small photo does so to every detail of the large one.

    A change that is one affine map a channel is made exactly; where there is none every bit stays;
    at the small size `restored` comes back. Beside the result this needs 8 bytes for each of the
    C x h x W values between the two sizes: the rest is done in strips. Returns a new tensor, whose
    values may leave [0, 1]. Raises ValueError for shapes that do not fit.

    Source: He and Sun, Fast guided filter (2015), here of the change, and drawn to the slope of the
    whole photo where the photo is flat (theirs: to 0).
    """
    if photo.ndim != 3 or small.shape != restored.shape or small.shape[:-2] != photo.shape[:1]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (photo, small, restored))
        raise ValueError(f"expected (C, H, W), (C, h, w) and (C, h, w), got {shapes}")
    change = restored - small
    slope = _slope(small.double(), change.double()).to(small)
    across, down = (
        _enlargement(*sides).to(small)
        for sides in ((small.shape[2], photo.shape[2]), (small.shape[1], photo.shape[1]))
    )
    rest = (change - slope * small) @ across.T
    slope = slope @ across.T
    result = torch.empty_like(photo)
    for top in range(0, photo.shape[1], _STRIP):
        strip = slice(top, top + _STRIP)
        used = down[strip].any(0).nonzero()
        near = slice(int(used[0]), int(used[-1]) + 1)
        weights, here = down[strip, near], photo[:, strip]
        result[:, strip] = here + (weights @ slope[:, near]) * here + weights @ rest[:, near]
    return result


def _slope(guide: Tensor, change: Tensor) -> Tensor:
    """That of the best change = slope x guide + offset about each pixel, smoothed, (C, h, w)."""
    guide = guide - guide.mean((1, 2), keepdim=True)
    whole = (guide * change).mean((1, 2)) / guide.square().mean((1, 2)).clamp_min(1e-12)
    mean = _mean(guide)
    variance = _mean(guide.square()) - mean.square()
    covariance = _mean(guide * change) - mean * _mean(change)
    return _mean((covariance + EPS * whole[:, None, None]) / (variance + EPS))


def _mean(values: Tensor) -> Tensor:
    """Over the square of 2 RADIUS + 1 pixels about each, or what of it lies in the photo."""
    return F.avg_pool2d(values, 2 * RADIUS + 1, 1, RADIUS, count_include_pad=False)


def _enlargement(small: int, large: int) -> Tensor:
    """The matrix (large, small) of bicubic interpolation: of a strip it takes the rows it needs."""
    identity = torch.eye(small)[None, None]
    return F.interpolate(identity, size=(large, small), mode="bicubic", align_corners=False)[0, 0]
