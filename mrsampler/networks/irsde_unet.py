"""The U-Net of the published checkpoints: IR-SDE's, and universal-IR's with DA-CLIP's contexts.

Parameters are named as in the published files, so that those load as they are; so are the settings,
as in the published option files. Sources: IR-SDE (Luo et al., arXiv 2301.11699), DA-CLIP (Luo et
al., arXiv 2310.01018).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrsampler.networks.blocks import pad_to_multiple
from mrsampler.state_dict import require

HEAD = 32
"""Channels of an attention head."""


class ChannelNorm(nn.Module):
    """Normalises each pixel over its channels and scales them by g."""

    def __init__(self, channels: int):
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        # Channels last: where they lie in memory, so that nothing is copied.
        pixels = F.layer_norm(x.permute(0, 2, 3, 1), self.g.shape[1:2], self.g.flatten())
        return pixels.permute(0, 3, 1, 2)


class _Exact(nn.Module):
    """A layer that autocast leaves in the type of its weights.

    Those are what is made of t and the contexts, the first and the last convolution, those of the
    straight path and of the way down from level to level, and the second of each block on the way
    up: 22 in 100 of the multiply-adds of the 49 million parameters' network. In bfloat16 the
    output of that network with random weights is then off by 0.7 in 100, root mean square, and that
    of the small reference network by 1.9 at most; with no layer kept, by 1.2 and 2.8.
    """

    weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class ExactConv2d(_Exact, nn.Conv2d):
    pass


class ExactLinear(_Exact, nn.Linear):
    pass


class Convolution(nn.Module):
    """silu(scale_shift(conv(x))), 3 by 3."""

    def __init__(self, inside: int, outside: int, kind: type[nn.Conv2d] = nn.Conv2d):
        super().__init__()
        self.proj = kind(inside, outside, 3, padding=1, bias=False)

    def forward(self, x: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        x = self.proj(x)
        if scale_shift is not None:
            scale, shift = scale_shift
            x = torch.addcmul(shift, x, 1 + scale)
        return F.silu(x)


class ResidualBlock(nn.Module):
    """Two convolutions, the first scaled and shifted by the embedding, beside a straight path."""

    def __init__(
        self, inside: int, outside: int, embedding: int, second: type[nn.Conv2d] = nn.Conv2d
    ):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), ExactLinear(embedding, 2 * outside))
        self.block1 = Convolution(inside, outside)
        self.block2 = Convolution(outside, outside, second)
        self.res_conv = (
            nn.Identity() if inside == outside else ExactConv2d(inside, outside, 1, bias=False)
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.mlp(embedding)[:, :, None, None].chunk(2, dim=1)
        return self.block2(self.block1(x, (scale, shift))) + self.res_conv(x)


class LinearAttention(nn.Module):
    """Attention at a cost linear in the pixels: softmax(q) (softmax(k)^T v), not softmax(q k^T) v.

    q is normalised over a head's channels, k over the pixels, v divided by their number.
    Source: Shen et al., Efficient Attention (arXiv 1812.01243).
    """

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Conv2d(channels, 3 * heads * HEAD, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(heads * HEAD, channels, 1), ChannelNorm(channels))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        batch, _, height, width = x.shape
        qkv = self.to_qkv(x).permute(0, 2, 3, 1).reshape(batch, -1, 3, self.heads, HEAD)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, H W, HEAD)
        values = k.softmax(dim=-2).transpose(-2, -1) @ v  # (B, heads, HEAD, HEAD)
        out = q.softmax(dim=-1) @ (values * (HEAD**-0.5 / (height * width)))
        out = out.transpose(1, 2).reshape(batch, height, width, -1).permute(0, 3, 1, 2)
        return self.to_out(out)


class Attention(nn.Module):
    """Multi-head attention of x (B, N, C) over a context (B, M, C'), x itself unless given."""

    def __init__(self, channels: int, context: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, heads * HEAD, bias=False)
        self.to_k = nn.Linear(context, heads * HEAD, bias=False)
        self.to_v = nn.Linear(context, heads * HEAD, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * HEAD, channels))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        if context.shape[1] == 1:
            return self.to_out(self.to_v(context))  # all weight is on it, whatever the query
        q, k, v = (
            layer(given).unflatten(-1, (self.heads, HEAD)).transpose(1, 2)
            for layer, given in ((self.to_q, x), (self.to_k, context), (self.to_v, context))
        )
        out = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(out.transpose(1, 2).flatten(2))


class GatedLinear(nn.Module):
    """a gelu(b), of (a, b) = linear(x)."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.proj = nn.Linear(inside, 2 * outside)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        # The published files count a dropout between the two.
        self.net = nn.Sequential(
            GatedLinear(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, attention over the context and a feed-forward layer, each added to x."""

    def __init__(self, channels: int, context: int):
        super().__init__()
        heads = channels // HEAD
        self.attn1 = Attention(channels, channels, heads)
        self.ff = FeedForward(channels)
        self.attn2 = Attention(channels, context, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer block over the pixels of x (B, C, H, W), with a context (B, M, C')."""

    def __init__(self, channels: int, context: int):
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, context)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        pixels = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2)
        for block in self.transformer_blocks:
            pixels = block(pixels, context)
        return x + self.proj_out(pixels.unflatten(1, (height, width)).permute(0, 3, 1, 2))


class PreNorm(nn.Module):
    def __init__(self, channels: int, fn: nn.Module):
        super().__init__()
        self.fn, self.norm = fn, ChannelNorm(channels)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.fn(self.norm(x), context)


class Residual(nn.Module):
    def __init__(self, fn: nn.Module):
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        return x + self.fn(x, context)


def sinusoids(t: Tensor, channels: int) -> Tensor:
    """sin and cos of t (B,) at frequencies from 1 down to 1e-4, (B, channels) float32 at least."""
    t = t.to(torch.promote_types(t.dtype, torch.float32))  # t is up to 100: it needs its digits
    half = channels // 2
    frequencies = torch.exp(torch.arange(half, device=t.device) * (-math.log(1e4) / (half - 1)))
    phase = t[:, None] * frequencies
    return torch.cat([phase.sin(), phase.cos()], dim=1)


class IRSDEUNet(nn.Module):
    """network(x, mu, t, degradation_context, image_context) -> the noise in x, of x's shape.

    x and mu are (B, in_nc, H, W), of any H and W (reflect padding inside); t is a float or (B,) in
    [0, 100]; the contexts are (B, context_dim), and each is taken only by a network made for it:
    the degradation's steers all blocks beside t, through a softmax over a learned prompt; the
    image's is attended to from the fourth level down. Both are off in a single-task IR-SDE.

    `nf` is the channels of the first level, `ch_mult` those of the levels, in multiples of it.
    The default is universal-IR: 49 million parameters. `AUTOCAST` is the type in which, under
    torch.autocast, its output stays that of float32 to 2 in 100, root mean square: see `_Exact`.

    Raises ValueError for contexts other than it was made for.
    """

    AUTOCAST = torch.bfloat16
    NOT_USED: tuple[str, ...] = ()

    def __init__(
        self,
        in_nc: int = 3,
        out_nc: int = 3,
        nf: int = 64,
        ch_mult: Sequence[int] = (1, 2, 4, 8),
        context_dim: int | None = 512,
        use_degra_context: bool = True,
        use_image_context: bool = True,
    ):
        super().__init__()
        self.config: dict[str, Any] = {
            "in_nc": in_nc,
            "out_nc": out_nc,
            "nf": nf,
            "ch_mult": list(ch_mult),
            "context_dim": context_dim,
            "use_degra_context": use_degra_context,
            "use_image_context": use_image_context,
        }
        embedding, widths = 4 * nf, [nf, *(nf * multiple for multiple in ch_mult)]
        depth = len(ch_mult)
        self.multiple = 2**depth
        self.nf = nf
        self.init_conv = ExactConv2d(2 * in_nc, nf, 7, padding=3, bias=False)
        self.time_mlp = nn.Sequential(
            nn.Identity(),  # where the published files count the sinusoids
            ExactLinear(nf, embedding),
            nn.GELU(),
            ExactLinear(embedding, embedding),
        )
        if use_degra_context:
            assert context_dim is not None
            self.prompt = nn.Parameter(torch.rand(1, embedding))
            self.text_mlp = nn.Sequential(
                ExactLinear(context_dim, embedding), nn.SiLU(), ExactLinear(embedding, embedding)
            )
            self.prompt_mlp = ExactLinear(embedding, embedding)

        def attention(channels: int, level: int) -> Residual:
            if use_image_context and level >= 3:
                assert context_dim is not None
                return Residual(PreNorm(channels, SpatialTransformer(channels, context_dim)))
            return Residual(PreNorm(channels, LinearAttention(channels)))

        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, (outer, inner) in enumerate(pairwise(widths)):
            last, first = level == depth - 1, level == 0
            down = ExactConv2d(outer, inner, 4, stride=2, padding=1)
            if last:
                down = ExactConv2d(outer, inner, 3, padding=1, bias=False)
            up: nn.Module = nn.Sequential(
                nn.Upsample(scale_factor=2), nn.Conv2d(inner, outer, 3, padding=1)
            )
            if first:
                up = nn.Conv2d(inner, outer, 3, padding=1, bias=False)
            self.downs.append(
                nn.ModuleList(
                    [
                        ResidualBlock(outer, outer, embedding),
                        ResidualBlock(outer, outer, embedding),
                        attention(outer, level),
                        down,
                    ]
                )
            )
            joined = outer + inner
            self.ups.insert(
                0,
                nn.ModuleList(
                    [
                        ResidualBlock(joined, inner, embedding, ExactConv2d),
                        ResidualBlock(joined, inner, embedding, ExactConv2d),
                        attention(inner, level),
                        up,
                    ]
                ),
            )
        self.mid_block1 = ResidualBlock(widths[-1], widths[-1], embedding)
        self.mid_attn = attention(widths[-1], 3 if use_image_context else 0)
        self.mid_block2 = ResidualBlock(widths[-1], widths[-1], embedding)
        self.final_res_block = ResidualBlock(2 * nf, nf, embedding)
        self.final_conv = ExactConv2d(nf, out_nc, 3, padding=1)

    @staticmethod
    def infer_config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """The settings of a published file, read off its shapes.

        Raises ValueError where they are of no such file, or of a network that is told no mu.
        """
        require(weights, {"init_conv.weight": 4, "final_conv.weight": 4})
        nf, inputs = weights["init_conv.weight"].shape[:2]
        if inputs % 2:
            raise ValueError(
                f"it takes {inputs} channels, so not those of x and mu: a network that is told "
                "nothing of the degraded image"
            )
        levels = [int(n[1]) for name in weights if (n := re.match(r"(?:down|up)s\.(\d+)\.", name))]
        widest = [f"downs.{level}.3.weight" for level in range(max(levels, default=0) + 1)]
        require(weights, dict.fromkeys(widest, 4))
        widths = [weights[name].shape[0] for name in widest]
        degradation = "text_mlp.0.weight" in weights
        transformer = "mid_attn.fn.fn.transformer_blocks.0.attn2.to_k.weight"
        context_dim = None
        for name in ("text_mlp.0.weight", transformer):
            if name in weights:
                require(weights, {name: 2})
                context_dim = weights[name].shape[1]
        return {
            "in_nc": inputs // 2,
            "out_nc": weights["final_conv.weight"].shape[0],
            "nf": nf,
            "ch_mult": [width // nf for width in widths],
            "context_dim": context_dim,
            "use_degra_context": degradation,
            "use_image_context": transformer in weights,
        }

    def _embedding(self, t: Tensor, degradation_context: Tensor | None) -> Tensor:
        embedding = self.time_mlp(sinusoids(t, self.nf).to(self.final_conv.weight))
        if degradation_context is None:
            return embedding
        weight = self.text_mlp(degradation_context).softmax(dim=1)
        return embedding + self.prompt_mlp(weight * self.prompt)

    def forward(
        self,
        x: Tensor,
        mu: Tensor,
        t: float | Tensor,
        degradation_context: Tensor | None = None,
        image_context: Tensor | None = None,
    ) -> Tensor:
        given = degradation_context is not None, image_context is not None
        if given != (self.config["use_degra_context"], self.config["use_image_context"]):
            raise ValueError(
                "the network was made for "
                f"degradation_context={self.config['use_degra_context']}, "
                f"image_context={self.config['use_image_context']}; got {given[0]}, {given[1]}"
            )
        height, width = x.shape[-2:]
        if not isinstance(t, Tensor):
            t = torch.full((), t, dtype=torch.float32, device=x.device)  # no copy from the host
        embedding = self._embedding(t.expand(x.shape[0]), degradation_context)
        context = None if image_context is None else image_context[:, None]

        h = self.init_conv(pad_to_multiple(torch.cat([x - mu, mu], dim=1), self.multiple))
        skips = [h]
        for modules in self.downs:
            block1, block2, attention, down = cast(nn.ModuleList, modules)
            skips.append(h := block1(h, embedding))
            skips.append(h := attention(block2(h, embedding), context))
            h = down(h)
        h = self.mid_block1(h, embedding)
        h = self.mid_attn(h, context)
        h = self.mid_block2(h, embedding)
        for modules in self.ups:
            block1, block2, attention, up = cast(nn.ModuleList, modules)
            h = block1(torch.cat([h, skips.pop()], dim=1), embedding)
            h = block2(torch.cat([h, skips.pop()], dim=1), embedding)
            h = up(attention(h, context))
        h = self.final_res_block(torch.cat([h, skips.pop()], dim=1), embedding)
        return self.final_conv(h)[..., :height, :width]
