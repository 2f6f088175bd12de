// A conversation is a tree of messages: an edit or another answer is a new branch beside the old one.
//
// Node: { id, parent, role: 'user' | 'assistant' | 'tool', children, chosen (index), … }; the root has no role.
//   user:      content
//   assistant: content, thought, calls: [{ id, name, arguments }], stats, end, error
//   tool:      results: [{ id, name, content }]
// A record is what is stored and exported: the same without children, parents before children.

export const FORMAT = 'facet-conversations';

const LIMITS = { nodes: 20000, text: 8 << 20, calls: 256, title: 200 };

// crypto.randomUUID is missing in pages that come from other machines without TLS.
export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map(b => b.toString(16).padStart(2, '0')).join('');
}

export function newConversation() {
  const now = Date.now();
  return { id: newId(), title: '', created: now, updated: now, nodes: new Map(), root: { id: '', children: [], chosen: 0 } };
}

export const parentOf = (c, node) => node.parent ? c.nodes.get(node.parent) : c.root;

export function add(c, parent, fields) {
  const node = { id: newId(), parent: parent.id, children: [], chosen: 0, created: Date.now(), ...fields };
  c.nodes.set(node.id, node);
  parent.chosen = parent.children.push(node.id) - 1;
  return node;
}

// The chosen messages, first to last.
export function path(c) {
  const list = [];
  for (let node = c.root; node.children.length;) list.push(node = c.nodes.get(node.children[node.chosen]));
  return list;
}

// The messages up to and with this node.
export function pathTo(c, node) {
  const list = [];
  for (; node && node.id; node = parentOf(c, node)) list.unshift(node);
  return list;
}

export function titleOf(text) {
  const line = text.trim().split('\n', 1)[0].replace(/\s+/g, ' ');
  return line.length > 60 ? line.slice(0, 59).trimEnd() + '…' : line || 'Untitled';
}

export function contains(record, words) {
  const text = [record.title, ...record.nodes.map(n => n.content ?? '')].join('\n').toLowerCase();
  return words.every(w => text.includes(w));
}

// ---- records

export function toRecord(c) {
  const nodes = [], stack = [...c.root.children].reverse();
  while (stack.length) {
    const node = c.nodes.get(stack.pop());
    const { children, ...fields } = node;
    nodes.push(fields);
    stack.push(...[...children].reverse());
  }
  return { id: c.id, title: c.title, created: c.created, updated: c.updated, chosen: c.root.chosen, nodes };
}

const text = (v, max = LIMITS.text) => typeof v === 'string' ? v.slice(0, max) : '';
const number = v => Number.isFinite(v) ? v : 0;
const list = v => Array.isArray(v) ? v : [];
const calls = v => list(v).slice(0, LIMITS.calls).map(k => ({ id: text(k?.id, 200), name: text(k?.name, 500), arguments: text(k?.arguments) }));
const results = v => list(v).slice(0, LIMITS.calls).map(k => ({ id: text(k?.id, 200), name: text(k?.name, 500), content: text(k?.content) }));

function readStats(v) {
  const names = ['first', 'seconds', 'prompt', 'cached', 'tokens', 'thought', 'thinking', 'rate'];
  return v && typeof v === 'object' ? Object.fromEntries(names.filter(n => Number.isFinite(v[n])).map(n => [n, v[n]])) : undefined;
}

const READERS = {
  user: n => ({ content: text(n.content) }),
  assistant: n => ({ content: text(n.content), thought: text(n.thought), calls: calls(n.calls), stats: readStats(n.stats),
                     end: text(n.end, 20), error: text(n.error, 2000) }),
  tool: n => ({ results: results(n.results) }),
};

// Files come from anywhere: only known fields of the right kind are taken.  Throws when it is no conversation.
export function fromRecord(r) {
  if (!r || typeof r !== 'object' || !Array.isArray(r.nodes)) throw new Error('a conversation has no list of messages');
  if (r.nodes.length > LIMITS.nodes) throw new Error(`a conversation has more than ${LIMITS.nodes} messages`);
  const c = newConversation();
  if (/^[\w-]{1,64}$/.test(text(r.id))) c.id = r.id;          // it stands in the address
  c.title = text(r.title, LIMITS.title);
  c.created = number(r.created) || c.created;
  c.updated = number(r.updated) || c.updated;
  for (const n of r.nodes) {
    const id = text(n?.id, 64), parent = text(n?.parent, 64), read = Object.hasOwn(READERS, n?.role) ? READERS[n.role] : null;
    if (!id || !read || c.nodes.has(id)) throw new Error('a message has no id, the id of another, or no role');
    if (parent && !c.nodes.has(parent)) throw new Error('a message comes before the one that it answers');
    c.nodes.set(id, { id, parent, role: n.role, children: [], chosen: number(n.chosen), created: number(n.created), ...read(n) });
    (parent ? c.nodes.get(parent) : c.root).children.push(id);
  }
  c.root.chosen = number(r.chosen);
  for (const node of [c.root, ...c.nodes.values()])
    if (!Number.isInteger(node.chosen) || node.chosen < 0 || node.chosen >= node.children.length) node.chosen = 0;
  return c;
}

// ---- two tabs

const ANSWER = ['content', 'thought', 'calls', 'stats', 'end', 'error'];
const said = n => n.content.length + n.thought.length;

// Siblings in the order of their making, whichever tab made them; what was chosen stays chosen.
function order(c, parent) {
  const chosen = parent.children[parent.chosen], made = id => c.nodes.get(id).created;
  parent.children.sort((a, b) => made(a) - made(b) || (a < b ? -1 : 1));
  parent.chosen = Math.max(0, parent.children.indexOf(chosen));
}

// Takes in what another tab has added to the same conversation: messages are only ever added, so nothing is lost on either side.
// An answer that is not written here (isOurs) may have grown there.  True: something came.
export function absorb(c, record, isOurs) {
  let other, came = false;
  try { other = fromRecord(record); } catch { return false; }          // it was not stored by this page
  for (const n of other.nodes.values()) {
    const own = c.nodes.get(n.id);
    if (own && (own.role !== 'assistant' || n.role !== 'assistant' || own.end || isOurs(own) || !(n.end || said(n) > said(own)))) continue;
    came = true;
    if (own) {
      for (const name of ANSWER) own[name] = n[name];
      continue;
    }
    const parent = parentOf(c, n);
    c.nodes.set(n.id, { ...n, children: [], chosen: 0 });
    parent.children.push(n.id);
    order(c, parent);
  }
  if (other.updated > c.updated) {
    came ||= c.title !== other.title;
    c.title = other.title;
    c.updated = other.updated;
  }
  return came;
}

// ---- what the model is told

export function toMessages(nodes, system) {
  const out = system ? [{ role: 'system', content: system }] : [];
  for (const n of nodes) {
    if (n.role === 'user') out.push({ role: 'user', content: n.content });
    if (n.role === 'tool') for (const r of n.results) out.push({ role: 'tool', tool_call_id: r.id, name: r.name, content: r.content });
    if (n.role === 'assistant' && (n.content || n.calls.length)) {
      const m = { role: 'assistant', content: n.content };
      if (n.calls.length) {                      // the thought that led to a call is still needed when its result comes
        m.tool_calls = n.calls.map(k => ({ id: k.id, type: 'function', function: { name: k.name, arguments: k.arguments } }));
        if (n.thought) m.reasoning_content = n.thought;
      }
      out.push(m);
    }
  }
  return out;
}

// ---- Markdown

function fence(text) {
  const longest = (text.match(/`+/g) ?? []).reduce((n, t) => Math.max(n, t.length), 2);
  return '`'.repeat(longest + 1);
}

export function toMarkdown(c) {
  const parts = [`# ${c.title || 'Conversation'}`];
  for (const n of path(c)) {
    if (n.role === 'user') parts.push('## You', n.content);
    if (n.role === 'assistant') {
      parts.push('## Gemma');
      if (n.thought) parts.push(n.thought.split('\n').map(l => `> ${l}`).join('\n'));
      if (n.content) parts.push(n.content);
      for (const k of n.calls) parts.push(`Call of \`${k.name}\`:`, `${fence(k.arguments)}json\n${k.arguments}\n${fence(k.arguments)}`);
    }
    if (n.role === 'tool') for (const r of n.results) parts.push(`Result of \`${r.name}\`:`, `${fence(r.content)}\n${r.content}\n${fence(r.content)}`);
  }
  return parts.join('\n\n') + '\n';
}
