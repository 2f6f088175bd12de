// Making elements.  Text is always text: nothing here reads markup.

// el('p', { class: 'hint', onclick: f, hidden: true }, 'text', child, [more, children], null)
export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) e.addEventListener(name.slice(2), value);
    else if (name === 'value') e.value = value;
    else e.setAttribute(name, value === true ? '' : value);
  }
  for (const c of children.flat(Infinity)) if (c !== null && c !== undefined) e.append(c);
  return e;
}

export const $ = id => document.getElementById(id);

export function button(text, onclick, props = {}) {
  return el('button', { type: 'button', onclick, ...props }, text);
}

// A question with two answers; true when it was answered with yes.
export function confirmed(title, text, yes) {
  const dialog = $('confirm');
  $('confirm-title').textContent = title;
  $('confirm-text').textContent = text;
  $('confirm-yes').textContent = yes;
  return ask(dialog, $('confirm-no'));
}

// Opens a dialog; true when its form was sent, false when it was left.
export function ask(dialog, cancel) {
  dialog.returnValue = '';
  cancel.onclick = () => dialog.close('');
  dialog.querySelector('form').onsubmit = e => { e.preventDefault(); dialog.close('yes'); };
  dialog.showModal();
  return new Promise(done => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }));
}

export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const a = el('a', { href: url, download: name });
  document.body.append(a);
  a.click();
  a.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// Pages that are not of this machine and not https have no clipboard: there a selection is copied.
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const t = el('textarea', { value: text, readonly: true, class: 'unseen' });
  document.body.append(t);
  t.select();
  document.execCommand('copy');
  t.remove();
}
