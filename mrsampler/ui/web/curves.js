// Quality against evaluations or time, of each prediction x_0: distortion above, perception below;
// or one against the other. A dot where it was measured, a ring for the sample at the end.
const METRICS = {
  psnr: { title: 'PSNR, dB ↑', digits: 1 },
  ssim: { title: 'SSIM ↑', digits: 3 },
  swd: { title: 'patches, SWD ↓', digits: 3 },
  to_sample: { title: 'to the sample, RMSE/255 ↓', digits: 2, log: true },
};
const TICKS = [1, 2, 5].flatMap((n) => [0.01, 0.1, 1, 10, 100, 1000].map((decade) => n * decade));
let metric = 'psnr', against = 'nfe';

const value = (state, name, of = 'of_x0') => (name === 'to_sample' ? state.to_sample : state[of]?.[name]) ?? null;
function lines() {
  const live = KEYS.filter((key) => courses[key].length).map((key) => ({ key, ...entrants[key], states: courses[key] }));
  return [...pins, ...live]; // what is pinned lies beneath
}
// One line's points: its predictions, then its sample.
function points(line, names) {
  const drawn = (v, { log }) => v !== null && !(log && v <= 0);
  const whole = (state, of) => names.every((name) => drawn(value(state, name, of), METRICS[name]));
  const dots = line.states.filter((s) => s.step && whole(s)).map((state) => ({ state, of: 'of_x0' }));
  const last = line.states.at(-1);
  if (last.done && !names.includes('to_sample') && whole(last, 'of_x')) dots.push({ state: last, of: 'of_x' });
  return dots;
}
function trace(line, names, x, y, axes) {
  const dots = points(line, names), colour = COLOURS[line.key];
  const ring = ({ of }) => of === 'of_x';
  return {
    type: 'scatter', mode: 'lines+markers', name: line.key, meta: line.label, ...axes,
    x: dots.map(x), y: dots.map(y),
    line: { color: colour, width: 2, dash: pins.includes(line) ? 'dot' : 'solid' },
    marker: {
      color: colour, size: dots.map((dot) => (ring(dot) ? 13 : 5)),
      symbol: dots.map((dot) => (ring(dot) ? 'circle-open' : 'circle')),
      line: { width: dots.map((dot) => (ring(dot) ? 2 : 0)), color: colour },
    },
    customdata: dots.map((dot) => [dot.state.nfe, dot.state.seconds.toFixed(2), ring(dot) ? 'the sample' : 'x̂₀',
      names.map((name) => `${METRICS[name].title.replace(/ [↑↓]$/, '')} ${value(dot.state, name, dot.of).toFixed(METRICS[name].digits)}`).join('<br>')]),
    hovertemplate: '%{meta}<br>NFE %{customdata[0]}, %{customdata[1]} s<br>%{customdata[2]}: %{customdata[3]}<extra></extra>',
  };
}
// A span about all values, at least so wide, which within a run only grows: nothing jumps.
const LEAST = { psnr: 1, ssim: 0.04, swd: 0.03, to_sample: 0.3 };
let spans = {}, spanned = null;
function span(id, values, log, least = 0) {
  const key = `${id} ${metric} ${against}`;
  const scaled = (log ? values.filter((v) => v > 0).map(Math.log10) : values).filter(Number.isFinite);
  const old = spans[key] || [Infinity, -Infinity];
  const [low, high] = spans[key] = [Math.min(old[0], ...scaled), Math.max(old[1], ...scaled)];
  const room = Math.max((high - low) * 0.08, (least - (high - low)) / 2) || 0.05;
  return low > high ? [0, 1] : [low - room, high + room];
}
// Ruled here, so that plotly's and the sketch's are the same.
const ruled = (range, log = false) => (log ? { range, type: 'log', tickvals: TICKS } : { range, dtick: stepOf(range, 5) });
const later = (y) => ({ text: busy() ? 'Known once the run has ended.' : '', showarrow: false, xref: 'paper', yref: 'paper', x: 0.5, y, font: { color: css('--body-text-color-subdued') } });
const curve = new Canvas($('.curve'), () => {
  const all = lines();
  if (!all.length) return null;
  if (spanned !== run) { spans = {}; spanned = run; }
  const ink = css('--body-text-color'), gridcolor = css('--border-color-primary');
  const axis = (title, more) => ({ title: { text: title }, color: ink, gridcolor, zeroline: false, ...more });
  const layout = {
    uirevision: `${metric} ${against} ${scored}`, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: { color: ink, size: 12 }, showlegend: false, hovermode: 'closest', margin: { l: 64, r: 12, t: 12, b: 44 },
  };
  const unknown = (traces) => (traces.some((t) => t.x.length) ? {} : { showticklabels: false }); // no scale yet
  const chosen = scored ? metric : 'to_sample', plane = against === 'plane' && scored;
  const distortion = plane && chosen === 'to_sample' ? 'psnr' : chosen;
  if (plane) {
    const names = [distortion, 'swd'];
    const data = all.map((line) => {
      const drawn = trace(line, names, (d) => value(d.state, distortion, d.of), (d) => value(d.state, 'swd', d.of));
      const nfes = drawn.customdata.map(([nfe]) => nfe), last = nfes.length - 1;
      const text = nfes.map((nfe, i) => (i === last ? `${nfe} NFE` : i === 0 ? `${nfe}` : ''));
      return { ...drawn, mode: 'lines+markers+text', text, textposition: 'top right', textfont: { color: ink, size: 12 }, cliponaxis: false };
    });
    if (!data.some((t) => t.x.length)) layout.annotations = [later(0.5)];
    layout.xaxis = axis(METRICS[distortion].title.replace('↑', '→'), { ...ruled(span('x', data.flatMap((t) => t.x), false, LEAST[distortion])), ...unknown(data) });
    layout.yaxis = axis(METRICS.swd.title, { ...ruled(span('y', data.flatMap((t) => t.y), false, LEAST.swd)), ...unknown(data) });
    return { data, layout };
  }
  const x = against === 'seconds' ? (d) => d.state.seconds : (d) => d.state.nfe;
  const names = distortion === 'to_sample' ? [distortion] : [distortion, 'swd'];
  const data = names.flatMap((name, i) => all.map((line) =>
    trace(line, [name], x, (d) => value(d.state, name, d.of), { xaxis: 'x', yaxis: i ? 'y2' : 'y' })));
  const most = Math.max(...all.map((line) => line.nfe));
  layout.xaxis = against === 'seconds'
    ? axis("seconds of the sampler's own time", { type: 'log', tickvals: TICKS, range: span('x', data.flatMap((t) => t.x), true), ...unknown(data) })
    : axis('NFE', { type: 'log', tickvals: [1, 2, 3, 5, 10, 20, 50, 100, 200], range: [Math.log10(0.92), Math.log10(most * 1.1)] });
  names.forEach((name, i) => {
    const { title, log } = METRICS[name], mine = data.filter((t) => t.yaxis === (i ? 'y2' : 'y'));
    layout[i ? 'yaxis2' : 'yaxis'] = axis(title, {
      domain: names.length === 1 ? [0, 1] : i ? [0, 0.46] : [0.54, 1],
      ...ruled(span(name, mine.flatMap((t) => t.y), log, LEAST[name]), log), ...unknown(mine),
    });
  });
  if (names.length > 1) layout.xaxis.anchor = 'y2';
  layout.annotations = names.flatMap((name, i) => {
    const mine = data.filter((t) => t.yaxis === (i ? 'y2' : 'y'));
    return name === 'psnr' || mine.some((t) => t.x.length) ? [] : [later(names.length === 1 ? 0.5 : i ? 0.23 : 0.77)];
  });
  return { data, layout };
});
