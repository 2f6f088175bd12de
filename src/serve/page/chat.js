// The conversation that is shown: its messages, and what is done to them.
import { $ } from './dom.js';
import { answer, isRunning, runs, stop } from './answer.js';
import { message, update } from './message.js';
import { grow, say } from './speak.js';
import * as tree from './tree.js';

let c = tree.newConversation(), edited = null, drawing = 0, kept = null, server = null;
const hooks = { changed: async () => {} };       // changed(conversation): it is to be stored

export const current = () => c;
export const isOurs = node => runs(node) !== null;       // it is being written in this tab
export const setServer = s => { server = s; drawContext(); };
export const onChange = f => { hooks.changed = f; };

const acts = {
  isEdited: node => edited === node,
  edit(node) {
    const was = edited ?? node;
    edited = node;
    draw();
    const article = $('messages').querySelector(`[data-id="${was.id}"]`);
    article?.querySelector(node ? 'textarea' : '[data-key=edit]')?.focus();
  },
  edited(node, fields) {
    if (refuseBusy()) return;
    edited = null;
    proceed(tree.add(c, tree.parentOf(c, node), { role: node.role, ...fields }));
  },
  branch(node, by) {
    const parent = tree.parentOf(c, node);
    parent.chosen = parent.children.indexOf(node.id) + by;
    draw();
    keep();
  },
  again: node => { if (!refuseBusy()) proceed(tree.parentOf(c, node)); },
  results(node, results) { if (!refuseBusy()) proceed(tree.add(c, node, { role: 'tool', results })); },
};

export function notice(text) {
  $('notice').textContent = text;
}

function refuseBusy() {
  if (isRunning()) notice('An answer is being written: stop it first.');
  return isRunning();
}

// ---- showing

function drawContext() {
  const last = tree.path(c).findLast(n => n.stats?.prompt), most = server?.engine.ctx, used = last ? last.stats.prompt + (last.stats.tokens ?? 0) : 0;
  $('room').hidden = !last || !most;
  if (!last || !most) return;
  $('context').setAttribute('aria-valuemax', most);
  $('context').setAttribute('aria-valuenow', used);
  $('context').firstChild.style.width = `${Math.min(100, 100 * used / most)}%`;
  $('context-text').textContent = `${used} of ${most} tokens of context`;
}

// Everything anew; a button that had the focus has it again.
export function draw() {
  const focus = document.activeElement, key = focus?.dataset?.key, place = key && [...$('messages').children].indexOf(focus.closest('article'));
  const nodes = tree.path(c);
  $('messages').replaceChildren(...nodes.map(n => message(c, n, acts)));
  if (key) {
    const article = $('messages').children[place], same = article?.querySelector(`[data-key="${key}"]`);
    (same?.disabled ? article.querySelector('.branches button:enabled') : same)?.focus();
  }
  $('empty').hidden = nodes.length > 0;
  $('bar').hidden = nodes.length === 0;
  if (document.activeElement !== $('title')) $('title').value = c.title;
  drawContext();
  drawButtons();
}

// Something came from another tab.  Who is typing is left alone; it is seen with the next change.
export function refresh() {
  const follow = isAtEnd();
  if (edited || document.activeElement?.closest('#messages form')) return;
  draw();
  if (follow) toEnd();
}

export function drawButtons() {
  $('send').hidden = isRunning();
  $('stop').hidden = !isRunning();
}

const isAtEnd = () => $('scroll').scrollHeight - $('scroll').scrollTop - $('scroll').clientHeight < 80;
const toEnd = () => { $('scroll').scrollTop = $('scroll').scrollHeight; };

// Once per frame while an answer grows.
function drawSoon(node) {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    const article = $('messages').querySelector(`[data-id="${node.id}"]`), follow = isAtEnd();
    if (!article || !runs(node)) return;
    update(article, node, acts, false);
    grow(node, false);
    if (follow) toEnd();
  });
}

// ---- doing

function keep() {
  c.updated = Date.now();
  return hooks.changed(c);
}

// Answers below this message.
async function proceed(parent) {
  const own = c;
  let shown = false;
  notice('');
  const over = answer(own, parent, node => {
    if (!shown) {
      shown = true;
      hooks.changed(own);                // the question is kept before it is answered
      if (own === c) { draw(); toEnd(); }
    }
    if (own === c) drawSoon(node);
    kept ??= setTimeout(() => { kept = null; hooks.changed(own); }, 1000);       // a reload loses little
  });
  const node = await over;
  clearTimeout(kept);
  kept = null;
  own.updated = Date.now();
  if (own === c) {
    const follow = isAtEnd();
    draw();
    if (follow) toEnd();
    grow(node, true);
    if (node.end === 'stopped') say('Stopped');
  }
  drawButtons();
  await hooks.changed(own);
}

export function send(text) {
  if (!text.trim() || refuseBusy()) return false;
  const last = tree.path(c).at(-1) ?? c.root;
  if (!c.title) c.title = tree.titleOf(text);
  edited = null;
  proceed(tree.add(c, last, { role: 'user', content: text }));
  return true;
}

export function rename(title) {
  c.title = title.trim() || c.title;
  keep();
}

export function show(conversation) {
  c = conversation;
  edited = null;
  notice('');
  draw();
  toEnd();
}

export { stop };
