/** @param {import('./types.js').Component} component */
export default function mount({ element, props, trigger, watch }) {
  const tab = element.closest('.tabitem');
  function press(chosen) {
    for (const b of element.querySelectorAll('button')) {
      b.setAttribute('aria-pressed', `${b === chosen}`);
    }
  }
  const announce = (button) =>
    tab.dispatchEvent(
      new CustomEvent('example-photo', { detail: button.querySelector('img').src }),
    );
  element.addEventListener('click', (event) => {
    const button = /** @type {Element} */ (event.target).closest('button');
    if (!button || element.closest('[inert]')) return;
    press(button);
    announce(button); // at once, without a round trip
    trigger('pick', { index: +button.dataset.index });
  });
  watch('picked', () => {
    // by a link
    const button = element.querySelector(`[data-index="${props.picked}"]`);
    if (button) {
      press(button);
      announce(button);
    }
  });
  tab.addEventListener('own-photo', () => press(null));
  setTimeout(() => {
    const first = element.querySelector('[aria-pressed=true]');
    if (first) announce(first);
  });
}
