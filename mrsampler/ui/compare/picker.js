// Samplers by family, as native checkboxes. The value lists those picked by the place that gives
// each its colour: null where one was taken out, so that the others keep theirs.
import { finders, make } from '../parts/dom.js';

/** @param {import('../parts/types.js').Component} component */
export default function mount({ element, props, trigger, watch }) {
  const [$] = finders(element);
  const list = $('.picked'),
    families = $('.families');
  const labels = {};
  for (const { heading, options } of props.groups) {
    const field = make('fieldset', {}, make('legend', { textContent: heading }));
    for (const { value, label, text } of options) {
      const box = make('input', { type: 'checkbox', value });
      field.append(make('label', { title: text }, box, make('span', { textContent: label })));
      labels[value] = label;
    }
    families.append(field);
  }
  const swatch = ({ colour, dash }) => {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('width', '20');
    svg.setAttribute('height', '4');
    const line = document.createElementNS('http://www.w3.org/2000/svg', 'line');
    const given = {
      x1: 0,
      x2: 20,
      y1: 2,
      y2: 2,
      stroke: colour,
      'stroke-width': 4,
      'stroke-dasharray': dash === 'dash' ? '7 4' : 'none',
    };
    for (const [name, value] of Object.entries(given)) line.setAttribute(name, `${value}`);
    svg.append(line);
    return svg;
  };
  let pause = null;
  function pick(names) {
    props.value = names;
    reflect();
    clearTimeout(pause);
    pause = setTimeout(() => trigger('input'), 200); // several are ticked one after the other
  }
  function without(name) {
    const names = props.value.map((other) => (other === name ? null : other));
    while (names.length && names.at(-1) === null) names.pop();
    return names;
  }
  function withOne(name) {
    const names = [...props.value],
      free = names.indexOf(null);
    if (free < 0) names.push(name);
    else names[free] = name;
    return names;
  }
  function reflect() {
    const picked = props.value.filter(Boolean);
    list.replaceChildren(
      ...props.value.flatMap((name, place) => {
        if (!name) return [];
        const drop = make('button', {
          type: 'button',
          textContent: '×',
          title: 'Takes its row and its lines away',
        });
        drop.setAttribute('aria-label', `Remove ${labels[name]}`);
        drop.addEventListener('click', () => {
          pick(without(name));
          (list.querySelector('button') || $('summary')).focus();
        });
        return [
          make(
            'li',
            {},
            swatch(props.styles[place]),
            make('span', { textContent: labels[name] || name, title: name }),
            drop,
          ),
        ];
      }),
    );
    for (const box of families.querySelectorAll('input')) {
      box.checked = picked.includes(box.value);
      box.disabled = !box.checked && picked.length >= props.styles.length;
    }
  }
  families.addEventListener('change', ({ target }) =>
    pick(target.checked ? withOne(target.value) : without(target.value)),
  );
  watch('value', reflect);
  reflect();
}
