// Markdown (GitHub's, without HTML) to elements.  Whatever the text, only elements made here come out: tags in it stay text,
// links go to http, https and mailto alone, images become links, so that nothing is fetched.
// The work grows with the length of the text alone: what was looked for in vain is not looked for again.
import { el, button, copy } from './dom.js';
import { paint } from './paint.js';

const DEPTH = 8;                 // of quotes, lists, emphasis in each other; deeper is text

// ---- blocks

const FENCE = /^( {0,3})(`{3,}|~{3,})\s*([^\s`]{0,40})[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])( *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)(.*)$/;
const TABLE_RULE = /^ *\|?( *:?-+:? *\|)+( *:?-+:? *)?$/;

const indentOf = line => line.length - line.trimStart().length;
const begins = line => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || (ITEM.test(line) && indentOf(line) < 4);

// Each takes lines from i on and gives [block, next i], or null: it is something else.
function takeFence(lines, i) {
  const m = FENCE.exec(lines[i]);
  if (!m) return null;
  let end = i + 1;
  while (end < lines.length && !(lines[end].trim().startsWith(m[2]) && !lines[end].trim().replaceAll(m[2][0], ''))) end++;
  const body = lines.slice(i + 1, end).map(l => l.slice(Math.min(m[1].length, indentOf(l))));
  return [{ kind: 'code', language: m[3], text: body.join('\n') }, end + 1];
}

function takeHeading(lines, i) {
  const m = HEADING.exec(lines[i]);
  return m && [{ kind: 'heading', level: m[1].length, text: m[2] }, i + 1];
}

function takeQuote(lines, i) {
  let end = i;
  while (end < lines.length && lines[end].trim() && (QUOTE.test(lines[end]) || (end > i && !begins(lines[end])))) end++;
  return end > i && QUOTE.test(lines[i]) ? [{ kind: 'quote', lines: lines.slice(i, end).map(l => l.replace(QUOTE, '')) }, end] : null;
}

const splitRow = row => row.trim().replace(/^\||(?<!\\)\|$/g, '').split(/(?<!\\)\|/).map(c => c.trim().replaceAll('\\|', '|'));

function takeTable(lines, i) {
  if (!lines[i].includes('|') || !TABLE_RULE.test(lines[i + 1] ?? '')) return null;
  const head = splitRow(lines[i]), marks = splitRow(lines[i + 1]);
  if (head.length !== marks.length) return null;
  let end = i + 2;
  while (end < lines.length && lines[end].includes('|') && lines[end].trim()) end++;
  const align = marks.map(m => m.endsWith(':') ? (m.startsWith(':') ? 'center' : 'right') : '');
  return [{ kind: 'table', head, align, rows: lines.slice(i + 2, end).map(splitRow) }, end];
}

// Lines that are indented as far as an item's text belong to it, and unindented ones that go on with its paragraph.
function takeList(lines, i) {
  const first = ITEM.exec(lines[i]);
  if (!first || first[1].length > 3) return null;
  const ordered = first[2].length > 1, items = [];
  let own = 0, blank = false, loose = false;
  for (; i < lines.length; i++) {
    const line = lines[i], m = ITEM.exec(line), indent = indentOf(line);
    if (!line.trim()) { blank = true; continue; }
    if (items.length && indent >= own) {
      if (blank) { items.at(-1).push(''); loose = true; }
      items.at(-1).push(line.slice(own));
    } else if (m && !RULE.test(line) && m[2].length > 1 === ordered && m[2].at(-1) === first[2].at(-1)) {
      if (blank && items.length) loose = true;
      own = m[1].length + m[2].length + (m[3].length > 4 || !m[3].length ? 1 : m[3].length);
      items.push([m[4]]);
    } else if (!blank && items.length && !begins(line)) {
      items.at(-1).push(line.trimStart());
    } else break;
    blank = false;
  }
  return [{ kind: 'list', ordered, loose, start: ordered ? parseInt(first[2], 10) : 1, items }, i];
}

function takeParagraph(lines, i) {
  let end = i + 1;
  while (end < lines.length && lines[end].trim() && !begins(lines[end])) end++;
  return [{ kind: 'paragraph', text: lines.slice(i, end).map(l => l.trimStart()).join('\n') }, end];
}

const takeRule = (lines, i) => RULE.test(lines[i]) ? [{ kind: 'rule' }, i + 1] : null;
const TAKERS = [takeFence, takeHeading, takeRule, takeQuote, takeTable, takeList, takeParagraph];

function blocks(lines, depth) {
  const out = [];
  const takers = depth < DEPTH ? TAKERS : [takeParagraph];
  for (let i = 0; i < lines.length;) {
    if (!lines[i].trim()) { i++; continue; }
    for (const take of takers) {
      const taken = take(lines, i);
      if (!taken) continue;
      taken[0].source = lines.slice(i, taken[1]).join('\n');
      out.push(taken[0]);
      i = taken[1];
      break;
    }
  }
  return out;
}

// ---- text within a line

const MARK = /[\\`*_~[\n]|https?:\/\//g;
const LINK = /!?\[([^[\]\n]{0,500})\]\(\s*<?([^\s()<>]{1,2000}(?:\([^\s()<>]{0,500}\)[^\s()<>]{0,500})?)>?(?:\s+"[^"\n]{0,500}")?\s*\)/y;
const ADDRESS = /https?:\/\/[^\s<>"'`]+/y;
const WORD = /[\p{L}\p{N}_]/u;

const SAFE = /^(https?:\/\/|mailto:)/i;
const link = (href, children) => SAFE.test(href) ? el('a', { href, target: '_blank', rel: 'noopener noreferrer nofollow' }, children) : el('span', {}, children);

const TAGS = { '*': ['em'], '_': ['em'], '**': ['strong'], '__': ['strong'], '***': ['strong', 'em'], '___': ['strong', 'em'], '~~': ['del'] };

// Where the emphasis that begins at i ends, or -1.
function closer(text, mark, i, missing) {
  if (missing.has(mark) || !text[i] || /\s/.test(text[i])) return -1;
  for (let at = text.indexOf(mark, i + 1); at >= 0; at = text.indexOf(mark, at + 1)) {
    const before = text[at - 1], after = text[at + mark.length] ?? '';
    if (mark.length === 1 && (after === mark || before === mark)) continue;
    if (!/[\s\\]/.test(before) && !(mark[0] === '_' && WORD.test(after))) return at;
  }
  missing.add(mark);
  return -1;
}

function takeCode(text, i, missing) {
  const run = /`+/y;
  run.lastIndex = i;
  const ticks = run.exec(text)[0], from = i + ticks.length;
  for (let at = missing.has(ticks) ? -1 : text.indexOf(ticks, from); at >= 0; at = text.indexOf(ticks, at + 1)) {
    if (text[at - 1] === '`') continue;
    if (text[at + ticks.length] !== '`') return [el('code', {}, text.slice(from, at).replaceAll('\n', ' ').replace(/^ (.*) $/, '$1')), at + ticks.length];
    while (text[at + 1] === '`') at++;
  }
  missing.add(ticks);
  return [ticks, from];
}

function takeEmphasis(text, i, depth, missing) {
  const mark = [3, 2, 1].map(n => text.slice(i, i + n)).find(m => TAGS[m]);
  const word = mark && mark[0] === '_' && i > 0 && WORD.test(text[i - 1]);
  const end = mark && !word && depth < DEPTH ? closer(text, mark, i + mark.length, missing) : -1;
  if (end < 0) return [mark ?? text[i], i + (mark?.length ?? 1)];
  const inner = inline(text.slice(i + mark.length, end), depth + 1);
  return [TAGS[mark].reduceRight((children, tag) => el(tag, {}, children), inner), end + mark.length];
}

function takeLink(text, i) {
  LINK.lastIndex = i > 0 && text[i - 1] === '!' ? i - 1 : i;
  const m = LINK.exec(text);
  return m ? [link(m[2], inline(m[1] || m[2], DEPTH)), LINK.lastIndex] : ['[', i + 1];
}

function takeAddress(text, i) {
  ADDRESS.lastIndex = i;
  const m = ADDRESS.exec(text);
  if (!m) return [text[i], i + 1];
  const url = m[0].replace(/[.,:;!?*_~]+$/, '').replace(/^([^(]*)\)+$/, '$1');
  return [link(url, url), i + url.length];
}

function takeMark(text, i, depth, missing) {
  const c = text[i];
  if (c === '\n') return [el('br'), i + 1];
  if (c === '\\') return /[!-/:-@[-`{-~]/.test(text[i + 1] ?? '') ? [text[i + 1], i + 2] : ['\\', i + 1];
  if (c === '`') return takeCode(text, i, missing);
  if (c === '[') return takeLink(text, i);
  if (c === 'h') return takeAddress(text, i);
  return takeEmphasis(text, i, depth, missing);
}

function inline(text, depth = 0) {
  const out = [], missing = new Set(), mark = new RegExp(MARK);
  let from = 0;
  for (let m; (m = mark.exec(text));) {
    const [node, next] = takeMark(text, m.index, depth, missing);
    const image = m[0] === '[' && typeof node !== 'string' && text[m.index - 1] === '!' && m.index > from;
    out.push(text.slice(from, m.index - (image ? 1 : 0)), node);
    from = mark.lastIndex = next;
  }
  out.push(text.slice(from));
  return out.filter(n => n !== '');
}

// ---- elements

function codeBlock(b) {
  const code = el('code', {}, paint(b.text, b.language)), said = el('span', { role: 'status' });
  const give = button('Copy', async () => {
    await copy(b.text);
    said.textContent = 'Copied';
    setTimeout(() => said.textContent = '', 2000);
  }, { class: 'quiet', 'aria-label': `Copy the ${b.language || 'text'}` });
  return el('figure', { class: 'code' }, el('figcaption', {}, el('span', {}, b.language || 'text'), said, give), el('pre', { tabindex: '0' }, code));
}

function item(lines, loose, depth) {
  const task = /^\[([ xX])\] +/.exec(lines[0]);
  const inner = blocks(task ? [lines[0].slice(task[0].length), ...lines.slice(1)] : lines, depth + 1);
  const children = inner.flatMap(b => b.kind === 'paragraph' && !loose ? inline(b.text) : element(b, depth + 1));
  const box = task && el('input', { type: 'checkbox', disabled: true, checked: task[1] !== ' ', 'aria-label': task[1] === ' ' ? 'open' : 'done' });
  return el('li', task ? { class: 'task' } : {}, box, children);
}

function table(b) {
  const cell = (tag, text, i) => el(tag, { class: b.align[i] || null }, inline(text));
  return el('div', { class: 'wide', tabindex: '0', role: 'region', 'aria-label': 'Table' }, el('table', {}, el('thead', {}, el('tr', {}, b.head.map((t, i) => cell('th', t, i)))),
    el('tbody', {}, b.rows.map(r => el('tr', {}, b.head.map((_, i) => cell('td', r[i] ?? '', i)))))));
}

function element(b, depth = 0) {
  switch (b.kind) {
  case 'code': return codeBlock(b);
  case 'heading': return el(`h${Math.min(6, b.level + 1)}`, {}, inline(b.text));     // the page has the h1
  case 'rule': return el('hr');
  case 'quote': return el('blockquote', {}, blocks(b.lines, depth + 1).map(x => element(x, depth + 1)));
  case 'table': return table(b);
  case 'list': return el(b.ordered ? 'ol' : 'ul', b.start !== 1 ? { start: b.start } : {}, b.items.map(lines => item(lines, b.loose, depth)));
  default: return el('p', {}, inline(b.text));
  }
}

// Makes `into` show the text.  Blocks that are as before stay: while an answer grows, only its end is made anew.
export function render(into, text) {
  const list = blocks(text.replaceAll('\r\n', '\n').replaceAll('\t', '    ').split('\n'), 0);
  list.forEach((b, i) => {
    const old = into.children[i];
    if (old?.source === b.source) return;
    const fresh = element(b);
    fresh.source = b.source;
    if (old) old.replaceWith(fresh);
    else into.append(fresh);
  });
  while (into.children.length > list.length) into.lastChild.remove();
}
