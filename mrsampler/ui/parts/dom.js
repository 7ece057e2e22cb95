// What every module does with the document.

/**
 * The functions that find the first and all descendants by a selector.
 * @param {ParentNode} element
 * @returns {[(selector: string) => any, (selector: string) => any[]]}
 */
export function finders(element) {
  return [
    (selector) => element.querySelector(selector),
    (selector) => [...element.querySelectorAll(selector)],
  ];
}

/**
 * A new element with these properties and children.
 * @param {string} tag
 * @param {object} [set]
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function make(tag, set = {}, ...children) {
  const node = Object.assign(document.createElement(tag), set);
  node.append(...children);
  return node;
}

/**
 * Buttons of which one is pressed, in each `.switch` of an element; `chosen` is told its data.
 * @param {Element} element
 * @param {(data: DOMStringMap, button: HTMLButtonElement) => void} chosen
 */
export function switches(element, chosen) {
  for (const group of element.querySelectorAll('.switch:not(.layers, .pen)')) {
    group.addEventListener('click', (event) => {
      const button = /** @type {Element} */ (event.target).closest('button');
      if (!button) return;
      for (const b of group.querySelectorAll('button'))
        b.setAttribute('aria-pressed', `${b === button}`);
      chosen(button.dataset, button);
    });
  }
}

/**
 * Shows a picture, or none.
 * @param {HTMLImageElement} image
 * @param {string | null | undefined} source
 */
export function picture(image, source) {
  if (!source) image.removeAttribute('src');
  else if (image.src !== source) image.src = source;
}

/**
 * Gives a stage the shape of a picture, within limits, as the CSS variable --shape.
 * @param {HTMLElement} stage
 * @param {string} source
 */
export function shape(stage, source) {
  const probe = new Image();
  probe.onload = () =>
    stage.style.setProperty(
      '--shape',
      `${Math.min(1.6, Math.max(0.75, probe.width / probe.height))}`,
    );
  probe.src = source;
}
