"""The metrics against closed forms, scikit-image and SciPy."""

import math

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import gammaln
from scipy.stats import wasserstein_distance
from skimage.metrics import structural_similarity

from mrsampler.metrics import SlicedWasserstein, laplacian_pyramid, psnr, rmse, ssim


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
    # Both variances are 0: only (2 a b + c1) / (a^2 + b^2 + c1) is left. A mean of squares up to
    # 0.25, two sums of 11 products in float32, is off by sqrt(22) roundings, beside c2 = 9e-4;
    # covariance and the two variances add.
    rounding = 3 * math.sqrt(22) * 0.25 * torch.finfo(torch.float32).eps / 2 / 9e-4
    image, truth = torch.full((3, 20, 20), level), torch.full((3, 20, 20), 0.9)
    expected = (2 * level * 0.9 + 1e-4) / (level**2 + 0.81 + 1e-4)
    assert ssim(image, truth) == pytest.approx(expected, abs=rounding)


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


# --- RMSE


def test_rmse_is_in_the_units_of_what_it_compares_and_clamps_nothing():
    x = torch.tensor([[[3.0, -4.0]], [[0.0, 0.0]]])
    assert rmse(x, torch.zeros_like(x)) == pytest.approx(math.sqrt(25 / 4), abs=1e-12)
    assert rmse(x, x) == 0
    assert rmse(255 * x, torch.zeros_like(x)) == pytest.approx(255 * math.sqrt(25 / 4), abs=1e-9)


def test_rmse_loses_no_digits_in_float32():
    x = torch.full((1000,), 0.5)
    y = x + 2.0**-20  # exact in float32; its square would be lost beside 0.25
    assert rmse(x, y) == pytest.approx(2.0**-20, rel=1e-12)


def test_rmse_does_not_broadcast():
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(1, 4\)"):
        rmse(torch.zeros(3, 4), torch.zeros(1, 4))


# --- Laplacian pyramid


def blurred(image):
    """[1, 4, 6, 4, 1] / 16 along both sides, by padding and adding."""
    for axis in (1, 2):
        padding = [(2, 2) if i == axis else (0, 0) for i in range(3)]
        wide, length = np.pad(image, padding, mode="reflect"), image.shape[axis]
        image = sum(
            weight / 16 * wide.take(range(k, k + length), axis)
            for k, weight in enumerate((1, 4, 6, 4, 1))
        )
    return image


def raised(coarse, shape):
    spread = np.zeros(shape)
    spread[:, ::2, ::2] = coarse
    return 4 * blurred(spread)


SIZES = [(32, 32), (33, 47), (17, 64), (9, 8)]


@pytest.mark.parametrize("size", SIZES)
def test_the_pyramid_is_burts_and_adelsons(size):
    image = np.random.default_rng(0).random((3, *size))
    fine, middle, low = laplacian_pyramid(image, 3)
    once = blurred(image)[:, ::2, ::2]
    twice = blurred(once)[:, ::2, ::2]
    assert np.abs(fine - (image - raised(once, image.shape))).max() < 1e-12
    assert np.abs(middle - (once - raised(twice, once.shape))).max() < 1e-12
    assert np.abs(low - twice).max() < 1e-12


@pytest.mark.parametrize("size", SIZES)
def test_the_pyramids_levels_add_up_to_the_image(size):
    image = np.random.default_rng(1).random((1, *size))
    levels = laplacian_pyramid(image, 3)
    rebuilt = levels[-1]
    for level in reversed(levels[:-1]):
        rebuilt = level + raised(rebuilt, level.shape)
    assert np.abs(rebuilt - image).max() < 1e-12


@pytest.mark.parametrize("size", SIZES)
def test_a_flat_image_has_no_detail_at_any_scale_not_even_at_its_border(size):
    *details, low = laplacian_pyramid(np.full((3, *size), 0.3), 3)
    assert max(np.abs(level).max() for level in details) < 1e-15
    assert np.abs(low - 0.3).max() < 1e-15


# --- sliced Wasserstein distance

ALL = 10**6  # patches: every one there is


def all_patches(levels):
    """Every 7 x 7 patch of (C, H, W) arrays of one level, (patches, C, 49)."""
    windows = [sliding_window_view(level, (7, 7), (1, 2)) for level in levels]
    return np.concatenate([w.transpose(1, 2, 0, 3, 4).reshape(-1, len(w), 49) for w in windows])


def test_it_is_scipys_wasserstein_distance_of_projected_pyramid_patches():
    truth = [picture(0, 40, 33), picture(1, 36, 48)]
    images = [picture(2, 40, 33), 0.8 * picture(1, 36, 48) + 0.05]
    measured = SlicedWasserstein(truth, patches=ALL, directions=1500).levels(images)
    assert len(measured) == 2
    generator = np.random.default_rng(9)
    for level, distance in enumerate(measured):
        real, fake = (
            all_patches([laplacian_pyramid(x.double().numpy(), 2)[level] for x in photos])
            for photos in (truth, images)
        )
        deviation = real.std((0, 2))[:, None]
        real, fake = ((x / deviation).reshape(len(x), -1) for x in (real, fake))
        own = []
        for _ in range(400):
            direction = generator.standard_normal(3 * 49)
            direction /= np.linalg.norm(direction)
            own.append(wasserstein_distance(real @ direction, fake @ direction))
        # Directions of its own: both means are off by chance, ours half as much.
        error = np.std(own) / math.sqrt(len(own)) * math.sqrt(1 + 400 / 1500)
        assert error < 0.05 * distance
        assert abs(np.mean(own) - distance) < 4 * error


def test_a_shift_in_brightness_is_the_closed_form():
    # All 49 pixels of every patch move by c: by c |u . 1| along u, for a unit vector u in d = 49
    # dimensions on average c sqrt(d) Gamma(d/2) / (sqrt(pi) Gamma((d + 1)/2)).
    generator = torch.Generator().manual_seed(0)
    truth = 0.4 + 0.1 * torch.rand(1, 24, 28, generator=generator)
    mean = 7 * math.exp(gammaln(24.5) - gammaln(25)) / math.sqrt(math.pi)
    distance = SlicedWasserstein([truth], patches=ALL, directions=4000)([truth + 0.03])
    expected = 0.03 / all_patches([truth.numpy()]).std() * mean
    # |u . 1| spreads by 0.75 of its mean: 1.2 % for the mean of 4000.
    assert distance == pytest.approx(expected, rel=4 * 0.012)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.6])
def test_gaussian_patches_are_as_far_apart_as_gaussians_are(ratio):
    # W1 of N(0, 1) and N(0, r^2) is |r - 1| sqrt(2/pi), in every direction.
    generator = torch.Generator().manual_seed(1)
    truth, other = (0.5 + 0.05 * torch.randn(2, 20, 3, 30, 30, generator=generator)).unbind()
    images = [0.5 + ratio * (photo - 0.5) for photo in other]
    distance = SlicedWasserstein(list(truth), patches=ALL)(images)
    # Two independent sets of this size lie up to 0.02 apart (seeds 0 to 3): W1 cannot be negative.
    # Beside 0.4 such chance cancels over the directions, to 0.008.
    expected = abs(ratio - 1) * math.sqrt(2 / math.pi)
    assert distance == pytest.approx(expected, abs=0.03 if ratio == 1 else 0.02)


def test_a_channel_of_little_contrast_counts_as_much_as_the_others():
    truth, image = (picture(seed) for seed in (0, 1))
    weak = torch.tensor([0.2, 1.0, 1.0])[:, None, None]
    distance = SlicedWasserstein([truth * weak])([image * weak])
    assert distance == pytest.approx(SlicedWasserstein([truth])([image]), rel=1e-4)


def test_equal_sets_are_at_no_distance_in_whatever_order():
    photos = [picture(seed, 64, 64) for seed in range(3)]
    assert SlicedWasserstein(photos)(photos) == 0
    shuffled = [photos[2], photos[0], photos[1]]
    # Elsewhere in a set a patch's 3 x 49 products may be summed in another order: as many roundings
    # at most, of half an eps, of sums of a few deviations.
    rounding = 3 * 49 * torch.finfo(torch.float32).eps
    assert SlicedWasserstein(photos, patches=ALL)(shuffled) <= rounding


def test_lost_contrast_and_lost_texture_are_seen_at_their_scale():
    truth = picture(0, 64, 64)
    distance = SlicedWasserstein([truth])
    fine = laplacian_pyramid(truth.numpy(), 3)[0]
    without = torch.from_numpy(truth.numpy() - 0.5 * fine)
    levels = distance.levels([without])
    assert levels[0] > 3 * max(levels[1:]), "half of the finest texture is gone"
    assert min(distance.levels([0.5 * truth + 0.25])) > 0.2, "half of the contrast is gone"


def test_the_pyramid_ends_at_about_16_pixels_of_the_smallest_photo():
    for side, levels in {256: 5, 255: 5, 64: 3, 32: 2, 31: 2, 30: 1, 7: 1}.items():
        photos = [picture(0, side, side + 20), picture(1, 2 * side, side)]
        assert len(SlicedWasserstein(photos, patches=4, directions=2).levels(photos)) == levels


def test_a_seed_fixes_it_and_another_hardly_matters():
    truth, image = picture(0, 128, 128), picture(1, 128, 128) * 0.9
    seeds = [SlicedWasserstein([truth], seed=seed)([image]) for seed in (0, 0, 1, 2, 3)]
    assert seeds[0] == seeds[1] and len(set(seeds)) == 4
    assert max(seeds) / min(seeds) < 1.1


def test_a_flat_truth_is_no_division_by_zero():
    truth = torch.full((3, 40, 40), 0.5)
    distance = SlicedWasserstein([truth])
    assert distance([truth]) == 0
    # Less than the rounding of 8 bits, 1/255/sqrt(12), counts as it does beside that.
    assert 0 < distance([truth + 1e-4]) < 0.1 and math.isfinite(distance([picture(0, 40, 40)]))


def test_what_is_not_shown_does_not_count():
    truth = picture().clone()
    truth[:, :20, :20] = 1
    beyond = truth.clone()
    beyond[:, :20, :20] = 3
    assert SlicedWasserstein([truth])([beyond]) == 0


def test_sets_that_cannot_be_compared_are_refused():
    distance = SlicedWasserstein([picture()])
    for images in ([], [picture(), picture()], [picture(width=61)]):
        with pytest.raises(ValueError, match=r"expected images of \[\(3, 48, 60\)\]"):
            distance(images)
    for truth in ([], [torch.zeros(3, 6, 40)], [torch.zeros(1, 3, 40, 40)]):
        with pytest.raises(ValueError, match="at least 7 pixels"):
            SlicedWasserstein(truth)
    with pytest.raises(ValueError, match="at least 1 patch"):
        SlicedWasserstein([picture()], directions=0)
