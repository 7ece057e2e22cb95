"""Pairs to train on: a photo's window at some scale, damaged in some form."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mrsampler import degradations  # not its names: it is still to find its tasks

WINDOW = 256  # pixels, at most: what is damaged whole
LARGEST = 1024  # the largest short side that a photo is worked at
CLEAN, NEARLY_CLEAN = 0.04, 0.08  # the shares of draws
HARDLY = 0.05  # the highest severity of a nearly clean photo
AS_FILE = 0.5  # the share of draws that are rounded to 8 bits once damaged


class Pair(NamedTuple):
    """x0: uint8 (3, h, w); mu: float32 in [0, 1] of that size; form: of the task's, or "clean"."""

    x0: Tensor
    mu: Tensor
    severity: float
    form: str


def draw(
    photo: Tensor,
    task: str,
    generator: torch.Generator,
    other_forms: float = 0.5,
    *,
    window: int = WINDOW,
) -> Pair:
    """A window of `photo`, uint8 (3, H, W), clean and damaged by `task`; `generator` alone decides.

    The photo's short side is scaled to a draw between `window` and its own, or 1024 where that is
    less (log-uniform), and a square of `window` pixels, or the short side where that is less, is
    damaged whole: crops of it are the caller's. A share `other_forms` comes in one of the task's
    other forms, never the held-out one. 4 % stay clean and 8 % nearly: a network is to leave those
    alone. Half are rounded to 8 bits, as files are.
    """
    x0 = _window(photo, generator, window)
    kind, severity, second, other, which, file = torch.rand(6, generator=generator).tolist()
    if float(torch.rand((), generator=generator)) < 0.5:  # the middle oftener than the ends
        severity = (severity + second) / 2
    clean = x0.float() / 255
    if kind < CLEAN:
        return Pair(x0, clean, 0.0, "clean")
    if kind < CLEAN + NEARLY_CLEAN:
        severity *= HARDLY
    others = degradations.REGISTRY[task].other_forms
    form = (
        others[int(which * len(others))] if others and other < other_forms else degradations.USUAL
    )
    mu = degradations.degrade(clean, task, severity, generator, form=form)
    if file < AS_FILE:
        mu = (mu * 255).round() / 255
    return Pair(x0, mu, severity, form)


def _window(photo: Tensor, generator: torch.Generator, window: int) -> Tensor:
    """A square of the photo at a drawn scale, in half of the draws mirrored."""
    height, width = photo.shape[1:]
    short = min(height, width)
    side = min(window, short)
    scale, down, right, mirror = torch.rand(4, generator=generator).tolist()
    worked = math.exp(math.log(side) + scale * math.log(max(side, min(short, LARGEST)) / side))
    taken = min(short, round(side * short / worked))  # of the photo's own pixels
    top, left = int(down * (height - taken + 1)), int(right * (width - taken + 1))
    part = photo[:, top : top + taken, left : left + taken]
    if taken != side:
        shrunk = F.interpolate(part[None].float(), (side, side), mode="area")[0]
        part = shrunk.round().to(torch.uint8)
    return part.flip(2) if mirror < 0.5 else part.contiguous()
