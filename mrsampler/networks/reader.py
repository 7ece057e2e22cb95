"""The reader: what a photo tells of its damage, taken once. A U-Net at half resolution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrsampler.networks.blind_deconvolution import BlindDeconvolution
from mrsampler.networks.blocks import Block, Conv, Film, Runs, pad_to_multiple, runs, zero

QUANTILES = (0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)
SEEN = 64  # pixels a side of the reduced photo whose quantiles are taken
SCALE = 0.2  # a usual size of D = x_0 - mu


class Read(NamedTuple):
    """What the reader returns, of mu (B, 3, H, W).

    estimate: r, its estimate of D = x_0 - mu, (B, 3, H, W).
    levels: what it knows at 1/2, 1/4, ... of the (padded) photo's resolution, the finest first.
    """

    estimate: Tensor
    levels: list[Tensor]


class Reader(nn.Module):
    """reader(mu, task) -> Read: the mean of what is plausible, and what it saw on the way.

    mu is (B, 3, H, W), of any H and W (reflect padding inside); task an int or (B,) index into the
    tasks it was made for, those of one kind in a row. An embedding of the task and of mu's
    `statistics` steers every block, and sets a gain and an offset for each colour, so that a global
    change (haze, night) is one multiplication away. The outermost level, the stem and the head have
    kernels of their own for each task: at no cost in time, what removes noise is not what removes
    the seams of JPEG, and the faint kinds of damage are not unlearnt for the strong.

    Of the tasks in `blurred` it is also shown mu with its blur undone: see `BlindDeconvolution`.
    What it takes over a whole photo, `whole` gives, for whoever reads it in parts.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 96, 160),
        blocks: tuple[int, ...] = (2, 2, 2, 3),
        embedding: int = 160,
        num_tasks: int = 10,
        blurred: Sequence[int] = (),
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": list(channels),
            "blocks": list(blocks),
            "embedding": embedding,
            "num_tasks": num_tasks,
            "blurred": list(blurred),
        }
        self.blurred = frozenset(blurred)
        self.multiple = 2 ** len(channels)
        self.task = nn.Embedding(num_tasks, embedding)
        self.embed = nn.Sequential(
            nn.Linear(6, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.tones = nn.Sequential(
            nn.Linear(3 * len(QUANTILES), embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.straight = nn.Linear(embedding, 6)
        self.stem = Conv(3 * 4, channels[0], num_tasks)
        self.stem_film = Film(channels[0], embedding)
        if self.blurred:
            self.deconvolution = BlindDeconvolution()
            self.straight_sharp = nn.Linear(embedding, 3)
            self.stem_sharp = nn.Conv2d(3 * 4, channels[0], 3, padding=1, bias=False)
            zero(self.straight_sharp)
            zero(self.stem_sharp)
        outer = list(pairwise(channels))
        kinds = [num_tasks] + [1] * len(outer)
        self.encoder = nn.ModuleList(
            nn.ModuleList(Block(c, embedding, k) for _ in range(n))
            for c, n, k in zip(channels, blocks, kinds, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in outer)
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in outer)
        self.decoder = nn.ModuleList(
            nn.ModuleList(Block(c, embedding, k) for _ in range(n))
            for c, n, k in zip(channels[:-1], blocks[:-1], kinds[:-1], strict=True)
        )
        self.head_film = Film(channels[0], embedding)
        self.head = Conv(channels[0], 3 * 4, num_tasks)
        zero(self.tones[-1])
        zero(self.straight)
        zero(self.head)

    @staticmethod
    def statistics(mu: Tensor) -> Tensor:
        """Mean, spread and quantiles of mu's channels, (B, 33), of a photo of any size."""
        small = F.adaptive_avg_pool2d(mu, (SEEN, SEEN)).flatten(2).float()
        levels = small.quantile(torch.tensor(QUANTILES, device=mu.device), dim=2).permute(1, 2, 0)
        return torch.cat([mu.mean((2, 3)), mu.std((2, 3)), levels.flatten(1).to(mu)], dim=1)

    def sharp(self, mu: Tensor, task: int | Tensor) -> Tensor:
        """mu, of the tasks in `blurred` with its blur undone, (B, 3, H, W)."""
        tasks = runs(task, len(mu))
        if not any(kind in self.blurred for kind, _ in tasks):
            return mu
        parts = mu.split([number for _, number in tasks])
        return torch.cat(
            [
                self.deconvolution(part) if kind in self.blurred else part
                for (kind, _), part in zip(tasks, parts, strict=True)
            ]
        )

    def whole(self, mu: Tensor, task: int | Tensor) -> dict[str, Tensor]:
        """All that it takes over the whole photo, as arguments of a call."""
        return {"statistics": self.statistics(mu), "sharp": self.sharp(mu, task)}

    def _embedding(self, task: int | Tensor, statistics: Tensor) -> Tensor:
        mean, std, tones = statistics.split([3, 3, 3 * len(QUANTILES)], dim=1)
        colours = torch.cat([4 * (mean - 0.5), 4 * (std - 0.2)], dim=1)
        return F.silu(self.embed(colours) + self.task.weight[task] + self.tones(4 * tones - 2))

    def forward(
        self,
        mu: Tensor,
        task: int | Tensor,
        statistics: Tensor | None = None,
        sharp: Tensor | None = None,
    ) -> Read:
        height, width = mu.shape[-2:]
        embedding = self._embedding(task, self.statistics(mu) if statistics is None else statistics)
        tasks = runs(task, len(mu))
        centred = 4 * mu - 2
        gain, offset = self.straight(embedding)[:, :, None, None].chunk(2, dim=1)
        straight = torch.addcmul(offset, centred, gain)
        h = self.stem(self._folded(centred), tasks)
        if any(kind in self.blurred for kind, _ in tasks):
            sharper = ((self.sharp(mu, task) if sharp is None else sharp) - mu) / SCALE
            straight = straight + sharper * self.straight_sharp(embedding)[:, :, None, None]
            h = h + self.stem_sharp(self._folded(sharper))
        levels = self._levels(self.stem_film(h, embedding), embedding, tasks)
        h = self.head(F.silu(self.head_film(levels[0], embedding)), tasks)
        made = F.pixel_shuffle(h, 2)[..., :height, :width] + straight
        return Read(made * SCALE, levels)

    def _levels(self, h: Tensor, embedding: Tensor, tasks: Runs) -> list[Tensor]:
        """What the decoder makes at each resolution, the finest first."""
        skips = []
        for level, level_blocks in enumerate(self.encoder):
            for block in cast(nn.ModuleList, level_blocks):
                h = block(h, embedding, tasks)
            if level < len(self.down):
                skips.append(h)
                h = self.down[level](h)
        levels = [h]
        for level in reversed(range(len(self.decoder))):
            h = skips.pop() + F.pixel_shuffle(self.up[level](h), 2)
            for block in cast(nn.ModuleList, self.decoder[level]):
                h = block(h, embedding, tasks)
            levels.append(h)
        return levels[::-1]

    def _folded(self, x: Tensor) -> Tensor:
        """x padded to what the levels divide, its pixels four in one."""
        return F.pixel_unshuffle(pad_to_multiple(x, self.multiple), 2)
