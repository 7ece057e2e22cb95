"""The description of a run: each of its settings once, with its kind, default, label and help.

The page's controls, the endpoints' parameters, links, downloads and the command line's options are
made of it, and refuse a value in the same words. A `Run` is checked when it is made; whether its
network can make it, `Restorer.trajectory` says.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import torch

from mrsampler import checkpoints
from mrsampler.degradations import TASKS, degrade
from mrsampler.examples import examples
from mrsampler.photo import Photo
from mrsampler.restorer import OPTIMISED
from mrsampler.size import OWN, WORKING_SIDE
from mrsampler.solvers import SOLVERS
from mrsampler.timesteps import SPACINGS
from mrsampler.trajectory import DEFAULT_NFE, DEFAULT_SOLVER, DEFAULT_SPACING

FAILURES = (ValueError, ArithmeticError, OSError, RuntimeError, MemoryError)
"""What a run may raise that a reader is told in a sentence."""

CLEAN, DAMAGED = "clean", "done"
"""What a photo is: clean, so that it is damaged first, or damaged already."""


class RefusedError(ValueError):
    """A setting that no run can have: a sentence for whoever gave it."""


def reason(error: BaseException) -> str:
    """What went wrong, in a sentence that names none of this machine's files."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def cut(value: Any) -> str:
    """What somebody gave, in at most 80 characters: of an object only what it is."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, str):
        return repr(value[:80])
    plain = isinstance(value, bool | int | float)
    return f"{value!r}"[:80] if plain else f"a {type(value).__name__}"


# --- kinds of settings ----------------------------------------------------------------------------


class Kind(Protocol):
    """What a setting may be. Called with a value or its text: the value, or ValueError."""

    @property
    def wanted(self) -> str:
        """What is expected, after "must be"."""

    def __call__(self, value: Any) -> Any: ...


class Number(NamedTuple):
    """A number in [low, high]."""

    low: float
    high: float = math.inf

    @property
    def wanted(self) -> str:
        return f"a number {_range(self.low, self.high)}"

    def __call__(self, value: Any) -> float:
        number = float(_numeric(value))
        if not self.low <= number <= self.high:
            raise ValueError
        return number


class Whole(NamedTuple):
    """A whole number in [low, high]."""

    low: int
    high: float = math.inf

    @property
    def wanted(self) -> str:
        return f"a whole number {_range(self.low, self.high)}"

    def __call__(self, value: Any) -> int:
        number = int(_numeric(value))  # a text with a point is none
        if not self.low <= number <= self.high or (isinstance(value, float) and number != value):
            raise ValueError
        return number


def _numeric(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    return value


def _range(low: float, high: float) -> str:
    return f"from {low:.16g}" + (f" to {high:.16g}" if high < math.inf else "")


class OneOf(NamedTuple):
    """One of those that are known, or its text."""

    known: Collection[Any]

    @property
    def wanted(self) -> str:
        return f"one of {', '.join(map(str, self.known))}"

    def __call__(self, value: Any) -> Any:
        for known in self.known:
            if value in (known, str(known)):
                return known
        raise ValueError


class Text(NamedTuple):
    """Any text, of which `wanted` says what it names."""

    wanted: str

    def __call__(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError
        return value


class Size(NamedTuple):
    """OWN, or a whole number of pixels."""

    high: float = math.inf

    @property
    def wanted(self) -> str:
        return f"{OWN} or {Whole(32, self.high).wanted}"

    def __call__(self, value: Any) -> int | str:
        return OWN if value == OWN else Whole(32, self.high)(value)


class Spacing(NamedTuple):
    """A name in SPACINGS, OPTIMISED, "karras:RHO", or the falling times, as in "100,60,30,0"."""

    @property
    def wanted(self) -> str:
        names = ", ".join((OPTIMISED, *SPACINGS, "karras:RHO"))
        return f"one of {names}, or times as in 100,60,30,0"

    def __call__(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError
        if "," in value:
            if not all(math.isfinite(float(time)) for time in value.split(",")):
                raise ValueError
        elif value.partition(":")[0] != "karras" and value not in (OPTIMISED, *SPACINGS):
            raise ValueError
        return value


def check(name: str, kind: Kind, value: Any) -> Any:
    """The value as it is used, of itself or of its text. Raises RefusedError, which says `name`."""
    try:
        return kind(value)
    except (ValueError, OverflowError):
        raise RefusedError(f"{name} must be {kind.wanted}; got {cut(value)}.") from None


@dataclass(frozen=True)
class Setting:
    """One setting of a run: its name in programs, its `label` and one line of `help` for people.

    `about` says what it is, for those who do not see it on the page.
    """

    name: str
    default: Any
    kind: Kind
    label: str
    help: str
    about: str = ""

    def check(self, value: Any) -> Any:
        """As `check` of this module."""
        return check(self.name, self.kind, value)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the most of a number."""
        assert isinstance(self.kind, Number | Whole)
        return self.kind.low, self.kind.high

    @property
    def known(self) -> Collection[Any]:
        """Those of which it is one."""
        assert isinstance(self.kind, OneOf)
        return self.kind.known

    def within(self, kind: Kind) -> Setting:
        """The same where less is offered."""
        return replace(self, kind=kind)

    @property
    def documented(self) -> str:
        """What it is and what it does, in one line."""
        return f"{self.about} {self.help}".strip()


# --- the run --------------------------------------------------------------------------------------


def _setting(default: Any, kind: Kind, label: str, help: str, about: str = "") -> Any:
    described = {"kind": kind, "label": label, "help": help, "about": about}
    return field(default=default, metadata=described)


@dataclass(frozen=True)
class Run:
    """All that a run is made of. Raises RefusedError for what no run can be.

    `photo` is the file, under the name that its owner knows; the solver's sample is the result, the
    baseline only races it.
    """

    photo: str = _setting("", Text("a file's name"), "Photo", "The photo to restore.")
    damage: str = _setting(
        DAMAGED,
        OneOf((CLEAN, DAMAGED)),
        "The photo is",
        "Only a clean one has a truth to score by.",
    )
    task: str = _setting(
        "noisy", Text(f"a task's name, as {', '.join(TASKS)}"), "Task", "Which damage to undo."
    )
    severity: float = _setting(
        0.5, Number(0, 1), "Severity", "Higher: more damage.", "Of the damage."
    )
    solver: str = _setting(
        DEFAULT_SOLVER,
        OneOf(SOLVERS),
        "Sampler",
        "SDE adds fresh noise at every step, ODE none.",
    )
    nfe: int = _setting(
        DEFAULT_NFE,
        Whole(1, 10_000),
        "NFE",
        "More: slower, closer to exact.",
        "Network evaluations, at most.",
    )
    spacing: str = _setting(
        DEFAULT_SPACING, Spacing(), "Spacing", "Where the sampler's steps fall."
    )
    baseline: str = _setting(
        "posterior",
        OneOf(SOLVERS),
        "Baseline",
        "Races it from the same x_T on the same network.",
    )
    baseline_nfe: int = _setting(
        100, Whole(1, 10_000), "Baseline NFE", "More: slower, a harder rival."
    )
    seed: int = _setting(
        0,
        Whole(0, 2**53),
        "Seed",
        "Another damage, another x_T.",
        "Fixes all chance: the same gives the same pixels.",
    )
    texture: float = _setting(
        1.0,
        Number(0, 1),
        "Texture",
        "0: the smooth estimate. 1: the sample.",
        "What the result is: r + texture (x - r), r the estimate, x the sample.",
    )
    size: int | str = _setting(
        OWN,
        Size(),
        "Size",
        "Own: of all the photo's pixels. Or restored small: quicker.",
        "The longest side that the network sees; the result has the photo's size.",
    )
    checkpoint: str = _setting(
        checkpoints.DEFAULT,
        Text("a checkpoint's name, as bundled or daclip-uir, which is fetched once"),
        "Checkpoint",
        "The network that the samplers share.",
    )
    device: str = _setting(
        "auto",
        Text("cpu, cuda, cuda:1, mps or auto"),
        "Device",
        "cpu, cuda, cuda:1, mps; auto takes the GPU if there is one.",
    )

    def __post_init__(self) -> None:
        for name, setting in SETTINGS.items():
            object.__setattr__(self, name, setting.check(getattr(self, name)))

    @property
    def clean(self) -> bool:
        """Whether the photo is damaged first."""
        return self.damage == CLEAN

    @property
    def example(self) -> int | None:
        """The photo's number among the examples, None for one of another's own."""
        ends = [f"assets/examples/{example.file}" for example in examples()]
        return next((i for i, end in enumerate(ends) if self.photo.endswith(end)), None)

    @property
    def sampler(self) -> dict[str, Any]:
        """The solver, nfe and spacing as `mrsampler.trajectory` takes them."""
        times = [float(t) for t in self.spacing.split(",")] if "," in self.spacing else self.spacing
        return {"solver": self.solver, "nfe": self.nfe, "spacing": times}

    def damaged(self, photo: Photo) -> Photo:
        """The photo as it is to be restored: a clean one, within a size in pixels, is damaged."""
        if not self.clean:
            return photo
        clean = photo if self.size == OWN else photo.within(int(self.size))
        generator = torch.Generator().manual_seed(self.seed)
        return replace(clean, rgb=degrade(clean.rgb, self.task, self.severity, generator))

    # --- JSON and links

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Run:
        """The run of such values; what is not among them is the default. Raises RefusedError."""
        for name in values:
            if name not in SETTINGS:
                raise RefusedError(f"A run has no setting {cut(name)}.")
        return cls(**values)

    def to_query(self) -> str:
        """The query of a link, after its question mark: its photo only if that is an example."""
        values = {name: getattr(self, name) for name in LINKED} | {"photo": PHOTO_OF_ONES_OWN}
        if self.example is not None:
            values["photo"] = examples()[self.example].path.stem
        return urlencode(values)

    @classmethod
    def from_query(
        cls,
        query: Mapping[str, str],
        otherwise: Run,
        offered: Callable[[Run], Mapping[str, Setting]] = lambda asked: SETTINGS,
    ) -> tuple[Run, list[str]]:
        """What a link asks for, and each part of it, as NAME=VALUE, that it may not.

        What is missing or refused is as in `otherwise`; `offered` has the settings that can be
        asked for, with those before as they are by then.
        """
        given = {OLD_NAMES.get(key, key): (key, text) for key, text in query.items()}
        asked, refused = otherwise, []
        for name in LINKED:
            if name not in given:
                continue
            key, text = given[name]
            try:
                value = _example(text) if name == "photo" else offered(asked)[name].check(text)
                asked = cls(**(asked.to_json() | {name: value}))
            except RefusedError:
                refused.append(f"{key}={text[:80]}")
        return asked, refused

    # --- what repeats it

    def to_argv(self) -> list[str]:
        """The words after `mrsampler restore`."""
        words = [self.photo]
        for name in OPTIONS:
            value = getattr(self, name)
            there = self.clean if name == "severity" else name not in SILENT
            if there or (name in SILENT and value != SETTINGS[name].default):
                words += [f"--{name}", str(value)]
        return words

    def to_command(self) -> str:
        """A command line that writes restored.png."""
        words = ["python", "-m", "mrsampler", "restore", *self.to_argv(), "--out", "restored.png"]
        return shlex.join(words)

    def to_python(self, stopped_at: int | None = None) -> str:
        """A Python program that writes restored.png, also of a run stopped after so many NFE."""
        imports = "from dataclasses import replace\n\nimport torch\n\n" if self.clean else ""
        imports += "import mrsampler as mrs\nfrom mrsampler import photo\n"
        imports += "from mrsampler.size import result\n" if stopped_at is not None else ""
        body = _WHOLE if stopped_at is None else _STOPPED
        device = f", {self.device!r}" if self.device != "auto" else ""
        settings = self.sampler | {"seed": self.seed}
        if self.texture < 1 and stopped_at is None:
            settings["texture"] = self.texture
        sampler = "".join(f"    {name}={value!r},\n" for name, value in settings.items())
        side = WORKING_SIDE if self.size == OWN else self.size
        return (
            f"{imports}\nsource = {self._source()}\n"
            f"restorer = mrs.load({self.checkpoint!r}{device})\n"
            + body.format(self, sampler=sampler, side=side, stopped_at=stopped_at)
        )

    def _source(self) -> str:
        """The photo as it is to be restored."""
        read = f"photo.read({self.photo!r})"
        if not self.clean:
            return f"{read}\n"
        if self.size != OWN:
            read += f".within({self.size})"
        return f"{read}\n{_DAMAGED.format(self)}"


SETTINGS: dict[str, Setting] = {
    f.name: Setting(f.name, f.default, **f.metadata) for f in dataclasses.fields(Run)
}

LINKED = tuple(name for name in SETTINGS if name != "device")
"""What a link holds."""

OLD_NAMES = {"sampler": "solver", "side": "size"}
"""What links of before call them."""

LINK_KEYS = {*LINKED, *OLD_NAMES}
"""What the query of a link may hold."""

OPTIONS = tuple(
    name for name in LINKED if name not in ("photo", "damage", "baseline", "baseline_nfe")
)
OPTIONS += ("device",)
SILENT = ("texture", "device")
"""Options of the command line; those that are left out of a command at their defaults."""

PHOTO_OF_ONES_OWN = "own"
"""Stands in a link for a photo that only its maker has."""


def _example(name: str) -> str:
    """The photo that a link names. Raises RefusedError for none of the examples."""
    files = {example.path.stem: f"assets/examples/{example.file}" for example in examples()}
    if name == PHOTO_OF_ONES_OWN:
        return name
    if name not in files:
        raise RefusedError(f"photo must be one of {', '.join(files)}; got {cut(name)}.")
    return files[name]


_WHOLE = """\
picture = restorer.restore(
    source,
    {0.task!r},
    size={0.size!r},
{sampler})
picture.save("restored.png")
"""

_STOPPED = """\
small = source.within({side})
for step in restorer.trajectory(
    small.rgb,
    {0.task!r},
{sampler}):
    print(step.nfe, step.t)
    if step.nfe == {stopped_at}:
        break  # stopped here
result(source, small, {0.task!r}, step.x[0].cpu()).save("restored.png")
"""

_DAMAGED = """\
damage = torch.Generator().manual_seed({0.seed})
source = replace(source, rgb=mrs.degrade(source.rgb, {0.task!r}, {0.severity!r}, damage))
"""
