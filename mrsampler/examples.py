"""The example photos in assets/examples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# In a source tree the assets lie beside the package, in an installed one inside it.
_PACKAGE = Path(__file__).parent
_HOMES = (_PACKAGE / "_assets", _PACKAGE.parent / "assets")
ASSETS = next((home for home in _HOMES if (home / "examples").is_dir()), _HOMES[1])


@dataclass(frozen=True)
class Example:
    """A freely licensed photo and the task it shows; `damaged` if the world did the damage."""

    file: str
    title: str
    task: str
    severity: float
    damaged: bool
    source: str
    licence: str

    @property
    def path(self) -> Path:
        """Where the picture lies."""
        return ASSETS / "examples" / self.file


@cache
def examples() -> tuple[Example, ...]:
    """All of them, the first being the one the page opens with."""
    listing = json.loads((ASSETS / "examples" / "examples.json").read_text(encoding="utf-8"))
    return tuple(Example(**entry) for entry in listing)
