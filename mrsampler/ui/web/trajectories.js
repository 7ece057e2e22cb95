// The plots' canvas, and on the first of them the trajectories as Python has projected them.
const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const FAINT = 0.18; // what lies ahead of the frame that is looked at

class Canvas {
  // `make` returns { data, layout }, or null for an empty canvas.
  constructor(plot, make) {
    Object.assign(this, { plot, make, drawing: false, again: false, wired: false });
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
  }
  wire() {
    if (this.wired) return;
    this.wired = true;
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
  for (const trace of figure.data) {
    if (!trace.customdata) continue;
    const marker = trace.marker, large = marker.size.at(-1), small = marker.size.length > 1 ? marker.size[0] : large / 2;
    const here = now(trace.customdata.map((note) => note[0]), trace.name);
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
new MutationObserver(drawBoth).observe(document.body, { attributes: true, attributeFilter: ['class'] });
