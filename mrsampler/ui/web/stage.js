// The race: panels, scrubber and plot. Python sends updates; nothing here is ever re-rendered.
const $ = (selector) => element.querySelector(selector);
const stage = $('.stage');
const panels = Object.fromEntries([...element.querySelectorAll('[data-panel]')].map((f) => [f.dataset.panel, f]));
const scrub = $('.scrub'), play = $('.play'), words = $('.words'), badge = $('.badge'), plot = $('.plot');
const KEYS = ['a', 'b'];

let run = null, frames = [], entrants = {}, figures = null, view = 'x', dims = 2, timer = null;
const BUSY = ['running', 'waiting'];

// ---- panels
function picture(panel, source) {
  const image = panels[panel].querySelector('img');
  if (source) image.src = source; else image.removeAttribute('src');
}
function setup(s) {
  picture('degraded', s.degraded);
  picture('truth', s.truth);
  panels.truth.classList.toggle('unknown', !s.truth);
  const probe = new Image();
  probe.onload = () => stage.style.setProperty('--shape', Math.min(1.6, Math.max(0.75, probe.width / probe.height)));
  probe.src = s.degraded;
  if (!s.entrants) return;
  entrants = s.entrants;
  for (const key of KEYS) {
    const name = panels[key].querySelector('b');
    name.textContent = name.title = entrants[key].label; // half a phone's width cuts the longest
    panels[key].querySelector('img').alt = entrants[key].label;
  }
}
function clear() {
  frames = []; figures = null;
  for (const key of KEYS) {
    picture(key, null);
    panels[key].querySelector('.bar i').style.transform = 'scaleX(0)';
    for (const p of panels[key].querySelectorAll('p')) p.textContent = '\u00a0';
  }
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
    panel.querySelector('.score').textContent =
      state.psnr == null ? '\u00a0' : `${state.psnr.toFixed(1)} dB · SSIM ${state.ssim.toFixed(2)}`;
  }
  scrub.value = index;
  scrub.setAttribute('aria-valuetext', `step ${index}: ${KEYS.map((key) => `${entrants[key].label} ${frame[key].nfe} of ${entrants[key].nfe} NFE`).join(', ')}`);
}
function append(frame) {
  if (frame.index < frames.length) return; // gradio sends a run's last update twice
  const last = frames.at(-1) || frame;
  while (frames.length < frame.index) frames.push(last);
  frames.push({ a: frame.a || last.a, b: frame.b || last.b });
  scrub.max = frames.length - 1;
}

// ---- scrubber and switches
function seek(index) { show(index); mark(index); }
function pause() { clearInterval(timer); timer = null; play.textContent = '▶'; }
scrub.addEventListener('input', () => { pause(); seek(+scrub.value); });
play.addEventListener('click', () => {
  if (timer) return pause();
  if (recording) { stopRecording(); return; }
  if (+scrub.value >= frames.length - 1) seek(0);
  play.textContent = '❚❚';
  timer = setInterval(() => {
    if (+scrub.value >= frames.length - 1) return pause();
    seek(+scrub.value + 1);
  }, 90);
});
for (const group of element.querySelectorAll('.switch')) {
  group.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    for (const b of group.querySelectorAll('button')) b.setAttribute('aria-pressed', b === button);
    if (button.dataset.view) {
      view = button.dataset.view;
      for (const s of element.querySelectorAll('.shown')) s.innerHTML = button.innerHTML;
      show(+scrub.value);
    } else {
      dims = +button.dataset.dims;
      if (window.Plotly) Plotly.purge(plot);
      plot.wired = false;
      draw();
    }
  });
}

// ---- plot
const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
function themed(value, ink, grid) {
  if (value === 'rgb(1, 2, 3)') return ink;
  if (value === 'rgb(3, 2, 1)') return grid;
  if (Array.isArray(value)) return typeof value[0] === 'number' ? value : value.map((v) => themed(v, ink, grid));
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, ink, grid)]));
  return value;
}
let drawing = false, again = false, marked = null;
async function draw() {
  if (drawing) { again = true; return; }
  if (!window.Plotly) return;
  drawing = true;
  try {
    const figure = figures && figures[dims];
    if (!figure) { Plotly.purge(plot); plot.wired = false; return; }
    const { data, layout } = themed(figure, css('--body-text-color'), css('--border-color-primary'));
    layout.font.family = css('--font') || 'system-ui';
    layout.hoverlabel = { font: { family: layout.font.family } };
    if (marked !== null && marked < frames.length - 1) {
      data.forEach((trace) => {
        if (!KEYS.includes(trace.name)) return;
        const at = Math.min(marked, trace.x.length - 1), size = trace.marker.size.at(-1);
        trace.marker.size = trace.marker.size.map((s, i) => (i === at ? size : trace.marker.size[0] === size ? s : trace.marker.size[0]));
      });
    }
    await Plotly.react(plot, data, layout, { displayModeBar: false, responsive: true, doubleClick: 'reset' });
    if (!plot.wired) {
      plot.wired = true;
      plot.on('plotly_click', (event) => {
        const point = event.points[0];
        const name = point.data.name;
        if (!KEYS.includes(name) || scrub.disabled) return;
        pause();
        const nfe = point.customdata[0];
        const index = frames.findIndex((f) => f[name].nfe === nfe);
        if (index >= 0) seek(index);
      });
    }
  } finally {
    drawing = false;
    if (again) { again = false; requestAnimationFrame(draw); }
  }
}
function mark(index) { marked = index; draw(); }
new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ['class'] });

// ---- updates
let watchdog = null;
function settle(state) {
  stage.dataset.state = state;
  if (state !== 'recording') document.body.dataset.run = state;
  const busy = BUSY.includes(document.body.dataset.run);
  const knobs = document.querySelector('#knobs');
  if (knobs) knobs.inert = busy; // by keyboard, too
  scrub.disabled = busy || state === 'recording' || frames.length < 2;
  play.disabled = busy || frames.length < 2;
  clearTimeout(watchdog);
  if (busy) watchdog = setTimeout(() => fail('No news from the server for a minute: the connection may be lost. Reload the page to go on.'), 60000);
}
function fail(sentence) {
  if (!BUSY.includes(document.body.dataset.run)) return;
  words.textContent = sentence;
  settle('failed');
}
function apply(update, state) {
  if (update.run !== run) {
    run = update.run;
    pause(); clear(); marked = null; draw();
    delete document.body.dataset.outcome;
  }
  if (update.setup) setup(update.setup);
  for (const frame of update.frames || []) append(frame);
  if (update.figures) { figures = update.figures; draw(); }
  if ((update.frames || []).length) show(frames.length - 1);
  if (update.say !== undefined) words.textContent = update.say || '\u00a0';
  if (update.outcome) document.body.dataset.outcome = 'there';
  const was = document.body.dataset.run;
  settle(state || update.state);
  const button = document.querySelector('#run');
  if (BUSY.includes(was) && button && document.activeElement?.id === 'stop') button.focus();
}
watch('value', () => {
  const update = props.value;
  if (!update || !update.state) return;
  // A preview that was asked for before the run may arrive after it.
  if (update.state === 'idle' && BUSY.includes(document.body.dataset.run)) return;
  stopRecording();
  badge.hidden = true;
  apply(update);
});
document.addEventListener('run-asked', () => {
  settle('running');
  if (window.innerWidth <= 760) document.querySelector('#stage').scrollIntoView();
  setTimeout(() => document.querySelector('#stop')?.focus({ preventScroll: true }));
});
document.addEventListener('run-failed', () => fail('The run did not start; the message says why.'));

// ---- until the first run, a recorded race plays
let recording = null;
function stopRecording() {
  if (!recording) return;
  clearTimeout(recording);
  recording = null;
  play.textContent = '▶';
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
    apply(updates[index], 'recording');
    if (index + 1 >= updates.length) { recording = true; stopRecording(); return; }
    recording = still ? null : setTimeout(next, 110, index + 1);
    play.textContent = '❚❚';
    if (still) next(index + 1);
  };
  next(0);
}
playRecording().catch(() => { document.body.dataset.run = 'idle'; });
