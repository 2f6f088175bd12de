/* Whether to think and how long: the words that different clients have for it. */
#include <string.h>

#include "base/bits.h"
#include "serve/ask.h"

/* What the words for an effort come to, in tokens. */
static const struct { const char *word; bool think; int32_t budget; } efforts[] = {
    { "none", false, 0 }, { "minimal", false, 0 }, { "low", true, 1024 }, { "medium", true, 4096 }, { "high", true, 16384 }, { "xhigh", true, -1 }, { "max", true, -1 } };

static bool find_effort(const char *word, const char *field, size_t *at, refusal *r)
{
    for (size_t i = 0; i < COUNT_OF(efforts); i++)
        if (strcmp(word, efforts[i].word) == 0) { *at = i; return true; }
    return field_refuse(r, 400, NULL, field, "\"%s\" cannot be \"%s\"; it is one of none, minimal, low, medium, high, xhigh, max", field, word);
}

bool ask_effort(ask *a, const char *effort, const char *field, refusal *r)
{
    size_t at = 0;
    if (!find_effort(effort, field, &at, r)) return false;
    a->think = efforts[at].think;
    a->think_budget = efforts[at].budget;
    return true;
}

bool ask_effort_budget(ask *a, const char *effort, const char *field, refusal *r)
{
    size_t at = 0;
    if (!find_effort(effort, field, &at, r)) return false;
    if (efforts[at].think) a->think_budget = efforts[at].budget;
    return true;
}

bool ask_budget(ask *a, const json_t *o, const char *key, refusal *r)
{
    int64_t n = -1;
    if (!field_int(o, key, 0, INT64_MAX, &n, r)) return false;
    if (n < 0) return true;
    a->think = n > 0;
    a->think_budget = (int32_t)MIN(n, INT32_MAX);
    return true;
}

/* {"effort": "high"}, {"enabled": true}, {"max_tokens": 100}, {"exclude": true} */
static bool reasoning(ask *a, const json_t *o, refusal *r)
{
    const char *effort = NULL;
    if (!field_text(o, "effort", &effort, r) || (effort && !ask_effort(a, effort, "reasoning.effort", r))) return false;
    return ask_budget(a, o, "max_tokens", r) && field_bool(o, "enabled", &a->think, r) && field_bool(o, "exclude", &a->hide_thought, r);
}

/* Numbers win over words for an effort, and a switch over both; with a budget of 0 it opens a thought that is closed at once. */
bool ask_thinking(ask *a, const json_t *body, refusal *r)
{
    static const char *const budgets[] = { "thinking_budget", "max_thinking_tokens", "thinking_token_budget", "thinking_budget_tokens" };
    const json_t *o = NULL, *kwargs = NULL;
    const char *effort = NULL;
    if (!field_text(body, "reasoning_effort", &effort, r) || (effort && !ask_effort(a, effort, "reasoning_effort", r))) return false;
    if (!field_object(body, "reasoning", &o, r) || (o && !reasoning(a, o, r))) return false;
    for (size_t i = 0; i < COUNT_OF(budgets); i++)
        if (!ask_budget(a, body, budgets[i], r)) return false;
    if (!ask_thinking_object(a, body, r) || !field_bool(body, "enable_thinking", &a->think, r)) return false;
    return field_object(body, "chat_template_kwargs", &kwargs, r) && field_bool(kwargs, "enable_thinking", &a->think, r) &&
           field_bool(kwargs, "preserve_thinking", &a->preserve_thinking, r);
}

bool ask_thinking_object(ask *a, const json_t *body, refusal *r)
{
    const json_t *o = NULL;
    const char *type = NULL, *display = NULL;
    if (!field_object(body, "thinking", &o, r) || !field_text(o, "type", &type, r) || !field_text(o, "display", &display, r) ||
        !ask_budget(a, o, "budget_tokens", r)) return false;
    if (type) a->think = strcmp(type, "disabled") != 0;
    if (display) a->hide_thought = strcmp(display, "omitted") == 0;
    return true;
}
