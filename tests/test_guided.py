"""The change found in a small photo, made to the photo at its own size."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mrsampler import guided
from mrsampler.guided import upsampled
from mrsampler.photo import resize

# Large and small (height, width): a whole factor, none, one pixel off, and long strips.
SIZES = [((96, 64), (48, 32)), ((301, 211), (64, 45)), ((65, 64), (64, 63)), ((40, 700), (32, 91))]


def photo(height, width, seed=0):
    """Large shapes with fine detail on them, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    shapes = F.interpolate(
        torch.rand(1, 3, 5, 5, generator=generator), size=(height, width), mode="bilinear"
    )[0]
    detail = torch.rand(3, height, width, generator=generator) - 0.5
    return (shapes + 0.2 * detail).clamp(0, 1)


def pair(sizes):
    """A photo and its small copy."""
    (height, width), small = sizes
    large = photo(height, width)
    return large, resize(large, small[::-1])


@pytest.mark.parametrize("sizes", SIZES)
def test_no_change_leaves_every_bit(sizes):
    large, small = pair(sizes)
    assert torch.equal(upsampled(large, small, small.clone()), large)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("gain, offset", [(1.0, 0.2), (3.0, -0.1), (0.25, 0.5), (0.0, 0.4)])
def test_one_affine_map_of_a_channel_reaches_every_detail(sizes, gain, offset):
    large, small = pair(sizes)
    gains = gain * torch.tensor([1.0, 0.8, 1.1])[:, None, None]
    made = upsampled(large, small, gains * small + offset)
    # Of values up to 4: the change and its parts are rounded to 24 bits a few times.
    torch.testing.assert_close(made, gains * large + offset, rtol=0, atol=5e-6)


def test_at_the_small_size_the_restored_photo_comes_back():
    small, restored = photo(50, 70), photo(50, 70, seed=1)
    torch.testing.assert_close(upsampled(small, small, restored), restored, rtol=0, atol=2e-6)


def test_a_map_that_varies_slowly_is_made_to_every_detail():
    """Haze: transmission falls from left to right; adding the change alone loses the detail."""
    large = photo(256, 384)
    ramp = torch.linspace(0.4, 1.0, 384)
    hazy = large * ramp + 0.9 * (1 - ramp)
    small, clean = resize(hazy, (96, 64)), resize(large, (96, 64))
    made = upsampled(hazy, small, clean)
    added = hazy + F.interpolate((clean - small)[None], size=(256, 384), mode="bicubic")[0]
    error, of_added = ((x - large).square().mean().sqrt().item() for x in (made, added))
    assert error < of_added / 3


def test_a_flat_photo_changes_no_further_than_two_small_pixels_from_an_edge():
    """A cubic kernel reaches two pixels; the slope finds no detail to change."""
    large, small = torch.full((3, 240, 240), 0.5), torch.full((3, 60, 60), 0.5)
    restored = small.clone()
    restored[:, :, :30] = 0.9
    made = upsampled(large, small, restored)
    assert torch.equal(made[:, :, 128:], large[:, :, 128:])
    torch.testing.assert_close(made[:, :, :112], torch.full((3, 240, 112), 0.9))
    # The kernel's outer lobe, 0.75 (t^3 - 2 t^2 + t), is a ninth of the step at most.
    assert made.min() >= 0.5 - 0.4 / 9 - 1e-6 and made.max() <= 0.9 + 0.4 / 9 + 1e-6


def test_a_change_stays_where_it_is_and_in_what_it_looks_like_small():
    """Beside an edge detail alters, as the slope's window is wide, but not what it adds up to."""
    large = photo(256, 256)
    small = resize(large, (64, 64))
    restored = small.clone()
    restored[:, :, :32] = (1.5 * restored[:, :, :32]).clamp(0, 1)
    made = upsampled(large, small, restored)
    again = resize(made.clamp(0, 1), (64, 64))
    assert (again - restored).abs()[..., 32 + 2 :].max() < 4 / 255
    reach = 32 + 2 * guided.RADIUS + 2  # two means of RADIUS, and the kernel
    assert (made - large).abs()[..., 4 * reach :].max() < 1 / 255


@pytest.mark.parametrize("strip", [1, 7, 64, 1000])
def test_strips_leave_no_seam(strip, monkeypatch):
    large, small = pair(((301, 211), (64, 45)))
    restored = photo(64, 45, seed=1)
    whole = upsampled(large, small, restored)
    monkeypatch.setattr(guided, "_STRIP", strip)
    # Sums of four products: their order may differ with the shape.
    torch.testing.assert_close(upsampled(large, small, restored), whole, rtol=0, atol=1e-6)


class Sizes(TorchDispatchMode):
    """Notes how many values each new tensor holds."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and not out._is_view():
            self.made.append(out.numel())
        return out


def test_beside_the_result_nothing_of_the_photos_size_is_made():
    large, small = torch.rand(3, 3000, 500), torch.rand(3, 60, 10)
    with Sizes() as sizes:
        upsampled(large, small, small + 0.1 * small)
    first, second, *_ = sorted(sizes.made, reverse=True)
    assert first == large.numel() and second == 3 * guided._STRIP * 500


def test_the_photo_the_small_one_and_the_restored_one_must_fit():
    with pytest.raises(ValueError, match=r"got \(3, 64, 64\), \(3, 32, 32\), \(3, 32, 31\)"):
        upsampled(torch.zeros(3, 64, 64), torch.zeros(3, 32, 32), torch.zeros(3, 32, 31))
    with pytest.raises(ValueError, match="expected"):
        upsampled(torch.zeros(1, 64, 64), torch.zeros(3, 32, 32), torch.zeros(3, 32, 32))
