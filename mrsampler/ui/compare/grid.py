"""Solvers x NFE on one photo: which runs that is, what came out of them, how long they take."""

from __future__ import annotations

import csv
import io
import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from mrsampler.metrics import rmse
from mrsampler.problem import REFERENCE_NFE, REFERENCE_SOLVER
from mrsampler.processes import Process
from mrsampler.restorer import Restorer
from mrsampler.solvers import SOLVERS, BudgetError
from mrsampler.ui.parts import choices
from mrsampler.ui.parts.quality import Quality

USUAL, FITTED = "usual", "fitted"

PER_VISITOR, FOR_ALL = 144 * 2**20, 2**30
"""Bytes of results; beyond, the oldest go. A run of 72 at 512 x 512 pixels is 120 MB."""


class Cell(NamedTuple):
    """A run: `nfe` is the most that it may spend."""

    solver: str
    nfe: int
    spacing: str

    def spends(self, process: Process) -> int:
        """The network calls that it makes; of a solver that chooses its steps, the most."""
        solver = SOLVERS[self.solver]
        if solver.adaptive:
            return self.nfe
        to_data = process.lam(0.0) == math.inf
        return solver.cost(solver.steps(self.nfe, to_data), to_data)


CONVERGED = Cell(REFERENCE_SOLVER, REFERENCE_NFE, "blend")
"""The PF-ODE's solution, as near as it is needed."""


def plan(
    restorer: Restorer, solvers: Sequence[str], nfes: Sequence[int], spacing: str = FITTED
) -> list[Cell]:
    """The runs of a grid, cheapest first: there is none where a solver cannot have that NFE.

    `spacing` is a name in SPACINGS; USUAL, the one that each solver is usually run with; or
    FITTED, the choice of the Restore tab: the times that the checkpoint's card has for a solver and
    NFE, else blend.
    """

    def placed(solver: str, nfe: int) -> str:
        # What takes its own steps has no use for another.
        if spacing == USUAL or not choices.spaced(solver):
            return SOLVERS[solver].spacing
        return choices.spacing(restorer, solver, nfe, None) if spacing == FITTED else spacing

    def can(solver: str, nfe: int) -> bool:
        low, high = choices.bounds(solver, restorer.process)
        return low <= nfe <= high

    return [
        Cell(solver, nfe, placed(solver, nfe))
        for nfe in sorted(nfes)
        for solver in solvers
        if can(solver, nfe)
    ]


@dataclass(frozen=True)
class Result:
    """What came out of a run.

    `image` is (3, H, W) in float16 on the CPU: 8 bits would blur a small distance to the converged
    solution, which may be computed later. None where it failed, for the reason in `failure`.
    `shown` is the picture as the page has it. `quality` is None without a truth.
    """

    cell: Cell
    nfe: int
    seconds: float
    image: Tensor | None = None
    shown: str = ""
    quality: Quality | None = None
    failure: Exception | None = None

    @classmethod
    def of(
        cls, cell: Cell, nfe: int, seconds: float, x: Tensor, shown: str, quality: Quality | None
    ) -> Result:
        """Of a run that ended with x."""
        return cls(cell, nfe, seconds, x.half(), shown, quality)

    @property
    def final(self) -> bool:
        """Whether it would come out so again: a spent budget stays spent, others may do better."""
        return self.image is not None or isinstance(self.failure, BudgetError)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.shown) + (0 if self.image is None else self.image.nbytes)

    def rmse(self, solution: Result | None) -> float | None:
        """The distance to the PF-ODE's solution in 1/255, root mean square; rounded to 0.05.

        None for a solver that does not follow the PF-ODE.
        """
        if solution is None or solution.image is None or self.image is None:
            return None
        if SOLVERS[self.cell.solver].stochastic:
            return None
        return 255 * rmse(self.image, solution.image)


@dataclass(frozen=True)
class Subject:
    """What all runs of a grid share; two of the same give the same pictures.

    `degraded` and `truth` are digests, `truth` "" where it is not known; `size` is (width, height).
    """

    checkpoint: str
    task: str
    seed: int
    degraded: str
    truth: str
    size: tuple[int, int]


@dataclass
class Grid:
    """A photo's runs as far as they are done.

    `title` says for people what the subject is. `solvers` are in the order of their colours, None
    where a colour is free; `solution` is what errors are measured against, if it was asked for.
    """

    subject: Subject
    title: dict[str, str]
    solvers: list[str | None]
    nfes: list[int]
    cells: list[Cell]
    results: dict[Cell, Result] = field(default_factory=dict)
    degraded: Tensor | None = None
    truth: Tensor | None = None
    input: Quality | None = None
    with_rmse: bool = False

    @property
    def wanted(self) -> list[Cell]:
        """All runs in order; the converged solution last, as no picture waits for it."""
        return self.cells + [CONVERGED] * (self.with_rmse and CONVERGED not in self.cells)

    def is_final(self, cell: Cell) -> bool:
        """Whether a run need not be made again."""
        return cell in self.results and self.results[cell].final

    @property
    def solution(self) -> Result | None:
        """The converged PF-ODE, once it is there."""
        return self.results.get(CONVERGED) if self.with_rmse else None

    def rows(self) -> list[dict[str, Any]]:
        """The numbers of what is done, in the order of the grid: a row a run, as for a table.

        `asked` is the ceiling and `nfe` what was spent; psnr in dB; rmse in 1/255 to the converged
        solution. None for what there is not.
        """
        order = {solver: i for i, solver in enumerate(self.solvers) if solver}
        done = [self.results[cell] for cell in self.cells if cell in self.results]
        done.sort(key=lambda result: (order[result.cell.solver], result.cell.nfe))
        return [
            {
                "solver": r.cell.solver,
                "spacing": r.cell.spacing,
                "asked": r.cell.nfe,
                "nfe": r.nfe,
                "seconds": round(r.seconds, 4),
                **measured(r.quality),
                "rmse": r.rmse(self.solution),
                "failure": f"{r.failure}" if r.failure else "",
            }
            for r in done
        ]

    def csv(self) -> bytes:
        """The rows, each with what it was measured on."""
        rows = [self.title | row for row in self.rows()]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]) if rows else list(self.title))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()


def measured(quality: Quality | None) -> dict[str, float | None]:
    """As plain values; JSON knows no infinity, which is the PSNR of equal pictures."""
    if quality is None:
        return dict.fromkeys(("psnr", "ssim", "swd", "st_lpips"))
    return {
        name: x if x is None or math.isfinite(x) else None for name, x in asdict(quality).items()
    }


class ResultCache:
    """The results of each visitor by subject, and the grid that each is looking at."""

    def __init__(self, per_visitor: int = PER_VISITOR, for_all: int = FOR_ALL) -> None:
        self._caps = per_visitor, for_all
        self._results: OrderedDict[str, OrderedDict[tuple[Subject, Cell], Result]] = OrderedDict()
        self._grids: dict[str, Grid] = {}
        self._lock = threading.Lock()

    def known(self, visitor: str, subject: Subject, cells: Iterable[Cell]) -> dict[Cell, Result]:
        """What of these is there."""
        with self._lock:
            own, found = self._own(visitor), {}
            for cell in cells:
                if (subject, cell) in own:
                    own.move_to_end((subject, cell))
                    found[cell] = own[subject, cell]
            return found

    def keep(self, visitor: str, subject: Subject, result: Result) -> None:
        """Adds one; the visitor's oldest go where that is too much, or those longest away."""
        per_visitor, for_all = self._caps
        with self._lock:
            own = self._own(visitor)
            own[subject, result.cell] = result
            while _bytes(own) > per_visitor and len(own) > 1:
                own.popitem(last=False)
            while sum(map(_bytes, self._results.values())) > for_all and len(self._results) > 1:
                gone, _ = self._results.popitem(last=False)
                self._grids.pop(gone, None)

    def look(self, visitor: str, grid: Grid) -> None:
        """The visitor looks at this grid now."""
        with self._lock:
            self._own(visitor)
            self._grids[visitor] = grid

    def grid(self, visitor: str) -> Grid | None:
        """What the visitor looks at."""
        with self._lock:
            return self._grids.get(visitor)

    def forget(self, visitor: str) -> None:
        """Frees all that is a visitor's."""
        with self._lock:
            self._results.pop(visitor, None)
            self._grids.pop(visitor, None)

    def _own(self, visitor: str) -> OrderedDict[tuple[Subject, Cell], Result]:
        own = self._results.setdefault(visitor, OrderedDict())
        self._results.move_to_end(visitor)
        return own


def _bytes(results: OrderedDict[tuple[Subject, Cell], Result]) -> int:
    return sum(result.size for result in results.values())
