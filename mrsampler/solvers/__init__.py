"""Solvers in the residual y = x - mu, a family a file, and their registry.

A solver is a generator function `run(model, y, nodes, noise, **options)` that yields the State
after each step. It computes its coefficients once, in Python floats, before its loop.
"""

from __future__ import annotations

from mrsampler.solvers import ancestral, deis, dpm_multistep, euler, mr, unipc
from mrsampler.solvers.interface import BudgetError, Solver

__all__ = ["SOLVERS", "BudgetError", "Solver"]

SOLVERS: dict[str, Solver] = {
    **mr.SOLVERS,
    **dpm_multistep.SOLVERS,
    **unipc.SOLVERS,
    **deis.SOLVERS,
    **ancestral.SOLVERS,
    **euler.SOLVERS,
}
