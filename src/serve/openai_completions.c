/* POST /v1/completions: raw texts to go on with, no turns. */
#include <string.h>

#include "serve/job.h"

static bool read_request(server *s, ask *a, const json_t *body, refusal *r)
{
    static const char *const limits[] = { "max_tokens", "max_completion_tokens", NULL };
    const json_t *stream_options = NULL;
    const char *model = NULL, *suffix = NULL;
    int64_t best_of = 0, top = -1;
    if (!field_text(body, "model", &model, r) || !server_check_model(s, model, a->adapter, r) || !ask_sampling(a, body, r) || !ask_stop(a, body, "stop", r) ||
        !ask_bias(a, body, s->info.vocab, r) || !ask_limit(a, body, limits, r)) return false;
    if (!field_int(body, "n", 1, ASK_N_MAX, &a->n, r) || !field_int(body, "best_of", 1, ASK_N_MAX, &best_of, r) || !field_bool(body, "stream", &a->stream, r) ||
        !field_bool(body, "echo", &a->echo, r) || !field_int(body, "logprobs", 0, ASK_LOGPROBS_MAX, &top, r) ||
        !field_object(body, "stream_options", &stream_options, r) || !field_bool(stream_options, "include_usage", &a->usage, r) ||
        !field_text(body, "suffix", &suffix, r)) return false;
    if (best_of && best_of != a->n) return field_refuse(r, 400, NULL, "best_of", "\"best_of\" must equal \"n\"");
    if (suffix && suffix[0]) return field_refuse(r, 400, NULL, "suffix", "\"suffix\" is not supported: Gemma 4 has no tokens for the middle of a text");
    if (!ask_format(a, field_find(body, "response_format"), "response_format", r)) return false;
    a->s.logprobs = top >= 0;
    a->s.top_logprobs = (int32_t)(top > 0 ? top : 0);
    return ask_prompts(a, field_find(body, "prompt"), r);
}

/* ---- the answer ------------------------------------------------------------------------------------------- */

static json_t *frame(const job *j)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:s}", "id", j->id, "object", "text_completion", "created", (json_int_t)j->created, "model", j->model,
                     "system_fingerprint", "facet-" FACET_VERSION);
}

static json_t *usage(const job *j)
{
    job_usage u = job_count(j);
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)u.prompt, "completion_tokens", (json_int_t)u.answer, "total_tokens",
                     (json_int_t)(u.prompt + u.answer), "prompt_tokens_details", "cached_tokens", (json_int_t)u.cached);
}

/* The old shape: lists side by side.  NULL when out of memory. */
static json_t *logprobs(json_t *list)
{
    size_t i, k, offset = 0;
    json_t *entry, *one;
    if (!list) return json_null();
    json_t *tokens = json_array(), *numbers = json_array(), *tops = json_array(), *offsets = json_array();
    bool ok = true;
    json_array_foreach(list, i, entry) {
        json_t *token = json_object_get(entry, "token"), *top = json_object();
        json_array_foreach(json_object_get(entry, "top_logprobs"), k, one)
            ok = ok && json_object_set(top, json_string_value(json_object_get(one, "token")), json_object_get(one, "logprob")) == 0;
        ok = json_array_append_new(tops, top) == 0 && ok && json_array_append(tokens, token) == 0 &&
             json_array_append(numbers, json_object_get(entry, "logprob")) == 0 &&
             json_array_append_new(offsets, json_integer((json_int_t)offset)) == 0;
        offset += json_string_length(token);
    }
    json_t *o = ok ? json_pack("{s:O, s:O, s:O, s:O}", "tokens", tokens, "token_logprobs", numbers, "top_logprobs", tops, "text_offset", offsets) : NULL;
    json_decref(tokens);
    json_decref(numbers);
    json_decref(tops);
    json_decref(offsets);
    return o;
}

/* With echo the prompt's text comes first. */
static status add_prompt(const job *j, const job_answer *a, buf *out)
{
    const json_t *prompt = json_array_get(j->ask.prompts, (size_t)(a->index / (int)j->ask.n));
    size_t n = json_array_size(prompt), bytes = 0;
    char *text = NULL;
    if (json_is_string(prompt)) return buf_add(out, json_string_value(prompt), json_string_length(prompt), NULL);
    int32_t *ids = mem_array(n, sizeof *ids, MEM_IO);
    if (!ids) return E_NOMEM;
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(prompt, i));
    status st = facet_detokenize(j->s->model, ids, n, false, &text, &bytes, NULL);
    if (st == OK) st = buf_add(out, text, bytes, NULL);
    facet_free(text);
    mem_free(ids);
    return st;
}

static json_t *choice(job *j, job_answer *a, json_t *text, const char *finish)
{
    json_t *o = json_pack("{s:i, s:o, s:o, s:s?}", "index", a->index, "text", text, "logprobs", logprobs(a->logprobs), "finish_reason", finish);
    if (!j->begun) return o;
    json_decref(a->logprobs);
    a->logprobs = NULL;
    return o;
}

static json_t *whole(job *j)
{
    json_t *o = frame(j), *choices = json_array();
    bool ok = field_put(o, "choices", choices);
    for (int i = 0; ok && i < j->count; i++) {
        job_answer *a = &j->answers[i];
        buf b;
        buf_init(&b, (size_t)1 << 30);
        ok = !j->ask.echo || add_prompt(j, a, &b) == OK;
        ok = ok && buf_add(&b, buf_text(&a->text), a->text.len, NULL) == OK &&
             json_array_append_new(choices, choice(j, a, json_stringn(buf_text(&b), b.len), job_finish_name(a))) == 0;
        buf_done(&b);
    }
    if (ok && field_put(o, "usage", usage(j))) return o;
    json_decref(o);
    return NULL;
}

/* ---- the stream ---------------------------------------------------------------------------------------------- */

static void chunk(job *j, job_answer *a, const char *p, size_t n, const char *finish)
{
    json_t *o = frame(j);
    if (!field_put(o, "choices", json_pack("[o]", choice(j, a, json_stringn(p, n), finish)))) { json_decref(o); o = NULL; }
    job_send(j, NULL, o);
}

static void begin(job *j)
{
    for (int i = 0; j->ask.echo && i < j->count; i++) {
        buf b;
        buf_init(&b, (size_t)1 << 30);
        if (add_prompt(j, &j->answers[i], &b) == OK) chunk(j, &j->answers[i], buf_text(&b), b.len, NULL);
        else job_send(j, NULL, NULL);
        buf_done(&b);
    }
}

static void text(job *j, job_answer *a, str piece) { chunk(j, a, piece.p, piece.n, NULL); }
static void answered(job *j, job_answer *a) { chunk(j, a, "", 0, job_finish_name(a)); }
static void no_call(job *j, job_answer *a, const json_t *call) { (void)j; (void)a; (void)call; }     /* raw texts are not parsed */

static void end(job *j)
{
    if (j->ask.usage) {
        json_t *o = frame(j);
        if (!field_put(o, "choices", json_array()) || !field_put(o, "usage", usage(j))) { json_decref(o); o = NULL; }
        job_send(j, NULL, o);
    }
    job_send_raw(j, "data: [DONE]\n\n");
}

static void ping(job *j) { job_send_raw(j, ": ping\n\n"); }
static void broken(job *j, const refusal *r) { job_send(j, NULL, server_error_openai(r)); }

static const dialect completions = { .stream_type = "text/event-stream", .begin = begin, .thought = text, .text = text, .call = no_call,
                                     .answered = answered, .end = end, .ping = ping, .broken = broken, .whole = whole,
                                     .refuse = server_refuse_openai, .call_prefix = "call_" };

void openai_completions(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    ask a;
    ask_init(&a, s->model, false, 0);
    if (field_parse(&body, http_body(c), &r) && read_request(s, &a, body, &r)) {
        job_start(s, c, &completions, &a, "cmpl-", NULL);
    } else {
        s->metrics.refused++;
        server_refuse_openai(c, &r);
    }
    ask_done(&a);
    json_decref(body);
}
