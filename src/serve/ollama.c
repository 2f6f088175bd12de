/* POST /api/chat and /api/generate: lines of JSON unless "stream" is false. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "serve/job.h"
#include "serve/ollama.h"
#include "serve/ollama_read.h"

static const dialect generate;

/* ---- the answer -------------------------------------------------------------------------------------------- */

static json_t *frame(const server *s, const char *adapter)
{
    char name[OLLAMA_NAME_MAX], now[OLLAMA_TIME_MAX];
    ollama_name(s, adapter, name);
    ollama_time(now);
    return json_pack("{s:s, s:s}", "model", name, "created_at", now);
}

/* A whole call: its arguments are an object here, not text. */
static json_t *call_of(const json_t *call, int index)
{
    json_t *arguments = NULL;
    const json_t *text = json_object_get(call, "arguments");
    if (json_parse(&arguments, (str){ json_string_value(text), json_string_length(text) }, "arguments", false, NULL) != OK) arguments = json_object();
    return json_pack("{s:O, s:{s:i, s:O, s:o}}", "id", json_object_get(call, "id"), "function", "index", index, "name", json_object_get(call, "name"),
                     "arguments", arguments);
}

static json_t *calls_of(const job_answer *a)
{
    size_t i;
    json_t *call, *list = json_array();
    json_array_foreach(a->calls, i, call) json_array_append_new(list, call_of(call, (int)i));
    return list;
}

/* What is said goes into a message in a chat, beside the rest otherwise.  calls is taken and may be NULL. */
static bool put_said(json_t *o, const job *j, str text, str thought, json_t *calls)
{
    bool chat = j->d != &generate;
    json_t *said = chat ? json_pack("{s:s}", "role", "assistant") : json_incref(o);
    bool ok = field_put(said, chat ? "content" : "response", json_stringn(text.n ? text.p : "", text.n)) &&
              (!thought.n || field_put(said, "thinking", json_stringn(thought.p, thought.n)));
    if (calls) ok = field_put(said, "tool_calls", calls) && ok;
    if (chat) return field_put(o, "message", said) && ok;
    json_decref(said);
    return ok;
}

static json_t *nanoseconds(double seconds) { return json_integer((json_int_t)(seconds * 1e9)); }

/* The conversation as one list of numbers, for the client to send back: its JSON, in tokens. */
static json_t *context_of(const job *j, const job_answer *a)
{
    int32_t *ids = NULL;
    size_t n = 0;
    buf b;
    buf_init(&b, (size_t)1 << 30);
    json_t *messages = json_copy(json_object_get(j->ask.conversation, "messages")), *list = json_array();
    bool ok = json_array_append_new(messages, json_pack("{s:s, s:s%}", "role", "assistant", "content", buf_text(&a->text), a->text.len)) == 0 &&
              field_print(&b, messages) && facet_tokenize(j->s->model, buf_text(&b), b.len, false, &ids, &n, NULL) == FACET_OK;
    for (size_t i = 0; ok && i < n; i++) ok = json_array_append_new(list, json_integer(ids[i])) == 0;
    facet_free(ids);
    buf_done(&b);
    json_decref(messages);
    return list;
}

static bool put_end(json_t *o, const job *j, const job_answer *a)
{
    const facet_result *r = &a->result;
    return field_put(o, "done", json_true()) && field_put(o, "done_reason", json_string(r->finish == FACET_FINISH_LENGTH ? "length" : "stop")) &&
           (j->d != &generate || !j->ask.conversation || field_put(o, "context", context_of(j, a))) &&
           field_put(o, "total_duration", nanoseconds(job_seconds(j))) && field_put(o, "load_duration", json_integer(0)) &&
           field_put(o, "prompt_eval_count", json_integer(r->prompt_tokens)) && field_put(o, "prompt_eval_duration", nanoseconds(r->prompt_seconds)) &&
           field_put(o, "eval_count", json_integer(r->answer_tokens)) && field_put(o, "eval_duration", nanoseconds(r->answer_seconds));
}

static json_t *kept(json_t *o, bool ok)
{
    if (ok) return o;
    json_decref(o);
    return NULL;
}

static json_t *whole(job *j)
{
    const job_answer *a = &j->answers[0];
    json_t *o = frame(j->s, j->ask.adapter);
    str text = { buf_text(&a->text), a->text.len }, thought = { buf_text(&a->thought), j->ask.hide_thought ? 0 : a->thought.len };
    bool ok = put_said(o, j, text, thought, job_has_calls(a) ? calls_of(a) : NULL) && (!a->logprobs || json_object_set(o, "logprobs", a->logprobs) == 0);
    return kept(o, ok && put_end(o, j, a));
}

/* ---- the stream ------------------------------------------------------------------------------------------------ */

/* The log-probabilities that came since the last line go with it. */
static void line(job *j, job_answer *a, str text, str thought, json_t *calls, bool end)
{
    json_t *o = frame(j->s, j->ask.adapter);
    bool ok = put_said(o, j, text, thought, calls) && (!a->logprobs || json_object_set(o, "logprobs", a->logprobs) == 0);
    json_decref(a->logprobs);
    a->logprobs = NULL;
    job_send(j, NULL, kept(o, ok && (end ? put_end(o, j, a) : field_put(o, "done", json_false()))));
}

static void thought(job *j, job_answer *a, str piece) { line(j, a, (str){ 0 }, piece, NULL, false); }
static void text(job *j, job_answer *a, str piece) { line(j, a, piece, (str){ 0 }, NULL, false); }
static void answered(job *j, job_answer *a) { line(j, a, (str){ 0 }, (str){ 0 }, NULL, true); }
static void ping(job *j) { line(j, &j->answers[0], (str){ 0 }, (str){ 0 }, NULL, false); }      /* an empty line of text would break clients */
static void end(job *j) { (void)j; }
static void broken(job *j, const refusal *r) { job_send(j, NULL, server_error_ollama(r)); }

static void use(job *j, job_answer *a, const json_t *call)
{
    line(j, a, (str){ 0 }, (str){ 0 }, json_pack("[o]", call_of(call, (int)json_array_size(a->calls) - 1)), false);
}

static const dialect chat = { .stream_type = "application/x-ndjson", .thought = thought, .text = text, .call = use, .answered = answered, .end = end,
                              .ping = ping, .broken = broken, .whole = whole, .refuse = server_refuse_ollama, .call_prefix = "call_" };
static const dialect generate = { .stream_type = "application/x-ndjson", .thought = thought, .text = text, .call = use, .answered = answered, .end = end,
                                  .ping = ping, .broken = broken, .whole = whole, .refuse = server_refuse_ollama, .call_prefix = "call_" };

/* ---- the request -------------------------------------------------------------------------------------------------- */

/* num_ctx is a limit: the model is not loaded again for it. */
static bool limit_context(server *s, ask *a, int64_t num_ctx, refusal *r)
{
    size_t count = 0;
    if (num_ctx == 0 || num_ctx >= s->used.ctx) return true;
    if (!job_count_prompt(s, a, 0, &count, r)) return false;
    if ((int64_t)count >= num_ctx)
        return field_refuse(r, 400, "context_length_exceeded", "num_ctx", "prompt is too long: %zu tokens > %lld maximum (\"num_ctx\" is %lld)", count,
                            (long long)num_ctx - 1, (long long)num_ctx);
    int32_t left = (int32_t)(num_ctx - (int64_t)count);
    if (a->s.max_tokens == 0 || a->s.max_tokens > left) a->s.max_tokens = left;
    return true;
}

/* Without anything to answer a client asks that the model be loaded, or unloaded: it stays where it is. */
static void loaded(server *s, http_call *c, const json_t *body, const char *adapter, bool is_chat)
{
    const json_t *keep = field_find(body, "keep_alive");
    json_t *o = frame(s, adapter);
    bool ok = is_chat ? field_put(o, "message", json_pack("{s:s, s:s}", "role", "assistant", "content", "")) : field_put(o, "response", json_string(""));
    ok = ok && field_put(o, "done", json_true()) &&
         field_put(o, "done_reason", json_string(json_is_number(keep) && json_number_value(keep) == 0 ? "unload" : "load"));
    server_reply_json(c, 200, kept(o, ok));
}

static void refuse(server *s, http_call *c, const refusal *r)
{
    s->metrics.refused++;
    server_refuse_ollama(c, r);
}

void ollama_chat(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL, *messages = NULL;
    const json_t *tools = NULL;
    int64_t num_ctx = 0;
    ask a;
    ask_init(&a, s->model, s->o.think, s->o.think_budget);
    bool ok = field_parse(&body, http_body(c), &r) && ollama_check_model(s, body, a.adapter, &r) && ollama_read_options(&a, body, &num_ctx, &r) &&
              ollama_read_messages(body, &messages, &r) && field_list(body, "tools", ASK_TOOLS_MAX, &tools, &r);
    if (ok && json_array_size(messages) == 0) loaded(s, c, body, a.adapter, true);
    else if (ok && ask_conversation(&a, messages, tools, &r) && limit_context(s, &a, num_ctx, &r)) job_start(s, c, &chat, &a, "", NULL);
    else refuse(s, c, &r);
    json_decref(messages);
    ask_done(&a);
    json_decref(body);
}

/* The messages that an earlier answer's context stands for; NULL when there is none.  *out owned. */
static bool read_context(server *s, const json_t *body, json_t **out, refusal *r)
{
    const json_t *list = NULL;
    size_t n = 0;
    char *text = NULL;
    if (!field_list(body, "context", FIELD_NODES_MAX, &list, r)) return false;
    if (json_array_size(list) == 0) return true;
    int32_t *ids = mem_array(json_array_size(list), sizeof *ids, MEM_IO);
    if (!ids) return field_refuse(r, 503, NULL, NULL, "out of memory");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t v = json_integer_value(json_array_get(list, i));
        ids[i] = v >= 0 && v < s->info.vocab ? (int32_t)v : 0;
    }
    status st = facet_detokenize(s->model, ids, json_array_size(list), false, &text, &n, NULL);
    if (st == OK) st = json_parse(out, (str){ text, n }, "context", false, NULL);
    facet_free(text);
    mem_free(ids);
    if (st == OK && json_is_array(*out)) return true;
    return field_refuse(r, 400, NULL, "context", "\"context\" is none of this server's: send back what came with an earlier answer, or the prompt alone");
}

static bool read_generate(server *s, ask *a, const json_t *body, const json_t *prompt, bool raw, refusal *r)
{
    json_t *before = NULL, *messages = NULL;
    bool ok = raw ? ask_prompts(a, prompt, r)
                  : read_context(s, body, &before, r) && ollama_read_turns(body, prompt, before, &messages, r) && ask_conversation(a, messages, NULL, r);
    json_decref(before);
    json_decref(messages);
    return ok;
}

void ollama_generate(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    const json_t *prompt = NULL;
    bool raw = false;
    int64_t num_ctx = 0;
    ask a;
    ask_init(&a, s->model, s->o.think, s->o.think_budget);
    bool ok = field_parse(&body, http_body(c), &r) && ollama_check_model(s, body, a.adapter, &r) && ollama_read_options(&a, body, &num_ctx, &r) &&
              ollama_read_prompt(body, &prompt, &raw, &r);
    if (ok && !prompt) loaded(s, c, body, a.adapter, false);
    else if (ok && read_generate(s, &a, body, prompt, raw, &r) && limit_context(s, &a, num_ctx, &r)) job_start(s, c, &generate, &a, "", NULL);
    else refuse(s, c, &r);
    ask_done(&a);
    json_decref(body);
}
