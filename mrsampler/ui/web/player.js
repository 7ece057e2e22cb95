// Which frame is looked at: the newest, one held by hand, or the next of a replay. While a race runs
// the frames go on arriving behind a view that is held.
const play = $('.play'), back = $('.back'), step = $('.step'), heldBadge = $('.held');
let at = 0, following = true, timer = null, awaited = false, startHeld = false;

function seek(index) {
  at = index;
  show(at);
  markBoth();
  controls();
}
function pause() {
  clearInterval(timer);
  timer = null;
  controls();
}
function hold() {
  pause();
  following = false;
  controls();
}
function restart() {
  at = 0;
  following = !startHeld;
  awaited = startHeld = false;
}
function arrived() {
  const last = frames.length - 1;
  if (following) at = last;
  else if (awaited && at < last) { at += 1; awaited = false; }
  show(at);
}
// What one step costs: some solvers make several evaluations in it, and one that is done makes none.
function cost(from, to) {
  if (!frames[from] || !frames[to]) return '';
  const made = KEYS.map((key) => [entrants[key].label, Math.abs(frames[to][key].nfe - frames[from][key].nfe)]).filter(([, nfe]) => nfe);
  if (made.length === 2 && made[0][1] === made[1][1]) return `: ${made[0][1]} NFE each`;
  return made.length ? `: ${made.map(([label, nfe]) => `${label} ${nfe} NFE`).join(', ')}` : '';
}
function named(button, words, key, more = '') {
  button.setAttribute('aria-label', words);
  button.title = `${words} (${key})${more}`;
}
function controls() {
  const moving = Boolean(timer || recording || (busy() && following));
  const ready = stage.dataset.state !== 'recording' && frames.length > 1;
  scrub.disabled = back.disabled = !ready;
  play.disabled = frames.length < 2;
  step.disabled = stage.dataset.state === 'recording' || (busy() && !frames.length) || (!busy() && frames.length > 0 && at >= frames.length - 1);
  named(back, `One step back${cost(at, at - 1)}`, '←');
  named(step, `One step on${cost(at, at + 1)}`, '→', frames.length ? '' : ': starts a race that is held at x_T');
  play.classList.toggle('playing', moving);
  play.setAttribute('aria-label', moving ? 'Pause' : 'Play the race again');
  heldBadge.hidden = !(busy() && frames.length && !following && !timer);
}
function toggle() {
  if (recording) return stopRecording();
  if (timer || (busy() && following)) return hold();
  if (at >= frames.length - 1 && !busy()) seek(0);
  timer = setInterval(() => {
    const ahead = frames.length - 1 - at; // of a running race ever more: it is caught up with
    if (ahead > 0) seek(at + (busy() ? Math.ceil(ahead / 6) : 1));
    if (at < frames.length - 1) return;
    following = busy();
    pause();
  }, 90);
  controls();
}
function move(by) {
  if (!frames.length) {
    if (by < 0 || busy()) return;
    startHeld = true; // the run begins with a view held at x_T
    document.querySelector('#run').click();
    return;
  }
  hold();
  const next = at + by;
  if (next >= 0 && next < frames.length) seek(next);
  else awaited = by > 0 && busy();
  controls();
}
scrub.addEventListener('input', () => { hold(); seek(+scrub.value); controls(); });
play.addEventListener('click', toggle);
back.addEventListener('click', () => move(-1));
step.addEventListener('click', () => move(1));

const TAKEN = 'input:not(.scrub), textarea, select, [contenteditable], [role=tab], [role=slider], [role=listbox], summary';
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !element.offsetParent || event.target.closest?.(TAKEN)) return;
  if (stage.dataset.state === 'recording' && event.key !== ' ') return;
  const onScrub = event.target === scrub; // its own arrows move it
  if (event.key === ' ' && !event.target.closest?.('button, a, label') && !play.disabled) toggle();
  else if (event.key === 'ArrowRight' && !onScrub && frames.length) move(1);
  else if (event.key === 'ArrowLeft' && !onScrub && frames.length) move(-1);
  else return;
  event.preventDefault();
});

for (const group of element.querySelectorAll('.switch')) {
  group.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    for (const b of group.querySelectorAll('button')) b.setAttribute('aria-pressed', b === button);
    const { view: seen, dims: flat, metric: measured, against: axis } = button.dataset;
    if (seen) {
      view = seen;
      for (const s of element.querySelectorAll('.shown')) s.innerHTML = button.innerHTML;
      show(at);
    }
    if (flat) turn(+flat);
    if (measured) { metric = measured; curve.draw(); }
    if (axis) { against = axis; curve.draw(); }
  });
}
