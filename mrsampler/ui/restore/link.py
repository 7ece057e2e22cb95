"""A link that opens the page with a run's settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlencode

from mrsampler import checkpoints, size
from mrsampler.degradations import TASKS
from mrsampler.examples import examples
from mrsampler.restorer import Restorer
from mrsampler.ui.parts import choices
from mrsampler.ui.restore.repeat import Settings
from mrsampler.ui.session import load, loaded

T = TypeVar("T")

OWN = "own"
"""Stands for a photo that only the link's maker has."""


KEYS = frozenset(
    {
        "photo",
        "damage",
        "task",
        "severity",
        "sampler",
        "nfe",
        "spacing",
        "baseline",
        "baseline_nfe",
        "seed",
        "checkpoint",
        "side",
    }
)
"""What the query of a link may hold."""


@dataclass(frozen=True)
class Linked:
    """What a link sets on the page; `own` where its photo could not travel in it."""

    example: int
    own: bool
    clean: bool
    task: str
    severity: float
    sampler: str
    nfe: int
    spacing: str
    baseline: str
    baseline_nfe: int
    seed: int
    checkpoint: str
    size: int | str


def query(settings: Settings) -> str:
    """The query of a link, after its question mark."""
    first, second = settings.entrants
    return urlencode(
        {
            "photo": OWN if settings.example is None else _names()[settings.example],
            "damage": "clean" if settings.clean else "done",
            "task": settings.task,
            "severity": repr(settings.severity),
            "sampler": first.solver,
            "nfe": first.nfe,
            "spacing": first.spacing,
            "baseline": second.solver,
            "baseline_nfe": second.nfe,
            "seed": settings.seed,
            "checkpoint": settings.checkpoint,
            "side": settings.size,
        }
    )


def read(given: Mapping[str, str]) -> tuple[Linked, list[str]]:
    """What a link asks for, and a sentence for each part of it that there is not.

    What is missing or wrong is as the page opens with it.
    """
    asked = _Asked(given)
    name = asked.word("photo", [*_names(), OWN], _names()[0])
    own = name == OWN
    example = 0 if own else _names().index(name)
    photo = examples()[example]
    damage = asked.word("damage", ["clean", "done"], "done" if own or photo.damaged else "clean")
    checkpoint = asked.word("checkpoint", checkpoints.offered(), checkpoints.DEFAULT)
    restorer = load(laid_out_by(checkpoint))
    sampler, nfe = asked.sampler("sampler", "nfe", restorer, choices.SAMPLER, choices.NFE)
    baseline, baseline_nfe = asked.sampler(
        "baseline", "baseline_nfe", restorer, choices.BASELINE, choices.BASELINE_NFE
    )
    usual = choices.spacing(restorer, sampler, nfe, None)
    sides = {str(side): side for side in (size.OWN, *choices.LARGEST_SIDES)}
    linked = Linked(
        example=example,
        own=own,
        clean=damage == "clean",
        task=asked.word("task", TASKS, photo.task),
        severity=asked.number("severity", 0, 1, photo.severity),
        sampler=sampler,
        nfe=nfe,
        spacing=asked.word("spacing", restorer.spacings(sampler, nfe), usual),
        baseline=baseline,
        baseline_nfe=baseline_nfe,
        seed=int(asked.number("seed", 0, 2**31 - 1, 0)),
        checkpoint=checkpoint,
        size=sides[asked.word("side", list(sides), size.OWN)],
    )
    return linked, asked.refused


def laid_out_by(checkpoint: str) -> str:
    """The checkpoint that a link's controls are laid out by: the default until its own is here."""
    here = loaded(checkpoint) or checkpoints.at_hand(checkpoint)
    return checkpoint if here else checkpoints.DEFAULT


class _Asked:
    """Reads a link's parts, and notes what it refuses."""

    def __init__(self, given: Mapping[str, str]):
        self._given = given
        self.refused: list[str] = []

    def word(self, name: str, known: Sequence[str], otherwise: str) -> str:
        value = self._given.get(name, otherwise)
        return value if value in known else self._refuse(name, otherwise)

    def number(self, name: str, low: float, high: float, otherwise: float) -> float:
        try:
            value = float(self._given.get(name, otherwise))
        except ValueError:
            value = float("nan")
        return value if low <= value <= high else self._refuse(name, otherwise)

    def sampler(
        self, name: str, count: str, restorer: Restorer, otherwise: str, nfe: int
    ) -> tuple[str, int]:
        solver = self.word(name, list(choices.offered(restorer.process)), otherwise)
        low, high = choices.bounds(solver, restorer.process)
        usual = choices.placed(solver, nfe, restorer.process)
        return solver, int(self.number(count, low, high, usual))

    def _refuse(self, name: str, otherwise: T) -> T:
        self.refused.append(f"{name}={self._given[name][:40]}")
        return otherwise


def _names() -> list[str]:
    return [example.path.stem for example in examples()]
