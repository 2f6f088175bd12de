// The list of conversations: search, import, export, delete.
import { $, el, confirmed, save } from './dom.js';
import * as chat from './chat.js';
import * as store from './store.js';
import * as tree from './tree.js';

const records = new Map();       // by id; what is stored
const open = new Map();          // conversations in memory, so that one which is being answered stays the same
const gone = new Set();          // deleted here or in another tab: an answer that ends late does not bring one back
const tabs = new BroadcastChannel('facet');

const day = time => new Date(time).toISOString().slice(0, 10);
const file = (name, end) => `${name.replace(/[^\p{L}\p{N}._-]+/gu, '-').slice(0, 60) || 'conversation'}.${end}`;

export function draw() {
  const words = $('search').value.toLowerCase().split(/\s+/).filter(Boolean), now = chat.current().id;
  const list = [...records.values()].filter(r => tree.contains(r, words)).sort((a, b) => b.updated - a.updated);
  $('list').replaceChildren(...list.map(r => el('li', {}, el('a', { href: `#c=${r.id}`, 'aria-current': r.id === now ? 'page' : null, title: r.title }, r.title || 'Untitled'))));
  $('none').hidden = list.length > 0 || !words.length;
}

export async function load() {
  for (const r of await store.all()) records.set(r.id, r);
}

function remember(conversation) {
  records.set(conversation.id, tree.toRecord(conversation));
  open.set(conversation.id, conversation);
}

// Another tab may have gone on with it: what is stored is taken in first.  back: it may have been deleted before.
export async function keep(conversation, back = false) {
  const { id } = conversation, first = !records.has(id);
  if (gone.has(id)) return;
  remember(conversation);
  if (first && chat.current() === conversation) history.replaceState(null, '', `#c=${id}`);
  draw();
  try {
    let came = false;
    await store.update(id, was => {
      came = was !== undefined && tree.absorb(conversation, was, chat.isOurs);
      return tree.toRecord(conversation);
    });
    tabs.postMessage({ kept: id, back });
    if (came) refresh(conversation);
  } catch (e) {
    chat.notice(`This conversation could not be kept: ${e.message}.`);
  }
}

function refresh(conversation) {
  remember(conversation);
  if (chat.current() === conversation) chat.refresh();
  draw();
}

// What another tab has done.
async function hear({ kept, back, forgotten }) {
  if (forgotten) {
    forget(forgotten);
    return;
  }
  if (back) gone.delete(kept);
  if (gone.has(kept)) await store.remove(kept);          // written before that tab had heard of it
  const record = await store.get(kept);
  if (!record) return;
  const own = open.get(kept);
  if (!own) records.set(kept, record);
  else if (tree.absorb(own, record, chat.isOurs)) refresh(own);
  draw();
}

// The conversation with this id, or null.
export function find(id) {
  if (!open.has(id) && records.has(id)) {
    try { open.set(id, tree.fromRecord(records.get(id))); } catch { return null; }
  }
  return open.get(id) ?? null;
}

function forget(ids) {
  for (const id of ids) {
    gone.add(id);
    records.delete(id);
    open.delete(id);
  }
  if (ids.includes(chat.current().id)) {
    chat.stop();
    history.replaceState(null, '', location.pathname);
    chat.show(tree.newConversation());
  }
  draw();
}

// ---- files

const parcel = list => JSON.stringify({ format: tree.FORMAT, version: 1, conversations: list }, null, 1);

// Those that are there already, as they are, are not taken twice.  Gives how many were taken.
export async function importText(text) {
  const all = JSON.parse(text);
  if (all?.format !== tree.FORMAT || !Array.isArray(all.conversations)) throw new Error('it holds no conversations of this page');
  const fresh = all.conversations.map(tree.fromRecord).filter(c => records.get(c.id)?.updated !== c.updated);
  for (const c of fresh) {
    if (records.has(c.id)) c.id = tree.newId();
    gone.delete(c.id);
    await keep(c, true);
  }
  return fresh.length;
}

async function importFile() {
  const chosen = $('import-file').files[0];
  $('import-file').value = '';
  if (!chosen) return;
  try {
    const n = await importText(await chosen.text());
    chat.notice(`${n} ${n === 1 ? 'conversation was' : 'conversations were'} imported.`);
  } catch (e) {
    chat.notice(`“${chosen.name}” could not be imported: ${e.message}.`);
  }
}

async function removeThis() {
  const c = chat.current();
  if (!await confirmed('Delete this conversation?', `“${c.title}” cannot be brought back.`, 'Delete')) return;
  forget([c.id]);
  await store.remove(c.id);
  tabs.postMessage({ forgotten: [c.id] });
  $('input').focus();
}

async function removeAll() {
  const n = records.size;
  if (!await confirmed('Delete everything?', `${n} ${n === 1 ? 'conversation' : 'conversations'} cannot be brought back.`, 'Delete all')) return;
  const ids = [...records.keys()];
  forget(ids);
  await store.clear();
  tabs.postMessage({ forgotten: ids });
  $('input').focus();
}

export function start() {
  tabs.onmessage = e => hear(e.data);
  $('search').oninput = draw;
  $('import').onclick = () => $('import-file').click();
  $('import-file').onchange = importFile;
  $('export').onclick = () => save(`facet-${day(Date.now())}.json`, 'application/json', parcel([...records.values()]));
  $('export-json').onclick = () => save(file(chat.current().title, 'json'), 'application/json', parcel([tree.toRecord(chat.current())]));
  $('export-markdown').onclick = () => save(file(chat.current().title, 'md'), 'text/markdown', tree.toMarkdown(chat.current()));
  $('delete').onclick = removeThis;
  $('delete-all').onclick = removeAll;
}
