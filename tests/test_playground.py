"""Densities with exact scores."""

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mrsampler import VESDE, VPSDE, Denoiser, MeanRevertingSDE, sample
from mrsampler.playground import DENSITIES, Mixture, points

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
    for cloud in (run, drawn):
        # Five standard errors of a mean; the widest coordinate has a deviation of 0.32.
        torch.testing.assert_close(cloud.mean(0), mean, rtol=0, atol=5 * 0.32 / n**0.5)
        share = (cloud[:, 0] > 0.05).double().mean().item()
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


HEART = points([[0.0, -0.8], [-0.8, 0.3], [0.8, 0.3], [-0.4, 0.7], [0.4, 0.7], [0.0, 0.4]])
SHAPES = {**DENSITIES, "drawn": HEART}
MU = torch.tensor([0.8, -0.6], dtype=torch.float64)


def marginal(density, process, mu, t):
    """p_t of x_t, as torch's own mixture."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    spread = ((alpha * density.spread) ** 2 + sigma**2) ** 0.5
    weights = torch.ones(len(density.means)) if density.weights is None else density.weights
    centres = Normal(mu + alpha * (density.means - mu), torch.tensor(spread, dtype=torch.float64))
    return MixtureSameFamily(Categorical(weights.double()), Independent(centres, 1))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("name", SHAPES)
def test_the_score_of_every_shape_is_the_gradient_of_its_log_density(name, process):
    density, generator = SHAPES[name], torch.Generator().manual_seed(0)
    mu = MU if process is PROCESSES[0] else torch.zeros_like(MU)
    mixture = density.under(process, mu)
    for share in (0.02, 0.3, 0.7, 1.0):
        t = share * process.T
        x = 1.5 * torch.randn(7, 2, dtype=torch.float64, generator=generator).requires_grad_()
        log_density = marginal(density, process, mu, t).log_prob(x)
        (score,) = torch.autograd.grad(log_density.sum(), x)
        noise = mixture(x.detach(), mu.expand(7, 2), t)
        torch.testing.assert_close(noise, -process.sigma(t) * score, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", SHAPES)
def test_a_picture_is_the_density_up_to_one_factor(name):
    process, axis = PROCESSES[0], torch.linspace(-1.5, 1.5, 9, dtype=torch.float64)
    for t in (0.0, 30.0, 100.0):
        picture = SHAPES[name].under(process, MU).picture(t, axis, MU)
        x = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)  # rows are y
        exact = marginal(SHAPES[name], process, MU, t).log_prob(x).exp()
        torch.testing.assert_close(
            picture / picture.max(), exact / exact.max(), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("name", DENSITIES)
def test_every_shape_lies_where_the_page_looks(name):
    drawn = DENSITIES[name].under(PROCESSES[0], MU).sample(2000, torch.Generator().manual_seed(0))
    assert (MU + drawn).abs().max() < 1.5


def test_a_mixture_that_is_asked_for_a_residual_says_what_it_predicts():
    with pytest.raises(ValueError, match="noise, data, velocity or flow, and no residual"):
        Mixture(MeanRevertingSDE(), torch.zeros(1, 2), target="residual")
