// How answers are made: the dialog, what it accepts, and where it is kept.  An empty field means: as the server has it.
import { $, el, ask } from './dom.js';
import * as store from './store.js';

const EMPTY = { system: '', thinking: '', thinking_budget: '', temperature: '', top_p: '', top_k: '', min_p: '', seed: '', max_tokens: '', tools: '', schema: '', theme: '' };
export const values = { ...EMPTY };

const NUMBERS = [
  { name: 'temperature', label: 'Temperature', min: 0, max: 2, step: 'any', hint: '0: always the likeliest token' },
  { name: 'top_p', label: 'Top-p', min: 0, max: 1, step: 'any' },
  { name: 'top_k', label: 'Top-k', min: 0, max: 1000000, step: 1, hint: '0: off' },
  { name: 'min_p', label: 'Min-p', min: 0, max: 1, step: 'any', hint: '0: off' },
  { name: 'seed', label: 'Seed', min: 0, max: 2 ** 31, step: 1, hint: 'same seed, same text', fallback: 'fresh' },
  { name: 'max_tokens', label: 'Most tokens', min: 1, max: 1000000, step: 1, hint: 'empty: until the context is full' },
  { name: 'thinking_budget', label: 'Tokens of thought', min: 1, max: 1000000, step: 1, hint: 'at most; when thinking is on', fallback: '4096' },
];

const LONG = [
  { name: 'tools', label: 'Tools', placeholder: '[{ "name": "weather", "description": "…", "parameters": { "type": "object", … } }]',
    hint: 'A JSON list of functions. The model asks for a call, you paste its result.' },
  { name: 'schema', label: 'JSON schema of the answer', placeholder: '{ "type": "object", "properties": { … } }', hint: 'The answer will be JSON that obeys it.' },
];

function field(label, input, hint) {
  input.id = `set-${input.name}`;
  if (hint) input.setAttribute('aria-describedby', `${input.id}-hint`);
  return el('div', { class: 'field' }, el('label', { for: input.id }, label), input, hint ? el('p', { class: 'hint', id: `${input.id}-hint` }, hint) : null);
}

function choice(name, label, options, hint) {
  const box = el('select', { name }, ...options.map(([value, text]) => el('option', { value }, text)));
  box.value = values[name];
  return field(label, box, hint);
}

function fill(server) {
  const defaults = server?.model.defaults ?? {}, said = n => defaults[n.name] ?? n.fallback ?? '';
  const shown = v => typeof v === 'number' ? String(Math.round(v * 10000) / 10000) : v;
  $('settings-body').replaceChildren(
    field('System prompt', el('textarea', { name: 'system', rows: 4, value: values.system, placeholder: 'You are …' })),
    choice('thinking', 'Thinking', [['', server ? `as the server has it (${server.model.thinking ? 'on' : 'off'})` : 'as the server has it'], ['on', 'on'], ['off', 'off']]),
    el('div', { class: 'grid' }, ...NUMBERS.map(n => field(n.label, el('input', { name: n.name, type: 'number', inputmode: 'decimal', min: n.min, max: n.max, step: n.step,
      value: values[n.name], placeholder: shown(said(n)) }), n.hint))),
    ...LONG.map(l => field(l.label, el('textarea', { name: l.name, rows: 5, class: 'mono', spellcheck: 'false', value: values[l.name], placeholder: l.placeholder }), l.hint)),
    choice('theme', 'Colours', [['', 'as the system has it'], ['light', 'light'], ['dark', 'dark']]));
}

function parse(name, text) {
  try { return JSON.parse(text); } catch (e) { throw new Error(`${name}: ${e.message}`); }
}

// What is wrong, or ''.
function check(v) {
  try {
    const tools = v.tools ? parse('Tools', v.tools) : [];
    if (!Array.isArray(tools) || !tools.every(t => typeof (t?.name ?? t?.function?.name) === 'string')) return 'Tools: a list of functions is wanted, each with a name';
    const schema = v.schema ? parse('JSON schema', v.schema) : {};
    if (!schema || typeof schema !== 'object' || Array.isArray(schema)) return 'JSON schema: an object is wanted';
  } catch (e) {
    return e.message;
  }
  return '';
}

export function applyTheme() {
  if (values.theme) document.documentElement.dataset.theme = values.theme;
  else delete document.documentElement.dataset.theme;
}

const read = () => Object.fromEntries(Object.keys(EMPTY).map(n => [n, $(`set-${n}`).value.trim()]));

// server: what /status said, or null.
export async function open(server) {
  fill(server);
  $('settings-error').textContent = '';
  $('settings-defaults').onclick = () => {
    for (const n of Object.keys(EMPTY)) if (n !== 'theme') $(`set-${n}`).value = '';
  };
  const dialog = $('settings'), asked = ask(dialog, $('settings-cancel')), form = dialog.querySelector('form');
  form.onsubmit = async e => {
    e.preventDefault();
    const wrong = check(read());
    $('settings-error').textContent = wrong;
    if (wrong) return;
    Object.assign(values, read());
    applyTheme();
    try {
      await store.putSettings({ ...values });
      dialog.close('yes');
    } catch (error) {
      $('settings-error').textContent = `They hold until the page is closed, but could not be kept: ${error.message}`;
    }
  };
  await asked;
}

export async function load() {
  const kept = await store.settings();
  for (const n of Object.keys(EMPTY)) if (typeof kept?.[n] === 'string') values[n] = kept[n];
  if (check(values)) values.tools = values.schema = '';
  applyTheme();
}
