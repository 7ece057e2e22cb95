"""Densities with exact scores."""

import pytest
import torch

from mrsampler import VESDE, VPSDE, Denoiser, MeanRevertingSDE, sample
from mrsampler.playground import Mixture

PROCESSES = [MeanRevertingSDE(), VPSDE(), VESDE(0.01, 5.0)]
MEANS = torch.tensor([[0.4, 0.1], [-0.3, 0.2]], dtype=torch.float64)


def log_density(mixture, y, t):
    """log p_t(y), the mixture's components widened by the process."""
    alpha, sigma = mixture.process.alpha(t), mixture.process.sigma(t)
    variance = (alpha * mixture.spread) ** 2 + sigma**2
    distance = (y[:, None] - alpha * mixture.means).square().sum(-1)
    normal = -distance / (2 * variance) - y.shape[1] / 2 * torch.log(torch.tensor(variance))
    return torch.logsumexp(mixture.weights.log() + normal, 1)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_noise_is_minus_sigma_times_the_gradient_of_the_log_density(process):
    mixture = Mixture(process, MEANS, torch.tensor([3.0, 1.0]), spread=0.2)
    generator = torch.Generator().manual_seed(0)
    for share in (0.05, 0.4, 1.0):
        t = share * process.T
        y = torch.randn(5, 2, dtype=torch.float64, generator=generator).requires_grad_()
        (score,) = torch.autograd.grad(log_density(mixture, y, t).sum(), y)
        mu = torch.full_like(y, 0.3)
        noise = mixture(mu + y, mu, t)
        torch.testing.assert_close(noise, -process.sigma(t) * score, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("process", PROCESSES[:2], ids=repr)
def test_all_targets_say_the_same(process):
    generator = torch.Generator().manual_seed(0)
    mu, start = torch.rand(2, 4, 2, dtype=torch.float64, generator=generator)
    ends = [
        sample(
            Denoiser(Mixture(process, MEANS, target=target), target),
            mu,
            process=process,
            x_T=start,
            nfe=6,
        )
        for target in ("noise", "data", "velocity")
    ]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-9, atol=1e-9)


def test_sampling_the_process_and_drawing_directly_agree():
    mixture = Mixture(VPSDE(), MEANS, torch.tensor([3.0, 1.0]), spread=0.1)
    n, generator = 4000, torch.Generator().manual_seed(0)
    mu = torch.zeros(n, 2, dtype=torch.float64)
    run = sample(Denoiser(mixture), mu, process=VPSDE(), nfe=60, generator=generator)
    drawn = mixture.sample(n, generator)
    mean = (mixture.weights[:, None] * MEANS).sum(0)
    for points in (run, drawn):
        # Five standard errors of a mean; the widest coordinate has a deviation of 0.32.
        torch.testing.assert_close(points.mean(0), mean, rtol=0, atol=5 * 0.32 / n**0.5)
        share = (points[:, 0] > 0.05).double().mean().item()
        assert share == pytest.approx(0.75, abs=5 * (0.75 * 0.25 / n) ** 0.5)


@pytest.mark.parametrize(
    "settings",
    [
        {"means": torch.zeros(3)},
        {"means": MEANS, "weights": torch.ones(3)},
        {"means": MEANS, "weights": torch.tensor([1.0, 0.0])},
        {"means": MEANS, "spread": -0.1},
    ],
    ids=str,
)
def test_what_is_no_mixture_is_refused(settings):
    with pytest.raises(ValueError):
        Mixture(VPSDE(), **settings)
