#include "lora/lora_config.h"

#include <math.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/mem.h"

static const char WHERE[] = "adapter_config.json";

/* ---- what is refused ----------------------------------------------------------------------------- */

/* Settings that change what is computed; each is absent, null, false, empty or "none" in a plain adapter. */
static const char *const refused[] = {
    "use_dora", "use_qalora", "use_bdlora", "layer_replication", "bias", "lora_bias", "fan_in_fan_out", "modules_to_save",
    "trainable_token_indices", "alora_invocation_tokens", "megatron_config", "velora_config", "kasa_config", "monteclora_config", "arrow_config",
};

static bool is_set(const json_t *v)
{
    if (!v || json_is_null(v) || json_is_false(v)) return false;
    if (json_is_string(v)) return json_string_length(v) && strcmp(json_string_value(v), "none") != 0;
    if (json_is_array(v)) return json_array_size(v) > 0;
    if (json_is_object(v)) return json_object_size(v) > 0;
    return true;
}

/* These ways to begin change the base model's own weights, which the file of the model does not show. */
static bool changes_base(const json_t *init)
{
    static const char *const ways[] = { "pissa", "corda", "olora", "loftq", "lora_ga" };
    const char *s = json_string_value(init);
    for (size_t i = 0; s && i < COUNT_OF(ways); i++)
        if (str_starts(str_from(s), ways[i])) return true;
    return false;
}

static status refuse(const json_t *j, err *e)
{
    status st = OK;
    const char *type = NULL;
    TRY(json_str_or_null(j, "peft_type", WHERE, &type, e));
    if (!type || strcmp(type, "LORA") != 0)
        FAIL(e, E_UNSUPPORTED, "cannot use an adapter of the kind \"%s\"\nits \"peft_type\" is not \"LORA\"", type ? type : "");
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        if (is_set(json_object_get(j, refused[i])))
            FAIL(e, E_UNSUPPORTED, "cannot use an adapter with \"%s\"\nonly plain low-rank terms are supported\nMerge it into its model with PEFT.", refused[i]);
    if (changes_base(json_object_get(j, "init_lora_weights")))
        FAIL(e, E_UNSUPPORTED, "cannot use an adapter that began as \"%s\"\nthat changed the weights of its model, too\nLet PEFT convert it to a plain one.",
             json_string_value(json_object_get(j, "init_lora_weights")));
out:
    return st;
}

/* ---- alpha ----------------------------------------------------------------------------------------- */

static status read_alpha(const json_t *o, const char *key, double fallback, double *out, err *e)
{
    status st = json_f64_or(o, key, WHERE, fallback, out, e);
    if (st == OK && !(fabs(*out) <= 1e9)) st = err_set(e, E_FORMAT, "cannot use the alpha %g of \"%s\"\nit is no sensible number", *out, key);
    return st;
}

/* PEFT matches a key of the pattern as a regular expression that ends the module's path. */
static status add_pattern(lora_config *c, const json_t *all, const char *key, int64_t *work, err *e)
{
    status st = OK;
    char text[REGEX_PATTERN_MAX];
    double alpha;
    TRY(read_alpha(all, key, 0, &alpha, e));
    int n = snprintf(text, sizeof text, "^(.*\\.)?(%s)$", key);
    if (n < 0 || (size_t)n >= sizeof text) FAIL(e, E_UNSUPPORTED, "cannot read \"alpha_pattern\"\na key has more than %d bytes", REGEX_PATTERN_MAX - 16);
    TRY(regex_new(&c->patterns[c->pattern_count].match, str_from(text), work, e));
    c->patterns[c->pattern_count++].alpha = alpha;
out:
    if (st == E_ARG) st = err_set(e, E_FORMAT, "cannot read \"alpha_pattern\"\n\"%s\" is no regular expression", key);
    return st;
}

static status read_patterns(lora_config *c, const json_t *j, err *e)
{
    status st = OK;
    int64_t work = 50000000;
    const char *key;
    json_t *value, *all = json_object_get(j, "alpha_pattern");
    if (!all || json_is_null(all)) return OK;
    if (!json_is_object(all)) FAIL(e, E_FORMAT, "cannot read \"alpha_pattern\"\nit is no object");
    if (json_object_size(all) > LORA_CONFIG_PATTERNS_MAX)
        FAIL(e, E_UNSUPPORTED, "cannot read \"alpha_pattern\"\nit has more than %d keys", LORA_CONFIG_PATTERNS_MAX);
    c->patterns = mem_array(json_object_size(all), sizeof *c->patterns, MEM_OTHER);
    if (!c->patterns) FAIL(e, E_NOMEM, "could not read \"alpha_pattern\"\nout of memory");
    json_object_foreach(all, key, value) TRY(add_pattern(c, all, key, &work, e));
out:
    return st;
}

/* ---- the rest -------------------------------------------------------------------------------------- */

static status read_order(lora_config *c, const json_t *j, err *e)
{
    status st = OK;
    const char *layout = NULL;
    TRY(json_str_or_null(j, "lora_B_layout", WHERE, &layout, e));
    if (!layout) return OK;
    if (strcmp(layout, "rank_major") == 0) c->order = LORA_ORDER_RANK;
    else if (strcmp(layout, "grouped_by_expert") == 0) c->order = LORA_ORDER_EXPERT;
    else FAIL(e, E_UNSUPPORTED, "cannot read the order \"%s\" of fused experts\n\"lora_B_layout\" is rank_major or grouped_by_expert", layout);
out:
    return st;
}

/* "0.18.1" and before: the axes of fused experts are the other way round. */
static int is_old(const char *version)
{
    int major = 0, minor = 0;
    if (!version || sscanf(version, "%4d.%4d", &major, &minor) != 2) return -1;
    return major == 0 && minor < 19;
}

status lora_config_read(lora_config *c, const json_t *j, err *e)
{
    status st = OK;
    const char *version = NULL, *base = NULL;
    *c = (lora_config){ .old = -1 };
    if (!json_is_object(j)) FAIL(e, E_FORMAT, "cannot read adapter_config.json\nit is no JSON object");
    TRY(refuse(j, e));
    TRY(read_alpha(j, "lora_alpha", 8, &c->alpha, e));
    TRY(json_bool_or(j, "use_rslora", WHERE, false, &c->rslora, e));
    TRY(read_patterns(c, j, e));
    TRY(read_order(c, j, e));
    TRY(json_str_or_null(j, "peft_version", WHERE, &version, e));
    TRY(json_str_or_null(j, "base_model_name_or_path", WHERE, &base, e));
    c->old = is_old(version);
    c->unsloth = json_object_get(j, "unsloth_version") || (base && str_find(str_from(base), STR("unsloth")) < strlen(base));
out:
    if (st != OK) lora_config_done(c);
    return st;
}

void lora_config_done(lora_config *c)
{
    for (size_t i = 0; i < c->pattern_count; i++) regex_free(c->patterns[i].match);
    mem_free(c->patterns);
    *c = (lora_config){ 0 };
}

static bool matches(const regex *r, str text)
{
    uint32_t state = REGEX_START;
    for (size_t i = 0; i < text.n; i++) state = regex_step(r, state, (uint8_t)text.p[i]);
    return r->left[state] == 0 && state != REGEX_DEAD;
}

double lora_config_scale(const lora_config *c, str path, int64_t r)
{
    double alpha = c->alpha;
    for (size_t i = 0; i < c->pattern_count; i++) {
        if (!matches(c->patterns[i].match, path)) continue;
        alpha = c->patterns[i].alpha;
        break;
    }
    return alpha / (c->rslora ? sqrt((double)r) : (double)r);
}
