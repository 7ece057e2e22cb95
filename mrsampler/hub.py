"""Published checkpoints: which there are, and their files, fetched once from where they are."""

from __future__ import annotations

import os
import re
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mrsampler.degradations import TASKS
from mrsampler.denoiser import Target
from mrsampler.extras import MissingExtraError, need

# huggingface_hub is imported where it is called: most runs need none of it.

_SECONDS = 4.0  # how long to wait for a hub that does not answer
_KEPT = 60.0  # seconds that its answer is good for


@dataclass(frozen=True)
class Published:
    """A checkpoint on the Hugging Face hub, and what its files do not say themselves.

    `network` and `encoder` are files of the repository, `encoder` that of a network with contexts;
    `process` is as a card has it.
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
        process={
            "kind": "mean-reverting",
            "max_sigma": 50,
            "schedule": "cosine",
            "zero_start": True,
        },
    )
}


class UnavailableError(FileNotFoundError):
    """A published checkpoint that is not on this machine and cannot be fetched now."""


def published(name: str) -> Published | None:
    """A published checkpoint by its name, which may say the revision: "daclip-uir@main".

    None where there is no such name.
    """
    bare, at, revision = name.partition("@")
    found = PUBLISHED.get(bare)
    if found is None or not at:
        return found
    # A part of a folder's name, too.
    return replace(found, revision=revision) if re.fullmatch(r"\w[\w.-]*", revision) else None


def folder(name: str) -> Path:
    """Where a published checkpoint's files are: fetched, put there by hand, or converted."""
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    else:
        home = constants.HF_HOME
    return Path(home) / "mrsampler" / name


@contextmanager
def locked(name: str) -> Iterator[bool]:
    """Holds a published checkpoint's folder: what is done to it, one process or thread does.

    Yields whether the folder can be written to; where it cannot, nothing is held.
    """
    _client(name)
    from huggingface_hub.utils import WeakFileLock

    with ExitStack() as held:
        try:
            folder(name).mkdir(parents=True, exist_ok=True)
            held.enter_context(WeakFileLock(folder(name) / ".lock"))
            writable = True
        except OSError:
            writable = False
        yield writable


_answers: dict[tuple[Path, tuple[str, ...]], tuple[float, str | None]] = {}
_asking = threading.Lock()


def unavailable(name: str) -> str | None:
    """Why a published checkpoint cannot be had, in a sentence; None where it can.

    Asks the hub for what is not on this machine, and fetches nothing. An answer is kept for a
    minute; then the next is asked for in the background, and the old one given meanwhile.
    """
    missing = tuple(file for file in _files(name) if _at_hand(name, file) is None)
    key = folder(name), missing

    def ask() -> None:
        _answers[key] = time.monotonic(), _reason(name, missing)

    with _asking:  # who comes meanwhile waits for the first answer
        if key not in _answers:
            ask()
        asked, reason = _answers[key]
        if time.monotonic() - asked > _KEPT:
            _answers[key] = time.monotonic(), reason
            threading.Thread(target=ask, daemon=True).start()
    return reason


def _reason(name: str, missing: tuple[str, ...]) -> str | None:
    try:
        for file in missing:
            _ask(name, file)
    except UnavailableError as error:
        return str(error)
    return None


class Progress:
    """How far a fetch is: `done` of `total` bytes, of all its files together, and when it `began`.

    `sizes` are those of the files, in bytes.
    """

    def __init__(self, sizes: Mapping[str, int]):
        self.began, self.total = time.monotonic(), sum(sizes.values())
        self._sizes, self._done = sizes, dict.fromkeys(sizes, 0)

    @property
    def done(self) -> int:
        return sum(self._done.values())

    def bars(self, file: str) -> type:
        """The class of the bars with which the client is to report the download of a file.

        It may use two, for what has arrived and for what is written: the longer one counts.
        """
        from huggingface_hub.utils import tqdm

        size, done = self._sizes[file], self._done

        class Bar(tqdm):
            def __init__(self, *args: Any, initial: int = 0, **settings: Any):
                super().__init__(*args, initial=initial, **settings)
                self._count = initial
                self.update(0)

            def update(self, n: float | None = 1) -> bool | None:
                self._count += int(n or 0)  # a bar that is not shown counts nothing itself
                done[file] = max(done[file], min(self._count, size))
                return super().update(n)

        return Bar


_under_way: dict[str, Progress] = {}


def progress(name: str) -> Progress | None:
    """How far the fetch of a published checkpoint is that this process makes; None without one."""
    return _under_way.get(name)


@dataclass(frozen=True)
class Fetched:
    """The files of a published checkpoint on this machine.

    `commits` are those of the repository that they are of, None for one put there by hand.
    """

    network: Path
    encoder: Path | None
    commits: dict[str, str | None]


def fetch(name: str) -> Fetched:
    """A published checkpoint's files, downloaded into the folder unless they are on this machine.

    A download has a progress bar and can be followed by `progress`; an interrupted one goes on
    where it stopped. Raises UnavailableError where the hub does not give it.
    """
    _client(name)
    from huggingface_hub import hf_hub_download

    wanted, here = _wanted(name), folder(name)
    paths: dict[str | None, Path | None] = {file: _at_hand(name, file) for file in _files(name)}
    missing = [file for file in _files(name) if paths[file] is None]
    # An answer at once: the download itself would try for half a minute.
    sizes = {file: _ask(name, file) for file in missing}
    told = _under_way[name] = Progress(sizes)
    try:
        for file in missing:
            try:
                found = hf_hub_download(
                    wanted.repository,
                    file,
                    revision=wanted.revision,
                    local_dir=here,
                    tqdm_class=told.bars(file),
                )
            except Exception as error:  # whatever the client and what is below it raise
                raise _unavailable(name, file, error) from error
            paths[file] = Path(found)
    finally:
        del _under_way[name]
    network, encoder = paths[wanted.network], paths.get(wanted.encoder)
    assert network is not None
    commits = {path.name: _commit(path) for path in paths.values() if path is not None}
    return Fetched(network, encoder, commits)


def _wanted(name: str) -> Published:
    found = published(name)
    assert found is not None, name
    return found


def _files(name: str) -> tuple[str, ...]:
    wanted = _wanted(name)
    return tuple(filter(None, (wanted.network, wanted.encoder)))


def _at_hand(name: str, file: str) -> Path | None:
    """Where a file is on this machine: in the folder, or in Hugging Face's own cache."""
    if (here := folder(name) / file).is_file():
        return here
    try:
        from huggingface_hub import constants, try_to_load_from_cache
    except ModuleNotFoundError:
        return None

    wanted = _wanted(name)
    cached = try_to_load_from_cache(
        wanted.repository, file, cache_dir=constants.HF_HUB_CACHE, revision=wanted.revision
    )
    return Path(cached) if isinstance(cached, str) else None


def _commit(path: Path) -> str | None:
    """The commit that a file is of, as the client has noted it."""
    if path.parent.parent.name == "snapshots":
        return path.parent.name
    note = path.parent / ".cache" / "huggingface" / "download" / f"{path.name}.metadata"
    try:
        commit, _, noted = note.read_text(encoding="utf-8").split()[:3]
        changed = path.stat().st_mtime - 1 > float(noted)  # since the download, by hand
    except (OSError, ValueError):
        return None
    return None if changed else commit


def _ask(name: str, file: str) -> int:
    """How large a file of the repository is, in bytes; 0 where the hub does not say."""
    _client(name)
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    wanted = _wanted(name)
    _check_writable(name)
    url = hf_hub_url(wanted.repository, file, revision=wanted.revision)
    try:
        return get_hf_file_metadata(url, timeout=_SECONDS).size or 0
    except Exception as error:  # whatever the client and what is below it raise
        raise _unavailable(name, file, error) from error


def _client(name: str) -> None:
    """Raises UnavailableError where the hub's client is not installed."""
    try:
        need("hub", "huggingface_hub")
    except MissingExtraError as error:
        raise UnavailableError(f"{name} cannot be had: {error}") from None


def _check_writable(name: str) -> None:
    place = folder(name)
    while not place.exists() and place != place.parent:
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise UnavailableError(
            f"{name} is not on this machine, and {place} cannot be written to, so that nothing can "
            "be fetched; set HF_HOME to a folder that can be"
        )


def _unavailable(name: str, file: str, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"{name} is not on this machine, and {file} cannot be fetched from the repository "
        f"{_wanted(name).repository} ({_why(error)}); a downloaded copy can be put into "
        f"{folder(name)}"
    )


_ANSWERS = {
    401: "it is not there, or not for everyone",  # what the hub says of both
    403: "the hub refuses it",
    404: "the hub has no such file",
    429: "the hub is asked too often",
}


def _why(error: Exception) -> str:
    """What went wrong, in a few words."""
    # By names and attributes: what raises them is another library from version to version.
    kind, status = type(error).__name__, getattr(getattr(error, "response", None), "status_code", 0)
    if kind == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set"
    if kind == "RevisionNotFoundError":
        return "the repository has no such revision"
    if status:
        return _ANSWERS.get(status, f"the hub answers {status}")
    if "Timeout" in kind:
        return "the hub does not answer"
    if "Connect" in kind or kind == "LocalEntryNotFoundError":
        return "the hub cannot be reached"
    text = getattr(error, "strerror", None) or str(error).split("\n\n")[0] or kind
    return textwrap.shorten(text, 160, placeholder=" ...")
