"""Fast sampling for mean-reverting diffusion."""

import os

# Torch's threads wait for one another by spinning, as long as 15 ms: with anything else on their
# cores, a browser or a second run, an evaluation then takes ten times as long. After 1 ms they now
# sleep; alone they are as fast. OpenMP reads it when torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from mrsampler.degradations import TASKS, degrade
from mrsampler.denoiser import Denoiser, Thresholding
from mrsampler.processes import VESDE, VPSDE, FlowMatching, GOUBridge, MeanRevertingSDE
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
    "FlowMatching",
    "GOUBridge",
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
