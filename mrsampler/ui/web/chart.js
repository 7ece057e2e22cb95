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
let figure = props.value;
function draw() {
  if (!figure || !figure.data || !window.Plotly) return;
  const { data, layout } = themed(figure, css('--body-text-color'), css('--border-color-primary'));
  layout.font.family = css('--font') || 'system-ui';
  layout.hoverlabel = { font: { family: layout.font.family } };
  Plotly.react(plot, data, layout, { displayModeBar: false, responsive: true, doubleClick: 'reset' });
}
watch('value', () => { figure = props.value; draw(); });
document.addEventListener('chart', ({ detail }) => {
  if (detail.name !== props.name) return;
  figure = detail.figure;
  draw();
});
new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ['class'] });
draw();
