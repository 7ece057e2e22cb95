// On a phone, what shows the folded knobs of a tab: those of the class "folds".
const button = element.querySelector('button'), tab = document.querySelector(props.tab);
button.querySelector('span').textContent = `· ${props.what}`;
button.setAttribute('aria-expanded', tab.classList.contains('unfolded'));
button.addEventListener('click', () => button.setAttribute('aria-expanded', tab.classList.toggle('unfolded')));
