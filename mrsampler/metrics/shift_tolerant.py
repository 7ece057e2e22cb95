"""ST-LPIPS: a learned perceptual distance that a shift of a pixel or two hardly moves.

The weights are those of the authors' package, stlpips-pytorch, whose wheel carries them; it is
looked for and never imported, as it needs IPython and torchvision to be.
Source: Ghildyal & Liu, Shift-tolerant perceptual similarity metric, ECCV 2022 (arXiv 2207.13686).
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrsampler.metrics.distortion import check_pair

PACKAGE = "stlpips-pytorch"
TRUNKS = ("alex", "vgg")
SMALLEST = 32  # pixels a side: below 21 a trunk runs out of them


class _Blur(nn.Module):
    """Halves the resolution through the binomial filter of 3 taps, mirrored at the border."""

    def __init__(self, channels: int):
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = (taps[:, None] * taps).expand(channels, 1, 3, 3)
        self.register_buffer("kernel", kernel.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.kernel, Tensor)
        padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(padded, self.kernel, stride=2, groups=x.shape[1])


def _alexnet() -> list[nn.Sequential]:
    """AlexNet's five convolutions, each up to its ReLU; every stride is a pooling and a blur."""
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, padding=2), _Blur(64), nn.ReLU(inplace=True)),
        nn.Sequential(
            nn.MaxPool2d(3, 1), _Blur(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True)
        ),
        nn.Sequential(
            nn.MaxPool2d(3, 1),
            _Blur(192),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(inplace=True),
        ),
        nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True)),
    ]


def _vgg16() -> list[nn.Sequential]:
    """VGG-16's five blocks of 3 x 3 convolutions, between them a pooling and a blur."""
    stages: list[nn.Sequential] = []
    last = 3
    for channels, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        stage: list[nn.Module] = [nn.MaxPool2d(2, 1), _Blur(last)] if stages else []
        for _ in range(convolutions):
            stage += [nn.Conv2d(last, channels, 3, padding=1), nn.ReLU(inplace=True)]
            last = channels
        stages.append(nn.Sequential(*stage))
    return stages


class _Trunk(nn.Module):
    """The features of a picture (1, 3, H, W) in [0, 1] after each stage, of unit length at each
    pixel, and the weight of each channel, `importance`, (C, 1, 1) a stage.
    """

    def __init__(self, stages: list[nn.Sequential], weights: dict[str, Tensor]):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.shift, self.scale = weights["scaling_layer.shift"], weights["scaling_layer.scale"]
        self.importance = [weights[f"lin{k}.model.1.weight"][0] for k in range(len(stages))]
        # In the file's order, which is that of the stages; the blurs in it are the binomial ones.
        learned = [
            x for name, x in weights.items() if name.startswith("net.") and "filt" not in name
        ]
        for parameter, value in zip(self.parameters(), learned, strict=True):
            parameter.data = value
        self.requires_grad_(False)
        # Three fifths of the time, on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> list[Tensor]:
        x = (2 * image - 1 - self.shift) / self.scale
        x = x.contiguous(memory_format=torch.channels_last)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return features


class STLPIPS:
    """The ST-LPIPS distance of pictures to one true photo: 0 for equal ones, seldom above 1.

    truth  (3, H, W) in [0, 1], at least 32 pixels a side
    trunk  whose features are compared: "alex" (AlexNet), or "vgg" (VGG-16) at 7 times the cost

    The truth's features are computed once and kept (6 MB for 256 x 256 and "alex", 33 for "vgg").
    Runs on the CPU, in float32; images are clamped to [0, 1]. The two trunks are bought by
    different things: white noise of the size of the error that is left brings "alex" nearer to the
    truth, and "vgg" less or not at all.

    Raises RuntimeError with `st_lpips_missing`'s sentence; ValueError for another trunk, shape or
    size.
    """

    def __init__(self, truth: Tensor, trunk: str = "alex"):
        if trunk not in TRUNKS:
            raise ValueError(f"unknown trunk {trunk!r}; choose from {', '.join(TRUNKS)}")
        if truth.ndim != 3 or truth.shape[0] != 3 or min(truth.shape[1:]) < SMALLEST:
            raise ValueError(
                f"expected a (3, H, W) photo of at least {SMALLEST} pixels a side, "
                f"got {tuple(truth.shape)}"
            )
        self._trunk, self._photo = _trunk(trunk), truth
        self._truth = self._features(truth)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> float:
        """Of an image of the truth's shape. Raises ValueError for another."""
        check_pair(image, self._photo)
        total = 0.0
        for ours, true, importance in zip(
            self._features(image), self._truth, self._trunk.importance, strict=True
        ):
            squared = (ours - true).square_().mean((0, 2, 3), dtype=torch.float64)
            total += (importance.flatten() * squared).sum().item()
        return total

    @torch.no_grad()
    def _features(self, image: Tensor) -> list[Tensor]:
        return self._trunk(image.detach().float().clamp(0, 1)[None].cpu())


def st_lpips(image: Tensor, truth: Tensor, trunk: str = "alex") -> float:
    """The ST-LPIPS distance of two (3, H, W) images: `STLPIPS` of one truth, for one image."""
    return STLPIPS(truth, trunk)(image)


def st_lpips_missing() -> str | None:
    """Why ST-LPIPS cannot be had here, as a sentence; None where it can. Nothing is downloaded."""
    if absent := [trunk for trunk in TRUNKS if not (_weights(trunk) or Path()).is_file()]:
        return (
            f"ST-LPIPS needs the weights ({', '.join(absent)}) in the package {PACKAGE}: "
            f"pip install {PACKAGE}"
        )
    return None


def _weights(trunk: str) -> Path | None:
    """The file of a trunk's weights, which need not exist; None without the package."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    (package,) = spec.submodule_search_locations
    return Path(package, "weights", "vST0.0", f"{trunk}_shift_tolerant.pth")


@cache
def _trunk(trunk: str) -> _Trunk:
    if (missing := st_lpips_missing()) is not None:
        raise RuntimeError(missing)
    path = _weights(trunk)
    assert path is not None
    stages = {"alex": _alexnet, "vgg": _vgg16}[trunk]()
    return _Trunk(stages, torch.load(path, map_location="cpu", weights_only=True))
