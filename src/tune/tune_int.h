/* The run's own parts: tune.c opens, tune_loop.c goes through the steps, tune_save.c writes, tune_report.c proves. */
#ifndef FC_TUNE_TUNE_INT_H
#define FC_TUNE_TUNE_INT_H

#include <stdatomic.h>

#include "base/sha256.h"
#include "lora/lora_save.h"
#include "text/text_model.h"
#include "tune/data_group.h"
#include "tune/optim.h"
#include "tune/prefer.h"
#include "tune/step.h"
#include "tune/tune.h"

enum { TUNE_RECENT = 32 };

/* What goes on from step to step, and into a checkpoint as it is. */
typedef struct tune_state {
    int64_t step;                        /* steps done */
    data_place place;                    /* of the data, behind them */
    int64_t tokens, targets;             /* seen so far */
    double first_loss, last_loss;
    double best_loss;                    /* on the rows held out; 0 steps: none */
    int64_t best_step, worse;            /* evaluations in a row that were not better */
    double recent[TUNE_RECENT];          /* losses of the last steps, for spikes */
    int64_t recent_count;
} tune_state;

/* file: of all tensors as the file has them, the same in any process; kept: of what this process keeps of them as f32. */
typedef struct tune_hash { uint8_t file[SHA256_BYTES], kept[SHA256_BYTES]; uint64_t tensors, bytes; } tune_hash;

struct tune {
    json_t *recipe;
    recipe_values r;
    tune_where where;
    char *out, *dump_grads;              /* owned copies */
    gemma *m;
    text_model text;
    data_set *data;
    data_order *order;
    data_groups held_out;
    tune_params *params;
    tune_step *step;
    optim *optim;
    tune_row *rows;                      /* [rows_max] */
    int32_t rows_max;
    gemma_bytes step_bytes;
    uint64_t param_bytes, optim_bytes;
    int64_t steps;                       /* of the whole run */
    int64_t warmup, eval_every, save_every;
    double rates[TUNE_GROUP_COUNT];      /* before the schedule */
    lora_class adapter_class;
    tune_hash before;
    int64_t *expert_rows;                /* [L][E] of earlier parts of a resumed run, or NULL */
    tune_state s;
    double seconds;                      /* per step, of late */
    uint32_t isa;
    gemma_ctx *profile;                  /* of tune_profile alone */
    uint8_t *hot;                        /* [L][E] experts that are trained; NULL: all */
    bool pairs;                          /* DPO and ORPO */
    prefer_opts prefer;
    double *reference, *policy;          /* [documents] of pairs: sums of log-probabilities; a reference that nobody has asked for is NAN */
    double *logp; float *weights;        /* [rows_max] of one micro-batch of pairs */
    atomic_bool stop;
};

/* tune.c: rows, rows_max. */
status tune_rows(tune *t, err *e);
/* tune_profile.c: the experts that are trained, by the recipe's profile. */
status tune_profile_hot(tune *t, err *e);

/* Over the pairs of a step or of the rows held out. */
typedef struct pair_sums {
    int64_t count, right;                /* right: the chosen answer has the higher reward */
    double loss, chosen, rejected;       /* of losses, of rewards */
} pair_sums;

/* tune_pairs.c */
status tune_pairs_open(tune *t, err *e);
void   tune_pairs_close(tune *t);
/* The model with the adapter that it begins with is the reference; while it still is: every log-probability. */
status tune_pairs_reference(tune *t, err *e);
/* One micro-batch; with pairs (of the whole step) > 0 the gradient of the mean loss of a pair is added. */
status tune_pairs_add(tune *t, const data_groups *g, int64_t group, int64_t pairs, tune_sums *tokens, pair_sums *sums, err *e);

/* tune_save.c */
status tune_save_recipe(const tune *t, err *e);
status tune_save_adapter(const tune *t, const char *dir, err *e);
status tune_save_grads(const tune *t, double loss, err *e);
status tune_save_state(const tune *t, err *e);
/* E_FORMAT: the checkpoint is another run's. */
status tune_save_restore(tune *t, err *e);
/* Rows that chose an expert, over the whole run. */
int64_t tune_save_expert_rows(const tune *t, int32_t layer, int32_t expert);
status tune_save_json(const char *dir, const char *name, const json_t *j, err *e);
status tune_save_empty_log(const tune *t, err *e);
/* One line to DIR/log.jsonl; j is taken over. */
status tune_save_log(const tune *t, json_t *j, err *e);

/* tune_loop.c */
status tune_loop_run(tune *t, tune_event_fn fn, void *user, tune_end *end, err *e);

/* tune_report.c */
/* Every tensor of the model's file, and what is kept of them as f32; list: names and hashes, or NULL. */
status tune_report_hash(const tune *t, tune_hash *out, json_t *list, err *e);
/* Writes DIR/report.json; *why: what makes the run a failure, empty when nothing does. */
status tune_report_write(tune *t, char *why, size_t cap, err *e);

#endif
