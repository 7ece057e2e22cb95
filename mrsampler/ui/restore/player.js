// Which frame is looked at: the newest, one held by hand, or the next of a replay. While a race runs
// the frames go on arriving behind a view that is held.
import { finders } from '../parts/dom.js';
import { KEYS } from './race.js';

const TAKEN =
  'input:not(.scrub), textarea, select, [contenteditable], [role=tab], [role=slider], [role=listbox], summary';

export class Player {
  /**
   * @param {HTMLElement} element
   * @param {import('./race.js').Race} race
   * @param {{ looked: () => void, start: () => void, skip: () => boolean }} told The frame is another;
   *   a run is asked for; a recording that plays is to end, and whether there was one.
   */
  constructor(element, race, { looked, start, skip }) {
    const [$] = finders(element);
    this.race = race;
    this.looked = looked;
    this.start = start;
    this.skip = skip;
    this.scrub = $('.scrub');
    this.play = $('.play');
    this.back = $('.back');
    this.step = $('.step');
    this.held = $('.held');
    this.recording = false; // a recorded race plays
    this.following = true;
    this.awaited = false;
    this.startHeld = false;
    /** @type {ReturnType<typeof setInterval> | null} */
    this.timer = null;
    this.scrub.addEventListener('input', () => {
      this.hold();
      this.seek(+this.scrub.value);
    });
    this.play.addEventListener('click', () => this.toggle());
    this.back.addEventListener('click', () => this.move(-1));
    this.step.addEventListener('click', () => this.move(1));
    document.addEventListener('keydown', (event) => element.offsetParent && this.pressed(event));
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TAKEN)) return;
    if (this.recording && event.key !== ' ') return;
    const onScrub = event.target === this.scrub,
      some = this.race.frames.length; // its own arrows move it
    if (event.key === ' ' && !event.target.closest?.('button, a, label') && !this.play.disabled)
      this.toggle();
    else if (event.key === 'ArrowRight' && !onScrub && some) this.move(1);
    else if (event.key === 'ArrowLeft' && !onScrub && some) this.move(-1);
    else return;
    event.preventDefault();
  }

  seek(index) {
    this.race.at = index;
    this.looked();
    this.controls();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.controls();
  }

  hold() {
    this.pause();
    this.following = false;
    this.controls();
  }

  /** Another race begins. */
  restart() {
    this.race.at = 0;
    this.following = !this.startHeld;
    this.awaited = this.startHeld = false;
  }

  /** There are more frames. */
  arrived() {
    const { race } = this;
    if (this.following) race.at = race.last;
    else if (this.awaited && race.at < race.last) {
      race.at += 1;
      this.awaited = false;
    }
  }

  // What one step costs: some solvers make several evaluations in it, and one that is done makes none.
  cost(from, to) {
    const { frames, entrants } = this.race;
    if (!frames[from] || !frames[to]) return '';
    const made = KEYS.map((key) => [
      entrants[key].label,
      Math.abs(frames[to][key].nfe - frames[from][key].nfe),
    ]).filter(([, nfe]) => nfe);
    if (made.length === 2 && made[0][1] === made[1][1]) return `: ${made[0][1]} NFE each`;
    return made.length ? `: ${made.map(([label, nfe]) => `${label} ${nfe} NFE`).join(', ')}` : '';
  }

  controls() {
    const { race, recording, timer, following } = this,
      { at, last, running } = race,
      some = race.frames.length > 0;
    const moving = Boolean(timer || recording || (running && following)),
      ready = !recording && race.frames.length > 1;
    this.scrub.disabled = this.back.disabled = !ready;
    this.play.disabled = race.frames.length < 2;
    this.step.disabled = recording || (running && !some) || (!running && some && at >= last);
    named(this.back, `One step back${this.cost(at, at - 1)}`, '←');
    named(
      this.step,
      `One step on${this.cost(at, at + 1)}`,
      '→',
      some ? '' : ': starts a race that is held at x_T',
    );
    this.play.classList.toggle('playing', moving);
    this.play.setAttribute('aria-label', moving ? 'Pause' : 'Play the race again');
    this.held.hidden = !(running && some && !following && !timer);
  }

  toggle() {
    const { race } = this;
    if (this.skip()) return;
    if (this.timer || (race.running && this.following)) return this.hold();
    if (race.at >= race.last && !race.running) this.seek(0);
    this.timer = setInterval(() => {
      const ahead = race.last - race.at; // of a running race ever more: it is caught up with
      if (ahead > 0) this.seek(race.at + (race.running ? Math.ceil(ahead / 6) : 1));
      if (race.at < race.last) return;
      this.following = race.running;
      this.pause();
    }, 90);
    this.controls();
  }

  move(by) {
    const { race } = this;
    if (!race.frames.length) {
      if (by < 0 || race.running) return;
      this.startHeld = true; // the run begins with a view held at x_T
      this.start();
      return;
    }
    this.hold();
    const next = race.at + by;
    if (next >= 0 && next <= race.last) this.seek(next);
    else this.awaited = by > 0 && race.running;
    this.controls();
  }
}

function named(button, words, key, more = '') {
  button.setAttribute('aria-label', words);
  button.title = `${words} (${key})${more}`;
}
