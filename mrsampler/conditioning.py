"""What a network is told beside x, mu and t: the task's number, or what an encoder sees."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mrsampler import photo
from mrsampler.checkpoints import Checkpoint
from mrsampler.networks import DACLIPImageEncoder, IRSDEUNet
from mrsampler.tiles import TILE, read_by_tiles

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_REMEMBERED = 16


class Conditioning(Protocol):
    """conditioning(image, task) -> keyword arguments of the network, for one photo (3, H, W)."""

    @property
    def note(self) -> str | None:
        """Who chooses the task, where its name changes nothing."""

    def __call__(self, image: Tensor, task: str) -> dict[str, Any]: ...


class TaskReading:
    """The task's place in the list that the network was trained with, and what it reads of a photo.

    A network reads where it has `of_photo(mu, task)`, which gives arguments of its calls: once, not
    anew at each evaluation. A photo with a side of more than `tile` pixels is read by tiles.
    """

    note = None

    def __init__(self, tasks: Sequence[str], network: Any, tile: int = TILE):
        self.tasks, self._network, self._tile = tuple(tasks), network, tile

    @torch.no_grad()
    def __call__(self, image: Tensor, task: str) -> dict[str, Any]:
        number = self.tasks.index(task)
        if not hasattr(self._network, "of_photo"):
            return {"task": number}
        weight = next(self._network.parameters())
        mu = image[None].to(weight.device, weight.dtype, memory_format=torch.channels_last)
        if max(mu.shape[-2:]) > self._tile and hasattr(self._network, "whole"):
            return {"task": number, **read_by_tiles(self._network, mu, number, self._tile)}
        return {"task": number, **self._network.of_photo(mu, number)}


class SingleTask:
    """Nothing: the network knows one task."""

    note = "the model's own, whatever is chosen"

    def __call__(self, image: Tensor, task: str) -> dict[str, Any]:
        return {}


class PhotoContexts:
    """What DA-CLIP sees in the photo and finds wrong with it, (1, C) each, on the encoder's device.

    A photo is encoded once: the contexts of the 16 used last are remembered, by their pixels.
    """

    note = "detected by the model"

    def __init__(self, encoder: DACLIPImageEncoder, image: bool = True, degradation: bool = True):
        self.encoder, self._image, self._degradation = encoder, image, degradation
        self._remembered: OrderedDict[bytes, dict[str, Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, image: Tensor, task: str) -> dict[str, Any]:
        picture = photo.to_pil(image)
        key = hashlib.blake2b(picture.tobytes(), key=b"%dx%d" % picture.size).digest()
        with self._lock:  # visitors share it
            if key not in self._remembered:
                self._remembered[key] = self._encode(picture)
                if len(self._remembered) > _REMEMBERED:
                    self._remembered.popitem(last=False)
            self._remembered.move_to_end(key)
            return dict(self._remembered[key])

    @torch.no_grad()
    def _encode(self, picture: Image.Image) -> dict[str, Tensor]:
        weight = self.encoder.visual_control.proj
        pixels = clip_pixels(picture, self.encoder.image_size)[None].to(weight)
        shown, wrong = self.encoder(pixels)
        contexts = {}
        if self._image:
            contexts["image_context"] = shown
        if self._degradation:
            contexts["degradation_context"] = wrong
        return contexts


def conditioning_of(checkpoint: Checkpoint) -> Conditioning:
    """What a checkpoint's network is told."""
    network = checkpoint.denoiser.network
    if not isinstance(network, IRSDEUNet):
        return TaskReading(checkpoint.tasks, network)
    if checkpoint.encoder is None:
        return SingleTask()
    config = network.config
    return PhotoContexts(
        checkpoint.encoder, config["use_image_context"], config["use_degra_context"]
    )


def clip_pixels(picture: Image.Image, size: int) -> Tensor:
    """A picture as CLIP takes it, (3, size, size): the middle of it, its shorter side `size`.

    Bicubic by Pillow, as in CLIP's own preprocessing, then normalised by its mean and deviation.
    """
    width, height = picture.size
    short = min(width, height)
    scaled = picture.convert("RGB").resize(
        (int(size * width / short), int(size * height / short)), Image.Resampling.BICUBIC
    )
    left, top = (round((side - size) / 2) for side in scaled.size)
    pixels = np.array(scaled.crop((left, top, left + size, top + size)))
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - mean) / std
