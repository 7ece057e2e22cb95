"""DA-CLIP's image encoder: what a photo shows, and what is wrong with it.

A CLIP image tower (a vision transformer) beside a copy of it, the controller, whose hidden states
steer the tower away from the damage. Parameters are named as in the published files.
Sources: CLIP (Radford et al., arXiv 2103.00020), DA-CLIP (Luo et al., arXiv 2310.01018).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from mrsampler.state_dict import require


class AttentionBlock(nn.Module):
    """Self-attention and a feed-forward layer over x (B, N, width), each added to it."""

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, hidden))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.resblocks = nn.ModuleList(
            AttentionBlock(width, heads, mlp_ratio) for _ in range(layers)
        )

    def forward(self, x: Tensor, control: Iterable[Tensor]) -> Tensor:
        """`control` is added after each block."""
        for block, added in zip(self.resblocks, control, strict=True):
            x = block(x) + added
        return x


class ControlTransformer(nn.Module):
    def __init__(self, transformer: Transformer, width: int):
        super().__init__()
        self.transformer = transformer
        self.zero_modules = nn.ModuleList(nn.Linear(width, width) for _ in transformer.resblocks)
        for layer in self.zero_modules.parameters():
            nn.init.zeros_(layer)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Its output, and each block's through a linear map that starts at zero."""
        hidden = []
        for block, linear in zip(self.transformer.resblocks, self.zero_modules, strict=True):
            x = block(x)
            hidden.append(linear(x))
        return x, hidden


class ImageTower(nn.Module):
    """Patches of an image (B, 3, size, size), and a class token, through a transformer."""

    def __init__(
        self, image_size: int, patch_size: int, width: int, transformer: nn.Module, output_dim: int
    ):
        super().__init__()
        tokens = (image_size // patch_size) ** 2 + 1
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(tokens, width))
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, output_dim))
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = transformer
        self.ln_post = nn.LayerNorm(width)

    def tokens(self, image: Tensor) -> Tensor:
        """The transformer's input (B, 1 + patches, width)."""
        patches = self.conv1(image).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(patches.shape[0], 1, -1)
        return self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)

    def features(self, x: Tensor) -> Tensor:
        """(B, output_dim), from the class token of the transformer's output."""
        return self.ln_post(x[:, 0]) @ self.proj


class DACLIPImageEncoder(nn.Module):
    """encoder(image) -> what it shows, what is wrong with it: two contexts (B, output_dim).

    `image` is (B, 3, image_size, image_size), normalised as CLIP's are. The contexts are as the
    universal-IR network takes them: of no particular length. The default is ViT-B/32.

    Raises ValueError for a width that its heads cannot share.
    """

    NOT_USED: tuple[str, ...] = (
        "visual.",  # clip.visual once more
        "clip.text.",
        "clip.transformer.",
        "clip.token_embedding.",
        "clip.positional_embedding",
        "clip.ln_final.",
        "clip.text_projection",
        "clip.attn_mask",
        "clip.logit_scale",
        "logit_scale",
    )
    """What the published files hold besides: the text tower and what training needs of it."""

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 32,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        output_dim: int = 512,
    ):
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads cannot share {width} channels")
        self.config: dict[str, Any] = {
            "image_size": image_size,
            "patch_size": patch_size,
            "width": width,
            "layers": layers,
            "heads": heads,
            "mlp_ratio": mlp_ratio,
            "output_dim": output_dim,
        }
        self.image_size = image_size

        def tower(transformer: nn.Module) -> ImageTower:
            return ImageTower(image_size, patch_size, width, transformer, output_dim)

        own, copy = (Transformer(width, layers, heads, mlp_ratio) for _ in range(2))
        self.clip = nn.Module()
        self.clip.visual = tower(own)
        self.visual_control = tower(ControlTransformer(copy, width))

    @staticmethod
    def infer_config(weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """The settings of a published file, read off its shapes; heads have 64 channels, as CLIP's.

        Raises ValueError where they are of no such file.
        """
        tower = "clip.visual."
        prefix = f"{tower}transformer.resblocks."
        two = ("positional_embedding", "proj", "transformer.resblocks.0.mlp.c_fc.weight")
        require(weights, {f"{tower}conv1.weight": 4} | {f"{tower}{name}": 2 for name in two})
        width, _, patch_size, _ = weights[f"{tower}conv1.weight"].shape
        tokens = weights[f"{tower}positional_embedding"].shape[0]
        blocks = {name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)}
        hidden = weights[f"{prefix}0.mlp.c_fc.weight"].shape[0]
        return {
            "image_size": round((tokens - 1) ** 0.5) * patch_size,
            "patch_size": patch_size,
            "width": width,
            "layers": len(blocks),
            "heads": max(1, width // 64),
            "mlp_ratio": hidden / width,
            "output_dim": weights[f"{tower}proj"].shape[1],
        }

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        control, tower = self.visual_control, cast(ImageTower, self.clip.visual)
        x, hidden = control.transformer(control.tokens(image))
        # The deepest hidden state steers the first block.
        shown = tower.transformer(tower.tokens(image), reversed(hidden))
        return tower.features(shown), control.features(x)
