#include "serve/ask.h"

#include <string.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/mem.h"

void ask_init(ask *a, const facet_model *m, bool think, int32_t think_budget)
{
    *a = (ask){ .think = think, .think_budget = think_budget ? think_budget : -1, .n = 1 };
    facet_sampling_defaults(m, &a->s);
}

void ask_done(ask *a)
{
    json_decref(a->conversation);
    json_decref(a->prompts);
    json_decref(a->schema);
    mem_free(a->bias);
    a->conversation = a->prompts = a->schema = NULL;
    a->bias = NULL;
}

/* ---- drawing tokens -------------------------------------------------------------------------------- */

/* vLLM's cache_salt: requests with another one do not find this one's prompt. */
static bool read_salt(ask *a, const json_t *body, refusal *r)
{
    const char *salt = NULL;
    if (!field_text(body, "cache_salt", &salt, r)) return false;
    if (salt) a->salt = hash_bytes(salt, strlen(salt), 0);
    return true;
}

bool ask_sampling(ask *a, const json_t *body, refusal *r)
{
    facet_sampling *s = &a->s;
    int64_t top_k = s->top_k, seed = (int64_t)s->seed;
    bool ok = field_real(body, "temperature", 0, 2, &s->temperature, r) && field_real(body, "top_p", 0, 1, &s->top_p, r) &&
              field_int(body, "top_k", -1, INT32_MAX, &top_k, r) && field_real(body, "min_p", 0, 1, &s->min_p, r) &&
              field_real(body, "presence_penalty", -2, 2, &s->presence_penalty, r) &&
              field_real(body, "frequency_penalty", -2, 2, &s->frequency_penalty, r) &&
              field_real(body, "repeat_penalty", 0.01, 100, &s->repeat_penalty, r) &&
              field_real(body, "repetition_penalty", 0.01, 100, &s->repeat_penalty, r) &&
              field_int(body, "seed", INT64_MIN, INT64_MAX, &seed, r) && read_salt(a, body, r);
    s->top_k = (int32_t)MAX(top_k, 0);                 /* -1 is "off" elsewhere */
    s->seed = (uint64_t)seed;
    return ok;
}

bool ask_stop(ask *a, const json_t *body, const char *key, refusal *r)
{
    const json_t *v = field_find(body, key), *one;
    size_t i;
    if (!v) return true;
    if (json_is_string(v)) a->stop[a->s.stop_count++] = json_string_value(v);
    else if (!field_list(body, key, ASK_STOP_MAX, &v, r)) return false;
    else json_array_foreach(v, i, one) {
        if (!json_is_string(one)) return field_refuse(r, 400, NULL, key, "\"%s\" must be a string or a list of strings", key);
        a->stop[a->s.stop_count++] = json_string_value(one);
    }
    for (i = 0; i < a->s.stop_count; i++)
        if (!a->stop[i][0]) return field_refuse(r, 400, NULL, key, "\"%s\" has an empty text in it", key);
    a->s.stop = a->stop;
    return true;
}

bool ask_bias(ask *a, const json_t *body, int32_t vocab, refusal *r)
{
    const json_t *v = NULL;
    const char *key;
    json_t *add;
    if (!field_object(body, "logit_bias", &v, r)) return false;
    size_t n = json_object_size(v);
    if (n == 0) return true;
    if (n > ASK_BIAS_MAX) return field_refuse(r, 400, NULL, "logit_bias", "\"logit_bias\" has %zu entries; at most %d are taken", n, (int)ASK_BIAS_MAX);
    a->bias = mem_array(n, sizeof *a->bias, MEM_IO);
    if (!a->bias) return field_refuse(r, 503, NULL, NULL, "out of memory");
    json_object_foreach((json_t *)v, key, add) {
        int64_t id = 0;
        double x = json_number_value(add);
        if (str_to_i64(str_from(key), "id", 0, vocab - 1, &id, NULL) != OK)
            return field_refuse(r, 400, NULL, "logit_bias", "\"%s\" is no token: ids are from 0 to %d", key, vocab - 1);
        if (!json_is_number(add) || !(x >= -100 && x <= 100))
            return field_refuse(r, 400, NULL, "logit_bias", "the bias of token %s must be a number from -100 to 100", key);
        a->bias[a->s.bias_count++] = (facet_bias){ (int32_t)id, (float)x };
    }
    a->s.bias = a->bias;
    return true;
}

bool ask_limit(ask *a, const json_t *body, const char *const keys[], refusal *r)
{
    for (size_t i = 0; keys[i]; i++) {
        int64_t n = 0;
        if (!field_find(body, keys[i])) continue;
        if (!field_int(body, keys[i], 1, INT64_MAX, &n, r)) return false;
        a->s.max_tokens = (int32_t)MIN(n, INT32_MAX);
        return true;
    }
    return true;
}

/* ---- raw texts ----------------------------------------------------------------------------------------- */

static bool is_ids(const json_t *v)
{
    return json_is_array(v) && json_array_size(v) && json_is_integer(json_array_get(v, 0));
}

static bool check_prompt(const json_t *v, refusal *r)
{
    size_t i;
    json_t *id;
    if (json_is_string(v)) return true;
    if (!is_ids(v)) return field_refuse(r, 400, NULL, "prompt", "\"prompt\" must be a string, a list of token ids, or a list of either");
    json_array_foreach(v, i, id) {
        json_int_t n = json_integer_value(id);
        if (!json_is_integer(id) || n < 0 || n > INT32_MAX) return field_refuse(r, 400, NULL, "prompt", "entry %zu of \"prompt\" is no token id", i);
    }
    return true;
}

bool ask_prompts(ask *a, const json_t *prompt, refusal *r)
{
    size_t i;
    json_t *one;
    a->prompts = json_is_array(prompt) && !is_ids(prompt) ? json_incref((json_t *)prompt) : json_pack("[O]", prompt);
    if (!a->prompts) return field_refuse(r, prompt ? 503 : 400, NULL, prompt ? NULL : "prompt", prompt ? "out of memory" : "\"prompt\" is missing");
    if (json_array_size(a->prompts) == 0) return field_refuse(r, 400, NULL, "prompt", "\"prompt\" is an empty list");
    if (json_array_size(a->prompts) > ASK_PROMPTS_MAX)
        return field_refuse(r, 400, NULL, "prompt", "\"prompt\" has %zu entries; at most %d are taken", json_array_size(a->prompts), (int)ASK_PROMPTS_MAX);
    json_array_foreach(a->prompts, i, one)
        if (!check_prompt(one, r)) return false;
    return true;
}
