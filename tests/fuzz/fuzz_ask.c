/* Any bytes as the body of a request: refused with a status and a reason, or understood within the limits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/anthropic_read.h"
#include "serve/ollama_read.h"
#include "serve/responses_read.h"

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

/* A call is required only of what is declared. */
static void check_choice(const ask *a)
{
    const json_t *declared = json_object_get(a->conversation, "tools"), *tool;
    size_t i;
    bool found = !a->named;
    json_array_foreach(declared, i, tool) {
        const char *name = json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
        need(name && name[0]);
        found = found || strcmp(name, a->named) == 0;
    }
    need(found && (a->choice != FACET_TOOLS_REQUIRED || i > 0));
}

/* The way before tools. */
static void read_functions(const json_t *body)
{
    ask a = { 0 };
    json_t *tools = NULL;
    refusal r = { 0 };
    if (is_fine(ask_functions(&a, body, &tools, &r), &r) && is_fine(ask_conversation(&a, json_object_get(body, "messages"), tools, &r), &r) &&
        is_fine(ask_function_choice(&a, body, &r), &r)) check_choice(&a);
    json_decref(tools);
    ask_done(&a);
}

static void read_all(ask *a, const json_t *body)
{
    static const char *const limits[] = { "max_completion_tokens", "max_tokens", NULL };
    const json_t *tools = NULL;
    refusal r = { 0 };
    if (is_fine(ask_sampling(a, body, &r), &r) && is_fine(ask_stop(a, body, "stop", &r), &r) && is_fine(ask_bias(a, body, 1000, &r), &r) &&
        is_fine(ask_limit(a, body, limits, &r), &r)) check_sampling(&a->s);
    is_fine(ask_thinking(a, body, &r), &r);
    if (is_fine(ask_format(a, field_find(body, "response_format"), "response_format", &r), &r)) need(a->json || !a->schema);
    bool ok = is_fine(field_list(body, "tools", ASK_TOOLS_MAX, &tools, &r), &r);
    if (ok && is_fine(ask_conversation(a, json_object_get(body, "messages"), tools, &r), &r)) {
        need(json_array_size(json_object_get(a->conversation, "messages")) == json_array_size(json_object_get(body, "messages")));
        need(json_array_size(json_object_get(a->conversation, "tools")) <= json_array_size(tools));
        if (is_fine(ask_tool_choice(a, field_find(body, "tool_choice"), &r), &r)) check_choice(a);
    }
    read_functions(body);
    if (is_fine(ask_prompts(a, field_find(body, "prompt"), &r), &r)) need(json_array_size(a->prompts) >= 1);
}

/* The same bytes as a request of Anthropic's. */
static void read_messages(const json_t *body)
{
    ask a = { 0 };
    json_t *messages = NULL, *tools = NULL;
    refusal r = { 0 };
    if (is_fine(anthropic_read_messages(body, &messages, &r), &r) && is_fine(anthropic_read_tools(body, &tools, &r), &r) &&
        is_fine(ask_conversation(&a, messages, tools, &r), &r) && is_fine(anthropic_read_choice(body, &a, &r), &r) &&
        is_fine(anthropic_read_format(body, &a, &r), &r)) check_choice(&a);
    json_decref(messages);
    json_decref(tools);
    ask_done(&a);
}

/* And of Ollama's. */
static void read_ollama(const json_t *body)
{
    ask a = { .s = { .temperature = 1, .top_p = 1, .repeat_penalty = 1 } }, b = { 0 };
    json_t *messages = NULL, *turns = NULL;
    const json_t *prompt = NULL;
    int64_t num_ctx = 0;
    bool raw = false;
    refusal r = { 0 };
    if (is_fine(ollama_read_options(&a, body, &num_ctx, &r), &r)) {
        check_sampling(&a.s);
        need(num_ctx >= 0 && num_ctx <= INT32_MAX && a.s.top_logprobs <= ASK_LOGPROBS_MAX);
    }
    if (is_fine(ollama_read_messages(body, &messages, &r), &r) && json_array_size(messages)) is_fine(ask_conversation(&a, messages, NULL, &r), &r);
    if (is_fine(ollama_read_prompt(body, &prompt, &raw, &r), &r) && prompt &&
        is_fine(ollama_read_turns(body, prompt, json_object_get(body, "messages"), &turns, &r), &r) && is_fine(ask_conversation(&b, turns, NULL, &r), &r))
        need(json_array_size(json_object_get(b.conversation, "messages")) == json_array_size(turns));
    json_decref(messages);
    json_decref(turns);
    ask_done(&a);
    ask_done(&b);
}

/* And as one of the Responses API, with what came before kept in a store: itself. */
static void read_responses(const json_t *body)
{
    ask a = { .source = "input" };
    json_t *input = NULL, *messages = NULL, *at = NULL, *tools = NULL, *twice = NULL;
    responses_store *store = NULL;
    refusal r = { 0 };
    need(responses_store_new(&store, NULL) == OK);
    if (is_fine(responses_read_input(body, store, 1, &input, &r), &r)) {
        json_t *response = json_pack("{s:s, s:O}", "id", "resp", "output", input), *item;
        size_t i;
        json_array_foreach(input, i, item) need(json_is_string(json_object_get(item, "id")) && json_is_string(json_object_get(item, "type")));
        responses_store_put(store, 1, &(stored_response){ .response = response, .input = input, .items = input });
        json_decref(response);
        is_fine(responses_read_input(body, store, 1, &twice, &r), &r);
        need(responses_store_delete(store, 1, "resp"));
    }
    if (input && is_fine(responses_read_messages(body, input, json_array_size(input) / 2, &messages, &at, &r), &r) &&
        is_fine(responses_read_tools(body, &tools, &r), &r)) {
        need(json_array_size(messages) == json_array_size(at) && json_array_size(messages) > 0);
        a.at = at;
        if (is_fine(ask_conversation(&a, messages, tools, &r), &r) && is_fine(ask_tool_choice(&a, field_find(body, "tool_choice"), &r), &r)) check_choice(&a);
    }
    json_t *all[] = { input, messages, at, tools, twice };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) json_decref(all[i]);
    responses_store_free(store);
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
        read_ollama(body);
        read_responses(body);
    }
    ask_done(&a);
    json_decref(body);
    return 0;
}
