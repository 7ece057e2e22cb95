"""What a network is told of a photo: CLIP's preprocessing, and contexts made once a photo."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import published
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mrsampler import TASKS, Denoiser, MeanRevertingSDE
from mrsampler.checkpoints import Checkpoint
from mrsampler.conditioning import (
    CLIP_MEAN,
    CLIP_STD,
    PhotoContexts,
    TaskReading,
    clip_pixels,
    conditioning_of,
)
from mrsampler.networks import IRSDEUNet, LightDenoiser
from mrsampler.tiles import part, read_by_tiles


def picture(width, height, seed=0):
    """Noise that a bicubic filter takes nowhere near black or white, where it would be clipped."""
    pixels = np.random.default_rng(seed).integers(70, 180, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def in_clips_units(pixels):
    """What clip_pixels normalised, back in [0, 1]."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return pixels * std + mean


@pytest.mark.parametrize("size", [(224, 224), (640, 480), (301, 999), (50, 40), (512, 224)])
def test_the_middle_of_the_photo_is_seen_224_pixels_wide(size):
    seen = in_clips_units(clip_pixels(picture(*size), 224))
    assert seen.shape == (3, 224, 224) and seen.dtype == torch.float32
    # Torch's bicubic over all of the photo. Pillow's is rounded to 8 bits after each of its two
    # passes, the second of which can enlarge the first's half a level by a third.
    width, height = size
    rgb = torch.from_numpy(np.array(picture(*size))).permute(2, 0, 1)[None] / 255
    scale = 224 / min(size)
    shape = int(height * scale + 1e-9), int(width * scale + 1e-9)
    scaled = F.interpolate(rgb, size=shape, mode="bicubic", antialias=True).clamp(0, 1)[0]
    top, left = (round((side - 224) / 2) for side in shape)
    expected = scaled[:, top : top + 224, left : left + 224]
    assert (seen - expected).abs().max() < 1.2 / 255


def test_a_photo_of_clips_size_is_only_normalised():
    given = picture(64, 64)
    expected = (np.array(given) / 255 - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
    seen = clip_pixels(given, 64).permute(1, 2, 0).double().numpy()
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def checkpoint(network, encoder=None):
    return Checkpoint("test", Denoiser(network), MeanRevertingSDE(), TASKS, {}, encoder)


def test_a_network_that_knows_tasks_is_told_the_tasks_number():
    told = conditioning_of(checkpoint(lambda x, mu, t, task: x))
    assert told(torch.zeros(3, 40, 40), "hazy") == {"task": TASKS.index("hazy")}
    assert told.note is None


def light():
    """The bundled kind, so small that 60 pixels are two overlaps."""
    torch.manual_seed(0)
    shape = {"channels": (8,), "blocks": (1,), "embedding": 8}
    network = LightDenoiser(MeanRevertingSDE(), {**shape, "blurred": (0,)}, **shape)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.requires_grad_(False)


def test_the_bundled_kind_is_told_what_it_reads_of_the_photo():
    network = light()
    told = conditioning_of(checkpoint(network))
    image = torch.rand(3, 70, 90, generator=torch.Generator().manual_seed(0))
    for task, name in enumerate(TASKS[:2]):
        given = told(image, name)
        assert given.pop("task") == task
        expected = network.of_photo(image[None], task)
        assert given.keys() == expected.keys() == {"estimate", "spread", "level_0"}
        for name, value in given.items():  # laid out otherwise in memory, and rounded otherwise
            torch.testing.assert_close(value, expected[name], rtol=0, atol=5e-4)


def test_a_network_is_told_the_task_by_its_place_in_the_checkpoints_own_list():
    told = TaskReading(("hazy", "noisy"), light())
    assert told(torch.rand(3, 40, 40), "noisy")["task"] == 1


def test_a_photo_with_a_side_of_more_than_a_tile_is_read_by_tiles():
    network, seen = light(), []
    of_photo = network.of_photo
    network.of_photo = lambda mu, *given, **whole: (
        seen.append(mu.shape) or of_photo(mu, *given, **whole)
    )
    told, image = TaskReading(TASKS, network, tile=64), torch.rand(3, 50, 131)
    given = told(image, "hazy")
    assert len(seen) > 1 and all(shape[-1] <= 64 for shape in seen)
    assert given.pop("task") == TASKS.index("hazy")
    for name, value in read_by_tiles(network, image[None], TASKS.index("hazy"), 64).items():
        torch.testing.assert_close(given[name], value, rtol=1e-5, atol=1e-5)
    seen.clear()
    told(image[..., :64], "hazy")
    assert [tuple(shape) for shape in seen] == [(1, 3, 50, 64)]


def test_of_what_is_told_of_each_pixel_a_part_is_told_its_own():
    whole, crop = torch.rand(2, 3, 40, 30), (..., slice(8, 24), slice(0, 10))
    told = {"task": 3, "statistics": torch.rand(2, 6), "sharp": torch.rand(2, 3, 40, 30)}
    of_part = part(told, whole, crop)
    assert of_part["task"] == 3 and of_part["statistics"] is told["statistics"]
    assert torch.equal(of_part["sharp"], told["sharp"][:, :, 8:24, :10])


def test_a_single_task_network_is_told_nothing():
    network = IRSDEUNet(
        nf=32, ch_mult=(1,), context_dim=None, use_degra_context=False, use_image_context=False
    )
    told = conditioning_of(checkpoint(network))
    assert told(torch.zeros(3, 40, 40), "hazy") == {} and told.note


def test_the_contexts_are_what_the_encoder_finds_in_the_photo():
    encoder = published.encoder()
    told = conditioning_of(checkpoint(published.unet(), encoder))
    assert told.note == "detected by the model"
    image = torch.rand(3, 70, 90, generator=torch.Generator().manual_seed(0))
    contexts = told(image, "hazy")
    eight_bits = Image.fromarray((image * 255).round().byte().permute(1, 2, 0).contiguous().numpy())
    shown, wrong = encoder(clip_pixels(eight_bits, 64)[None])
    assert torch.equal(contexts["image_context"], shown)
    assert torch.equal(contexts["degradation_context"], wrong)
    assert contexts.keys() == {"image_context", "degradation_context"}


class Counted:
    """An encoder that counts what it is asked."""

    def __init__(self):
        self.encoder, self.calls = published.encoder(), 0
        self.image_size, self.visual_control = 64, self.encoder.visual_control

    def __call__(self, image):
        self.calls += 1
        return self.encoder(image)


def test_a_photo_is_encoded_once_whatever_the_task_and_the_tensor():
    encoder = Counted()
    told = PhotoContexts(encoder)
    image = torch.rand(3, 70, 90, generator=torch.Generator().manual_seed(0))
    first = told(image, "hazy")
    again = told(image.clone(), "rainy")
    assert encoder.calls == 1
    assert all(first[name] is again[name] for name in first)
    # As many pixels of the same values, in another shape: another photo.
    other = told(image.reshape(3, 90, 70), "hazy")
    assert encoder.calls == 2
    assert not torch.equal(other["image_context"], first["image_context"])


def test_only_so_many_photos_are_remembered():
    encoder = Counted()
    told = PhotoContexts(encoder)
    images = [torch.full((3, 64, 64), level / 20) for level in range(17)]
    for image in images:
        told(image, "hazy")
    told(images[-1], "hazy")
    assert encoder.calls == 17
    told(images[0], "hazy")
    assert encoder.calls == 18


def test_the_photo_used_longest_ago_is_forgotten_first():
    encoder = Counted()
    told = PhotoContexts(encoder)
    images = [torch.full((3, 64, 64), level / 20) for level in range(17)]
    for image in (*images[:16], images[0], images[16], images[0]):
        told(image, "hazy")
    assert encoder.calls == 17


def test_several_visitors_at_once_get_the_contexts_of_their_photos_each_made_once():
    encoder = Counted()
    told = PhotoContexts(encoder)
    images = [torch.full((3, 64, 64), level / 20) for level in range(4)] * 5
    with ThreadPoolExecutor(8) as threads:
        contexts = list(threads.map(lambda image: told(image, "hazy"), images))
    assert encoder.calls == 4
    for image, given in zip(images, contexts, strict=True):
        assert given["image_context"] is told(image, "hazy")["image_context"]


@pytest.mark.parametrize("which", ["image", "degradation"])
def test_a_network_made_for_one_context_is_told_that_one(which):
    config = {"nf": 32, "ch_mult": (1, 1, 1, 1), "context_dim": 48}
    config |= {"use_image_context": which == "image", "use_degra_context": which == "degradation"}
    network = IRSDEUNet(**config).eval().requires_grad_(False)
    told = conditioning_of(checkpoint(network, published.encoder()))
    contexts = told(torch.rand(3, 64, 64), "hazy")
    assert contexts.keys() == {f"{which}_context"}
    x = torch.zeros(1, 3, 16, 16)
    assert network(x, x, 5.0, **contexts).shape == x.shape
