// One answer: asks the server and fills a message of the tree with what comes.  One runs at a time.
import * as api from './api.js';
import * as tree from './tree.js';
import { values as settings } from './settings.js';

// { conversation, node, started, first, thinking: { since, pieces }, pieces, now, control }
let running = null;

export const isRunning = () => running !== null;
export const runs = node => running?.node === node ? running : null;

export function stop() {
  running?.control.abort();
}

// Ends the thought: the same question again, without one.
export function answerNow() {
  if (!running) return;
  running.now = true;
  running.control.abort();
}

const seconds = since => (performance.now() - since) / 1000;

function takePiece(r, delta) {
  const { node } = r, thought = delta.reasoning_content ?? delta.reasoning ?? '', text = delta.content ?? '';
  if (thought || text || delta.tool_calls) {
    r.last = performance.now();
    r.first ??= r.last;
    r.pieces++;
  }
  if (thought) {
    node.thought += thought;
    r.thinking ??= { since: r.last, pieces: 0 };
    r.thinking.pieces++;
    r.thinking.over = false;
  }
  if ((text || delta.tool_calls) && r.thinking && !r.thinking.over) endThought(r);
  node.content += text;
  for (const k of delta.tool_calls ?? []) {
    const call = node.calls[k.index] ??= { id: '', name: '', arguments: '' };
    if (k.id) call.id = k.id;
    if (k.function?.name) call.name = k.function.name;
    call.arguments += k.function?.arguments ?? '';
  }
}

function endThought(r) {
  r.thinking.over = true;
  r.node.stats = { ...r.node.stats, thinking: seconds(r.thinking.since), thought: r.thinking.pieces };
}

function takeUsage(r, u) {
  const stats = r.node.stats ??= {};           // a call comes at once: its pieces say nothing of the pace
  stats.prompt = u.prompt_tokens;
  stats.cached = u.prompt_tokens_details?.cached_tokens ?? 0;
  stats.tokens = u.completion_tokens;
  if (!r.cut && u.completion_tokens_details?.reasoning_tokens) stats.thought = u.completion_tokens_details.reasoning_tokens;
  if (r.pieces > 3 && r.last > r.first) stats.rate = (u.completion_tokens - 1) / ((r.last - r.first) / 1000);
}

// One request.  True: the thought was to end here, ask again.
async function ask(r, body, changed) {
  r.control = new AbortController();
  r.now = false;
  try {
    for await (const chunk of api.chat(body, r.control.signal)) {
      const choice = chunk.choices[0];
      if (choice) takePiece(r, choice.delta);
      if (choice?.finish_reason) r.node.end = choice.finish_reason;
      if (chunk.usage) takeUsage(r, chunk.usage);
      changed(r.node);
    }
  } catch (e) {
    if (e.name !== 'AbortError') throw e;
    if (r.now) return true;
    r.node.end = 'stopped';
  }
  return false;
}

// Adds an answer below `parent` and fills it.  changed(node) is called after each piece.  Never fails: errors stand in the node.
export async function answer(c, parent, changed) {
  const node = tree.add(c, parent, { role: 'assistant', content: '', thought: '', calls: [], end: '', error: '' });
  const r = running = { conversation: c, node, started: performance.now(), pieces: 0 };
  const body = { messages: tree.toMessages(tree.pathTo(c, parent), settings.system), ...request() };
  changed(node);
  try {
    if (await ask(r, body, changed)) {
      endThought(r);
      Object.assign(r, { cut: true, first: undefined, started: performance.now() });
      await ask(r, { ...body, reasoning_effort: 'none', thinking_budget: 0 }, changed);
    }
  } catch (e) {
    node.end = 'broken';
    node.error = e.message;
  }
  if (r.thinking && !r.thinking.over) endThought(r);
  node.stats = { ...node.stats, seconds: seconds(r.started) };
  if (r.first) node.stats.first = (r.first - r.started) / 1000;
  running = null;
  return node;
}

// What the settings say about how to answer.
function request() {
  const s = settings, out = {};
  for (const name of ['temperature', 'top_p', 'top_k', 'min_p', 'seed', 'max_tokens']) if (s[name] !== '') out[name] = Number(s[name]);
  if (s.thinking) out.reasoning_effort = s.thinking === 'on' ? 'medium' : 'none';
  if (s.thinking === 'on' && s.thinking_budget) out.thinking_budget = Number(s.thinking_budget);
  if (s.tools) out.tools = JSON.parse(s.tools).map(t => t.type ? t : { type: 'function', function: t });
  if (s.schema) out.response_format = { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema: JSON.parse(s.schema) } };
  return out;
}
