#include <string.h>

#include "base/bits.h"
#include "tune/step_int.h"

/* ---- life ---------------------------------------------------------------------------------------- */

static status choose(tune_step *s, const tune_step_opts *o, err *e)
{
    const gemma_config *c = back_config(s);
    status st = OK;
    s->o = *o;
    if (o->rows_max < 1 || o->rows_max > 1 << 20) FAIL(e, E_ARG, "cannot train with %d rows at once\nfrom 1 to %d are possible", o->rows_max, 1 << 20);
    if (o->labels_max < 0 || o->labels_max > o->rows_max) FAIL(e, E_ARG, "cannot train with %d labels among %d rows\nthere is one for each row at most", o->labels_max, o->rows_max);
    if (!o->labels_max) s->o.labels_max = o->rows_max;
    for (int32_t l = 0; l < c->layer_count; l++) s->kv_width[c->layers[l].full] = (int64_t)c->layers[l].nkv * c->layers[l].d;
out:
    return st;
}

/* Where the sweep may stop: nothing before the lowest trained part of the lowest trained layer has a gradient that anybody wants. */
static void find_lowest(tune_step *s)
{
    static const back_stop parts[TUNE_GROUP_COUNT] = { [TUNE_ATTENTION] = BACK_STOP_ATTENTION, [TUNE_DENSE] = BACK_STOP_FFN, [TUNE_EXPERTS] = BACK_STOP_FFN,
                                                       [TUNE_ROUTER] = BACK_STOP_FFN, [TUNE_PLE] = BACK_STOP_PLE };
    s->lowest = back_config(s)->layer_count;
    s->stop = BACK_STOP_PLE;
    for (int64_t i = 0; i < s->p->count; i++) {
        const tune_param *p = &s->p->p[i];
        if (p->which == GEMMA_HEAD) continue;
        int32_t layer = MAX(p->layer, 0);             /* the projection behind all per-layer embeddings needs layer 0's */
        back_stop part = p->which == GEMMA_O ? BACK_STOP_O : parts[p->group];
        if (layer < s->lowest) s->stop = part;
        else if (layer == s->lowest) s->stop = MAX(s->stop, part);
        s->lowest = MIN(s->lowest, layer);
    }
}

static void fill_constants(tune_step *s)
{
    for (int64_t i = 0; i < s->p->count; i++) {
        const tune_param *p = &s->p->p[i];
        int64_t half = tune_param_fused(s->p, p) ? p->rank * (p->out / 2) : 0;
        for (int h = 0; h < 2; h++) s->lora[2 * i + h] = (dev_lora){ .adapter = 1, .rank = p->rank, .a = p->a, .b = p->b + h * half, .scale = p->scale };
    }
    for (int64_t i = 0; i < MAX((int64_t)s->o.rows_max * back_config(s)->expert_used, s->o.rows_max); i++) s->ones[i] = 1;
    for (int32_t t = 0; t < s->o.rows_max; t++) s->all_rows[t] = t;
}

static status start(tune_step *s, err *e)
{
    status st = OK;
    gemma_adapter *a = NULL;
    size_t memory = s->memory.used, small = s->small.used;
    TRY(arena_init(&s->memory, memory, MEM_ACTIVATIONS, e));
    TRY(arena_init(&s->small, small, MEM_OTHER, e));
    TRY(back_layout(s, e));
    fill_constants(s);
    TRY(tune_params_adapter(&a, s->p, e));
    TRY(gemma_adapter_attach(s->ctx, 1, a, e));
    a = NULL;
out:
    gemma_adapter_free(a);
    return st;
}

static gemma_ctx_opts context_opts(const tune_step *s)
{
    gemma_ctx_opts o;
    gemma_ctx_defaults(&o);
    o.ctx = MIN(s->o.rows_max, back_config(s)->context);
    o.seq_max = 1;
    o.row_max = s->o.rows_max;
    o.logit_rows_max = MIN((int32_t)BACK_LOSS_ROWS, s->o.labels_max);
    o.hidden_rows_max = s->o.labels_max;
    o.rank_max = s->p->rank_max;
    o.threads = s->o.threads;
    o.isa = s->o.isa;
    o.exact = s->o.exact;
    o.invariant = true;          /* packed anyhow, an example has the same bits */
    o.no_cache = o.leave = true;
    o.half_inputs = s->o.half_inputs;
    return o;
}

status tune_step_new(tune_step **out, const gemma *m, tune_params *p, const tune_step_opts *o, gemma_bytes *measure, err *e)
{
    status st = OK;
    tune_step *s = mem_alloc(sizeof *s, MEM_OTHER);
    if (!s) FAIL(e, E_NOMEM, "could not prepare training\nout of memory");
    s->m = m;
    s->p = p;
    TRY(choose(s, o, e));
    find_lowest(s);
    gemma_ctx_opts co = context_opts(s);
    TRY(gemma_ctx_new(&s->ctx, m, &co, measure, e));
    if (measure) {
        TRY(dev_cpu_new(&s->dev, &(dev_cpu_opts){ .threads = o->threads, .isa = o->isa, .exact = o->exact, .invariant = true, .measure = true }, e));
        TRY(back_layout(s, e));
        measure->activations += s->memory.used;
        measure->other += s->small.used + sizeof *s;
        goto out;
    }
    s->dev = gemma_ctx_device(s->ctx);
    TRY(back_layout(s, e));
    TRY(start(s, e));
    *out = s;
    s = NULL;
out:
    if (s && measure) dev_free(s->dev);
    tune_step_free(s);
    return st;
}

void tune_step_free(tune_step *s)
{
    if (!s) return;
    gemma_ctx_free(s->ctx);
    if (s->memory.base) arena_done(&s->memory);
    if (s->small.base) arena_done(&s->small);
    mem_free(s);
}

gemma_ctx *tune_step_context(tune_step *s) { return s->ctx; }

const int64_t *tune_step_expert_rows(const tune_step *s, int32_t layer)
{
    return s->expert_rows ? s->expert_rows + (int64_t)layer * back_config(s)->expert_count : NULL;
}

/* ---- one micro-batch ----------------------------------------------------------------------------- */

static status take_rows(tune_step *s, const tune_row *rows, int32_t T, err *e)
{
    status st = OK;
    s->all.T = s->kept.T = 0;
    if (T < 1 || T > s->o.rows_max) FAIL(e, E_ARG, "cannot train on %d rows at once\nthis step takes 1 to %d", T, s->o.rows_max);
    for (int32_t t = 0; t < T; t++) {
        const tune_row *r = &rows[t];
        bool labelled = r->label >= 0;
        if (r->label < -1 || r->label >= back_config(s)->vocab)
            FAIL(e, E_ARG, "cannot train on row %d\nlabel %d is not in the vocabulary of %d", t, r->label, back_config(s)->vocab);
        if (labelled && s->kept.T == s->o.labels_max) FAIL(e, E_ARG, "cannot train on these rows\nmore than %d have a label", s->o.labels_max);
        s->rows[t] = (gemma_row){ .pos = r->pos, .token = r->id, .doc = r->doc, .adapter = !s->base, .want_hidden = labelled };
        if (!labelled) continue;
        s->want[s->kept.T] = t;
        s->labels[s->kept.T++] = r->label;
    }
    s->all.T = T;
out:
    return st;
}

/* What row t sees, and where it stands; `to` is row `at` of a set. */
static void place(tune_step *s, back_rows *to, int32_t at, int32_t t, int32_t span)
{
    int32_t pos = s->rows[t].pos, first = s->spans[span].skip, from = MAX(0, pos - back_config(s)->window + 1);
    to->full[at] = (dev_attn_row){ .span = span, .pos = pos, .first = 0, .last = pos };
    to->sliding[at] = (dev_attn_row){ .span = span, .pos = pos, .first = from, .last = pos };
    to->keys_full[at] = (dev_key_range){ first, first + pos };
    to->keys_sliding[at] = (dev_key_range){ first + from, first + pos };
    rope_at(&s->rope_full, pos, to->cs_full + (int64_t)at * s->rope_full.pairs * 2);
    rope_at(&s->rope_sliding, pos, to->cs_sliding + (int64_t)at * s->rope_sliding.pairs * 2);
}

/* After the forward pass, which has checked positions and documents. */
static void place_rows(tune_step *s)
{
    int32_t span = -1, label = 0;
    for (int32_t t = 0; t < s->all.T; t++) {
        if (t == 0 || s->rows[t].doc != s->rows[t - 1].doc) s->spans[++span] = (dev_span){ .skip = t };
        place(s, &s->all, t, t, span);
        if (label < s->kept.T && s->want[label] == t) place(s, &s->kept, label++, t, span);
    }
}

/* Rows without any label are not run. */
static status forward(tune_step *s, const tune_row *rows, int32_t T, bool base, err *e)
{
    status st = OK;
    s->base = base;
    TRY(take_rows(s, rows, T, e));
    if (s->kept.T == 0) return OK;
    TRY(gemma_step_hidden(s->ctx, s->rows, T, NULL, s->b.hidden, e));
    place_rows(s);
out:
    return st;
}

static void add_sums(tune_sums *to, const tune_sums *s)
{
    to->loss += s->loss;
    to->entropy += s->entropy;
    to->targets += s->targets;
    to->right += s->right;
}

status tune_step_add(tune_step *s, const tune_row *rows, int32_t T, int64_t targets, tune_sums *sums, err *e)
{
    status st = OK;
    tune_sums mine = { 0 };
    if (targets < 0) FAIL(e, E_ARG, "cannot train on %lld targets\na step has some, or none for evaluation", (long long)targets);
    TRY(forward(s, rows, T, false, e));
    if (s->kept.T == 0) return OK;
    for (int32_t i = 0; i < s->kept.T && targets; i++) s->factors[i] = 1.0f / (float)targets;
    TRY(back_head(s, targets ? s->factors : NULL, NULL, &mine, e));
    if (targets > 0) TRY(back_decoder(s, e));
    add_sums(sums, &mine);
out:
    return st;
}

status tune_step_log_probs(tune_step *s, const tune_row *rows, int32_t T, bool base, double *logp, tune_sums *sums, err *e)
{
    status st = OK;
    tune_sums mine = { 0 };
    TRY(forward(s, rows, T, base, e));
    if (s->kept.T) TRY(back_head(s, NULL, logp, &mine, e));
    if (sums) add_sums(sums, &mine);
out:
    s->base = false;
    return st;
}

status tune_step_back(tune_step *s, const float *factors, err *e)
{
    status st = OK;
    tune_sums again = { 0 };
    if (s->kept.T == 0) return OK;
    TRY(back_head(s, factors, NULL, &again, e));
    TRY(back_decoder(s, e));
out:
    return st;
}
