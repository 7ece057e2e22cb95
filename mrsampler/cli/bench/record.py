"""A measurement that can be stopped and goes on: its rows, in memory and on disk."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mrsampler.cli.errors import CommandError
from mrsampler.cli.tables import Row

EVERY = 5.0  # seconds, at most, that a row is in memory alone


class Record:
    """The rows measured so far and, where there is a file, the same on disk.

    The file is a table for anyone: .json with the settings and the rows, .csv with the settings in
    every row. Raises CommandError for one that holds something else, or other settings.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]):
        from mrsampler.bench.speedup import key

        self.path, self.settings = path, settings
        self.rows: list[Row] = []
        self._saved = time.monotonic()
        if path is None or not path.exists():
            return
        try:
            if path.suffix.lower() == ".csv":
                known, self.rows = _read_csv(path, settings)
            else:
                known, self.rows = _read_json(path)
            for row in self.rows:
                key(row)
        except (ValueError, KeyError, TypeError):
            raise CommandError(f"--out {path}: not a table of this command") from None
        other = [
            f"{name} {known.get(name)}, not {value}"
            for name, value in settings.items()
            if str(known.get(name)) != str(value)
        ]
        if self.rows and other:
            raise CommandError(f"--out {path} was measured with {'; '.join(other)}")

    def add(self, row: Row) -> None:
        """Keeps a row; it is on disk within seconds, or with the next `save`."""
        self.rows.append(row)
        if time.monotonic() - self._saved > EVERY:
            self.save()

    def save(self) -> None:
        """Replaces the file as a whole, so that it never ends in half a row."""
        from mrsampler import folder

        self._saved = time.monotonic()
        if self.path is None:
            return
        with (
            folder.replacing(self.path) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            if self.path.suffix.lower() == ".json":
                json.dump({"settings": self.settings, "rows": self.rows}, file, indent=1)
                file.write("\n")
            else:
                names = dict.fromkeys(name for row in self.rows for name in row)
                writer = csv.DictWriter(file, [*names, *self.settings])
                writer.writeheader()
                writer.writerows(row | self.settings for row in self.rows)


def _read_json(path: Path) -> tuple[dict[str, Any], list[Row]]:
    table = json.loads(path.read_text(encoding="utf-8"))
    return dict(table["settings"]), list(table["rows"])


def _read_csv(path: Path, names: Iterable[str]) -> tuple[dict[str, Any], list[Row]]:
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    settings = {name: lines[0][name] for name in names} if lines else {}
    return settings, [
        {name: _cell(name, text) for name, text in line.items() if name not in names}
        for line in lines
    ]


def _cell(name: str, text: str) -> str | float | None:
    if name in ("task", "solver", "spacing"):
        return text
    if name in ("seed", "nfe"):
        return int(text)
    return float(text) if text else None
