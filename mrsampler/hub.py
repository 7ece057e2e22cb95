"""Published checkpoints: which there are, and their files, fetched once from where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrsampler.degradations import TASKS
from mrsampler.denoiser import Target

# huggingface_hub is imported where it is called: most runs need none of it.

_SECONDS = 4.0  # how long to wait for a hub that does not answer


@dataclass(frozen=True)
class Published:
    """A checkpoint on the Hugging Face hub, and what its files do not say themselves.

    `network` and `encoder` are files of the repository, `encoder` that of a network with contexts;
    `process` is what MeanRevertingSDE takes.
    """

    repository: str
    revision: str
    network: str
    encoder: str | None
    architecture: str
    process: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = TASKS
    target: Target = "noise"


PUBLISHED = {
    "daclip-uir": Published(
        repository="weblzw/daclip-uir-ViT-B-32-irsde",
        revision="main",
        network="universal-ir.pth",
        encoder="daclip_ViT-B-32.pt",
        architecture="irsde-unet",
        process={"max_sigma": 50, "schedule": "cosine", "zero_start": True},
    )
}


class UnavailableError(FileNotFoundError):
    """A published checkpoint that is not on this machine and cannot be fetched now."""


def folder(name: str) -> Path:
    """Where a published checkpoint's files are: fetched, put there by hand, or converted."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "mrsampler" / name


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds a published checkpoint's folder: what is done to it, one process or thread does."""
    from huggingface_hub.utils import WeakFileLock

    folder(name).mkdir(parents=True, exist_ok=True)
    with WeakFileLock(folder(name) / ".lock"):
        yield


def unavailable(name: str) -> str | None:
    """Why a published checkpoint cannot be had, in a sentence; None where it can.

    Asks the hub for what is not in the folder, and fetches nothing.
    """
    try:
        for file in _files(PUBLISHED[name]):
            if not (folder(name) / file).is_file():
                _ask(name, file)
    except UnavailableError as error:
        return str(error)
    return None


def fetch(name: str) -> tuple[Path, Path | None]:
    """A published checkpoint's network and encoder files, the latter None where it has none.

    What is missing from the folder is downloaded into it, with a progress bar; an interrupted
    download goes on where it stopped. Raises UnavailableError where the hub does not give it.
    """
    from huggingface_hub import hf_hub_download

    published, here = PUBLISHED[name], folder(name)
    for file in _files(published):
        if (here / file).is_file():
            continue
        _ask(name, file)  # an answer at once: the download itself would try for half a minute
        try:
            hf_hub_download(published.repository, file, revision=published.revision, local_dir=here)
        except Exception as error:  # whatever the client and what is below it raise
            raise _unavailable(name, file, error) from error
    encoder = None if published.encoder is None else here / published.encoder
    return here / published.network, encoder


def _files(published: Published) -> tuple[str, ...]:
    return tuple(filter(None, (published.network, published.encoder)))


def _ask(name: str, file: str) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    published = PUBLISHED[name]
    url = hf_hub_url(published.repository, file, revision=published.revision)
    try:
        get_hf_file_metadata(url, timeout=_SECONDS)
    except Exception as error:  # whatever the client and what is below it raise
        raise _unavailable(name, file, error) from error


def _unavailable(name: str, file: str, error: Exception) -> UnavailableError:
    reason = " ".join(str(error).split("\n\n")[0].split())[:160] or type(error).__name__
    return UnavailableError(
        f"{name} is not on this machine, and {file} cannot be fetched from the repository "
        f"{PUBLISHED[name].repository} ({reason}); a downloaded copy can be put into {folder(name)}"
    )
