"""The ten degradations: their contract, and the physics each one claims."""

import io
import math
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mrsampler.degradations import (
    REGISTRY,
    TASKS,
    blur,
    degrade,
    fields,
    haze,
    jpeg,
    low_light,
    noise,
    strokes,
)
from mrsampler.degradations.contact_sheet import contact_sheet
from mrsampler.degradations.light import from_linear, to_linear

RANDOM_TASKS = [task for task in TASKS if task != "jpeg-compressed"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photo(height=96, width=96):
    """Smooth shading, edges and texture; (3, height, width) in [0.05, 0.9]."""
    y = torch.linspace(0, 1, height)[:, None]
    x = torch.linspace(0, 1, width)
    shade = 0.45 + 0.2 * torch.sin(5 * x + 3 * y) + 0.1 * torch.cos(9 * y)
    shade = shade + 0.15 * ((x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06)
    texture = torch.rand(3, height, width, generator=seeded(99)) - 0.5
    colour = torch.tensor([0.08, 0.0, -0.1])[:, None, None]
    return (shade + colour + 0.12 * texture).clamp(0.05, 0.9)


def psnr(a, b):
    return -10 * math.log10((a - b).square().mean().item() + 1e-12)


# --- the contract -----------------------------------------------------------------------------


def test_the_ten_tasks_keep_their_published_order():
    assert TASKS == (
        "motion-blurry",
        "hazy",
        "jpeg-compressed",
        "low-light",
        "noisy",
        "raindrop",
        "rainy",
        "shadowed",
        "snowy",
        "uncompleted",
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("severity", [0, 0.5, 1])
@pytest.mark.parametrize("size", [(32, 32), (33, 95), (121, 64), (96, 96)])
def test_shape_dtype_and_range_are_kept_and_the_input_is_untouched(task, severity, size):
    image = photo(*size)
    before = image.clone()
    damaged = degrade(image, task, severity, seeded())
    assert damaged.shape == image.shape and damaged.dtype == image.dtype
    assert damaged.isfinite().all() and damaged.min() >= 0 and damaged.max() <= 1
    assert torch.equal(image, before)
    damaged.zero_()
    assert torch.equal(image, before)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_pictures_stay_in_range(task, value):
    damaged = degrade(torch.full((3, 40, 50), value), task, 1.0, seeded())
    assert damaged.isfinite().all() and damaged.min() >= 0 and damaged.max() <= 1


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_floating_point_type_comes_back_as_itself(task, dtype):
    damaged = degrade(photo(40, 40).to(dtype), task, 0.5, seeded())
    assert damaged.dtype == dtype and damaged.min() >= 0 and damaged.max() <= 1


@pytest.mark.parametrize("task", TASKS)
def test_the_overshoot_of_a_resize_is_clipped(task):
    image = photo(40, 40)
    image[:, :4], image[:, -4:] = -5e-4, 1 + 5e-4
    expected = degrade(image.clamp(0, 1), task, 0.5, seeded())
    assert torch.equal(degrade(image, task, 0.5, seeded()), expected)


def test_a_view_and_a_picture_with_gradient_are_accepted():
    view = photo(64, 80).permute(0, 2, 1)[:, ::2]
    view.requires_grad_()
    damaged = degrade(view, "noisy", 0.5, seeded())
    assert not damaged.requires_grad
    assert torch.equal(damaged, degrade(view.detach().contiguous(), "noisy", 0.5, seeded()))


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_bits(task):
    image = photo()
    first, second = (degrade(image, task, 0.7, seeded(5)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("task", RANDOM_TASKS)
def test_different_seeds_differ_and_so_do_calls_without_a_generator(task):
    image = photo()
    assert not torch.equal(
        degrade(image, task, 0.7, seeded(1)), degrade(image, task, 0.7, seeded(2))
    )
    assert not torch.equal(degrade(image, task, 0.7), degrade(image, task, 0.7))


@pytest.mark.parametrize("task", TASKS)
def test_global_random_state_is_neither_read_nor_changed(task):
    image = photo(48, 48)
    expected = degrade(image, task, 0.6, seeded())
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    assert torch.equal(degrade(image, task, 0.6, seeded()), expected)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


@pytest.mark.parametrize("task", TASKS)
def test_more_severity_is_a_lower_psnr(task):
    image = photo(128, 128)
    means = [
        np.mean([psnr(degrade(image, task, severity, seeded(s)), image) for s in range(4)])
        for severity in (0, 0.15, 0.35, 0.6, 0.8, 1)
    ]
    assert all(before > after for before, after in pairwise(means)), means
    assert means[0] > 30


@pytest.mark.parametrize("task", RANDOM_TASKS)
def test_a_small_step_of_severity_is_a_small_change(task):
    image = photo(128, 128)
    sharp = task in ("raindrop", "uncompleted")  # there, hard edges move
    for severity in (0.1, 0.4, 0.8):
        change = degrade(image, task, severity + 0.002, seeded(3))
        change = (change - degrade(image, task, severity, seeded(3))).abs()
        assert (change.mean() if sharp else change.max()) < 0.05


@pytest.mark.parametrize("task", ["hazy", "raindrop", "rainy", "shadowed", "snowy", "uncompleted"])
def test_a_photo_is_damaged_alike_at_every_resolution(task):
    large = torch.full((3, 256, 320), 0.4) + 0.2 * torch.linspace(0, 1, 320)
    small = F.avg_pool2d(large, 2)
    coarse = degrade(small, task, 0.8, seeded(4)) - small
    fine = F.avg_pool2d(degrade(large, task, 0.8, seeded(4)) - large, 2)
    correlation = torch.corrcoef(torch.stack([coarse.flatten(), fine.flatten()]))[0, 1]
    assert correlation > 0.8


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((np.zeros((3, 40, 40)), "noisy", 0.5), TypeError, "must be a torch.Tensor, not ndarray"),
        ((photo(), "foggy", 0.5), ValueError, "Unknown task 'foggy'; the tasks are motion-blurry"),
        ((photo(), "noisy", 1.01), ValueError, r"severity must lie in \[0, 1\], not 1.01"),
        ((photo(), "noisy", -0.1), ValueError, r"severity must lie in \[0, 1\], not -0.1"),
        ((photo(), "noisy", math.nan), ValueError, r"severity must lie in \[0, 1\], not nan"),
        ((photo(), "noisy", "high"), TypeError, "severity must be a number, not str"),
        ((photo()[0], "noisy", 0.5), ValueError, r"shape \(3, H, W\), not \(96, 96\)"),
        ((photo()[:1], "noisy", 0.5), ValueError, r"shape \(3, H, W\), not \(1, 96, 96\)"),
        ((photo()[None], "noisy", 0.5), ValueError, r"shape \(3, H, W\), not \(1, 3, 96, 96\)"),
        ((photo(31, 40), "noisy", 0.5), ValueError, "at least 32 x 32 pixels, not 31 x 40"),
        ((photo().mul(255).byte(), "noisy", 0.5), ValueError, "floating point.*not torch.uint8"),
        ((photo() * math.nan, "noisy", 0.5), ValueError, "finite everywhere"),
        ((photo() / 0, "noisy", 0.5), ValueError, "finite everywhere"),
        ((photo() * 255, "noisy", 0.5), ValueError, r"lie in \[0, 1\], but it spans"),
        ((photo(), "noisy", 0.5, 7), TypeError, "must be a torch.Generator, not int"),
    ],
)
def test_bad_input_is_one_exact_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        degrade(*arguments)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


# --- the physics ------------------------------------------------------------------------------


def test_noise_is_white_with_the_stated_sigma():
    image = torch.full((3, 128, 128), 0.5)
    residual = degrade(image, "noisy", 0.5, seeded()) - image
    sigma = 0.5 * noise.MAX_SIGMA
    assert sigma == pytest.approx(25 / 255)
    # five standard errors of a standard deviation from n samples: 5 / sqrt(2 n)
    assert residual.std().item() == pytest.approx(sigma, rel=5 / math.sqrt(2 * residual.numel()))
    assert abs(residual.mean().item()) < 5 * sigma / math.sqrt(residual.numel())
    neighbours = torch.corrcoef(
        torch.stack([residual[..., 1:].flatten(), residual[..., :-1].flatten()])
    )[0, 1]
    assert abs(neighbours) < 5 / math.sqrt(residual.numel())


@pytest.mark.parametrize("spread", [0, 0.4, 0.8])
def test_a_coarse_grain_is_no_weaker(spread):
    grain = fields.coarse(torch.randn(3, 256, 256, generator=seeded()), spread)
    # 196,608 numbers: 4 standard errors of their deviation are 0.0064, and twice that where each
    # is nearly its neighbour's (at 0.8 pixels four are about one).
    assert abs(grain.std() - 1) < 0.013
    beside = (grain[..., 1:] * grain[..., :-1]).mean()
    # Of the squared and normed Gaussian; at 0.4 pixels the next weight is e^-3.125 of the first.
    assert beside == pytest.approx({0: 0.0, 0.4: 0.0875, 0.8: 0.6767}[spread], abs=0.01)


def test_grain_grows_with_the_light_and_is_less_in_colour():
    image = torch.full((3, 128, 256), 0.2)
    image[..., 128:] = 0.8
    dark, light, chroma, luma = [], [], [], []
    for seed in range(16):
        off = noise.grain(image, 0.4, seeded(seed)) - image
        dark.append(off[..., 8:120].std().item())
        light.append(off[..., 136:248].std().item())
        grey = off.mean(0, keepdim=True)
        luma.append(3**0.5 * grey.std().item())  # of white noise 1 to 1 with each colour's
        chroma.append((1.5**0.5 * (off - grey).std()).item())
    # From 1 to 2 with the share of light in it, which is uniform; clipping takes a little.
    assert 1.2 < np.mean(light) / np.mean(dark) < 1.8
    # A file halves the colours' sides, and half of the grain, on average, is all colours'.
    assert np.mean(chroma) < 0.5 * np.mean(luma)


def test_grain_is_more_of_the_same_at_a_higher_severity():
    image = photo()
    weak, strong = (noise.grain(image, s, seeded()) for s in (0.1, 0.4))
    assert psnr(image, strong) < psnr(image, weak) < 40
    assert torch.equal(weak, noise.grain(image, 0.1, seeded()))
    assert strong.min() >= 0 and strong.max() <= 1


@pytest.mark.parametrize("severity", [0, 0.3, 1])
def test_jpeg_is_a_round_trip_through_the_encoder(severity):
    image = photo(50, 70)
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=jpeg.quality(severity), subsampling=2)
    expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
    assert torch.equal(degrade(image, "jpeg-compressed", severity, seeded()), expected)


def test_jpeg_quality_falls_from_95_to_10():
    qualities = [jpeg.quality(k / 100) for k in range(101)]
    assert qualities[0] == 95 and qualities[-1] == 10
    assert qualities == sorted(qualities, reverse=True)


@pytest.mark.parametrize("length", [0, 0.5, 7, 40])
def test_blur_kernels_are_non_negative_centred_and_sum_to_one(length):
    for seed in range(10):
        psf = blur.kernel(length, seeded(seed))
        assert psf.min() >= 0 and psf.sum().item() == pytest.approx(1, abs=1e-5)
        offsets = torch.arange(len(psf)) - len(psf) // 2
        # a bilinear deposit keeps the centre of mass, which is the mean of the path
        assert abs((psf.sum(1) * offsets).sum()) < 1e-3
        assert abs((psf.sum(0) * offsets).sum()) < 1e-3
        assert len(psf) // 2 <= math.ceil(length)


def test_blur_conserves_light():
    image = torch.zeros(3, 96, 96)
    image[:, 40:56, 44:52] = photo(16, 8)
    blurred = degrade(image, "motion-blurry", 1.0, seeded())
    assert psnr(blurred, image) < 35
    sums = to_linear(blurred).sum((1, 2)), to_linear(image).sum((1, 2))
    torch.testing.assert_close(*sums, rtol=1e-3, atol=0)
    flat = torch.full((3, 64, 90), 0.3)
    torch.testing.assert_close(degrade(flat, "motion-blurry", 1.0, seeded()), flat)


def test_blur_is_the_convolution_with_its_kernel():
    image, severity = photo(70, 64), 0.9
    psf = blur.kernel(blur.MAX_LENGTH * severity**1.5 * 64 / 256, seeded(2))
    radius = len(psf) // 2
    padded = F.pad(to_linear(image)[:, None], (radius,) * 4, mode="reflect")
    expected = from_linear(F.conv2d(padded, psf.flip(0, 1)[None, None])[:, 0])
    actual = degrade(image, "motion-blurry", severity, seeded(2))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("severity", [0.3, 1])
def test_haze_lies_between_the_image_and_the_airlight(severity):
    image = photo(64, 80)
    air = haze.airlight(64, 80, seeded(3))
    assert air.min() > 0.75 and (air[:, 0] >= air[:, -1]).all()
    hazy = degrade(image, "hazy", severity, seeded(3))
    assert (hazy >= torch.minimum(image, air) - 1e-4).all()
    assert (hazy <= torch.maximum(image, air) + 1e-4).all()
    assert hazy.std() < image.std()


def test_haze_is_thicker_towards_the_top():
    image = torch.full((3, 96, 96), 0.2)
    rows = torch.stack([degrade(image, "hazy", 0.8, seeded(s)) for s in range(12)]).mean((0, 1, 3))
    assert rows[:20].mean() > rows[-20:].mean() + 0.1


def test_low_light_noise_is_photons_plus_amplifier():
    # So dark that the amplifier's part, a tenth, stands out; not so dark that much is cut off at 0.
    image = torch.full((3, 512, 512), 0.9)
    frame = to_linear(degrade(image, "low-light", 0.7, seeded()))
    for channel in frame:
        signal = channel.mean().item()
        assert 0 < signal < 0.2 * 0.9**2.2
        expected = signal / low_light.FULL_WELL + (low_light.READ_NOISE / low_light.FULL_WELL) ** 2
        # five standard errors of a variance from n samples: 5 sqrt(2 / n)
        tolerance = 5 * math.sqrt(2 / channel.numel())
        assert channel.var().item() == pytest.approx(expected, rel=tolerance)


def nights(image, count=24):
    return [low_light.night(image, 0.7, seeded(seed)) for seed in range(count)]


def test_a_night_has_lamps_in_some_photos_that_hardly_lose_any_light():
    image = torch.full((3, 96, 96), 0.4)
    image[:, 40:56, 40:56] = 0.9  # 2.8 % of the photo
    kept, around = [], []
    for night in nights(image):
        kept.append(night[:, 42:54, 42:54].mean().item() / 0.9)
        around.append(night[:, :16].mean().item() / 0.4)
    # Half of the photos have any, and of these a few a strong one.
    assert max(kept) > 0.7 and sum(share > 0.4 for share in kept) >= 4
    assert np.median(kept) < 0.4 and np.median(around) < 0.3


def test_a_night_is_lit_unevenly_where_low_light_is_as_dark_everywhere():
    image = torch.full((3, 96, 96), 0.7)

    def spread(photo):  # between the lightest and the darkest of nine parts
        parts = to_linear(photo).mean(0).unfold(0, 32, 32).unfold(1, 32, 32).mean((2, 3))
        return (parts.max() / parts.min().clamp_min(1e-4)).item()

    assert np.median([spread(night) for night in nights(image)]) > 1.5
    assert spread(degrade(image, "low-light", 0.7, seeded())) < 1.1


def test_a_nights_light_is_mostly_warm():
    warmth = []
    for night in nights(torch.full((3, 96, 96), 0.7)):
        red, _, blue = to_linear(night).mean((1, 2))
        warmth.append((red / blue).log2().item())
    assert np.mean(warmth) > 0.1
    assert min(warmth) < 0 < max(warmth)


def test_a_night_of_severity_0_is_the_photo_but_for_the_files_losses():
    image = torch.linspace(0.1, 0.9, 96 * 96).view(1, 96, 96).expand(3, -1, -1)
    # Which cost a ramp next to nothing.
    assert min(psnr(low_light.night(image, 0.0, seeded(k)), image) for k in range(8)) > 35


def test_a_night_becomes_a_jpeg_file_of_many_qualities(monkeypatch):
    files = []

    def spied(frame, quality):
        files.append((quality, jpeg.through_file(frame, quality)))
        return files[-1][1]

    monkeypatch.setattr(low_light, "through_file", spied)
    made = nights(photo(48, 48))
    assert all(torch.equal(night, file) for night, (_, file) in zip(made, files, strict=True))
    qualities = [quality for quality, _ in files]
    assert 45 <= min(qualities) < 60 < 85 < max(qualities) <= 97


def test_a_nights_contrast_and_grain_differ_from_photo_to_photo(monkeypatch):
    monkeypatch.setattr(low_light, "through_file", lambda frame, quality: frame)
    image = torch.full((3, 128, 128), 0.3)
    image[:, :, 64:] = 0.7
    image = image[:, :, torch.arange(128).view(2, 64).T.flatten()]  # a column of each in turn
    ratios, neighbours = [], []
    for night in nights(image):
        green = to_linear(night)[1]
        ratios.append((green[:, 1::2].median() / green[:, ::2].median()).item())
        dark = night[1, :, ::2]
        grain = dark[1:-1] - (dark[2:] + dark[:-2]) / 2  # no pool of light is that small
        beside = torch.stack([grain[1:].flatten(), grain[:-1].flatten()])
        neighbours.append(torch.corrcoef(beside)[0, 1].item())
    # Light alone keeps the ratio of the two; grain, clipped at black, raises a dark median.
    kept = (to_linear(torch.tensor(0.7)) / to_linear(torch.tensor(0.3))).item()
    assert sum(ratio > 1.1 * kept for ratio in ratios) >= 6
    assert min(ratios) > 0.85 * kept
    # So filtered, white grain is as its neighbour by -2/3.
    assert min(neighbours) < -0.6 and max(neighbours) > -0.2


def test_a_nights_sensor_differs_from_photo_to_photo(monkeypatch):
    monkeypatch.setattr(low_light, "through_file", lambda frame, quality: frame)
    monkeypatch.setattr(low_light, "coarse", lambda grain, spread: grain)
    deviations = []
    for night in nights(torch.full((3, 96, 96), 0.6)):
        light = to_linear(night)[1]
        grain = light[1:-1] - (light[2:] + light[:-2]) / 2
        deviations.append((grain.std() / light.mean().sqrt()).item())
    # Of photons as 1 / sqrt(the electrons at white), 250 to 3,000: by up to 3.5.
    assert max(deviations) > 2.5 * min(deviations)


def test_a_night_asks_quantile_for_no_more_than_it_takes(monkeypatch):
    assert low_light.LUMA_SAMPLES < 2**24, "torch's limit"
    sizes, quantile = [], torch.Tensor.quantile

    def spied(self, *args):
        sizes.append(self.numel())
        return quantile(self, *args)

    monkeypatch.setattr(torch.Tensor, "quantile", spied)
    monkeypatch.setattr(low_light, "LUMA_SAMPLES", 1000)
    low_light.night(torch.full((3, 40, 50), 0.5), 0.5, seeded())
    assert sizes == [667], "one of three of the 2,000 pixels"


def test_low_light_is_darker_and_nearly_black_at_the_end():
    image = photo()
    means = [degrade(image, "low-light", s, seeded()).mean().item() for s in (0, 0.25, 0.5, 1)]
    assert means == sorted(means, reverse=True)
    assert means[-1] < 0.12


@pytest.mark.parametrize("seed", range(12))
def test_shadow_never_brightens_is_bluish_and_leaves_some_sun(seed):
    image = torch.full((3, 96, 120), 0.8)
    shadowed = degrade(image, "shadowed", 1.0, seeded(seed))
    assert (shadowed <= image + 1e-5).all()
    loss = (image - shadowed).mean(0)
    dark, lit = loss > 0.3, loss < 0.05
    assert dark.any() and lit.any()
    red, _, blue = shadowed[:, dark].mean(1)
    assert blue > red + 0.02


@pytest.mark.parametrize("task", ["rainy", "snowy"])
@pytest.mark.parametrize("value", [0.1, 0.5, 1.0])
def test_rain_and_snow_never_darken(task, value):
    image = torch.full((3, 80, 80), value)
    damaged = degrade(image, task, 1.0, seeded())
    assert (damaged >= image - 1e-6).all()
    assert value == 1 or damaged.mean() > image.mean() + 0.02


def test_rain_falls_in_streaks():
    black = torch.zeros(3, 160, 160)
    across = down = 0.0
    for seed in range(6):
        rainy = degrade(black, "rainy", 0.5, seeded(seed))
        across += rainy.diff(dim=2).abs().mean().item()
        down += rainy.diff(dim=1).abs().mean().item()
    # the wind is at most 0.6 rad off the vertical, where the ratio is tan 0.6
    assert down < math.tan(0.6) * across


def test_raindrops_show_the_scene_upside_down_and_leave_the_rest_alone():
    image = torch.linspace(0.1, 0.9, 256)[:, None].expand(3, 256, 256)
    damaged = degrade(image, "raindrop", 1.0, seeded())
    wet = (damaged - image).abs().amax(0) > 0.02
    assert 0.05 < wet.float().mean() < 0.5
    assert ((damaged - image).abs().amax(0) < 1e-6).float().mean() > 0.5
    inside = wet[1:] & wet[:-1]
    assert damaged.mean(0).diff(dim=0)[inside].median() < 0


@pytest.mark.parametrize("size", [(128, 128), (32, 130), (77, 101)])
def test_strokes_are_white_and_cover_over_a_third(size):
    image = torch.full((3, *size), 0.25)
    for seed in range(8):
        damaged = degrade(image, "uncompleted", 1.0, seeded(seed))
        covered = ((damaged - image) / (1 - image)).mean()
        assert 1 / 3 < covered < 0.5
        changed = damaged != image
        white = damaged == 1
        # the rest is the antialiased outline
        assert white.sum() > (0.7 if min(size) >= 64 else 0.5) * changed.sum()
        assert (damaged >= image).all()


def test_more_severity_paints_on_where_less_stopped():
    some = strokes.mask(90, 110, 0.4, seeded())
    more = strokes.mask(90, 110, 0.8, seeded())
    assert (more >= some).all() and more.sum() > 1.5 * some.sum()


# --- the contact sheet ------------------------------------------------------------------------


def test_contact_sheet_has_a_row_a_task_and_a_column_a_severity():
    picture = Image.fromarray((photo(60, 90) * 255).byte().permute(1, 2, 0).numpy())
    sheet = contact_sheet([picture, picture.convert("L")], severities=(0.2, 1.0), tile=48)
    assert sheet.mode == "RGB" and sheet.getpixel((0, 0)) == (255, 255, 255)
    assert sheet.width > 4 * 48 and sheet.height > 10 * 48
    again = contact_sheet([picture, picture.convert("L")], severities=(0.2, 1.0), tile=48)
    assert sheet.tobytes() == again.tobytes()


def test_contact_sheet_needs_photos():
    with pytest.raises(ValueError, match="at least one photo"):
        contact_sheet([])


def test_contact_sheet_of_one_task_has_a_row_a_form():
    picture = Image.fromarray((photo(60, 90) * 255).byte().permute(1, 2, 0).numpy())
    usual, forms = (
        contact_sheet([picture], (0.5,), tile=48, tasks=["noisy"], forms=forms)
        for forms in (False, True)
    )
    rows = len(REGISTRY["noisy"].forms)
    assert forms.height - usual.height == (rows - 1) * (48 + 8)
