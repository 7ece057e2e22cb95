"""The example photos in assets/examples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mrsampler import photo
from mrsampler.photo import Photo
from mrsampler.ui.frames import jpeg

# In a source tree the assets lie beside the package, in an installed one inside it.
_HOMES = (Path(__file__).parents[1] / "_assets", Path(__file__).parents[2] / "assets")
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


@cache
def example_photo(index: int) -> Photo:
    """The photo of an example, decoded once."""
    return photo.read(examples()[index].path)


def thumbnails() -> list[dict[str, str]]:
    """What the row of thumbnails shows."""
    row = []
    for index, example in enumerate(examples()):
        rgb = example_photo(index).rgb
        side = min(rgb.shape[1:])
        square = rgb[:, :side, (rgb.shape[2] - side) // 2 :][:, :, :side]
        row.append(
            {
                "thumb": jpeg(photo.resize(square, (112, 112))),
                "title": f"{example.title}: {example.task}",
                "first": "true" if index == 0 else "false",
            }
        )
    return row


def attribution() -> str:
    """Markdown: who made each photo and under which licence."""
    lines = [f"- {e.title}: {e.source}. {e.licence}." for e in examples()]
    return "\n".join(dict.fromkeys(lines))
