// Every figure of the page is plotly's, in the page's own ink.
import { css, onTheme } from './theme.js';

/** @typedef {import('./types.js').Figure} Figure */

const CONFIG = {
  displaylogo: false,
  modeBarButtons: [['toImage']],
  responsive: true,
  doubleClick: false, // plotly's goes back to the first figure's ranges
};

/** @type {Promise<any> | undefined} */
let library;

/**
 * Plotly's own script, fetched once and by whoever draws first: it is the largest part of the page.
 * @param {string} url
 * @returns {Promise<any>}
 */
export function plotly(url) {
  library ??= new Promise((done, fail) => {
    const script = document.createElement('script');
    script.src = url;
    script.onload = () => done(window.Plotly);
    script.onerror = fail;
    document.head.append(script);
  });
  return library;
}

/**
 * A figure's value with the theme's colours in the places of Python's INK and GRID.
 * @param {any} value
 * @returns {any}
 */
export function themed(
  value,
  ink = css('--body-text-color'),
  grid = css('--border-color-primary'),
) {
  if (value === 'rgb(1, 2, 3)') return ink;
  if (value === 'rgb(3, 2, 1)') return grid;
  if (Array.isArray(value))
    return typeof value[0] === 'number' ? value : value.map((v) => themed(v, ink, grid));
  if (!value || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, ink, grid)]));
}

/** A place for figures. Each drawing is plotly's, of the whole figure. */
export class Plot {
  /**
   * @param {any} place The element that plotly draws in.
   * @param {string} url Of plotly's script, which `draw` does not fetch by itself.
   * @param {() => Figure | null} make The figure now; null for none.
   * @param {(place: any) => void} [wire] Adds plotly's events, each time that there are none.
   */
  constructor(place, url, make, wire = () => {}) {
    this.place = place;
    this.make = make;
    this.wire = wire;
    this.wired = false;
    this.drawing = false;
    this.again = false;
    this.resets = 0; // of a zoom, each by a double-click
    this.cost = 0; // of the latest drawing, and when it ended, in milliseconds
    this.ended = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.due = undefined;
    this.ready = false;
    this.fetch = () =>
      plotly(url).then(() => {
        this.ready = true;
        this.draw();
      });
    onTheme(() => this.draw());
  }

  /**
   * Draws anew. With a `share` below 1 it takes no more of the time: what comes sooner is drawn at
   * the next turn.
   * @param {number} [share]
   */
  async draw(share = 1) {
    if (!this.ready) return;
    if (this.drawing) {
      this.again = true;
      return;
    }
    const rest = this.ended + this.cost * (1 / share - 1) - performance.now();
    if (share < 1 && rest > 0) {
      this.due ??= setTimeout(() => this.draw(), rest);
      return;
    }
    clearTimeout(this.due);
    this.due = undefined;
    this.drawing = true;
    const began = performance.now();
    try {
      await this.render(this.make());
    } finally {
      this.drawing = false;
      this.ended = performance.now();
      this.cost = this.ended - began;
      if (this.again) {
        this.again = false;
        requestAnimationFrame(() => this.draw(share));
      }
    }
  }

  /** @param {Figure | null} figure */
  async render(figure) {
    if (!figure) return this.clear();
    const family = css('--font') || 'system-ui';
    const { data, layout } = figure;
    if (layout.uirevision) layout.uirevision += ` ${this.resets}`;
    Object.assign(layout, { font: { ...layout.font, family }, hoverlabel: { font: { family } } });
    await window.Plotly.react(this.place, data, layout, CONFIG);
    if (this.wired) return;
    this.wired = true;
    this.place.on('plotly_doubleclick', () => {
      this.resets += 1;
      this.draw();
    });
    this.wire(this.place);
  }

  /** Takes the figure away, with its zoom and its events. */
  clear() {
    if (this.wired) window.Plotly.purge(this.place);
    this.wired = false;
  }
}
