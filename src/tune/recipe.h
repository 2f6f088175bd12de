/* What a run of tuning is to do: one flat table of names, as JSON in files and as options of the command.
 *
 * A recipe is a JSON object.  recipe_new makes one with every default; recipe_set and recipe_merge change it, held to the table;
 * recipe_read gives its values to the program. */
#ifndef FC_TUNE_RECIPE_H
#define FC_TUNE_RECIPE_H

#include "base/json.h"

typedef enum recipe_type { RECIPE_TEXT, RECIPE_CHOICE, RECIPE_TEXTS, RECIPE_INT, RECIPE_REAL, RECIPE_BOOL } recipe_type;

typedef struct recipe_key {
    const char *name;          /* "max_length"; the option is --max-length */
    recipe_type type;
    size_t at;                 /* within recipe_values */
    const char *choices;       /* "a|b" */
    double fallback, min, max; /* of numbers; of a bool 0 or 1 */
    const char *text;          /* the default of a text, or NULL */
    bool free;                 /* may differ when a run is resumed */
} recipe_key;

extern const recipe_key recipe_keys[];     /* name NULL at the end */

/* Borrowed from the JSON.  0 and -1 stand for "chosen by the program" where the docs say so. */
typedef struct recipe_values {
    const char *model, *profile, *hot_by, *method, *preference, *preset, *targets, *optimizer, *schedule, *adapter_class, *thinking, *init_from, *isa;
    const json_t *data;        /* ["PATH", "PATH=2"] */
    bool only, rslora, exact, chat_strings, thoughts_are_context;
    int64_t rank, expert_rank, first_layer, last_layer, epochs, steps, stop_after, batch, rows, max_length, seed, warmup, eval_every, save_every, threads, bad_rows, patience, hot_count, profile_tokens;
    double alpha, expert_alpha, lr, lr_attention, lr_dense, lr_experts, lr_router, lr_ple, beta1, beta2, decay, clip, held_out, spike, beta, sft_weight, hot_share;
} recipe_values;

/* *out owned: json_decref. */
status recipe_new(json_t **out, err *e);
/* Takes over the values of `from`, refusing by name what the table does not have; where: for messages. */
status recipe_merge(json_t *to, const json_t *from, const char *where, err *e);
/* value stays the caller's. */
status recipe_set(json_t *to, const char *name, const json_t *value, const char *where, err *e);
status recipe_load(json_t *to, const char *path, err *e);
/* E_FORMAT when a value is not what its key asks for. */
status recipe_read(recipe_values *out, const json_t *j, err *e);
/* The first key in which two recipes differ that must not when a run goes on; NULL: none. */
const char *recipe_differs(const json_t *a, const json_t *b);

#endif
