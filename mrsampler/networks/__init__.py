"""Networks. They know nothing of solvers."""

from mrsampler.networks.daclip import DACLIPImageEncoder
from mrsampler.networks.irsde_unet import IRSDEUNet
from mrsampler.networks.residual_unet import ResidualUNet, widened

__all__ = [
    "ARCHITECTURES",
    "ENCODERS",
    "DACLIPImageEncoder",
    "IRSDEUNet",
    "ResidualUNet",
    "widened",
]

ARCHITECTURES = {"residual-unet": ResidualUNet, "irsde-unet": IRSDEUNet}
ENCODERS = {"daclip": DACLIPImageEncoder}
"""What makes a network's contexts out of a photo."""
