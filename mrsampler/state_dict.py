"""Other people's weight files: read without running what is in them, and loaded whole or not."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

SUFFIXES = (".pth", ".pt", ".safetensors")
_WRAPPERS = ("state_dict", "params")
_SHOWN = 5


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .pth, .pt or .safetensors file, by name, on the CPU.

    What training wraps around them is taken off: an outer "state_dict" or "params", and the
    "module." that data parallelism puts before each name.

    Raises FileNotFoundError where there is no such file, ValueError where it is damaged, cut short,
    or holds something else than tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        content = _attempt(lambda: load_file(path), path)
    else:
        content = _attempt(lambda: _unpickle(path), path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds no weights by name")
    foreign = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if foreign:
        raise ValueError(f"{path} holds more than weights by name: {_some(map(str, foreign))}")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _unpickle(path: Path) -> Any:
    # torch reads an archive without looking at its checksums.
    if zipfile.is_zipfile(path) and (damaged := zipfile.ZipFile(path).testzip()):
        raise ValueError(f"{damaged} does not match its checksum")
    return torch.load(path, map_location="cpu", weights_only=True)


def _attempt(load: Any, path: Path) -> Any:
    try:
        return load()
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle raises whatever it likes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(
            f"{path} is damaged, cut short or no file of weights ({reason}); delete it and get it "
            "again"
        ) from None


def fill(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Loads all `weights` into all of `network`, in float32; nothing, unless they fit to the last.

    Raises ValueError, which lists what is missing, of another shape or left over.
    """
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    missing = [name for name in wanted if name not in weights]
    left = [name for name in weights if name not in wanted]
    reshaped = [
        f"{name} {tuple(value.shape)} instead of {wanted[name]}"
        for name, value in weights.items()
        if name in wanted and tuple(value.shape) != wanted[name]
    ]
    complaints = [
        f"{len(found)} {what}: {_some(found)}"
        for what, found in (
            (f"of its {len(wanted)} weights are missing", missing),
            (f"of its {len(wanted)} weights are of another shape", reshaped),
            ("more belong to something else", left),
        )
        if found
    ]
    if complaints:
        raise ValueError("; ".join(complaints))
    network.load_state_dict(
        {name: value.float() for name, value in weights.items()}, strict=True, assign=True
    )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
