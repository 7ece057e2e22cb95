"""Records the race that the page opens with: `python -m mrsampler.ui.restore.recorded`."""

from __future__ import annotations

import json
import math

from mrsampler import checkpoints
from mrsampler.examples import examples
from mrsampler.restorer import OPTIMISED
from mrsampler.ui import session
from mrsampler.ui.parts import choices
from mrsampler.ui.parts.examples import example_photo
from mrsampler.ui.restore import live, samplers
from mrsampler.ui.restore import tab as restore
from mrsampler.ui.restore.live import LiveRace, measured

SIDE = 224
DENSE = 12  # the first frames, all of which are kept


def main() -> None:
    """Runs the first example with the page's own defaults, and writes assets/recorded_race.json."""
    live.UPDATES_PER_SECOND = live.FIGURES_PER_SECOND = math.inf
    first = examples()[0]
    shown = session.subject(example_photo(0), True, first.task, first.severity, 0, SIDE)
    restorer = session.load(checkpoints.DEFAULT)
    entrants = [
        samplers.entrant(restorer, "a", choices.SAMPLER, choices.NFE, OPTIMISED),
        samplers.entrant(restorer, "b", choices.BASELINE, choices.BASELINE_NFE),
    ]
    race = LiveRace(restorer, shown.degraded, shown.truth, first.task, entrants, 0)
    moments = list(race.moments())
    assert shown.truth is not None
    stills = {
        e.key: measured([s for m in moments for s in m.stills if s.key == e.key], shown.truth)
        for e in entrants
    }
    numbers = {(key, s.index): s.numbers for key, course in stills.items() for s in course}
    updates: list[dict] = []
    for moment in moments:
        # The frames that the curves have a dot for; they grow apart, as on their axis.
        dotted = {s.index for s in moment.stills if s.judged or s.index < DENSE}
        for frame in moment.frames:
            if frame["index"] in dotted:
                for key in frame.keys() & stills.keys():
                    frame[key] |= numbers[key, frame["index"]]
                frame["index"] = len(updates)
                update = {"run": "recorded", "state": "running", "say": restore.say(moment, shown)}
                updates.append(update | {"frames": [frame], "figures": moment.figures})
    updates[0]["setup"] = restore.setup(shown, entrants)
    updates[-1] |= restore.closing(entrants, stills)
    updates[-1]["say"] = restore.last_word(moment, shown, True)
    restore.RECORDING.write_text(json.dumps(updates, separators=(",", ":")), encoding="utf-8")
    print(f"{restore.RECORDING}: {len(updates)} updates")


if __name__ == "__main__":
    main()
