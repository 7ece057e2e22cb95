"""Small closed-form models: exact denoisers, and a wrapper that counts network calls.

With x_0 = mu + D, y = x_t - mu = alpha D + sigma eps. Everything here is float64 and in at most a
few dimensions; x and mu are (B, d).
"""

import torch

from mrsampler import Denoiser, playground
from mrsampler.problem import THREE


def answer(data, y, alpha, sigma, scale, mu, target):
    """The network output that says D = `data` at y, for a network of this target."""
    noise = (y - alpha * data) / sigma
    if target == "data":
        return data + mu
    return noise if target == "noise" else alpha * scale * noise - sigma / scale * data


class Gaussian:
    """D ~ N(mean, cov): the posterior mean of D is affine in y.

    With a `trust` below 1 the network follows y less than the exact one: it stays affine.
    """

    def __init__(
        self,
        process,
        mean=(0.3, -0.2),
        cov=((0.05, 0.03), (0.03, 0.04)),
        trust=1.0,
        target="noise",
    ):
        self.process, self.trust, self.target = process, trust, target
        self.mean = torch.tensor(mean, dtype=torch.float64)
        self.cov = torch.tensor(cov, dtype=torch.float64)

    def marginal(self, t):
        """Mean and covariance of y_t."""
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        identity = torch.eye(len(self.mean), dtype=torch.float64)
        return alpha * self.mean, alpha**2 * self.cov + sigma**2 * identity

    def affine(self, t):
        """(K, b) with the predicted D = K y + b."""
        mean, cov = self.marginal(t)
        gain = self.trust * self.process.alpha(t) * self.cov @ torch.linalg.inv(cov)
        return gain, self.mean - gain @ mean

    def __call__(self, x, mu, t):
        y, alpha, sigma = x - mu, self.process.alpha(t), self.process.sigma(t)
        gain, offset = self.affine(t)
        data = y @ gain.T + offset
        return answer(data, y, alpha, sigma, self.process.sigma_inf, mu, self.target)


class Mixture(playground.Mixture):
    """Three Gaussians in the plane unless told otherwise: a non-linear field, smooth in lambda."""

    def __init__(self, process, means=THREE[0], spread=THREE[2], weights=THREE[1], target="noise"):
        means, weights = (torch.tensor(x, dtype=torch.float64) for x in (means, weights))
        super().__init__(process, means, weights, spread, target)


class Counting:
    """Counts the calls of a network and keeps what each was given and gave."""

    def __init__(self, network):
        self.network, self.calls = network, []

    @property
    def count(self):
        return len(self.calls)

    def __call__(self, x, mu, t, **conditioning):
        output = self.network(x, mu, t)
        self.calls.append((x.clone(), t, output.clone(), conditioning))
        return output


def mixture_run(process, seed=0, batch=4, target="noise"):
    """A counted Denoiser of the mixture, mu and x_T, both (batch, 2) float64."""
    generator = torch.Generator().manual_seed(seed)
    mu = torch.rand(batch, 2, dtype=torch.float64, generator=generator)
    noise = torch.randn(batch, 2, dtype=torch.float64, generator=generator)
    network = Counting(Mixture(process, target=target))
    return Denoiser(network, target), mu, process.prior(mu, noise)
