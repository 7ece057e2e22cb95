"""PSNR and SSIM against closed forms and scikit-image."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from mrsampler.metrics import psnr, ssim


def picture(seed=0, height=48, width=60):
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.linspace(0, 6, height)[:, None], torch.linspace(0, 8, width)
    waves = 0.5 + 0.3 * torch.sin(x + y) + 0.1 * torch.cos(3 * x)
    return (waves + 0.1 * torch.randn(3, height, width, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("error, decibels", [(0.1, 20.0), (0.01, 40.0), (0.5, 6.0206), (1.0, 0.0)])
def test_psnr_of_a_constant_error(error, decibels):
    truth = torch.zeros(3, 8, 8)
    assert psnr(truth + error, truth) == pytest.approx(decibels, abs=1e-4)


def test_psnr_averages_the_squared_error_over_pixels_and_channels():
    truth = torch.full((3, 10, 10), 0.5)
    image = truth.clone()
    image[0, 0, :3] += 0.4
    assert psnr(image, truth) == pytest.approx(-10 * math.log10(3 * 0.16 / 300), abs=1e-4)


def test_psnr_of_equal_images_is_infinite():
    assert psnr(picture(), picture()) == math.inf


def test_psnr_clamps_to_the_range_of_a_picture():
    truth = torch.ones(3, 8, 8)
    assert psnr(truth + 5, truth) == math.inf
    assert psnr(truth - 3, truth) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [(48, 60), (11, 11), (11, 40), (33, 17)])
@pytest.mark.parametrize("damage", ["noise", "shift", "flat", "other"])
def test_ssim_equals_scikit_images(damage, size):
    truth = picture(0, *size)
    image = {
        "noise": (
            truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(2))
        ).clamp(0, 1),
        "shift": (truth * 0.7 + 0.2),
        "flat": torch.full_like(truth, 0.8),
        "other": picture(1, *size).flip(2),
    }[damage]
    expected = structural_similarity(
        image.double().numpy(),
        truth.double().numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=0,
    )
    assert ssim(image, truth) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_ssim_of_flat_images_is_the_luminance_term(level):
    # Both variances are 0: only (2 a b + c1) / (a^2 + b^2 + c1) is left. In float32 a square up to
    # 0.25 is off by up to 1.5e-8, which c2 = 9e-4 makes 1.7e-5, and covariance and variances add.
    image, truth = torch.full((3, 20, 20), level), torch.full((3, 20, 20), 0.9)
    expected = (2 * level * 0.9 + 1e-4) / (level**2 + 0.81 + 1e-4)
    assert ssim(image, truth) == pytest.approx(expected, abs=5e-5)


def test_ssim_of_equal_images_is_one():
    assert ssim(picture(), picture()) == pytest.approx(1, abs=1e-12)


def test_images_that_cannot_be_compared_are_refused():
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match=r"\(3, 48, 60\) and \(3, 48, 61\)"):
            metric(picture(), picture(width=61))
        with pytest.raises(ValueError, match=r"\(C, H, W\)"):
            metric(torch.zeros(1, 3, 20, 20), torch.zeros(1, 3, 20, 20))
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(torch.zeros(3, 10, 40), torch.zeros(3, 10, 40))
