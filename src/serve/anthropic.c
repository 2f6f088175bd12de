/* POST /v1/messages and /v1/messages/count_tokens. */
#include <string.h>

#include "serve/anthropic_read.h"
#include "serve/job.h"

/* ---- the request ------------------------------------------------------------------------------------------- */

/* How long to think: the effort, which Claude Code sends with every request, does not switch it on.  Numbers win. */
static bool read_thinking(ask *a, const json_t *body, refusal *r)
{
    const json_t *config = NULL;
    const char *effort = NULL;
    if (!field_object(body, "output_config", &config, r) || !field_text(config, "effort", &effort, r)) return false;
    return (!effort || ask_effort_budget(a, effort, "output_config.effort", r)) && ask_thinking_object(a, body, r);
}

static bool read_conversation(ask *a, const json_t *body, refusal *r)
{
    json_t *messages = NULL, *tools = NULL;
    bool ok = read_thinking(a, body, r) && anthropic_read_messages(body, &messages, r) && anthropic_read_tools(body, &tools, r) &&
              ask_conversation(a, messages, tools, r) && anthropic_read_choice(body, a, r) && anthropic_read_format(body, a, r);
    json_decref(messages);
    json_decref(tools);
    return ok;
}

static bool read_request(server *s, ask *a, const json_t *body, refusal *r)
{
    static const char *const limits[] = { "max_tokens", NULL };
    const char *model = NULL;
    return field_text(body, "model", &model, r) && server_check_model(s, model, a->adapter, r) && ask_sampling(a, body, r) && ask_stop(a, body, "stop_sequences", r) &&
           ask_limit(a, body, limits, r) && field_bool(body, "stream", &a->stream, r) && read_conversation(a, body, r);
}

/* ---- the answer ---------------------------------------------------------------------------------------------- */

static const char *stop_reason(const job_answer *a)
{
    return a->result.finish == FACET_FINISH_LENGTH ? a->job->ask.s.max_tokens == a->result.answer_tokens ? "max_tokens" : "model_context_window_exceeded"
         : job_has_calls(a) ? "tool_use" : a->result.finish == FACET_FINISH_STOP_TEXT ? "stop_sequence" : "end_turn";
}

/* The stop texts are the body's, which is gone by now: their copies are j->extra. */
static json_t *stop_sequence(const job_answer *a)
{
    json_t *v = a->result.finish == FACET_FINISH_STOP_TEXT ? json_array_get(a->job->extra, (size_t)a->result.stop_index) : NULL;
    return v ? json_incref(v) : json_null();
}

static json_t *usage(const job *j, bool begun)
{
    job_usage u = job_count(j);
    return json_pack("{s:I, s:i, s:I, s:I}", "input_tokens", (json_int_t)(u.prompt - u.cached), "cache_creation_input_tokens", 0,
                     "cache_read_input_tokens", (json_int_t)u.cached, "output_tokens", (json_int_t)(begun ? 0 : u.answer));
}

static json_t *message(const job *j, json_t *content, json_t *reason, json_t *sequence, bool begun)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", j->id, "type", "message", "role", "assistant", "model", j->model,
                     "content", content, "stop_reason", reason, "stop_sequence", sequence, "usage", usage(j, begun));
}

static json_t *use_of(const json_t *call)
{
    json_t *input = NULL;
    const json_t *text = json_object_get(call, "arguments");
    status st = json_parse(&input, (str){ json_string_value(text), json_string_length(text) }, "arguments", false, NULL);
    if (st != OK && st != E_NOMEM) input = json_object();
    return json_pack("{s:s, s:O, s:O, s:o}", "type", "tool_use", "id", json_object_get(call, "id"), "name", json_object_get(call, "name"), "input", input);
}

/* Clients send the thought back with it; nothing is read from it. */
#define SIGNATURE "ZmFjZXQ="

static json_t *whole(job *j)
{
    const job_answer *a = &j->answers[0];
    size_t i;
    json_t *call, *content = json_array();
    bool ok = content != NULL;
    if (a->thought.len)
        ok = json_array_append_new(content, json_pack("{s:s, s:s%, s:s}", "type", "thinking", "thinking", j->ask.hide_thought ? "" : a->thought.data,
                                                      j->ask.hide_thought ? (size_t)0 : a->thought.len, "signature", SIGNATURE)) == 0;
    if (a->text.len) ok = ok && json_array_append_new(content, json_pack("{s:s, s:s%}", "type", "text", "text", a->text.data, a->text.len)) == 0;
    json_array_foreach(a->calls, i, call) ok = ok && json_array_append_new(content, use_of(call)) == 0;
    if (ok) return message(j, content, json_string(stop_reason(a)), stop_sequence(a), false);
    json_decref(content);
    return NULL;
}

/* ---- the stream ------------------------------------------------------------------------------------------------- */

enum { BLOCK, OPEN };                /* of job.step: number of the block, what it is */
enum { NONE, THINKING, TEXT };

static void close_block(job *j)
{
    if (j->step[OPEN] == NONE) return;
    if (j->step[OPEN] == THINKING)
        job_send(j, "content_block_delta", json_pack("{s:s, s:i, s:{s:s, s:s}}", "type", "content_block_delta", "index", j->step[BLOCK], "delta",
                                                     "type", "signature_delta", "signature", SIGNATURE));
    job_send(j, "content_block_stop", json_pack("{s:s, s:i}", "type", "content_block_stop", "index", j->step[BLOCK]));
    j->step[BLOCK]++;
    j->step[OPEN] = NONE;
}

static void open_block(job *j, int kind, json_t *block)
{
    close_block(j);
    j->step[OPEN] = kind;
    job_send(j, "content_block_start", json_pack("{s:s, s:i, s:o}", "type", "content_block_start", "index", j->step[BLOCK], "content_block", block));
}

static void ping(job *j) { job_send(j, "ping", json_pack("{s:s}", "type", "ping")); }

static void begin(job *j)
{
    job_send(j, "message_start", json_pack("{s:s, s:o}", "type", "message_start", "message", message(j, json_array(), json_null(), json_null(), true)));
    ping(j);
}

static void thought(job *j, job_answer *a, str text)
{
    (void)a;
    if (j->step[OPEN] != THINKING) open_block(j, THINKING, json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", "", "signature", ""));
    job_send(j, "content_block_delta", json_pack("{s:s, s:i, s:{s:s, s:s%}}", "type", "content_block_delta", "index", j->step[BLOCK], "delta",
                                                 "type", "thinking_delta", "thinking", text.p, text.n));
}

static void text(job *j, job_answer *a, str piece)
{
    (void)a;
    if (j->step[OPEN] != TEXT) open_block(j, TEXT, json_pack("{s:s, s:s}", "type", "text", "text", ""));
    job_send(j, "content_block_delta", json_pack("{s:s, s:i, s:{s:s, s:s%}}", "type", "content_block_delta", "index", j->step[BLOCK], "delta",
                                                 "type", "text_delta", "text", piece.p, piece.n));
}

static void use(job *j, job_answer *a, const json_t *call)
{
    (void)a;
    close_block(j);
    job_send(j, "content_block_start", json_pack("{s:s, s:i, s:{s:s, s:O, s:O, s:{}}}", "type", "content_block_start", "index", j->step[BLOCK], "content_block",
                                                 "type", "tool_use", "id", json_object_get(call, "id"), "name", json_object_get(call, "name"), "input"));
    job_send(j, "content_block_delta", json_pack("{s:s, s:i, s:{s:s, s:O}}", "type", "content_block_delta", "index", j->step[BLOCK], "delta",
                                                 "type", "input_json_delta", "partial_json", json_object_get(call, "arguments")));
    job_send(j, "content_block_stop", json_pack("{s:s, s:i}", "type", "content_block_stop", "index", j->step[BLOCK]));
    j->step[BLOCK]++;
}

static void answered(job *j, job_answer *a)
{
    close_block(j);
    job_send(j, "message_delta", json_pack("{s:s, s:{s:s, s:o}, s:o}", "type", "message_delta", "delta", "stop_reason", stop_reason(a), "stop_sequence",
                                           stop_sequence(a), "usage", usage(j, false)));
}

static void end(job *j) { job_send(j, "message_stop", json_pack("{s:s}", "type", "message_stop")); }
static void broken(job *j, const refusal *r) { job_send(j, "error", server_error_anthropic(r)); }

static const dialect messages = { .stream_type = "text/event-stream", .begin = begin, .thought = thought, .text = text, .call = use, .answered = answered,
                                  .end = end, .ping = ping, .broken = broken, .whole = whole, .refuse = server_refuse_anthropic, .call_prefix = "toolu_" };

void anthropic_messages(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    ask a;
    ask_init(&a, s->model, s->o.think, s->o.think_budget);
    if (field_parse(&body, http_body(c), &r) && read_request(s, &a, body, &r)) {
        json_t *stops = json_object_get(body, "stop_sequences");
        job_start(s, c, &messages, &a, "msg_", json_is_array(stops) ? json_incref(stops) : NULL);
    } else {
        s->metrics.refused++;
        server_refuse_anthropic(c, &r);
    }
    ask_done(&a);
    json_decref(body);
}

void anthropic_count_tokens(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    size_t n = 0;
    ask a;
    ask_init(&a, s->model, s->o.think, s->o.think_budget);
    if (field_parse(&body, http_body(c), &r) && read_conversation(&a, body, &r) && job_recall(s, c, &a, &r) && job_count_prompt(s, &a, 0, &n, &r))
        server_reply_json(c, 200, json_pack("{s:I}", "input_tokens", (json_int_t)n));
    else server_refuse_anthropic(c, &r);
    ask_done(&a);
    json_decref(body);
}
