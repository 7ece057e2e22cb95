// The curves over the sheet: each measure against evaluations or seconds, side by side.
import { css } from '../parts/theme.js';

/** The measures: name, title, digits, unit. */
export const METRICS = [
  ['psnr', 'PSNR, dB ↑', 2, 'dB'],
  ['ssim', 'SSIM ↑', 3, ''],
  ['swd', 'SWD ↓', 3, ''],
  ['st_lpips', 'ST-LPIPS ↓', 3, ''],
  ['rmse', 'RMSE to the converged, 1/255 ↓', 2, '/255'],
];

/**
 * The figure of the measures that are `shown`, of `cells`, which are known by their `place`.
 * @returns {import('../parts/types.js').Figure}
 */
export function curves({ cells, rows, nfes, input: degraded, by, wide, place, shown }) {
  const ink = css('--body-text-color'),
    grid = css('--border-color-primary');
  const count = shown.length,
    font = { size: 12, color: ink };
  /** @type {Record<string, any>} */
  const layout = {
    paper_bgcolor: 'rgba(0,0,0,0)',
    plot_bgcolor: 'rgba(0,0,0,0)',
    font,
    hovermode: 'closest',
    showlegend: false,
    margin: { l: 44, r: 8, t: 28, b: 40 },
    annotations: [],
    shapes: [],
  };
  const traces = [];
  shown.forEach(([name, title, digits, unit], i) => {
    const id = i ? String(i + 1) : '',
      gap = wide ? 0.06 : 0.2 / count;
    const size = (1 - gap * (count - 1)) / count,
      from = i * (size + gap);
    const across = wide ? [from, from + size] : [0, 1],
      up = wide ? [0, 1] : [1 - from - size, 1 - from];
    const axis = { color: ink, gridcolor: grid, zeroline: false };
    layout[`xaxis${id}`] = {
      ...axis,
      domain: across,
      anchor: `y${id}`,
      type: 'log',
      matches: i ? 'x' : undefined,
      ...(by === 'nfe'
        ? { tickvals: nfes, ticktext: nfes.map(String) }
        : { nticks: 5, tickformat: '~g' }),
      title:
        wide || i === count - 1
          ? { text: by === 'nfe' ? 'NFE' : 'seconds', standoff: 8 }
          : undefined,
    };
    layout[`yaxis${id}`] = { ...axis, domain: up, anchor: `x${id}`, nticks: 6 };
    layout.annotations.push({
      text: title,
      xref: 'paper',
      yref: 'paper',
      x: across[0],
      y: up[1],
      xanchor: 'left',
      yanchor: 'bottom',
      showarrow: false,
      font: { ...font, size: 14 },
    });
    const input = degraded?.[name],
      values = cells.map((r) => r[name]).filter((v) => v != null);
    const span = Math.max(...values) - Math.min(...values);
    if (input != null && Math.min(...values.map((v) => Math.abs(v - input))) < 2 * span) {
      layout.shapes.push({
        type: 'line',
        xref: `x${id} domain`,
        yref: `y${id}`,
        x0: 0,
        x1: 1,
        y0: input,
        y1: input,
        line: { color: '#8a8a8a', width: 1, dash: 'dot' },
      });
      layout.annotations.push({
        text: 'degraded',
        xref: `x${id} domain`,
        yref: `y${id}`,
        x: 1,
        y: input,
        xanchor: 'right',
        yanchor: 'bottom',
        showarrow: false,
        font: { ...font, color: '#8a8a8a' },
      });
    }
    for (const r of rows) {
      const own = cells.filter(
        (c) => c.solver === r.solver && c[name] != null && (by === 'nfe' || c.seconds > 0),
      );
      if (!own.length) continue;
      traces.push({
        type: 'scatter',
        mode: 'lines+markers',
        name: r.label,
        xaxis: `x${id}`,
        yaxis: `y${id}`,
        x: own.map((c) => (by === 'nfe' ? c.nfe : c.seconds)),
        y: own.map((c) => c[name]),
        line: { color: r.style.colour, width: 2, dash: r.style.dash },
        marker: { color: r.style.colour, size: 8, symbol: r.style.symbol },
        customdata: own.map((c) => [place(c), c.nfe, c.seconds.toFixed(2)]),
        hovertemplate: `${r.label}<br>%{customdata[1]} NFE, %{customdata[2]} s<br>%{y:.${digits}f} ${unit}<extra></extra>`,
      });
    }
  });
  return { data: traces, layout };
}
