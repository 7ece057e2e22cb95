"""What a task declares: its damage in several forms, in the file of that damage."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Degradation = Callable[[Tensor, float, torch.Generator], Tensor]
USUAL = "usual"


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
    """

    name: str
    forms: dict[str, Form]
    local: bool
