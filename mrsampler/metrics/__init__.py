"""How good a restored picture is, for RGB tensors in [0, 1].

Distortion: PSNR, SSIM. Perception: ST-LPIPS and the sliced Wasserstein distance between sets of
pictures. A solver's error: RMSE. Distortion and perception are at odds (Blau & Michaeli, The
perception-distortion tradeoff, 2018), and any one of them can be had cheaply, PSNR by blur and a
learned distance by grain: none alone judges a sampler.
"""

from mrsampler.metrics.distortion import psnr, rmse, ssim
from mrsampler.metrics.shift_tolerant import STLPIPS, TRUNKS, st_lpips, st_lpips_missing
from mrsampler.metrics.sliced_wasserstein import SlicedWasserstein, laplacian_pyramid

__all__ = [
    "STLPIPS",
    "TRUNKS",
    "SlicedWasserstein",
    "laplacian_pyramid",
    "psnr",
    "rmse",
    "ssim",
    "st_lpips",
    "st_lpips_missing",
]
