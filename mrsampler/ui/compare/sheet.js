// The sheet, its curves and its table. Each update has all that is known; only what is new is drawn.
import { finders, make, switches } from '../parts/dom.js';
import { Plot } from '../parts/plot.js';
import { Run } from '../parts/run.js';
import { curves, METRICS } from './curves.js';

/** @param {import('../parts/types.js').Component} component */
export default function mount({ element, props, trigger, watch }) {
  const [$, $$] = finders(element);
  const root = $('.compare'),
    tab = /** @type {HTMLElement} */ (document.querySelector('#compare'));
  const sheet = $('.sheet'),
    closeup = $('.closeup');
  const place = (row) => `${row.solver} ${row.asked}`;
  let state = null,
    laid = null,
    by = 'nfe',
    sorted = null;

  const known = () => state?.cells || [];
  const row = (solver) => state.rows.find((r) => r.solver === solver);
  const swatch = (solver) => {
    const { style } = row(solver),
      node = make('span', { className: `swatch ${style.dash}` });
    node.style.setProperty('--c', style.colour);
    return node;
  };

  // ---- the sheet
  const spacingOf = (solver) =>
    [
      ...new Set(
        known()
          .filter((c) => c.solver === solver)
          .map((c) => c.spacing),
      ),
    ].join(', ');
  function lay() {
    const { rows, nfes, pictures } = state;
    const signature = JSON.stringify([rows, nfes, pictures.ratio]);
    root.style.setProperty('--lines', state.with_rmse ? 3 : 2); // of a caption's numbers
    for (const [name, source] of [
      ['degraded', pictures.degraded],
      ['truth', pictures.truth],
    ]) {
      const figure = $(`[data-ref=${name}]`),
        image = figure.querySelector('img');
      if (!source) image.removeAttribute('src');
      else if (image.src !== source) image.src = source;
      figure.classList.toggle('unknown', !source);
    }
    root.style.setProperty('--degraded', `url("${pictures.degraded}")`);
    const { input } = state;
    $('.score').textContent = input
      ? `${input.psnr.toFixed(2)} dB · SWD ${input.swd.toFixed(3)}`
      : '\u00a0';
    if (signature === laid) return;
    laid = signature;
    root.style.setProperty('--ratio', Math.min(2.4, Math.max(0.5, pictures.ratio)));
    root.style.setProperty('--columns', nfes.length);
    const cells = rows.flatMap((r) => {
      const who = make(
        'div',
        { className: 'who' },
        swatch(r.solver),
        make('span', { textContent: r.label }),
        make('small'),
      );
      who.dataset.solver = r.solver;
      return [
        who,
        ...nfes.map((nfe, i) => {
          const cell = make('button', { type: 'button', className: 'cell', tabIndex: -1 });
          cell.dataset.key = place({ solver: r.solver, asked: nfe });
          cell.dataset.is = r.cells[i] ? 'empty' : 'impossible';
          cell.style.setProperty('--c', r.style.colour);
          cell.setAttribute(
            'aria-label',
            `${r.label}, ${nfe} NFE: ${r.cells[i] ? 'not run' : 'not possible'}`,
          );
          const frame = make(
            'span',
            { className: 'frame' },
            make('img', { alt: '', draggable: false }),
            make('span', {
              className: 'none',
              textContent: r.cells[i] ? '' : `cannot have ${nfe} NFE`,
            }),
          );
          cell.append(
            frame,
            make('span', { className: 'bar' }, make('i')),
            make('span', { className: 'caption', innerHTML: '&nbsp;' }),
          );
          return cell;
        }),
      ];
    });
    sheet.replaceChildren(
      ...nfes.map((nfe) =>
        make('div', { className: 'nfe' }, make('b', { textContent: nfe }), ' NFE'),
      ),
      ...cells,
    );
    const first = sheet.querySelector('.cell');
    if (first) first.tabIndex = 0;
    $('.legend').replaceChildren(...rows.map((r) => make('li', {}, swatch(r.solver), r.label)));
  }
  const cellAt = (key) => sheet.querySelector(`.cell[data-key="${CSS.escape(key)}"]`);
  const number = (value, digits) => (value == null ? '–' : value.toFixed(digits));
  function numbersOf(r) {
    const spent = r.nfe === r.asked ? '' : `${r.nfe} NFE spent`;
    const quality =
      r.psnr == null
        ? ''
        : `SSIM ${number(r.ssim, 3)} · SWD ${number(r.swd, 3)} · ST-LPIPS ${number(r.st_lpips, 3)}`;
    return [
      quality,
      r.rmse == null ? '' : `RMSE ${number(r.rmse, 2)}`,
      `${number(r.seconds, 2)} s`,
      spent,
    ]
      .filter(Boolean)
      .join(' · ');
  }
  function fill() {
    const done = new Set();
    for (const r of known()) {
      const cell = cellAt(place(r)),
        image = cell.querySelector('img'),
        caption = cell.querySelector('.caption');
      done.add(cell);
      cell.dataset.is = r.failure ? 'failed' : 'done';
      if (r.picture && image.src !== r.picture) image.src = r.picture;
      cell.querySelector('.none').textContent = r.failure ? `Failed: ${r.failure}` : '';
      const first = r.failure
        ? ''
        : r.psnr == null
          ? `${number(r.seconds, 2)} s`
          : `${number(r.psnr, 2)} dB`;
      caption.replaceChildren(
        make('b', { textContent: first || '\u00a0' }),
        make('small', { textContent: r.failure ? '' : numbersOf(r) }),
      );
      cell.setAttribute(
        'aria-label',
        `${row(r.solver).label}, ${r.asked} NFE: ${r.failure ? `failed, ${r.failure}` : `${first}, ${numbersOf(r)}`}`,
      );
    }
    for (const cell of $$('.cell')) {
      if (done.has(cell)) continue;
      if (cell.dataset.is !== 'impossible') cell.dataset.is = 'empty';
      cell.querySelector('img').removeAttribute('src');
      cell.querySelector('.caption').innerHTML = '&nbsp;';
    }
    const now = state.now && cellAt(`${state.now.solver} ${state.now.asked}`);
    for (const cell of $$('.cell'))
      cell.querySelector('.bar i').style.transform =
        `scaleX(${cell === now ? state.now.spent / state.now.asked : 0})`;
    if (now && now.dataset.is === 'empty') now.dataset.is = 'now';
    for (const who of $$('.who'))
      who.querySelector('small').textContent = spacingOf(who.dataset.solver);
    const all = state.rows.reduce((n, r) => n + r.cells.filter(Boolean).length, 0);
    $('.progress i').style.transform =
      `scaleX(${/running|waiting|stopped/.test(state.state) ? known().length / Math.max(1, all) : 0})`;
    for (const button of $$('[data-want]')) button.disabled = !known().length;
  }

  // ---- curves
  const plot = new Plot(
    $('.plot'),
    props.plotly,
    () => {
      const cells = known().filter((r) => !r.failure);
      const shown = METRICS.filter(([name]) => cells.some((r) => r[name] != null)),
        nothing = $('.nothing');
      nothing.hidden = shown.length > 0;
      nothing.textContent = cells.length
        ? 'The truth of this photo is unknown: quality cannot be measured, only time.'
        : 'The curves grow with the sheet.';
      const wide = root.clientWidth > 720;
      plot.place.style.height = shown.length ? `${wide ? 288 : 224 * shown.length}px` : '';
      return shown.length ? curves({ ...state, cells, by, wide, place, shown }) : null;
    },
    (graph) => {
      graph.on('plotly_hover', ({ points }) => light(points[0].customdata[0], graph));
      graph.on('plotly_unhover', () => light(null, graph));
      graph.on('plotly_click', ({ points }) => enlarge(points[0].customdata[0]));
    },
  );

  // ---- what is pointed at is shown everywhere
  let lit = null;
  function light(key, from = null) {
    if (key === lit) return;
    lit = key;
    for (const node of $$('.lit')) node.classList.remove('lit');
    if (key) {
      cellAt(key)?.classList.add('lit');
      $(`tr[data-key="${CSS.escape(key)}"]`)?.classList.add('lit');
    }
    if (!plot.wired || (from === plot.place && !key)) return;
    const points = [],
      axes = [];
    plot.place.data.forEach((trace, curveNumber) => {
      const pointNumber = trace.customdata.findIndex(([at]) => at === key);
      if (pointNumber < 0) return;
      points.push({ curveNumber, pointNumber });
      axes.push(trace.xaxis + trace.yaxis);
    });
    if (points.length) window.Plotly.Fx.hover(plot.place, points, axes);
    else window.Plotly.Fx.unhover(plot.place);
  }

  // ---- the table
  /** @type {[string, string, number | null][]} */
  const COLUMNS = [
    ['solver', 'sampler', null],
    ['nfe', 'NFE', 0],
    ['seconds', 'seconds', 2],
    ['psnr', 'PSNR, dB', 2],
    ['ssim', 'SSIM', 3],
    ['swd', 'SWD', 3],
    ['st_lpips', 'ST-LPIPS', 3],
    ['rmse', 'RMSE, 1/255', 2],
  ];
  const HIGHER = ['psnr', 'ssim'];
  function tabulate() {
    const columns = COLUMNS.filter(([name]) => name !== 'rmse' || state.with_rmse);
    const head = make(
      'tr',
      {},
      ...columns.map(([name, title]) => {
        const button = make('button', {
          type: 'button',
          textContent: title,
          title: `Sorts by ${title}; again turns it round`,
        });
        button.dataset.sort = name;
        const th = make('th', { scope: 'col' }, button);
        if (sorted?.name === name)
          th.setAttribute('aria-sort', sorted.down ? 'descending' : 'ascending');
        return th;
      }),
    );
    const focused = /** @type {HTMLElement} */ (document.activeElement),
      had = element.contains(focused) && focused.dataset.sort;
    $('thead').replaceChildren(head);
    if (had) $(`[data-sort=${had}]`)?.focus();
    const rows = [...known()];
    if (sorted && sorted.name !== 'solver') {
      const far = sorted.down ? -Infinity : Infinity;
      rows.sort(
        (a, b) => ((a[sorted.name] ?? far) - (b[sorted.name] ?? far)) * (sorted.down ? -1 : 1),
      );
    } else if (sorted?.down) rows.reverse();
    const best = {};
    for (const [name] of columns.slice(3)) {
      const values = rows.map((r) => r[name]).filter((v) => v != null);
      if (values.length > 1)
        best[name] = HIGHER.includes(name) ? Math.max(...values) : Math.min(...values);
    }
    const lines = rows.map((r) => {
      const line = make(
        'tr',
        {},
        make(
          'td',
          {},
          swatch(r.solver),
          row(r.solver).label,
          make('small', { textContent: r.spacing }),
        ),
      );
      line.dataset.key = place(r);
      if (r.failure) {
        const why = make('td', {
          textContent: 'failed',
          title: r.failure,
          colSpan: columns.length - 2,
        });
        line.append(make('td', { textContent: r.asked }), why);
        return line;
      }
      for (const [name, , digits] of columns.slice(1)) {
        // All that are as good as shown, as the verdict has it.
        const shown = number(r[name], digits),
          first = name in best && r[name] != null && shown === number(best[name], digits);
        line.append(make('td', { textContent: shown, className: first ? 'best' : '' }));
      }
      return line;
    });
    if (state.input) {
      const line = make(
        'tr',
        { className: 'input' },
        make('td', { textContent: 'degraded photo' }),
      );
      for (const [name, , digits] of columns.slice(1))
        line.append(make('td', { textContent: number(state.input[name], digits ?? 0) }));
      lines.unshift(line);
    }
    $('tbody').replaceChildren(...lines);
  }
  $('thead').addEventListener('click', ({ target }) => {
    const name = target.dataset.sort;
    if (!name) return;
    const down = HIGHER.includes(name);
    sorted =
      sorted?.name !== name ? { name, down } : sorted.down === down ? { name, down: !down } : null;
    tabulate();
  });
  $('tbody').addEventListener('mouseover', ({ target }) =>
    light(target.closest('tr')?.dataset.key || null),
  );
  $('tbody').addEventListener('mouseleave', () => light(null));

  // ---- the loupe: the same place of every picture
  let zoom = 2;
  function look(event) {
    const frame = event.target.closest?.('.frame');
    const mouse = event.pointerType === 'mouse' || closeup.open;
    if (!frame || !mouse || zoom === 1) return away();
    const box = frame.getBoundingClientRect();
    at((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }
  function at(x, y) {
    const inside = (value) => Math.min(1, Math.max(0, value));
    root.style.setProperty('--x', inside(x));
    root.style.setProperty('--y', inside(y));
    root.classList.add('magnify');
  }
  const away = () => root.classList.remove('magnify');
  for (const area of [$('.refs'), sheet, $('.pair')]) {
    area.addEventListener('pointermove', look);
    area.addEventListener('pointerdown', (event) => closeup.open && look(event));
    area.addEventListener('pointerleave', away);
  }
  function nudge(key) {
    const [x, y] = ['--x', '--y'].map((name) => +root.style.getPropertyValue(name) || 0.5);
    const by = 0.1,
      dx = { ArrowLeft: -by, ArrowRight: by }[key] || 0,
      dy = { ArrowUp: -by, ArrowDown: by }[key] || 0;
    if (zoom > 1) at(x + dx, y + dy);
  }
  sheet.addEventListener('mouseover', ({ target }) =>
    light(target.closest('.cell[data-is=done]')?.dataset.key || null),
  );
  sheet.addEventListener('mouseleave', () => light(null));

  // ---- by keyboard: arrows go from cell to cell
  const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  function neighbour(key, [down, across]) {
    const all = state.rows.map((r) =>
      state.nfes.map((asked) => place({ solver: r.solver, asked })),
    );
    const i = all.findIndex((line) => line.includes(key)),
      j = all[i].indexOf(key);
    return all[i + down]?.[j + across];
  }
  sheet.addEventListener('keydown', (event) => {
    const cell = event.target.closest('.cell');
    if (event.key === 'Escape') away();
    if (!cell || !ARROWS[event.key]) return;
    event.preventDefault();
    if (event.shiftKey) return nudge(event.key);
    const next = neighbour(cell.dataset.key, ARROWS[event.key]);
    if (!next) return;
    cell.tabIndex = -1;
    const node = cellAt(next);
    node.tabIndex = 0;
    node.focus();
  });
  sheet.addEventListener('click', ({ target }) => enlarge(target.closest('.cell')?.dataset.key));

  // ---- the close-up
  let beside = 'truth',
    open = null;
  function enlarge(key) {
    const r = known().find((other) => place(other) === key);
    if (!r || r.failure) return;
    open = key;
    const { label } = row(r.solver),
      other = state.pictures.truth ? beside : 'degraded';
    $('.closeup .swatch').replaceWith(swatch(r.solver));
    $('.closeup .title').textContent = `${label}, ${r.asked} NFE`;
    $('.mine').textContent = r.spacing;
    $('.numbers-line').textContent = [r.psnr == null ? '' : `${number(r.psnr, 2)} dB`, numbersOf(r)]
      .filter(Boolean)
      .join(' · ');
    Object.assign($('.left'), { src: r.picture, alt: `${label}, ${r.asked} NFE` });
    Object.assign($('.right'), { src: state.pictures[other], alt: other });
    for (const button of $$('[data-beside]')) {
      button.setAttribute('aria-pressed', button.dataset.beside === other);
      button.disabled = !state.pictures[button.dataset.beside];
    }
    if (!closeup.open) {
      away();
      closeup.showModal();
    }
  }
  function go(direction) {
    for (let key = neighbour(open, direction); key; key = neighbour(key, direction)) {
      if (known().some((r) => place(r) === key && !r.failure)) return enlarge(key);
    }
  }
  closeup.addEventListener('keydown', (event) => {
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    if (event.shiftKey) nudge(event.key);
    else go(ARROWS[event.key]);
  });
  closeup.addEventListener('close', () => {
    away();
    const cell = open && cellAt(open);
    open = null;
    if (!cell) return;
    for (const other of $$('.cell')) other.tabIndex = other === cell ? 0 : -1;
    cell.focus({ preventScroll: true });
  });
  closeup.addEventListener('click', (event) => {
    if (event.target === closeup) closeup.close();
  });
  $('.close').addEventListener('click', () => closeup.close());
  for (const button of $$('.step'))
    button.addEventListener('click', () => go([0, +button.dataset.step]));

  // ---- switches, downloads
  switches(element, (data) => {
    if (data.zoom) {
      zoom = +data.zoom;
      root.style.setProperty('--zoom', zoom);
      if (zoom === 1) away();
    }
    if (data.by) {
      by = data.by;
      plot.draw();
    }
    if (data.beside) {
      beside = data.beside;
      enlarge(open);
    }
  });
  for (const button of $$('[data-want]'))
    button.addEventListener('click', () => trigger('want', { kind: button.dataset.want }));

  // ---- updates
  const run = new Run(tab, {
    prefix: 'compare-',
    words: $('.say'),
    titles: {
      'compare-run': 'Makes the runs that are not there yet, the cheapest first',
      'compare-stop': 'Ends before the next step; what is there stays',
    },
    settled: (name) => {
      root.dataset.state = name;
    },
  });
  function apply() {
    const update = JSON.parse(props.value || null);
    if (!run.hears(update)) return;
    state = update.rows ? update : { ...state, ...update };
    run.say(update.say);
    if (state.rows) {
      lay();
      fill();
      tabulate();
      plot.draw(run.busy ? 0.1 : 1);
    }
    run.settle(update.state);
  }
  watch('value', apply);
  new ResizeObserver(() => plot.draw()).observe(root);
  plot.fetch();
  apply();
  trigger('opened');
}
