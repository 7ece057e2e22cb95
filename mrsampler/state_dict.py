"""Other people's weight files: read without running what is in them, and loaded whole or not."""

from __future__ import annotations

import pickle
import re
import textwrap
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
_WRAPPERS = ("params_ema", "ema", "params", "state_dict", "model_state_dict", "model")
_PREFIXES = re.compile(r"^((module|_orig_mod|netG|model)\.)+")
_SHOWN = 5


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .pth, .pt or .safetensors file, by name, on the CPU; maybe mapped from it.

    What training wraps around them is taken off: an outer "state_dict", "params" or "ema", and the
    "module." or "_orig_mod." before each name. Of several sets the averaged one is taken, with a
    warning that says so.

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
    sets = _sets(content)
    if not sets:
        instead = f", but {_some(content)}" if isinstance(content, Mapping) and content else ""
        raise ValueError(f"{path} holds no weights by name{instead}")
    (taken, weights), *others = sets
    if others:
        left = ", ".join(name for name, _ in others)
        warnings.warn(f"of {path} the weights under {taken} are taken, not {left}", stacklevel=2)
    foreign = [name for name, value in weights.items() if not isinstance(value, Tensor)]
    if foreign:
        raise ValueError(f"{path} holds more than weights by name: {_some(foreign)}")
    sparse = [name for name, value in weights.items() if value.layout != torch.strided]
    if sparse:
        raise ValueError(f"{path} holds sparse weights: {_some(sparse)}")
    bare = {_PREFIXES.sub("", str(name)): value for name, value in weights.items()}
    if len(bare) < len(weights):
        raise ValueError(f"{path} holds more than one network: {_some(weights)}")
    return bare


def _sets(content: Any) -> list[tuple[str, Mapping[Any, Any]]]:
    """What there is of weights by name, each with the wrapper it is in, the first to be taken."""
    if not isinstance(content, Mapping):
        return []
    wrapped = [
        (f"{wrapper}.{inner}".rstrip("."), weights)
        for wrapper in _WRAPPERS
        for inner, weights in _sets(content.get(wrapper))
    ]
    if not wrapped and any(isinstance(value, Tensor) for value in content.values()):
        return [("", content)]
    return wrapped


def _unpickle(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        return torch.load(path, map_location="cpu", weights_only=True)
    # torch reads an archive without looking at its checksums.
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} does not match its checksum")
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _attempt(load: Callable[[], Any], path: Path) -> Any:
    try:
        return load()
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle raises whatever it likes
        if isinstance(error, pickle.UnpicklingError) and (
            foreign := re.search(r"GLOBAL ((?:\w+\.)+\w+)", str(error))
        ):
            raise ValueError(
                f"{path} holds more than tensors: {foreign[1]}, which would have to be run to be "
                "read; save the network's state_dict() alone"
            ) from None
        # The first sentence: what follows in torch's is advice, to load the file unsafely too.
        reason = " ".join(str(error).split()).split(". ")[0] or type(error).__name__
        # Beneath a link there may be the cache that it would be brought back from.
        it = path.resolve() if path.is_symlink() else "it"
        raise ValueError(
            f"{path} is damaged, cut short or no file of weights "
            f"({textwrap.shorten(reason, 120, placeholder=' ...')}); delete {it} and get it again"
        ) from None


def require(weights: Mapping[str, Tensor], dimensions: Mapping[str, int]) -> None:
    """Raises ValueError unless there are weights of these names, of so many dimensions each.

    It lists those that are missing, and what there is instead.
    """
    if missing := [name for name in dimensions if name not in weights]:
        raise ValueError(f"it lacks {_some(missing)}; it holds {_some(weights) or 'nothing'}")
    flat = [
        f"{name} {tuple(weights[name].shape)}"
        for name, wanted in dimensions.items()
        if weights[name].ndim != wanted or 0 in weights[name].shape
    ]
    if flat:
        raise ValueError(f"these weights are of no possible shape: {_some(flat)}")


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
    # Copied: the file that they are mapped from may be written to while the network is in use.
    copies = {name: value.to(torch.float32, copy=True) for name, value in weights.items()}
    network.load_state_dict(copies, strict=True, assign=True)


def _some(items: Iterable[Any]) -> str:
    names = list(map(str, items))
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
