// Native radio buttons with a picture each; the value is the name of the one that is checked.
element.querySelector('legend').textContent = props.title;
element.querySelector('.info').textContent = props.info;
element.querySelector('fieldset').setAttribute('aria-describedby', 'density-info');
const choices = element.querySelector('.choices');
for (const { value, label, picture } of props.options) {
  const entry = document.createElement('label'), radio = document.createElement('input');
  const tile = document.createElement('span'), image = new Image(), words = document.createElement('span');
  Object.assign(radio, { type: 'radio', name: 'density', value });
  tile.className = 'tile';
  image.src = picture;
  image.alt = '';
  words.textContent = label;
  tile.append(image);
  entry.append(radio, tile, words);
  choices.append(entry);
}
const reflect = () => { for (const radio of choices.querySelectorAll('input')) radio.checked = radio.value === props.value; };
choices.addEventListener('change', (event) => {
  props.value = event.target.value;
  trigger('input');
});
watch('value', reflect);
reflect();
