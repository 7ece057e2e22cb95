// A figure in a plane as plotly draws it, to the pixel, in a fiftieth of the time: for the plots of a
// running race, since the network may be on the same cores. Of what plotly knows only what these use.
const TITLE = 14, TEXT = 12;
const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const lettered = (text) => escaped(text).replace(/&#60;sub&#62;(.*)&#60;\/sub&#62;/, '<tspan dy="0.3em" font-size="70%">$1</tspan>');
const lettering = (x, y, text, { fill, size = TEXT, anchor = 'middle', more = '' }) =>
  `<text x="${x}" y="${y}" fill="${fill}" font-size="${size}" text-anchor="${anchor}" ${more}>${lettered(text)}</text>`;

const numberOf = (axis, value) => (axis.type === 'log' ? Math.log10(value) : value);
function scaleOf(axis, from, to) {
  const [low, high] = axis.range;
  return (value) => from + (to - from) * (numberOf(axis, value) - low) / (high - low);
}
function ticksOf({ range: [low, high], type, tickvals, dtick }) {
  if (!tickvals && !dtick) return [];
  if (tickvals) return tickvals.filter((value) => { const at = numberOf({ type }, value); return at >= low && at <= high; });
  const first = Math.ceil(low / dtick - 1e-6);
  return Array.from({ length: Math.floor(high / dtick + 1e-6) - first + 1 }, (_, i) => +((first + i) * dtick).toPrecision(12));
}
// A step of 1, 2 or 5 times a power of ten, no more than `most` of which fit into the range.
function stepOf([low, high], most) {
  const least = (high - low) / most, decade = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * decade).find((step) => step >= least * (1 - 1e-9));
}
// One unit is as long on both axes: the one with room to spare shows more.
function evenly(x, y, width, height) {
  const unit = Math.max((x.range[1] - x.range[0]) / width, (y.range[1] - y.range[0]) / height);
  const widened = (axis, length) => {
    const middle = (axis.range[0] + axis.range[1]) / 2;
    return { ...axis, range: [middle - unit * length / 2, middle + unit * length / 2] };
  };
  return [widened(x, width), widened(y, height)];
}
function star(r) {
  const corner = (k) => { const out = 1.4 * r * (k % 2 ? 0.382 : 1), angle = (k - 2.5) * Math.PI / 5; return `${out * Math.cos(angle)},${out * Math.sin(angle)}`; };
  return `M${Array.from({ length: 10 }, (_, k) => corner(k)).join('L')}Z`;
}
function symbol(kind, x, y, r, style) {
  if (kind.startsWith('circle')) return `<circle cx="${x}" cy="${y}" r="${r}" ${style}/>`;
  return `<path transform="translate(${x},${y})" d="${kind === 'star' ? star(r) : `M${r},${r}H-${r}V-${r}H${r}Z`}" ${style}/>`;
}
// Where a label stands, and which end of it is there: as plotly's textPointPosition has it.
function beside(position, r) {
  const [up, along] = position.split(' '), off = r / 0.8 + 1;
  const rise = { top: -1, middle: 0, bottom: 1 }[up], run = { left: -1, center: 0, right: 1 }[along];
  return { dx: run * off, dy: TEXT * 0.75 + rise * off + (rise - 1) * TEXT / 2, anchor: ['end', 'middle', 'start'][run + 1] };
}

// Its markup, and for each axis the function that takes a value to its pixel.
function sketched({ data, layout }, width, height) {
  const { l, r, t, b } = layout.margin, right = width - r, bottom = height - b, parts = [], scales = {};
  let { xaxis, ...yaxes } = Object.fromEntries(Object.entries(layout).filter(([name]) => /axis/.test(name)));
  if (yaxes.yaxis.scaleanchor) [xaxis, yaxes.yaxis] = evenly(xaxis, yaxes.yaxis, right - l, bottom - t);
  scales.x = scaleOf(xaxis, l, right);
  const line = (path, stroke) => parts.push(`<path d="${path}" stroke="${stroke}" shape-rendering="crispEdges"/>`);
  const between = (at, from, to) => Math.abs(at - from) > 1 && Math.abs(at - to) > 1; // none at the edge
  for (const [name, axis] of Object.entries(yaxes)) {
    const [from, to] = (axis.domain || [0, 1]).map((share) => bottom - share * (bottom - t));
    const scale = scales[name.replace('axis', '')] = scaleOf(axis, from, to), named = axis.showticklabels !== false;
    for (const value of ticksOf(xaxis)) if (between(scales.x(value), l, right)) line(`M${scales.x(value)},${from}V${to}`, xaxis.gridcolor);
    for (const value of ticksOf(axis)) {
      if (between(scale(value), from, to)) line(`M${l},${scale(value)}H${right}`, axis.gridcolor);
      if (named) parts.push(lettering(l - 1, scale(value) + 4.2, `${value}`.replace('-', '−'), { fill: axis.color, anchor: 'end' }));
    }
    const x = l - 10 - TITLE * (named ? 2 : 1.5), y = (from + to) / 2;
    parts.push(lettering(x, y, axis.title.text, { fill: axis.color, size: TITLE, more: `transform="rotate(-90,${x},${y})"` }));
  }
  const named = xaxis.showticklabels !== false;
  if (named) for (const value of ticksOf(xaxis)) parts.push(lettering(scales.x(value), bottom + 13, `${value}`.replace('-', '−'), { fill: xaxis.color }));
  parts.push(lettering((l + right) / 2, Math.min(bottom + 10 + TITLE * (named ? 3 : 2), height - 3), xaxis.title.text, { fill: xaxis.color, size: TITLE }));
  for (const { text, y, font } of layout.annotations || []) parts.push(lettering((l + right) / 2, bottom - y * (bottom - t) + 4, text, { fill: font.color }));
  for (const trace of data) {
    const { marker, line: stroke, customdata } = trace, of = (values, i) => (Array.isArray(values) ? values[i] : values);
    const xs = trace.x.map(scales[trace.xaxis || 'x']), ys = trace.y.map(scales[trace.yaxis || 'y']);
    const dash = stroke?.dash === 'dot' ? 'stroke-dasharray="3,3"' : '';
    const inside = [];
    if (/lines/.test(trace.mode) && xs.length > 1) inside.push(`<path d="M${xs.map((x, i) => `${x},${ys[i]}`).join('L')}" stroke="${stroke.color}" stroke-width="${stroke.width}" stroke-linejoin="round" fill="none" ${dash}/>`);
    xs.forEach((x, i) => {
      const kind = of(marker.symbol, i) || 'circle', open = kind === 'circle-open', colour = of(marker.color, i), wide = of(marker.line.width, i);
      const edge = wide ? `stroke="${open && customdata ? colour : marker.line.color}" stroke-width="${wide}"` : '', r = of(marker.size, i) / 2;
      inside.push(symbol(kind, x, ys[i], r, `fill="${open ? 'none' : colour}" ${edge} ${customdata ? '' : 'opacity="0.7"'}`));
      const text = of(trace.text, i);
      if (!text) return;
      const { dx, dy, anchor } = beside(of(trace.textposition, i), r);
      inside.push(lettering(x + dx, ys[i] + dy, text, { fill: trace.textfont.color, anchor }));
    });
    parts.push(`<g ${customdata ? 'class="line"' : ''}>${inside.join('')}</g>`);
  }
  return { markup: parts.join(''), scales };
}
