/* Answers of /v1/responses, in pieces and whole. */
#include <string.h>

#include "serve/responses.h"

/* more is taken; its keys follow the type and the number. */
static void event(job *j, const char *type, json_t *more)
{
    json_t *o = json_pack("{s:s, s:i}", "type", type, "sequence_number", j->step[RESPONSES_EVENT]++);
    if (json_object_update(o, more) != 0) {
        json_decref(o);
        o = NULL;
    }
    json_decref(more);
    job_send(j, type, o);
}

static json_t *last_item(const job *j, int *index)
{
    const json_t *output = json_object_get(j->extra, "output");
    *index = (int)json_array_size(output) - 1;
    return json_array_get(output, json_array_size(output) - 1);
}

/* { "item_id", "output_index", "content_index" } of what is being said. */
static json_t *place(const job *j, bool part)
{
    int index;
    const json_t *item = last_item(j, &index);
    json_t *o = json_pack("{s:O, s:i}", "item_id", json_object_get(item, "id"), "output_index", index);
    if (part) json_object_set_new(o, "content_index", json_integer(0));
    return o;
}

static json_t *with(json_t *o, const char *key, json_t *v)
{
    if (field_put(o, key, v)) return o;
    json_decref(o);
    return NULL;
}

static void item_event(job *j, const char *type)
{
    int index;
    json_t *item = last_item(j, &index);
    event(j, type, json_pack("{s:i, s:o}", "output_index", index, "item", json_incref(item)));
}

static json_t *empty_part(int kind)
{
    return kind == RESPONSES_THOUGHT ? json_pack("{s:s, s:s}", "type", "reasoning_text", "text", "")
                                     : json_pack("{s:s, s:s, s:[], s:[]}", "type", "output_text", "text", "", "annotations", "logprobs");
}

/* ---- thought and text ------------------------------------------------------------------------------------------ */

static str said_of(const job *j, int kind)
{
    const buf *b = kind == RESPONSES_THOUGHT ? &j->answers[0].thought : &j->answers[0].text;
    return str_skip((str){ buf_text(b), b->len }, (size_t)j->step[RESPONSES_BEGIN]);
}

static void close_item(job *j)
{
    int kind = j->step[RESPONSES_OPEN], index;
    if (kind == RESPONSES_NOTHING) return;
    bool thought = kind == RESPONSES_THOUGHT;
    str text = said_of(j, kind);
    j->step[RESPONSES_OPEN] = RESPONSES_NOTHING;
    if (!responses_close_item(j, kind, text, thought ? NULL : j->answers[0].logprobs)) { job_send(j, NULL, NULL); return; }
    const json_t *part = json_array_get(json_object_get(last_item(j, &index), "content"), 0);
    json_t *done = with(place(j, true), "text", json_stringn(text.p, text.n));
    if (!thought) done = with(done, "logprobs", json_incref(json_object_get(part, "logprobs")));
    event(j, thought ? "response.reasoning_text.done" : "response.output_text.done", done);
    event(j, "response.content_part.done", with(place(j, true), "part", json_incref((json_t *)part)));
    item_event(j, "response.output_item.done");
}

/* begin: where in the thought or text. */
static bool open_item(job *j, int kind, size_t begin)
{
    close_item(j);
    if (!responses_open_item(j, kind, NULL)) {
        job_send(j, NULL, NULL);
        return false;
    }
    j->step[RESPONSES_OPEN] = kind;
    j->step[RESPONSES_BEGIN] = (int)begin;
    item_event(j, "response.output_item.added");
    event(j, "response.content_part.added", with(place(j, true), "part", empty_part(kind)));
    return true;
}

static void say(job *j, int kind, str piece)
{
    const buf *b = kind == RESPONSES_THOUGHT ? &j->answers[0].thought : &j->answers[0].text;
    if (j->step[RESPONSES_OPEN] != kind && !open_item(j, kind, b->len - piece.n)) return;      /* the piece is in it already */
    json_t *delta = with(place(j, true), "delta", json_stringn(piece.p, piece.n));
    if (kind == RESPONSES_TEXT) delta = with(delta, "logprobs", json_array());
    event(j, kind == RESPONSES_THOUGHT ? "response.reasoning_text.delta" : "response.output_text.delta", delta);
}

static void thought(job *j, job_answer *a, str piece) { (void)a; say(j, RESPONSES_THOUGHT, piece); }
static void text(job *j, job_answer *a, str piece) { (void)a; say(j, RESPONSES_TEXT, piece); }

static void one_call(job *j, job_answer *a, const json_t *call)
{
    json_t *arguments = json_object_get(call, "arguments");
    (void)a;
    close_item(j);
    if (!responses_open_item(j, RESPONSES_NOTHING, call)) { job_send(j, NULL, NULL); return; }
    item_event(j, "response.output_item.added");
    event(j, "response.function_call_arguments.delta", with(place(j, false), "delta", json_incref(arguments)));
    event(j, "response.function_call_arguments.done", with(with(place(j, false), "name", json_incref(json_object_get(call, "name"))), "arguments", json_incref(arguments)));
    if (!responses_close_item(j, RESPONSES_NOTHING, (str){ json_string_value(arguments), json_string_length(arguments) }, NULL)) { job_send(j, NULL, NULL); return; }
    item_event(j, "response.output_item.done");
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static void begin(job *j)
{
    event(j, "response.created", json_pack("{s:o}", "response", responses_object(j, "in_progress")));
    event(j, "response.in_progress", json_pack("{s:o}", "response", responses_object(j, "in_progress")));
}

/* An answer that is nothing at all is an empty message. */
static bool is_silent(const job_answer *a) { return !a->text.len && !job_has_calls(a) && a->result.finish != FACET_FINISH_LENGTH; }

static void answered(job *j, job_answer *a)
{
    if (is_silent(a)) open_item(j, RESPONSES_TEXT, 0);
    close_item(j);
}

static void end(job *j)
{
    const char *state = "failed";
    json_t *o = responses_finish(j, &state);
    event(j, strcmp(state, "incomplete") == 0 ? "response.incomplete" : "response.completed", json_pack("{s:o}", "response", o));
}

static void ping(job *j) { job_send_raw(j, ": ping\n\n"); }

static void broken(job *j, const refusal *r)
{
    (void)r;
    event(j, "response.failed", json_pack("{s:o}", "response", responses_object(j, "failed")));
}

static json_t *whole(job *j)
{
    const job_answer *a = &j->answers[0];
    const char *state;
    size_t i;
    json_t *call;
    bool ok = true;
    if (a->thought.len && !j->ask.hide_thought)
        ok = responses_open_item(j, RESPONSES_THOUGHT, NULL) && responses_close_item(j, RESPONSES_THOUGHT, (str){ a->thought.data, a->thought.len }, NULL);
    if (a->text.len || is_silent(a))
        ok = ok && responses_open_item(j, RESPONSES_TEXT, NULL) && responses_close_item(j, RESPONSES_TEXT, (str){ buf_text(&a->text), a->text.len }, a->logprobs);
    json_array_foreach(a->calls, i, call) {
        const json_t *arguments = json_object_get(call, "arguments");
        ok = ok && responses_open_item(j, RESPONSES_NOTHING, call) &&
             responses_close_item(j, RESPONSES_NOTHING, (str){ json_string_value(arguments), json_string_length(arguments) }, NULL);
    }
    return ok ? responses_finish(j, &state) : NULL;
}

const dialect responses_dialect = { .stream_type = "text/event-stream", .begin = begin, .thought = thought, .text = text, .call = one_call, .answered = answered,
                                    .end = end, .ping = ping, .broken = broken, .whole = whole, .refuse = server_refuse_openai, .call_prefix = "call_" };
