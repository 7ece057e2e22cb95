"""The device and the checkpoint that a command asks for."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from mrsampler.cli import options
from mrsampler.cli.errors import CommandError, reason

if TYPE_CHECKING:
    from mrsampler.restorer import Restorer


def device(name: str) -> str | None:
    """A device that this machine has, None for auto. Raises CommandError for another."""
    import torch

    if name == "auto":
        return None
    kind, _, index = name.partition(":")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if kind not in there or (index or "0") not in map(str, range(there[kind])):
        present = ", ".join(
            f"{kind}:{i}" if kind == "cuda" else kind for kind, n in there.items() for i in range(n)
        )
        raise CommandError(f"no device {name!r} on this machine; choose from auto, {present}")
    return name


def load(args: argparse.Namespace, task: str | None = None, **settings: Any) -> Restorer:
    """The checkpoint, once it has agreed to `task` (None: its first) and the sampler's settings."""
    from mrsampler import restorer

    try:
        said = options.checkpoint(args)
        loaded = restorer.load(args.checkpoint, device(args.device), **said)
        loaded.check(loaded.tasks[0] if task is None else task, **settings)
    except (FileNotFoundError, ValueError) as error:
        # The library names its arguments, the command line its options.
        why = re.sub(r"\b(architecture|encoder|process)=", r"--\1", reason(error))
        raise CommandError(why) from None
    return loaded
