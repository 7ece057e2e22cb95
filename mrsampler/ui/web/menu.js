// A native menu with headings. Open it shows each option's whole text, closed its short label.
const $ = (selector) => element.querySelector(selector);
const select = $('select'), shown = $('.shown'), detail = $('.detail');
const id = `menu-${props.title.replace(/\W+/g, '-').toLowerCase()}`;
select.id = id;
detail.id = `${id}-detail`;
$('.info').id = `${id}-info`;
$('label').htmlFor = id;
$('label').textContent = props.title;
$('.info').textContent = props.info;
select.setAttribute('aria-describedby', `${id}-info ${id}-detail`);

let listed = null;
function fill() {
  const groups = JSON.stringify(props.groups);
  if (groups === listed) return; // an open menu is left alone
  listed = groups;
  select.replaceChildren(...props.groups.flatMap(({ heading, options }) => {
    const entries = options.map(({ value, label, text }) => {
      const option = new Option(text, value);
      option.dataset.label = label;
      return option;
    });
    if (!heading) return entries;
    const group = document.createElement('optgroup');
    group.label = heading;
    group.append(...entries);
    return [group];
  }));
}
function reflect() {
  fill();
  select.value = props.value;
  select.disabled = Boolean(props.disabled);
  shown.textContent = select.selectedOptions[0]?.dataset.label ?? '';
  detail.textContent = props.detail;
}
select.addEventListener('change', () => {
  props.value = select.value;
  reflect();
  trigger('pick');
});
watch(['value', 'groups', 'detail', 'disabled'], reflect);
reflect();
