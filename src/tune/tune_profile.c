/* The pass before training: which experts a sample of the user's own rows goes to. */
#include <string.h>

#include "base/bits.h"
#include "os/file.h"
#include "tune/router.h"
#include "tune/tune_int.h"

/* Examples in the order of the first epoch until they have so many tokens; owned. */
static status sample(tune *t, int64_t **out, int64_t *count, err *e)
{
    status st = OK;
    int64_t n = data_order_examples(t->order), tokens = 0;
    int64_t *list = mem_array((size_t)n, sizeof *list, MEM_OTHER);
    if (!list) FAIL(e, E_NOMEM, "could not profile the experts\nout of memory");
    for (*count = 0; *count < n && tokens < t->r.profile_tokens;) {
        const int64_t *next;
        int64_t one;
        data_order_next(t->order, 1, &next, &one);
        const data_example *x = &t->data->examples[*next];
        tokens += data_rows_of(t->data, x->first, x->count);
        list[(*count)++] = *next;
    }
    *out = list;
out:
    return st;
}

static status make_context(tune *t, router_stats *s, err *e)
{
    status st = OK;
    gemma_ctx_opts o;
    gemma_ctx_defaults(&o);
    TRY(tune_rows(t, e));
    o.ctx = MIN(t->rows_max, t->m->config.context);
    o.seq_max = 1;
    o.row_max = o.hidden_rows_max = t->rows_max;
    o.logit_rows_max = 1;
    o.threads = (int)t->r.threads;
    o.isa = t->isa;
    o.exact = t->r.exact;
    o.invariant = true;
    o.no_cache = o.leave = true;
    TRY(gemma_ctx_new(&t->profile, t->m, &o, NULL, e));
    gemma_ctx_tap(t->profile, router_stats_tap, s);
out:
    return st;
}

static status run_group(tune *t, const data_groups *g, int64_t group, gemma_row *rows, float *hidden, err *e)
{
    int32_t T = data_fill(t->rows, t->data, g, group);
    for (int32_t i = 0; i < T; i++) rows[i] = (gemma_row){ .pos = t->rows[i].pos, .token = t->rows[i].id, .doc = t->rows[i].doc, .want_hidden = t->rows[i].label >= 0 };
    return gemma_step_hidden(t->profile, rows, T, NULL, hidden, e);
}

static status run_all(tune *t, const data_groups *g, tune_event_fn fn, void *user, int64_t *done, err *e)
{
    status st = OK;
    gemma_row *rows = mem_array((size_t)t->rows_max, sizeof *rows, MEM_OTHER);
    float *hidden = mem_array((size_t)t->rows_max * (size_t)t->m->config.hidden, sizeof *hidden, MEM_OTHER);
    if (!rows || !hidden) FAIL(e, E_NOMEM, "could not profile the experts\nout of memory");
    for (int64_t i = 0; i < g->count; i++) {
        if (atomic_load(&t->stop)) FAIL(e, E_CANCELLED, "the profile was stopped");
        TRY(run_group(t, g, i, rows, hidden, e));
        for (int64_t k = g->first[i]; k < g->first[i + 1]; k++) *done += data_rows_of(t->data, g->docs[k], 1);
        const tune_event ev = { .kind = TUNE_PROFILED, .step = *done, .steps = g->rows };
        if (fn) fn(user, &ev);
    }
out:
    mem_free(rows);
    mem_free(hidden);
    return st;
}

status tune_profile(tune *t, tune_event_fn fn, void *user, buf *text, err *e)
{
    status st = OK;
    router_stats *s = NULL;
    json_t *j = NULL;
    int64_t *examples = NULL, count = 0, done = 0;
    data_groups g = { 0 };
    TRY(router_stats_new(&s, t->m, e));
    TRY(make_context(t, s, e));
    TRY(sample(t, &examples, &count, e));
    TRY(data_group(&g, t->data, examples, count, t->rows_max, e));
    TRY(run_all(t, &g, fn, user, &done, e));
    TRY(router_profile_json(&j, s, done, e));
    TRY(router_profile_print(j, text, e));
    if (t->out) TRY(tune_save_json(t->out, "profile.json", j, e));
out:
    data_groups_done(&g);
    mem_free(examples);
    json_decref(j);
    router_stats_free(s);
    return st;
}

status tune_profile_hot(tune *t, err *e)
{
    status st = OK;
    json_t *j = NULL;
    buf b;
    size_t n = (size_t)t->m->config.layer_count * (size_t)t->m->config.expert_count;
    int64_t quarter = MAX(t->m->config.expert_count / 4, 1);
    buf_init(&b, 64 << 20);
    if (!n) FAIL(e, E_ARG, "cannot train with the preset \"experts-hot\"\nthis model has no experts\nUse the preset dense.");
    if (!t->r.profile) FAIL(e, E_ARG, "cannot train with the preset \"experts-hot\"\nthere is no profile of the experts\nMake one with --profile.");
    t->hot = mem_alloc(n, MEM_OTHER);
    if (!t->hot) FAIL(e, E_NOMEM, "could not choose experts\nout of memory");
    TRY(file_read_all(&b, t->r.profile, e));
    TRY(json_parse(&j, (str){ buf_text(&b), b.len }, t->r.profile, true, e));
    TRY(router_profile_hot(j, t->m, strcmp(t->r.hot_by, "weight") == 0 ? ROUTER_BY_WEIGHT : ROUTER_BY_CHOICES, t->r.hot_share,
                           t->r.hot_count ? t->r.hot_count : t->r.hot_share > 0 ? 0 : quarter, t->hot, e));
out:
    json_decref(j);
    buf_done(&b);
    return st;
}
