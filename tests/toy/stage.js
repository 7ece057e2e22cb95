import { finders, picture } from '../../mrsampler/ui/parts/dom.js';
import { Run } from '../../mrsampler/ui/parts/run.js';

export default function mount({ element, props, watch }) {
  const [$] = finders(element);
  const run = new Run(document.querySelector('#toy'), { prefix: 'toy-', words: $('p') });
  watch('value', () => {
    const update = JSON.parse(props.value);
    if (update.picture) picture($('img'), update.picture);
    run.say(update.say);
    run.settle(update.state);
  });
}
