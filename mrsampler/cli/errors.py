"""How a command refuses."""

from __future__ import annotations


class CommandError(Exception):
    """Input that a command cannot work with; its text is the line that the user reads."""


def reason(error: BaseException) -> str:
    """What went wrong, in one line, with the file if the error names one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
