// On a phone, what shows the folded knobs of a tab: those of the class "folds".

/** @param {import('./types.js').Component} component */
export default function mount({ element, props }) {
  const button = element.querySelector('button'),
    tab = document.querySelector(props.tab);
  button.querySelector('span').textContent = `· ${props.what}`;
  button.setAttribute('aria-expanded', `${tab.classList.contains('unfolded')}`);
  button.addEventListener('click', () =>
    button.setAttribute('aria-expanded', `${tab.classList.toggle('unfolded')}`),
  );
}
