"""Records the race that the page opens with: `python -m mrsampler.ui.recorded`."""

from __future__ import annotations

import json

from mrsampler import checkpoints
from mrsampler.examples import examples
from mrsampler.restorer import OPTIMISED
from mrsampler.ui import choices, restore, samplers, session
from mrsampler.ui.examples import example_photo
from mrsampler.ui.live import LiveRace, Still

SIDE = 224
DENSE = 12  # the first frames, all of which are kept


def main() -> None:
    """Runs the first example with the page's own defaults, and writes assets/recorded_race.json."""
    first = examples()[0]
    shown = session.subject(example_photo(0), True, first.task, first.severity, 0, SIDE)
    restorer = session.load(checkpoints.DEFAULT)
    entrants = [
        samplers.entrant(restorer, "a", choices.SAMPLER, choices.NFE, OPTIMISED),
        samplers.entrant(restorer, "b", choices.BASELINE, choices.BASELINE_NFE),
    ]
    race = LiveRace(restorer, shown.degraded, shown.truth, first.task, entrants, 0)
    updates: list[dict] = []
    kept: dict[str, list[Still]] = {e.key: [] for e in entrants}
    for moment in race.moments():
        for still in moment.stills:
            kept[still.key].append(still)
        # The frames that the curves have a dot for; they grow apart, as on their axis.
        measured = {s.index for s in moment.stills if s.x0 is not None or s.index < DENSE}
        for frame in moment.frames:
            if frame["index"] in measured:
                frame = frame | {"index": len(updates)}
                update = {"run": "recorded", "state": "running", "say": restore.say(moment, shown)}
                updates.append(update | {"frames": [frame], "figures": moment.figures})
    updates[0]["setup"] = restore.setup(shown, entrants)
    updates[-1] |= restore.closing(entrants, kept)
    updates[-1]["say"] = restore.last_word(moment, shown, True)
    restore.RECORDING.write_text(json.dumps(updates, separators=(",", ":")), encoding="utf-8")
    print(f"{restore.RECORDING}: {len(updates)} updates")


if __name__ == "__main__":
    main()
