"""Records the race that the page opens with: `python -m mrsampler.ui.recorded`."""

from __future__ import annotations

import json

from mrsampler import checkpoints
from mrsampler.examples import examples
from mrsampler.restorer import OPTIMISED
from mrsampler.ui import choices, restore, session
from mrsampler.ui.examples import example_photo
from mrsampler.ui.live import LiveRace

SIDE = 224
EVERY = 6  # of the frames after the first samples are done, to keep the file small


def main() -> None:
    """Runs the first example with the page's own defaults, and writes assets/recorded_race.json."""
    first = examples()[0]
    shown = session.subject(example_photo(0), True, first.task, first.severity, 0, SIDE)
    restorer = session.load(checkpoints.DEFAULT)
    entrants = [
        restore.entrant(restorer, "a", choices.SAMPLER, choices.NFE, OPTIMISED),
        restore.entrant(restorer, "b", choices.BASELINE, choices.BASELINE_NFE),
    ]
    race = LiveRace(restorer, shown.degraded, shown.truth, first.task, entrants, 0)
    updates: list[dict] = []
    for tick, moment in enumerate(race.moments()):
        finished = all(result.done for result in moment.results)
        if tick > 10 and tick % EVERY and not finished:
            continue
        frame = moment.frames[-1] | {"index": len(updates)}
        update = {"run": "recorded", "state": "running", "say": restore.say(moment, shown)}
        updates.append(update | {"frames": [frame], "figures": moment.figures})
    updates[0]["setup"] = restore.setup(shown, entrants)
    updates[-1]["say"] = restore.last_word(moment, shown, True)
    restore.RECORDING.write_text(json.dumps(updates, separators=(",", ":")), encoding="utf-8")
    print(f"{restore.RECORDING}: {len(updates)} updates")


if __name__ == "__main__":
    main()
