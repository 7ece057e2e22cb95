"""The training loop: its state, its progress, and the checkpoint that it leaves."""

from __future__ import annotations

import copy
import math
import pickle
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mrsampler import checkpoints
from mrsampler.bench.quality import quality
from mrsampler.checkpoints import Checkpoint
from mrsampler.degradations import TASKS
from mrsampler.denoiser import Denoiser
from mrsampler.networks import LightDenoiser, ResidualUNet
from mrsampler.processes import MeanRevertingSDE, Process, to_card
from mrsampler.restorer import Restorer
from mrsampler.training.config import TrainConfig
from mrsampler.training.data import Batch, DegradedCrops, batch, read_photos
from mrsampler.training.distributed import Distributed
from mrsampler.training.losses import Loss, joint_loss, light_loss, reader_loss
from mrsampler.training.optimisers import optimisers

BLURRED = "motion-blurry"
APART = 7919  # between the seeds of processes
WARM_UP = 300  # steps


def train(config: TrainConfig) -> Path:
    """Trains, or goes on training, until `minutes` are spent. Returns the checkpoint's path.

    The state (`OUT.state.pt`) is written every `save_every` minutes and at the end; a later call
    with the same `out` resumes from it. With `valid` the card ends up with the held-out PSNR of
    every task on all of those photos.

    Raises ValueError for folders without usable photos, a setting out of range or a state that is
    damaged or of another part; FloatingPointError if the loss is no longer finite.
    """
    config.check()
    return Training(config).run()


class Training:
    """A run: the network, the average of its weights that is kept, and how far it is."""

    def __init__(self, config: TrainConfig):
        self.config, self.device = config, _device(config.device)
        self.processes = Distributed(self.device)
        self.photos = read_photos(config.images, config.crop)
        torch.manual_seed(config.seed)
        self.network, self.tasks, self.process = _begun(config)
        self._choose()
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.parameters: list[Tensor] = [p for p in self.network.parameters() if p.requires_grad]
        self.followers: list[Tensor] = [
            mean
            for mean, p in zip(self.average.parameters(), self.network.parameters(), strict=True)
            if p.requires_grad
        ]
        self.optimisers = optimisers(self.network, config.learning_rate)
        self.peaks = [optimiser.param_groups[0]["lr"] for optimiser in self.optimisers]
        self.progress: dict[str, Any] = {"step": 0, "crops": 0, "seconds": 0.0, "history": []}
        self.path = config.out.with_name(config.out.name + ".safetensors")
        self.state = config.out.with_name(config.out.name + ".state.pt")
        if self.state.exists():
            self._resume()
        torch.manual_seed(config.seed + self.progress["step"] + APART * self.processes.rank)
        of_part: dict[str, Loss] = {
            "both": partial(joint_loss, noises=config.noises),
            "reader": reader_loss,
            "light": partial(light_loss, noises=config.noises),
        }
        self.loss = of_part[config.part]

    def _choose(self) -> None:
        """Leaves only what is to be trained: a part, or the kernels that some tasks own."""
        part = self.config.part
        own = tuple(f".of.{self.tasks.index(task)}." for task in self.config.only)
        for name, parameter in self.network.named_parameters():
            mine = part == "both" or name.startswith("reader.") == (part == "reader")
            parameter.requires_grad_(mine and (not own or any(kernel in name for kernel in own)))

    def _resume(self) -> None:
        try:
            state = torch.load(self.state, map_location=self.device, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(f"{self.state.name} is damaged, cannot resume: {error}") from None
        asked: dict[str, Any] = {"part": self.config.part, "target": self.config.target}
        asked["tasks"] = list(self.tasks)
        for name, value in asked.items():
            if (found := state.get(name, value)) != value:
                raise ValueError(f"{self.state.name} is of {name} {found!r}, not {value!r}")
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
        except RuntimeError:
            raise ValueError(f"{self.state.name} is of another network, cannot resume") from None
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.progress = state["progress"]

    def save(self) -> None:
        """The checkpoint, its card and the state, each whole or not at all."""
        if self.processes.rank > 0:
            return
        checkpoints.save(self.path, self.average, self.card())
        partial_file = self.state.with_suffix(".part")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "progress": self.progress,
                "part": self.config.part,
                "target": self.config.target,
                "tasks": list(self.tasks),
            },
            partial_file,
        )
        partial_file.replace(self.state)

    def batches(self) -> Iterator[Batch]:
        """An endless stream, of this process's own crops."""
        rank, config = self.processes.rank, self.config
        own = replace(config, seed=config.seed + APART * rank)
        blurred = self.network.reader.config["blurred"]
        crops = DegradedCrops(self.photos, own, self.tasks, blurred, self.progress["step"])
        return iter(
            DataLoader(
                crops,
                batch_size=config.batch,
                collate_fn=batch,
                num_workers=config.workers,
                persistent_workers=config.workers > 0,
            )
        )

    def run(self) -> Path:
        """Until the time is spent."""
        budget = self.config.minutes * 60
        last_save = last_valid = self.progress["seconds"]
        running, step_loss = math.nan, self.loss
        if self.config.compile:
            step_loss = cast(Loss, torch.compile(self.loss))
        batches, clock = self.batches(), time.perf_counter()
        while self.progress["seconds"] < budget:
            share = self.progress["seconds"] / budget
            loss = step_loss(self.network, next(batches).to(self.device))
            self.network.zero_grad(set_to_none=True)
            loss.backward()
            now = time.perf_counter()
            spent = self.progress["seconds"] + now - clock
            self.progress["seconds"], clock = self.processes.average(self.parameters, spent), now
            self._step(share)
            seconds = self.progress["seconds"]
            due = seconds - last_save > self.config.save_every * 60
            if self.progress["step"] % 20 == 1 or due or seconds >= budget:
                running = self._checked(loss.item(), running, budget)
            if self.processes.rank > 0:
                continue
            if due:
                last_save = seconds
                self._tell_saved(running)
                clock = time.perf_counter()
            if self.config.valid and seconds - last_valid > self.config.valid_every * 60:
                last_valid = seconds
                self.held_out(self.config.valid_photos)
                clock = time.perf_counter()
        self._finish()
        return self.path

    def _step(self, share: float) -> None:
        """The optimisers' step, `share` of the time being spent, and the average's."""
        step = self.progress["step"]
        rate = min(1, (step + 1) / WARM_UP) * (0.5 * (1 + math.cos(math.pi * share)) + 0.01)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimiser, peak in zip(self.optimisers, self.peaks, strict=True):
            optimiser.param_groups[0]["lr"] = peak * rate
            optimiser.step()
        decay = min(self.config.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.followers, self.parameters, 1 - decay)
        self.progress["step"] = step + 1
        self.progress["crops"] += self.config.batch * self.processes.size

    def _checked(self, value: float, running: float, budget: float) -> float:
        """The loss's running mean, shown."""
        if not math.isfinite(value):
            step = self.progress["step"]
            raise FloatingPointError(f"the loss is {value} at step {step}; last state kept")
        running = value if math.isnan(running) else 0.95 * running + 0.05 * value
        if self.processes.rank == 0:
            _show_progress(self.progress, budget, running)
        return running

    def _tell_saved(self, running: float) -> None:
        minutes, step = self.progress["seconds"] / 60, self.progress["step"]
        self.progress["history"].append([round(minutes, 1), step, round(running, 5)])
        self.save()
        _tell(f"{minutes:.0f} min, step {step}, loss {running:.4f}: saved")

    def _finish(self) -> None:
        self.save()
        if self.processes.rank == 0:
            _tell("time is spent")
            if self.config.valid:
                self.progress["held_out"] = self.held_out(None)
                self.save()

    def held_out(self, limit: int | None) -> list[dict[str, Any]]:
        """The quality of each task on the first `limit` held-out photos, told as it comes."""
        assert self.config.valid is not None
        photos = [p.float() / 255 for p in read_photos((self.config.valid,), 32)[:limit]]
        denoiser = Denoiser(self.average, self.config.target)  # type: ignore[arg-type]
        name = self.config.out.name
        restorer = Restorer(Checkpoint(name, denoiser, self.process, self.tasks, {}), self.device)
        rows = []
        for row in quality(restorer, photos, self.tasks):
            _tell(
                f"{row['task']:>16}: degraded {row['degraded']:.2f} dB, one evaluation "
                f"{row['one']:.2f}, restored {row['restored']:.2f}"
            )
            rows.append({k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()})
        return rows

    def card(self) -> dict[str, Any]:
        """What the checkpoint says of itself; nothing of the machine it was trained on."""
        left_out = ("images", "out", "valid", "device", "compile")
        settings = {k: v for k, v in asdict(self.config).items() if k not in left_out}
        process, progress = self.process, self.progress
        return {
            "architecture": "light-denoiser",
            "config": self.network.config,
            "target": self.config.target,
            "process": to_card(process),
            "tasks": list(self.tasks),
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "training": {
                "photos": len(self.photos),
                "steps": progress["step"],
                "crops_seen": progress["crops"],
                "minutes": round(progress["seconds"] / 60, 1),
                "device": "cuda" if self.device.type == "cuda" else platform.processor() or "cpu",
                "torch": torch.__version__,
                "settings": settings,
                "history_minutes_step_loss": progress["history"],
            },
            # Mean PSNR in dB at severity 0.5: the input, one evaluation, mrs-ode-d-2 at 10 NFE.
            "held_out": progress.get("held_out", []),
        }


def _begun(config: TrainConfig) -> tuple[LightDenoiser, tuple[str, ...], Process]:
    """The network, the tasks that its numbers stand for, and its process."""
    if config.start is None:
        begun = MeanRevertingSDE()
        reader = {"num_tasks": len(TASKS), "blurred": [TASKS.index(BLURRED)]}
        return LightDenoiser(begun, reader, target=config.target), TASKS, begun
    start = checkpoints.read(config.start)
    network, process = start.denoiser.network, start.process
    if isinstance(network, ResidualUNet):
        read = network.reader()
        network = LightDenoiser(process, read.config, target=config.target)
        network.reader.load_state_dict(read.state_dict())
    if not isinstance(network, LightDenoiser):
        raise ValueError(f"{config.start} is of another architecture: it cannot be trained here")
    for task in config.only + config.favour:
        if task not in start.tasks:
            known = ", ".join(start.tasks)
            raise ValueError(f"{config.start} does not know {task!r}; choose from {known}")
    for task in start.tasks:
        if task not in TASKS:
            raise ValueError(f"{config.start} is of {task!r}, which cannot be drawn here")
    if network.target != config.target:  # another denoiser over the same reader
        fresh = LightDenoiser(process, **network.config, target=config.target)
        fresh.reader.load_state_dict(network.reader.state_dict())
        network = fresh
    network.train().requires_grad_(True)
    return network, start.tasks, process


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _tell(line: str) -> None:
    """A line of its own, in the progress bar's place."""
    print(f"\r{line:<79}", file=sys.stderr, flush=True)


def _show_progress(progress: dict[str, Any], budget: float, loss: float) -> None:
    """The bar, on a terminal only: training needs nothing but torch, numpy, pillow, safetensors."""
    if not sys.stderr.isatty():
        return
    share = min(1.0, progress["seconds"] / budget)
    bar = "#" * round(20 * share)
    print(
        f"\r[{bar:<20}] {100 * share:3.0f} %, {(budget - progress['seconds']) / 60:.0f} min left, "
        f"loss {loss:.4f}, {progress['crops'] / progress['seconds']:.1f} images/s",
        end="",
        file=sys.stderr,
        flush=True,
    )
