// The page's theme, light or dark, and its colours as CSS has them.

/** @param {string} name Of a CSS variable. */
export const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

export const dark = () => document.body.classList.contains('dark');

/** @param {() => void} changed Called when the theme may be another. */
export function onTheme(changed) {
  new MutationObserver(changed).observe(document.body, {
    attributes: true,
    attributeFilter: ['class'],
  });
}

/** Okabe and Ito's colours: the sampler, the baseline, and three lines that were pinned. */
export const COLOURS = { a: '#0072B2', b: '#D55E00', p1: '#CC79A7', p2: '#56B4E9', p3: '#009E73' };
