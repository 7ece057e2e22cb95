// Where each line of a plane's plot is now, what lies ahead of that dimmed, and a ring about what is
// pointed at in the other plot: drawn over it, for plotly would take longer than a scrub may.
import { COLOURS, css } from '../parts/theme.js';
import { faint } from './trajectories.js';

const SVG = 'http://www.w3.org/2000/svg';

/**
 * The function from a value of an axis to its pixel, by the figure's own layout.
 * @param {any} layout
 * @param {string} name As a trace names it: "x", "y2".
 * @param {{ clientWidth: number, clientHeight: number }} size
 */
function scale({ margin, ...axes }, name, { clientWidth, clientHeight }) {
  const axis = axes[name.replace(/^[xy]/, '$&axis')];
  const [low, high] = axis.range;
  const [start, end] = axis.domain ?? [0, 1];
  const [from, to] = name.startsWith('x')
    ? [margin.l, clientWidth - margin.r]
    : [clientHeight - margin.b, margin.t];
  const [first, length] = [from + start * (to - from), (end - start) * (to - from)];
  return (value) =>
    first + (length * ((axis.type === 'log' ? Math.log10(value) : value) - low)) / (high - low);
}

export class Marks {
  /**
   * @param {any} place Plotly's element.
   * @param {import('./race.js').Race} race
   */
  constructor(place, race) {
    this.place = place;
    this.race = race;
    this.over = document.createElementNS(SVG, 'svg');
    this.over.classList.add('now');
    place.after(this.over);
  }

  clear() {
    this.over.replaceChildren();
  }

  draw() {
    this.clear();
    const { data = [], layout } = this.place;
    const lines = data.filter(({ type, customdata }) => customdata && type === 'scatter');
    const page = css('--body-background-fill');
    const all = lines.map((trace) => {
      const [x, y] = ['x', 'y'].map((axis) =>
        scale(layout, trace[`${axis}axis`] ?? axis, this.place),
      );
      return { trace, place: ([across, up]) => [x(across), y(up)] };
    });
    for (const { trace, place } of all) this.dim(trace, place, page);
    for (const { trace, place } of all) {
      const here = this.race.here(trace);
      if (here < 0) continue;
      const sample = of(trace.marker.symbol, here) === 'circle-open'; // inside its ring, or both are one
      const fill = COLOURS[trace.name];
      this.put(place([trace.x[here], trace.y[here]]), { r: sample ? 3.5 : 6.5, fill });
    }
    for (const { trace, place } of all) {
      const pointed = this.race.pointedAt(trace, this.place);
      if (pointed) this.put(place(pointed), { class: 'pointed', r: 9 });
    }
  }

  dim({ x, y, name, marker, customdata }, place, page) {
    const here = this.race.here({ name, customdata });
    for (let i = here + 1; i < x.length; i += 1) {
      const r = of(marker.size, i) / 2 + 1;
      this.put(place([x[i], y[i]]), { class: 'ahead', r, fill: page, opacity: 1 - faint() });
    }
  }

  put([cx, cy], attributes) {
    const circle = document.createElementNS(SVG, 'circle');
    for (const [name, value] of Object.entries({ cx, cy, ...attributes })) {
      circle.setAttribute(name, `${value}`);
    }
    this.over.append(circle);
  }
}

const of = (value, i) => (Array.isArray(value) ? value[i] : value);
