// Starts the page: which view the address names, the message box, keys.
import { $ } from './dom.js';
import * as api from './api.js';
import * as chat from './chat.js';
import * as settings from './settings.js';
import * as side from './side.js';
import * as statusView from './status.js';
import * as tree from './tree.js';

let server = null;               // what /status said

// ---- views

function toggleSide(shown) {
  document.body.classList.toggle('with-side', shown);
  $('menu').setAttribute('aria-expanded', shown);
}

function route() {
  const isStatus = location.hash === '#status', id = /^#c=([\w-]+)$/.exec(location.hash)?.[1];
  $('chat').hidden = isStatus;
  $('status').hidden = !isStatus;
  if (isStatus) $('to-status').setAttribute('aria-current', 'page');
  else $('to-status').removeAttribute('aria-current');
  toggleSide(false);
  if (isStatus) {
    statusView.begin();
    $('status-title').focus();
    return;
  }
  statusView.end();
  if (!id || id !== chat.current().id) chat.show((id && side.find(id)) || tree.newConversation());
  side.draw();
}

function begin() {
  history.pushState(null, '', location.pathname);
  route();
  $('input').focus();
}

// ---- the message box

function fit() {
  const box = $('input');
  box.style.height = 'auto';
  box.style.height = `${Math.min(box.scrollHeight, innerHeight * 0.4)}px`;
}

function submit(e) {
  e?.preventDefault();
  if (!chat.send($('input').value)) return;
  $('input').value = '';
  fit();
}

function onInputKey(e) {
  if (e.key !== 'Enter' || e.shiftKey || e.isComposing || matchMedia('(pointer: coarse)').matches) return;
  submit(e);
}

// Text files become text; what else there is cannot be read yet.
async function takeFiles(e, files) {
  if (!files.length) return;
  e.preventDefault();
  for (const f of files) {
    if (/^(image|audio|video)\//.test(f.type)) chat.notice('Images and sound cannot be read by this server yet.');
    else if (f.size > 1 << 20) chat.notice(`“${f.name}” is larger than 1 MB.`);
    else $('input').value += `\n${f.name}:\n\n${await f.text()}\n`;
  }
  fit();
}

function onKey(e) {
  const control = e.ctrlKey || e.metaKey, key = e.key.toLowerCase();
  if (document.querySelector('dialog[open]')) return;
  if (e.key === 'Escape') {
    if (document.body.classList.contains('with-side')) { toggleSide(false); $('menu').focus(); } else chat.stop();
  } else if (control && e.shiftKey && key === 'o') {
    e.preventDefault();
    begin();
  } else if (control && !e.shiftKey && key === 'k') {
    e.preventDefault();
    toggleSide(true);
    $('search').focus();
  }
}

// ---- start

async function meet() {
  try {
    server = await api.status();
    $('model').textContent = server.model.id;
    $('attach').hidden = !server.model.inputs.some(kind => kind !== 'text');
    chat.setServer(server);
  } catch (e) {
    chat.notice(`${e.message}.`);
  }
}

function listen() {
  $('compose').onsubmit = submit;
  $('input').onkeydown = onInputKey;
  $('input').oninput = fit;
  $('input').onpaste = e => takeFiles(e, [...e.clipboardData.files]);
  document.ondragover = e => e.preventDefault();
  document.ondrop = e => takeFiles(e, [...e.dataTransfer.files]);
  document.onkeydown = onKey;
  $('stop').onclick = () => { chat.stop(); $('input').focus(); };
  $('new').onclick = begin;
  $('menu').onclick = () => toggleSide(!document.body.classList.contains('with-side'));
  $('title').onchange = () => chat.rename($('title').value);
  $('to-settings').onclick = async () => {
    if (!server) await meet();
    settings.open(server);
  };
  addEventListener('hashchange', route);
}

async function start() {
  chat.onChange(side.keep);
  listen();
  side.start();
  try {
    await settings.load();
    await side.load();
  } catch (e) {
    chat.notice(`This browser keeps nothing for this page: ${e.message}.`);
  }
  route();
  if (location.hash !== '#status') $('input').focus();
  await meet();
}

start();
