"""`mrsampler bench page`: how quick the page is, and whether it stays as small as it was."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from mrsampler.cli import loading, options, tables
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Table


def add(benches: Any) -> None:
    command = benches.add_parser(
        "page",
        help="how quick the page is in a browser, and whether it stays small",
        description="Serves the page and drives it in headless Chromium, all on the same few "
        "cores: the first meaningful paint, Run to the first streamed frame at 256 x 256, a scrub, "
        "a race with the page against the same race without it in turns, and memory and cache "
        "folder over many runs. Needs Playwright and a Chromium ($CHROMIUM, or on the PATH). The "
        "machine should have nothing else to do.",
    )
    command.set_defaults(command=run)
    for name, value, what in (
        ("--runs", 50, "short races for memory and cache"),
        ("--repeats", 15, "races with and without the page, of which the median"),
        ("--loads", 5, "visits, of which the median"),
        ("--nfe", 8, "of the sampler in those races"),
        ("--baseline-nfe", 100, "of the baseline"),
        ("--cores", 2, "that server and browser share"),
    ):
        command.add_argument(name, type=options.count, default=value, metavar="N", help=what)
    command.add_argument("--chromium", metavar="PATH", help="the browser")
    command.add_argument("--device", default="cpu", help="where the network runs")
    tables.add_out(command)


PAGE = Table(
    Column("name", "what", "<41"),
    Column("value", "measured", "8.3f"),
    Column("unit", "", "<5"),
    Column("target", "at most", "7.2f"),
    Column("met", "met", "<3"),
    Column("note", "", "<42"),
)


def run(args: argparse.Namespace) -> int:
    from mrsampler.bench import page

    tables.check_out(args.out)
    loading.device(args.device)
    names = ("runs", "repeats", "loads", "nfe", "baseline_nfe", "cores", "device", "chromium")
    asked = page.Settings(**{name: getattr(args, name) for name in names})
    try:
        rows = _printed(page.measure, asked)
    except (page.MissingError, page.FailedError) as error:
        raise CommandError(reason(error)) from None
    if args.out is not None:
        PAGE.write(args.out, rows, vars(asked))
    return 0


def _printed(measure: Any, asked: Any) -> list[tables.Row]:
    """Prints the rows as they come, and what is being measured where the output is a terminal."""
    from tqdm import tqdm

    rows: list[tables.Row] = []
    with tqdm(bar_format="{desc}", leave=False, disable=None) as bar:
        for row in measure(asked, bar.set_description_str):
            if not rows:
                bar.write(PAGE.head(), file=sys.stdout)
            rows.append(row)
            bar.write(PAGE.line(row), file=sys.stdout)
    return rows
