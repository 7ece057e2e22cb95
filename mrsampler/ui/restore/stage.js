// The race: its state, panels and updates. Python sends updates; nothing here is ever re-rendered.
import { finders, make, picture, shape, switches } from '../parts/dom.js';
import { Plot } from '../parts/plot.js';
import { Run } from '../parts/run.js';
import { Curves } from './curves.js';
import { Marks } from './marks.js';
import { Player } from './player.js';
import { KEYS, Race } from './race.js';
import { trajectories } from './trajectories.js';

// Of the time, for drawing plots: while a race runs the network may be on the same cores.
const [RACING, REPLAYING] = [0.05, 0.4];

function score(quality) {
  if (!quality) return '\u00a0';
  const parts = [`${quality.psnr.toFixed(1)}\u00a0dB`]; // half a phone's width breaks between them alone
  if (quality.ssim != null) parts.push(`SSIM\u00a0${quality.ssim.toFixed(2)}`);
  if (quality.swd != null) parts.push(`SWD\u00a0${quality.swd.toFixed(2)}`);
  return parts.join('\u00a0· ');
}

/** @param {import('../parts/types.js').Component} component */
export default function mount({ element, props, trigger, watch }) {
  const [$, $$] = finders(element);
  const stage = $('.stage'),
    badge = $('.badge'),
    words = $('.words'),
    lesson = $('.lesson'),
    scrub = $('.scrub');
  const panels = Object.fromEntries(
    $$('[data-panel]').map((f) => [f.dataset.panel, finders(f)[0]]),
  );
  const race = new Race();
  let view = 'x',
    dimensions = 2;
  /** @type {ReturnType<typeof setTimeout> | null} */
  let recording = null;

  const run = new Run(/** @type {HTMLElement} */ (document.querySelector('#restore')), {
    holder: document.body,
    words,
    titles: {
      run: 'Races both samplers with these settings',
      stop: 'Ends the race before its next evaluation; what it has reached stays',
      dice: 'Other damage and another x_T, by chance',
      more: 'Shows or hides the settings that are seldom changed',
    },
    refused: 'refused',
    asked: () => {
      stopRecording();
      player.pause();
      badge.hidden = true;
      run.say('Starting…');
      outcome(null);
    },
    settled,
  });
  const player = new Player(element, race, {
    looked: () => {
      show();
      mark();
    },
    start: () => document.getElementById('run').click(),
    skip: stopRecording,
  });

  // ---- panels
  function setup(s) {
    if (s.degraded) {
      picture(panels.degraded('img'), s.degraded);
      stage.style.setProperty('--degraded', `url("${s.degraded}")`); // in both panels until their first frames
      picture(panels.truth('img'), s.truth);
      race.scored = Boolean(s.truth);
      $('[data-panel=truth]').classList.toggle('unknown', !race.scored);
      stage.classList.toggle('unscored', !race.scored);
      shape(stage, s.degraded);
    }
    if (s.pins) race.pins = s.pins;
    if (s.entrants) {
      race.entrants = s.entrants;
      for (const key of KEYS) {
        const name = panels[key]('b'),
          { label } = s.entrants[key];
        name.textContent = name.title = panels[key]('img').alt = label; // half a phone's width cuts the longest
      }
    }
    legend.list();
  }
  function clear() {
    race.clear();
    legend.pinned.clear();
    for (const { plot, marks } of [space, curve]) {
      plot.clear();
      marks.clear();
    }
    lesson.style.minHeight = `${lesson.offsetHeight}px`; // what is below stays where it is
    lesson.textContent = '';
    scrub.max = scrub.value = 0;
    for (const key of KEYS) {
      picture(panels[key]('img'), null);
      panels[key]('.bar i').style.transform = 'scaleX(0)';
      for (const part of ['.count', '.score']) panels[key](part).textContent = '\u00a0';
    }
  }
  function show() {
    const frame = race.frames[race.at];
    if (!frame) return;
    for (const key of KEYS) {
      const state = frame[key],
        panel = panels[key],
        total = race.entrants[key].nfe;
      picture(panel('img'), state[view]);
      panel('.bar i').style.transform = `scaleX(${state.done ? 1 : state.nfe / total})`;
      panel('.count').innerHTML =
        `<em>${state.nfe}</em> / ${total} NFE · ${state.seconds.toFixed(1)} s` +
        (state.done ? '<span class="done"> · done</span>' : '');
      panel('.score').textContent = score(state.step && view === 'x0' ? state.of_x0 : state.of_x);
    }
    scrub.value = race.at;
    const reached = KEYS.map(
      (key) => `${race.entrants[key].label} ${frame[key].nfe} of ${race.entrants[key].nfe} NFE`,
    );
    scrub.setAttribute('aria-valuetext', `step ${race.at}: ${reached.join(', ')}`);
  }

  // ---- the samplers by colour, and what is pinned
  const legend = {
    place: $('.legend'),
    /** @type {Set<string>} */
    pinned: new Set(),
    chip(key, { label, nfe }, word, title) {
      const button = make('button', { type: 'button', textContent: word, title });
      button.dataset.pin = key;
      button.setAttribute('aria-label', `${word}: ${label}, ${nfe} NFE`);
      return make('li', { className: key }, make('i'), `${label} · ${nfe} NFE`, button);
    },
    list() {
      const live = KEYS.filter((key) => race.entrants[key]).map((key) =>
        this.chip(
          key,
          race.entrants[key],
          'Pin',
          'Keep this line while you try other settings on the same photo',
        ),
      );
      this.place.replaceChildren(
        ...live,
        ...race.pins.map((pin) => this.chip(pin.key, pin, '\u00d7', 'Unpin')),
      );
      this.unlock();
    },
    unlock() {
      for (const button of this.place.querySelectorAll('button')) {
        const { pin } = button.dataset,
          live = KEYS.includes(pin);
        button.hidden = live && !/^run /.test(race.run); // the recorded race is not in the server's memory
        button.disabled = run.busy || (live && (race.pins.length >= 3 || this.pinned.has(pin)));
      }
    },
  };
  legend.place.addEventListener('click', ({ target }) => {
    const button = target.closest('button');
    if (!button || button.disabled) return;
    button.disabled = true;
    const key = button.dataset.pin;
    if (KEYS.includes(key)) legend.pinned.add(key);
    else {
      legend.pinned.clear();
      race.unpin(key);
      legend.list();
      draw();
    }
    trigger('pin', { key });
  });

  // ---- plots
  const curves = new Curves(race);
  /** @type {(place: any, figure: () => import('../parts/types.js').Figure | null) => any} */
  function canvas(place, figure) {
    const marks = new Marks(place, race);
    const made = () => {
      const drawn = figure();
      place.parentElement.classList.toggle('blank', !drawn);
      if (!drawn) marks.clear();
      return drawn;
    };
    const plot = new Plot(place, props.plotly, made, () => {
      marks.draw();
      place.on('plotly_afterplot', () => marks.draw()); // also after zooming
      place.on('plotly_relayouting', () => marks.clear());
      place.on('plotly_hover', ({ points: [point] }) => pointAt(place, point));
      place.on('plotly_unhover', () => pointAt(place, null));
      place.on('plotly_click', ({ points: [point] }) => {
        const key = point.data.name;
        if (!KEYS.includes(key) || scrub.disabled) return;
        const index = race.frames.findIndex((f) => f[key].nfe === point.customdata?.[0]);
        if (index < 0) return;
        player.hold();
        player.seek(index);
      });
    });
    return { plot, marks };
  }
  const space = canvas($('.plot:not(.curve)'), () => trajectories(race, dimensions));
  const curve = canvas($('.plot.curve'), () => curves.figure());
  const plots = [space.plot, curve.plot];
  // Another frame is looked at. In space the marks are plotly's, as they turn with it.
  function mark() {
    if (dimensions === 3) space.plot.draw();
    for (const { marks } of [space, curve]) marks.draw();
  }
  // What is pointed at here is ringed in the other plot.
  function pointAt(place, point) {
    const nfe = point?.customdata?.[0];
    race.pointed = nfe === undefined ? null : { key: point.data.name, nfe, on: place };
    for (const { plot, marks } of [space, curve]) if (plot.place !== place) marks.draw();
  }
  // The picture first, for plotly takes a while.
  function draw() {
    const share = run.busy ? RACING : recording ? REPLAYING : 1;
    setTimeout(() => {
      for (const plot of plots) plot.draw(share);
    });
  }
  function fetchPlotly() {
    for (const plot of plots) if (!plot.ready) plot.fetch();
  }
  panels.a('img').addEventListener('load', () => setTimeout(fetchPlotly), { once: true });
  setTimeout(fetchPlotly, 3000); // where no picture comes

  // ---- updates
  function outcome(state) {
    if (!state && !document.body.dataset.outcome) return; // there was none
    document.body.dataset.outcome = state || 'old';
    /** @type {HTMLElement} */ (document.querySelector('#outcome')).inert = !state;
  }
  function settled(state) {
    stage.dataset.state = state;
    race.running = run.busy;
    player.recording = state === 'recording';
    player.controls();
    legend.unlock();
    draw();
  }
  function apply(update, state = update.state) {
    if (update.run !== race.run && update.state !== 'refused') {
      if (!update.state) return; // of a run that is gone from the page
      race.run = update.run;
      player.pause();
      clear();
      player.restart();
      outcome(null);
    }
    if (update.setup) setup(update.setup);
    for (const frame of update.frames || []) race.append(frame);
    scrub.max = Math.max(0, race.last);
    if (update.late) race.complete(update.late);
    if (update.figures) race.figures = update.figures;
    if (update.lesson !== undefined) {
      lesson.textContent = update.lesson;
      lesson.style.minHeight = '';
    }
    if (update.frames?.length) player.arrived();
    show(); // of what is known late, too
    if (update.say !== undefined) run.say(update.say);
    if (update.outcome) outcome('there');
    if (state === 'recording') settled(state);
    else if (state) run.settle(state);
    else draw();
    if (/failed|refused/.test(update.state)) words.scrollIntoView({ block: 'nearest' });
  }
  watch('value', () => {
    const update = JSON.parse(props.value || null);
    if (!run.hears(update)) return;
    stopRecording();
    if (update.state) badge.hidden = true;
    apply(update);
  });
  switches(element, (data, button) => {
    if (data.view) {
      view = data.view;
      for (const s of $$('.shown')) s.innerHTML = button.innerHTML;
      show();
    }
    if (data.dims) {
      dimensions = +data.dims;
      space.plot.clear();
      space.plot.draw();
    }
    if (data.metric) curves.metric = data.metric;
    if (data.against) curves.against = data.against;
    if (data.metric || data.against) curve.plot.draw();
  });

  // ---- until the first run, a recorded race plays
  function stopRecording() {
    if (!recording) return false;
    clearTimeout(recording);
    recording = null;
    run.settle('recorded');
    return true;
  }
  async function playRecording() {
    document.body.dataset.run = 'idle';
    if (!props.recording) return;
    const response = await fetch(props.recording);
    const updates = response.ok ? await response.json() : [];
    if (!updates.length || race.run !== null || document.body.dataset.run !== 'idle') return;
    badge.hidden = false;
    const still = window.matchMedia('(prefers-reduced-motion: reduce)').matches,
      last = updates.length - 1;
    const next = (index) => {
      recording = still || index === last ? null : setTimeout(next, 110, index + 1);
      apply(updates[index], index < last ? 'recording' : 'recorded');
      if (still && index < last) next(index + 1);
    };
    next(0);
  }
  playRecording().catch(() => {
    document.body.dataset.run = 'idle';
  });
}
