"""What a link sets on the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from mrsampler import checkpoints
from mrsampler.run import DAMAGED, OLD_NAMES, Run
from mrsampler.ui.parts import choices
from mrsampler.ui.restore.samplers import offered
from mrsampler.ui.session import load, loaded


def read(query: Mapping[str, str]) -> tuple[Run, list[str]]:
    """The run that a link asks for, and each part of it that there is not, as NAME=VALUE.

    What is missing or wrong is as the page opens with it.
    """
    photo, _ = Run.from_query({"photo": query.get("photo", "")}, choices.opening())
    opening = choices.opening(photo.example or 0)
    if photo.example is None:
        opening = replace(opening, damage=DAMAGED)
    restorer = load(laid_out_by(query.get("checkpoint", "")))
    asked, refused = Run.from_query(query, opening, partial(offered, restorer))
    wrong = {text.partition("=")[0] for text in refused}
    read = {OLD_NAMES.get(key, key) for key in query.keys() - wrong}
    values = asked.to_json()
    for solver, count in (("solver", "nfe"), ("baseline", "baseline_nfe")):
        if count not in read:
            values[count] = choices.placed(values[solver], values[count], restorer.process)
    solver, nfe, spacing = (values[name] for name in ("solver", "nfe", "spacing"))
    return Run(**values | {"spacing": choices.spacing(restorer, solver, nfe, spacing)}), refused


def laid_out_by(checkpoint: str) -> str:
    """The checkpoint that a link's controls are laid out by: the default until its own is here."""
    if checkpoint not in checkpoints.offered():
        return checkpoints.DEFAULT
    here = loaded(checkpoint) or checkpoints.at_hand(checkpoint)
    return checkpoint if here else checkpoints.DEFAULT
