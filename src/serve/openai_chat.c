/* POST /v1/chat/completions. */
#include <string.h>

#include "serve/job.h"

/* ---- the request ---------------------------------------------------------------------------------------- */

static bool read_logprobs(ask *a, const json_t *body, refusal *r)
{
    int64_t top = 0;
    if (!field_bool(body, "logprobs", &a->s.logprobs, r) || !field_int(body, "top_logprobs", 0, ASK_LOGPROBS_MAX, &top, r)) return false;
    if (top && !a->s.logprobs) return field_refuse(r, 400, NULL, "top_logprobs", "\"top_logprobs\" needs \"logprobs\": true");
    a->s.top_logprobs = (int32_t)top;
    return true;
}

static bool read_conversation(ask *a, const json_t *body, refusal *r)
{
    const json_t *tools = NULL;
    json_t *functions = NULL;
    bool parallel = true;
    if (!field_list(body, "tools", ASK_TOOLS_MAX, &tools, r) || !field_bool(body, "parallel_tool_calls", &parallel, r)) return false;
    a->one_call = !parallel;
    bool ok = ask_functions(a, body, &functions, r) && ask_conversation(a, json_object_get(body, "messages"), functions ? functions : tools, r) &&
              ask_tool_choice(a, field_find(body, "tool_choice"), r) && ask_function_choice(a, body, r);
    json_decref(functions);
    return ok;
}

static bool read_request(server *s, ask *a, const json_t *body, refusal *r)
{
    static const char *const limits[] = { "max_completion_tokens", "max_tokens", NULL };
    const json_t *stream_options = NULL;
    const char *model = NULL;
    if (!field_text(body, "model", &model, r) || !server_check_model(s, model, a->adapter, r) || !ask_sampling(a, body, r) || !ask_stop(a, body, "stop", r) ||
        !ask_bias(a, body, s->info.vocab, r) || !ask_limit(a, body, limits, r) || !ask_thinking(a, body, r) || !read_logprobs(a, body, r)) return false;
    if (!field_int(body, "n", 1, ASK_N_MAX, &a->n, r) || !field_bool(body, "stream", &a->stream, r) ||
        !field_object(body, "stream_options", &stream_options, r) || !field_bool(stream_options, "include_usage", &a->usage, r)) return false;
    return ask_format(a, field_find(body, "response_format"), "response_format", r) && read_conversation(a, body, r);
}

/* ---- the answer ------------------------------------------------------------------------------------------ */

static json_t *usage(const job *j)
{
    job_usage u = job_count(j);
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I}}", "prompt_tokens", (json_int_t)u.prompt, "completion_tokens", (json_int_t)u.answer,
                     "total_tokens", (json_int_t)(u.prompt + u.answer), "prompt_tokens_details", "cached_tokens", (json_int_t)u.cached,
                     "completion_tokens_details", "reasoning_tokens", (json_int_t)u.thought);
}

static json_t *frame(const job *j, const char *object)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:s}", "id", j->id, "object", object, "created", (json_int_t)j->created, "model", j->model,
                     "system_fingerprint", "facet-" FACET_VERSION);
}

static json_t *logprobs(json_t *list) { return list ? json_pack("{s:O, s:n}", "content", list, "refusal") : json_null(); }

/* Both names: some clients read one, some the other. */
static bool put_thought(json_t *o, str text)
{
    return field_put(o, "reasoning_content", json_stringn(text.p, text.n)) && field_put(o, "reasoning", json_stringn(text.p, text.n));
}

static json_t *whole_call(const json_t *call)
{
    return json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", json_object_get(call, "id"), "type", "function", "function", "name", json_object_get(call, "name"),
                     "arguments", json_object_get(call, "arguments"));
}

static const char *finish_name(const job_answer *a)
{
    const char *name = job_finish_name(a);
    return a->job->ask.old_calls && strcmp(name, "tool_calls") == 0 ? "function_call" : name;
}

/* The one call of an answer to a client that knows no tools. */
static json_t *old_call(const json_t *call)
{
    return json_pack("{s:O, s:O}", "name", json_object_get(call, "name"), "arguments", json_object_get(call, "arguments"));
}

static json_t *message_of(const job *j, const job_answer *a)
{
    size_t i;
    json_t *call, *calls = NULL, *m = json_pack("{s:s, s:o, s:n}", "role", "assistant", "content",
                                         a->text.len || !job_has_calls(a) ? json_stringn(buf_text(&a->text), a->text.len) : json_null(), "refusal");
    bool ok = m && (!a->thought.len || j->ask.hide_thought || put_thought(m, (str){ a->thought.data, a->thought.len }));
    if (job_has_calls(a) && j->ask.old_calls) {
        ok = ok && field_put(m, "function_call", old_call(json_array_get(a->calls, 0)));
    } else if (job_has_calls(a)) {
        ok = ok && field_put(m, "tool_calls", calls = json_array());
        json_array_foreach(a->calls, i, call) ok = ok && json_array_append_new(calls, whole_call(call)) == 0;
    }
    if (ok) return m;
    json_decref(m);
    return NULL;
}

static json_t *whole(job *j)
{
    json_t *o = frame(j, "chat.completion"), *choices = json_array();
    bool ok = field_put(o, "choices", choices);
    for (int i = 0; ok && i < j->count; i++) {
        const job_answer *a = &j->answers[i];
        ok = json_array_append_new(choices, json_pack("{s:i, s:o, s:o, s:s}", "index", a->index, "message", message_of(j, a), "logprobs",
                                                      logprobs(a->logprobs), "finish_reason", finish_name(a))) == 0;
    }
    if (ok && field_put(o, "usage", usage(j))) return o;
    json_decref(o);
    return NULL;
}

/* ---- the stream -------------------------------------------------------------------------------------------- */

/* delta is taken; the log-probabilities that came since the last chunk go with it. */
static void chunk(job *j, job_answer *a, json_t *delta, const char *finish)
{
    json_t *o = frame(j, "chat.completion.chunk");
    json_t *choice = json_pack("{s:i, s:o, s:o, s:s?}", "index", a->index, "delta", delta, "logprobs", logprobs(a->logprobs), "finish_reason", finish);
    json_decref(a->logprobs);
    a->logprobs = NULL;
    if (!field_put(o, "choices", json_pack("[o]", choice)) || (j->ask.usage && !field_put(o, "usage", json_null()))) {
        json_decref(o);
        o = NULL;
    }
    job_send(j, NULL, o);
}

static void begin(job *j)
{
    for (int i = 0; i < j->count; i++) chunk(j, &j->answers[i], json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL);
}

static void thought(job *j, job_answer *a, str text)
{
    json_t *delta = json_object();
    if (!put_thought(delta, text)) { json_decref(delta); delta = NULL; }
    chunk(j, a, delta, NULL);
}

static void text(job *j, job_answer *a, str piece) { chunk(j, a, json_pack("{s:s%}", "content", piece.p, piece.n), NULL); }

static void one_call(job *j, job_answer *a, const json_t *call)
{
    int index = (int)json_array_size(a->calls) - 1;
    if (j->ask.old_calls) {
        if (index == 0) chunk(j, a, json_pack("{s:{s:O, s:s}}", "function_call", "name", json_object_get(call, "name"), "arguments", ""), NULL);
        if (index == 0) chunk(j, a, json_pack("{s:{s:O}}", "function_call", "arguments", json_object_get(call, "arguments")), NULL);
        return;
    }
    chunk(j, a, json_pack("{s:[{s:i, s:O, s:s, s:{s:O, s:s}}]}", "tool_calls", "index", index, "id", json_object_get(call, "id"), "type", "function",
                          "function", "name", json_object_get(call, "name"), "arguments", ""), NULL);
    chunk(j, a, json_pack("{s:[{s:i, s:{s:O}}]}", "tool_calls", "index", index, "function", "arguments", json_object_get(call, "arguments")), NULL);
}

static void answered(job *j, job_answer *a) { chunk(j, a, json_object(), finish_name(a)); }

static void end(job *j)
{
    if (j->ask.usage) {
        json_t *o = frame(j, "chat.completion.chunk");
        if (!field_put(o, "choices", json_array()) || !field_put(o, "usage", usage(j))) { json_decref(o); o = NULL; }
        job_send(j, NULL, o);
    }
    job_send_raw(j, "data: [DONE]\n\n");
}

static void ping(job *j) { job_send_raw(j, ": ping\n\n"); }

static void broken(job *j, const refusal *r) { job_send(j, NULL, server_error_openai(r)); }

static const dialect chat = { .stream_type = "text/event-stream", .begin = begin, .thought = thought, .text = text, .call = one_call, .answered = answered,
                              .end = end, .ping = ping, .broken = broken, .whole = whole, .refuse = server_refuse_openai, .call_prefix = "call_" };

void openai_chat(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    ask a;
    ask_init(&a, s->model, s->o.think, s->o.think_budget);
    if (field_parse(&body, http_body(c), &r) && read_request(s, &a, body, &r)) {
        job_start(s, c, &chat, &a, "chatcmpl-", NULL);
    } else {
        s->metrics.refused++;
        server_refuse_openai(c, &r);
    }
    ask_done(&a);
    json_decref(body);
}

void openai_chat_input_tokens(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    size_t n = 0;
    ask a;
    ask_init(&a, s->model, s->o.think, s->o.think_budget);
    if (field_parse(&body, http_body(c), &r) && read_request(s, &a, body, &r) && job_recall(s, c, &a, &r) && job_count_prompt(s, &a, 0, &n, &r))
        server_reply_json(c, 200, json_pack("{s:s, s:I}", "object", "response.input_tokens", "input_tokens", (json_int_t)n));
    else server_refuse_openai(c, &r);
    ask_done(&a);
    json_decref(body);
}
