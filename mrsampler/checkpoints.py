"""Weights on disk: NAME.safetensors beside NAME.json, its card.

The card says what the weights are for (architecture, config, target, process, tasks) and, for
people, how they were trained and what they reach.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mrsampler.denoiser import Denoiser
from mrsampler.networks import ARCHITECTURES
from mrsampler.process import MeanRevertingSDE

DEFAULT = "bundled"

# In a source tree the bundled weights lie beside the package, in an installed one inside it.
_HOMES = (Path(__file__).parent / "_checkpoints", Path(__file__).parents[1] / "checkpoints")


@dataclass(frozen=True)
class Checkpoint:
    """A network ready to be called, with the process and the tasks it was trained on."""

    name: str
    denoiser: Denoiser
    process: MeanRevertingSDE
    tasks: tuple[str, ...]
    card: dict[str, Any]


def names() -> list[str]:
    """The bundled checkpoints, the default first."""
    found = {card.stem for home in _HOMES for card in home.glob("*.json")}
    return sorted(found, key=lambda name: (name != DEFAULT, name))


def _locate(name_or_path: str | Path) -> Path:
    given = Path(name_or_path)
    file = given if given.suffix == ".safetensors" else given.with_name(given.name + ".safetensors")
    # A bare name is looked up here first, then among the bundled ones.
    homes = (Path(), *_HOMES) if len(given.parts) == 1 else (Path(),)
    for home in homes:
        if (home / file).is_file():
            return home / file
    raise FileNotFoundError(
        f"no checkpoint {str(name_or_path)!r}: neither a .safetensors file nor one of "
        f"{', '.join(names()) or 'the bundled ones (none is installed)'}"
    )


def read_card(name_or_path: str | Path) -> dict[str, Any]:
    """A checkpoint's card alone, without its weights.

    Raises FileNotFoundError where the weights or the card are missing, ValueError for a card that
    is no JSON object.
    """
    path = _locate(name_or_path)
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.name} has no card: {path.stem}.json is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the card {path.stem}.json is damaged: {error}") from None
    if not isinstance(card, dict):
        raise ValueError(f"the card {path.stem}.json is damaged: not an object")
    return card


def save(path: Path, network: nn.Module, card: dict[str, Any]) -> None:
    """Writes float16 weights to `path` (.safetensors) and the card beside it, each atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().half().contiguous().cpu()
        for name, value in network.state_dict().items()
    }
    partial = path.with_suffix(".safetensors.part")
    save_file(weights, partial)
    partial.replace(path)
    _write_card(path, card)


def add_to_card(name_or_path: str | Path, entries: dict[str, Any]) -> Path:
    """Sets entries of a checkpoint's card and returns the card's path. Raises as `read_card`."""
    path = _locate(name_or_path)
    _write_card(path, read_card(name_or_path) | entries)
    return path.with_suffix(".json")


def _write_card(path: Path, card: dict[str, Any]) -> None:
    partial = path.with_suffix(".json.part")
    partial.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    partial.replace(path.with_suffix(".json"))


def read(name_or_path: str | Path, device: torch.device | str | None = None) -> Checkpoint:
    """A checkpoint by its bundled name or the path of its .safetensors file, in float32.

    Raises FileNotFoundError where there is none, ValueError where the file or its card is damaged
    or does not fit the architecture: never a half-loaded network.
    """
    path, card = _locate(name_or_path), read_card(name_or_path)
    try:
        network = ARCHITECTURES[card["architecture"]](**card["config"])
        process = MeanRevertingSDE(**card["process"])
        denoiser, tasks = Denoiser(network, card["target"]), tuple(card["tasks"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the card {path.stem}.json cannot be used: {error!r}") from None
    try:
        weights = {name: value.float() for name, value in load_file(path).items()}
        network.load_state_dict(weights, strict=True)
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path.name} does not hold the weights its card says: {reason}") from None
    network.eval().requires_grad_(False)
    network.to(device or "cpu")
    network.to(memory_format=torch.channels_last)
    return Checkpoint(path.stem, denoiser, process, tasks, card)
