// The status view: what runs, speed, cache, memory; asked every two seconds while it is seen.
import { $, el } from './dom.js';
import { status } from './api.js';
import { plot } from './plot.js';

const EVERY_MS = 2000, STATES = { waiting: 'waiting', prompt: 'reading', answer: 'answering' };
let timer = null;

const size = bytes => bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
const count = n => n.toLocaleString('en');
const share = (part, whole) => whole ? `${Math.round(100 * part / whole)} %` : '–';

function duration(seconds) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min']].filter(([s]) => seconds >= s).slice(0, 1);
  return parts.length ? `${Math.floor(seconds / parts[0][0])} ${parts[0][1]}` : `${Math.floor(seconds)} s`;
}

const facts = list => el('dl', {}, ...list.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));

function requests(list, others) {
  const some = others.running + others.waiting;
  const hint = some ? `Of other keys ${count(others.running)} run and ${count(others.waiting)} wait.` : list.length ? '' : 'Nothing runs or waits.';
  const said = hint ? [el('p', { class: 'hint' }, hint)] : [];
  if (!list.length) return said;
  const head = ['Request', 'State', 'For', 'Prompt', 'Cached', 'Answer'];
  return [...said, el('div', { class: 'wide', tabindex: '0', role: 'region', 'aria-label': 'Requests' }, el('table', {}, el('thead', {}, el('tr', {}, head.map(h => el('th', { scope: 'col' }, h)))),
    el('tbody', {}, list.map(r => el('tr', {}, el('td', { class: 'mono' }, r.id.slice(-8)), el('td', {}, STATES[r.state] ?? r.state), el('td', {}, `${r.seconds.toFixed(1)} s`),
      el('td', {}, r.prompt_tokens ? `${count(r.prompt_done)} of ${count(r.prompt_tokens)}` : '–'), el('td', {}, count(r.cached_tokens)), el('td', {}, count(r.answer_tokens)))))))];
}

// Mean of the steps in which something happened, of the newest minute.
function recent(values, step) {
  const busy = values.slice(-Math.round(60 / step)).filter(v => v > 0);
  return busy.length ? busy.reduce((a, b) => a + b, 0) / busy.length : 0;
}

function speed(s, kind, title) {
  const now = recent(s[kind], s.step_seconds), text = `${now.toFixed(now < 10 ? 1 : 0)} tokens/s in the last minute`;
  return el('figure', {}, el('figcaption', {}, el('strong', {}, title), ` ${text}`), plot(s[kind], s.step_seconds, kind, `${title}: ${text}`));
}

function memory(m) {
  const parts = [['weights', 'Weights'], ['cache', 'Cache of the attention'], ['adapters', 'Adapters'], ['buffers', 'Buffers']].filter(([k]) => m[k] || k !== 'adapters'), all = parts.reduce((n, [k]) => n + m[k], 0);
  const bar = el('div', { class: 'memory', 'aria-hidden': 'true' }, ...parts.map(([k]) => el('i', { class: k })));
  parts.forEach(([k], i) => { bar.children[i].style.width = `${100 * m[k] / Math.max(all, m.machine)}%`; });
  return [bar, facts([...parts.map(([k, name]) => [name, size(m[k])]), ['Most that the process had', size(m.peak)], ['Free on the machine', `${size(m.available)} of ${size(m.machine)}`]])];
}

// Nothing without a folder for it.
function disk(d) {
  if (!d.bytes_max) return [];
  return [el('h3', {}, 'Cache on disk'), facts([['In use', `${size(d.bytes)} of ${size(d.bytes_max)}`], ['Files', count(d.files)], ['Tokens that came back', count(d.tokens)],
    ['Written', count(d.written)], ['Read', count(d.read)], ['Failed', count(d.failed)]])];
}

function show(s) {
  const t = s.totals;
  $('status-body').replaceChildren(
    facts([['Model', s.model.id], ['Size', `${s.model.size}, ${size(s.model.file_bytes)}`], ['Context', `${count(s.engine.ctx)} tokens`], ['At once', `${s.engine.parallel} requests`],
      ['State', s.status], ['Up for', duration(Date.now() / 1000 - s.started)], ['Version', s.version]]),
    el('h3', {}, 'Requests'), facts([['Running', count(t.running)], ['Waiting', `${count(t.waiting)} of at most ${count(s.engine.queue)}`], ['Refused', count(t.refused)]]), ...requests(s.requests, s.others),
    el('h3', {}, 'Speed'), el('div', { class: 'plots' }, speed(s.speed, 'answer', 'Answers'), speed(s.speed, 'prompt', 'Prompts')),
    el('h3', {}, 'Tokens since the start'), facts([['Of prompts', count(t.prompt_tokens)], ['Found in the cache', `${count(t.cached_tokens)} (${share(t.cached_tokens, t.prompt_tokens)})`],
      ['Of answers', count(t.answer_tokens)]]),
    el('h3', {}, 'Cache'), facts([['In use', `${count(s.cache.tokens)} of ${count(s.cache.tokens_max)} tokens`], ['Places to go on from', `${count(s.cache.checkpoints)} of ${count(s.cache.checkpoints_max)}`],
      ['Forgotten', count(s.cache.evicted)], ['Requests set back', count(s.cache.preempted)]]), ...disk(s.cache.disk),
    el('h3', {}, 'Memory'), ...memory(s.memory));
}

async function tick() {
  try {
    if (document.visibilityState === 'visible') show(await status());
  } catch (e) {
    $('status-body').replaceChildren(el('p', { class: 'error', role: 'alert' }, `No status: ${e.message}.`));
    if (e.status === 401) return;
  }
  if (timer !== null) timer = setTimeout(tick, EVERY_MS);
}

export function begin() {
  if (timer !== null) return;
  timer = 0;
  tick();
}

export function end() {
  clearTimeout(timer);
  timer = null;
}
