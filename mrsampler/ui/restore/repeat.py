"""How to repeat a run of the page elsewhere, to the same pixels: as Python and as a command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mrsampler.size import OWN, WORKING_SIDE
from mrsampler.ui.restore.live import Entrant, Result


@dataclass(frozen=True)
class Settings:
    """All that a run of the page is made of.

    `photo` is the file, under the name that its owner knows; `example` its number among the
    examples, None for an upload; `clean` whether the page damages it; `device` None for the GPU if
    there is one. The first entrant's sample is the result. `stopped` has the NFE at which the run
    was stopped, by the key of each entrant that had not finished. `size` is as `Restorer.restore`
    takes it.
    """

    photo: str
    example: int | None
    clean: bool
    task: str
    severity: float
    seed: int
    size: int | str
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
    words += ["--seed", f"{settings.seed}", "--size", f"{settings.size}"]
    words += ["--checkpoint", settings.checkpoint]
    if settings.device:
        words += ["--device", settings.device]
    return shlex.join([*words, "--out", "restored.png"])


def python(settings: Settings) -> str:
    """A Python program that writes restored.png: where the run was stopped, it stops as well."""
    reached = settings.stopped.get(settings.entrants[0].key)
    imports = "from dataclasses import replace\n\nimport torch\n\n" if settings.clean else ""
    imports += "import mrsampler as mrs\nfrom mrsampler import photo\n"
    if reached is not None:
        imports += "from mrsampler.size import result\n"
    restored = _WHOLE if reached is None else _STOPPED
    side = WORKING_SIDE if settings.size == OWN else settings.size
    return f"""\
{imports}
source = {_source(settings)}
restorer = {_load(settings)}
{restored.format(settings, sampler=_sampler(settings), side=side, reached=reached)}\
"""


_WHOLE = """\
picture = restorer.restore(
    source,
    {0.task!r},
    size={0.size!r},
{sampler})
picture.save("restored.png")
"""

_STOPPED = """\
small = source.within({side})
for step in restorer.trajectory(
    small.rgb,
    {0.task!r},
{sampler}):
    print(step.nfe, step.t)
    if step.nfe == {reached}:
        break  # stopped here
result(source, small, {0.task!r}, step.x[0].cpu()).save("restored.png")
"""

_DAMAGED = """\
damage = torch.Generator().manual_seed({0.seed})
source = replace(source, rgb=mrs.degrade(source.rgb, {0.task!r}, {0.severity!r}, damage))
"""


def _source(settings: Settings) -> str:
    """The photo as it is to be restored."""
    read = f"photo.read({settings.photo!r})"
    if not settings.clean:
        return f"{read}\n"
    if settings.size != OWN:
        read += f".within({settings.size})"
    return f"{read}\n{_DAMAGED.format(settings)}"


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
