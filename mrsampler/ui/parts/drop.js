// Hands over the untouched upload: gradio's own image input would decode and re-encode it.
import { finders } from './dom.js';

/** @param {import('./types.js').Component} component */
export default function mount({ element, props, trigger, upload }) {
  const zone = finders(element)[0]('.zone'),
    [$] = finders(zone);
  const input = $('input'),
    image = $('img');
  const tab = element.closest('.tabitem'); // another tab has a photo of its own
  async function take(file) {
    if (!file || element.closest('[inert]')) return;
    image.onerror = () => image.removeAttribute('src');
    image.src = URL.createObjectURL(file);
    try {
      const { path, url } = await upload(file);
      props.value = { path, url, orig_name: file.name, meta: { _type: 'gradio.FileData' } };
      tab.dispatchEvent(new CustomEvent('own-photo'));
      trigger('photo');
    } catch {
      image.removeAttribute('src'); // gradio has already said why
    }
  }
  input.addEventListener('change', () => {
    take(input.files[0]);
    input.value = '';
  });
  for (const name of ['dragover', 'dragleave', 'drop']) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.toggle('over', name === 'dragover');
      if (name === 'drop') take(event.dataTransfer.files[0]);
    });
  }
  document.addEventListener('paste', (event) => {
    const file = event.clipboardData?.files?.[0];
    if (!file || !element.offsetParent || /INPUT|TEXTAREA/.test(document.activeElement.tagName))
      return;
    event.preventDefault();
    take(file);
  });
  tab.addEventListener('example-photo', (event) => {
    image.src = /** @type {CustomEvent} */ (event).detail;
  });
}
