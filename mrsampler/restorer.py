"""Photo in, photo out: a checkpoint with the size limits and conditioning it needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from mrsampler import checkpoints, painted, photo
from mrsampler.acceleration import Graphed, accelerated
from mrsampler.batching import Batched, batch
from mrsampler.checkpoints import Checkpoint
from mrsampler.conditioning import conditioning_of
from mrsampler.denoiser import Denoiser
from mrsampler.networks.light_denoiser import turned
from mrsampler.photo import Photo
from mrsampler.processes import Process
from mrsampler.size import OWN, is_painted, result, working
from mrsampler.tiles import TILE, TiledDenoiser
from mrsampler.timesteps import SPACINGS
from mrsampler.trajectory import DEFAULT_NFE, DEFAULT_SOLVER, Step, race, trajectory

OPTIMISED = "optimised"
# A run's draws must not repeat those of a degradation of the same seed: the noise in x_T would be
# the very noise in the photo.
_RUN_STREAM = 0x6D725F72756E


class Reading(NamedTuple):
    """What a network that reads a photo once found in it, before any sampling.

    estimate: the restored photo that it takes for the mean of all that are plausible, (1, 3, H, W).
    spread: the standard deviation of what is left, at each pixel, (1, 3, H, W): by channel of the
        orthonormal `basis` of colours (3, 3).
    """

    estimate: Tensor
    spread: Tensor
    basis: Tensor

    def textured(self, x: Tensor, texture: float) -> Tensor:
        """Between the estimate (0) and a sample x (1): r + texture (x - r), in x's shape.

        The best trade of distortion for perception there is, where r is the mean and x a sample of
        the posterior (Freirich, Michaeli & Meir, arXiv 2107.02555).
        """
        return torch.lerp(self.estimate.to(x), x, texture)

    def grain(self, noise: Tensor) -> Tensor:
        """White `noise` (1, 3, H, W) of the spread: what a sample is worth, it is beyond that."""
        return turned(self.spread * noise.to(self.spread), self.basis.T)


class Restorer:
    """A checkpoint on a device. Make one with `load`.

    `denoiser` is the checkpoint's as the device runs it fastest; `conditioning(image, task)` what
    its network is told of a photo (3, H, W); `batches` whether a race makes evaluations together.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device):
        self.checkpoint, self.device = checkpoint, device
        self.denoiser = checkpoint.denoiser.over(accelerated(checkpoint.denoiser.network, device))
        self.conditioning = conditioning_of(checkpoint)
        self.batches = device.type == "cuda"

    @property
    def process(self) -> Process:
        """The diffusion process that the network was trained on."""
        return self.checkpoint.process

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the network knows."""
        return self.checkpoint.tasks

    @property
    def task_note(self) -> str | None:
        """Who chooses the task, where its name changes nothing: "detected by the model"."""
        return self.conditioning.note

    def spacings(self, solver: str, nfe: int) -> tuple[str, ...]:
        """The spacings that such a run can take: "optimised" where the card holds its times."""
        fitted = (OPTIMISED,) if str(nfe) in self._fitted(solver) else ()
        return fitted + tuple(SPACINGS)

    def optimised(self, solver: str, nfe: int) -> list[float]:
        """The times fitted to this network for a run. Raises ValueError where the card has none."""
        fitted = self._fitted(solver)
        if str(nfe) not in fitted:
            known = f"only at nfe {', '.join(fitted)}" if fitted else "none"
            raise ValueError(
                f"{self.checkpoint.name} has no optimised times for {solver} at nfe={nfe}: {known}"
            )
        return [float(t) for t in fitted[str(nfe)]]

    def _fitted(self, solver: str) -> dict[str, list[float]]:
        return self.checkpoint.card.get("timesteps", {}).get(solver, {})

    def trajectory(
        self,
        image: Tensor,
        task: str,
        *,
        seed: int = 0,
        tile: int = TILE,
        on_tile: Callable[[float], None] = lambda spent: None,
        **settings: Any,
    ) -> Iterator[Step]:
        """The restoration of one degraded image (3, H, W) in [0, 1], a Step at a time.

        An image with a side of more than `tile` pixels is evaluated by overlapping tiles no larger,
        within one trajectory of the whole: see `TiledDenoiser`. An evaluation may take long then.
        `on_tile` is called after each tile with the evaluations spent so far (2.25); what it raises
        ends the run there. `mrs-ode-d-2` needs about 150 bytes a pixel beside the network's memory;
        to read and undo motion blur takes about 110 for a moment, before the first step.

        `seed` fixes x_T and every draw, on the CPU, so that it means the same on every device and
        to every sampler: two runs of one seed start from the same x_T. `settings` are those of
        `mrsampler.trajectory` (solver, nfe, spacing, ...); the spacing "optimised" stands for the
        times that the checkpoint's card holds for the solver and nfe. Steps hold (1, 3, H, W)
        tensors.

        Raises ValueError for an unknown task, another shape or a tile that the network cannot be
        laid out in, and what `trajectory` raises; while it runs, FloatingPointError if the network
        returns values that are not finite.
        """
        image, told = self._told(image, task)
        return self._trajectory(
            self.denoiser, image, told, seed=seed, tile=tile, on_tile=on_tile, **settings
        )

    def reading(self, image: Tensor, task: str) -> Reading | None:
        """What the network reads of a degraded image (3, H, W), once; None for one that does not.

        Raises ValueError for an unknown task or another shape.
        """
        return self._reading(*self._told(image, task))

    def _reading(self, image: Tensor, told: Mapping[str, Any]) -> Reading | None:
        if "estimate" not in told:
            return None
        estimate = self._degraded(image) + told["estimate"]
        return Reading(estimate, told["spread"], self.denoiser.network.basis)  # type: ignore[attr-defined]

    def check_task(self, task: str) -> None:
        """Raises ValueError for a task that the network does not know."""
        if task not in self.tasks:
            known = ", ".join(self.tasks)
            name = self.checkpoint.name
            raise ValueError(
                f"{name} does not know the task {str(task)[:80]!r}; choose from {known}"
            )

    @property
    def reads(self) -> bool:
        """Whether the network reads a photo once, so that there is an estimate: see `Reading`."""
        return hasattr(self.checkpoint.denoiser.network, "basis")

    def check_texture(self, texture: float) -> None:
        """Raises ValueError for one outside [0, 1], or below 1 without an estimate."""
        if not 0 <= texture <= 1:
            raise ValueError(f"texture must lie in [0, 1], got {texture}")
        if texture < 1 and not self.reads:
            raise ValueError(f"{self.checkpoint.name} makes no estimate: its texture is 1 alone")

    def check(self, task: str, *, texture: float = 1.0, **settings: Any) -> None:
        """Raises ValueError for a run, as of `trajectory` and `restore`, that cannot be made."""
        self.check_task(task)
        self.check_texture(texture)
        # Made, and not asked for a step.
        trajectory(
            self.denoiser, torch.zeros(1, 3, 32, 32), process=self.process, **self._timed(settings)
        )

    def _timed(self, settings: dict[str, Any]) -> dict[str, Any]:
        """With the fitted times for "optimised"."""
        if settings.get("spacing") != OPTIMISED:
            return settings
        solver, nfe = settings.get("solver", DEFAULT_SOLVER), settings.get("nfe", DEFAULT_NFE)
        return settings | {"spacing": self.optimised(solver, nfe)}

    def _told(self, image: Tensor, task: str) -> tuple[Tensor, dict[str, Any]]:
        """The image as the network is to see it, and the conditioning; ValueError for neither."""
        self.check_task(task)
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"expected an image (3, H, W), got {tuple(image.shape)}")
        if is_painted(task):
            image = painted.shown(image)
        return image, self.conditioning(image, task)

    def _trajectory(
        self,
        denoiser: Denoiser,
        image: Tensor,
        told: dict[str, Any],
        *,
        seed: int = 0,
        tile: int = TILE,
        on_tile: Callable[[float], None] = lambda spent: None,
        **settings: Any,
    ) -> Iterator[Step]:
        settings = self._timed(settings)
        if "generator" not in settings:
            settings["generator"] = torch.Generator().manual_seed(seed + _RUN_STREAM)
        mu = self._degraded(image)
        if max(image.shape[1:]) > tile:
            denoiser = TiledDenoiser(denoiser, mu, tile=tile, on_tile=on_tile)
        return _finite(
            trajectory(denoiser, mu, process=self.process, conditioning=told, **settings)
        )

    def warm(self, image: Tensor, task: str, *, together: int = 1, tile: int = TILE) -> None:
        """Does now what the first run at an image's size would be held up by, unless it is done.

        On a GPU: records the graphs of its evaluations, and of those that a race of `together`
        samplers makes as one. Elsewhere, and for an image that is evaluated by tiles: nothing.
        """
        network = self.denoiser.network
        if not isinstance(network, Graphed) or max(image.shape[1:]) > tile:
            return
        mu = self._degraded(image)
        call = {"x": mu, "mu": mu, "t": float(self.process.T), **self.conditioning(image, task)}
        network.record(**call)
        for calls in range(2, together + 1):
            network.record(**batch([call] * calls))

    def _degraded(self, image: Tensor) -> Tensor:
        """As the network takes it."""
        return image[None].to(self.device, torch.float32, memory_format=torch.channels_last)

    def race(
        self,
        image: Tensor,
        task: str,
        entrants: Sequence[Mapping[str, Any]],
        **settings: Any,
    ) -> Iterator[tuple[Step, ...]]:
        """Several trajectories of one image from one x_T, a step of each a tick.

        `entrants` are the settings of `trajectory` in which they differ, `settings` those that they
        share. On a GPU, evaluations that are due together are made together; the `seconds` of each
        Step then count the whole. Yields and ends as `mrsampler.race`; raises what `trajectory`
        raises.
        """
        image, told = self._told(image, task)  # once for all of them
        batched = Batched(self.denoiser.network)
        denoiser = self.denoiser.over(batched) if self.batches else self.denoiser
        start = batched.race if self.batches else race
        return start(
            *(self._trajectory(denoiser, image, told, **settings, **own) for own in entrants)
        )

    def restore(
        self,
        image: str | Path | Image.Image | Photo,
        task: str,
        *,
        size: int | str = OWN,
        texture: float = 1.0,
        **settings: Any,
    ) -> Image.Image:
        """The restored picture, of the photo's size, with its alpha and colour profile.

        `size` is what the network sees: "own" the photo itself where the damage is a matter of
        pixels, else a small copy, whose change is made to the photo; a number, a copy with no
        longer side: see `mrsampler.size`. `texture` moves the result between the network's estimate
        of the mean (0: smooth, closest to the truth) and the sample (1): see `Reading.textured`.
        `settings` are those of `trajectory` above.

        Raises PhotoError for a file that is no usable picture, ValueError for another size, for a
        texture outside [0, 1] or below 1 of a network that makes no estimate, and what `trajectory`
        raises.
        """
        self.check_texture(texture)
        source = image if isinstance(image, Photo) else photo.read(image)
        small = working(source, task, size)
        shown, told = self._told(small.rgb, task)
        for step in self._trajectory(self.denoiser, shown, told, **settings):
            x = step.x
        if texture < 1 and (reading := self._reading(shown, told)) is not None:
            x = reading.textured(x, texture)
        return result(source, small, task, x[0].cpu())


def _finite(steps: Iterator[Step]) -> Iterator[Step]:
    try:
        for step in steps:
            # A sixtieth of isfinite().all(). In float32: half a photo's sum is infinite in float16.
            if not math.isfinite(step.x.float().sum().item()):
                raise FloatingPointError("the network returned values that are not finite")
            yield step
    finally:
        steps.close()  # type: ignore[attr-defined]


def load(
    name_or_path: str | Path = checkpoints.DEFAULT,
    device: torch.device | str | None = None,
    *,
    architecture: str | None = None,
    **settings: Any,
) -> Restorer:
    """A Restorer from a checkpoint's name or file.

    A name is a bundled one's or a published one's ("daclip-uir", or "daclip-uir@REVISION"), which
    is fetched the first time; a .safetensors file has its card beside it. Of a file without a card
    say the `architecture` ("irsde-unet") and what its shapes do not tell: `max_sigma`, `encoder`
    and the other `settings` of `checkpoints.adopt`.

    `device` None takes the GPU where there is one. Raises FileNotFoundError or ValueError, as
    `checkpoints.read` and `checkpoints.adopt` do.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(device)
    if architecture is not None:
        adopted = checkpoints.adopt(name_or_path, device, architecture=architecture, **settings)
        return Restorer(adopted, device)
    if settings:
        raise ValueError(
            f"{', '.join(settings)}: only for a file without a card, with architecture="
        )
    return Restorer(checkpoints.read(name_or_path, device), device)
