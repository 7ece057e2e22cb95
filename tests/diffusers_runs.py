"""Drives a scheduler of diffusers on any of our processes, for the tests that compare paths.

diffusers knows variance-preserving processes only; (x - mu) / sigma_inf of a mean-reverting one is
such a process, and of a VPSDE it is x itself.
"""

import inspect

import torch
from models import Mixture


def betas(process):
    """The training table whose alphas_cumprod are alpha_0^2, alpha_1^2, ... alpha_T^2."""
    alphas_cumprod = process.alpha(torch.arange(int(process.T) + 1)).square()
    previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
    return (1 - alphas_cumprod / previous).tolist()


def single(process):
    """A mixture network in float32, mu and x_T: what diffusers and we are given alike."""
    generator = torch.Generator().manual_seed(0)
    preserving = process.sigma_inf == 1
    mu = torch.zeros(4, 2) if preserving else torch.rand(4, 2, generator=generator)
    mixture = Mixture(process)
    x_T = process.prior(mu, torch.randn(4, 2, generator=generator))
    return lambda x, mu, t: mixture(x, mu, t).to(x.dtype), mu, x_T


def assert_same_path(ours, theirs, mu, tolerance=1e-5):
    assert len(ours) == len(theirs)
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        difference = ((a - b).norm() / (b - mu).norm()).item()
        assert difference <= tolerance, f"step {step}: {difference:.2g}"


def place(scheduler, nodes, process):
    """Sets a scheduler's grid to our nodes, in float64, whatever its own spacing is."""
    scheduler.set_timesteps(len(nodes) - 1)
    scheduler.timesteps = torch.arange(len(nodes) - 1)  # only told apart; the nodes are these
    scheduler.sigmas = torch.tensor(
        [n.sigma / process.sigma_inf / n.alpha for n in nodes], dtype=torch.float64
    )


def diffusers_run(scheduler, network, mu, x_T, draws, nodes, process, own_grid=False):
    """x_T and x after every step, at the nodes; the network predicts noise.

    draws[i] makes step i. With `own_grid` the scheduler keeps the grid that its own set_timesteps
    made, and the nodes must be those times.
    """
    if not own_grid:
        place(scheduler, nodes, process)
    takes_noise = "variance_noise" in inspect.signature(scheduler.step).parameters
    scale, xs = process.sigma_inf, [x_T]
    z = (x_T - mu) / scale
    for i, timestep in enumerate(scheduler.timesteps):
        output = network(mu + scale * z, mu, nodes[i].t)
        options = {"variance_noise": draws[i + 1]} if takes_noise else {}
        z = scheduler.step(output, timestep, z, **options).prev_sample
        xs.append(mu + scale * z)
    return xs
