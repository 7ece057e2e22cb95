"""The ten degradations the bundled network learns to undo.

`degrade(image, task, severity, generator)` is the way in; each task is one file.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from . import blur, haze, jpeg, low_light, noise, rain, raindrop, shadow, snow, strokes

MIN_SIDE = 32
ROUNDING = 1e-3  # a resized photo may overshoot this much

Degradation = Callable[[Tensor, float, torch.Generator], Tensor]

DEGRADATIONS: dict[str, Degradation] = {
    "motion-blurry": blur.motion_blur,
    "hazy": haze.haze,
    "jpeg-compressed": jpeg.jpeg,
    "low-light": low_light.low_light,
    "noisy": noise.noise,
    "raindrop": raindrop.raindrop,
    "rainy": rain.rain,
    "shadowed": shadow.shadow,
    "snowy": snow.snow,
    "uncompleted": strokes.strokes,
}
TASKS = tuple(DEGRADATIONS)

# As photos come with it, where that differs from what the task's benchmark is made of.
WILD: dict[str, Degradation] = {
    "low-light": low_light.night,
    "noisy": noise.camera_noise,
    "rainy": rain.wild_rain,
    "uncompleted": strokes.scrawl,
}


def degrade(
    image: Tensor,
    task: str,
    severity: float,
    generator: torch.Generator | None = None,
    *,
    wild: bool = False,
) -> Tensor:
    """Damage a photo the way `task` does.

    image: (3, H, W) floating point in [0, 1], H and W at least 32; it is not modified.
    severity: 0 (next to no damage) to 1 (the heavy end of the task's benchmark).
    generator: a CPU generator, the only source of chance; without one every call differs.
    wild: the damage of photos from anywhere, of the tasks in WILD: a night with lamps, a camera's
        noise, rain of any streaks, thin lines and letters; mostly a JPEG file after. Even at 0 that
        file's losses stay, and one line or word.

    Returns a new tensor in [0, 1] with the shape, dtype and device of `image`. With the same seed,
    a higher severity is more of the same damage. Raises TypeError for what is not a tensor (or a
    number, or a generator) and ValueError for a value the contract above excludes.
    """
    if wild and task in TASKS and task not in WILD:
        raise ValueError(f"No wild form of {task!r}; they are {', '.join(WILD)}.")
    check(image, task, severity, generator)
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    clean = image.detach().to("cpu", torch.float32, copy=True).clamp_(0, 1)
    damaged = (WILD if wild else DEGRADATIONS)[task](clean, float(severity), generator)
    return damaged.clamp(0, 1).to(image.device, image.dtype)


def check(image: Tensor, task: str, severity: float, generator: torch.Generator | None) -> None:
    """Raise on the first argument of `degrade` outside its contract."""
    if not isinstance(image, Tensor):
        raise TypeError(f"The image must be a torch.Tensor, not {type(image).__name__}.")
    if task not in DEGRADATIONS:
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
