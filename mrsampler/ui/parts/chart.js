// A plotly figure as a component. What is pointed at in one chart of a group is marked in its others.
import { Plot, themed } from './plot.js';

/** @type {Map<string, import('./types.js').Figure>} The latest figure of each name. */
const figures = new Map();
const told = new EventTarget();

/**
 * Gives the chart of this name, now or once it is there, a figure.
 * @param {string} name
 * @param {import('./types.js').Figure} figure
 */
export function show(name, figure) {
  figures.set(name, figure);
  told.dispatchEvent(new CustomEvent(name));
}

/** @type {(group: string, picked: (at: any) => void) => void} Hears of clicks on a group's points. */
export const onPick = (group, picked) =>
  told.addEventListener('pick', (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    if (detail.group === group) picked(detail.at);
  });

/** @param {import('./types.js').Component} component */
export default function mount({ element, props, watch }) {
  const place = /** @type {any} */ (element.querySelector('.chart')),
    { name, group, label } = props;
  place.setAttribute('aria-label', label);
  let marking = false;
  const say = (what, detail) =>
    told.dispatchEvent(new CustomEvent(what, { detail: { from: name, group, ...detail } }));
  const point = ({ data, pointNumber }) => ({
    name: data.name,
    at: data.customdata?.[pointNumber] ?? null,
  });
  const current = () => figures.get(name) ?? props.value;
  const plot = new Plot(
    place,
    props.plotly,
    () => (current()?.data ? themed(current()) : null),
    () => {
      if (!group) return;
      place.on('plotly_hover', ({ points }) => {
        if (!marking) say('point', point(points[0]));
      });
      place.on('plotly_unhover', () => {
        if (!marking) say('point', { at: null });
      });
      place.on('plotly_click', ({ points }) => say('pick', point(points[0])));
    },
  );
  told.addEventListener('point', (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    if (!plot.wired || detail.group !== group || detail.from === name) return;
    const found = place.data.flatMap((trace, curveNumber) => {
      const pointNumber =
        trace.hoverinfo === 'skip' || detail.at === null
          ? -1
          : (trace.customdata?.indexOf(detail.at) ?? -1);
      return pointNumber < 0 ? [] : [{ curveNumber, pointNumber, name: trace.name }];
    });
    const same = found.filter((f) => f.name === detail.name);
    marking = true; // plotly tells of this, too
    if (found.length) window.Plotly.Fx.hover(place, same.length ? same : found);
    else window.Plotly.Fx.unhover(place);
    marking = false;
  });
  told.addEventListener(name, () => plot.draw());
  watch('value', () => {
    figures.delete(name);
    plot.draw();
  });
  plot.fetch();
}
