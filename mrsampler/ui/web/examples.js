const tab = element.closest('.tabitem');
const press = (chosen) => element.querySelectorAll('button').forEach((b) => b.setAttribute('aria-pressed', b === chosen));
const announce = (button) => tab.dispatchEvent(new CustomEvent('example-photo', { detail: button.querySelector('img').src }));
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button || element.closest('[inert]')) return;
  press(button);
  announce(button); // at once, without a round trip
  trigger('pick', { index: +button.dataset.index });
});
watch('picked', () => { // by a link
  const button = element.querySelector(`[data-index="${props.picked}"]`);
  if (button) { press(button); announce(button); }
});
tab.addEventListener('own-photo', () => press(null));
setTimeout(() => { const first = element.querySelector('[aria-pressed=true]'); if (first) announce(first); });
