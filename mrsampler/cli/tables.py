"""Tables of measurements: Markdown as the rows come, then a .csv or .json file."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mrsampler.cli import files
from mrsampler.cli.errors import CommandError

Row = dict[str, Any]


class Column(NamedTuple):
    """A row's key, its heading, and its cells' format: "<15" for text, "8.2f" for numbers.

    The format's width is the column's, so it is at least the heading's.
    """

    name: str
    heading: str
    format: str

    @property
    def width(self) -> int:
        return len(format("" if self.is_text else 0, self.format))

    @property
    def is_text(self) -> bool:
        return self.format.startswith("<")


class Table:
    """Rows under fixed columns; a cell that a row lacks stays empty."""

    def __init__(self, *columns: Column):
        self.columns = columns

    def head(self) -> str:
        """The two lines above the rows."""
        headings = [
            f"{c.heading:<{c.width}}" if c.is_text else f"{c.heading:>{c.width}}"
            for c in self.columns
        ]
        rules = [
            ":" + "-" * (c.width + 1) if c.is_text else "-" * (c.width + 1) + ":"
            for c in self.columns
        ]
        return f"| {' | '.join(headings)} |\n|{'|'.join(rules)}|"

    def line(self, row: Row) -> str:
        cells = [
            " " * c.width if row.get(c.name) is None else format(row[c.name], c.format)
            for c in self.columns
        ]
        return f"| {' | '.join(cells)} |"

    def print(self, rows: Iterable[Row], total: int, unit: str) -> list[Row]:
        """Prints the head, then each of the `total` rows as it is done; returns them."""
        done = []
        print(self.head(), flush=True)
        with progress(rows, total, unit) as bar:
            for row in bar:
                done.append(row)
                bar.write(self.line(row), file=sys.stdout)
        return done

    def write(self, target: Path, rows: list[Row], settings: dict[str, Any]) -> None:
        """Writes the rows, to .json with the settings, and says so."""
        from mrsampler import folder

        with (
            folder.replacing(target) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            if target.suffix.lower() == ".json":
                json.dump({"settings": settings, "rows": rows}, file, indent=2)
                file.write("\n")
            else:
                writer = csv.DictWriter(file, fieldnames=[column.name for column in self.columns])
                writer.writeheader()
                writer.writerows(rows)
        print(f"wrote {target}")


def progress(rows: Iterable[Row], total: int, unit: str) -> Any:
    """A bar over the rows that is gone at the end; none where the output is no terminal."""
    from tqdm import tqdm

    return tqdm(rows, total=total, unit=unit, leave=False, disable=None)


@contextmanager
def counter(title: str, unit: str) -> Iterator[Callable[[], None]]:
    """A count of what is done, of a total that is not known; gone at the end."""
    from tqdm import tqdm

    with tqdm(desc=title, unit=unit, leave=False, disable=None) as bar:
        yield lambda: bar.update() and None


def add_out(command: Any) -> None:
    """The option whose value `check_out` checks and `Table.write` takes."""
    command.add_argument("--out", type=Path, metavar="FILE", help="also write a .csv or .json file")


def check_out(target: Path | None) -> None:
    """Raises CommandError unless a table can be written there: before it is measured."""
    if target is None:
        return
    if target.suffix.lower() not in (".csv", ".json"):
        raise CommandError(f"--out {target}: expected a file that ends in .csv or .json")
    files.check_writable(target.parent)
