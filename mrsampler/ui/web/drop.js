// Hands over the untouched upload: gradio's own image input would decode and re-encode it.
const zone = element.querySelector('.zone'), input = zone.querySelector('input'), image = zone.querySelector('img');
const tab = element.closest('.tabitem'); // another tab has a photo of its own
const locked = () => element.closest('[inert]');
async function take(file) {
  if (!file || locked()) return;
  image.onerror = () => image.removeAttribute('src');
  image.src = URL.createObjectURL(file);
  try {
    const sent = await upload(file);
    props.value = { path: sent.path, url: sent.url, orig_name: file.name, meta: { _type: 'gradio.FileData' } };
    tab.dispatchEvent(new CustomEvent('own-photo'));
    trigger('photo');
  } catch (error) {
    image.removeAttribute('src'); // gradio has already said why
  }
}
input.addEventListener('change', () => { take(input.files[0]); input.value = ''; });
for (const name of ['dragover', 'dragleave', 'drop']) {
  zone.addEventListener(name, (event) => {
    event.preventDefault();
    zone.classList.toggle('over', name === 'dragover');
    if (name === 'drop') take(event.dataTransfer.files[0]);
  });
}
document.addEventListener('paste', (event) => {
  const file = [...(event.clipboardData?.files || [])][0];
  if (!file || !element.offsetParent || /INPUT|TEXTAREA/.test(document.activeElement.tagName)) return;
  event.preventDefault();
  take(file);
});
tab.addEventListener('example-photo', (event) => { image.src = event.detail; });
