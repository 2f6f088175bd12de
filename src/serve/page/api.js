// Talking to the server: the key, JSON, and the events of a streamed answer.
import { $, ask } from './dom.js';

const KEY = 'facet-key';

// what: { message, status }; status 0: not reached.
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function refusal(response) {
  let text = `the server answered with ${response.status}`;
  try { text = (await response.json()).error.message; } catch { /* no JSON: a proxy's page */ }
  return new Refused(text, response.status);
}

let asking = null;               // one dialog, however many requests were refused

function askForKey(why) {
  $('key-why').textContent = why;
  $('key-value').value = '';
  asking ??= ask($('key'), $('key-cancel')).then(yes => {
    asking = null;
    if (yes) sessionStorage.setItem(KEY, $('key-value').value.trim());
    return yes;
  });
  return asking;
}

// fetch with the key; asks for one when the server wants it.  Fails with Refused, or AbortError.
export async function call(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: 'no-store', credentials: 'omit' });
    } catch (e) {
      if (e.name === 'AbortError') throw e;
      throw new Refused('the server could not be reached', 0);
    }
    if (response.ok) return response;
    const why = await refusal(response);
    if (response.status !== 401) throw why;
    if (sessionStorage.getItem(KEY) !== key) continue;           // a new one was given meanwhile
    if (!await askForKey(key ? 'The key was not accepted.' : 'Whoever runs the server can give you one.')) throw why;
  }
}

export async function status() {
  return (await call('/status')).json();
}

// The pieces of an answer, as they come: OpenAI's chunks.
export async function* chat(body, signal) {
  const response = await call('/v1/chat/completions', {
    method: 'POST', signal, headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }) });
  for await (const data of lines(response.body)) {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(chunk.error.message, 500);
    yield chunk;
  }
  throw new Refused('the answer broke off', 0);
}

// What follows "data: " in each line.
async function* lines(stream) {
  const reader = stream.getReader(), decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = parts.pop();
    for (const line of parts) if (line.startsWith('data: ')) yield line.slice(6).trimEnd();
  }
}
