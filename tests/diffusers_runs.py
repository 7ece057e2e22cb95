"""Drives a scheduler of diffusers on any of our processes, for the tests that compare paths.

diffusers knows variance-preserving processes only; (x - mu) / sigma_inf of a mean-reverting one is
such a process, and of a VPSDE it is x itself.
"""

import inspect

import torch


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
