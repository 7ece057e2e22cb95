"""`mrsampler bench gpu`: what the published network costs on a GPU, and a run around it."""

from __future__ import annotations

import argparse
from typing import Any

from mrsampler.cli import loading, options, tables
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.tables import Column, Table


def add(benches: Any) -> None:
    command = benches.add_parser(
        "gpu",
        help="what the published network costs on a GPU, and a run around it",
        description="Times the 49-million-parameter network of universal-IR, with random weights: "
        "milliseconds an evaluation in float32, under bfloat16 autocast and from a CUDA graph; "
        "for each of two made as one; the sampler's own share of a run; steps a second with every "
        "x_t brought to the CPU in 8 bits; peak memory. Without a GPU it measures the CPU, with "
        "small settings, and says so.",
    )
    command.set_defaults(command=run)
    command.add_argument(
        "--sides",
        type=options.number(int, 32, 2048),
        nargs="+",
        metavar="PIXELS",
        help="of the square photos (default: 256 512; on a CPU 64)",
    )
    command.add_argument(
        "--nfe",
        type=options.count,
        metavar="N",
        help="evaluations a run (default: 10; on a CPU 2)",
    )
    command.add_argument(
        "--repeats",
        type=options.count,
        metavar="N",
        help="medians of so many (default: 20; on a CPU 3)",
    )
    options.add_device(command)
    tables.add_out(command)


COSTS = Table(
    Column("side", "side", "5g"),
    Column("eager", "eager, ms", "9.2f"),
    Column("autocast", "autocast, ms", "12.2f"),
    Column("graph", "graph, ms", "9.2f"),
    Column("pair", "of two, ms", "10.2f"),
    Column("own", "sampler's share", "15.1%"),
    Column("frames", "frames/s", "8.1f"),
    Column("peak", "peak, MiB", "9.0f"),
)


def run(args: argparse.Namespace) -> int:
    import torch

    from mrsampler.bench.gpu import device_costs
    from mrsampler.networks import IRSDEUNet

    tables.check_out(args.out)
    name = loading.device(args.device) or ("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    small = device.type != "cuda"
    sides = args.sides or ([64] if small else [256, 512])
    nfe, repeats = args.nfe or (2 if small else 10), args.repeats or (3 if small else 20)
    described = f"the {device.type.upper()}, not a GPU with CUDA: small settings, no graph"
    if not small:
        described = torch.cuda.get_device_name(device)
    print(f"Measured on {described}; torch {torch.__version__}, {nfe} NFE a run\n", flush=True)
    try:
        measured = device_costs(device, sides, nfe=nfe, repeats=repeats)
        rows = COSTS.print(measured, len(sides), "side")
    except RuntimeError as error:  # out of memory
        raise CommandError(reason(error)) from None
    if args.out is not None:
        with torch.device("meta"):
            parameters = sum(weight.numel() for weight in IRSDEUNet().parameters())
        settings = {"device": described, "torch": torch.__version__, "nfe": nfe}
        COSTS.write(args.out, rows, settings | {"repeats": repeats, "parameters": parameters})
    return 0
