// The states of a tab that runs something: idle, waiting, running, then finished, stopped or failed.

const BUSY = ['running', 'waiting'];
const LOST =
  'No news from the server for three minutes: the connection may be lost. Reload the page to go on.';

/**
 * @typedef {object} Options
 * @property {string} [prefix] Of the ids of its run, stop, knobs and stage.
 * @property {HTMLElement} [holder] What has the state as data-run; the tab, if nothing else.
 * @property {HTMLElement} words What says the state in a sentence.
 * @property {Record<string, string>} [titles] What gradio's buttons do, by id: they take no title.
 * @property {string} [refused] The state where a run did not start.
 * @property {() => void} [asked] Called when Run was pressed.
 * @property {(state: string) => void} [settled] Called with each new state.
 */

export class Run {
  /**
   * @param {HTMLElement} tab Hears "asked" and "failed" from gradio's buttons.
   * @param {Options} options
   */
  constructor(tab, options) {
    const { prefix = '', holder = tab, words, titles = {}, refused = 'failed' } = options;
    const { asked = () => {}, settled = () => {} } = options;
    this.holder = holder;
    this.words = words;
    this.settled = settled;
    holder.dataset.run ??= 'idle';
    /** @type {(name: string) => HTMLElement | null} */
    this.part = (name) => document.getElementById(prefix + name);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.watchdog = undefined;
    tab.addEventListener('asked', () => {
      asked();
      this.settle('running');
      if (window.innerWidth <= 760) this.part('stage')?.scrollIntoView();
      setTimeout(() => this.part('stop')?.focus({ preventScroll: true }));
    });
    tab.addEventListener('failed', () =>
      this.fail('The run did not start; the message says why.', refused),
    );
    name(titles);
  }

  get busy() {
    return BUSY.includes(this.holder.dataset.run);
  }

  /** Whether an update is still of use: a preview that was asked for before a run may come after. */
  hears(update) {
    return Boolean(update?.state ?? update?.run) && !(update.state === 'idle' && this.busy);
  }

  /** @param {string} state */
  settle(state) {
    const was = this.busy;
    this.holder.dataset.run = state;
    const knobs = this.part('knobs');
    if (knobs) knobs.inert = this.busy; // by keyboard, too
    if (was && !this.busy && document.activeElement === this.part('stop'))
      this.part('run')?.focus({ preventScroll: true });
    clearTimeout(this.watchdog);
    if (this.busy) this.watchdog = setTimeout(() => this.fail(LOST), 180000);
    this.settled(state);
  }

  /** A run that is under way ends with a sentence. */
  fail(sentence, state = 'failed') {
    if (!this.busy) return;
    this.say(sentence);
    this.settle(state);
  }

  /** @param {string} sentence */
  say(sentence) {
    if (this.words.textContent !== sentence) this.words.textContent = sentence || '\u00a0'; // else it is read out again
  }
}

/** Gradio's buttons come when they come. */
function name(titles, tries = 200) {
  const buttons = Object.keys(titles).map((id) => document.getElementById(id));
  if (buttons.includes(null) && tries) setTimeout(name, 50, titles, tries - 1);
  for (const button of buttons) if (button) button.title = titles[button.id];
}
