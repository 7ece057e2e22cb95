"""ZeroGPU: on such a Space a GPU is lent to a function for as long as it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable)

try:
    import spaces
except ImportError:
    spaces = None


def gpu(function: F) -> F:
    """`spaces.GPU` where that package is present, else the function itself.

    There the function runs in a process of its own: what goes in and comes out must be picklable.
    """
    return spaces.GPU(duration=120)(function) if spaces else function


def crosses_processes() -> bool:
    """Whether `gpu` functions run in another process, where an event set here is not seen."""
    return spaces is not None
