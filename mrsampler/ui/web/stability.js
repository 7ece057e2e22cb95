// Two samplers side by side: Python sends updates; one scrubber moves pictures, maps and both plots.
const $ = (selector) => element.querySelector(selector);
const tab = element.closest('#stability'), stage = $('.stability'), scrub = $('.scrub'), at = $('.at'), words = $('.say');
const sides = [...element.querySelectorAll('[data-key]')];
const BUSY = ['running', 'waiting'];

let run = null, frames = [], figures = {}, total = 0, degraded = null;

// ---- pictures
function picture(image, source) {
  if (source) image.src = source; else image.removeAttribute('src');
}
function setup(s) {
  total = s.nfe ?? 0;
  degraded = s.degraded;
  const probe = new Image();
  probe.onload = () => stage.style.setProperty('--shape', Math.min(1.6, Math.max(0.75, probe.width / probe.height)));
  probe.src = degraded;
}
function rest() { // nothing has run: both begin at the degraded photo
  for (const side of sides) {
    side.querySelector('.shown').innerHTML = '<i>μ</i>';
    picture(side.querySelector('.x'), degraded);
    picture(side.querySelector('.under'), degraded);
    picture(side.querySelector('.over'), null);
    side.querySelector('.none').textContent = BUSY.includes(stage.dataset.state) ? '' : 'Run, and it is drawn here.';
    for (const p of side.querySelectorAll('p')) p.textContent = '\u00a0';
  }
  at.textContent = '\u00a0';
  scrub.max = scrub.value = 0;
}
const why = (frame) => frame.lam === null ? 'The last step returns x̂₀: nothing is expanded.' : 'An expansion takes two evaluations: the first is at step 2.';
function show(index) {
  const frame = frames[index];
  if (!frame) return;
  for (const side of sides) {
    const { x, psnr, map, fraction } = frame[side.dataset.key];
    side.querySelector('.shown').innerHTML = `<i>x<sub>${index ? 't' : 'T'}</sub></i>`;
    picture(side.querySelector('.x'), x);
    picture(side.querySelector('.under'), x);
    picture(side.querySelector('.over'), map);
    side.querySelector('.none').textContent = map ? '' : why(frame);
    side.querySelector('.count').textContent = `${frame.nfe} / ${total} NFE` + (psnr == null ? '' : ` · ${psnr.toFixed(1)} dB`);
    side.querySelector('.share').textContent = map ? `${percent(1 - fraction)} of pixels diverge` : '\u00a0';
  }
  const where = frame.lam === null ? 'σ = 0' : `λ = ${frame.lam.toFixed(2).replace('-', '−')}`;
  at.textContent = `Step ${index} · ${where}`;
  scrub.value = index;
  scrub.setAttribute('aria-valuetext', at.textContent);
}
// No 0 % or 100 % that is not all of them.
function percent(share) {
  const rounded = Math.round(100 * share);
  if (share > 0 && rounded === 0) return 'under 1 %';
  if (share < 1 && rounded === 100) return 'over 99 %';
  return `${rounded} %`;
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
  const marker = { type: 'line', xref: 'x', yref: 'paper', x0: lam, x1: lam, y0: 0, y1: 1, line: { color: 'rgb(1, 2, 3)', width: 1, dash: 'dot' } };
  for (const [name, figure] of Object.entries(figures)) {
    const layout = { ...figure.layout, shapes: lam === null ? [] : [marker] };
    const detail = { name: `stability-${name}`, figure: { data: figure.data, layout } };
    (window.charts ??= {})[detail.name] = detail.figure; // for a chart that is not there yet
    document.dispatchEvent(new CustomEvent('chart', { detail }));
  }
}
scrub.addEventListener('input', () => { show(+scrub.value); draw(); });
document.addEventListener('chart-pick', ({ detail: { group, at: step } }) => {
  if (group !== 'stability' || scrub.disabled || !frames[step]) return;
  show(step);
  draw();
});

// ---- updates
let watchdog = null;
function settle(state) {
  stage.dataset.state = tab.dataset.run = state;
  const busy = BUSY.includes(state);
  tab.querySelector('#stability-knobs').inert = busy;
  scrub.disabled = busy || frames.length < 2;
  clearTimeout(watchdog);
  if (busy) watchdog = setTimeout(() => fail('No news from the server for a minute: the connection may be lost. Reload the page to go on.'), 60000);
}
function fail(sentence) {
  if (!BUSY.includes(tab.dataset.run)) return;
  words.textContent = sentence;
  settle('failed');
}
function apply(update) {
  const was = tab.dataset.run;
  settle(update.state);
  if (update.setup) setup(update.setup);
  if (update.run !== run) {
    run = update.run;
    frames = [];
    rest();
  }
  for (const frame of update.frames ?? []) append(frame);
  if (update.figures) figures = update.figures;
  if (update.frames?.length) show(frames.length - 1);
  if (update.figures || update.frames?.length) draw();
  if (update.say !== undefined) words.textContent = update.say || '\u00a0';
  settle(update.state); // the scrubber wakes up once there is something to scrub
  if (BUSY.includes(was) && document.activeElement?.id === 'stability-stop') tab.querySelector('#stability-run').focus();
}
(function title(tries) { // gradio's buttons take no title, and come when they come
  const [run, stop] = ['run', 'stop'].map((name) => document.getElementById(`stability-${name}`));
  if (!run || !stop) return void (tries && setTimeout(title, 50, tries - 1));
  run.title = 'Runs both from the same x_T';
  stop.title = 'Ends before the next step; what is there stays';
})(200);
watch('value', () => {
  const update = JSON.parse(props.value);
  if (!update?.state) return;
  // A preview that was asked for before the run may arrive after it.
  if (update.state === 'idle' && BUSY.includes(tab.dataset.run)) return;
  apply(update);
});
tab.addEventListener('asked', () => {
  settle('running');
  words.textContent = 'Starting…';
  for (const note of element.querySelectorAll('.none')) note.textContent = '';
  if (window.innerWidth <= 760) stage.scrollIntoView();
  setTimeout(() => tab.querySelector('#stability-stop').focus({ preventScroll: true }));
});
tab.addEventListener('failed', () => fail('The run did not start; the message says why.'));
if (props.value) setTimeout(() => apply(JSON.parse(props.value)));
