"""Weights on disk: NAME.safetensors beside NAME.json, its card.

The card says what the weights are for (architecture, config, target, process, tasks) and, for
people, how they were trained and what they reach. A network with contexts has the encoder that
makes them in NAME.encoder.safetensors. A published checkpoint is brought into this form once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mrsampler import hub, state_dict
from mrsampler.degradations import TASKS
from mrsampler.denoiser import Denoiser, Target
from mrsampler.networks import ENCODERS, DACLIPImageEncoder, IRSDEUNet, build
from mrsampler.processes import MeanRevertingSDE, Process, from_card, make, to_card

DEFAULT = "bundled"
FOREIGN = {"irsde-unet": IRSDEUNet}
"""The architectures that `adopt` knows from the files of their authors."""

# In a source tree the bundled weights lie beside the package, in an installed one inside it.
_HOMES = (Path(__file__).parent / "_checkpoints", Path(__file__).parents[1] / "checkpoints")


@dataclass(frozen=True)
class Checkpoint:
    """A network ready to be called, with the process and the tasks it was trained on.

    `encoder` makes its contexts, if it takes any.
    """

    name: str
    denoiser: Denoiser
    process: Process
    tasks: tuple[str, ...]
    card: dict[str, Any]
    encoder: DACLIPImageEncoder | None = None


def names() -> list[str]:
    """The bundled checkpoints, the default first."""
    found = {card.stem for home in _HOMES for card in home.glob("*.json")}
    return sorted(found, key=lambda name: (name != DEFAULT, name))


def _locate(name_or_path: str | Path) -> Path:
    """The .safetensors file; a published checkpoint is first brought into that form, if need be."""
    if (path := _local(name_or_path)) is not None:
        return path
    if not at_hand(str(name_or_path)):
        _read_published(str(name_or_path), None)
    return _converted(str(name_or_path))


def _local(name_or_path: str | Path) -> Path | None:
    """The .safetensors file of a checkpoint; None for a published one.

    Raises FileNotFoundError where there is neither, ValueError for a file that needs adopting.
    """
    given = Path(name_or_path)
    file = given if given.suffix == ".safetensors" else given.with_name(given.name + ".safetensors")
    # A bare name is looked up here first, then among the bundled ones.
    homes = (Path(), *_HOMES) if len(given.parts) == 1 else (Path(),)
    for home in homes:
        if (home / file).is_file():
            return home / file
    if hub.published(str(name_or_path)) is not None:
        return None
    if given.is_file() and given.suffix.lower() in state_dict.SUFFIXES:
        raise ValueError(
            f"{given} has no card: say with architecture= what it is, one of {', '.join(FOREIGN)}"
        )
    known = ", ".join(offered())
    raise FileNotFoundError(
        f"no checkpoint {str(name_or_path)!r}: neither a .safetensors file nor one of {known}"
    )


def offered() -> list[str]:
    """All checkpoints that `read` takes by name: the bundled and the published ones."""
    return [*names(), *hub.PUBLISHED]


def at_hand(name: str) -> bool:
    """Whether a checkpoint can be read without fetching or converting it first."""
    return hub.published(name) is None or bool(_converted_files(name))


def _converted(name: str) -> Path:
    """Where a published checkpoint is in this library's form."""
    return hub.folder(name) / f"{name}.safetensors"


def _converted_files(name: str) -> dict[Path, str]:
    """Its files and their digests, by its card; none unless all are there in full length."""
    path = _converted(name)
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        files = {path.with_name(file): told for file, told in card["files"].items()}
        whole = path in files and all(f.stat().st_size == t["size"] for f, t in files.items())
        return {file: told["sha256"] for file, told in files.items()} if whole else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _read_published(name: str, device: torch.device | str | None) -> Checkpoint:
    """From what it was converted to; that is made from its authors' files, or anew if damaged.

    Where its folder cannot be written to, it is read from the authors' files each time.
    """
    if (found := _read_converted(name, device)) is not None:
        return found
    with hub.locked(name) as writable:
        if not writable:
            return _ready(_adopt_published(name), device)
        # Another may have made it meanwhile.
        if (found := _read_converted(name, device)) is not None:
            return found
        damaged = _converted(name).exists()
        try:
            made = _adopt_published(name)
        except hub.UnavailableError as error:
            if not damaged:
                raise
            raise hub.UnavailableError(
                f"what {name} was converted to is damaged: delete the folder {hub.folder(name)} "
                f"and load it again where there is a network ({error})"
            ) from None
        _write_converted(name, made)
        return _ready(made, device)


def _read_converted(name: str, device: torch.device | str | None) -> Checkpoint | None:
    """None where it is not there whole, to the last bit."""
    files = _converted_files(name)
    try:
        if files and all(_digest(file) == digest for file, digest in files.items()):
            return _read(_converted(name), device)
    except (FileNotFoundError, ValueError):
        pass  # removed meanwhile, or not what this version writes
    return None


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _adopt_published(name: str) -> Checkpoint:
    published, fetched = hub.published(name), hub.fetch(name)
    assert published is not None
    settings = dict(published.process)
    made = adopt(
        fetched.network,
        process=settings.pop("kind", MeanRevertingSDE.kind),
        architecture=published.architecture,
        encoder=fetched.encoder,
        target=published.target,
        tasks=published.tasks,
        **settings,
    )
    made.card["source"] = {
        "repository": published.repository,
        "revision": published.revision,
        "commits": fetched.commits,
    }
    return replace(made, name=name)


def _write_converted(name: str, made: Checkpoint) -> None:
    """Beside what it has been measured to need since, as time steps: that is kept of the card."""
    path = _converted(name)
    try:
        kept = read_card(path)
    except (FileNotFoundError, ValueError):
        kept = {}
    network = cast(nn.Module, made.denoiser.network)
    files = _write_networks(path, network, made.encoder, torch.float32)
    told = {file.name: {"size": file.stat().st_size, "sha256": _digest(file)} for file in files}
    made.card.update(kept | made.card | {"files": told})
    _write_card(path, made.card)


def read_card(name_or_path: str | Path) -> dict[str, Any]:
    """A checkpoint's card alone, without its weights.

    Raises FileNotFoundError where the weights or the card are missing, ValueError for a card that
    is no JSON object.
    """
    path = _locate(name_or_path)
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path.name} has no card: {path.stem}.json is missing; of weights that never had one "
            "say with architecture= what they are"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the card {path.stem}.json is damaged: {error}") from None
    if not isinstance(card, dict):
        raise ValueError(f"the card {path.stem}.json is damaged: not an object")
    return card


def save(
    path: Path,
    network: nn.Module,
    card: dict[str, Any],
    encoder: nn.Module | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Writes weights of `dtype` to `path` (.safetensors) and the card beside it, each atomically.

    The card comes last: where it is, all is. Raises OSError with a sentence where one cannot be
    written, and leaves nothing of what it has begun.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_networks(path, network, encoder, dtype)
    _write_card(path, card)


def _encoder_path(path: Path) -> Path:
    return path.with_suffix(".encoder.safetensors")


def _write_networks(
    path: Path, network: nn.Module, encoder: nn.Module | None, dtype: torch.dtype
) -> list[Path]:
    """Returns the files that it has written: all, or none."""
    parts = {path: network} if encoder is None else {_encoder_path(path): encoder, path: network}
    with _said(path), ExitStack() as files:
        for file, part in parts.items():
            weights = {
                name: value.detach().to(dtype).contiguous().cpu()
                for name, value in part.state_dict().items()
            }
            save_file(weights, files.enter_context(_replacing(file)))
    return list(parts)


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """Where to write what takes the place of `file` once all is written; else it is removed."""
    partial = file.with_name(f"{file.name}.part")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """What keeps a file from being written, a full disk say, as an OSError of one sentence."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        if passed_on := re.search(r"os error (\d+)", str(error)):  # by safetensors
            number = int(passed_on[1])
        reason = str(error) if number is None else os.strerror(number)
        raise OSError(f"{path} cannot be written: {reason}") from error


def add_to_card(name_or_path: str | Path, entries: dict[str, Any]) -> Path:
    """Sets entries of a checkpoint's card and returns the card's path. Raises as `read_card`."""
    path = _locate(name_or_path)
    _write_card(path, read_card(name_or_path) | entries)
    return path.with_suffix(".json")


def _write_card(path: Path, card: dict[str, Any]) -> None:
    card_path = path.with_suffix(".json")
    with _said(card_path), _replacing(card_path) as partial:
        partial.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def read(name_or_path: str | Path, device: torch.device | str | None = None) -> Checkpoint:
    """A checkpoint by its name or the path of its .safetensors file, in float32.

    A published one is fetched and converted the first time, and again if that is damaged; the name
    may say the revision, as in "daclip-uir@main". Raises FileNotFoundError where there is none
    (UnavailableError where it is published, but cannot be fetched), ValueError where the file or
    its card is damaged or does not fit the architecture: never a half-loaded network.
    """
    path = _local(name_or_path)
    return _read_published(str(name_or_path), device) if path is None else _read(path, device)


def _read(path: Path, device: torch.device | str | None) -> Checkpoint:
    card = read_card(path)
    encoder = None
    try:
        process = from_card(card["process"])
        # Of the large ones no weights are drawn at random before theirs are read.
        with torch.device("meta" if card["architecture"] in FOREIGN else "cpu"):
            network = build(card["architecture"], card["config"], process, card["target"])
        denoiser = Denoiser(network, card["target"], card.get("sigma_data"))
        tasks = tuple(card["tasks"])
        if "encoder" in card:
            kind = ENCODERS[card["encoder"]["architecture"]]
            encoder = _unfilled(kind, card["encoder"]["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the card {path.stem}.json cannot be used: {error!r}") from None
    _load(network, path)
    if encoder is not None:
        _load(encoder, _encoder_path(path))
    return _ready(Checkpoint(path.stem, denoiser, process, tasks, card, encoder), device)


def _load(network: nn.Module, path: Path) -> None:
    try:
        state_dict.fill(network, load_file(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except (SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())[:500]
        raise ValueError(f"{path.name} does not hold the weights its card says: {reason}") from None


def _ready(checkpoint: Checkpoint, device: torch.device | str | None) -> Checkpoint:
    """The checkpoint for use: nothing of it to be trained, all on the device."""
    for network in (checkpoint.denoiser.network, checkpoint.encoder):
        if not isinstance(network, nn.Module):
            continue
        network.eval().requires_grad_(False)
        network.to(device or "cpu")
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return checkpoint


def adopt(
    path: str | Path,
    device: torch.device | str | None = None,
    *,
    architecture: str,
    encoder: str | Path | None = None,
    encoder_heads: int | None = None,
    target: Target = "noise",
    tasks: Sequence[str] = TASKS,
    process: str = MeanRevertingSDE.kind,
    **settings: Any,
) -> Checkpoint:
    """A checkpoint from its authors' own .pth, .pt or .safetensors file, which has no card.

    The network's settings are read off the shapes of its weights. `architecture` is one of FOREIGN;
    `encoder` the file with DA-CLIP's image encoder, for a network with contexts, `encoder_heads`
    its attention heads, which no shape tells, where they are not of 64 channels as CLIP's; `tasks`
    are those that it was trained on; `process` is the kind of its process and `settings` are that
    one's, `zero_start` being True unless it is given: as IR-SDE's code trains.

    Raises FileNotFoundError for a file that is not there; ValueError for one that is damaged or of
    another architecture, which lists what is missing, and for settings that do not fit.
    """
    if architecture not in FOREIGN:
        raise ValueError(f"unknown architecture {architecture!r}; choose from {', '.join(FOREIGN)}")
    tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    if process == MeanRevertingSDE.kind:
        settings = {"zero_start": True} | settings
    made_process = make(process, **settings)
    network = _from_shapes(FOREIGN[architecture], path)
    takes, returns = network.config["in_nc"], network.config["out_nc"]
    if (takes, returns) != (3, 3):
        raise ValueError(
            f"the network of {path} takes pictures of {takes} channels and returns {returns}: not "
            "3, as photos have"
        )
    card: dict[str, Any] = {
        "architecture": architecture,
        "config": network.config,
        "target": target,
        "process": to_card(made_process),
        "tasks": list(tasks),
        "parameters": sum(weight.numel() for weight in network.parameters()),
    }
    made_encoder = None
    context_dim = network.config["context_dim"]
    if (context_dim is None) != (encoder is None):
        takes = "no contexts" if context_dim is None else f"contexts of {context_dim} numbers"
        wanted = "leave encoder= out" if context_dim is None else "give their encoder= file"
        raise ValueError(f"the network of {path} takes {takes}: {wanted}")
    if encoder is not None:
        heads = {} if encoder_heads is None else {"heads": encoder_heads}
        made_encoder = _from_shapes(DACLIPImageEncoder, encoder, **heads)
        card["encoder"] = {"architecture": "daclip", "config": made_encoder.config}
        if (given := made_encoder.config["output_dim"]) != context_dim:
            raise ValueError(
                f"{encoder} makes contexts of {given} numbers, the network of {path} takes "
                f"{context_dim}"
            )
    denoiser = Denoiser(network, target)
    name = Path(path).stem
    return _ready(Checkpoint(name, denoiser, made_process, tasks, card, made_encoder), device)


def _from_shapes(
    kind: type[IRSDEUNet] | type[DACLIPImageEncoder], path: str | Path, **settings: Any
) -> Any:
    """A network filled from a file that holds its weights and, maybe, what it has no use for.

    `settings` are those that its shapes do not tell.
    """
    weights = {
        name: value
        for name, value in state_dict.read(path).items()
        if not name.startswith(kind.NOT_USED)
    }
    try:
        network = _unfilled(kind, kind.infer_config(weights) | settings)
        state_dict.fill(network, weights)
    except ValueError as error:
        raise ValueError(f"{path} holds no {kind.__name__}: {error}") from None
    return network


def _unfilled(kind: type[nn.Module], config: dict[str, Any]) -> Any:
    """A network whose weights are still to come: of the large ones none is drawn at random."""
    with torch.device("meta"):
        return kind(**config)
