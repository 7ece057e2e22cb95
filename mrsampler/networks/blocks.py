"""The blocks that the bundled networks are built of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Runs = list[tuple[int, int]]  # a batch's tasks in its order: which, and how many in a row


def zero(layer: nn.Module) -> None:
    """Sets a layer's weights to 0, so that training starts from what is around it."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class Film(nn.Module):
    """Scales and shifts each channel by the embedding; the identity at first."""

    def __init__(self, channels: int, embedding: int):
        super().__init__()
        self.linear = nn.Linear(embedding, 2 * channels)
        zero(self.linear)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.linear(embedding)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, x, 1 + scale)


class Conv(nn.Module):
    """A 3 x 3 convolution with its own kernel for each of `kinds` tasks, or one for all."""

    def __init__(self, inputs: int, outputs: int, kinds: int):
        super().__init__()
        self.of = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=1) for _ in range(kinds))

    def forward(self, x: Tensor, tasks: Runs) -> Tensor:
        if len(self.of) == 1:
            return self.of[0](x)
        parts = x.split([number for _, number in tasks])
        made = [self.of[task](part) for (task, _), part in zip(tasks, parts, strict=True)]
        return made[0] if len(made) == 1 else torch.cat(made)


class Block(nn.Module):
    """x + conv(silu(film(conv(silu(x))))): a residual block steered by the embedding.

    No normalisation: absolute brightness is what several of the tasks are about, and a tile then
    sees what the whole photo sees.
    """

    def __init__(self, channels: int, embedding: int, kinds: int):
        super().__init__()
        self.conv1 = Conv(channels, channels, kinds)
        self.film = Film(channels, embedding)
        self.conv2 = Conv(channels, channels, kinds)
        zero(self.conv2)

    def forward(self, x: Tensor, embedding: Tensor, tasks: Runs) -> Tensor:
        h = self.film(self.conv1(F.silu(x), tasks), embedding)
        return x + self.conv2(F.silu(h), tasks)


def runs(task: int | Tensor, batch: int) -> Runs:
    """A batch's tasks, from one for all or (B,) of them."""
    if not isinstance(task, Tensor):
        return [(task, batch)]
    kinds, numbers = task.expand(batch).unique_consecutive(return_counts=True)
    return list(zip(kinds.tolist(), numbers.tolist(), strict=True))


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Reflect x (B, C, H, W) beyond its right and lower edge until both sides divide."""
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    if not bottom and not right:
        return x
    # A reflection reaches one pixel less than the side; smaller photos repeat their edge.
    mode = "reflect" if bottom < x.shape[-2] and right < x.shape[-1] else "replicate"
    return F.pad(x, (0, right, 0, bottom), mode=mode)
