"""What each part of the network is taught."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mrsampler.networks import LightDenoiser
from mrsampler.networks.light_denoiser import turned
from mrsampler.networks.reader import Read
from mrsampler.training.data import Batch

FLOOR = 0.004  # an error of one grey level: below it a crop's loss no longer rewards
LEAST_S, MIDDLE_S, MOST_S = 0.002, 1.0, 39.0  # sigma / alpha
OUTLIER = 4.0  # standard deviations of the rest: from there on an error counts by its size alone

Loss = Callable[[LightDenoiser, Batch], Tensor]


def decibels(error: Tensor) -> Tensor:
    """log(1 + mse / FLOOR^2) / 2 of each crop's error, (B,).

    A matter of decibels, as quality is: what a task's errors are, 30/255 in the dark or 9/255 of
    JPEG, does not decide how much it counts. Under a Huber loss JPEG, motion blur and raindrops had
    not been learnt at all after 200,000 crops.
    """
    return 0.5 * torch.log1p(error.square().mean((1, 2, 3)) / FLOOR**2)


def sharpened(network: LightDenoiser, batch: Batch) -> tuple[Tensor, Tensor]:
    """mu with its blur undone where a task has one, and the loss that teaches to read the blur.

    That is `decibels` of what is left, and how far the kernel is from the one that was: by the
    first alone a kernel of one pixel, which undoes nothing, is soon better than a wrong one.
    """
    sharp, loss = batch.mu, batch.mu.new_zeros(())
    for place, (top, left), x0, mu in batch.windows:
        deconvolution = network.reader.deconvolution
        if not deconvolution.reads(mu):
            continue
        kernel = deconvolution.kernel(mu[None])
        truth = deconvolution.true_kernel(x0[None], mu[None])
        undone = deconvolution.undone(mu[None], kernel)
        off = (kernel - truth).square().sum((1, 2)) / truth.square().sum((1, 2))
        loss = loss + (decibels(undone - x0) + off).sum() / len(batch.mu)
        height, width = batch.mu.shape[-2:]
        part = undone[..., top : top + height, left : left + width]
        sharp = sharp.index_put((torch.tensor([place], device=sharp.device),), part)
    return sharp, loss


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU alone: on a CPU without AMX its convolutions take twice float32's time."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def read(network: LightDenoiser, batch: Batch) -> tuple[Read, Tensor]:
    """What the reader makes of the crops, and the loss of what undid their blur."""
    sharp, blind = sharpened(network, batch)
    with autocast(batch.mu.device):
        return network.reader(batch.mu, batch.task, batch.statistics, sharp), blind


def estimate_loss(estimate: Tensor, batch: Batch) -> Tensor:
    """The mean over the crops of `decibels` of the estimate's error."""
    return decibels(estimate.float() - (batch.x0 - batch.mu)).mean()


def reader_loss(network: LightDenoiser, batch: Batch) -> Tensor:
    """The estimate's, and that of what undoes blur."""
    found, blind = read(network, batch)
    return blind + estimate_loss(found.estimate, batch)


def light_loss(network: LightDenoiser, batch: Batch, noises: int) -> Tensor:
    """The denoiser's, over a reader that stays as it is."""
    with torch.no_grad():
        found, _ = read(network, batch)
    return denoising_loss(network, batch, found, noises)


def joint_loss(network: LightDenoiser, batch: Batch, noises: int) -> Tensor:
    """Both; the reader learns nothing of the denoiser's."""
    found, blind = read(network, batch)
    known = Read(found.estimate.detach(), [level.detach() for level in found.levels])
    denoising = denoising_loss(network, batch, known, noises)
    return blind + estimate_loss(found.estimate, batch) + denoising


def denoising_loss(network: LightDenoiser, batch: Batch, found: Read, noises: int) -> Tensor:
    """The denoiser's error in units of what it is to find, and the spread's log-likelihood.

    E = D - r, s and z as in `light_denoiser`. Each crop is denoised at `noises` levels of noise,
    nine in ten of them with log s uniform where E shows through the noise, the rest above. What E
    is beyond OUTLIER spreads is no matter of texture: there the loss is linear.
    """
    with autocast(batch.mu.device):
        spread, levels = network.briefing(batch.mu, found)
    spread = spread.float()
    rest = turned(batch.x0 - batch.mu - found.estimate, network.basis)
    units = (rest / spread).square().clamp(max=200.0)
    likelihood = (spread.log() + 0.5 * units).mean()

    rest, d = (v.repeat_interleave(noises, 0) for v in (rest, spread.detach()))
    levels = [level.repeat_interleave(noises, 0) for level in levels]
    log_s = drawn_log_s(len(rest)).to(rest.device)
    s = log_s.exp()[:, None, None, None]
    noise = torch.randn_like(rest)
    z, total = rest + s * noise, (d.square() + s.square()).sqrt()
    with autocast(batch.mu.device):
        f = network.light(z / total, log_s, batch.task.repeat_interleave(noises), levels).float()
    if network.target == "noise":
        error = (f - noise) * total / d  # so that it counts what it does to E, over d s / total
    else:
        error = f - (rest - (d / total).square() * z) * total / (s * d)
    return likelihood + pseudo_huber(error).mean()


def drawn_log_s(count: int) -> Tensor:
    """log s for a batch, spread evenly over its range and dealt out at random, (count,)."""
    u = (torch.randperm(count) + torch.rand(count)) / count
    low, middle, high = map(math.log, (LEAST_S, MIDDLE_S, MOST_S))
    inside = low + (middle - low) * u / 0.9
    return torch.where(u < 0.9, inside, middle + (high - middle) * (u - 0.9) / 0.1)


def pseudo_huber(error: Tensor) -> Tensor:
    """error^2 where it is small, 2 OUTLIER |error| where it is large."""
    return 2 * OUTLIER**2 * ((1 + (error / OUTLIER).square()).sqrt() - 1)
