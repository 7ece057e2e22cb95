"""A blur that is the same all over a photo is read from it, and undone where it is known."""

import copy

import pytest
import torch

import mrsampler as mrs
from mrsampler import degrade, photo
from mrsampler.degradations import blur
from mrsampler.examples import examples
from mrsampler.metrics import psnr
from mrsampler.networks.blind_deconvolution import BlindDeconvolution


def sharp_photos(count=4, side=192):
    """Clean photos (N, 3, side, side)."""
    paths = [example.path for example in examples() if not example.damaged]
    paths += [example.path for example in examples() if example.task == "motion-blurry"]
    crops = [photo.read(path).rgb[:, :side, :side] for path in paths]
    return torch.stack([crop for crop in crops if crop.shape[1:] == (side, side)][:count])


def blurred(x0, monkeypatch, severity=0.6, seed=0):
    """x0 blurred, in 8 bits, and the kernels that did it, in the middle of 33 x 33."""
    kernels, made = [], blur.kernel

    def kept(length, generator):
        psf = made(length, generator)
        rim = 16 - len(psf) // 2
        kernels.append(torch.nn.functional.pad(psf, (rim,) * 4))
        return psf

    monkeypatch.setattr(blur, "kernel", kept)
    generator = torch.Generator().manual_seed(seed)
    mu = torch.stack([degrade(x, "motion-blurry", severity, generator) for x in x0])
    return (mu * 255).round() / 255, torch.stack(kernels)


def off(kernel, truth):
    """The share of the true kernel's power that a kernel is off by, of each."""
    return (kernel - truth).square().sum((1, 2)) / truth.square().sum((1, 2))


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return BlindDeconvolution().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def bundled():
    return mrs.load("bundled", "cpu")


@pytest.fixture(scope="module")
def trained(bundled):
    return bundled.checkpoint.denoiser.network.deconvolution


def test_the_kernel_between_a_photo_and_its_blurred_self_is_the_one_that_blurred_it(
    untrained, monkeypatch
):
    x0 = sharp_photos()
    mu, truth = blurred(x0, monkeypatch)
    # What 8 bits and the photo's borders leave of it.
    assert off(untrained.true_kernel(x0, mu), truth).max() < 0.03


def test_a_known_blur_is_undone(untrained, monkeypatch):
    x0 = sharp_photos()
    mu, truth = blurred(x0, monkeypatch)
    undone = untrained.undone(mu, truth)
    assert all(psnr(a, x) > psnr(b, x) + 3 for a, b, x in zip(undone, mu, x0, strict=True))
    wrong = untrained.undone(mu, truth.transpose(1, 2))
    assert all(psnr(a, x) < psnr(b, x) for a, b, x in zip(wrong, undone, x0, strict=True))


def test_of_a_kernel_of_one_pixel_there_is_nothing_to_undo(untrained):
    mu = sharp_photos()[:1].clamp(0.01, 1)
    point = torch.zeros(1, 33, 33)
    point[0, 16, 16] = 1
    torch.testing.assert_close(untrained.undone(mu, point), mu, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (200, 81), (600, 70)])
def test_a_photo_of_any_size_has_a_kernel_that_takes_a_mean(untrained, size):
    mu = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    kernel = untrained.kernel(mu)
    assert kernel.shape == (2, 33, 33) and (kernel >= 0).all()
    torch.testing.assert_close(kernel.sum((1, 2)), torch.ones(2))
    sharp = untrained(mu)
    assert sharp.shape == mu.shape and sharp.min() >= 0 and sharp.max() <= 1
    # Each photo is its own affair; near black the root enlarges rounding.
    torch.testing.assert_close(sharp[1:], untrained(mu[1:]), rtol=0, atol=5e-4)
    assert (sharp[0] - sharp[1]).abs().max() > 0.1


@pytest.mark.parametrize("size", [(63, 200), (1, 1), (200, 63)])
def test_a_photo_too_small_to_tell_its_blur_stays_as_it_is(untrained, size):
    mu = torch.rand(1, 3, *size)
    assert untrained(mu) is mu


@pytest.mark.parametrize("ends", [(0, 512), (320, 832), (448, 960)])
def test_of_a_large_photo_the_part_with_the_most_edges_tells_its_blur(untrained, ends):
    part = torch.rand(1, 3, 90, 512, generator=torch.Generator().manual_seed(0))
    mu = torch.ones(2, 3, 90, 960)
    mu[:1, ..., slice(*ends)] = part
    mu[1:, ..., 448:] = part  # each photo has its own
    kernels = untrained.kernel(mu)
    expected = untrained.kernel(part)
    torch.testing.assert_close(kernels, expected.expand(2, -1, -1), rtol=0, atol=1e-6)
    assert untrained(mu).shape == mu.shape


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_a_flat_photo_has_no_blur(trained, level):
    mu = torch.full((1, 3, 64, 80), level)
    for kernel in (trained.true_kernel(mu, mu), trained.true_kernel(mu, mu * 0.9)):
        assert kernel[0, 16, 16] == kernel.sum() == 1
    assert (trained(mu) - mu.clamp(0.002, 1)).abs().max() < 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_network_of_another_precision_does_the_same_in_its_own(trained, dtype):
    mu = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    other = copy.deepcopy(trained).to(dtype)
    sharp = other(mu.to(dtype))
    assert sharp.dtype == dtype
    # A kernel read with 8 bits is a little another one, of a photo of noise above all.
    assert (sharp.double() - trained(mu).double()).abs().mean() < 0.05


def test_values_beyond_black_and_white_do_no_harm(untrained):
    mu = 1.4 * torch.rand(1, 3, 64, 64) - 0.2
    assert torch.isfinite(untrained(mu)).all()


def test_the_bundled_network_reads_a_blur_that_it_has_not_seen(trained, monkeypatch):
    x0 = sharp_photos()
    mu, truth = blurred(x0, monkeypatch)
    point = torch.zeros_like(truth)
    point[:, 16, 16] = 1
    # Guessing none is the guess to beat.
    assert off(trained.kernel(mu), truth).mean() < 0.5 * off(point, truth).mean()
    gains = [psnr(a, x) - psnr(b, x) for a, b, x in zip(trained(mu), mu, x0, strict=True)]
    assert sum(gains) / len(gains) > 1


def test_what_the_network_takes_over_the_photo_is_taken_once_for_all_in_a_race(bundled):
    asked = []
    network = bundled.checkpoint.denoiser.network
    handle = network.deconvolution.register_forward_hook(lambda *_: asked.append(1))
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    entrants = [{"solver": "mrs-ode-d-2", "nfe": 3}, {"solver": "posterior", "nfe": 4}]
    try:
        list(bundled.race(image, "motion-blurry", entrants))
        assert len(asked) == 1
        list(bundled.trajectory(image, "motion-blurry", nfe=4))
        assert len(asked) == 2
        list(bundled.trajectory(image, "hazy", nfe=2))
        assert len(asked) == 2
    finally:
        handle.remove()


def test_the_bundled_network_goes_by_what_is_undone(bundled, monkeypatch):
    x0 = sharp_photos()[0]
    mu = degrade(x0, "motion-blurry", 0.6, torch.Generator().manual_seed(0))

    def gain():
        for step in bundled.trajectory(mu, "motion-blurry", nfe=5):
            x = step.x
        return psnr(x[0], x0) - psnr(mu, x0)

    shown = gain()
    monkeypatch.setattr(BlindDeconvolution, "forward", lambda self, mu: mu)
    assert shown > 1.5 and shown > gain() + 1
