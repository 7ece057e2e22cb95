const press = (chosen) => element.querySelectorAll('button').forEach((b) => b.setAttribute('aria-pressed', b === chosen));
const announce = (button) => document.dispatchEvent(new CustomEvent('example-photo', { detail: button.querySelector('img').src }));
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button || ['running', 'waiting'].includes(document.body.dataset.run)) return;
  press(button);
  announce(button); // at once, without a round trip
  trigger('pick', { index: +button.dataset.index });
});
document.addEventListener('own-photo', () => press(null));
setTimeout(() => { const first = element.querySelector('[aria-pressed=true]'); if (first) announce(first); });
