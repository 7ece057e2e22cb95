"""What water, snow, shadows and strokes do to a photo, in every form."""

import pytest
import torch

from mrsampler.degradations import REGISTRY, fields, rainy, shadow, snow, strokes

COVERING = ("raindrop", "rainy", "shadowed", "snowy", "uncompleted")


def forms(*tasks):
    return [(task, form) for task in tasks for form in REGISTRY[task].forms]


@pytest.fixture(autouse=True)
def no_file(monkeypatch):
    """No JPEG file after the damage, whose losses lie everywhere."""
    for module in (rainy, snow, strokes):
        monkeypatch.setattr(module, "through_file", lambda image, quality: image)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photo(height=96, width=120):
    """Chance at two scales, no two pixels alike; (3, height, width) in [0.1, 0.9]."""
    large = torch.rand(1, 3, 4, 5, generator=seeded(1))
    large = torch.nn.functional.interpolate(large, (height, width), mode="bilinear")[0]
    return 0.1 + 0.8 * (0.9 * large + 0.1 * torch.rand(3, height, width, generator=seeded(2)))


def damage(task, form, image, severity, seed):
    return REGISTRY[task].forms[form].apply(image.clone(), severity, seeded(seed))


@pytest.mark.parametrize("task", COVERING)
def test_one_form_is_held_out_and_several_are_not(task):
    held_out = [form.held_out for form in REGISTRY[task].forms.values()]
    assert sum(held_out) == 1 and len(held_out) >= 7


@pytest.mark.parametrize(("task", "form"), forms(*COVERING))
def test_severity_0_is_next_to_nothing(task, form):
    image = photo()
    changes = [(damage(task, form, image, 0.0, k) - image).abs().mean() for k in range(6)]
    # A pen puts one line or word at least: 0.4 % of the photo, or as much as one word is.
    limit = 16 if form == "pen" else 1
    assert sum(changes) / 6 < limit / 255


@pytest.mark.parametrize(("task", "form"), forms(*COVERING))
def test_the_damage_is_about_as_strong_at_twice_the_size(task, form):
    def strength(image):
        return sum((damage(task, form, image, 0.7, k) - image).abs().mean() for k in range(12))

    small = photo(128, 128)
    large = torch.nn.functional.interpolate(small[None], scale_factor=2, mode="bilinear")[0]
    # Lengths are shares of the short side. Below a pixel they are not: a thing as thin as that is
    # as wide as a pixel, and fainter, or not there.
    assert 0.5 < strength(large) / strength(small) < 2


@pytest.mark.parametrize(("task", "form"), forms("rainy", "snowy"))
@pytest.mark.parametrize("seed", range(3))
def test_rain_and_snow_only_brighten(task, form, seed):
    image = photo()
    damaged = damage(task, form, image, 1.0, seed)
    if form == "grey":  # these alone are darker than a bright sky
        bright = torch.full_like(image, 0.95)
        assert (damage(task, form, bright, 1.0, seed) <= bright + 1e-6).all()
        image = torch.full_like(image, 0.2)
        damaged = damage(task, form, image, 1.0, seed)
    assert (damaged >= image - 1e-6).all() and damaged.mean() > image.mean()


@pytest.mark.parametrize(("task", "form"), forms("shadowed"))
@pytest.mark.parametrize("seed", range(3))
def test_a_shadow_only_darkens(task, form, seed):
    image = photo()
    damaged = damage(task, form, image, 1.0, seed)
    assert (damaged <= image + 1e-5).all()


def test_shadows_are_lit_blue_to_warm():
    red, _, blue = torch.stack([shadow.any_light(seeded(k)) for k in range(40)]).T
    warmer = blue - red  # more stops of blue lost than of red
    assert warmer.max() > 0.2 and warmer.min() < -0.4


@pytest.mark.parametrize(("task", "form"), forms("uncompleted"))
def test_strokes_leave_the_other_pixels_as_they_are_and_paint_on_where_less_stopped(task, form):
    image = photo()
    for seed in range(4):
        some, more = (
            (damage(task, form, image, severity, seed) != image).any(0) for severity in (0.4, 0.8)
        )
        assert (more | ~some).all()
        assert (~more).float().mean() > 0.2


@pytest.mark.parametrize("seed", range(4))
def test_hard_edged_strokes_are_of_one_colour_of_8_bits(seed):
    image = photo()
    damaged = damage("uncompleted", "hard-edged", image, 0.6, seed)
    colours = damaged[:, (damaged != image).any(0)].unique(dim=1)
    assert colours.shape[1] == 1
    torch.testing.assert_close((255 * colours).round() / 255, colours, rtol=0, atol=1e-7)


@pytest.mark.parametrize("form", ["any-size", "runnels", "height-field"])
def test_drops_in_focus_leave_the_dry_pane_as_it_is(form):
    image = photo()
    dry = [(damage("raindrop", form, image, 0.6, k) == image).all(0).float() for k in range(6)]
    assert sum(share.mean() for share in dry) / 6 > 0.4


def test_a_disc_and_a_segment_sum_to_1_and_are_symmetric():
    for kernel in (
        fields.disc(0.5),
        fields.disc(4.3),
        fields.segment(1, 0),
        fields.segment(9, 0.7),
    ):
        assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
        # Sums of floats in two orders differ by an ulp or so.
        torch.testing.assert_close(kernel, kernel.flip(0, 1), rtol=1e-6, atol=1e-7)
    upright = fields.segment(9, 0.0)
    assert (upright > 0).any(1).sum() > 3 * (upright > 0).any(0).sum()


def test_a_convolution_keeps_what_is_even_and_turns_a_point_into_the_kernel():
    kernel = fields.segment(5, 0.3)
    half = len(kernel) // 2
    point = torch.zeros(1, 21, 23)
    point[0, 10, 11] = 1
    expected = torch.zeros(21, 23)
    expected[10 - half : 11 + half, 11 - half : 12 + half] = kernel
    # An FFT of 31 x 33 values in single precision: log2(1023) roundings of 6e-8.
    torch.testing.assert_close(fields.convolve(point, kernel)[0], expected, rtol=0, atol=1e-6)
    even = torch.full((2, 21, 23), 0.4)
    torch.testing.assert_close(fields.convolve(even, kernel), even, rtol=0, atol=1e-6)
