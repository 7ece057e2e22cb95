// The plots' canvas, and on the first of them the trajectories as Python has projected them.
const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const COLOURS = { a: '#0072B2', b: '#D55E00', p1: '#CC79A7', p2: '#56B4E9', p3: '#009E73' };
const FAINT = 0.18; // what lies ahead of the frame that is looked at
const SVG = 'http://www.w3.org/2000/svg';

class Canvas {
  // `make` returns { data, layout }, or null for an empty canvas.
  constructor(plot, make) {
    const over = document.createElementNS(SVG, 'svg');
    over.classList.add('now');
    plot.after(over);
    Object.assign(this, { plot, make, over, drawing: false, again: false, wired: false });
  }
  async draw() {
    if (this.drawing) { this.again = true; return; }
    if (!window.Plotly) return;
    this.drawing = true;
    try {
      const figure = this.make();
      this.plot.parentElement.classList.toggle('blank', !figure);
      if (!figure) { this.clear(); return; }
      const { data, layout } = figure;
      layout.font = { ...layout.font, family: css('--font') || 'system-ui' };
      layout.hoverlabel = { font: { family: layout.font.family } };
      await Plotly.react(this.plot, data, layout, { displayModeBar: false, responsive: true, doubleClick: 'reset' });
      this.wire();
    } finally {
      this.drawing = false;
      if (this.again) { this.again = false; requestAnimationFrame(() => this.draw()); }
    }
  }
  clear() {
    Plotly.purge(this.plot);
    this.wired = false;
    this.over.replaceChildren();
  }
  // Where each line is now: drawn over the plot, for a redraw would take longer than a scrub may.
  mark() {
    this.over.replaceChildren();
    const axes = this.plot._fullLayout;
    for (const group of this.plot.querySelectorAll('.scatterlayer .trace')) {
      const trace = group.__data__?.[0]?.trace;
      if (!trace?.customdata) continue;
      const here = now(trace.customdata.map((note) => note[0]), trace.name);
      for (const point of group.querySelectorAll('.points path')) point.style.opacity = point.__data__.i > here ? FAINT : 1;
      if (here < 0) continue;
      const [x, y] = ['x', 'y'].map((name) => {
        const axis = axes[trace[`${name}axis`].replace(name, `${name}axis`)];
        return axis._offset + axis.d2p(trace[name][here]);
      });
      const dot = document.createElementNS(SVG, 'circle');
      for (const [name, value] of Object.entries({ cx: x, cy: y, r: 6.5, fill: COLOURS[trace.name] })) dot.setAttribute(name, value);
      this.over.append(dot);
    }
  }
  wire() {
    if (this.wired) return;
    this.wired = true;
    this.plot.on('plotly_afterplot', () => this.mark()); // also after zooming
    this.mark();
    this.plot.on('plotly_click', ({ points: [point] }) => {
      const key = point.data.name, nfe = point.customdata?.[0];
      if (!KEYS.includes(key) || scrub.disabled) return;
      const index = frames.findIndex((f) => f[key].nfe === nfe);
      if (index >= 0) { hold(); seek(index); controls(); }
    });
  }
}

// How many evaluations a line has made at the frame that is looked at.
function reached(key) {
  if (frames[at]?.[key]) return frames[at][key].nfe;
  const states = pins.find((pin) => pin.key === key)?.states || [];
  return states.findLast((s) => s.step <= at)?.nfe ?? Infinity;
}
// The last of a line's points by then; -1 before the first.
const now = (nfes, key) => nfes.findLastIndex((nfe) => nfe <= reached(key));
const fainter = (rgba) => rgba.replace(/[\d.]+\)$/, (shade) => `${shade.slice(0, -1) * FAINT})`);

function themed(value, ink, grid) {
  if (value === 'rgb(1, 2, 3)') return ink;
  if (value === 'rgb(3, 2, 1)') return grid;
  if (Array.isArray(value)) return typeof value[0] === 'number' ? value : value.map((v) => themed(v, ink, grid));
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, ink, grid)]));
  return value;
}
let dims = 2;
const trajectories = new Canvas($('.plot:not(.curve)'), () => {
  if (!figures?.[dims]) return null;
  const figure = themed(figures[dims], css('--body-text-color'), css('--border-color-primary'));
  for (const { customdata, marker, name } of figure.data) {
    if (!customdata) continue;
    const large = marker.size.at(-1), small = marker.size.length > 1 ? marker.size[0] : large / 2;
    if (dims === 2) { marker.size = small; continue; }
    const here = now(customdata.map((note) => note[0]), name); // no points of their own in WebGL
    marker.size = marker.size.map((_, i) => (i === here ? large : small));
    marker.color = marker.color.map((colour, i) => (i > here ? fainter(colour) : colour));
  }
  return figure;
});
function turn(to) {
  dims = to;
  if (window.Plotly) trajectories.clear();
  trajectories.draw();
}
function drawBoth() {
  trajectories.draw();
  curve.draw();
}
function markBoth() {
  if (dims === 3) trajectories.draw(); else trajectories.mark();
  curve.mark();
}
new MutationObserver(drawBoth).observe(document.body, { attributes: true, attributeFilter: ['class'] });
