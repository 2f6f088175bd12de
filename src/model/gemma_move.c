/* What a remembered prefix consists of, as bytes that another process takes back: the rows of a page, and those of a window state.
 *
 *   page:  [full layer with K and V of its own][k unless rebuilt, v][head][tokens rows]
 *   state: [layer with a ring of its own]      [k unless rebuilt, v][head][length - first rows]
 *
 * Only rows that are in use: what lies behind them belongs to whoever had the page before. */
#include "base/bits.h"
#include "base/hash.h"
#include "model/gemma_int.h"

enum { PIECE = 16 << 10 };      /* goes through the stack */

static bool owns(const kv *c, int32_t l, bool full) { return c->config->layers[l].kv_source == l && c->config->layers[l].full == full; }

static size_t row_bytes(const kv *c, bool full)
{
    size_t n = 0;
    for (int32_t l = 0; l < c->config->layer_count; l++)
        if (owns(c, l, full)) n += (size_t)c->layers[l].heads * c->layers[l].row_bytes * (c->layers[l].k ? 2 : 1);
    return n;
}

static status move(dev *d, uint8_t *at, size_t n, bool out, gemma_move_fn fn, void *user, err *e)
{
    status st = OK;
    uint8_t piece[PIECE];
    for (size_t part; n; n -= part, at += part) {
        part = MIN(n, sizeof piece);
        if (out) d->op->download(d, piece, at, part);
        TRY(fn(user, piece, part, e));
        if (!out) d->op->upload(d, at, piece, part);
    }
out:
    return st;
}

size_t gemma_page_row_bytes(const gemma_ctx *x) { return row_bytes(&x->cache, true); }
size_t gemma_state_row_bytes(const gemma_ctx *x) { return row_bytes(&x->cache, false); }

status gemma_page_move(const gemma_ctx *x, int32_t page, int32_t tokens, bool out, gemma_move_fn fn, void *user, err *e)
{
    status st = OK;
    const kv *c = &x->cache;
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const dev_kv *k = &c->layers[l];
        if (!owns(c, l, true)) continue;
        for (int i = k->k ? 0 : 1; i < 2; i++)
            for (int32_t h = 0; h < k->heads; h++)
                TRY(move(x->dev, (i ? k->v : k->k) + (size_t)page * k->block_bytes + (size_t)h * k->head_bytes, (size_t)tokens * k->row_bytes, out, fn, user, e));
    }
out:
    return st;
}

status gemma_state_move(const gemma_ctx *x, int32_t state, int32_t rows, bool out, gemma_move_fn fn, void *user, err *e)
{
    status st = OK;
    const kv *c = &x->cache;
    uint8_t *p = c->state_rows + (size_t)state * kv_state_bytes(c);
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const dev_kv *k = &c->layers[l];
        if (!owns(c, l, false)) continue;
        for (int i = k->k ? 0 : 1; i < 2; i++)
            for (int32_t h = 0; h < k->heads; h++, p += (size_t)kv_state_len(c) * k->row_bytes)
                TRY(move(x->dev, p, (size_t)rows * k->row_bytes, out, fn, user, e));
    }
out:
    return st;
}

gemma_state gemma_state_read(const gemma_ctx *x, int32_t state)
{
    const kv_state *s = &x->cache.states[state];
    return (gemma_state){ .length = s->length, .first = s->first, .last_block = s->last_block };
}

int32_t gemma_state_least(const gemma_ctx *x, const gemma_state *s)
{
    bool right = s->length > 0 && s->length <= x->o.ctx && s->first >= 0 && s->last_block >= 0 && s->length - s->first <= kv_state_len(&x->cache) &&
                 s->first <= MAX(0, s->length - x->m->config.window + 1);
    return right ? kv_state_least(&x->cache, s->length, s->first) : 0;
}

void gemma_state_set(gemma_ctx *x, int32_t state, const gemma_state *s)
{
    x->cache.states[state] = (kv_state){ .length = s->length, .first = s->first, .last_block = s->last_block };
}

int32_t gemma_page_take(gemma_ctx *x) { return x->cache.free_count ? kv_page_take(&x->cache) : -1; }

/* ---- whose bytes they are ------------------------------------------------------------------------- */

/* Matrices are too large to be read whole before the first answer: pieces of each, evenly spread. */
static uint64_t sample(const weight *w, uint64_t h)
{
    enum { SAMPLES = 16, BYTES = 64 };
    if (!weight_has(w)) return hash_bytes("", 0, h);
    int64_t shape[] = { (int64_t)w->type, w->mats, w->rows, w->cols, w->mat_rows };
    size_t n = (size_t)w->mats * (size_t)w->rows;
    h = hash_bytes(shape, sizeof shape, h);
    h = hash_bytes(&w->scale, sizeof w->scale, h);
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t row = n * i / SAMPLES, bytes = MIN(w->row_bytes, (size_t)BYTES), at = (w->row_bytes - bytes) * i / SAMPLES;
        h = hash_bytes(weight_row(w, (int64_t)(row / (size_t)w->rows), (int64_t)(row % (size_t)w->rows)) + at, bytes, h);
    }
    return h;
}

static uint64_t sample_layer(const layer_weights *w, uint64_t h)
{
    const weight *all[] = { &w->q, &w->k, &w->v, &w->o, &w->gate, &w->up, &w->down, &w->router, &w->gate_exps, &w->up_exps, &w->down_exps, &w->ple_gate, &w->ple_proj };
    for (size_t i = 0; i < COUNT_OF(all); i++) h = sample(all[i], h);
    return hash_bytes(&w->layer_scalar, sizeof w->layer_scalar, h);
}

static uint64_t hash_vector(const float *v, int64_t n, uint64_t h) { return v ? hash_bytes(v, (size_t)n * sizeof *v, h) : hash_bytes("", 0, h); }

/* Norms and scales, whole: they are small. */
static uint64_t hash_norms(const layer_weights *w, const gemma_config *c, int32_t layer, uint64_t h)
{
    const float *wide[] = { w->attn_norm, w->post_attn_norm, w->ffn_norm, w->post_ffn_norm, w->router_scale, w->ffn_norm_2, w->post_ffn_norm_1,
                            w->post_ffn_norm_2, w->ple_norm };
    for (size_t i = 0; i < COUNT_OF(wide); i++) h = hash_vector(wide[i], c->hidden, h);
    h = hash_vector(w->q_norm, c->layers[layer].d, h);
    h = hash_vector(w->k_norm, c->layers[layer].d, h);
    return hash_vector(w->expert_scale, c->expert_count, h);
}

static uint64_t hash_config(const gemma_config *c, uint64_t h)
{
    double reals[] = { (double)c->eps, (double)c->softcap, c->theta_sliding, c->theta_full };
    int32_t whole[] = { c->vocab, c->ple, c->expert_count, c->expert_used, c->expert_ff, c->rope_pairs_full, c->rope_factors != NULL };
    int32_t d = 0;
    for (int32_t l = 0; l < c->layer_count; l++) {
        int32_t layer[] = { c->layers[l].nq, c->layers[l].ff };
        h = hash_bytes(layer, sizeof layer, h);
        if (c->layers[l].full) d = c->layers[l].d;
    }
    h = hash_bytes(whole, sizeof whole, hash_bytes(reals, sizeof reals, h));
    return c->rope_factors ? hash_bytes(c->rope_factors, (size_t)(d / 2) * sizeof *c->rope_factors, h) : h;
}

uint64_t gemma_ctx_identity(const gemma_ctx *x)
{
    const gemma *m = x->m;
    const weights *w = &m->weights;
    const weight *all[] = { &w->embed, &w->head, &w->ple_embed, &w->ple_model_proj };
    uint64_t of_file[] = { m->gguf ? gguf_file_bytes(m->gguf) : st_file_bytes(m->safetensors), m->gguf ? gguf_file_changed(m->gguf) : st_file_changed(m->safetensors),
                           x->o.isa, x->o.exact, x->o.invariant };
    uint64_t h = hash_bytes(of_file, sizeof of_file, kv_fingerprint(&x->cache));
    h = hash_config(&m->config, h);
    h = hash_vector(w->out_norm, m->config.hidden, h);
    h = hash_vector(w->ple_proj_norm, m->config.ple, h);
    for (size_t i = 0; i < COUNT_OF(all); i++) h = sample(all[i], h);
    for (int32_t l = 0; l < m->config.layer_count; l++) h = hash_norms(&w->layers[l], &m->config, l, sample_layer(&w->layers[l], h));
    return h;
}
