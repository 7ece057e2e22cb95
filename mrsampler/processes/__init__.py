"""The diffusion processes, all of one kind: affine-Gaussian around an anchor mu.

    x_t = mu + alpha_t (x_0 - mu) + sigma_t eps,        lambda_t = log(alpha_t / sigma_t)

In the residual y = x - mu the anchor disappears, so a solver needs to know a process only through
alpha, sigma and lambda. lambda is half the log-SNR; it falls as t grows.

                        mu               alpha_t                  sigma_t
    MeanRevertingSDE    degraded image   exp(-int_0^t f)          sigma_inf sqrt(1 - alpha_t^2)
    VPSDE               0                exp(-1/2 int_0^t beta)   sqrt(1 - alpha_t^2)
    VESDE               0                1                        sqrt(sigma^2(t) - sigma^2(0))
    GOUBridge           degraded image   (a - A^2/a) / (1 - A^2)  0 at both ends: see there
    FlowMatching        mu, or 0         1 - t                    s t

Times run from 0 (data) to T (noise). Functions take a float and return a float, or take a tensor
and return a float64 tensor of its shape on its device; `drift` and `diffusion` take a float.

Every module here that has a PROCESS is found: one more process is one more file. What it declares
is all that the cards of checkpoints, the command line, the bench and the page know of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from mrsampler.processes.base import Parameter, Process, View
from mrsampler.processes.bridge import GOUBridge
from mrsampler.processes.flow import FlowMatching
from mrsampler.processes.mean_reverting import MeanRevertingSDE
from mrsampler.processes.ve import VESDE
from mrsampler.processes.vp import VPSDE

__all__ = [
    "PROCESSES",
    "VESDE",
    "VPSDE",
    "FlowMatching",
    "GOUBridge",
    "MeanRevertingSDE",
    "Parameter",
    "Process",
    "View",
    "from_card",
    "make",
    "shown",
    "to_card",
]

_FIRST = (MeanRevertingSDE, VPSDE, VESDE, GOUBridge, FlowMatching)


def _found() -> dict[str, type[Process]]:
    """Those of all modules by their kind: those that are named here, then the others."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    found = [module.PROCESS for module in modules if hasattr(module, "PROCESS")]
    return {process.kind: process for process in dict.fromkeys((*_FIRST, *found))}


PROCESSES: dict[str, type[Process]] = _found()


def make(kind: str = MeanRevertingSDE.kind, /, **settings: Any) -> Process:
    """The process of that kind. Raises ValueError for an unknown one, or settings not its own."""
    if not isinstance(kind, str) or kind not in PROCESSES:
        raise ValueError(f"unknown process {str(kind)!r}; choose from {', '.join(PROCESSES)}")
    known = [parameter.name for parameter in PROCESSES[kind].parameters]
    for name in settings:
        if name not in known:
            raise ValueError(f"the {kind} process takes no {name!r}, only: {', '.join(known)}")
    try:
        return PROCESSES[kind](**settings)
    except TypeError as error:  # "cosine" for a number
        raise ValueError(f"the {kind} process cannot be made: {error}") from None


def shown(kind: str) -> Process:
    """The process of that kind as its view has it."""
    return make(kind, **PROCESSES[kind].view.settings)


def from_card(entry: Mapping[str, Any]) -> Process:
    """The process that a checkpoint's card names: {"kind": "mean-reverting", "max_sigma": ...}.

    Without a kind it is the mean-reverting one, as in cards of before there were others. Raises
    ValueError as `make` does, and for an entry that is no object.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"the process must be an object, got {entry!r}")
    settings = dict(entry)
    return make(settings.pop("kind", MeanRevertingSDE.kind), **settings)


def to_card(process: Process) -> dict[str, Any]:
    """What a card says of a process, so that `from_card` makes it again.

    Raises ValueError for one that its parameters do not describe: a VPSDE of a table.
    """
    return {"kind": process.kind, **process.settings}
