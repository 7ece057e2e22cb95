// How far the picked checkpoint is that is not here yet.
import { finders } from './dom.js';

/** @param {import('./types.js').Component} component */
export default function mount({ element, props, watch }) {
  const [$] = finders(element);
  const line = $('.arrival'),
    words = $('.words'),
    bar = $('.bar');
  function reflect() {
    const { of, says, share } = props.value ?? {};
    const menu = /** @type {HTMLSelectElement} */ (document.getElementById(props.menu));
    line.hidden = !of || menu?.value !== of; // another is picked since
    if (line.hidden) return;
    words.textContent = says;
    bar.hidden = share === null;
    bar.setAttribute('aria-valuenow', Math.round(100 * share));
    bar.firstElementChild.style.transform = `scaleX(${share})`;
  }
  watch('value', reflect);
  document.addEventListener('change', reflect);
  reflect();
}
