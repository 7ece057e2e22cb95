"""Solvers in the residual y = x - mu, a family a file, and their registry.

A solver is a generator function `run(model, y, nodes, noise, **options)` that yields the State
after each step. It computes its coefficients once, in Python floats, before its loop.

Every module here that has a dict SOLVERS is found: one more solver is one more file.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from mrsampler.solvers.interface import BudgetError, Solver

__all__ = ["SOLVERS", "BudgetError", "Solver"]

FAMILIES = (
    "MR Sampler",
    "DPM-Solver",
    "UniPC",
    "DEIS",
    "PNDM",
    "Ancestral",
    "Classical",
    "Adaptive",
    "Langevin",
)
"""In the order in which they are listed; those of any other name come after them."""


def _found() -> dict[str, Solver]:
    """Those of all modules, a family after the other."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    found: dict[str, Solver] = {}
    for module in modules:
        found |= getattr(module, "SOLVERS", {})
    place = {family: i for i, family in enumerate(FAMILIES)}
    ordered = sorted(found, key=lambda name: place.get(found[name].family, len(FAMILIES)))
    return {name: found[name] for name in ordered}


SOLVERS: dict[str, Solver] = _found()
