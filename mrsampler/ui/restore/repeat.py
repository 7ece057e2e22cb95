"""How to repeat a run of the page elsewhere, to the same pixels: as Python and as a command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mrsampler.ui.restore.live import Entrant, Result


@dataclass(frozen=True)
class Settings:
    """All that a run of the page is made of.

    `photo` is the file, under the name that its owner knows; `example` its number among the
    examples, None for an upload; `clean` whether the page damages it; `device` None for the GPU if
    there is one. The first entrant's sample is the result. `stopped` has the NFE at which the run
    was stopped, by the key of each entrant that had not finished.
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
    stopped: dict[str, int] = field(default_factory=dict)

    def after(self, results: Sequence[Result]) -> Settings:
        """Those of a run that ended with these results."""
        return replace(self, stopped={r.entrant.key: r.nfe for r in results if not r.done})


def command(settings: Settings) -> str | None:
    """A command line that writes restored.png; None for a stopped run, as it always finishes."""
    chosen = settings.entrants[0]
    if chosen.key in settings.stopped:
        return None
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
    """A Python program that writes restored.png: where the run was stopped, it stops as well."""
    if settings.clean:
        return _steps(settings, "import torch\n\n", _DAMAGE.format(settings))
    if settings.entrants[0].key in settings.stopped:
        return _steps(settings, "", "degraded = source.rgb\n")
    return _of_damaged(settings)


_DAMAGE = """\
damage = torch.Generator().manual_seed({0.seed})
degraded = mrs.degrade(source.rgb, {0.task!r}, {0.severity!r}, damage)
"""


def _steps(settings: Settings, imports: str, degraded: str) -> str:
    reached = settings.stopped.get(settings.entrants[0].key)
    halt = (
        "" if reached is None else f"    if step.nfe == {reached}:\n        break  # stopped here\n"
    )
    return f"""\
{imports}import mrsampler as mrs
from mrsampler import photo

source = photo.read({settings.photo!r}).within({settings.largest_side})
{degraded}
restorer = {_load(settings)}
for step in restorer.trajectory(
    degraded,
    {settings.task!r},
{_sampler(settings)}):
    print(step.nfe, step.t)
{halt}source.image(step.x[0].cpu()).save("restored.png")
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
