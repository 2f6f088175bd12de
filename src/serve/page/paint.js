// Colours for code: Prism (prism.js, MIT) finds the tokens, elements are made of them here.
import { el } from './dom.js';

const OTHER = { js: 'javascript', jsx: 'javascript', ts: 'javascript', typescript: 'javascript', mjs: 'javascript', py: 'python', python3: 'python', sh: 'bash', shell: 'bash',
  zsh: 'bash', console: 'bash', html: 'markup', xml: 'markup', svg: 'markup', 'c++': 'cpp', cc: 'cpp', h: 'c', hpp: 'cpp', rs: 'rust', patch: 'diff', jsonc: 'json' };
const MOST = 20000;              // longer text stays plain: the patterns are not made for hostile length

function node(t) {
  if (typeof t === 'string') return t;
  const inner = Array.isArray(t.content) ? t.content : [t.content];
  return el('span', { class: `t-${t.type}` }, ...inner.map(node));
}

// Text of a code block to texts and elements.
export function paint(text, language) {
  const name = language.toLowerCase(), grammars = globalThis.Prism?.languages ?? {}, key = OTHER[name] ?? name;
  const grammar = Object.hasOwn(grammars, key) && typeof grammars[key] === 'object' ? grammars[key] : null;
  return grammar && text.length <= MOST ? globalThis.Prism.tokenize(text, grammar).map(node) : [text];
}
