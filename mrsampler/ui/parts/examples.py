"""What the page shows of the example photos."""

from __future__ import annotations

from functools import cache

from mrsampler import photo
from mrsampler.examples import examples
from mrsampler.photo import Photo
from mrsampler.ui.parts.frames import jpeg


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
