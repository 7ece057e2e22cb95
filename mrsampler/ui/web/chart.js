// A plotly figure in the page's own ink: figures come with stand-ins for the theme's colours.
const plot = element.querySelector('.chart');
plot.setAttribute('aria-label', props.label);
const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
function themed(value, ink, grid) {
  if (value === 'rgb(1, 2, 3)') return ink;
  if (value === 'rgb(3, 2, 1)') return grid;
  if (Array.isArray(value)) return typeof value[0] === 'number' ? value : value.map((v) => themed(v, ink, grid));
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, ink, grid)]));
  return value;
}
// A figure may be told before this runs, which waits for plotly: the last of each name is kept.
let figure = window.charts?.[props.name] ?? props.value;
function draw() {
  if (!figure || !figure.data || !window.Plotly) return;
  const { data, layout } = themed(figure, css('--body-text-color'), css('--border-color-primary'));
  layout.font.family = css('--font') || 'system-ui';
  layout.hoverlabel = { font: { family: layout.font.family } };
  Plotly.react(plot, data, layout, { displayModeBar: false, responsive: true, doubleClick: 'reset' });
  wire();
}
watch('value', () => { figure = props.value; draw(); });
document.addEventListener('chart', ({ detail }) => {
  if (detail.name !== props.name) return;
  figure = detail.figure;
  draw();
});
new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ['class'] });

// ---- what is pointed at in one chart of a group is marked in its others
const point = ({ data, pointNumber }) => ({ name: data.name, at: data.customdata?.[pointNumber] ?? null });
const say = (what, detail) => document.dispatchEvent(new CustomEvent(what, { detail: { from: props.name, group: props.group, ...detail } }));
let wired = false, marking = false;
function wire() {
  if (wired || !props.group) return;
  wired = true;
  plot.on('plotly_hover', ({ points }) => { if (!marking) say('chart-point', point(points[0])); });
  plot.on('plotly_unhover', () => { if (!marking) say('chart-point', { at: null }); });
  plot.on('plotly_click', ({ points }) => say('chart-pick', point(points[0])));
}
document.addEventListener('chart-point', ({ detail: { from, group, name, at } }) => {
  if (!wired || group !== props.group || from === props.name) return;
  const found = plot.data.flatMap((trace, curveNumber) => {
    const pointNumber = trace.hoverinfo === 'skip' || at === null ? -1 : trace.customdata?.indexOf(at) ?? -1;
    return pointNumber < 0 ? [] : [{ curveNumber, pointNumber, name: trace.name }];
  });
  const same = found.filter((f) => f.name === name);
  marking = true; // plotly tells of this, too
  if (found.length) Plotly.Fx.hover(plot, same.length ? same : found); else Plotly.Fx.unhover(plot);
  marking = false;
});
draw();
