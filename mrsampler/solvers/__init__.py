"""Solvers in the residual y = x - mu, a family a file, and their registry.

A solver is a generator function `run(model, y, nodes, noise, **options)` that yields the State
after each step. It computes its coefficients once, in Python floats, before its loop.
"""

from __future__ import annotations

from mrsampler.solvers import (
    ancestral,
    deis,
    dpm_multistep,
    dpm_singlestep,
    euler,
    langevin,
    mr,
    pndm,
    rho,
    rk45,
    unipc,
)
from mrsampler.solvers.interface import BudgetError, Solver

__all__ = ["SOLVERS", "BudgetError", "Solver"]

SOLVERS: dict[str, Solver] = {
    **mr.SOLVERS,
    **dpm_multistep.SOLVERS,
    **dpm_singlestep.SOLVERS,
    **unipc.SOLVERS,
    **deis.SOLVERS,
    **pndm.SOLVERS,
    **ancestral.SOLVERS,
    **euler.SOLVERS,
    **rho.SOLVERS,
    **rk45.SOLVERS,
    **langevin.SOLVERS,
}
