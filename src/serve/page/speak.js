// For those who listen: a growing answer is said sentence by sentence.
import { $ } from './dom.js';

let said = 0, of = null;

export function say(text) {
  $('said').textContent = text;
}

// The sentences of node.content that are complete and not said yet; all of it when it is over.
export function grow(node, over) {
  if (of !== node) { of = node; said = 0; }
  const rest = node.content.slice(said);
  const end = over ? rest.length : Math.max(...['. ', '! ', '? ', '\n'].map(e => rest.lastIndexOf(e))) + 1;
  if (end <= 0) return;
  said += end;
  say(rest.slice(0, end).replace(/[*_`#>|]/g, ''));
}
