"""The ten degradations the bundled network learns to undo, each in several forms.

`degrade(image, task, severity, generator)` is the way in. Each task is one file, which declares it
as `TASK`; the tasks are in the order of these files' names.
"""

import importlib
import math
import pkgutil

import torch
from torch import Tensor

from .task import HELD_OUT, USUAL, Form, Task

__all__ = ["HELD_OUT", "REGISTRY", "TASKS", "USUAL", "Form", "Task", "check", "degrade"]

MIN_SIDE = 32
ROUNDING = 1e-3  # a resized photo may overshoot this much


def degrade(
    image: Tensor,
    task: str,
    severity: float,
    generator: torch.Generator | None = None,
    *,
    form: str = USUAL,
) -> Tensor:
    """Damage a photo the way `task` does.

    image: (3, H, W) floating point in [0, 1], H and W at least 32; it is not modified.
    severity: 0 (next to no damage) to 1 (the heavy end of the task's benchmark).
    generator: a CPU generator, the only source of chance; without one every call differs.
    form: one of the task's forms (`REGISTRY[task].forms`), "usual" as its benchmark has it; or
        "held-out", the one that the bundled networks were never trained on.

    Returns a new tensor in [0, 1] with the shape, dtype and device of `image`. With the same seed,
    a higher severity is more of the same damage. Raises TypeError for what is not a tensor (or a
    number, or a generator) and ValueError for a value the contract above excludes.
    """
    check(image, task, severity, generator)
    apply = REGISTRY[task].form(form).apply
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    clean = image.detach().to("cpu", torch.float32, copy=True).clamp_(0, 1)
    damaged = apply(clean, float(severity), generator)
    return damaged.clamp(0, 1).to(image.device, image.dtype)


def check(image: Tensor, task: str, severity: float, generator: torch.Generator | None) -> None:
    """Raise on the first argument of `degrade` outside its contract."""
    if not isinstance(image, Tensor):
        raise TypeError(f"The image must be a torch.Tensor, not {type(image).__name__}.")
    if task not in REGISTRY:
        raise ValueError(f"Unknown task {task!r}; the tasks are {', '.join(TASKS)}.")
    if isinstance(severity, bool) or not isinstance(severity, int | float):
        raise TypeError(f"The severity must be a number, not {type(severity).__name__}.")
    if not 0 <= severity <= 1:
        raise ValueError(f"The severity must lie in [0, 1], not {severity}.")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"The generator must be a torch.Generator, not {type(generator).__name__}.")
    if generator is not None and generator.device.type != "cpu":
        raise ValueError(f"The generator must be on the CPU, not on {generator.device}.")
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"The image must have shape (3, H, W), not {tuple(image.shape)}.")
    if not image.is_floating_point():
        raise ValueError(f"The image must be floating point in [0, 1], not {image.dtype}.")
    if min(image.shape[1:]) < MIN_SIDE:
        height, width = image.shape[1:]
        raise ValueError(f"The image must be at least 32 x 32 pixels, not {height} x {width}.")
    low, high = (v.item() for v in image.detach().aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("The image must be finite everywhere, but it has NaN or infinite pixels.")
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(f"The image must lie in [0, 1], but it spans [{low:.4g}, {high:.4g}].")


def _find_tasks() -> dict[str, Task]:
    """The `TASK` of each file of this package that has one, by name, in order of file name."""
    files = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{file}") for file in files]
    tasks = [module.TASK for module in modules if hasattr(module, "TASK")]
    return {task.name: task for task in tasks}


REGISTRY = _find_tasks()
TASKS = tuple(REGISTRY)
