// The trajectories as Python has projected them, in a plane or in space.
import { themed } from '../parts/plot.js';
import { COLOURS, css, dark } from '../parts/theme.js';

/** What lies ahead of the frame that is looked at. */
export const faint = () => (dark() ? 0.3 : 0.18);

// Pale colours come as rgba, of which a dark page needs less; in space they are mixed with the page's
// own, since WebGL adds up what shines through.
const channels = (colour) =>
  colour.startsWith('#')
    ? colour.match(/\w\w/g).map((pair) => parseInt(pair, 16))
    : colour.match(/[\d.]+/g).map(Number);
function paler(rgba, share = 1) {
  const [r, g, b, opacity = 1] = channels(rgba);
  return [r, g, b, share * (dark() ? 1 - 0.45 * (1 - opacity) : opacity)];
}
const sheer = (rgba) => `rgba(${paler(rgba)})`;
function mixed(rgba, share, page) {
  const [r, g, b, opacity] = paler(rgba, share);
  return `rgb(${[r, g, b].map((value, i) => Math.round(page[i] + opacity * (value - page[i])))})`;
}

/**
 * @param {import('./race.js').Race} race
 * @param {number} dimensions 2 or 3.
 * @returns {import('../parts/types.js').Figure | null}
 */
export function trajectories(race, dimensions) {
  const known = race.figures?.[dimensions];
  if (!known) return null;
  const figure = themed(known);
  const page = channels(css('--body-background-fill'));
  for (const trace of figure.data.filter(({ customdata }) => customdata)) {
    const { marker, line } = trace;
    const here = race.here(trace);
    const small = marker.size.length > 1 ? marker.size[0] : marker.size[0] / 2;
    trace.hoverlabel = { bgcolor: COLOURS[trace.name] };
    if (dimensions === 2) {
      trace.marker = { ...marker, size: small, color: marker.color.map(sheer) };
      trace.line = { ...line, color: sheer(line.color) };
      continue;
    }
    const share = (i) => (i > here ? faint() : 1);
    trace.line = { ...line, color: trace.x.map((_, i) => mixed(line.color, share(i), page)) };
    trace.marker = {
      ...marker,
      size: trace.x.map((_, i) => (i === here ? 9 : small)), // the current one
      color: marker.color.map((colour, i) =>
        i === here ? COLOURS[trace.name] : mixed(colour, share(i), page),
      ),
    };
  }
  return figure;
}
