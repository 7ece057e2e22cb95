/** @param {import('./types.js').Component} component */
export default function mount({ element }) {
  const dark = (on) => document.body.classList.toggle('dark', on);
  const asked = new URLSearchParams(location.search).get('__theme');
  let kept = null;
  try {
    kept = localStorage.getItem('mr-theme');
  } catch {
    /* private window: the system's choice stands */
  }
  if (!asked && kept) dark(kept === 'dark');
  element.querySelector('.theme').addEventListener('click', () => {
    const on = dark(!document.body.classList.contains('dark'));
    try {
      localStorage.setItem('mr-theme', on ? 'dark' : 'light');
    } catch {
      /* lasts for this visit */
    }
  });
}
