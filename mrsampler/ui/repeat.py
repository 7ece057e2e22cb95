"""How to repeat a run of the page elsewhere, to the same pixels: as Python and as a command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from mrsampler.ui.live import Entrant


@dataclass(frozen=True)
class Settings:
    """All that a run of the page is made of.

    `photo` is the file, under the name that its owner knows; `example` its number among the
    examples, None for an upload; `clean` whether the page damages it; `device` None for the GPU if
    there is one. The first entrant's sample is the result.
    """

    photo: str
    example: int | None
    clean: bool
    task: str
    severity: float
    seed: int
    largest_side: int | None
    checkpoint: str
    entrants: tuple[Entrant, ...]
    device: str | None = None


def command(settings: Settings) -> str:
    """A command line that writes restored.png."""
    chosen = settings.entrants[0]
    words = ["python", "-m", "mrsampler", "restore", settings.photo, "--task", settings.task]
    if settings.clean:
        words += ["--severity", f"{settings.severity!r}"]
    words += ["--solver", chosen.solver, "--nfe", f"{chosen.nfe}", "--spacing", chosen.spacing]
    words += ["--seed", f"{settings.seed}", "--largest-side", f"{settings.largest_side or 'full'}"]
    words += ["--checkpoint", settings.checkpoint]
    if settings.device:
        words += ["--device", settings.device]
    return shlex.join([*words, "--out", "restored.png"])


def python(settings: Settings) -> str:
    """A Python program that writes restored.png."""
    return _of_clean(settings) if settings.clean else _of_damaged(settings)


def _of_clean(settings: Settings) -> str:
    return f"""\
import torch

import mrsampler as mrs
from mrsampler import photo

source = photo.read({settings.photo!r}).within({settings.largest_side})
damage = torch.Generator().manual_seed({settings.seed})
degraded = mrs.degrade(source.rgb, {settings.task!r}, {settings.severity!r}, damage)

restorer = {_load(settings)}
for step in restorer.trajectory(
    degraded,
    {settings.task!r},
{_sampler(settings)}):
    print(step.nfe, step.t)
source.image(step.x[0].cpu()).save("restored.png")
"""


def _of_damaged(settings: Settings) -> str:
    return f"""\
import mrsampler as mrs

restorer = {_load(settings)}
picture = restorer.restore(
    {settings.photo!r},
    {settings.task!r},
    largest_side={settings.largest_side},
{_sampler(settings)})
picture.save("restored.png")
"""


def _load(settings: Settings) -> str:
    device = f", {settings.device!r}" if settings.device else ""
    return f"mrs.load({settings.checkpoint!r}{device})"


def _sampler(settings: Settings) -> str:
    chosen = settings.entrants[0]
    return f"""\
    solver={chosen.solver!r},
    nfe={chosen.nfe},
    spacing={chosen.spacing!r},
    seed={settings.seed},
"""
