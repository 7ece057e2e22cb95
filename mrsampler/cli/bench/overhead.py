"""`mrsampler bench overhead`: what a step costs beside the network, against diffusers."""

from __future__ import annotations

import argparse
from typing import Any

from mrsampler.cli import options, tables
from mrsampler.cli.errors import CommandError
from mrsampler.cli.tables import Column, Table


def add(benches: Any) -> None:
    command = benches.add_parser(
        "overhead",
        help="what a step costs beside the network, against diffusers",
        description="Times a step of ours and the same one of diffusers in turns, on the CPU, over "
        "a network that is free. The start, set-up and first step, is timed apart.",
    )
    command.set_defaults(command=run)
    command.add_argument(
        "--repeats", type=options.count, default=15, metavar="N", help="runs of 20 steps each"
    )
    command.add_argument(
        "--threads", type=options.count, metavar="N", help="of torch (default: all cores)"
    )
    tables.add_out(command)


OVERHEAD = Table(
    Column("solver", "solver", "<16"),
    Column("side", "side", "5g"),
    Column("ours", "ours, us", "9.0f"),
    Column("diffusers", "diffusers, us", "13.0f"),
    Column("ratio", "ratio", "5.2f"),
    Column("start", "our start", "9.0f"),
    Column("their_start", "their start", "11.0f"),
)


def run(args: argparse.Namespace) -> int:
    import torch

    from mrsampler.bench.overhead import PAIRS, SIDES, overhead

    tables.check_out(args.out)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    try:
        rows = OVERHEAD.print(overhead(repeats=args.repeats), len(PAIRS) * len(SIDES), "pair")
    except ImportError:
        raise CommandError('this compares with diffusers: pip install "mrsampler[bench]"') from None
    if args.out is not None:
        OVERHEAD.write(args.out, rows, {"threads": torch.get_num_threads()})
    return 0
