"""`mrsampler bench NAME`: measurements, one a file, each with its options and its run."""

from __future__ import annotations

from typing import Any

from mrsampler.cli.bench import (
    accuracy,
    gpu,
    order,
    overhead,
    page,
    peers,
    prediction,
    quality,
    speedup,
)


def add(commands: Any) -> None:
    benches = commands.add_parser(
        "bench", help="measure", description="Measurements; each prints a table."
    ).add_subparsers(metavar="NAME", required=True)
    for bench in (quality, peers, accuracy, order, overhead, gpu, prediction, speedup, page):
        bench.add(benches)
