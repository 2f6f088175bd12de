#include "tune/recipe.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/bits.h"
#include "base/buf.h"
#include "os/file.h"

enum { FILE_MAX_BYTES = 1 << 20 };

#define AT(field) offsetof(recipe_values, field)

const recipe_key recipe_keys[] = {
    { "model", RECIPE_TEXT, AT(model), .free = true },
    { "data", RECIPE_TEXTS, AT(data), .free = true },       /* what is in it is compared */
    { "method", RECIPE_CHOICE, AT(method), .choices = "sft|dpo|orpo", .text = "sft" },
    { "preference", RECIPE_CHOICE, AT(preference), .choices = "sigmoid|hinge|ipo", .text = "sigmoid" },
    { "beta", RECIPE_REAL, AT(beta), .fallback = 0.1, .min = 1e-6, .max = 1e6 },
    { "sft_weight", RECIPE_REAL, AT(sft_weight), .min = 0, .max = 1e6 },
    { "preset", RECIPE_CHOICE, AT(preset), .choices = "dense|experts-hot|experts-all|router|layered", .text = "dense" },
    { "profile", RECIPE_TEXT, AT(profile), .free = true },
    { "profile_tokens", RECIPE_INT, AT(profile_tokens), .fallback = 131072, .min = 1, .max = 1e12, .free = true },
    { "hot_count", RECIPE_INT, AT(hot_count), .min = 0, .max = 65536 },
    { "hot_share", RECIPE_REAL, AT(hot_share), .min = 0, .max = 1 },
    { "hot_by", RECIPE_CHOICE, AT(hot_by), .choices = "choices|weight", .text = "choices" },
    { "targets", RECIPE_TEXT, AT(targets), .choices = NULL },
    { "only", RECIPE_BOOL, AT(only), .choices = NULL },
    { "init_from", RECIPE_TEXT, AT(init_from), .free = true },
    { "rank", RECIPE_INT, AT(rank), .fallback = 16, .min = 1, .max = 512 },
    { "alpha", RECIPE_REAL, AT(alpha), .min = 0, .max = 1e6 },
    { "expert_rank", RECIPE_INT, AT(expert_rank), .min = 0, .max = 512 },
    { "expert_alpha", RECIPE_REAL, AT(expert_alpha), .min = 0, .max = 1e6 },
    { "rslora", RECIPE_BOOL, AT(rslora), .choices = NULL },
    { "first_layer", RECIPE_INT, AT(first_layer), .min = 0, .max = 511 },
    { "last_layer", RECIPE_INT, AT(last_layer), .fallback = -1, .min = -1, .max = 511 },
    { "lr", RECIPE_REAL, AT(lr), .fallback = -1, .min = -1, .max = 10 },
    { "lr_attention", RECIPE_REAL, AT(lr_attention), .fallback = -1, .min = -1, .max = 10 },
    { "lr_dense", RECIPE_REAL, AT(lr_dense), .fallback = -1, .min = -1, .max = 10 },
    { "lr_experts", RECIPE_REAL, AT(lr_experts), .fallback = -1, .min = -1, .max = 10 },
    { "lr_router", RECIPE_REAL, AT(lr_router), .fallback = -1, .min = -1, .max = 10 },
    { "lr_ple", RECIPE_REAL, AT(lr_ple), .fallback = -1, .min = -1, .max = 10 },
    { "schedule", RECIPE_CHOICE, AT(schedule), .choices = "cosine|linear|constant", .text = "cosine" },
    { "warmup", RECIPE_INT, AT(warmup), .fallback = -1, .min = -1, .max = 1e9 },
    { "optimizer", RECIPE_CHOICE, AT(optimizer), .choices = "adamw|adamw-8bit", .text = "adamw" },
    { "beta1", RECIPE_REAL, AT(beta1), .fallback = 0.9, .min = 0, .max = 0.9999999 },
    { "beta2", RECIPE_REAL, AT(beta2), .fallback = 0.999, .min = 0, .max = 0.9999999 },
    { "decay", RECIPE_REAL, AT(decay), .min = 0, .max = 10 },
    { "clip", RECIPE_REAL, AT(clip), .fallback = 1, .min = 0, .max = 1e9 },
    { "epochs", RECIPE_INT, AT(epochs), .fallback = 1, .min = 1, .max = 100000 },
    { "steps", RECIPE_INT, AT(steps), .min = 0, .max = 1e9 },
    { "stop_after", RECIPE_INT, AT(stop_after), .min = 0, .max = 1e9, .free = true },
    { "batch", RECIPE_INT, AT(batch), .fallback = 8, .min = 1, .max = 1 << 20 },
    { "rows", RECIPE_INT, AT(rows), .min = 0, .max = 1 << 20 },
    { "max_length", RECIPE_INT, AT(max_length), .fallback = 2048, .min = 16, .max = 1 << 20 },
    { "seed", RECIPE_INT, AT(seed), .min = 0, .max = 9e15 },
    { "thinking", RECIPE_CHOICE, AT(thinking), .choices = "auto|off|on", .text = "auto" },
    { "thoughts_are_context", RECIPE_BOOL, AT(thoughts_are_context), .choices = NULL },
    { "chat_strings", RECIPE_BOOL, AT(chat_strings), .choices = NULL },
    { "bad_rows", RECIPE_INT, AT(bad_rows), .fallback = 100, .min = 0, .max = 1e9 },
    { "held_out", RECIPE_REAL, AT(held_out), .fallback = 0.04, .min = 0, .max = 0.5 },
    { "eval_every", RECIPE_INT, AT(eval_every), .min = 0, .max = 1e9 },
    { "patience", RECIPE_INT, AT(patience), .min = 0, .max = 1e9 },
    { "save_every", RECIPE_INT, AT(save_every), .min = 0, .max = 1e9, .free = true },
    { "spike", RECIPE_REAL, AT(spike), .fallback = 3, .min = 0, .max = 1e9 },
    { "adapter_class", RECIPE_CHOICE, AT(adapter_class), .choices = "base|text|multimodal", .text = "base", .free = true },
    { "exact", RECIPE_BOOL, AT(exact), .choices = NULL },
    { "threads", RECIPE_INT, AT(threads), .min = 0, .max = 256, .free = true },
    { "isa", RECIPE_TEXT, AT(isa), .choices = NULL },
    { 0 } };

static const recipe_key *find(const char *name)
{
    for (const recipe_key *k = recipe_keys; k->name; k++)
        if (strcmp(k->name, name) == 0) return k;
    return NULL;
}

static json_t *default_of(const recipe_key *k)
{
    switch (k->type) {
    case RECIPE_TEXT: case RECIPE_CHOICE: return k->text ? json_string(k->text) : json_null();
    case RECIPE_TEXTS: return json_array();
    case RECIPE_INT: return json_integer((json_int_t)k->fallback);
    case RECIPE_REAL: return json_real(k->fallback);
    default: return json_boolean(k->fallback != 0);
    }
}

status recipe_new(json_t **out, err *e)
{
    status st = OK;
    json_t *j = json_object();
    for (const recipe_key *k = recipe_keys; j && k->name; k++)
        if (json_object_set_new(j, k->name, default_of(k)) != 0) FAIL(e, E_NOMEM, "could not make a recipe\nout of memory");
    if (!j) FAIL(e, E_NOMEM, "could not make a recipe\nout of memory");
    *out = j;
    j = NULL;
out:
    json_decref(j);
    return st;
}

/* ---- checks ----------------------------------------------------------------------------------------- */

static bool is_choice(const recipe_key *k, const char *text)
{
    str rest = str_from(k->choices), one;
    while (str_split(&rest, '|', &one))
        if (str_is(one, text)) return true;
    return false;
}

static bool all_texts(const json_t *v)
{
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i))) return false;
    return json_is_array(v);
}

/* What a value should be, when it is not. */
static const char *wrong(const recipe_key *k, const json_t *v)
{
    double d = json_number_value(v);
    switch (k->type) {
    case RECIPE_TEXT: return json_is_string(v) || json_is_null(v) ? NULL : "a text";
    case RECIPE_CHOICE: return json_is_string(v) && is_choice(k, json_string_value(v)) ? NULL : k->choices;
    case RECIPE_TEXTS: return all_texts(v) ? NULL : "a list of texts";
    case RECIPE_BOOL: return json_is_boolean(v) ? NULL : "true or false";
    case RECIPE_INT: return json_is_integer(v) && d >= k->min && d <= k->max ? NULL : "a whole number within its limits";
    default: return json_is_number(v) && d >= k->min && d <= k->max ? NULL : "a number within its limits";
    }
}

status recipe_set(json_t *to, const char *name, const json_t *value, const char *where, err *e)
{
    const recipe_key *k = find(name);
    if (!k) return err_set(e, E_FORMAT, "cannot use the recipe %s\nit has \"%s\", which is no setting\nThe settings stand in docs/tuning.md.", where, name);
    const char *expected = wrong(k, value);
    if (expected && (k->type == RECIPE_INT || k->type == RECIPE_REAL))
        return err_set(e, E_FORMAT, "cannot use the recipe %s\n\"%s\" must be %s: %g to %g", where, name, expected, k->min, k->max);
    if (expected) return err_set(e, E_FORMAT, "cannot use the recipe %s\n\"%s\" must be %s", where, name, expected);
    if (json_object_set(to, name, (json_t *)(uintptr_t)value) != 0) return err_set(e, E_NOMEM, "could not read the recipe %s\nout of memory", where);
    return OK;
}

status recipe_merge(json_t *to, const json_t *from, const char *where, err *e)
{
    status st = OK;
    const char *name;
    json_t *value;
    if (!json_is_object(from)) FAIL(e, E_FORMAT, "cannot use the recipe %s\nit is no JSON object", where);
    json_object_foreach((json_t *)(uintptr_t)from, name, value) TRY(recipe_set(to, name, value, where, e));
out:
    return st;
}

status recipe_load(json_t *to, const char *path, err *e)
{
    status st = OK;
    buf b;
    json_t *j = NULL;
    buf_init(&b, FILE_MAX_BYTES);
    TRY(file_read_all(&b, path, e));
    TRY(json_parse(&j, (str){ buf_text(&b), b.len }, path, true, e));
    TRY(recipe_merge(to, j, path, e));
out:
    json_decref(j);
    buf_done(&b);
    return st;
}

status recipe_read(recipe_values *out, const json_t *j, err *e)
{
    for (const recipe_key *k = recipe_keys; k->name; k++) {
        const json_t *v = json_object_get(j, k->name);
        void *p = (char *)out + k->at;
        if (!v || wrong(k, v)) return err_set(e, E_FORMAT, "cannot use a recipe\n\"%s\" is missing or wrong", k->name);
        switch (k->type) {
        case RECIPE_TEXT: case RECIPE_CHOICE: { const char *s = json_string_value(v); memcpy(p, &s, sizeof s); break; }
        case RECIPE_TEXTS: memcpy(p, &v, sizeof v); break;
        case RECIPE_INT: { int64_t n = json_integer_value(v); memcpy(p, &n, sizeof n); break; }
        case RECIPE_REAL: { double d = json_number_value(v); memcpy(p, &d, sizeof d); break; }
        case RECIPE_BOOL: { bool b = json_is_true(v); memcpy(p, &b, sizeof b); break; }
        }
    }
    return OK;
}

const char *recipe_differs(const json_t *a, const json_t *b)
{
    for (const recipe_key *k = recipe_keys; k->name; k++)
        if (!k->free && !json_equal(json_object_get(a, k->name), json_object_get(b, k->name))) return k->name;
    return NULL;
}
