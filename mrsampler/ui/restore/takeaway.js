// What can be taken away from a run: files, which the server makes when asked, and texts.
import { finders } from '../parts/dom.js';

/** @param {import('../parts/types.js').Component} component */
export default function mount({ element, props, trigger, watch }) {
  const [$, $$] = finders(element);
  const note = $('.note'),
    buttons = $$('button');
  const say = (text) => {
    note.textContent = text;
  };
  const held = () => {
    const at = props.value?.stopped;
    return at === null || at === undefined
      ? ''
      : `Stopped at ${at} NFE, and so does the copied Python. A command always runs to the end, so there is none to copy.`;
  };
  function unlock() {
    for (const b of buttons)
      b.disabled =
        !props.value ||
        (b.dataset.text && b.dataset.text !== 'link' && !props.value[b.dataset.text]);
    say(held());
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) {
      // no secure context, as over http from another machine
      const area = Object.assign(document.createElement('textarea'), { value: text });
      document.body.append(area);
      area.select();
      const done = document.execCommand('copy');
      area.remove();
      if (!done) throw error;
    }
  }
  element.addEventListener('click', async (event) => {
    const { kind, text } = /** @type {any} */ (event.target).closest('button')?.dataset || {};
    if (kind === 'png') trigger('picture');
    else if (kind) {
      say('Being made…');
      trigger('want', { kind });
    }
    if (!text) return;
    const { own, query } = props.value;
    const words =
      text === 'link' ? `${location.origin}${location.pathname}?${query}` : props.value[text];
    try {
      await copy(words);
      const photo =
        text === 'link'
          ? 'It cannot carry your photo: send that along.'
          : 'Put your photo’s path in it.';
      say(`Copied. ${own ? photo : ''}`);
    } catch {
      say('The browser does not allow copying here.');
    }
  });
  document.addEventListener('parcel-sent', () => say('Downloaded.'));
  document.addEventListener('parcel-failed', () => say(''));
  watch('value', unlock);
  unlock();
}
