"""JPEG-compressed: a real encoder, 4:2:0 chroma; and what else happens to files on their way."""

import io
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .fields import onset, uniform
from .task import USUAL, Form, Task

BEST, WORST = 95, 10
BEND = 0.6  # below 1: the first steps down in quality hardly show
CHROMA = ("4:4:4", "4:2:2", "4:2:0", "4:2:0")  # half of all files have the last
FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)
BEST_FILE = 97  # the encoder's quality for a photo that is kept with care
KEPT_AS_FILE = 0.7  # the share of photos
BEST_WEBP, WORST_WEBP = 92, 2
MACROBLOCK = 16
MAX_SCALE = 64.0  # MPEG-2's quantiser_scale
DEAD_ZONE = 0.33  # rounds a coefficient down up to 1 - this
# MPEG-2's default matrix for intra frames (ISO/IEC 13818-2, 6.3.11).
INTRA = (
    (8, 16, 19, 22, 26, 27, 29, 34),
    (16, 16, 22, 24, 27, 29, 34, 37),
    (19, 22, 26, 27, 29, 34, 34, 38),
    (22, 22, 26, 27, 29, 34, 37, 40),
    (22, 26, 27, 29, 32, 35, 40, 48),
    (26, 27, 29, 32, 35, 40, 48, 58),
    (26, 27, 29, 34, 38, 46, 56, 69),
    (27, 29, 35, 38, 46, 56, 69, 83),
)


def quality(severity: float) -> int:
    """Encoder quality, from 95 at severity 0 down to 10 at severity 1."""
    return round(BEST * (WORST / BEST) ** severity**BEND)


def jpeg(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """(3, H, W) in [0, 1] through a JPEG file and back; draws nothing from `generator`."""
    return through_file(image, quality(severity))


def through_file(image: Tensor, quality: int, chroma: str = "4:2:0") -> Tensor:
    """(3, H, W) in [0, 1] as a JPEG file of this encoder quality and subsampling gives it back."""
    return _tensor(_reread(_picture(image), "JPEG", quality=quality, subsampling=chroma))


def saved(image: Tensor, severity: float, generator: torch.Generator, worst: int = 60) -> Tensor:
    """(3, H, W) in [0, 1] as photos are kept: mostly a JPEG file of quality `worst` to 97.

    The file of a hardly damaged photo is a good one.
    """
    file, low, chroma = uniform(generator, (0, 1), (0, 1), (0, len(CHROMA)))
    if file > KEPT_AS_FILE:
        return image
    quality = BEST_FILE - (BEST_FILE - worst) * low * onset(severity)
    return through_file(image, round(quality), CHROMA[int(chroma * onset(severity))])


def any_chroma(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Any subsampling; cropped after, so that the grid of blocks begins anywhere."""
    chroma, top, left, more = uniform(generator, (0, 4), (0, 16), (0, 16), (0.8, 1.15))
    return _cropped_after(image, int(top), int(left), _quality(severity, more), CHROMA[int(chroma)])


def twice(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Saved, cropped, and saved again: two grids, either of which may be the coarser."""
    top, left, first, second, chroma = uniform(
        generator, (0, 16), (0, 16), (0.2, 1.05), (0.2, 1.05), (0, 4)
    )
    if max(first, second) < 0.8:
        second = 1.0
    once = _cropped_after(image, int(top), int(left), _quality(severity, first), "4:2:0")
    return through_file(once, _quality(severity, second), CHROMA[int(chroma)])


def resized(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Saved at another size, at which it may have been saved before, and brought back."""
    _, height, width = image.shape
    zoom, before, after, down, up = uniform(
        generator, (-0.5, 0.35), (0.1, 0.8), (0.35, 0.75), (0, 3), (0, 3)
    )
    factor = 2 ** (zoom * onset(severity))
    size = max(8, round(width * factor)), max(8, round(height * factor))
    picture = _reread(_picture(image), "JPEG", quality=_quality(severity, before))
    picture = picture.resize(size, FILTERS[int(down)])
    picture = _reread(picture, "JPEG", quality=_quality(severity, after))
    return _tensor(picture.resize((width, height), FILTERS[int(up)]))


def webp(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A WebP file; in a third of the draws it becomes a JPEG file after."""
    more, again = uniform(generator, (0.85, 1.1), (0, 1))
    quality = BEST_WEBP * (WORST_WEBP / BEST_WEBP) ** (more * severity**BEND)
    picture = _reread(_picture(image), "WEBP", quality=round(quality), method=1)
    if again < 1 / 3:
        picture = _reread(picture, "JPEG", quality=_quality(severity, again))
    return _tensor(picture)


def sharpened(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """Sharpened by an unsharp mask, saved, and in half of the draws sharpened again."""
    amount, spread, chroma, again, more = uniform(
        generator, (0.2, 1.2), (0.5, 1.4), (0, 4), (-0.6, 0.6), (0.7, 1.0)
    )
    crisp = unsharp(image, amount * onset(severity), spread)
    file = through_file(crisp, _quality(severity, more), CHROMA[int(chroma)])
    return unsharp(file, max(0.0, again) * onset(severity), spread)


def video(image: Tensor, severity: float, generator: torch.Generator) -> Tensor:
    """A frame of a film as MPEG-2 codes it alone, not JPEG: held out.

    Its matrix, a dead zone, 16 to 235 for black to white, colours of half the size that are
    interpolated back, and blocks that begin anywhere.
    """
    _, height, width = image.shape
    top, left, more = uniform(generator, (0, MACROBLOCK), (0, MACROBLOCK), (0.75, 1.25))
    scale = 1 + MAX_SCALE * more * severity**1.3
    top, left = int(top), int(left)
    bottom, right = -(height + top) % MACROBLOCK, -(width + left) % MACROBLOCK
    padded = F.pad(image[None], (left, right, top, bottom), mode="replicate")[0]
    red, green, blue = padded
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    colours = torch.stack([(blue - luma) / 1.8556, (red - luma) / 1.5748])
    luma = _coded(219 * luma[None] + 16 - 128, scale)[0] / 219 + (128 - 16) / 219
    colours = _coded(224 * F.avg_pool2d(colours[None], 2)[0], scale) / 224
    size = luma.shape[-2:]
    difference = F.interpolate(colours[None], size, mode="bilinear", align_corners=False)[0]
    blue, red = luma + 1.8556 * difference[0], luma + 1.5748 * difference[1]
    green = (luma - 0.2126 * red - 0.0722 * blue) / 0.7152
    frame = torch.stack([red, green, blue]).clamp(0, 1)
    return frame[:, top : top + height, left : left + width]


def _coded(planes: Tensor, scale: float) -> Tensor:
    """(C, h, w), sides multiples of 8 and values about 0, quantised block by block."""
    k = torch.arange(8.0)
    cosine = torch.cos(torch.pi * (2 * k + 1) * k[:, None] / 16) / 2
    cosine[0] /= 2**0.5
    blocks = planes.unfold(1, 8, 8).unfold(2, 8, 8)
    step = torch.tensor(INTRA) * scale / 16
    step[0, 0] = 8 / 2 ** min(3, int(32 / scale))  # DC has 8 to 11 bits
    levels = (cosine @ blocks @ cosine.T) / step
    levels = levels.sign() * (levels.abs() + DEAD_ZONE).floor()
    blocks = cosine.T @ (levels * step) @ cosine
    return blocks.transpose(2, 3).reshape(planes.shape).round()


def unsharp(image: Tensor, amount: float, spread: float) -> Tensor:
    """(3, H, W) plus `amount` times what a Gaussian of `spread` pixels takes away, clipped."""
    weight = torch.exp(-0.5 * (torch.arange(-4.0, 5.0) / spread).square())
    weight = weight / weight.sum()
    padded = F.pad(image[:, None], (4, 4, 4, 4), mode="reflect")
    smooth = F.conv2d(padded, weight.view(1, 1, 1, 9))
    smooth = F.conv2d(smooth, weight.view(1, 1, 9, 1))[:, 0]
    return (image + amount * (image - smooth)).clamp(0, 1)


def _quality(severity: float, share: float) -> int:
    """`quality` at a share of the severity, which may exceed 1."""
    return max(5, quality(share * severity))


def _cropped_after(image: Tensor, top: int, left: int, quality: int, chroma: str) -> Tensor:
    """As `through_file`, with so many rows and columns more that are cut off after."""
    _, height, width = image.shape
    wider = F.pad(image[None], (left, 0, top, 0), mode="reflect")[0]
    return through_file(wider, quality, chroma)[:, top : top + height, left : left + width]


def _reread(picture: Image.Image, format: str, **settings: Any) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, format, **settings)
    return Image.open(file).convert("RGB")


def _picture(image: Tensor) -> Image.Image:
    pixels = (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels)


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float() / 255


TASK = Task(
    "jpeg-compressed",
    {
        USUAL: Form(jpeg, "a JPEG file of 4:2:0 chroma"),
        "chroma": Form(any_chroma, "a JPEG file of any chroma, cropped after"),
        "twice": Form(twice, "two JPEG files, on grids of blocks that differ"),
        "resized": Form(resized, "saved at another size and brought back"),
        "webp": Form(webp, "a WebP file"),
        "sharpened": Form(sharpened, "sharpened before it was saved, or after"),
        "video": Form(video, "a frame of MPEG-2 video", held_out=True),
    },
    local=True,
)
