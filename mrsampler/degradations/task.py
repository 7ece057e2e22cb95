"""What a task declares: its damage in several forms, in the file of that damage."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Degradation = Callable[[Tensor, float, torch.Generator], Tensor]
USUAL = "usual"
HELD_OUT = "held-out"  # stands for each task's own form of that kind


class Form(NamedTuple):
    """One way in which a task's damage comes.

    apply: (image (3, H, W) in [0, 1], severity in [0, 1], generator) -> damaged, of image's shape.
    held_out: never trained on, only measured: what a network makes of damage that it has not seen.
    """

    apply: Degradation
    summary: str
    held_out: bool = False


class Task(NamedTuple):
    """A task by its public name.

    forms: the damage of its benchmark, `USUAL`, first; one of the others is held out.
    local: the network is to see the photo at its full size, since the damage is a matter of pixels;
        else what changes is smooth or large, and is found at a working size.
    painted: the damage lies over the photo like paint, and hides some of its pixels alone.
    """

    name: str
    forms: dict[str, Form]
    local: bool
    painted: bool = False

    @property
    def other_forms(self) -> tuple[str, ...]:
        """The forms to train on beside the usual one: not the held-out one."""
        return tuple(n for n, form in self.forms.items() if n != USUAL and not form.held_out)

    def has(self, form: str) -> bool:
        """Whether there is such a form; `HELD_OUT` stands for the one that is held out."""
        return form in self.forms or (form == HELD_OUT and self._held_out is not None)

    def form(self, name: str) -> Form:
        """The form of this name, or the held-out one for `HELD_OUT`; ValueError without it."""
        held_out = self._held_out
        if name == HELD_OUT and held_out is not None:
            return held_out
        if name not in self.forms:
            raise ValueError(
                f"{self.name} has no form {name!r}; choose from {', '.join(self.forms)}."
            )
        return self.forms[name]

    @property
    def _held_out(self) -> Form | None:
        return next((form for form in self.forms.values() if form.held_out), None)
