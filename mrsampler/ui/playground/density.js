// Native radio buttons with a picture each; the value is the name of the one that is checked.
import { finders, make } from '../parts/dom.js';

/** @param {import('../parts/types.js').Component} component */
export default function mount({ element, props, trigger, watch }) {
  const [$, $$] = finders(element);
  $('legend').textContent = props.title;
  $('.info').textContent = props.info;
  $('fieldset').setAttribute('aria-describedby', 'density-info');
  const choices = $('.choices');
  for (const { value, label, picture } of props.options) {
    const tile = make('span', { className: 'tile' }, make('img', { src: picture, alt: '' }));
    const radio = make('input', { type: 'radio', name: 'density', value });
    choices.append(make('label', {}, radio, tile, make('span', { textContent: label })));
  }
  const reflect = () => {
    for (const radio of $$('.choices input')) radio.checked = radio.value === props.value;
  };
  choices.addEventListener('change', (event) => {
    props.value = event.target.value;
    trigger('input');
  });
  watch('value', reflect);
  reflect();
}
