"""Networks. They know nothing of solvers."""

from typing import Any

from torch import nn

from mrsampler.networks.daclip import DACLIPImageEncoder
from mrsampler.networks.irsde_unet import IRSDEUNet
from mrsampler.networks.light_denoiser import LightDenoiser
from mrsampler.networks.reader import Reader
from mrsampler.networks.residual_unet import ResidualUNet
from mrsampler.processes import Process

__all__ = [
    "ARCHITECTURES",
    "ENCODERS",
    "DACLIPImageEncoder",
    "IRSDEUNet",
    "LightDenoiser",
    "Reader",
    "ResidualUNet",
    "build",
]

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "light-denoiser": LightDenoiser,
    "residual-unet": ResidualUNet,
    "irsde-unet": IRSDEUNet,
}
ENCODERS = {"daclip": DACLIPImageEncoder}
"""What makes a network's contexts out of a photo."""


def build(architecture: str, config: dict[str, Any], process: Process, target: str) -> nn.Module:
    """A network of an architecture by its card; one that goes by alpha and sigma is given them.

    Raises KeyError for an unknown architecture, TypeError or ValueError for settings that it does
    not take.
    """
    kind = ARCHITECTURES[architecture]
    if kind is LightDenoiser:
        return LightDenoiser(process, target=target, **config)
    return kind(**config)
