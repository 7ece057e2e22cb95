"""Advice: silent where the task fits, a sentence where it plainly does not."""

import numpy as np
import pytest
import torch

from mrsampler import TASKS, degrade
from mrsampler.advice import advice, noise_sigma


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photo(seed, size=192):
    """Sky, hills, a house and grass: gradients, edges, shapes and some texture; no pure white."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    sky = np.stack([0.35 + 0.4 * y, 0.5 + 0.35 * y, 0.85 - 0.1 * y], -1)
    ridge = 0.5 + 0.1 * np.sin(5 * x + seed) + 0.04 * np.sin(17 * x)
    coarse = random.random((size // 4, size // 4, 1)).repeat(4, 0).repeat(4, 1)
    grass = np.array([0.25, 0.42, 0.12]) * (0.5 + 0.9 * coarse)
    scene = np.where((y > ridge)[..., None], grass, sky)
    left = 0.2 + 0.1 * (seed % 3)
    house = (abs(x - left) < 0.12) & (abs(y - 0.62) < 0.14)
    scene = np.where(house[..., None], np.array([0.72, 0.3, 0.22]) * (0.8 + 0.3 * coarse), scene)
    window = (abs(x - left) < 0.04) & (abs(y - 0.6) < 0.05)
    scene = np.where(window[..., None], np.array([0.06, 0.07, 0.1]), scene)
    scene = np.where(
        (((x - 0.8) ** 2 + (y - 0.2) ** 2) < 0.005)[..., None], [0.9, 0.85, 0.5], scene
    )
    scene = scene + random.normal(0, 0.006, scene.shape)
    return torch.from_numpy(scene).permute(2, 0, 1).float().clamp(0.02, 0.95)


PHOTOS = [photo(0), photo(1)]


@pytest.mark.parametrize("severity", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("task", TASKS)
def test_it_is_silent_where_the_task_fits(task, severity):
    for seed, clean in enumerate(PHOTOS):
        damaged = degrade(clean, task, severity, seeded(seed))
        assert advice(damaged, task) is None
        # The estimate of a network that does its work.
        assert advice(damaged, task, clean[None]) is None


def test_it_is_silent_at_a_little_noise_or_a_little_haze():
    noisy = PHOTOS[0] + 6 / 255 * torch.randn(3, 192, 192, generator=seeded(1))
    misty = 0.65 * PHOTOS[0] + 0.35 * 0.85
    for task in ("jpeg-compressed", "shadowed", "motion-blurry", "raindrop"):
        assert advice(noisy.clamp(0, 1), task) is None
        assert advice(misty, task) is None


def test_a_very_dark_photo_is_for_low_light():
    dark = PHOTOS[0] * 0.12
    for task in TASKS:
        said = advice(dark, task)
        if task == "low-light":
            assert said is None
        else:
            assert "very dark" in said and "low-light" in said


def test_a_bright_photo_is_not_for_low_light():
    assert "not dark" in advice((PHOTOS[0] * 1.2).clamp(0, 0.95), "low-light")


def strokes(clean):
    painted = clean.clone()
    painted[:, 40:56, 20:170] = 1.0
    painted[:, 100:116, 10:150] = 1.0
    return painted


def test_white_strokes_are_for_uncompleted():
    painted = strokes(PHOTOS[1])
    assert advice(painted, "uncompleted") is None
    for task in ("noisy", "jpeg-compressed", "shadowed"):
        said = advice(painted, task)
        assert "pure white" in said and "uncompleted" in said


def test_a_photo_without_white_strokes_is_not_for_uncompleted():
    assert "no pure white strokes" in advice(PHOTOS[0], "uncompleted")


def test_a_glow_to_white_is_not_taken_for_strokes():
    y, x = np.mgrid[:192, :192] / 192
    glow = torch.from_numpy(1.6 - 3 * np.hypot(x - 0.5, y - 0.5)).float()
    burnt = torch.maximum(PHOTOS[0], glow.clamp(0, 1).expand(3, -1, -1))
    assert (burnt.amin(0) > 0.996).float().mean() > 0.05
    assert advice(burnt, "jpeg-compressed") is None


def test_a_noisy_photo_is_for_noisy():
    noisy = (PHOTOS[0] + 25 / 255 * torch.randn(3, 192, 192, generator=seeded(1))).clamp(0, 1)
    assert advice(noisy, "noisy") is None
    for task in ("hazy", "jpeg-compressed", "motion-blurry", "shadowed"):
        said = advice(noisy, task)
        assert "noisy" in said and "sigma about" in said


def test_a_clean_photo_is_not_for_noisy():
    smooth = torch.nn.functional.avg_pool2d(PHOTOS[0], 3, 1, 1)
    assert "hardly any noise" in advice(smooth, "noisy")


def test_a_hazy_photo_is_for_hazy():
    hazy = 0.3 * PHOTOS[0] + 0.7 * 0.85
    assert advice(hazy, "hazy") is None
    for task in ("jpeg-compressed", "shadowed", "motion-blurry"):
        assert "looks hazy" in advice(hazy, task)


def test_a_network_with_nothing_to_do_says_so():
    damaged = degrade(PHOTOS[0], "jpeg-compressed", 0.5, seeded())
    said = advice(damaged, "jpeg-compressed", damaged[None] + 1 / 255)
    assert "hardly changes" in said and "jpeg-compressed" in said
    assert advice(damaged, "jpeg-compressed", damaged[None] + 0.05) is None


@pytest.mark.parametrize("sigma", [5, 15, 25, 50])
def test_the_noise_is_estimated_to_a_tenth_on_a_smooth_picture(sigma):
    y, x = torch.linspace(0, 1, 200)[:, None], torch.linspace(0, 1, 220)
    noise = torch.randn(200, 220, generator=seeded(2)) * sigma / 255
    assert noise_sigma(0.3 + 0.2 * x + 0.2 * y + noise) == pytest.approx(sigma / 255, rel=0.1)


def test_the_photo_is_left_alone_and_any_size_is_taken():
    for shape in ((3, 32, 32), (3, 33, 500)):
        image = torch.rand(shape, generator=seeded())
        before = image.clone()
        for task in TASKS:
            said = advice(image, task)
            assert said is None or said.strip().endswith((".", "?"))
        assert torch.equal(image, before)
