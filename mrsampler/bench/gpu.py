"""What the published network costs on a device, and what a run adds: `mrsampler bench gpu`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from mrsampler.acceleration import Autocast, Graphed, Network, accelerated
from mrsampler.denoiser import Denoiser
from mrsampler.networks import IRSDEUNet
from mrsampler.photo import to_uint8
from mrsampler.processes import MeanRevertingSDE
from mrsampler.trajectory import trajectory

SOLVER = "mrs-ode-d-2"


def device_costs(
    device: torch.device,
    sides: Sequence[int],
    *,
    nfe: int = 10,
    repeats: int = 5,
    network: IRSDEUNet | None = None,
) -> Iterator[dict[str, float]]:
    """The cost of evaluations (1, 3, side, side), and of a run of `nfe` of them, a row a side.

    eager, autocast, graph
            milliseconds an evaluation in float32, under autocast, and replayed from a graph of that
            (a GPU alone has one, and rounds some of the float32 to TF32, as torch does by default)
    pair    milliseconds an evaluation where two are made as one, as in a race
    own     the share of a run that is the sampler's: its time over a network that is free
    frames  steps a second of a run whose every x_t is brought to the CPU in 8 bits
    peak    MiB of the device's memory that a run reserves, weights included (a GPU alone says)

    pair, own, frames and peak are of the network as the library runs it on the device. Times are
    medians of `repeats`, taken in turns. `network` is universal-IR's with random weights unless
    given.
    """
    torch.manual_seed(0)
    network = (network or IRSDEUNet()).eval().requires_grad_(False)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    autocast = Autocast(network, device.type, network.AUTOCAST)
    process = MeanRevertingSDE(max_sigma=50, zero_start=True)
    for side in sides:
        as_run = accelerated(network, device)
        given = _inputs(network, device, side)
        twice = {name: torch.cat([value, value]) for name, value in given.items()}
        ways: dict[str, Callable[[], Any]] = {
            "eager": _evaluation(network, given),
            "autocast": _evaluation(autocast, given),
            "pair": _evaluation(as_run, twice),
        }
        if device.type == "cuda":
            ways["graph"] = _evaluation(Graphed(autocast), given)
        output = network(t=50.0, **given)
        ways["run"] = _run(as_run, given, process, nfe)
        ways["free"] = _run(lambda x, mu, t, output=output, **_: output, given, process, nfe)
        row: dict[str, float] = {"side": side}
        if device.type == "cuda":
            row["peak"] = _peak(ways["run"], device)
        seconds = _medians(ways, device, repeats)
        row |= {way: 1e3 * seconds[way] for way in ("eager", "autocast", "graph") if way in ways}
        row["pair"] = 1e3 * seconds["pair"] / 2
        row["own"], row["frames"] = seconds["free"] / seconds["run"], nfe / seconds["run"]
        yield row


def _inputs(network: IRSDEUNet, device: torch.device, side: int) -> dict[str, Tensor]:
    """x, mu and the contexts of one photo."""
    generator = torch.Generator().manual_seed(0)
    mu = torch.rand(1, 3, side, side, generator=generator)
    given = {"x": mu + 50 / 255 * torch.randn(mu.shape, generator=generator), "mu": mu}
    given = {n: v.to(device, memory_format=torch.channels_last) for n, v in given.items()}
    for name, taken in (
        ("degradation_context", network.config["use_degra_context"]),
        ("image_context", network.config["use_image_context"]),
    ):
        if taken:
            shape = 1, network.config["context_dim"]
            given[name] = torch.randn(shape, generator=generator).to(device)
    return given


def _evaluation(network: Network, given: dict[str, Tensor]) -> Callable[[], Any]:
    def evaluate() -> None:
        with torch.no_grad():
            network(t=50.0, **given)

    return evaluate


def _run(
    network: Network, given: dict[str, Tensor], process: MeanRevertingSDE, nfe: int
) -> Callable[[], Any]:
    contexts = {name: value for name, value in given.items() if name not in ("x", "mu")}

    def run() -> None:
        steps = trajectory(
            Denoiser(network),
            given["mu"],
            process=process,
            solver=SOLVER,
            nfe=nfe,
            x_T=given["x"],
            conditioning=contexts,
        )
        for step in steps:
            to_uint8(step.x[0])

    return run


def _peak(run: Callable[[], Any], device: torch.device) -> float:
    """In MiB. What a graph works in is reserved for it, but not counted as allocated."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_reserved(device) / 2**20


def _medians(
    ways: dict[str, Callable[[], Any]], device: torch.device, repeats: int
) -> dict[str, float]:
    """Seconds of each, the median of `repeats`, after two that are not counted."""
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(-2 if device.type == "cuda" else 0, repeats):
        for way, call in ways.items():
            _wait(device)
            started = time.perf_counter()
            call()
            _wait(device)
            if repeat >= 0:
                taken[way].append(time.perf_counter() - started)
    return {way: median(seconds) for way, seconds in taken.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
