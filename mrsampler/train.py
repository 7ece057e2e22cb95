"""Training of the bundled network: photos in, a checkpoint and its card out. Resumable."""

from __future__ import annotations

import copy
import itertools
import math
import os
import pickle
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mrsampler import checkpoints, photo
from mrsampler.bench.quality import quality
from mrsampler.checkpoints import Checkpoint
from mrsampler.degradations import TASKS, WILD, degrade
from mrsampler.denoiser import Denoiser, velocity
from mrsampler.folder import pictures
from mrsampler.networks import ResidualUNet, widened
from mrsampler.photo import PhotoError
from mrsampler.processes import MeanRevertingSDE, to_card
from mrsampler.restorer import Restorer

TARGETS = ("residual", "velocity", "noise")
BLURRED = "motion-blurry"
DEGRADED_SIDE = 256  # pixels, at most: the photo is degraded at this size, then cropped
PHOTOS_IN_A_ROW = 2  # are damaged alike: the network's outermost level runs once for each task
APART = 7919  # between the seeds of processes
SIGMA_DATA = 0.012  # of a residual target at a texture of 0.2
FLOOR = 0.004  # an error of one grey level: below it a crop's loss no longer rewards


@dataclass
class TrainConfig:
    """What a training run is asked for; `minutes` counts training alone, over all its sessions.

    `sigma_data` is what a residual target goes by (see `Denoiser`): how far the truth is from the
    estimate, RMS; at a texture below 1 that times what is left to restore, about 0.06.

    `start` is a checkpoint whose weights the first session begins with; with `widen` a network of
    twice its channels begins as the same function. `texture` below 1 trains for posterior samples
    drawn nearer to the posterior's mean: see `_toned_down`. Whose mean, says `teacher`: a
    checkpoint, or None for the run's own averaged weights.

    Times are drawn from [`earliest` T, T]: near 1 the network learns the estimate of a single
    evaluation, which all other times build on. The tasks in `favour` are drawn twice as often.

    With `only` these tasks alone are trained, and of the network the kernels that are theirs: what
    it makes of the others stays as it was. A share `wild` of the photos is damaged as those from
    anywhere are, where the task has such a form (`degrade`): its benchmark's says nothing of it.
    """

    images: Path
    out: Path
    valid: Path | None = None
    minutes: float = 90.0
    batch: int = 16
    crop: int = 128
    crops_per_photo: int = 2
    learning_rate: float = 1e-3
    ema: float = 0.999
    workers: int = 1
    seed: int = 0
    save_every: float = 5.0
    valid_every: float = 30.0
    valid_photos: int = 4
    device: str = "auto"
    target: str = "residual"
    sigma_data: float = SIGMA_DATA
    texture: float = 1.0
    start: str | None = None
    widen: bool = False
    teacher: str | None = None
    earliest: float = 0.0
    favour: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    wild: float = 0.0
    compile: bool = False


def read_photos(folder: Path, min_side: int) -> list[Tensor]:
    """The folder's photos, (3, H, W) uint8; the damaged and those smaller than `min_side` left out.

    Raises ValueError if none is left.
    """
    photos = []
    for path in pictures(folder):
        try:
            rgb = photo.read(path).rgb
        except PhotoError as error:
            _tell(f"{path.name} is left out: {error}")
            continue
        if min(rgb.shape[1:]) >= min_side:
            photos.append((rgb * 255).round().to(torch.uint8))
    if not photos:
        raise ValueError(f"{folder} holds no photo of at least {min_side} x {min_side} pixels")
    return photos


class DegradedCrops(IterableDataset):
    """An endless stream of (x0, mu, task, statistics): crops of a photo degraded whole.

    Degrading the whole photo keeps the geometry of rain, blur and shadow what it is in use, and the
    statistics are those of the whole. x0 comes as the photo's bytes and mu in float16, which is a
    tenth of a grey level at most: a GPU takes more crops a second than processes pass in float32.
    """

    def __init__(self, photos: list[Tensor], config: TrainConfig, start: int):
        self.photos, self.config, self.start = photos, config, start

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, int, Tensor]]:
        worker = get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
        config, generator = self.config, torch.Generator()
        # Another stream for each worker and each resumption.
        generator.manual_seed(hash((config.seed, self.start, worker.id if worker else 0)) % 2**63)

        def integer(high: int) -> int:
            return int(torch.randint(high, (), generator=generator))

        drawn, task = (config.only or TASKS) + config.favour, 0
        for number in itertools.count():
            photo = self.photos[integer(len(self.photos))]
            side = min(DEGRADED_SIDE, *photo.shape[1:])
            top, left = (integer(n - side + 1) for n in photo.shape[1:])
            x0 = photo[:, top : top + side, left : left + side]
            if integer(2):
                x0 = x0.flip(2)
            if number % PHOTOS_IN_A_ROW == 0:
                task = TASKS.index(drawn[integer(len(drawn))])
            severity = float(torch.rand((), generator=generator))
            if integer(2):  # the middle of the range oftener than its ends
                severity = (severity + float(torch.rand((), generator=generator))) / 2
            name = TASKS[task]
            wild = name in WILD and float(torch.rand((), generator=generator)) < config.wild
            mu = degrade(x0.float() / 255, name, severity, generator, wild=wild)
            statistics = ResidualUNet.statistics(mu[None])[0]
            mu = mu.half()
            for _ in range(config.crops_per_photo):
                top, left = (integer(side - config.crop + 1) for _ in range(2))
                window = (
                    slice(None),
                    slice(top, top + config.crop),
                    slice(left, left + config.crop),
                )
                yield x0[window].contiguous(), mu[window].contiguous(), task, statistics


def _batch(crops: list[tuple[Tensor, Tensor, int, Tensor]]) -> list[Tensor]:
    """The crops of each task together: the network's outermost level runs once for each."""
    x0, mu, tasks, statistics = zip(*sorted(crops, key=lambda crop: crop[2]), strict=True)
    return [torch.stack(x0), torch.stack(mu), torch.tensor(tasks), torch.stack(statistics)]


class _Crew:
    """The processes that train one network together, as torchrun starts them; or this one alone.

    Each takes crops of its own and their gradients are averaged. On two cores two processes of one
    thread each took 0.81 of the time of one of two threads for as many crops.
    """

    def __init__(self, device: torch.device):
        self.rank = int(os.environ.get("RANK", 0))
        self.size = int(os.environ.get("WORLD_SIZE", 1))
        if self.size == 1:
            return
        if device.type != "cpu":
            raise ValueError("several processes train together on a CPU only: add --device cpu")
        if not dist.is_initialized():
            dist.init_process_group("gloo")

    def average(self, parameters: Sequence[Tensor], seconds: float) -> float:
        """Averages the gradients; one that all lack stays None. Returns the first's `seconds`."""
        if self.size == 1:
            return seconds
        told = [0.0 if p.grad is None else 1.0 for p in parameters]
        shared = torch.tensor([*told, seconds if self.rank == 0 else 0.0], dtype=torch.float64)
        dist.all_reduce(shared)
        *have, seconds = shared.tolist()
        some = [p for p, number in zip(parameters, have, strict=True) if number]
        flat = torch.cat([(p if p.grad is None else p.grad).flatten() for p in some]).detach()
        for p, part in zip(some, flat.split([p.numel() for p in some]), strict=True):
            if p.grad is None:  # of a task that only another process's crops have
                part.zero_()
        dist.all_reduce(flat)
        for p, part in zip(some, (flat / self.size).split([p.numel() for p in some]), strict=True):
            p.grad = torch.empty_like(p).copy_(part.view(p.shape))
        return seconds


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


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU alone: on a CPU without AMX its convolutions take twice float32's time."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def _optimizers(network: ResidualUNet, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the U-Net's kernels but the first and the last, AdamW for all else.

    After three minutes from scratch Muon's estimates at T were 0.7 dB better than AdamW's, over the
    ten tasks, from fewer crops.
    """
    kernels: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = parameter.ndim == 4 and not name.startswith(("stem", "head", "deconvolution"))
        (kernels if inside else others).append(parameter)
    return [
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=1e-4),
        # Muon takes matrices: a kernel's is a view, so that its step moves the kernel.
        _Flattened(kernels, lr=2 * rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
    ]


def _freeze_all_but(network: ResidualUNet, tasks: Sequence[int]) -> None:
    """Leaves only the kernels that these tasks have of their own to be trained."""
    own = tuple(f".of.{task}." for task in tasks)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(any(part in name for part in own))


class _Flattened(torch.optim.Muon):
    """Muon over (O, I, h, w) kernels in channels-last memory, each as its (O, h w I) matrix."""

    def __init__(self, kernels: list[nn.Parameter], **settings: Any):
        self._kernels = kernels
        super().__init__(
            [nn.Parameter(self._matrix(kernel.detach())) for kernel in kernels], **settings
        )

    @staticmethod
    def _matrix(kernel: Tensor) -> Tensor:
        return kernel.permute(0, 2, 3, 1).view(len(kernel), -1)

    def step(self, closure: Any = None) -> Any:
        for matrix, kernel in zip(self.param_groups[0]["params"], self._kernels, strict=True):
            if kernel.grad is None:  # of a task that the batch had none of
                matrix.grad = None
                continue
            gradient = kernel.grad.contiguous(memory_format=torch.channels_last)
            matrix.grad = self._matrix(gradient)
        return super().step(closure)


def _loss(
    forward: Callable[..., Tensor],
    process: MeanRevertingSDE,
    batch: Sequence[Tensor],
    target: str,
    earliest: float = 0.0,
    sigma_data: float = SIGMA_DATA,
) -> Tensor:
    """The mean over the crops of `_decibels` of the mse of the network's output.

    `batch` is x0, mu, the tasks, the statistics and mu with its blur undone.

    Of a noise network it is that of the D which its output stands for: at T an error of one grey
    level of the picture is a fortieth of that in the noise, and would go unseen.

    Half of the t are uniform on [earliest T, T], a quarter on its upper quarter, where x_t says
    little and the network must restore rather than denoise, and a quarter on its lower quarter,
    where the rest of the noise must be told from texture: half of a uniform-lambda grid.
    """
    x0, mu, task, statistics, sharp = batch
    # Any of them to any task, though the batch is in order of task; as numbers of the CPU, which
    # what follows reads.
    u = (torch.randperm(len(x0)) + torch.rand(len(x0))) / len(x0)
    share = torch.where(u < 0.5, 2 * u, torch.where(u < 0.75, u - 0.5, u))
    t = process.T * (earliest + (1 - earliest) * share)
    noise = torch.randn_like(x0)
    x = process.perturb(x0, mu, t, noise)
    alpha, sigma = (v.to(x0)[:, None, None, None] for v in (process.alpha(t), process.sigma(t)))
    if target == "velocity":
        truth = velocity(x0 - mu, noise, alpha, sigma, process.sigma_inf)
    elif target == "residual":
        truth = (x0 - mu) - alpha * sigma_data**2 / sigma.clamp_min(sigma_data / 10) * noise
    else:
        truth = noise
    with _autocast(x0.device):
        output = forward(x, mu, t.to(x0.device), task, statistics, sharp)
    error = output.float() - truth
    if target == "noise":
        error = error * (sigma / alpha)
    return _decibels(error).mean()


def _decibels(error: Tensor) -> Tensor:
    """log(1 + mse / FLOOR^2) / 2 of each crop's error, (B,).

    A matter of decibels, as quality is: what a task's errors are, 30/255 in the dark or 9/255 of
    JPEG, does not decide how much it counts. Under a Huber loss JPEG, motion blur and raindrops had
    not been learnt at all after 200,000 crops.
    """
    return 0.5 * torch.log1p(error.square().mean((1, 2, 3)) / FLOOR**2)


def _deconvolved(
    network: ResidualUNet, x0: Tensor, mu: Tensor, tasks: Tensor
) -> tuple[Tensor, Tensor]:
    """mu with its blur undone where a task has one, and the loss that teaches to read it.

    That is `_decibels` of what is left, and how far the kernel is from the one that was: by the
    first alone a kernel of one pixel, which undoes nothing, is soon better than a wrong one.
    """
    # Of the CPU: to be known without waiting for a GPU.
    found = [i for i, task in enumerate(tasks.tolist()) if task in network.blurred]
    if not found or not network.deconvolution.reads(mu):
        return mu, mu.new_zeros(())
    blurred = torch.tensor(found).to(mu.device, non_blocking=True)
    clear, mine, deconvolution = x0[blurred], mu[blurred], network.deconvolution
    kernel, truth = deconvolution.kernel(mine), deconvolution.true_kernel(clear, mine)
    undone = deconvolution.undone(mine, kernel)
    off = (kernel - truth).square().sum((1, 2)) / truth.square().sum((1, 2))
    loss = (_decibels(undone - clear) + off).sum() / len(mu)
    return mu.index_put((blurred,), undone), loss


@torch.no_grad()
def _toned_down(
    teacher: Denoiser, process: MeanRevertingSDE, batch: Sequence[Tensor], texture: float
) -> list[Tensor]:
    """The batch with each x0 moved towards the posterior mean m: m + texture (x0 - m).

    A network trained on it samples the posterior shrunk about its mean, whose squared error is
    (1 + texture^2) / 2 of a posterior sample's. Such interpolations are the best trade of
    distortion for perception there is (Freirich, Michaeli & Meir, A theory of the
    distortion-perception tradeoff in Wasserstein space, 2021). m is the teacher's estimate at T,
    where x_t says next to nothing of x0; as E[m + texture (x0 - m) | mu] = m, the run's own average
    is a teacher that is drawn to the truth.
    """
    x0, mu, task, statistics, *rest = batch
    x = process.prior(mu, torch.randn_like(mu))
    alpha, sigma, scale = process.alpha(process.T), process.sigma(process.T), process.sigma_inf
    with _autocast(mu.device):
        output = teacher(x, mu, process.T, task=task, statistics=statistics)
    mean = mu + teacher.data(output, x - mu, mu, alpha, sigma, scale)
    return [torch.lerp(mean, x0, texture), mu, task, statistics, *rest]


def train(config: TrainConfig) -> Path:
    """Trains, or goes on training, until `minutes` are spent. Returns the checkpoint's path.

    The state (`OUT.state.pt`) is written every `save_every` minutes and at the end; a later call
    with the same `out` resumes from it. With `valid` the card ends up with the held-out PSNR of
    every task on all of those photos.

    Raises ValueError for a folder without usable photos, a setting out of range or a state that is
    damaged or of another target; FloatingPointError if the loss is no longer finite.
    """
    if config.target not in TARGETS:
        raise ValueError(f"unknown target {config.target!r}; choose from {', '.join(TARGETS)}")
    if config.texture < 1 and config.target == "noise" and config.teacher is None:
        raise ValueError(
            "a noise network's estimate at T is no mean: texture below 1 needs a teacher"
        )
    for task in config.favour + config.only:
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; choose from {', '.join(TASKS)}")
    if not 32 <= config.crop <= DEGRADED_SIDE:
        raise ValueError(f"crop must be from 32 to {DEGRADED_SIDE}, got {config.crop}")
    device = _device(config.device)
    crew = _Crew(device)
    photos = read_photos(config.images, config.crop)
    process = MeanRevertingSDE()
    torch.manual_seed(config.seed)
    if config.start is None:
        network = ResidualUNet(
            num_tasks=len(TASKS), num_steps=process.num_steps, blurred=[TASKS.index(BLURRED)]
        )
    else:
        network = cast(ResidualUNet, checkpoints.read(config.start).denoiser.network)
        network.train().requires_grad_(True)
    if config.widen:
        network = widened(network)
    if config.only:
        _freeze_all_but(network, [TASKS.index(task) for task in config.only])
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False)
    teacher = Denoiser(average, config.target, config.sigma_data)  # type: ignore[arg-type]
    if config.teacher is not None:
        teacher = checkpoints.read(config.teacher, device).denoiser
    forward = torch.compile(network) if config.compile else network
    optimizers = _optimizers(network, config.learning_rate)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    progress: dict[str, Any] = {"step": 0, "crops": 0, "seconds": 0.0, "history": []}
    state_path = config.out.with_name(config.out.name + ".state.pt")
    if state_path.exists():
        state = _read_state(state_path, config, device)
        try:
            network.load_state_dict(state["network"])
            average.load_state_dict(state["average"])
        except RuntimeError:
            raise ValueError(f"{state_path.name} is of another network, cannot resume") from None
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        progress = {"crops": state["progress"]["step"] * config.batch} | state["progress"]
    torch.manual_seed(config.seed + progress["step"] + APART * crew.rank)

    def save() -> Path:
        path = config.out.with_name(config.out.name + ".safetensors")
        if crew.rank > 0:
            return path
        checkpoints.save(path, average, _card(config, average, process, photos, progress, device))
        partial = state_path.with_suffix(".part")
        torch.save(
            {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "progress": progress,
                "target": config.target,
            },
            partial,
        )
        partial.replace(state_path)
        return path

    own = replace(config, seed=config.seed + APART * crew.rank)
    crops = DegradedCrops(photos, own, progress["step"])
    loader = iter(
        DataLoader(
            crops,
            batch_size=config.batch,
            collate_fn=_batch,
            num_workers=config.workers,
            pin_memory=device.type == "cuda",
            persistent_workers=config.workers > 0,
        )
    )
    parameters: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
    followers: list[Tensor] = [
        mean
        for mean, p in zip(average.parameters(), network.parameters(), strict=True)
        if p.requires_grad
    ]
    budget = config.minutes * 60
    last_save = last_valid = progress["seconds"]
    running = math.nan
    clock = time.perf_counter()
    while progress["seconds"] < budget:
        x0, mu, tasks, statistics = next(loader)
        x0, mu, statistics = (v.to(device, non_blocking=True) for v in (x0, mu, statistics))
        x0, mu = x0.float() / 255, mu.float()
        sharp, blind = _deconvolved(network, x0, mu, tasks)
        batch = [x0, mu, tasks, statistics, sharp]
        share, step = progress["seconds"] / budget, progress["step"]
        rate = min(1, (step + 1) / 300) * (0.5 * (1 + math.cos(math.pi * share)) + 0.01)
        if config.texture < 1:
            batch = _toned_down(teacher, process, batch, config.texture)
        loss = blind + _loss(
            forward, process, batch, config.target, config.earliest, config.sigma_data
        )
        network.zero_grad(set_to_none=True)
        loss.backward()
        now = time.perf_counter()
        progress["seconds"] = crew.average(parameters, progress["seconds"] + now - clock)
        clock = now
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate
            optimizer.step()
        decay = min(config.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(followers, parameters, 1 - decay)
        progress["step"] = step + 1
        progress["crops"] += config.batch * crew.size
        due = progress["seconds"] - last_save > config.save_every * 60
        if step % 20 == 0 or due or progress["seconds"] >= budget:
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss is {value} at step {step}; last state kept")
            running = value if math.isnan(running) else 0.95 * running + 0.05 * value
            if crew.rank == 0:
                _show_progress(progress, budget, running)
        if crew.rank > 0:
            continue
        if due:
            last_save = progress["seconds"]
            progress["history"].append([round(last_save / 60, 1), step, round(running, 5)])
            save()
            _tell(f"{last_save / 60:.0f} min, step {step}, loss {running:.4f}: saved")
            clock = time.perf_counter()
        if config.valid and progress["seconds"] - last_valid > config.valid_every * 60:
            last_valid = progress["seconds"]
            _held_out(average, process, config, config.valid_photos)
            clock = time.perf_counter()
    path = save()
    if crew.rank == 0:
        _tell("time is spent")
        if config.valid:
            progress["held_out"] = _held_out(average, process, config, None)
            save()
    return path


def _read_state(path: Path, config: TrainConfig, device: torch.device) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path.name} is damaged, cannot resume: {error}") from None
    trained = state.get("target", "velocity")
    if trained != config.target:
        raise ValueError(f"{path.name} is of target {trained!r}, not {config.target!r}")
    return state


def _held_out(
    network: ResidualUNet, process: MeanRevertingSDE, config: TrainConfig, limit: int | None
) -> list[dict[str, Any]]:
    """The quality of each task on the first `limit` held-out photos, told as it comes."""
    assert config.valid is not None
    photos = [p.float() / 255 for p in read_photos(config.valid, 32)[:limit]]
    denoiser = Denoiser(network, config.target, config.sigma_data)  # type: ignore[arg-type]
    checkpoint = Checkpoint(config.out.name, denoiser, process, TASKS, {})
    restorer = Restorer(checkpoint, next(network.parameters()).device)
    rows = []
    for row in quality(restorer, photos, TASKS):
        _tell(
            f"{row['task']:>16}: degraded {row['degraded']:.2f} dB, one evaluation "
            f"{row['one']:.2f}, restored {row['restored']:.2f}"
        )
        rows.append({k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def _card(
    config: TrainConfig,
    network: ResidualUNet,
    process: MeanRevertingSDE,
    photos: list[Tensor],
    progress: dict[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    settings = {
        name: value
        for name, value in asdict(config).items()
        if name not in ("images", "out", "valid", "device", "compile")
    }
    return {
        "architecture": "residual-unet",
        "config": network.config,
        "target": config.target,
        **({"sigma_data": config.sigma_data} if config.target == "residual" else {}),
        "process": to_card(process),
        "tasks": list(TASKS),
        "parameters": sum(p.numel() for p in network.parameters()),
        "training": {
            "photos": len(photos),
            "steps": progress["step"],
            "crops_seen": progress["crops"],
            "minutes": round(progress["seconds"] / 60, 1),
            "device": device.type if device.type == "cuda" else platform.processor() or "cpu",
            "torch": torch.__version__,
            "settings": settings,
            "history_minutes_step_loss": progress["history"],
        },
        # Mean PSNR in dB at severity 0.5: the input, one evaluation, and mrs-ode-d-2 at 10 NFE.
        "held_out": progress.get("held_out", []),
    }
