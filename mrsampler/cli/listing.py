"""`mrsampler list`: the tasks, processes, solvers, spacings and checkpoints there are."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from mrsampler.cli.errors import reason

SECTIONS = ("tasks", "processes", "solvers", "spacings", "checkpoints")


def add(commands: Any) -> None:
    command = commands.add_parser(
        "list",
        help="list the tasks, processes, solvers, spacings and checkpoints",
        description="Lists what there is to choose from.",
    )
    command.set_defaults(command=run)
    command.add_argument(
        "section",
        nargs="?",
        choices=SECTIONS,
        metavar="SECTION",
        help=f"one of {', '.join(SECTIONS)} (default: all)",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    sections = {
        "tasks": _tasks,
        "processes": _processes,
        "solvers": _solvers,
        "spacings": _spacings,
        "checkpoints": _checkpoints,
    }
    chosen = {name: sections[name]() for name in ([args.section] if args.section else SECTIONS)}
    if args.json:
        print(json.dumps(chosen, indent=2))
    elif args.section:
        print("\n".join(_lines(args.section, chosen[args.section])))
    else:
        for name, rows in chosen.items():
            print("\n  ".join([name, *_lines(name, rows)]), end="\n\n")
    return 0


def _tasks() -> list[dict[str, Any]]:
    from mrsampler.degradations import REGISTRY

    return [
        {
            "name": name,
            "forms": [
                {"name": form, "summary": how.summary, "held_out": how.held_out}
                for form, how in task.forms.items()
            ],
        }
        for name, task in REGISTRY.items()
    ]


def _processes() -> list[dict[str, Any]]:
    from mrsampler.processes import PROCESSES

    return [
        {
            "name": kind,
            "anchored": process.anchored,
            "parameters": [
                asdict(parameter) | {"kind": parameter.kind.__name__}
                for parameter in process.parameters
            ],
        }
        for kind, process in PROCESSES.items()
    ]


def _solvers() -> list[dict[str, Any]]:
    from mrsampler import SOLVERS

    return [
        {
            "family": solver.family,
            "name": name,
            "label": solver.label,
            "words": solver.words,
            "order": solver.order,
            "stochastic": solver.stochastic,
            "prediction": solver.prediction,
            "baseline": solver.baseline,
            "published": solver.published,
            "evaluations": solver.evaluations,
            "first": list(solver.first),
            "description": solver.summary,
        }
        for name, solver in SOLVERS.items()
    ]


def _spacings() -> list[dict[str, Any]]:
    from mrsampler import SPACINGS
    from mrsampler.restorer import OPTIMISED

    described = [
        {"name": name, "description": spacing.summary} for name, spacing in SPACINGS.items()
    ]
    fitted = "times fitted to the checkpoint, for the solvers and NFE that its card holds"
    return [*described, {"name": OPTIMISED, "description": fitted}]


def _checkpoints() -> list[dict[str, Any]]:
    from mrsampler import checkpoints, hub

    found: list[dict[str, Any]] = []
    for name in checkpoints.names():
        try:
            card = checkpoints.read(name).card
        except (FileNotFoundError, ValueError) as error:
            found.append({"name": name, "error": reason(error)})
            continue
        found.append(
            {
                "name": name,
                "target": card["target"],
                "parameters": card.get("parameters"),
                "minutes trained": card.get("training", {}).get("minutes"),
            }
        )
    for name, published in hub.PUBLISHED.items():
        here = checkpoints.at_hand(name)
        when = "on this machine" if here else "fetched when first used"
        found.append(
            {
                "name": name,
                "target": published.target,
                "parameters": checkpoints.read_card(name).get("parameters") if here else None,
                "from": f"{published.repository}, {when}",
            }
        )
    return found


def _lines(section: str, rows: list[dict[str, Any]]) -> list[str]:
    if section == "tasks":
        return _with_forms(rows)
    if section == "processes":
        return _parameters(rows)
    return _by_family(rows) if section == "solvers" else _table(rows)


def _with_forms(tasks: list[dict[str, Any]]) -> list[str]:
    """A line a task, and its forms under it."""
    lines = []
    for task in tasks:
        forms = [
            {"name": form["name"], "": form["summary"] + ", held out" * form["held_out"]}
            for form in task["forms"]
        ]
        lines += [task["name"], *(f"  {line}" for line in _table(forms)[1:])]
    return lines


def _parameters(processes: list[dict[str, Any]]) -> list[str]:
    """A table of parameters that stand under their processes' names."""
    rows = [
        {"name": p["name"], "default": p["default"], "description": f"{p['label']}: {p['help']}"}
        for process in processes
        for p in process["parameters"]
    ]
    names, *lines = map("  {}".format, _table(rows))
    listed = [names]
    for process in processes:
        count = len(process["parameters"])
        listed += [process["name"], *lines[:count]]
        lines = lines[count:]
    return listed


def _by_family(solvers: list[dict[str, Any]]) -> list[str]:
    """A table whose lines stand under their families' names."""
    rows = []
    for solver in solvers:
        first = ", ".join(map(str, solver["first"]))
        then = f"{first}, then {solver['evaluations']}" if first else solver["evaluations"]
        rows.append(
            {
                "name": solver["name"],
                "order": solver["order"] or "none",
                "stochastic": solver["stochastic"],
                "evaluations a step": then,
                "description": solver["description"],
            }
        )
    names, *lines = _table(rows)
    families: dict[str, list[str]] = {}
    for solver, line in zip(solvers, lines, strict=True):
        families.setdefault(solver["family"], []).append(f"  {line}")
    return [f"  {names}", *(line for name, own in families.items() for line in (name, *own))]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Aligned lines under the columns' names, or the names alone if that is all there is."""
    if not rows:
        return ["(none)"]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    if len(columns) > 1:
        cells.insert(0, columns)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
