/* Any bytes as the body of a request: refused with a status and a reason, or understood within the limits. */
#include <math.h>
#include <stdlib.h>

#include "serve/anthropic_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool ok)
{
    if (!ok) abort();
}

static bool is_fine(bool ok, const refusal *r)
{
    need(ok || (r->status >= 400 && r->status < 600 && r->text[0]));
    return ok;
}

static void check_sampling(const facet_sampling *s)
{
    need(s->temperature >= 0 && s->temperature <= 2 && s->top_p >= 0 && s->top_p <= 1 && s->min_p >= 0 && s->min_p <= 1 && s->top_k >= 0);
    need(isfinite(s->presence_penalty) && isfinite(s->frequency_penalty) && s->max_tokens >= 0);
    need(s->stop_count <= ASK_STOP_MAX && s->bias_count <= ASK_BIAS_MAX);
    for (size_t i = 0; i < s->stop_count; i++) need(s->stop[i] && s->stop[i][0]);
    for (size_t i = 0; i < s->bias_count; i++) need(s->bias[i].id >= 0 && s->bias[i].id < 1000 && fabsf(s->bias[i].add) <= 100);
}

static void read_all(ask *a, const json_t *body)
{
    static const char *const limits[] = { "max_completion_tokens", "max_tokens", NULL };
    const json_t *tools = NULL;
    refusal r = { 0 };
    if (is_fine(ask_sampling(a, body, &r), &r) && is_fine(ask_stop(a, body, "stop", &r), &r) && is_fine(ask_bias(a, body, 1000, &r), &r) &&
        is_fine(ask_limit(a, body, limits, &r), &r)) check_sampling(&a->s);
    is_fine(ask_thinking(a, body, &r), &r);
    is_fine(ask_format(field_find(body, "response_format"), "response_format", &r), &r);
    bool ok = is_fine(field_list(body, "tools", ASK_TOOLS_MAX, &tools, &r), &r) && is_fine(ask_tool_choice(body, &tools, &r), &r);
    if (ok && is_fine(ask_conversation(a, json_object_get(body, "messages"), tools, &r), &r)) {
        need(json_array_size(json_object_get(a->conversation, "messages")) == json_array_size(json_object_get(body, "messages")));
        need(json_array_size(json_object_get(a->conversation, "tools")) <= json_array_size(tools));
    }
    if (is_fine(ask_prompts(a, field_find(body, "prompt"), &r), &r)) need(json_array_size(a->prompts) >= 1);
}

/* The same bytes as a request of Anthropic's. */
static void read_messages(const json_t *body)
{
    ask a = { 0 };
    json_t *messages = NULL, *tools = NULL;
    refusal r = { 0 };
    if (is_fine(anthropic_read_messages(body, &messages, &r), &r) && is_fine(anthropic_read_tools(body, &tools, &r), &r))
        is_fine(ask_conversation(&a, messages, tools, &r), &r);
    json_decref(messages);
    json_decref(tools);
    ask_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *body = NULL;
    refusal r = { 0 };
    ask a = { .s = { .temperature = 1, .top_p = 1, .repeat_penalty = 1 } };
    if (is_fine(field_parse(&body, (str){ (const char *)data, n }, &r), &r)) {
        read_all(&a, body);
        read_messages(body);
    }
    ask_done(&a);
    json_decref(body);
    return 0;
}
