// The plots' canvas, and on the first of them the trajectories as Python has projected them.
const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const COLOURS = { a: '#0072B2', b: '#D55E00', p1: '#CC79A7', p2: '#56B4E9', p3: '#009E73' };
const dark = () => document.body.classList.contains('dark');
const faint = () => (dark() ? 0.3 : 0.18); // what lies ahead of the frame that is looked at
const SVG = 'http://www.w3.org/2000/svg';

// Plotly is 4 MB, which take half a second to run: they come after the first picture.
function fetchPlotly() {
  if (document.querySelector(`script[src="${props.plotly}"]`)) return;
  document.head.append(Object.assign(document.createElement('script'), { src: props.plotly, onload: () => drawBoth() }));
}
panels.a.querySelector('img').addEventListener('load', () => setTimeout(fetchPlotly), { once: true });
setTimeout(fetchPlotly, 3000); // where none comes

const SHARE = 0.02;

class Canvas {
  // `make` returns { data, layout }, or null for an empty canvas.
  constructor(plot, make) {
    const over = document.createElementNS(SVG, 'svg'), pane = document.createElementNS(SVG, 'svg'), canvas = plot.parentElement;
    over.classList.add('now');
    pane.classList.add('sketch');
    for (const name of ['role', 'aria-label']) pane.setAttribute(name, plot.getAttribute(name));
    plot.after(pane);
    Object.assign(this, { plot, make, over, pane, canvas, size: [0, 0], near: false, zoomed: false, stale: false, sketched: null, drawing: false, again: false, wired: false, rested: 0, due: null });
    new ResizeObserver(([{ contentRect }]) => {
      this.size = [contentRect.width, contentRect.height];
      if (this.sketched) this.draw();
    }).observe(plot);
    for (const [event, near] of [['pointerenter', true], ['pointerleave', false]]) {
      canvas.addEventListener(event, ({ pointerType }) => {
        this.near = near && pointerType !== 'touch';
        if (Boolean(this.sketched) !== this.light) this.draw();
      });
    }
  }
  // While a race runs, as while plotly is not there, a plane is only sketched; but not what is zoomed,
  // nor under the pointer, which may want to know more of a point.
  get light() {
    if (this === trajectories && dims === 3) return false;
    return !window.Plotly || ((busy() || stage.dataset.state === 'recording') && !this.near && !this.zoomed);
  }
  // A redraw is plotly's, of everything. While a race runs it may have a SHARE of the time, for the
  // network may be on the same cores: what comes sooner is drawn at the next turn.
  async draw() {
    if (this.drawing) { this.again = true; return; }
    if (this.light) { this.sketch(); return; }
    if (!window.Plotly) return;
    const rest = this.rested - performance.now();
    if (busy() && rest > 0) {
      if (this.sketched) this.sketch(); // until then
      this.due ??= setTimeout(() => { this.due = null; this.draw(); }, rest);
      return;
    }
    clearTimeout(this.due);
    this.due = null;
    this.drawing = true;
    const began = performance.now();
    try {
      const figure = this.make();
      this.canvas.classList.toggle('blank', !figure);
      if (!figure || this.stale) this.clear();
      if (!figure) return;
      const { data, layout } = figure;
      // Copies: a zoom writes into plotly's.
      this.axes = Object.entries(layout).filter(([, { dtick }]) => dtick).map(([name, { range, dtick }]) => [name, { range: [...range], dtick }]);
      layout.font = { ...layout.font, family: css('--font') || 'system-ui' };
      layout.hoverlabel = { font: { family: layout.font.family } };
      await Plotly.react(this.plot, data, layout, { displayModeBar: false, responsive: true, doubleClick: 'reset' });
      this.shown(null);
      this.wire();
      this.follow();
      this.rule();
    } finally {
      this.drawing = false;
      const ended = performance.now();
      this.rested = ended + (ended - began) * (1 / SHARE - 1);
      if (this.again) { this.again = false; requestAnimationFrame(() => this.draw()); }
    }
  }
  clear() {
    window.Plotly?.purge(this.plot);
    this.wired = this.zoomed = this.stale = false;
    this.shown(null);
    this.over.replaceChildren();
  }
  sketch() {
    clearTimeout(this.due);
    this.due = null;
    const figure = this.make();
    if (!figure) this.stale = true; // what plotly has is of an earlier run
    const { markup, scales } = figure && this.size[0] ? sketched(figure, ...this.size) : { markup: '' };
    this.canvas.classList.toggle('blank', !figure);
    this.pane.innerHTML = markup;
    this.pane.after(this.over);
    this.shown({ scales, lines: markup ? figure.data.filter((trace) => trace.customdata) : [] });
    this.mark();
  }
  // By the figure's own steps a zoom might have no line at all.
  rule() {
    const steps = this.axes.map(([name, { range, dtick }]) => {
      const [low, high] = this.plot._fullLayout[name].range;
      return [name, high - low < 0.6 * (range[1] - range[0]) ? stepOf([low, high], 5) : dtick];
    });
    const change = Object.fromEntries(steps.filter(([name, step]) => this.plot._fullLayout[name].dtick !== step).map(([name, step]) => [`${name}.dtick`, step]));
    if (Object.keys(change).length) Plotly.relayout(this.plot, change);
  }
  // What is seen: a sketch's lines and scales, or null for plotly's.
  shown(sketched) {
    this.sketched = sketched;
    this.canvas.classList.toggle('sketched', Boolean(sketched));
  }
  get lines() {
    return this.sketched?.lines || (this.plot._fullData || []).filter((trace) => trace.customdata);
  }
  // The dots of each line, as [line, index, element].
  *dots() {
    if (this.sketched) {
      const groups = this.pane.querySelectorAll('.line');
      for (const [i, line] of this.lines.entries()) for (const [at, dot] of groups[i].querySelectorAll('circle').entries()) yield [line, at, dot];
      return;
    }
    for (const group of this.plot.querySelectorAll('.scatterlayer .trace')) {
      const line = group.__data__?.[0]?.trace;
      if (line?.customdata) for (const dot of group.querySelectorAll('.points path')) yield [line, dot.__data__.i, dot];
    }
  }
  // Where each line is now: drawn over the plot, for a redraw would take longer than a scrub may.
  mark() {
    this.over.replaceChildren();
    const { lines } = this, ahead = faint();
    const reach = new Map(lines.map((line) => [line, now(line.customdata.map((note) => note[0]), line.name)]));
    for (const [line, index, dot] of this.dots()) dot.style.opacity = index > reach.get(line) ? ahead : 1;
    for (const trace of lines) if (trace.type === 'scatter3d') this.past(trace);
    for (const trace of lines) {
      const here = reach.get(trace), place = here < 0 ? null : this.place(trace, here);
      if (!place) continue;
      const onSample = trace.marker.symbol?.[here] === 'circle-open'; // inside its ring, or both are one
      this.put('circle', { cx: place[0], cy: place[1], r: onSample ? 3.5 : 6.5, fill: COLOURS[trace.name] });
    }
    if (!pointed || pointed.on === this) return;
    for (const trace of lines) {
      const place = trace.name === pointed.key && this.between(trace, pointed.nfe);
      if (place) this.put('circle', { class: 'pointed', cx: place[0], cy: place[1], r: 9 });
    }
  }
  put(kind, attributes) {
    const node = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    this.over.append(node);
  }
  // A point of a line, in pixels of the plot.
  place(trace, index) {
    if (this.sketched) return ['x', 'y'].map((name) => this.sketched.scales[trace[`${name}axis`] || name](trace[name][index]));
    const layout = this.plot._fullLayout;
    if (trace.type === 'scatter3d') {
      const { glplot, dataScale } = layout.scene?._scene || {};
      if (!glplot?.cameraParams) return null;
      const { model, view, projection } = glplot.cameraParams, { l, t, w, h } = layout._size;
      const point = ['x', 'y', 'z'].map((name, i) => trace[name][index] * dataScale[i]);
      const [x, y, , depth] = [model, view, projection].reduce(times, [...point, 1]);
      return [l + w * (0.5 + 0.5 * x / depth), t + h * (0.5 - 0.5 * y / depth)];
    }
    return ['x', 'y'].map((name) => {
      const axis = layout[trace[`${name}axis`].replace(name, `${name}axis`)];
      return axis._offset + axis.d2p(trace[name][index]);
    });
  }
  // Where a line passes so many evaluations; between two points where none was measured there.
  between(trace, nfe) {
    const nfes = trace.customdata.map((note) => note[0]), right = nfes.findIndex((n) => n >= nfe);
    if (right < 0 || (right === 0 && nfes[0] > nfe)) return null;
    const left = nfes[right] === nfe ? right : right - 1;
    const from = this.place(trace, left), to = this.place(trace, right);
    const share = left === right ? 0 : (nfe - nfes[left]) / (nfes[right] - nfes[left]);
    return from && to && from.map((value, i) => value + share * (to[i] - value));
  }
  // In space the plot holds the whole line, faint; what is past is drawn over it, in full.
  past(trace) {
    const here = now(trace.customdata.map((note) => note[0]), trace.name);
    const places = trace.x.slice(0, here + 1).map((_, i) => this.place(trace, i));
    if (places.includes(null)) return;
    const { line, dots, width } = trace.meta.past;
    if (places.length > 1) this.put('path', { d: `M${places.join('L')}`, stroke: line, 'stroke-width': width });
    places.forEach((place, i) => this.put('path', { d: `M${place}h0`, stroke: dots[i], 'stroke-width': 3 + width }));
  }
  // The marks lie beneath plotly's labels, and follow the camera.
  follow() {
    const labels = this.plot.querySelector('.hoverlayer')?.closest('svg');
    if (labels && labels.previousElementSibling !== this.over) labels.before(this.over);
    const glplot = this.plot._fullLayout.scene?._scene?.glplot;
    if (glplot && !glplot.followed) {
      const render = glplot.onrender;
      glplot.followed = true;
      glplot.onrender = () => { render?.(); this.mark(); };
    }
    this.mark();
  }
  wire() {
    if (this.wired) return;
    this.wired = true;
    this.plot.on('plotly_afterplot', () => this.mark()); // also after zooming
    this.plot.on('plotly_relayout', (change) => {
      if (!Object.keys(change).some((name) => /axis\d?\.(auto)?range/.test(name))) return;
      this.zoomed = true;
      this.rule();
    });
    this.plot.on('plotly_doubleclick', () => setTimeout(() => { this.zoomed = false; })); // told before
    this.plot.on('plotly_hover', ({ points: [point] }) => this.point(point));
    this.plot.on('plotly_unhover', () => this.point(null));
    this.plot.on('plotly_click', ({ points: [point] }) => {
      const key = point.data.name, nfe = point.customdata?.[0];
      if (!KEYS.includes(key) || scrub.disabled) return;
      const index = frames.findIndex((f) => f[key].nfe === nfe);
      if (index >= 0) { hold(); seek(index); controls(); }
    });
  }
  // What is pointed at here is ringed in the other plot.
  point(at) {
    const nfe = at?.customdata?.[0];
    pointed = nfe === undefined ? null : { key: at.data.name, nfe, on: this };
    for (const other of [trajectories, curve]) if (other !== this) other.mark();
  }
}
let pointed = null;
// A column-major 4 x 4 matrix times a vector.
const times = (vector, matrix) => [0, 1, 2, 3].map((i) => vector.reduce((sum, value, j) => sum + matrix[4 * j + i] * value, 0));

// How many evaluations a line has made at the frame that is looked at.
function reached(key) {
  if (frames[at]?.[key]) return frames[at][key].nfe;
  if (!busy() && at >= frames.length - 1) return Infinity; // it may have taken longer than this race
  const states = pins.find((pin) => pin.key === key)?.states || [];
  return states.findLast((s) => s.step <= at)?.nfe ?? Infinity;
}
// The last of a line's points by then; -1 before the first.
const now = (nfes, key) => nfes.findLastIndex((nfe) => nfe <= reached(key));

// Pale colours come as rgba, of which a dark page needs less; in space they are mixed with the page's
// own, since WebGL adds up what shines through.
const channels = (colour) => (colour.startsWith('#') ? colour.match(/\w\w/g).map((pair) => parseInt(pair, 16)) : colour.match(/[\d.]+/g).map(Number));
function paler(rgba, share = 1) {
  const [r, g, b, opacity = 1] = channels(rgba);
  return [r, g, b, share * (dark() ? 1 - 0.45 * (1 - opacity) : opacity)];
}
const sheer = (rgba) => `rgba(${paler(rgba)})`;
function mixed(rgba, share) {
  const [r, g, b, opacity] = paler(rgba, share), page = channels(css('--body-background-fill'));
  return `rgb(${[r, g, b].map((value, i) => Math.round(page[i] + opacity * (value - page[i])))})`;
}

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
    const { customdata, marker, line } = trace;
    if (!customdata) continue;
    const small = marker.size.length > 1 ? marker.size[0] : marker.size[0] / 2;
    marker.size = marker.size.map(() => small); // the current one is a mark
    trace.hoverlabel = { bgcolor: COLOURS[trace.name] };
    if (dims === 2) {
      marker.color = marker.color.map(sheer);
      line.color = sheer(line.color);
      continue;
    }
    const past = { line: mixed(line.color), dots: marker.color.map((colour) => mixed(colour)), width: 0.6 * line.width };
    Object.assign(trace, { meta: { label: trace.meta, past }, hovertemplate: trace.hovertemplate.replace('%{meta}', '%{meta.label}') });
    marker.color = marker.color.map((colour) => mixed(colour, faint()));
    line.color = mixed(line.color, faint());
  }
  return figure;
});
function turn(to) {
  dims = to;
  trajectories.clear();
  trajectories.draw();
}
function drawBoth(anew = false) {
  for (const canvas of [trajectories, curve]) {
    if (anew) canvas.rested = 0;
    canvas.draw();
  }
}
function markBoth() {
  trajectories.mark();
  curve.mark();
}
new MutationObserver(() => drawBoth()).observe(document.body, { attributes: true, attributeFilter: ['class'] });
