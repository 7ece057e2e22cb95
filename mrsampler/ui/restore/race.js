// A race as the page knows it: its frames by tick, and each sampler's states by step.
/** The two samplers; a pinned line has a key of its own. */
export const KEYS = ['a', 'b'];

export class Race {
  constructor() {
    /** @type {string | null} */
    this.run = null;
    /** @type {{ key: string, label: string, nfe: number, states: any[] }[]} */
    this.pins = [];
    this.scored = true; // there is a truth to measure by
    this.at = 0; // the frame that is looked at
    this.running = false;
    /** @type {{ key: string, nfe: number, on: object } | null} */
    this.pointed = null;
    this.clear();
  }

  clear() {
    /** @type {any[]} */
    this.frames = [];
    /** @type {Record<string, any[]>} */
    this.courses = { a: [], b: [] };
    /** @type {Record<string, { label: string, nfe: number }>} */
    this.entrants = {};
    /** @type {Record<string, import('../parts/types.js').Figure> | null} */
    this.figures = null;
  }

  get last() {
    return this.frames.length - 1;
  }

  /** Takes a frame in; gradio sends a run's last update twice. */
  append(frame) {
    const { frames } = this;
    if (frame.index < frames.length) return;
    const last = frames.at(-1) || frame;
    // Until the race has ended, only what was shown has pictures of its own.
    for (const key of KEYS)
      if (frame[key] && !frame[key].x)
        Object.assign(frame[key], { x: last[key].x, x0: last[key].x0 });
    while (frames.length < frame.index) frames.push(last);
    frames.push({ a: frame.a || last.a, b: frame.b || last.b });
    for (const key of KEYS) if (frame[key]) this.courses[key].push(frame[key]);
  }

  /** What is known at the end alone: more of states that are here. */
  complete(late) {
    for (const [key, states] of Object.entries(late)) {
      for (const state of states)
        Object.assign(this.courses[key].find((s) => s.step === state.step) ?? {}, state);
    }
  }

  /** Forgets a pinned line. */
  unpin(key) {
    this.pins = this.pins.filter((pin) => pin.key !== key);
    for (const figure of Object.values(this.figures || {}))
      figure.data = figure.data.filter((trace) => trace.name !== key);
  }

  /** How many evaluations a line has made at the frame that is looked at. */
  reached(key) {
    const { frames, at } = this;
    if (frames[at]?.[key]) return frames[at][key].nfe;
    if (!this.running && at >= this.last) return Infinity; // it may have taken longer than this race
    const states = this.pins.find((pin) => pin.key === key)?.states || [];
    return states.findLast((s) => s.step <= at)?.nfe ?? Infinity;
  }

  /** The last of a line's points by then; -1 before the first. */
  here(trace) {
    const reached = this.reached(trace.name);
    return trace.customdata.findLastIndex(([nfe]) => nfe <= reached);
  }

  /**
   * Where the line that is pointed at elsewhere passes so many evaluations; between two points where
   * none was measured there.
   * @param {any} trace
   * @param {object} on The plot that asks.
   * @returns {number[] | null} In the units of its axes.
   */
  pointedAt(trace, on) {
    if (!this.pointed || this.pointed.on === on || this.pointed.key !== trace.name) return null;
    const { nfe } = this.pointed,
      nfes = trace.customdata.map(([made]) => made),
      right = nfes.findIndex((n) => n >= nfe);
    if (right < 0 || (right === 0 && nfes[0] > nfe)) return null;
    const left = nfes[right] === nfe ? right : right - 1;
    const share = left === right ? 0 : (nfe - nfes[left]) / (nfes[right] - nfes[left]);
    return ['x', 'y', 'z'].flatMap((axis) =>
      trace[axis] ? [trace[axis][left] + share * (trace[axis][right] - trace[axis][left])] : [],
    );
  }
}
