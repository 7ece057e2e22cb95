"""Reading photos of any mode and orientation, and giving results back at their size, in 8 bits."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

MAX_PIXELS = 64_000_000
MIN_SIDE = 32
MAX_ASPECT = 32
# Pillow knows more, but some of it starts other programs (EPS) or is little tried.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")


class PhotoError(ValueError):
    """A file that cannot be used as a photo; its text is a sentence for whoever gave it."""


@dataclass(frozen=True)
class Photo:
    """A photo upright and in RGB, with what is needed to give the result back as it came.

    `rgb` is (3, H, W) float32 in [0, 1]; `size` the (width, height) in pixels that results are
    given back at; `alpha` (height, width) uint8 or None; `profile` the ICC profile of the pixels or
    None; `grey` whether it came without colour.
    """

    rgb: Tensor
    size: tuple[int, int]
    alpha: Tensor | None = None
    profile: bytes | None = None
    grey: bool = False

    def within(self, largest_side: int | None) -> Photo:
        """The photo with `rgb` scaled down, never up, to `largest_side`; no side under 32 pixels.

        None leaves it at full resolution. Raises ValueError for a largest side under 32.
        """
        if largest_side is None:
            return self
        return replace(self, rgb=_fit_within(self.rgb, largest_side))

    def image(self, rgb: Tensor) -> Image.Image:
        """`rgb` (3, h, w) as an 8-bit picture of this photo's size, alpha, profile and colours."""
        picture = to_pil(resize(rgb, self.size))
        if self.grey:
            picture = picture.convert("L")
        if self.alpha is not None:
            picture.putalpha(Image.fromarray(self.alpha.numpy()))
        if self.profile:
            picture.info["icc_profile"] = self.profile
        return picture


def read(source: str | Path | bytes | Image.Image) -> Photo:
    """A photo from a file, its bytes or an opened image, turned upright by its EXIF orientation.

    Grey, palette, 16-bit, CMYK and transparent pictures are all understood; CMYK becomes sRGB
    through its own profile. Of an animation, the first frame.

    Raises PhotoError for what is no picture in one of FORMATS, is damaged, has a side under 32
    pixels, more than 64 megapixels, or is over 32 times as long as wide; FileNotFoundError and the
    like pass through.
    """
    if isinstance(source, Image.Image):
        return _decode(source)
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=FORMATS) as image:
            return _decode(image)
    except UnidentifiedImageError:
        raise PhotoError("This file is not a picture that can be read.") from None
    except Image.DecompressionBombError:
        raise PhotoError(_too_large()) from None
    except PhotoError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise PhotoError("This picture is damaged or cut short.") from None


def _too_large() -> str:
    return f"This picture has more than {MAX_PIXELS // 1_000_000} megapixels; please scale it down."


def _decode(image: Image.Image) -> Photo:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PhotoError(_too_large())
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"This picture is {width} x {height} pixels; each side needs at least {MIN_SIDE}."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PhotoError(
            f"This picture is more than {MAX_ASPECT} times as long as it is wide; please crop it."
        )
    image.load()
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if "transparency" in image.info and image.mode in ("P", "RGB", "L"):
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA" if image.mode.startswith(("RGB", "P")) else "LA")
        band = image.getchannel("A")
        if band.getextrema() != (255, 255):
            alpha = torch.from_numpy(np.array(band))
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        image, profile = _to_srgb(image, profile), None
    grey = image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I")
    if image.mode.startswith(("I", "F")):
        pixels = torch.from_numpy(np.array(image, dtype=np.float32)).nan_to_num(0, 0, 0)
        # Integers are of 16 bits; floats run to 1, or to what an integer format would reach.
        top = 65535.0 if image.mode.startswith("I") else float(pixels.max())
        pixels = pixels / (1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0)
        rgb = pixels.clamp(0, 1).expand(3, -1, -1)
    else:
        rgb = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
    return Photo(rgb.contiguous(), image.size, alpha, profile, grey)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile and image.mode == "CMYK":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile: the plain conversion below
    return image.convert("RGB")


def to_uint8(rgb: Tensor) -> Tensor:
    """(3, H, W) in [0, 1], values outside clipped, as (H, W, 3) uint8 on the CPU."""
    return _bytes(rgb).permute(1, 2, 0)


def to_pil(rgb: Tensor) -> Image.Image:
    """(3, H, W) in [0, 1], values outside clipped, as an 8-bit RGB picture."""
    # Pillow weaves the channels faster than torch or numpy do.
    # One after the other: of a large photo three copies in floats take more than the rest.
    return Image.merge("RGB", [Image.fromarray(_bytes(channel).numpy()) for channel in rgb])


def _bytes(rgb: Tensor) -> Tensor:
    return rgb.clamp(0, 1).mul_(255).round_().to(torch.uint8).cpu()


def resize(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """(3, H, W) resampled to `size` (width, height): antialiased bicubic, clipped to [0, 1]."""
    if (rgb.shape[2], rgb.shape[1]) == size:
        return rgb
    resampled = F.interpolate(
        rgb[None], size=(size[1], size[0]), mode="bicubic", antialias=True, align_corners=False
    )
    return resampled[0].clamp(0, 1)


def _fit_within(rgb: Tensor, largest_side: int) -> Tensor:
    if largest_side < MIN_SIDE:
        raise ValueError(f"largest_side must be at least {MIN_SIDE}, got {largest_side}")
    height, width = rgb.shape[1:]
    scale = min(1.0, max(largest_side / max(height, width), MIN_SIDE / min(height, width)))
    return resize(rgb, (max(MIN_SIDE, round(width * scale)), max(MIN_SIDE, round(height * scale))))
