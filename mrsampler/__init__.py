"""Fast sampling for mean-reverting diffusion."""

from mrsampler.degradations import TASKS, degrade
from mrsampler.denoiser import Denoiser, Thresholding
from mrsampler.process import VESDE, VPSDE, MeanRevertingSDE
from mrsampler.projection import TrajectoryPCA
from mrsampler.restorer import Restorer, load
from mrsampler.solvers import SOLVERS
from mrsampler.stability import Convergence, convergence
from mrsampler.timesteps import SPACINGS
from mrsampler.trajectory import Step, race, sample, trajectory

__all__ = [
    "SOLVERS",
    "SPACINGS",
    "TASKS",
    "VESDE",
    "VPSDE",
    "Convergence",
    "Denoiser",
    "MeanRevertingSDE",
    "Restorer",
    "Step",
    "Thresholding",
    "TrajectoryPCA",
    "convergence",
    "degrade",
    "load",
    "race",
    "sample",
    "trajectory",
]
