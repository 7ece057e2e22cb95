"""The command line: `python -m mrsampler restore|degrade|bench|train|optimise|list|serve`.

A command a file: `add` declares its options, `run` does it. What is slow to import is imported by
the runs, so that a mistyped option is answered at once.
Exit codes: 0 done, 1 some files of a folder failed, 2 bad input (one line says what), 130 stopped.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from mrsampler.cli import bench, degrade, listing, optimise, restore, serve, train
from mrsampler.cli.errors import CommandError, reason
from mrsampler.cli.options import Parser
from mrsampler.extras import MissingExtraError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. `--help` exits by SystemExit(0), as usual."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters
    try:
        args = parser().parse_args(argv)
        return args.command(args)
    except (CommandError, MissingExtraError) as error:
        why = str(error)
    except OSError as error:
        why = reason(error)
    except KeyboardInterrupt:
        print("mrsampler: stopped", file=sys.stderr)
        return 130
    print(f"mrsampler: error: {' '.join(why.split())}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; the parsed `command` takes the arguments and runs."""
    top = Parser(
        prog="mrsampler",
        description="Fast photo restoration with mean-reverting diffusion.",
        epilog="`mrsampler COMMAND --help` says what a command takes.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for command in (restore, degrade, bench, train, optimise, listing, serve):
        command.add(commands)
    return top
