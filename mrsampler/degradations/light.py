"""Between stored values and linear light, where exposures add up."""

from torch import Tensor

GAMMA = 2.2  # the power law nearest to sRGB


def to_linear(image: Tensor) -> Tensor:
    """Stored values in [0, 1] -> scene light in [0, 1], any shape."""
    return image.pow(GAMMA)


def from_linear(light: Tensor) -> Tensor:
    """Non-negative scene light -> stored values, any shape."""
    return light.pow(1 / GAMMA)
