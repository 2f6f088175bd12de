#include "model/kv.h"

#include <string.h>

#include "base/bits.h"

static bool owns(const gemma_config *g, int32_t l) { return g->layers[l].kv_source == l; }

/* ---- layout ---- */

static bool read_by_others(const gemma_config *g, int32_t l)
{
    for (int32_t i = l + 1; i < g->layer_count; i++)
        if (g->layers[i].kv_source == l) return true;
    return false;
}

/* One array over the rows of the step; layers whose K and V nobody reads later share one (scratch_k, scratch_v). */
static status layout_uncached(kv *c, int32_t l, dev_kv *k, arena *a, uint8_t *scratch_k, uint8_t *scratch_v, err *e)
{
    status st = OK;
    k->head_bytes = (size_t)c->o.row_max * k->row_bytes;
    k->block_bytes = DEV_BLOCK * k->row_bytes;
    if (!read_by_others(c->config, l)) {
        k->k = scratch_k;
        k->v = scratch_v;
        return OK;
    }
    TRY(arena_take(a, &k->k, k->head_bytes, (size_t)k->heads, e));
    TRY(arena_take(a, &k->v, k->head_bytes, (size_t)k->heads, e));
out:
    return st;
}

static status layout_cached(kv *c, const gemma_layer_config *g, dev_kv *k, arena *a, err *e)
{
    status st = OK;
    size_t blocks = g->full ? (size_t)c->o.pages : (size_t)c->o.seq_max * (size_t)c->ring_blocks;
    k->head_bytes = DEV_BLOCK * k->row_bytes;
    k->block_bytes = (size_t)k->heads * k->head_bytes;
    if (!g->k_eq_v || c->o.keep_k) TRY(arena_take(a, &k->k, blocks, k->block_bytes, e));
    TRY(arena_take(a, &k->v, blocks, k->block_bytes, e));
out:
    return st;
}

static size_t uncached_scratch(const kv *c)
{
    size_t most = 0;
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const gemma_layer_config *g = &c->config->layers[l];
        most = MAX(most, dtype_row_bytes(c->o.type, g->d) * (size_t)g->nkv * (size_t)c->o.row_max);
    }
    return most;
}

status kv_layout(kv *c, const gemma_config *g, const kv_opts *o, arena *data, arena *small, err *e)
{
    status st = OK;
    uint8_t *scratch_k = NULL, *scratch_v = NULL;
    *c = (kv){ .o = *o, .config = g };
    c->pages_per_seq = (o->ctx + DEV_BLOCK - 1) / DEV_BLOCK;
    c->ring_blocks = (int32_t)MIN((int64_t)c->pages_per_seq, ((int64_t)g->window + KV_TAKE_BACK + o->row_max + DEV_BLOCK - 1) / DEV_BLOCK);
    if (!o->pages) c->o.pages = o->seq_max * c->pages_per_seq;
    TRY(arena_array(small, &c->layers, g->layer_count, e));
    TRY(arena_array(small, &c->seqs, o->seq_max, e));
    if (o->no_cache) {
        TRY(arena_take(data, &scratch_k, uncached_scratch(c), 1, e));
        TRY(arena_take(data, &scratch_v, uncached_scratch(c), 1, e));
    } else {
        TRY(arena_array(small, &c->refs, c->o.pages, e));
        TRY(arena_array(small, &c->free_pages, c->o.pages, e));
        TRY(arena_array(small, &c->states, o->states, e));
    }
    for (int32_t s = 0; s < o->seq_max; s++) {
        int32_t *table = NULL;
        TRY(arena_array(small, &table, c->pages_per_seq, e));
        if (c->seqs) c->seqs[s].table = table;
    }
    for (int32_t l = 0; l < g->layer_count; l++) {
        const gemma_layer_config *gl = &g->layers[l];
        dev_kv k = { .type = o->type, .heads = gl->nkv, .d = gl->d, .row_bytes = dtype_row_bytes(o->type, gl->d) };
        if (owns(g, l)) {
            if (o->no_cache) TRY(layout_uncached(c, l, &k, data, scratch_k, scratch_v, e));
            else TRY(layout_cached(c, gl, &k, data, e));
        }
        if (c->layers) c->layers[l] = owns(g, l) ? k : c->layers[gl->kv_source];
    }
    if (!o->no_cache) TRY(arena_take(data, &c->state_rows, (size_t)o->states, kv_state_bytes(c), e));
out:
    return st;
}

void kv_start(kv *c)
{
    if (c->o.no_cache) return;
    c->free_count = c->o.pages;
    for (int32_t i = 0; i < c->free_count; i++) c->free_pages[i] = c->free_count - 1 - i;
}

/* ---- sequences ---- */

status kv_seq_new(kv *c, int32_t *seq, err *e)
{
    for (int32_t s = 0; s < c->o.seq_max; s++) {
        if (c->seqs[s].alive) continue;
        c->seqs[s] = (kv_seq){ .alive = true, .table = c->seqs[s].table };
        *seq = s;
        return OK;
    }
    return err_set(e, E_BUSY, "could not start another sequence\nall %d places are taken\nFree a sequence, or start with more places.", c->o.seq_max);
}

void kv_page_hold(kv *c, int32_t page) { c->refs[page]++; }

void kv_page_drop(kv *c, int32_t page)
{
    if (--c->refs[page] == 0) c->free_pages[c->free_count++] = page;
}

void kv_page_share(kv *c, int32_t seq, int32_t i, int32_t page)
{
    int32_t *at = &c->seqs[seq].table[i];
    if (*at == page) return;
    kv_page_hold(c, page);
    kv_page_drop(c, *at);
    *at = page;
}

int32_t kv_page_take(kv *c)
{
    int32_t page = c->free_pages[--c->free_count];
    c->refs[page] = 1;
    return page;
}

static void pages_cut(kv *c, kv_seq *s, int32_t tokens)
{
    int32_t keep = (tokens + DEV_BLOCK - 1) / DEV_BLOCK;
    while (s->pages > keep) kv_page_drop(c, s->table[--s->pages]);
}

void kv_seq_free(kv *c, int32_t seq)
{
    if (!kv_seq_alive(c, seq)) return;
    pages_cut(c, &c->seqs[seq], 0);
    c->seqs[seq].alive = false;
}

bool kv_seq_alive(const kv *c, int32_t seq) { return seq >= 0 && seq < c->o.seq_max && c->seqs[seq].alive; }

static void page_copy(const kv *c, dev *d, int32_t from, int32_t to)
{
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const dev_kv *k = &c->layers[l];
        if (!c->config->layers[l].full || !owns(c->config, l)) continue;
        if (k->k) d->op->copy(d, k->k + (size_t)to * k->block_bytes, k->k + (size_t)from * k->block_bytes, k->block_bytes);
        d->op->copy(d, k->v + (size_t)to * k->block_bytes, k->v + (size_t)from * k->block_bytes, k->block_bytes);
    }
}

/* The page that the next token goes to has other users: it must be copied first. */
static bool writes_shared(const kv *c, const kv_seq *s) { return s->length % DEV_BLOCK && c->refs[s->table[s->length / DEV_BLOCK]] > 1; }

int32_t kv_pages_wanted(const kv *c, int32_t seq, int32_t n)
{
    const kv_seq *s = &c->seqs[seq];
    int64_t need = ((int64_t)s->length + n + DEV_BLOCK - 1) / DEV_BLOCK;
    return (int32_t)MAX(need - s->pages, 0) + (n > 0 && writes_shared(c, s));
}

void kv_reserve(kv *c, dev *d, int32_t seq, int32_t n)
{
    kv_seq *s = &c->seqs[seq];
    int32_t partial = s->length / DEV_BLOCK;
    if (writes_shared(c, s)) {
        int32_t page = kv_page_take(c);
        page_copy(c, d, s->table[partial], page);
        kv_page_drop(c, s->table[partial]);
        s->table[partial] = page;
    }
    while ((int64_t)s->pages * DEV_BLOCK < (int64_t)s->length + n) s->table[s->pages++] = kv_page_take(c);
    s->high = MAX(s->high, s->length + n);
}

void kv_commit(kv *c, int32_t seq, int32_t n, int32_t last_block)
{
    c->seqs[seq].length += n;
    c->seqs[seq].last_block = last_block;
}

void kv_drop(kv *c, int32_t seq) { pages_cut(c, &c->seqs[seq], c->seqs[seq].length); }

int32_t kv_ring_first(const kv *c, const kv_seq *s) { return MAX(s->oldest, s->high - c->ring_blocks * DEV_BLOCK); }

status kv_take_back(kv *c, int32_t seq, int32_t n, err *e)
{
    kv_seq *s = &c->seqs[seq];
    if (n < 0 || n > s->length)
        return err_set(e, E_ARG, "cannot take back %d tokens\nthe sequence has %d", n, s->length);
    int32_t length = s->length - n;
    if (MAX(0, length - c->config->window + 1) < kv_ring_first(c, s))
        return err_set(e, E_ARG, "cannot take back %d tokens\nthe sliding windows have moved on; the last %d can always be taken back\nStart the sequence again.", n,
                       KV_TAKE_BACK);
    s->length = length;
    s->last_block = 0;
    pages_cut(c, s, length);
    return OK;
}

dev_span kv_span(const kv *c, int32_t seq, bool full)
{
    if (full) return (dev_span){ .table = c->seqs[seq].table };
    return (dev_span){ .base = seq * c->ring_blocks, .ring = c->ring_blocks };
}

status kv_fork(kv *c, dev *d, int32_t from, int32_t *to, err *e)
{
    status st = OK;
    TRY(kv_seq_new(c, to, e));
    kv_seq *a = &c->seqs[from], *b = &c->seqs[*to];
    int32_t *table = b->table;
    memcpy(table, a->table, (size_t)a->pages * sizeof *table);
    *b = *a;
    b->table = table;
    for (int32_t i = 0; i < b->pages; i++) c->refs[table[i]]++;
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const dev_kv *k = &c->layers[l];
        if (c->config->layers[l].full || !owns(c->config, l)) continue;
        size_t ring = (size_t)c->ring_blocks * k->block_bytes;
        if (k->k) d->op->copy(d, k->k + (size_t)*to * ring, k->k + (size_t)from * ring, ring);
        d->op->copy(d, k->v + (size_t)*to * ring, k->v + (size_t)from * ring, ring);
    }
out:
    return st;
}
