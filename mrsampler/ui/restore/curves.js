// Quality against evaluations or time, of each prediction x_0: distortion above, perception below;
// or one against the other. A dot where it was measured, a ring for the sample at the end.
import { COLOURS, css } from '../parts/theme.js';
import { KEYS } from './race.js';

const METRICS = {
  psnr: { title: 'PSNR, dB ↑', digits: 1 },
  ssim: { title: 'SSIM ↑', digits: 3 },
  swd: { title: 'patches, SWD ↓', digits: 3 },
  to_sample: { title: 'to the sample, RMSE/255 ↓', digits: 2, log: true },
};
const TICKS = [1, 2, 5].flatMap((n) => [0.01, 0.1, 1, 10, 100, 1000].map((decade) => n * decade));

const value = (state, name, of = 'of_x0') =>
  (name === 'to_sample' ? state.to_sample : state[of]?.[name]) ?? null;
function lines({ courses, entrants, pins }) {
  const live = KEYS.filter((key) => courses[key].length).map((key) => ({
    key,
    ...entrants[key],
    states: courses[key],
  }));
  return [...pins, ...live]; // what is pinned lies beneath
}
// One line's points: its predictions, then its sample.
function points(line, names) {
  const drawn = (v, { log }) => v !== null && !(log && v <= 0);
  const whole = (state, of) => names.every((name) => drawn(value(state, name, of), METRICS[name]));
  const dots = line.states
    .filter((s) => s.step && whole(s))
    .map((state) => ({ state, of: 'of_x0' }));
  const last = line.states.at(-1);
  if (last.done && !names.includes('to_sample') && whole(last, 'of_x'))
    dots.push({ state: last, of: 'of_x' });
  return dots;
}
function trace(line, names, x, y, axes = {}) {
  const dots = points(line, names),
    colour = COLOURS[line.key];
  const ring = ({ of }) => of === 'of_x';
  return {
    type: 'scatter',
    mode: 'lines+markers',
    name: line.key,
    meta: line.label,
    ...axes,
    x: dots.map(x),
    y: dots.map(y),
    line: { color: colour, width: 2, dash: KEYS.includes(line.key) ? 'solid' : 'dot' },
    marker: {
      color: colour,
      size: dots.map((dot) => (ring(dot) ? 13 : 5)),
      symbol: dots.map((dot) => (ring(dot) ? 'circle-open' : 'circle')),
      line: { width: dots.map((dot) => (ring(dot) ? 2 : 0)), color: colour },
    },
    customdata: dots.map((dot) => [
      dot.state.nfe,
      dot.state.seconds.toFixed(2),
      ring(dot) ? 'the sample' : 'x̂₀',
      names
        .map(
          (name) =>
            `${METRICS[name].title.replace(/ [↑↓]$/, '')} ${value(dot.state, name, dot.of).toFixed(METRICS[name].digits)}`,
        )
        .join('<br>'),
    ]),
    hovertemplate:
      '%{meta}<br>NFE %{customdata[0]}, %{customdata[1]} s<br>%{customdata[2]}: %{customdata[3]}<extra></extra>',
  };
}
const LEAST = { psnr: 1, ssim: 0.04, swd: 0.03, to_sample: 0.3 };

export class Curves {
  /** @param {import('./race.js').Race} race */
  constructor(race) {
    this.race = race;
    this.metric = 'psnr';
    this.against = 'nfe';
    /** @type {Record<string, number[]>} */
    this.spans = {};
    this.spanned = race.run;
  }

  // About all values, at least so wide; within a run it only grows, so that nothing jumps.
  range(id, values, log = false, least = 0) {
    const key = `${id} ${this.metric} ${this.against}`;
    const scaled = (log ? values.filter((v) => v > 0).map(Math.log10) : values).filter(
      Number.isFinite,
    );
    const old = this.spans[key] || [Infinity, -Infinity];
    const [low, high] = [Math.min(old[0], ...scaled), Math.max(old[1], ...scaled)];
    this.spans[key] = [low, high];
    const room = Math.max((high - low) * 0.08, (least - (high - low)) / 2) || 0.05;
    return low > high ? [0, 1] : [low - room, high + room];
  }

  /** @returns {import('../parts/types.js').Figure | null} */
  figure() {
    const { race } = this,
      all = lines(race),
      ink = css('--body-text-color');
    if (!all.length) return null;
    if (this.spanned !== race.run) Object.assign(this, { spans: {}, spanned: race.run });
    const layout = {
      uirevision: `${this.metric} ${this.against} ${race.scored}`,
      paper_bgcolor: 'rgba(0,0,0,0)',
      plot_bgcolor: 'rgba(0,0,0,0)',
      font: { color: ink, size: 12 },
      showlegend: false,
      hovermode: 'closest',
      margin: { l: 64, r: 12, t: 12, b: 44 },
    };
    const chosen = race.scored ? this.metric : 'to_sample',
      plane = this.against === 'plane' && race.scored;
    const distortion = plane && chosen === 'to_sample' ? 'psnr' : chosen;
    const { data, ...axes } = plane
      ? this.plane(all, distortion, ink)
      : this.courses(all, distortion);
    for (const line of data) line.hoverlabel = { bgcolor: COLOURS[line.name] };
    return { data, layout: { ...layout, ...axes } };
  }

  axis(title, more) {
    return {
      title: { text: title },
      color: css('--body-text-color'),
      gridcolor: css('--border-color-primary'),
      zeroline: false,
      nticks: 6,
      ...more,
    };
  }

  later(y) {
    const text = this.race.running ? 'Known once the run has ended.' : '',
      font = { color: css('--body-text-color-subdued') };
    return { text, showarrow: false, xref: 'paper', yref: 'paper', x: 0.5, y, font };
  }

  // Distortion against perception.
  plane(all, distortion, ink) {
    const data = all.map((line) => {
      const drawn = trace(
        line,
        [distortion, 'swd'],
        (d) => value(d.state, distortion, d.of),
        (d) => value(d.state, 'swd', d.of),
      );
      const nfes = drawn.customdata.map(([nfe]) => nfe),
        last = nfes.length - 1;
      const text = nfes.map((nfe, i) => (i === last ? `${nfe} NFE` : i === 0 ? `${nfe}` : ''));
      return {
        ...drawn,
        mode: 'lines+markers+text',
        text,
        textposition: 'top right',
        textfont: { color: ink, size: 12 },
        cliponaxis: false,
      };
    });
    const along = (axis, name) => ({
      range: this.range(
        axis,
        data.flatMap((t) => t[axis]),
        false,
        LEAST[name],
      ),
      ...unknown(data),
    });
    return {
      data,
      annotations: data.some((t) => t.x.length) ? [] : [this.later(0.5)],
      xaxis: this.axis(METRICS[distortion].title.replace('↑', '→'), along('x', distortion)),
      yaxis: this.axis(METRICS.swd.title, along('y', 'swd')),
    };
  }

  // Distortion above, perception below, as the evaluations go on.
  courses(all, distortion) {
    const timed = this.against === 'seconds',
      x = timed ? (d) => d.state.seconds : (d) => d.state.nfe;
    const names = distortion === 'to_sample' ? [distortion] : [distortion, 'swd'];
    const data = names.flatMap((name, i) =>
      all.map((line) =>
        trace(line, [name], x, (d) => value(d.state, name, d.of), {
          xaxis: 'x',
          yaxis: i ? 'y2' : 'y',
        }),
      ),
    );
    const most = Math.max(...all.map((line) => line.nfe));
    const mine = (i) => data.filter((t) => t.yaxis === (i ? 'y2' : 'y'));
    const axes = Object.fromEntries(
      names.map((name, i) => {
        const { title, log } = METRICS[name],
          drawn = mine(i),
          range = this.range(
            name,
            drawn.flatMap((t) => t.y),
            log,
            LEAST[name],
          );
        const domain = names.length === 1 ? [0, 1] : i ? [0, 0.46] : [0.54, 1];
        return [
          i ? 'yaxis2' : 'yaxis',
          this.axis(title, {
            domain,
            range,
            ...(log ? { type: 'log', tickvals: TICKS } : {}),
            ...unknown(drawn),
          }),
        ];
      }),
    );
    const along = timed
      ? {
          tickvals: TICKS,
          range: this.range(
            'x',
            data.flatMap((t) => t.x),
            true,
          ),
          ...unknown(data),
        }
      : {
          tickvals: [1, 2, 3, 5, 10, 20, 50, 100, 200],
          range: [Math.log10(0.92), Math.log10(most * 1.1)],
        };
    const xaxis = this.axis(timed ? "seconds of the sampler's own time" : 'NFE', {
      type: 'log',
      anchor: names.length > 1 ? 'y2' : 'y',
      ...along,
    });
    const annotations = names.flatMap((name, i) =>
      name === 'psnr' || mine(i).some((t) => t.x.length)
        ? []
        : [this.later(names.length === 1 ? 0.5 : i ? 0.23 : 0.77)],
    );
    return { data, annotations, xaxis, ...axes };
  }
}

// No scale yet.
const unknown = (traces) => (traces.some((t) => t.x.length) ? {} : { showticklabels: false });
