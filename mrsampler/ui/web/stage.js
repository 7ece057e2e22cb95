// The race: its state, panels and updates. Python sends updates; nothing here is ever re-rendered.
const $ = (selector) => element.querySelector(selector);
const stage = $('.stage');
const panels = Object.fromEntries([...element.querySelectorAll('[data-panel]')].map((f) => [f.dataset.panel, f]));
const scrub = $('.scrub'), words = $('.words'), badge = $('.badge'), legend = $('.legend'), lesson = $('.lesson');
const KEYS = ['a', 'b'];
const BUSY = ['running', 'waiting'];
const busy = () => BUSY.includes(document.body.dataset.run);

// frames: by tick, the state of both samplers; courses: by sampler, its states, one a step.
let run = null, frames = [], courses = { a: [], b: [] }, entrants = {}, pins = [], pinned = new Set(), figures = null, view = 'x', scored = true;

// ---- panels
function picture(panel, source) {
  const image = panels[panel].querySelector('img');
  if (source) image.src = source; else image.removeAttribute('src');
}
function setup(s) {
  if (s.degraded) {
    picture('degraded', s.degraded);
    stage.style.setProperty('--degraded', `url("${s.degraded}")`); // in both panels until their first frames
    picture('truth', s.truth);
    scored = Boolean(s.truth);
    panels.truth.classList.toggle('unknown', !scored);
    stage.classList.toggle('unscored', !scored);
    const probe = new Image();
    probe.onload = () => stage.style.setProperty('--shape', Math.min(1.6, Math.max(0.75, probe.width / probe.height)));
    probe.src = s.degraded;
  }
  if (s.pins) pins = s.pins;
  if (s.entrants) {
    entrants = s.entrants;
    for (const key of KEYS) {
      const name = panels[key].querySelector('b');
      name.textContent = name.title = entrants[key].label; // half a phone's width cuts the longest
      panels[key].querySelector('img').alt = entrants[key].label;
    }
  }
  list();
}
function clear() {
  frames = []; courses = { a: [], b: [] }; figures = null; entrants = {}; pinned.clear();
  lesson.style.minHeight = `${lesson.offsetHeight}px`; // what is below stays where it is
  lesson.textContent = '';
  scrub.max = scrub.value = 0;
  for (const key of KEYS) {
    picture(key, null);
    panels[key].querySelector('.bar i').style.transform = 'scaleX(0)';
    for (const p of panels[key].querySelectorAll('p')) p.textContent = '\u00a0';
  }
}
function score(quality) {
  if (!quality) return '\u00a0';
  const parts = [`${quality.psnr.toFixed(1)}\u00a0dB`]; // half a phone's width breaks between them alone
  if (quality.ssim != null) parts.push(`SSIM\u00a0${quality.ssim.toFixed(2)}`);
  if (quality.swd != null) parts.push(`SWD\u00a0${quality.swd.toFixed(2)}`);
  return parts.join('\u00a0· ');
}
function show(index) {
  const frame = frames[index];
  if (!frame) return;
  for (const key of KEYS) {
    const state = frame[key], panel = panels[key], total = entrants[key].nfe;
    picture(key, state[view]);
    panel.querySelector('.bar i').style.transform = `scaleX(${state.done ? 1 : state.nfe / total})`;
    panel.querySelector('.count').innerHTML =
      `<em>${state.nfe}</em> / ${total} NFE · ${state.seconds.toFixed(1)} s` + (state.done ? '<span class="done"> · done</span>' : '');
    panel.querySelector('.score').textContent = score(state.step && view === 'x0' ? state.of_x0 : state.of_x);
  }
  scrub.value = index;
  scrub.setAttribute('aria-valuetext', `step ${index}: ${KEYS.map((key) => `${entrants[key].label} ${frame[key].nfe} of ${entrants[key].nfe} NFE`).join(', ')}`);
}
function append(frame) {
  if (frame.index < frames.length) return; // gradio sends a run's last update twice
  const last = frames.at(-1) || frame;
  // Until the race has ended, only what was shown has pictures of its own.
  for (const key of KEYS) if (frame[key] && !frame[key].x) Object.assign(frame[key], { x: last[key].x, x0: last[key].x0 });
  while (frames.length < frame.index) frames.push(last);
  frames.push({ a: frame.a || last.a, b: frame.b || last.b });
  for (const key of KEYS) if (frame[key]) courses[key].push(frame[key]);
  scrub.max = frames.length - 1;
}

// ---- the samplers by colour, and what is pinned
function list() {
  const chip = (key, { label, nfe }, word, title) => {
    const item = document.createElement('li'), button = document.createElement('button');
    item.className = key;
    item.append(document.createElement('i'), `${label} · ${nfe} NFE`);
    Object.assign(button, { type: 'button', textContent: word, title });
    button.dataset.pin = key;
    button.setAttribute('aria-label', `${word}: ${label}, ${nfe} NFE`);
    item.append(button);
    return item;
  };
  const live = KEYS.filter((key) => entrants[key]).map((key) => chip(key, entrants[key], 'Pin', 'Keep this line while you try other settings on the same photo'));
  const kept = pins.map((pin) => chip(pin.key, pin, '\u00d7', 'Unpin'));
  legend.replaceChildren(...live, ...kept);
  unlock();
}
function unlock() {
  for (const button of legend.querySelectorAll('button')) {
    const live = KEYS.includes(button.dataset.pin);
    button.hidden = live && !/^run /.test(run); // the recorded race is not in the server's memory
    button.disabled = busy() || (live && (pins.length >= 3 || pinned.has(button.dataset.pin)));
  }
}
function unpin(key) {
  pinned.clear();
  pins = pins.filter((pin) => pin.key !== key);
  for (const figure of Object.values(figures || {})) figure.data = figure.data.filter((trace) => trace.name !== key);
  list();
  drawBoth();
}
legend.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button || button.disabled) return;
  button.disabled = true;
  const key = button.dataset.pin;
  if (KEYS.includes(key)) pinned.add(key); else unpin(key);
  trigger('pin', { key });
});

// ---- updates
let watchdog = null;
const outcome = (state) => {
  if (!state && !document.body.dataset.outcome) return; // there was none
  document.body.dataset.outcome = state || 'old';
  document.querySelector('#outcome').inert = !state;
};
// The picture first, for plotly takes a while: `fresh` when there is more to draw than the marks.
function settle(state, fresh = false) {
  stage.dataset.state = state;
  if (state !== 'recording') document.body.dataset.run = state;
  const knobs = document.querySelector('#knobs');
  if (knobs) knobs.inert = busy(); // by keyboard, too
  controls();
  unlock();
  setTimeout(() => { for (const canvas of [trajectories, curve]) if (fresh || canvas.due || (canvas.sketched && !canvas.light)) canvas.draw(); else canvas.mark(); });
  clearTimeout(watchdog);
  if (busy()) watchdog = setTimeout(() => fail('No news from the server for three minutes: the connection may be lost. Reload the page to go on.', 'failed'), 180000);
}
function fail(sentence, state) {
  if (!busy()) return;
  words.textContent = sentence;
  settle(state);
}
function apply(update, state) {
  if (update.run !== run && update.state !== 'refused') {
    if (!update.state) return; // of a run that is gone from the page
    run = update.run;
    pause(); clear(); restart(); drawBoth(true);
    outcome(null);
  }
  if (update.setup) setup(update.setup);
  for (const frame of update.frames || []) append(frame);
  for (const [key, states] of Object.entries(update.late || {})) {
    for (const state of states) Object.assign(courses[key].find((s) => s.step === state.step) ?? {}, state);
  }
  if (update.figures) figures = update.figures;
  if (update.lesson !== undefined) {
    lesson.textContent = update.lesson;
    lesson.style.minHeight = '';
  }
  if ((update.frames || []).length) arrived();
  const next = state || update.state, ends = Boolean(next) && !BUSY.includes(next);
  if (!ends && (update.figures || update.setup)) trajectories.draw();
  if (!ends && (update.frames || update.late || update.setup)) curve.draw();
  if (update.late) show(at); // with their scores
  if (update.say !== undefined) words.textContent = update.say || '\u00a0';
  if (update.outcome) outcome('there');
  const was = document.body.dataset.run;
  if (next) settle(next, ends);
  if (/failed|refused/.test(update.state)) words.scrollIntoView({ block: 'nearest' });
  const button = document.querySelector('#run');
  if (BUSY.includes(was) && button && document.activeElement?.id === 'stop') setTimeout(() => button.focus({ preventScroll: true }));
}
watch('value', () => {
  const update = JSON.parse(props.value);
  if (!update || !update.run) return;
  // A preview that was asked for before the run may arrive after it.
  if (update.state === 'idle' && busy()) return;
  stopRecording();
  if (update.state) badge.hidden = true;
  apply(update);
});
document.addEventListener('run-asked', () => {
  stopRecording();
  pause();
  badge.hidden = true;
  words.textContent = 'Starting…';
  outcome(null);
  settle('running');
  if (window.innerWidth <= 760) document.querySelector('#stage').scrollIntoView();
  setTimeout(() => document.querySelector('#stop')?.focus({ preventScroll: true }));
});
document.addEventListener('run-failed', () => fail('The run did not start; the message says why.', 'refused'));

// ---- until the first run, a recorded race plays
let recording = null;
function stopRecording() {
  if (!recording) return;
  clearTimeout(recording);
  recording = null;
  settle('recorded');
}
async function playRecording() {
  document.body.dataset.run = 'idle';
  if (!props.recording) return;
  const response = await fetch(props.recording);
  const updates = response.ok ? await response.json() : [];
  if (!updates.length || run !== null || document.body.dataset.run !== 'idle') return;
  badge.hidden = false;
  const still = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
  const next = (index) => {
    recording = still || index + 1 >= updates.length ? null : setTimeout(next, 110, index + 1);
    apply(updates[index], recording || (still && index + 1 < updates.length) ? 'recording' : 'recorded');
    if (still && index + 1 < updates.length) next(index + 1);
  };
  next(0);
}
playRecording().catch(() => { document.body.dataset.run = 'idle'; });
