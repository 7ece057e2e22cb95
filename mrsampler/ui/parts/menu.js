// A native menu with headings. Open it shows each option's whole text, closed its short label.
import { finders } from './dom.js';

/** @param {import('./types.js').Component} component */
export default function mount({ element, props, trigger, watch }) {
  const [$] = finders(element);
  const select = $('select'),
    shown = $('.shown'),
    detail = $('.detail');
  const id = `menu-${(props.name ?? props.title).replace(/\W+/g, '-').toLowerCase()}`;
  select.id = id;
  detail.id = `${id}-detail`;
  $('.info').id = `${id}-info`;
  $('label').htmlFor = id;
  $('label').textContent = props.title;
  select.setAttribute('aria-describedby', `${id}-info ${id}-detail`);

  let listed = null,
    wish = null,
    asked = '',
    pause = null;
  function fill() {
    const groups = JSON.stringify(props.groups);
    if (groups === listed) return; // an open menu is left alone
    listed = groups;
    select.replaceChildren(
      ...props.groups.flatMap(({ heading, options }) => {
        const entries = options.map(({ value, label, text, detail, disabled }) => {
          const option = new Option(text, value);
          option.disabled = Boolean(disabled);
          Object.assign(option.dataset, { label, detail: detail ?? '' });
          return option;
        });
        if (!heading) return entries;
        const group = document.createElement('optgroup');
        group.label = heading;
        group.append(...entries);
        return [group];
      }),
    );
  }
  function reflect() {
    fill();
    const info = $('.info');
    if (info.textContent !== props.info) info.textContent = props.info;
    const asking = JSON.stringify(props.asked ?? '');
    const linked = props.asked && asking !== asked; // by a link or an example, once each
    if (linked) [wish, asked] = [[props.asked].flat()[0], asking];
    // The value is set here alone, so that no late answer of the server undoes a pick.
    const kept = [...select.options].some(
      (option) => option.value === wish && (!option.disabled || props.keeps),
    );
    props.value = kept ? wish : (props.fallback ?? props.value);
    select.value = props.value;
    select.disabled = Boolean(props.disabled);
    const picked = select.selectedOptions[0]?.dataset;
    shown.textContent = picked?.label ?? '';
    const line = picked?.detail || props.detail || '';
    if (detail.textContent !== line) detail.textContent = line; // else it would be read out again
    if (linked) trigger('linked');
  }
  select.addEventListener('change', () => {
    wish = select.value; // at once, for Run
    reflect();
    clearTimeout(pause);
    pause = setTimeout(() => trigger('input'), 150); // arrow keys pick one after the other
  });
  watch(['value', 'groups', 'info', 'detail', 'disabled', 'fallback', 'asked'], reflect);
  reflect();
  trigger('opened');
}
