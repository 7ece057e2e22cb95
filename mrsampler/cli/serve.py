"""`mrsampler serve`: the demo page."""

from __future__ import annotations

import argparse
import os
from typing import Any

from mrsampler.cli import loading, options
from mrsampler.cli.errors import CommandError, reason


def add(commands: Any) -> None:
    command = commands.add_parser(
        "serve", help="open the demo page", description="Serves the demo page until Ctrl-C."
    )
    command.set_defaults(command=run)
    command.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1",
        help="the address to listen on, 0.0.0.0 for all; or set GRADIO_SERVER_NAME",
    )
    command.add_argument(
        "--port",
        type=options.number(int, 1, 65535),
        default=os.environ.get("GRADIO_SERVER_PORT") or "7860",
        help="or set GRADIO_SERVER_PORT",
    )
    options.add_device(command)
    command.add_argument(
        "--max-queue",
        type=options.count,
        metavar="N",
        help="runs that may wait at once; others are told that the line is full (default: 64)",
    )
    command.add_argument(
        "--mcp",
        action="store_true",
        help="offer the endpoints to language models, too, as tools of the Model Context Protocol",
    )
    command.add_argument(
        "--share",
        action="store_true",
        help="make a public link to this page through gradio's servers (default: not)",
    )


def run(args: argparse.Namespace) -> int:
    device = loading.device(args.device)
    from mrsampler.ui.page import launch

    asked: dict[str, Any] = {} if args.max_queue is None else {"max_queue": args.max_queue}
    if args.mcp:  # else it is as GRADIO_MCP_SERVER says
        asked["mcp_server"] = True
    try:
        launch(host=args.host, port=args.port, device=device, share=args.share, **asked)
    except OSError as error:
        raise CommandError(
            f"cannot serve on {args.host}:{args.port} (is it in use?): {reason(error)}"
        ) from None
    return 0
