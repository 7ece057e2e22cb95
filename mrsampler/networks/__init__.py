"""Networks. They know nothing of solvers."""

from mrsampler.networks.residual_unet import ResidualUNet

__all__ = ["ARCHITECTURES", "ResidualUNet"]

ARCHITECTURES = {"residual-unet": ResidualUNet}
