"""What is not installed with the core: which extra brings it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class MissingExtraError(ImportError):
    """A part of the library was called whose packages are not installed; its text says which."""


def need(extra: str, package: str) -> ModuleType:
    """A package that an extra brings. Raises MissingExtraError where it is not installed."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.partition(".")[0]:
            raise  # it is there, and something of its own is not
        raise MissingExtraError(
            f'{package} is not installed; it comes with: pip install "mrsampler[{extra}]"'
        ) from None
