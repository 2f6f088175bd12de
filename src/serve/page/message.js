// One message as elements.  acts: what its buttons do (chat.js).
import { el, button, copy } from './dom.js';
import { render } from './markdown.js';
import { runs, answerNow } from './answer.js';
import * as tree from './tree.js';

const round = (v, digits) => Number(v).toFixed(digits);
const time = seconds => `${round(seconds, seconds < 10 ? 1 : 0)} s`;

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

// ---- buttons below

function branches(c, node, acts) {
  const list = tree.parentOf(c, node).children, at = list.indexOf(node.id);
  if (list.length < 2) return null;
  const step = (by, sign, label) => button(sign, () => acts.branch(node, by), { class: 'quiet', 'aria-label': label, disabled: at + by < 0 || at + by >= list.length,
    'data-key': `branch${by}` });
  return el('span', { class: 'branches', role: 'group', 'aria-label': 'Versions' }, step(-1, '‹', 'Earlier version'), el('span', {}, `${at + 1}/${list.length}`), step(1, '›', 'Later version'));
}

function copyButton(text) {
  const b = button('Copy', async () => {
    await copy(text());
    b.textContent = 'Copied';
    setTimeout(() => b.textContent = 'Copy', 2000);
  }, { class: 'quiet' });
  return b;
}

export function numbers(s) {
  if (!s) return '';
  return [s.first !== undefined && `${round(s.first, 2)} s to the first token`, s.rate && `${round(s.rate, 1)} tokens/s`,
    s.tokens && `${s.tokens} tokens${s.thought ? `, ${s.thought} of them thought` : ''}`,
    s.prompt && `prompt ${s.prompt}${s.cached ? `, ${s.cached} from the cache` : ''}`].filter(Boolean).join(' · ');
}

// ---- editing

// A form in the message's place: fields, then two buttons.
function form(labels, values, yes, done, cancel) {
  const areas = labels.map((label, i) => el('textarea', { 'aria-label': label, rows: 3, value: values[i] }));
  return el('form', { class: 'edit', 'aria-label': labels.join(', '), onsubmit: e => { e.preventDefault(); done(areas.map(a => a.value)); },
    onkeydown: e => { if (e.key === 'Escape' && cancel) { e.stopPropagation(); cancel(); } else if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) e.target.form?.requestSubmit(); } },
  ...labels.map((label, i) => labels.length > 1 || label.startsWith('Result') ? el('label', {}, label, areas[i]) : areas[i]),
  el('div', { class: 'row' }, cancel ? button('Cancel', cancel, { class: 'quiet' }) : null, el('button', { type: 'submit' }, yes)));
}

const resultForm = (calls, values, done, cancel) => form(calls.map(k => `Result of ${k.name}`), values, calls.length > 1 ? 'Send the results' : 'Send the result', done, cancel);

// ---- kinds

function user(c, node, acts) {
  if (acts.isEdited(node)) return [form(['Your message'], [node.content], 'Send', ([text]) => acts.edited(node, { content: text }), () => acts.edit(null))];
  return [el('div', { class: 'text' }, node.content),
    el('footer', {}, branches(c, node, acts), button('Edit', () => acts.edit(node), { class: 'quiet', 'data-key': 'edit' }), copyButton(() => node.content))];
}

function tool(c, node, acts) {
  if (acts.isEdited(node)) {
    return [resultForm(node.results, node.results.map(r => r.content),
      texts => acts.edited(node, { results: node.results.map((r, i) => ({ ...r, content: texts[i] })) }), () => acts.edit(null))];
  }
  return [...node.results.map(r => el('div', { class: 'call' }, el('h2', {}, `Result of ${r.name}`), el('pre', { tabindex: '0' }, pretty(r.content)))),
    el('footer', {}, branches(c, node, acts), button('Edit', () => acts.edit(node), { class: 'quiet', 'data-key': 'edit' }))];
}

function thoughtSummary(node, run) {
  if (run?.thinking && !run.thinking.over) return `Thinking: ${time((performance.now() - run.thinking.since) / 1000)}, about ${run.thinking.pieces} tokens`;
  const s = node.stats ?? {};
  return `Thought${s.thinking !== undefined ? ` for ${time(s.thinking)}` : ''}${s.thought ? `, ${s.thought} tokens` : ''}`;
}

function ending(node) {
  if (node.end === 'stopped') return 'Stopped.';
  if (node.end === 'length') return 'Cut off: the limit of tokens is reached, or the context is full.';
  return '';
}

function assistant(c, node, acts) {
  return [
    el('details', { class: 'thought', hidden: true }, el('summary', {}), el('div', { class: 'markdown' })),
    button('Answer now', answerNow, { class: 'now quiet', hidden: true, title: 'Ends the thought; the question is answered without one' }),
    el('p', { class: 'waiting', hidden: true }, el('span', { class: 'dots', 'aria-hidden': 'true' }, '●●●'), el('span', {}, 'Reading')),
    el('div', { class: 'answer markdown' }),
    el('div', { class: 'calls' }),
    el('p', { class: 'ending', hidden: true }),
    el('div', { class: 'error', role: 'alert' }),
    el('footer', {}, branches(c, node, acts), button('Again', () => acts.again(node), { class: 'quiet', 'data-key': 'again', 'aria-label': 'Answer again' }),
      copyButton(() => node.content), el('span', { class: 'numbers' }))];
}

function callsOf(node, run, answered, acts) {
  const shown = node.calls.map(k => el('div', { class: 'call' }, el('h2', {}, `Call of ${k.name}`), el('pre', { tabindex: '0' }, pretty(k.arguments))));
  if (!node.calls.length || run || answered) return shown;
  return [...shown, resultForm(node.calls, node.calls.map(() => ''), texts => acts.results(node, node.calls.map((k, i) => ({ id: k.id, name: k.name, content: texts[i] }))), null)];
}

// Brings what changes of an answer up to date.  full: the calls too, which may hold what somebody types.
export function update(article, node, acts, full) {
  const run = runs(node), part = name => article.querySelector(name);
  const details = part('.thought'), thinking = !!run?.thinking && !run.thinking.over;
  details.hidden = !node.thought;
  part('summary').textContent = thoughtSummary(node, run);
  if (node.thought) render(details.lastChild, node.thought);
  part('.now').hidden = !thinking;
  part('.waiting').hidden = !(run && !node.thought && !node.content && !node.calls.length);
  render(part('.answer'), node.content);
  if (full) part('.calls').replaceChildren(...callsOf(node, run, node.children.length > 0, acts));
  part('.ending').textContent = ending(node);
  part('.ending').hidden = !ending(node);
  if (full) part('.error').replaceChildren(...(node.error ? [el('span', {}, `No answer: ${node.error}.`), button('Try again', () => acts.again(node), { class: 'quiet' })] : []));
  part('footer').hidden = !!run;
  part('.numbers').textContent = numbers(node.stats);
  article.setAttribute('aria-busy', run ? 'true' : 'false');
}

const KINDS = { user, tool, assistant }, NAMES = { user: 'You', tool: 'Tool', assistant: 'Gemma' };

export function message(c, node, acts) {
  const article = el('article', { class: node.role, 'aria-label': NAMES[node.role], 'data-id': node.id }, ...KINDS[node.role](c, node, acts));
  if (node.role === 'assistant') update(article, node, acts, true);
  return article;
}
