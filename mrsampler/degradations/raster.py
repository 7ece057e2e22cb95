"""Antialiased accumulation of many small things into one plane, without a loop over them."""

import math

import torch
from torch import Tensor


def splat(y: Tensor, x: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """Bilinear deposit of weighted points, (height, width).

    `y`, `x`, `weight` share any shape; integer coordinates are pixel centres. What falls outside
    is lost.
    """
    y = y.clamp(-1, height).reshape(-1)
    x = x.clamp(-1, width).reshape(-1)
    weight = weight.reshape(-1)
    top, left = y.floor(), x.floor()
    fy, fx = y - top, x - left
    # one pixel of margin before, two after, receives what lies outside
    stride = width + 3
    index = (top.long() + 1) * stride + left.long() + 1
    plane = torch.zeros((height + 3) * stride)
    plane.index_add_(0, index, weight * (1 - fy) * (1 - fx))
    plane.index_add_(0, index + 1, weight * (1 - fy) * fx)
    plane.index_add_(0, index + stride, weight * fy * (1 - fx))
    plane.index_add_(0, index + stride + 1, weight * fy * fx)
    return plane.view(height + 3, stride)[1 : height + 1, 1 : width + 1]


class Stamps:
    """Square windows around n centres, to be filled with values and summed into planes.

    `dy`, `dx` (n, P, P) are offsets from each centre in pixels, exact to a fraction of a pixel.
    Centres further than `reach` pixels outside the plane leave no trace.
    """

    def __init__(self, y: Tensor, x: Tensor, reach: float, height: int, width: int):
        self.height, self.width = height, width
        half = math.ceil(reach) + 1
        self.margin = margin = 2 * half + 1
        y = y.clamp(-half - 1, height + half)
        x = x.clamp(-half - 1, width + half)
        offsets = torch.arange(-half, half + 1)
        row, column = y.round().long(), x.round().long()
        self.dy = (offsets - (y - row)[:, None])[:, :, None]
        self.dx = (offsets - (x - column)[:, None])[:, None, :]
        rows = row[:, None, None] + offsets[None, :, None] + margin
        columns = column[:, None, None] + offsets[None, None, :] + margin
        self.index = (rows * (width + 2 * margin) + columns).reshape(-1)

    def sum(self, values: Tensor) -> Tensor:
        """(n, P, P) -> (height, width)."""
        margin = self.margin
        plane = torch.zeros((self.height + 2 * margin) * (self.width + 2 * margin))
        plane.index_add_(0, self.index, values.reshape(-1))
        plane = plane.view(self.height + 2 * margin, self.width + 2 * margin)
        return plane[margin : margin + self.height, margin : margin + self.width]
