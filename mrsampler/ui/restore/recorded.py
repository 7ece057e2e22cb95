"""Records the race that the page opens with: `python -m mrsampler.ui.restore.recorded`."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from mrsampler import checkpoints
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
    restorer = session.load(checkpoints.DEFAULT)
    asked = samplers.checked(restorer, replace(choices.opening(), size=SIDE))
    shown, entrants = session.subject(example_photo(0), asked), samplers.entrants(asked)
    race = LiveRace(restorer, shown.degraded, shown.truth, asked.task, entrants, asked.seed)
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
