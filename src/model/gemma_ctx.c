/* A context: its sizes, its memory, its life.  layout() runs twice, first measuring. */
#include <string.h>

#include "base/bits.h"
#include "model/gemma_int.h"

void gemma_ctx_defaults(gemma_ctx_opts *o) { *o = (gemma_ctx_opts){ .kv_type = DTYPE_COUNT }; }

status gemma_ctx_choose(const gemma *m, gemma_ctx_opts *o, err *e)
{
    status st = OK;
    const gemma_config *c = &m->config;
    if (o->ctx < 0 || o->seq_max < 0 || o->row_max < 0 || o->logit_rows_max < 0 || o->hidden_rows_max < 0 || o->threads < 0 || o->rank_max < 0 ||
        o->pages < 0 || o->states < 0)
        FAIL(e, E_ARG, "cannot make a context\na size is negative");
    if (!o->ctx) o->ctx = MIN(c->context, 8192);
    if (!o->row_max) o->row_max = MIN(512, o->ctx);
    if (!o->seq_max) o->seq_max = 1;
    if (!o->rank_max) o->rank_max = 64;
    if (!o->logit_rows_max) o->logit_rows_max = MIN((int64_t)o->seq_max + KV_TAKE_BACK, INT32_MAX);
    o->logit_rows_max = MIN(o->logit_rows_max, o->row_max);
    o->hidden_rows_max = MIN(o->hidden_rows_max, o->row_max);
    if (o->ctx > c->context)
        FAIL(e, E_ARG, "cannot make a context of %d tokens\nthe model was made for at most %d\nAsk for a shorter context.", o->ctx, c->context);
    if (o->seq_max > 65536 || o->row_max > 1 << 20) FAIL(e, E_ARG, "cannot make a context\n%d sequences or %d rows are too many", o->seq_max, o->row_max);
    if ((int64_t)o->seq_max * (o->ctx / DEV_BLOCK + 1) > INT32_MAX / 2) FAIL(e, E_ARG, "cannot make a context\n%d sequences of %d tokens are too many", o->seq_max, o->ctx);
    if (o->pages && o->pages < (o->ctx + DEV_BLOCK - 1) / DEV_BLOCK + o->seq_max)
        FAIL(e, E_ARG, "cannot make a context\n%d pages of %d tokens do not hold %d tokens and a page for each sequence", o->pages, DEV_BLOCK, o->ctx);
    if (o->no_cache) o->kv_type = DTYPE_F32;
    if (o->kv_type == DTYPE_COUNT) o->kv_type = o->exact ? DTYPE_F32 : DTYPE_F16;
    if (o->kv_type != DTYPE_F32 && o->kv_type != DTYPE_F16 && o->kv_type != DTYPE_BF16 && o->kv_type != DTYPE_Q8_0)
        FAIL(e, E_ARG, "cannot make a cache of type %d\na cache is f32, f16, bf16 or q8_0", (int)o->kv_type);
    for (int32_t l = 0; l < c->layer_count; l++) {
        const gemma_layer_config *g = &c->layers[l];
        if (o->kv_type == DTYPE_Q8_0 && g->d % 32)
            FAIL(e, E_ARG, "cannot make a q8_0 cache\nhead size %d of layer %d is no multiple of 32\nUse f16.", g->d, l);
        if (g->nq / g->nkv > 64)
            FAIL(e, E_UNSUPPORTED, "cannot run this model\nlayer %d has %d query heads for each key head, facet handles 64", l, g->nq / g->nkv);
    }
out:
    return st;
}

/* ---- sizes of the largest step ---- */

typedef struct ctx_sizes {
    int64_t q, kv;              /* widest rows: nq*d, nkv*d */
    int64_t gate, up;           /* numbers in all rows of the widest feed-forward; gate also holds the context of PLE */
    int64_t slots;              /* row_max * k */
} ctx_sizes;

/* Most rows that are left behind the keys and values of a layer: where no later layer makes any, only those of which something is wanted. */
static int64_t rows_behind(const gemma_ctx *x, int32_t layer)
{
    return layer >= gemma_int_config(x)->kv_layers - 1 && gemma_int_leaves(x) ? MIN((int64_t)x->o.logit_rows_max + x->o.hidden_rows_max, x->o.row_max) : x->o.row_max;
}

/* Rows stay as long as in rows_behind, but the input of the layer where they leave is of all. */
size_t gemma_int_input_at(const gemma_ctx *x, int32_t layer)
{
    int32_t all = MIN(layer, gemma_int_config(x)->kv_layers), rest = layer - all;
    size_t row = dtype_row_bytes(gemma_int_inputs_type(x), gemma_int_config(x)->hidden);
    return row * ((size_t)all * (size_t)x->o.row_max + (size_t)rest * (size_t)rows_behind(x, gemma_int_config(x)->layer_count - 1));
}

static ctx_sizes sizes_of(const gemma_ctx *x)
{
    const gemma_config *c = gemma_int_config(x);
    ctx_sizes s = { .gate = (int64_t)c->ple * c->layer_count * x->o.row_max, .slots = (int64_t)x->o.row_max * c->expert_used };
    for (int32_t l = 0; l < c->layer_count; l++) {
        const gemma_layer_config *g = &c->layers[l];
        s.q = MAX(s.q, (int64_t)g->nq * g->d);
        s.kv = MAX(s.kv, (int64_t)g->nkv * g->d);
        s.up = MAX(s.up, rows_behind(x, l) * g->ff);
    }
    s.gate = MAX(s.gate, s.up);
    return s;
}

static void work_add(const gemma_ctx *x, dev_work *k, const weight *w, int64_t rows, int64_t T, bool exact, bool gathered)
{
    if (!weight_has(w)) return;
    k->cols_max = MAX(k->cols_max, w->cols);
    k->rows_max = MAX(k->rows_max, rows);
    k->pack_bytes = MAX(k->pack_bytes, x->dev->op->pack_bytes(x->dev, w->type, w->cols, T, exact, gathered));
}

/* Inputs of all experts together are packed in rounds of this many bytes, or as much as one expert can need. */
enum { PACK_ROUND = 16 << 20 };

static dev_work work_of(const gemma_ctx *x)
{
    const gemma_config *c = gemma_int_config(x);
    const weights *w = &x->m->weights;
    int64_t T = x->o.row_max;
    dev_work k = { .products_max = 2 * c->expert_count + 8, .rank_max = x->o.rank_max, .ctx = x->o.ctx };
    size_t slots = 0;
    for (int32_t l = 0; l < c->layer_count; l++) {
        const layer_weights *lw = &w->layers[l];
        const gemma_layer_config *g = &c->layers[l];
        const weight *keys[] = { &lw->k, &lw->v };
        const weight *dense[] = { &lw->q, &lw->o, &lw->gate, &lw->up, &lw->down, &lw->ple_gate, &lw->ple_proj };
        const weight *experts[] = { &lw->gate_exps, &lw->up_exps, &lw->down_exps };
        for (size_t i = 0; i < COUNT_OF(dense); i++) work_add(x, &k, dense[i], dense[i]->rows, rows_behind(x, l), false, false);
        for (size_t i = 0; i < COUNT_OF(keys); i++) work_add(x, &k, keys[i], keys[i]->rows, T, false, false);
        work_add(x, &k, &lw->router, lw->router.rows, T, true, false);
        for (size_t i = 0; i < COUNT_OF(experts); i++) {
            work_add(x, &k, experts[i], experts[i]->rows, T, false, i < 2);
            if (weight_has(experts[i]))
                slots = MAX(slots, x->dev->op->pack_bytes(x->dev, experts[i]->type, experts[i]->cols, T * c->expert_used, false, i < 2));
        }
        k.nq_max = MAX(k.nq_max, g->nq);
        k.d_max = MAX(k.d_max, g->d);
    }
    work_add(x, &k, &w->ple_model_proj, w->ple_model_proj.rows, T, false, false);
    work_add(x, &k, &w->head, w->head.rows, x->o.logit_rows_max, false, false);
    k.pack_bytes = MAX(k.pack_bytes, MIN(slots, (size_t)PACK_ROUND));
    k.pack_bytes *= 2;         /* matrices of one call may want two forms of the same input */
    return k;
}

/* ---- layout ---- */

static status layout_rows(gemma_ctx *x, arena *a, err *e)
{
    status st = OK;
    gemma_rows *r = &x->rows;
    size_t T = (size_t)x->o.row_max, spans = (size_t)(x->o.no_cache ? x->o.row_max : x->o.seq_max);
    TRY(arena_array(a, &r->ids, T, e));
    TRY(arena_array(a, &r->want, T, e));
    TRY(arena_array(a, &r->logits_at, T, e));
    TRY(arena_array(a, &r->hidden_at, T, e));
    TRY(arena_array(a, &r->adapter, T, e));
    TRY(arena_array(a, &r->full, T, e));
    TRY(arena_array(a, &r->sliding, T, e));
    TRY(arena_array(a, &r->span_full, spans, e));
    TRY(arena_array(a, &r->span_sliding, spans, e));
    TRY(arena_array(a, &r->added, x->o.seq_max, e));
    TRY(arena_array(a, &r->cs_full, T * 2 * (size_t)x->rope_full.pairs, e));
    TRY(arena_array(a, &r->cs_sliding, T * 2 * (size_t)x->rope_sliding.pairs, e));
out:
    return st;
}

static status layout_experts(gemma_ctx *x, arena *a, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    status st = OK;
    gemma_bufs *b = &x->b;
    size_t T = (size_t)x->o.row_max, slots = (size_t)sizes_of(x).slots, H = (size_t)c->hidden, Fe = (size_t)c->expert_ff;
    TRY(arena_array(a, &b->dense, T * H, e));
    TRY(arena_array(a, &b->router, T * (size_t)c->expert_count, e));
    TRY(arena_array(a, &b->slot_gate, slots * Fe, e));
    TRY(arena_array(a, &b->slot_up, slots * Fe, e));
    TRY(arena_array(a, &b->slot_out, slots * H, e));
    TRY(arena_array(a, &b->ids, slots, e));
    TRY(arena_array(a, &b->slot, slots, e));
    TRY(arena_array(a, &b->weight, slots, e));
    TRY(arena_array(a, &b->slot_row, slots, e));
    TRY(arena_array(a, &b->slot_adapter, slots, e));
    TRY(arena_array(a, &b->first, c->expert_count + 1, e));
    TRY(arena_array(a, &x->products, 2 * c->expert_count + 8, e));
out:
    return st;
}

static status layout_bufs(gemma_ctx *x, arena *a, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    status st = OK;
    gemma_bufs *b = &x->b;
    ctx_sizes s = sizes_of(x);
    size_t T = (size_t)x->o.row_max, H = (size_t)c->hidden;
    void *work = NULL;
    dev_work k = work_of(x);
    TRY(arena_array(a, &b->x, T * H, e));
    TRY(arena_array(a, &b->h, T * H, e));
    TRY(arena_array(a, &b->out, T * H, e));
    TRY(arena_array(a, &b->q, T * (size_t)s.q, e));
    TRY(arena_array(a, &b->att, T * (size_t)s.q, e));
    TRY(arena_array(a, &b->k, T * (size_t)s.kv, e));
    TRY(arena_array(a, &b->v, T * (size_t)s.kv, e));
    TRY(arena_array(a, &b->gate, s.gate, e));
    TRY(arena_array(a, &b->up, s.up, e));
    if (c->ple) TRY(arena_array(a, &b->ple, T * (size_t)c->ple * (size_t)c->layer_count, e));
    if (c->expert_count) TRY(layout_experts(x, a, e));
    if (x->o.no_cache) TRY(arena_take(a, &b->inputs, gemma_int_input_at(x, c->layer_count + 1), 1, e));
    TRY(arena_take(a, &work, x->dev->op->work_bytes(x->dev, &k), 1, e));
    if (work) x->dev->op->work_set(x->dev, &k, work);
out:
    return st;
}

static bool rebuilds_keys(const gemma_ctx *x)
{
    const gemma_config *c = gemma_int_config(x);
    for (int32_t l = 0; l < c->layer_count; l++)
        if (c->layers[l].k_eq_v && !x->o.keep_k && !x->o.no_cache) return true;
    return false;
}

static status layout(gemma_ctx *x, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    status st = OK;
    kv_opts ko = { .type = x->o.kv_type, .ctx = x->o.ctx, .seq_max = x->o.seq_max, .row_max = x->o.row_max, .keep_k = x->o.keep_k, .no_cache = x->o.no_cache,
                   .pages = x->o.pages, .states = x->o.states };
    TRY(kv_layout(&x->cache, c, &ko, &x->kv_memory, &x->small, e));
    TRY(rope_layout(&x->rope_full, c, true, &x->small, e));
    TRY(rope_layout(&x->rope_sliding, c, false, &x->small, e));
    if (rebuilds_keys(x)) TRY(arena_array(&x->kv_memory, &x->key_rope, (size_t)x->o.ctx * 2 * (size_t)x->rope_full.pairs, e));
    TRY(layout_rows(x, &x->small, e));
    TRY(arena_array(&x->small, &x->lora, gemma_adapter_places(x->m), e));
    if (c->expert_count) TRY(arena_array(&x->small, &x->experts_read, c->layer_count, e));
    TRY(layout_bufs(x, &x->memory, e));
out:
    return st;
}

/* ---- weights ---- */

void gemma_ctx_measure_weights(const gemma *m, gemma_bytes *out)
{
    const weights *w = &m->weights;
    out->weights_mapped = weight_bytes(&w->embed) + weight_bytes(&w->ple_embed) + weight_bytes(&w->ple_model_proj);
    if (w->head.data != w->embed.data) out->weights_mapped += weight_bytes(&w->head);
    for (int32_t l = 0; l < m->config.layer_count; l++) {
        const layer_weights *lw = &w->layers[l];
        const weight *all[] = { &lw->q, &lw->k, &lw->v, &lw->o, &lw->gate, &lw->up, &lw->down, &lw->router, &lw->gate_exps, &lw->up_exps, &lw->down_exps,
                                &lw->ple_gate, &lw->ple_proj };
        for (size_t i = 0; i < COUNT_OF(all); i++) out->weights_mapped += weight_bytes(all[i]);
    }
    out->weights_owned = w->owned_bytes;
}

/* ---- life ---- */

/* A measured arena becomes a real one. */
static status take(arena *a, mem_tag tag, err *e)
{
    size_t size = a->used;
    return arena_init(a, size, tag, e);
}

static status ctx_start(gemma_ctx *x, err *e)
{
    status st = OK;
    TRY(take(&x->kv_memory, MEM_KV, e));
    TRY(take(&x->memory, MEM_ACTIVATIONS, e));
    TRY(take(&x->small, MEM_OTHER, e));
    TRY(layout(x, e));
    kv_start(&x->cache);
out:
    return st;
}

status gemma_ctx_new(gemma_ctx **out, const gemma *m, const gemma_ctx_opts *o, gemma_bytes *measure, err *e)
{
    status st = OK;
    gemma_ctx *x = mem_alloc(sizeof *x, MEM_OTHER);
    if (!x) FAIL(e, E_NOMEM, "could not make a context\nout of memory");
    x->m = m;
    x->o = *o;
    TRY(gemma_ctx_choose(m, &x->o, e));
    TRY(dev_cpu_new(&x->dev, &(dev_cpu_opts){ x->o.threads, x->o.isa, x->o.exact, x->o.invariant, measure != NULL }, e));
    x->o.threads = x->dev->op->threads(x->dev);
    TRY(layout(x, e));
    if (measure) {
        gemma_ctx_measure_weights(m, measure);
        measure->kv = x->kv_memory.used;
        measure->activations = x->memory.used;
        measure->other = x->small.used + sizeof *x;
        goto out;
    }
    TRY(ctx_start(x, e));
    *out = x;
    x = NULL;
out:
    gemma_ctx_free(x);
    return st;
}

status gemma_ctx_units(const gemma *m, const gemma_ctx_opts *o, uint64_t *page, uint64_t *state, err *e)
{
    enum { MANY = 64 };      /* so that rounding to whole cache lines does not count */
    status st = OK;
    gemma_bytes b[3] = { { 0 } };
    gemma_ctx_opts with = *o;
    with.seq_max = 1;
    with.pages = with.states = 0;
    TRY(gemma_ctx_choose(m, &with, e));
    with.pages = with.ctx / DEV_BLOCK + 2;
    TRY(gemma_ctx_new(NULL, m, &with, &b[0], e));
    with.pages += MANY;
    TRY(gemma_ctx_new(NULL, m, &with, &b[1], e));
    with.states = MANY;
    TRY(gemma_ctx_new(NULL, m, &with, &b[2], e));
    *page = (b[1].kv - b[0].kv + MANY - 1) / MANY;
    *state = (b[2].kv - b[1].kv + MANY - 1) / MANY;
out:
    return st;
}

void gemma_ctx_free(gemma_ctx *x)
{
    if (!x) return;
    gemma_adapter_free_all(x);
    dev_free(x->dev);
    if (x->small.base) arena_done(&x->small);
    if (x->memory.base) arena_done(&x->memory);
    if (x->kv_memory.base) arena_done(&x->kv_memory);
    mem_free(x);
}

dev *gemma_ctx_device(gemma_ctx *x) { return x->dev; }

gemma_spare gemma_ctx_spare(const gemma_ctx *x)
{
    const gemma_bufs *b = &x->b;
    return (gemma_spare){ .x = b->x, .h = b->h, .out = b->out, .q = b->q, .att = b->att, .k = b->k, .v = b->v, .gate = b->gate, .up = b->up, .ple = b->ple,
                          .dense = b->dense, .router = b->router, .slot_gate = b->slot_gate, .slot_up = b->slot_up, .slot_out = b->slot_out };
}

const gemma_ctx_opts *gemma_ctx_opts_used(const gemma_ctx *x) { return &x->o; }

void gemma_ctx_tap(gemma_ctx *x, gemma_tap_fn fn, void *user)
{
    x->tap = fn;
    x->tap_user = user;
}

uint64_t gemma_ctx_experts_read(const gemma_ctx *x, int32_t layer) { return x->experts_read ? x->experts_read[layer] : 0; }

void gemma_ctx_interrupt(gemma_ctx *x) { atomic_store(&x->interrupt, true); }

int32_t gemma_ctx_layer_rows(const gemma_ctx *x, int32_t layer)
{
    return layer >= gemma_int_config(x)->kv_layers && gemma_int_leaves(x) ? x->last_wanted : x->last_T;
}

status gemma_ctx_layer_input(gemma_ctx *x, int32_t layer, float *out, err *e)
{
    if (!x->b.inputs || !x->last_T || layer < 0 || layer > gemma_int_config(x)->layer_count)
        return err_set(e, E_ARG, "cannot give the input of layer %d\nthere was no step that kept it", layer);
    x->dev->op->load(x->dev, gemma_int_inputs_type(x), x->b.inputs + gemma_int_input_at(x, layer), gemma_ctx_layer_rows(x, layer), gemma_int_config(x)->hidden, out);
    return x->dev->op->sync(x->dev, e);
}

void gemma_ctx_kv_room(const gemma_ctx *x, int32_t layer, float **k, float **v)
{
    *k = (float *)(void *)x->cache.layers[layer].k;
    *v = (float *)(void *)x->cache.layers[layer].v;
}

status gemma_ctx_shared_kv(const gemma_ctx *x, int32_t layer, const float **k, const float **v, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    bool shared = false;
    for (int32_t l = 0; l < c->layer_count; l++) shared |= l != layer && c->layers[l].kv_source == layer;
    if (!shared || !x->o.no_cache || !x->last_T)
        return err_set(e, E_ARG, "cannot give keys and values of layer %d\nno other layer reads them, or the context has a cache", layer);
    float *keys, *values;
    gemma_ctx_kv_room(x, layer, &keys, &values);
    *k = keys;
    *v = values;
    return OK;
}
