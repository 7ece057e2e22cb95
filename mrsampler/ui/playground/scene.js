// Particles: the server computes where they are, once a change; here they are drawn and played.
import { show as draws } from '../parts/chart.js';
import { finders, make } from '../parts/dom.js';
import { dark, onTheme } from '../parts/theme.js';

/** @param {import('../parts/types.js').Component} component */
export default function mount({ element, props, trigger, server }) {
  const [$, $$] = finders(element);
  const page = $('.playground'),
    play = $('.play'),
    scrub = $('.scrub'),
    single = $('.step'),
    back = $('.back');
  const say = $('.say'),
    told = $('.lesson'),
    handle = $('.mu'),
    pen = $('.pen');
  const still = window.matchMedia('(prefers-reduced-motion: reduce)');
  const [SECONDS, SHADES] = [5, 6];
  const TRAILS = { true: 120, false: 40 }; // with a partner each; random walks, which fill the picture
  const { most: MOST, reach: REACH, view: VIEW, lessons: LESSONS } = props;
  const panels = ['sampler', 'exact'].map((name) => {
    const figure = $(`figure.${name}`),
      canvas = figure.querySelector('canvas');
    return { name, figure, canvas, context: canvas.getContext('2d'), ink: '' };
  });
  const layers = { density: true, score: true, trails: true, gap: false };

  let settings = { ...props.settings },
    scene = null,
    at = 0,
    timer = null;

  // ---- what the server sends: positions as int16 parts of `reach`, pictures as bytes
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const NOWHERE = -32768;
  function flow({ at, x }, count, reach) {
    const raw = new Int16Array(bytes(x)),
      places = new Float32Array(raw.length);
    for (let i = 0; i < raw.length; i++)
      places[i] = raw[i] === NOWHERE ? NaN : (raw[i] / 32767) * reach;
    return { at, places, frame: (i) => places.subarray(i * count * 2, (i + 1) * count * 2) };
  }
  function decode(answer) {
    const { count, reach, fields } = answer;
    return {
      ...answer,
      sampler: { ...answer.sampler, ...flow(answer.sampler, count, reach) },
      exact: { ...answer.exact, ...flow(answer.exact, count, reach) },
      pictures: new Uint8Array(bytes(fields.pictures)),
      arrows: new Int8Array(bytes(fields.arrows)),
      tinted: null,
    };
  }
  function between(list, u) {
    // a value of the clock's frames at a moment between two
    const i = Math.min(Math.floor(u), list.length - 1),
      j = Math.min(i + 1, list.length - 1);
    return list[i] === null || list[j] === null ? null : list[i] + (list[j] - list[i]) * (u - i);
  }
  function moment(path, u) {
    // the last frame at or before u, and how far towards the next
    let i = 0;
    while (i + 1 < path.at.length && path.at[i + 1] <= u + 1e-9) i++;
    const next = path.at[i + 1];
    return {
      i,
      part: next === undefined ? 0 : Math.max(0, (u - path.at[i]) / (next - path.at[i])),
    };
  }
  function places(path, u) {
    const { i, part } = moment(path, u),
      here = path.frame(i);
    if (!part) return here;
    const there = path.frame(i + 1);
    return here.map((v, k) => v + (there[k] - v) * part);
  }

  // ---- drawing
  function tint() {
    // the densities in the page's ink, one small picture each
    const { side, count } = scene.fields,
      ink = dark() ? 255 : 0,
      size = side * side;
    scene.tinted = Array.from({ length: count }, (_, k) => {
      const canvas = document.createElement('canvas');
      canvas.width = canvas.height = side;
      const context = canvas.getContext('2d'),
        image = context.createImageData(side, side);
      for (let i = 0; i < size; i++)
        image.data.set([ink, ink, ink, scene.pictures[k * size + i] * 0.4], 4 * i);
      context.putImageData(image, 0, 0);
      return canvas;
    });
  }
  function fieldAt(u) {
    const { every, count } = scene.fields,
      k = Math.min(Math.floor(u / every), count - 1);
    return { k, next: Math.min(k + 1, count - 1), part: Math.min(1, u / every - k) };
  }
  function drawDensity({ context }, u, half, size) {
    if (!scene.tinted) tint();
    const { k, next, part } = fieldAt(u),
      { half: halves } = scene.fields;
    for (const [index, alpha] of [
      [k, 1 - part],
      [next, part],
    ]) {
      if (!alpha) continue;
      const wide = (halves[index] / half) * size;
      context.globalAlpha = alpha;
      context.drawImage(scene.tinted[index], (size - wide) / 2, (size - wide) / 2, wide, wide);
    }
    context.globalAlpha = 1;
  }
  function drawScore({ context }, u, half, size) {
    const { across, half: halves } = scene.fields,
      { k, next, part } = fieldAt(u),
      stride = size < 300 ? 2 : 1;
    const reach = halves[k] + (halves[next] - halves[k]) * part,
      cell = (size * reach) / half / across;
    context.beginPath();
    for (let row = 0; row < across; row += stride) {
      for (let column = 0; column < across; column += stride) {
        const a = 2 * ((k * across + row) * across + column),
          b = 2 * ((next * across + row) * across + column);
        const dx = scene.arrows[a] + (scene.arrows[b] - scene.arrows[a]) * part;
        const dy = scene.arrows[a + 1] + (scene.arrows[b + 1] - scene.arrows[a + 1]) * part;
        const length = Math.hypot(dx, dy) / 127;
        if (length < 0.04) continue;
        const x = size / 2 + (column + 0.5 - across / 2) * cell,
          y = size / 2 - (row + 0.5 - across / 2) * cell;
        const ex = (dx / 127) * cell * 0.42 * stride,
          ey = (-dy / 127) * cell * 0.42 * stride,
          head = 0.4;
        context.moveTo(x - ex, y - ey);
        context.lineTo(x + ex, y + ey);
        context.moveTo(x + ex - head * (ex + ey * 0.6), y + ey - head * (ey - ex * 0.6));
        context.lineTo(x + ex, y + ey);
        context.lineTo(x + ex - head * (ex - ey * 0.6), y + ey - head * (ey + ex * 0.6));
      }
    }
    context.globalAlpha = 0.32;
    context.strokeStyle = dark() ? '#fff' : '#000';
    context.lineWidth = 1;
    context.stroke();
    context.globalAlpha = 1;
  }
  function drawTrails({ context, ink }, path, u, now, toX, toY) {
    const { i } = moment(path, u),
      count = Math.min(scene.count, TRAILS[scene.paired]);
    const every = Math.max(1, Math.floor(path.at.length / 40));
    const marks = [];
    for (let f = 0; f <= i; f += every) marks.push(path.frame(f));
    if (i % every) marks.push(path.frame(i));
    marks.push(now);
    context.strokeStyle = ink;
    context.lineWidth = 1;
    const last = marks.length - 1;
    for (let shade = 0; shade < SHADES; shade++) {
      // pale at x_T, full colour now
      const from = Math.floor((last * shade) / SHADES),
        to = Math.floor((last * (shade + 1)) / SHADES);
      if (from === to) continue;
      context.globalAlpha = 0.06 + 0.5 * ((shade + 1) / SHADES) ** 2;
      context.beginPath();
      for (let p = 0; p < count; p++) {
        let drawing = false;
        for (let m = from; m <= to; m++) {
          const x = marks[m][2 * p],
            y = marks[m][2 * p + 1];
          if (Number.isNaN(x)) {
            drawing = false;
            continue;
          }
          if (drawing) context.lineTo(toX(x), toY(y));
          else context.moveTo(toX(x), toY(y));
          drawing = true;
        }
      }
      context.stroke();
    }
    context.globalAlpha = 1;
  }
  function drawDots({ context, ink }, now, toX, toY, size) {
    const edge = 3,
      hold = (v) => Math.min(size - edge, Math.max(edge, v));
    const radius = size < 300 ? 1.7 : 2.4,
      lost = [];
    context.fillStyle = context.strokeStyle = ink;
    context.beginPath();
    for (let p = 0; p < scene.count; p++) {
      const x = toX(now[2 * p]),
        y = toY(now[2 * p + 1]);
      if (Number.isNaN(x)) continue;
      if (x < 0 || y < 0 || x > size || y > size) {
        lost.push(hold(x), hold(y));
        continue;
      }
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 7);
    }
    context.fill();
    context.beginPath(); // out of the picture: hollow, at its edge
    for (let p = 0; p < lost.length; p += 2) {
      context.moveTo(lost[p] + edge, lost[p + 1]);
      context.arc(lost[p], lost[p + 1], edge, 0, 7);
    }
    context.lineWidth = 1.2;
    context.stroke();
  }
  function drawGap({ context }, here, there, toX, toY) {
    context.beginPath();
    for (let p = 0; p < scene.count; p++) {
      if (Number.isNaN(here[2 * p])) continue;
      context.moveTo(toX(here[2 * p]), toY(here[2 * p + 1]));
      context.lineTo(toX(there[2 * p]), toY(there[2 * p + 1]));
    }
    context.strokeStyle = panels[1].ink;
    context.lineWidth = 1;
    context.globalAlpha = 0.8;
    context.stroke();
    context.globalAlpha = 1;
  }
  function drawPoints({ context }, toX, toY) {
    context.strokeStyle = dark() ? '#fff' : '#000';
    context.lineWidth = 1.2;
    context.globalAlpha = drawing ? 0.9 : 0.35;
    context.beginPath();
    for (const [x, y] of settings.points) {
      context.moveTo(toX(x) + 2.5, toY(y));
      context.arc(toX(x), toY(y), 2.5, 0, 7);
    }
    context.stroke();
    context.globalAlpha = 1;
  }
  function drawMu({ context }, toX, toY) {
    // as the handle in the other panel, but not to be dragged
    context.beginPath();
    context.arc(toX(settings.mu[0]), toY(settings.mu[1]), 6, 0, 7);
    context.lineWidth = 2;
    context.strokeStyle = dark() ? '#a3abb8' : '#6b7280';
    context.stroke();
  }
  function drawScale({ context }, half, size) {
    // a bar of a round length
    const length = [5, 2, 1, 0.5].find((l) => l < half * 0.6) ?? 0.5,
      wide = (length / half / 2) * size;
    context.strokeStyle = context.fillStyle = dark() ? '#a3abb8' : '#5a6270';
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(size - 12 - wide, size - 12);
    context.lineTo(size - 12, size - 12);
    context.stroke();
    context.font = `12px ${getComputedStyle(document.body).getPropertyValue('--font') || 'system-ui'}`;
    context.textAlign = 'center';
    context.fillText(String(length), size - 12 - wide / 2, size - 17);
  }
  function drawPanel(panel, u) {
    const { canvas, context } = panel,
      size = canvas.clientWidth,
      ratio = window.devicePixelRatio || 1;
    if (!size) return;
    if (canvas.width !== Math.round(size * ratio))
      canvas.width = canvas.height = Math.round(size * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, size, size);
    const half = camera(u),
      toX = (x) => size * (0.5 + x / half / 2),
      toY = (y) => size * (0.5 - y / half / 2);
    panel.ink = getComputedStyle(page).getPropertyValue(`--${panel.name}-dot`).trim();
    const shown = scene && !drawing && page.dataset.state !== 'empty';
    if (shown) {
      if (layers.density) drawDensity(panel, u, half, size);
      if (layers.score) drawScore(panel, u, half, size);
      const path = scene[panel.name],
        now = places(path, u);
      if (layers.trails) drawTrails(panel, path, u, now, toX, toY);
      if (layers.gap && scene.paired && panel.name === 'sampler')
        drawGap(panel, now, places(scene.exact, u), toX, toY);
      drawDots(panel, now, toX, toY, size);
    }
    if (settings.density === props.drawn) drawPoints(panel, toX, toY);
    if (cursor && document.activeElement === canvas) {
      context.strokeStyle = dark() ? '#fff' : '#000';
      context.strokeRect(toX(cursor[0]) - 5, toY(cursor[1]) - 5, 10, 10);
    }
    drawScale(panel, half, size);
    if (!handle.hidden && panel.name === 'exact') drawMu(panel, toX, toY);
    if (!handle.hidden && panel.name === 'sampler')
      handle.style.transform = `translate(${toX(settings.mu[0])}px, ${toY(settings.mu[1])}px)`;
  }
  const camera = (u) => (drawing || !scene ? VIEW[settings.process] : between(scene.half, u));
  let wanted = false;
  function draw() {
    // at most once a frame of the screen
    if (wanted) return;
    wanted = true;
    requestAnimationFrame(() => {
      wanted = false;
      for (const panel of panels) drawPanel(panel, at);
    });
  }
  function show(u) {
    at = Math.min(scene.frames, Math.max(0, u));
    scrub.value = at;
    const { i } = moment(scene.sampler, at),
      t = between(scene.t, at),
      lam = between(scene.lam, at);
    const time = `t = ${t.toPrecision(3)} · λ = ${lam === null ? '∞' : lam.toFixed(2).replace('-', '−')}`;
    $('.sampler .count').innerHTML = `<em>${scene.sampler.nfe[i]}</em> / ${scene.budget} NFE`;
    $('.exact .count').textContent = time;
    scrub.setAttribute('aria-valuetext', `${time}, ${scene.sampler.nfe[i]} of ${scene.budget} NFE`);
    draw();
  }

  // ---- playing
  function pause() {
    cancelAnimationFrame(timer);
    timer = null;
    play.classList.remove('playing');
    play.setAttribute('aria-label', 'Play');
  }
  function start() {
    if (!scene) return;
    if (at >= scene.frames) show(0);
    play.classList.add('playing');
    play.setAttribute('aria-label', 'Pause');
    let last = null;
    const tick = (now) => {
      if (page.offsetParent !== null)
        show(at + ((now - (last ?? now)) / 1000 / SECONDS) * scene.frames);
      last = now;
      if (at >= scene.frames) pause();
      else timer = requestAnimationFrame(tick);
    };
    timer = requestAnimationFrame(tick);
  }
  play.addEventListener('click', () => (timer ? pause() : start()));
  scrub.addEventListener('input', () => {
    pause();
    show(+scrub.value);
  });
  back.addEventListener('click', () => {
    pause();
    show(scene.sampler.at.findLast((u) => u < at - 1e-6) ?? 0);
  });
  single.addEventListener('click', () => {
    pause();
    const next = scene.sampler.at.find((u) => u > at + 1e-6);
    show(at >= scene.frames ? 0 : (next ?? scene.frames));
  });
  for (const button of $$('[data-layer]')) {
    button.addEventListener('click', () => {
      const on = !layers[button.dataset.layer];
      layers[button.dataset.layer] = on;
      button.setAttribute('aria-pressed', on);
      draw();
    });
  }

  // ---- asking the server: the latest settings, one question at a time
  let busy = false,
    again = null,
    quiet = null,
    taken = null,
    measured = null;
  function settle(state) {
    page.dataset.state = state;
    const idle = !scene || state === 'empty';
    for (const control of [play, scrub, single, back]) control.disabled = idle;
    handle.hidden = !props.anchored.includes(settings.process) || idle;
    pen.hidden = settings.density !== props.drawn;
    for (const button of pen.querySelectorAll('button')) button.disabled = !settings.points.length;
    page.classList.toggle('pens', settings.density === props.drawn);
    for (const { canvas } of panels) canvas.tabIndex = settings.density === props.drawn ? 0 : -1;
  }
  function fail(sentence) {
    pause();
    say.textContent = sentence;
    settle(scene ? 'failed' : 'empty');
  }
  async function ask(replay) {
    if (settings.density === props.drawn && !settings.points.length) {
      pause();
      settle('empty');
      for (const e of $$('.empty'))
        e.textContent = 'Draw some points here: press and move, or arrow keys and Space.';
      say.textContent = '';
      draw();
      return;
    }
    if (busy) {
      again = { replay: replay || again?.replay };
      return;
    }
    busy = true;
    const asked = JSON.stringify(settings);
    const answer = await server.simulate(JSON.parse(asked)).catch(() => undefined);
    busy = false;
    if (!answer)
      fail('No answer from the server: the connection may be lost. Reload the page to go on.');
    else if (answer.error) fail(answer.error);
    else if (!drawing) {
      take(answer, replay);
      taken = asked;
    }
    if (again) {
      const { replay } = again;
      again = null;
      ask(replay);
    } else measure(taken); // what is shown, though what was asked last failed
  }
  function take(answer, replay) {
    const first = !scene;
    scene = decode(answer);
    for (const { name, figure, canvas } of panels) {
      figure.querySelector('b').textContent = figure.querySelector('b').title = scene[name].label;
      figure.querySelector('.note').textContent = scene[name].note;
      figure.querySelector('.score').textContent = scene[name].score;
      canvas.setAttribute(
        'aria-label',
        `${scene.count} particles: ${scene[name].label}. ${scene[name].score}`,
      );
    }
    $('[data-layer=gap]').disabled = !scene.paired;
    say.textContent = scene.say;
    const [x, y] = settings.mu.map((v) => v.toFixed(2));
    handle.setAttribute('aria-label', `μ at ${x}, ${y}: drag it, or move it with the arrow keys`);
    settle('ready');
    scrub.max = scene.frames;
    if (first || replay) {
      pause();
      show(still.matches ? scene.frames : 0);
      if (!still.matches) start();
    } else show(at);
    page.dataset.shown = +(page.dataset.shown || 0) + 1;
  }
  let resting = null;
  const stale = (on) => document.querySelector('#playground-error')?.classList.toggle('stale', on);
  function measure(asked) {
    // the error against NFE, once nothing has moved for a moment
    clearTimeout(resting);
    stale(asked !== measured);
    if (asked === measured) return;
    resting = setTimeout(async () => {
      const answer = await server.errors(JSON.parse(asked)).catch(() => undefined);
      if (!answer || answer.error || asked !== taken) return;
      measured = asked;
      draws('playground', answer.figure);
      document.querySelector('#playground-error p').textContent = answer.say || '\u00a0';
      stale(false);
    }, 200);
  }

  // ---- the knobs beside, and the ready-made scenes
  const REPLAYED = ['density', 'process', 'solver', 'spacing', 'annealed', 'lower'];
  let latest = null;
  function turned(values) {
    const next = { ...settings, ...values };
    if (JSON.stringify(next) === JSON.stringify(settings)) return;
    const replay = REPLAYED.some((key) => next[key] !== settings[key]);
    settings = next;
    press(null);
    settle(page.dataset.state === 'empty' && scene ? 'ready' : page.dataset.state);
    ask(replay);
  }
  document.addEventListener('playground', (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    const values = Object.fromEntries(props.knobs.map((name, i) => [name, detail[i]]));
    if (quiet) latest = values;
    else turned(values); // a scene's settings are on their way to the knobs
  });
  function press(index) {
    for (const [i, b] of $$('.lessons button').entries())
      b.setAttribute('aria-pressed', i === index);
    if (index === null) told.textContent = props.invitation;
  }
  const until = async (found) => {
    for (let i = 0; i < 40 && !found(); i++) await new Promise((r) => setTimeout(r, 50));
  };
  async function pick(id, value) {
    // as a visitor would: a menu's value is the browser's own
    const menu = /** @type {HTMLSelectElement} */ (document.getElementById(id));
    if (!menu) return;
    await until(() => [...menu.options].some((option) => option.value === value));
    if (menu.value === value) return;
    menu.value = value;
    menu.dispatchEvent(new Event('change'));
  }
  async function learn(index) {
    const { text, settings: given } = LESSONS[index];
    settings = { ...settings, ...given };
    press(index);
    told.textContent = text;
    settle(page.dataset.state);
    ask(true);
    const mine = {};
    quiet = mine;
    latest = null;
    trigger('lesson', { index });
    await Promise.all([
      pick('menu-particle-solver', given.solver),
      pick('menu-step-spacing', given.spacing),
    ]);
    await new Promise((r) => setTimeout(r, 800));
    if (quiet !== mine) return;
    quiet = null;
    if (latest) {
      const values = latest;
      latest = null;
      turned(values);
    }
  }
  LESSONS.forEach(({ title, text }, index) => {
    const button = make('button', { type: 'button', textContent: title, title: text });
    button.addEventListener('click', () => learn(index));
    $('.lessons').append(button);
  });

  // ---- mu, by hand
  function world(event, canvas) {
    const box = canvas.getBoundingClientRect(),
      half = camera(at);
    return [
      ((event.clientX - box.left) / box.width) * 2 - 1,
      1 - ((event.clientY - box.top) / box.height) * 2,
    ].map((v) => v * half);
  }
  const held = (v, limit) => Math.round(Math.min(limit, Math.max(-limit, v)) * 1000) / 1000;
  function moveMu(x, y) {
    settings = { ...settings, mu: [held(x, REACH), held(y, REACH)] };
    press(null);
    draw();
    ask(false);
  }
  handle.addEventListener('pointerdown', (event) => {
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener('pointermove', (event) => {
    if (handle.hasPointerCapture(event.pointerId)) moveMu(...world(event, panels[0].canvas));
  });
  handle.addEventListener('keydown', (event) => {
    const [dx, dy] =
      { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ||
      [];
    if (dx === undefined) return;
    event.preventDefault();
    const by = event.shiftKey ? 0.25 : 0.05;
    moveMu(settings.mu[0] + dx * by, settings.mu[1] + dy * by);
  });

  // ---- points, by hand
  let drawing = false,
    cursor = null,
    strokes = [];
  function add(x, y) {
    if (settings.points.length >= MOST) {
      say.textContent = `${MOST} points are the most there can be.`;
      return;
    }
    const edge = VIEW[settings.process];
    settings.points = [...settings.points, [held(x, edge), held(y, edge)]];
  }
  function stroke() {
    strokes.push(settings.points.length);
    pause();
    press(null);
  }
  function finish() {
    drawing = false;
    settle(page.dataset.state);
    if (scene) at = scene.frames;
    ask(false);
  }
  for (const { canvas } of panels) {
    canvas.addEventListener('pointerdown', (event) => {
      if (settings.density !== props.drawn || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      stroke();
      drawing = true;
      settle('ready');
      add(...world(event, canvas));
      draw();
    });
    canvas.addEventListener('pointermove', (event) => {
      if (!drawing || !canvas.hasPointerCapture(event.pointerId)) return;
      const [x, y] = world(event, canvas),
        [lx, ly] = settings.points.at(-1) || [9, 9];
      if (Math.hypot(x - lx, y - ly) > 0.06) add(x, y);
      draw();
    });
    for (const name of ['pointerup', 'pointercancel'])
      canvas.addEventListener(name, () => {
        if (drawing) finish();
      });
    canvas.addEventListener('keydown', (event) => {
      if (settings.density !== props.drawn) return;
      const [dx, dy] =
        { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[
          event.key
        ] || [];
      if (dx === undefined && event.key !== ' ' && event.key !== 'Enter') return;
      event.preventDefault();
      cursor ??= [0, 0];
      if (dx !== undefined) {
        const by = event.shiftKey ? 0.02 : 0.1;
        cursor = [cursor[0] + dx * by, cursor[1] + dy * by].map((v) =>
          held(v, VIEW[settings.process]),
        );
        if (scene) show(scene.frames);
        else draw();
      } else {
        stroke();
        add(...cursor);
        finish();
      }
    });
    canvas.addEventListener('focus', () => {
      if (settings.density === props.drawn && canvas.matches(':focus-visible')) {
        cursor ??= [0, 0];
        draw();
      }
    });
    canvas.addEventListener('blur', draw);
  }
  pen.addEventListener('click', ({ target }) => {
    const kind = target.dataset.pen;
    if (!kind) return;
    settings = {
      ...settings,
      points: kind === 'clear' ? [] : settings.points.slice(0, strokes.pop() ?? 0),
    };
    if (kind === 'clear') strokes = [];
    settle(page.dataset.state);
    ask(false);
  });

  // ---- the page around
  new ResizeObserver(() => {
    const around = page.closest('#playground-scene'),
      top = (e) => e.getBoundingClientRect().top;
    around?.style.setProperty('--above', `${Math.round(top($('.panels')) - top(around))}px`);
    draw();
  }).observe(page);
  onTheme(() => {
    if (scene) scene.tinted = null;
    draw();
  });
  press(0);
  told.textContent = LESSONS[0].text;
  settle('loading');
  for (const e of $$('.empty')) e.textContent = 'The particles are on their way.';
  ask(true);
}
