"""The bundled network: a reader, run once a photo, and a light denoiser, run at every step.

With D = x_0 - mu, r the reader's estimate of it, E = D - r what is left, s = sigma / alpha and

    z = (y - alpha r) / alpha = E + s eps,

the denoiser F is told z in units of its spread and returns what Gauss does not know:

    E_hat = d^2 / (d^2 + s^2) z + s d / sqrt(d^2 + s^2) F(z / sqrt(d^2 + s^2); log s, the reading)

This is EDM's preconditioning (arXiv 2206.00364) at E's own spread d, in each pixel and channel.
Channels are of an orthonormal opponent basis (grey, blue to yellow, red to green): what a photo
lacks is mostly grey, and so is the texture of a sample then, not coloured grain.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrsampler.networks.blocks import Block, Film, pad_to_multiple, zero
from mrsampler.networks.reader import SCALE, Read, Reader
from mrsampler.processes import Process

OPPONENT = (
    (1 / 3**0.5, 1 / 3**0.5, 1 / 3**0.5),
    (1 / 6**0.5, 1 / 6**0.5, -2 / 6**0.5),
    (1 / 2**0.5, -1 / 2**0.5, 0.0),
)
USUAL_SPREAD = 0.03
LOG_UNITS = (math.log(1 / 30), math.log(20))  # of a spread over the usual: 0.001 to 0.6
LOG_S = (math.log(0.002), math.log(40.0))  # the range that the embedding resolves
ONE_TASK = [(0, 0)]  # kernels shared by all tasks


def turned(x: Tensor, basis: Tensor) -> Tensor:
    """x (B, 3, H, W) in another basis of colours."""
    return torch.einsum("kc,bchw->bkhw", basis.to(x.dtype), x)


class Briefing(nn.Module):
    """What the denoiser is told of a photo, from what the reader found, once.

    Returns the spread d (B, 3, H, W), by channel of the opponent basis, and one tensor for each
    level of the denoiser, to be added to its own.
    """

    def __init__(self, reader: tuple[int, ...], light: tuple[int, ...], hidden: int = 48):
        super().__init__()
        self.look = nn.Conv2d(reader[0] + 4 * 6, hidden, 3, padding=1)
        self.spread = nn.Conv2d(hidden, 3 * 4, 3, padding=1)
        self.finest = nn.Conv2d(hidden + 3 * 4, light[0], 3, padding=1)
        self.coarser = nn.ModuleList(
            nn.Conv2d(a, b, 1) for a, b in zip(reader[1:], light[1:], strict=True)
        )
        zero(self.spread)

    def forward(self, mu: Tensor, read: Read) -> tuple[Tensor, list[Tensor]]:
        height, width = mu.shape[-2:]
        pictures = torch.cat([4 * mu - 2, read.estimate / SCALE], dim=1)
        folded = F.pixel_unshuffle(pad_to_multiple(pictures, 2 ** len(read.levels)), 2)
        seen = F.silu(self.look(torch.cat([folded, F.silu(read.levels[0])], dim=1)))
        units = self.spread(seen).clamp(*LOG_UNITS)
        # How the spread is used teaches nothing of how large it is.
        levels = [self.finest(torch.cat([seen, units.detach()], dim=1))]
        for conv, level in zip(self.coarser, read.levels[1:], strict=True):
            levels.append(conv(F.silu(level)))
        spread = USUAL_SPREAD * F.pixel_shuffle(units, 2)[..., :height, :width].exp()
        return spread, levels


class LightUNet(nn.Module):
    """F: (z in units of its spread, log s, task, the briefing's levels) -> a tensor like z."""

    def __init__(
        self, channels: tuple[int, ...], blocks: tuple[int, ...], embedding: int, num_tasks: int
    ):
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(6), persistent=False)
        self.task = nn.Embedding(num_tasks, embedding)
        self.embed = nn.Sequential(
            nn.Linear(13, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        outer = list(pairwise(channels))
        self.stem = nn.Conv2d(3 * 4, channels[0], 3, padding=1)
        self.stem_film = Film(channels[0], embedding)
        self.encoder = nn.ModuleList(
            nn.ModuleList(Block(c, embedding, 1) for _ in range(n))
            for c, n in zip(channels, blocks, strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in outer)
        self.up = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in outer)
        self.decoder = nn.ModuleList(
            nn.ModuleList(Block(c, embedding, 1) for _ in range(n))
            for c, n in zip(channels[:-1], blocks[:-1], strict=True)
        )
        self.head_film = Film(channels[0], embedding)
        self.head = nn.Conv2d(channels[0], 3 * 4, 3, padding=1)
        zero(self.head)

    def forward(self, z: Tensor, log_s: Tensor, task: int | Tensor, levels: list[Tensor]) -> Tensor:
        low, high = LOG_S
        place = 2 * (log_s.clamp(low, high) - low) / (high - low) - 1
        phase = place[:, None] * self.frequencies.to(z.dtype)
        features = torch.cat([place[:, None], phase.sin(), phase.cos()], dim=1)
        embedding = F.silu(self.embed(features) + self.task.weight[task])
        h = self.stem(F.pixel_unshuffle(z, 2))
        h = self.stem_film(h, embedding)
        skips = []
        for level, level_blocks in enumerate(self.encoder):
            h = h + levels[level]
            for block in cast(nn.ModuleList, level_blocks):
                h = block(h, embedding, ONE_TASK)
            if level < len(self.down):
                skips.append(h)
                h = self.down[level](h)
        for level in reversed(range(len(self.decoder))):
            h = skips.pop() + F.pixel_shuffle(self.up[level](h), 2)
            for block in cast(nn.ModuleList, self.decoder[level]):
                h = block(h, embedding, ONE_TASK)
        return F.pixel_shuffle(self.head(F.silu(self.head_film(h, embedding))), 2)


class LightDenoiser(nn.Module):
    """network(x, mu, t, task, **reading) -> x_0, or eps where `target` is "noise", in x's shape.

    x and mu are (B, 3, H, W), of any H and W; t is a float or (B,) in [0, T] of `process`, whose
    alpha and sigma it goes by; task is an int or (B,) index into the tasks it was trained on. The
    reading is what `of_photo` gives: it is the same at every evaluation, so that whoever makes
    several gives it, and for a part of a photo that part of the whole's.

    Raises ValueError for another target.
    """

    def __init__(
        self,
        process: Process,
        reader: dict[str, Any],
        channels: tuple[int, ...] = (24, 32, 64, 128),
        blocks: tuple[int, ...] = (1, 1, 1, 2),
        embedding: int = 96,
        target: str = "data",
    ):
        super().__init__()
        if target not in ("data", "noise"):
            raise ValueError(f"a light denoiser's target is data or noise, not {target!r}")
        self.process, self.target = process, target
        self.reader = Reader(**reader)
        self.config: dict[str, Any] = {
            "reader": self.reader.config,
            "channels": list(channels),
            "blocks": list(blocks),
            "embedding": embedding,
        }
        self.multiple = self.reader.multiple
        self.basis: Tensor
        self.register_buffer("basis", torch.tensor(OPPONENT), persistent=False)
        self.briefing = Briefing(tuple(self.reader.config["channels"]), tuple(channels))
        self.light = LightUNet(
            tuple(channels), tuple(blocks), embedding, self.reader.config["num_tasks"]
        )

    def whole(self, mu: Tensor, task: int | Tensor) -> dict[str, Tensor]:
        """What must be taken over the whole of a photo that is read in parts."""
        return self.reader.whole(mu, task)

    def of_photo(self, mu: Tensor, task: int | Tensor, **whole: Tensor) -> dict[str, Tensor]:
        """The reading of a photo: r, d and what is added at each level; `whole` as the reader's."""
        height, width = mu.shape[-2:]
        whole = whole or self.whole(mu, task)
        # Padded before all else: a photo that is read by tiles is so, too.
        mu, sharp = (pad_to_multiple(v, self.multiple) for v in (mu, whole["sharp"]))
        read = self.reader(mu, task, whole["statistics"], sharp)
        spread, levels = self.briefing(mu, read)
        told = {
            "estimate": read.estimate[..., :height, :width],
            "spread": spread[..., :height, :width],
        }
        return told | {f"level_{i}": level for i, level in enumerate(levels)}

    def forward(
        self,
        x: Tensor,
        mu: Tensor,
        t: float | Tensor,
        task: int | Tensor,
        estimate: Tensor | None = None,
        spread: Tensor | None = None,
        **levels: Tensor,
    ) -> Tensor:
        if estimate is None or spread is None:
            return self(x, mu, t, task, **self.of_photo(mu, task))
        alpha, sigma = self._schedule(t, x)
        s = sigma / alpha
        z = turned((x - mu) / alpha - estimate, self.basis)
        total = (spread.square() + s.square()).sqrt()
        height, width = x.shape[-2:]
        given = pad_to_multiple(z / total, self.multiple)
        f = self.light(given, s.log().flatten(), task, list(levels.values()))[..., :height, :width]
        if self.target == "noise":
            return turned(f, self.basis.T)
        rest = (spread / total).square() * z + s * spread / total * f
        return mu + estimate + turned(rest, self.basis.T)

    def _schedule(self, t: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma of each of the batch, (B, 1, 1, 1)."""
        if isinstance(t, Tensor):
            alpha, sigma = self.process.scales(t.to(x.device))
        else:
            alpha, sigma = x.new_tensor(self.process.alpha(t)), x.new_tensor(self.process.sigma(t))
        alpha, sigma = (v.to(x).expand(len(x))[:, None, None, None] for v in (alpha, sigma))
        return alpha, sigma
