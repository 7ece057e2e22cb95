"""ST-LPIPS: the authors' own result, by their package, and what it is without that."""

import importlib
import math
import sys
import types

import pytest
import torch

from mrsampler.metrics import (
    STLPIPS,
    TRUNKS,
    SlicedWasserstein,
    psnr,
    shift_tolerant,
    st_lpips,
    st_lpips_missing,
)

PACKAGE = "stlpips_pytorch"
HEAVY = ("IPython", "torchsummary", "torchvision", "torchvision.models")


def picture(seed=0, height=48, width=60):
    """Smooth waves with edges and a little grain."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.linspace(0, 6, height)[:, None], torch.linspace(0, 8, width)
    waves = 0.5 + 0.2 * torch.sin(x + y + seed) + 0.15 * (torch.cos(3 * x - y) > 0)
    colours = torch.tensor([1.0, 0.8, 0.6])[:, None, None]
    return (waves * colours + 0.02 * torch.randn(3, height, width, generator=generator)).clamp(0, 1)


def noisy(image, level, seed=1):
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return (image + level * noise).clamp(0, 1)


def blurred(image, side=5):
    return torch.nn.functional.avg_pool2d(image[None], side, 1, side // 2, count_include_pad=False)[
        0
    ]


# --- the authors' own result


@pytest.fixture(scope="module")
def package():
    """Their package, given empty modules for what it imports and does not use here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in HEAVY:
            patch.setitem(sys.modules, name, types.ModuleType(name))
        sys.modules["torchvision"].models = sys.modules["torchvision.models"]
        sys.modules["torchsummary"].summary = sys.modules["IPython"].embed = None
        yield importlib.import_module("stlpips_pytorch.stlpips")
        for name in [name for name in sys.modules if name.startswith("stlpips_pytorch")]:
            del sys.modules[name]


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.parametrize("size", [(32, 32), (33, 50), (64, 47)])
def test_it_is_the_authors_own_result(package, trunk, size):
    # Both add up features of unit length, at most 2 apart, in float32: rounding of 6e-8 in each of
    # some thirty layers cancels over the pixels. 1e-6 is the fifth digit of the least distance here
    # but one, and a layer, a padding or a weight that is amiss is off by 1e-3 and more.
    theirs = package.LPIPS(net=trunk, variant="shift_tolerant", verbose=False)
    truth = picture(0, *size)
    for image in (noisy(truth, 0.05), blurred(truth), 0.6 * truth, picture(7, *size), truth):
        with torch.no_grad():
            expected = theirs(image[None], truth[None], normalize=True).item()
        assert st_lpips(image, truth, trunk) == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def forgotten(monkeypatch):
    """As if the weights had not been read yet."""
    shift_tolerant._trunk.cache_clear()
    yield monkeypatch
    shift_tolerant._trunk.cache_clear()


@pytest.mark.parametrize("trunk", TRUNKS)
def test_the_weights_blurs_are_the_binomial_ones_that_it_is_computed_with(trunk):
    weights = torch.load(shift_tolerant._weights(trunk), map_location="cpu", weights_only=True)
    kernels = [value for name, value in weights.items() if name.endswith("filt")]
    taps = torch.tensor([1.0, 2.0, 1.0])
    assert len(kernels) >= 3
    for kernel in kernels:
        assert torch.equal(kernel, (taps[:, None] * taps / 16).expand_as(kernel))


def test_the_package_is_never_imported(forgotten):
    for name in [name for name in sys.modules if name.partition(".")[0] in (*HEAVY, PACKAGE)]:
        forgotten.delitem(sys.modules, name)
    st_lpips(picture(), picture())
    assert not {*HEAVY, PACKAGE} & set(sys.modules)


# --- what it says


@pytest.mark.parametrize("trunk", TRUNKS)
def test_equal_pictures_are_at_no_distance_and_more_damage_is_farther(trunk):
    truth = picture()
    distance = STLPIPS(truth, trunk)
    assert distance(truth) == 0
    levels = [distance(noisy(truth, level)) for level in (0.02, 0.05, 0.1, 0.2)]
    assert levels == sorted(levels) and levels[0] > 0


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_shift_of_one_pixel_counts_less_than_blur_of_a_better_psnr(trunk):
    # What PSNR and people disagree on.
    wide = picture(0, 64, 65)
    truth, shifted = wide[..., :-1], wide[..., 1:]
    soft = blurred(truth, 3)
    assert psnr(soft, truth) > psnr(shifted, truth)
    assert st_lpips(shifted, truth, trunk) < 0.5 * st_lpips(soft, truth, trunk)


def test_it_measures_each_of_many_against_a_truth_as_it_would_alone():
    truth, images = picture(), [noisy(picture(), 0.1), blurred(picture())]
    distance = STLPIPS(truth)
    assert [distance(x) for x in images] == [st_lpips(x, truth) for x in images]


def test_what_is_not_shown_does_not_count():
    truth = picture().clone()
    truth[:, :20, :20] = 1
    beyond = truth.clone()
    beyond[:, :20, :20] = 3
    assert st_lpips(beyond, truth) == 0


def test_grain_buys_alexnet_and_not_both_trunks_and_the_patches():
    # A mean of all plausible photos, and the same with white noise of the size of what it lacks:
    # why no measure stands alone.
    truth = noisy(picture(0, 96, 96), 0.05, seed=5)
    mean = blurred(truth, 3)
    spread = (truth - mean).std().item()
    grainy = noisy(mean, spread)
    measures = [STLPIPS(truth, trunk) for trunk in TRUNKS]
    gains = [distance(grainy) / distance(mean) for distance in measures]
    assert gains[0] < gains[1], "AlexNet likes grain better than VGG does"
    assert psnr(grainy, truth) < psnr(mean, truth) - 2
    assert math.isfinite(SlicedWasserstein([truth])([grainy]))


# --- what is refused


def test_pictures_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 48, 60\) and \(3, 48, 61\)|\(3, 48, 61\)"):
        st_lpips(picture(), picture(width=61))
    for truth in (torch.zeros(1, 40, 40), torch.zeros(3, 31, 40), torch.zeros(1, 3, 40, 40)):
        with pytest.raises(ValueError, match="at least 32 pixels a side"):
            STLPIPS(truth)
    with pytest.raises(ValueError, match="unknown trunk 'squeeze'; choose from alex, vgg"):
        STLPIPS(picture(), "squeeze")


def test_a_missing_package_is_one_sentence(forgotten):
    forgotten.setattr(shift_tolerant, "find_spec", lambda name: None)
    assert st_lpips_missing().endswith(
        "(alex, vgg) in the package stlpips-pytorch: pip install stlpips-pytorch"
    )
    with pytest.raises(RuntimeError, match="pip install stlpips-pytorch"):
        st_lpips(picture(), picture())


def test_a_package_without_its_weights_says_which(forgotten, tmp_path):
    (tmp_path / "weights/vST0.0").mkdir(parents=True)
    (tmp_path / "weights/vST0.0/alex_shift_tolerant.pth").touch()
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    forgotten.setattr(shift_tolerant, "find_spec", lambda name: spec)
    assert "needs the weights (vgg)" in st_lpips_missing()


def test_it_is_installed_here():
    assert st_lpips_missing() is None
