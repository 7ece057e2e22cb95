"""The network of `bundled`: one U-Net that restores and denoises, evaluated whole at every step.

`light_denoiser` takes its place once its weights are as good; no more of these are trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrsampler.networks.blind_deconvolution import BlindDeconvolution
from mrsampler.networks.blocks import Block, Conv, Film, pad_to_multiple, runs, zero
from mrsampler.networks.reader import Reader


class ResidualUNet(nn.Module):
    """network(x, mu, t, task) -> a tensor of x's shape, in units of `scale`.

    x and mu are (B, 3, H, W), of any H and W (reflect padding inside); t is a float or (B,) in
    [0, num_steps]; task is an int or (B,) index into TASKS. The embedding that steers every block
    is made of t, the task, and the mean and spread of mu's channels, so that a global change (haze,
    night) is one multiplication away. It also sets how much of y = x - mu and of mu goes straight
    to the output, which depends on t and task above all.

    Of the tasks in `blurred` it is also shown mu with its blur undone: see `BlindDeconvolution`.

    What it takes over the whole photo, `of_photo` gives: `statistics` (B, 6) and `sharp`, of mu's
    shape. It is the same at every evaluation, so that whoever makes several gives it, and for a
    part of a photo that of the whole; else it is taken of mu.

    The outermost level, the stem and the head have kernels of their own for each task: at no cost
    in time, what removes noise is not what removes the seams of JPEG, and the faint kinds of damage
    are not unlearnt for the strong.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 96, 160),
        blocks: tuple[int, ...] = (2, 2, 2, 3),
        embedding: int = 160,
        num_tasks: int = 10,
        num_steps: int = 100,
        scale: float = 0.2,
        blurred: Sequence[int] = (),
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": list(channels),
            "blocks": list(blocks),
            "embedding": embedding,
            "num_tasks": num_tasks,
            "num_steps": num_steps,
            "scale": scale,
            "blurred": list(blurred),
        }
        self.blurred = frozenset(blurred)
        self.num_steps, self.scale = num_steps, scale
        self.multiple = 2 ** len(channels)
        self.frequencies: Tensor
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(6), persistent=False)
        self.task = nn.Embedding(num_tasks, embedding)
        self.embed = nn.Sequential(
            nn.Linear(12 + 6, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.straight = nn.Linear(embedding, 6)
        self.stem = Conv(6 * 4, channels[0], num_tasks)
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
        zero(self.straight)
        zero(self.head)

    @staticmethod
    def statistics(mu: Tensor) -> Tensor:
        """Mean and spread of mu's channels, (B, 6)."""
        return torch.cat([mu.mean((2, 3)), mu.std((2, 3))], dim=1)

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

    def of_photo(self, mu: Tensor, task: int | Tensor) -> dict[str, Tensor]:
        """All that the network takes over the whole photo, as arguments of a call."""
        return {"statistics": self.statistics(mu), "sharp": self.sharp(mu, task)}

    def _embedding(
        self, mu: Tensor, t: float | Tensor, task: int | Tensor, statistics: Tensor
    ) -> Tensor:
        batch = mu.shape[0]
        t = torch.as_tensor(t, dtype=mu.dtype, device=mu.device).expand(batch)
        task = torch.as_tensor(task, device=mu.device).expand(batch)
        phase = (t / self.num_steps)[:, None] * self.frequencies.to(mu.dtype)
        mean, std = statistics.chunk(2, dim=1)
        features = torch.cat([phase.sin(), phase.cos(), 4 * (mean - 0.5), 4 * (std - 0.2)], dim=1)
        return F.silu(self.embed(features) + self.task(task))

    def forward(
        self,
        x: Tensor,
        mu: Tensor,
        t: float | Tensor,
        task: int | Tensor,
        statistics: Tensor | None = None,
        sharp: Tensor | None = None,
    ) -> Tensor:
        height, width = x.shape[-2:]
        statistics = self.statistics(mu) if statistics is None else statistics
        embedding = self._embedding(mu, t, task, statistics)
        tasks = runs(task, len(x))
        given = torch.cat([(x - mu) / self.scale, 4 * mu - 2], dim=1)
        straight = (given * self.straight(embedding)[:, :, None, None]).unflatten(1, (2, 3)).sum(1)
        h = self.stem(self._folded(given), tasks)
        if any(kind in self.blurred for kind, _ in tasks):
            sharper = ((self.sharp(mu, task) if sharp is None else sharp) - mu) / self.scale
            straight = straight + sharper * self.straight_sharp(embedding)[:, :, None, None]
            h = h + self.stem_sharp(self._folded(sharper))
        h = self.stem_film(h, embedding)
        skips = []
        for level, level_blocks in enumerate(self.encoder):
            for block in cast(nn.ModuleList, level_blocks):
                h = block(h, embedding, tasks)
            if level < len(self.down):
                skips.append(h)
                h = self.down[level](h)
        for level in reversed(range(len(self.decoder))):
            h = skips.pop() + F.pixel_shuffle(self.up[level](h), 2)
            for block in cast(nn.ModuleList, self.decoder[level]):
                h = block(h, embedding, tasks)
        h = self.head(F.silu(self.head_film(h, embedding)), tasks)
        return (F.pixel_shuffle(h, 2)[..., :height, :width] + straight) * self.scale

    def reader(self) -> Reader:
        """A Reader whose estimate is this network's at T where x = mu."""
        config = {k: v for k, v in self.config.items() if k not in ("num_steps", "scale")}
        reader = Reader(**config)
        weights = {n: v for n, v in self.state_dict().items() if n in reader.state_dict()}
        phase = torch.cat([self.frequencies.sin(), self.frequencies.cos()])  # t = T
        first = weights["embed.0.weight"]
        weights["embed.0.bias"] = weights["embed.0.bias"] + first[:, :12] @ phase
        weights["embed.0.weight"] = first[:, 12:]
        for name in ("straight.weight", "straight.bias"):  # of mu alone; an offset is new
            of_mu = weights[name][3:]
            weights[name] = torch.cat([of_mu, torch.zeros_like(of_mu)])
        for name in weights:
            if name.startswith("stem.of.") and name.endswith(".weight"):
                weights[name] = weights[name][:, 12:]
        reader.load_state_dict(reader.state_dict() | weights)
        return reader

    def _folded(self, x: Tensor) -> Tensor:
        """x padded to what the levels divide, its pixels four in one."""
        return F.pixel_unshuffle(pad_to_multiple(x, self.multiple), 2)
