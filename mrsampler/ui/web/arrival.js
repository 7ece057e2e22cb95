// How far the picked checkpoint is that is not here yet.
const $ = (selector) => element.querySelector(selector);
const line = $('.arrival'), words = $('.words'), bar = $('.bar');
function reflect() {
  const { of, says, share } = props.value ?? {};
  line.hidden = !of || document.getElementById(props.menu)?.value !== of; // another is picked since
  if (line.hidden) return;
  words.textContent = says;
  bar.hidden = share === null;
  bar.setAttribute('aria-valuenow', Math.round(100 * share));
  bar.firstElementChild.style.transform = `scaleX(${share})`;
}
watch('value', reflect);
document.addEventListener('change', reflect);
