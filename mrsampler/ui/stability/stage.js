// Two samplers side by side: Python sends updates; one scrubber moves pictures, maps and both plots.
import { show as draws, onPick } from '../parts/chart.js';
import { finders, picture, shape } from '../parts/dom.js';
import { Run } from '../parts/run.js';

// No 0 % or 100 % that is not all of them.
function percent(share) {
  const rounded = Math.round(100 * share);
  if (share > 0 && rounded === 0) return 'under 1 %';
  if (share < 1 && rounded === 100) return 'over 99 %';
  return `${rounded} %`;
}
const why = (frame) =>
  frame.lam === null
    ? 'The last step returns x̂₀: nothing is expanded.'
    : 'An expansion takes two evaluations: the first is at step 2.';

/** @param {import('../parts/types.js').Component} component */
export default function mount({ element, props, watch }) {
  const [$, $$] = finders(element);
  const tab = /** @type {HTMLElement} */ (element.closest('#stability'));
  const stage = $('.stability'),
    scrub = $('.scrub'),
    at = $('.at');
  const sides = $$('[data-key]').map((side) => ({
    key: side.dataset.key,
    $: finders(side)[0],
    $$: finders(side)[1],
  }));
  let id = null,
    frames = [],
    figures = {},
    total = 0,
    degraded = null;

  const run = new Run(tab, {
    prefix: 'stability-',
    words: $('.say'),
    titles: {
      'stability-run': 'Runs both from the same x_T',
      'stability-stop': 'Ends before the next step; what is there stays',
    },
    asked: () => {
      run.say('Starting…');
      for (const note of $$('.none')) note.textContent = '';
    },
    settled: (state) => {
      stage.dataset.state = state;
      scrub.disabled = run.busy || frames.length < 2;
    },
  });

  // ---- pictures
  function setup(s) {
    total = s.nfe ?? 0;
    degraded = s.degraded;
    shape(stage, degraded);
  }
  function rest() {
    // nothing has run: both begin at the degraded photo
    for (const side of sides) {
      side.$('.shown').innerHTML = '<i>μ</i>';
      picture(side.$('.x'), degraded);
      picture(side.$('.under'), degraded);
      picture(side.$('.over'), null);
      side.$('.none').textContent = run.busy ? '' : 'Run, and it is drawn here.';
      for (const p of side.$$('p')) p.textContent = '\u00a0';
    }
    at.textContent = '\u00a0';
    scrub.max = scrub.value = 0;
  }
  function show(index) {
    const frame = frames[index];
    if (!frame) return;
    for (const side of sides) {
      const { x, psnr, map, fraction } = frame[side.key];
      side.$('.shown').innerHTML = `<i>x<sub>${index ? 't' : 'T'}</sub></i>`;
      picture(side.$('.x'), x);
      picture(side.$('.under'), x);
      picture(side.$('.over'), map);
      side.$('.none').textContent = map ? '' : why(frame);
      side.$('.count').textContent =
        `${frame.nfe} / ${total} NFE${psnr == null ? '' : ` · ${psnr.toFixed(1)} dB`}`;
      side.$('.share').textContent = map ? `${percent(1 - fraction)} of pixels diverge` : '\u00a0';
    }
    const where = frame.lam === null ? 'σ = 0' : `λ = ${frame.lam.toFixed(2).replace('-', '−')}`;
    at.textContent = `Step ${index} · ${where}`;
    scrub.value = index;
    scrub.setAttribute('aria-valuetext', at.textContent);
  }
  function append(frame) {
    if (frame.index < frames.length) return; // gradio sends a run's last update twice
    while (frames.length < frame.index) frames.push(frames.at(-1) ?? frame);
    frames.push(frame);
    scrub.max = frames.length - 1;
  }

  // ---- plots
  function draw() {
    const lam = frames[+scrub.value]?.lam ?? null;
    const marker = {
      type: 'line',
      xref: 'x',
      yref: 'paper',
      x0: lam,
      x1: lam,
      y0: 0,
      y1: 1,
      line: { color: 'rgb(1, 2, 3)', width: 1, dash: 'dot' },
    };
    for (const [name, figure] of Object.entries(figures)) {
      const layout = { ...figure.layout, shapes: lam === null ? [] : [marker] };
      draws(`stability-${name}`, { data: figure.data, layout });
    }
  }
  scrub.addEventListener('input', () => {
    show(+scrub.value);
    draw();
  });
  onPick('stability', (step) => {
    if (scrub.disabled || !frames[step]) return;
    show(step);
    draw();
  });

  // ---- updates
  function apply() {
    const update = JSON.parse(props.value || null);
    if (!run.hears(update)) return;
    run.settle(update.state);
    if (update.setup) setup(update.setup);
    if (update.run !== id) {
      id = update.run;
      frames = [];
      rest();
    }
    for (const frame of update.frames ?? []) append(frame);
    if (update.figures) figures = update.figures;
    if (update.frames?.length) show(frames.length - 1);
    if (update.figures || update.frames?.length) draw();
    if (update.say !== undefined) run.say(update.say);
    run.settled(update.state); // the scrubber wakes up once there is something to scrub
  }
  watch('value', apply);
  apply();
}
