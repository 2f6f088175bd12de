/* A whole run: a model, data and a recipe become an adapter, with a log while it runs and a report that says what was trained.
 *
 *     DIR/adapter_config.json, adapter_model.safetensors    the adapter, as PEFT has it
 *     DIR/best/                                             the one with the lowest loss on the rows held out
 *     DIR/recipe.json, log.jsonl, report.json               what was used, every step, the proof
 *     DIR/checkpoint                                        everything to go on from
 *
 * This decides nothing about the arithmetic (step.h, optim.h) and prints nothing. */
#ifndef FC_TUNE_TUNE_H
#define FC_TUNE_TUNE_H

#include "base/buf.h"
#include "tune/recipe.h"

typedef struct tune tune;

typedef struct tune_where {
    const char *out;           /* folder; NULL: nothing is written (only for plans) */
    const char *dump_grads;    /* folder for the first step's loss and gradients, or NULL */
    bool resume;               /* go on from out's checkpoint */
    bool profile;              /* only for tune_profile: nothing is prepared for training */
} tune_where;

/* Opens model and data, makes parameters, optimizer and the buffers of a step.  The recipe is kept.  *out owned: tune_close.
 * E_UNSUPPORTED names what this version cannot do. */
status tune_open(tune **out, json_t *recipe, const tune_where *where, err *e);
void   tune_close(tune *t);

/* What will be done, for people: memory by purpose, steps, tokens, rows left out, the first examples with what is trained of them. */
status tune_plan(tune *t, buf *out, err *e);

typedef enum tune_event_kind { TUNE_STEP, TUNE_EVALUATED, TUNE_SAVED, TUNE_REMARK, TUNE_PROFILED /* step, steps: tokens */ } tune_event_kind;
typedef struct tune_event {
    tune_event_kind kind;
    int64_t step, steps;
    double loss, rate, norm, tokens_per_s, seconds_left;
    const char *text;          /* of TUNE_REMARK */
} tune_event;
typedef void (*tune_event_fn)(void *user, const tune_event *ev);

typedef enum tune_end {
    TUNE_FINISHED,
    TUNE_STOPPED               /* by tune_stop or stop_after: saved, and tune_where.resume goes on */
} tune_end;

/* E_INTERNAL and the like end it where they arose; what was trained before is saved.  A target that got no gradient in the whole run is
 * E_FORMAT after everything was written. */
status tune_run(tune *t, tune_event_fn fn, void *user, tune_end *end, err *e);
/* Which experts the data goes to, without training anything: a table for people, and DIR/profile.json, which the recipe's "profile" names. */
status tune_profile(tune *t, tune_event_fn fn, void *user, buf *text, err *e);
/* Any thread, and signal handlers: ends the run after what it is doing now. */
void   tune_stop(tune *t);

#endif
