/* What a prefix leaves behind when its sequence is gone: pages of full layers, which are counted, and the state of the windows.
 *
 * Full layers keep every token, rings do not: a state is a copy of the rows that the sliding layers see behind a prefix, and of
 * KV_TAKE_BACK rows more, so that it also serves a prefix that is a few tokens shorter.
 *
 * state_rows: [state][layer with a ring of its own][k, v][head][state_len rows] */
#include "base/bits.h"
#include "model/kv.h"

int32_t kv_state_len(const kv *c) { return MIN(c->config->window + KV_TAKE_BACK - 1, c->o.ctx); }

static bool has_ring(const kv *c, int32_t l) { return !c->config->layers[l].full && c->config->layers[l].kv_source == l; }

size_t kv_state_bytes(const kv *c)
{
    size_t n = 0;
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const gemma_layer_config *g = &c->config->layers[l];
        if (!has_ring(c, l)) continue;
        size_t row = dtype_row_bytes(c->o.type, g->d) * (size_t)g->nkv;
        n += row * (size_t)kv_state_len(c) * (g->k_eq_v && !c->o.keep_k ? 1 : 2);
    }
    return n;
}

/* Copies the rows of [first, end) between a sequence's rings and a state. */
static void move_rows(const kv *c, dev *d, int32_t seq, int32_t state, int32_t end, bool save)
{
    int32_t first = c->states[state].first;
    dev_span span = kv_span(c, seq, false);
    uint8_t *p = c->state_rows + (size_t)state * kv_state_bytes(c);
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const dev_kv *k = &c->layers[l];
        if (!has_ring(c, l)) continue;
        for (int i = k->k ? 0 : 1; i < 2; i++)
            for (int32_t h = 0; h < k->heads; h++, p += (size_t)kv_state_len(c) * k->row_bytes)
                for (int32_t pos = first, n; pos < end; pos += n) {
                    n = MIN(DEV_BLOCK - pos % DEV_BLOCK, end - pos);
                    uint8_t *ring = (i ? k->v : k->k) + (size_t)(span.base + pos / DEV_BLOCK % span.ring) * k->block_bytes +
                                    (size_t)h * k->head_bytes + (size_t)(pos % DEV_BLOCK) * k->row_bytes;
                    uint8_t *kept = p + (size_t)(pos - first) * k->row_bytes;
                    d->op->copy(d, save ? kept : ring, save ? ring : kept, (size_t)n * k->row_bytes);
                }
    }
}

int32_t kv_state_least(const kv *c, int32_t length, int32_t first) { return MAX(length - KV_TAKE_BACK, first ? first + c->config->window - 1 : 1); }

int32_t kv_state_save(kv *c, dev *d, int32_t seq, int32_t length, int32_t state)
{
    const kv_seq *s = &c->seqs[seq];
    int32_t have = kv_ring_first(c, s), first = MAX(have, length - kv_state_len(c));
    if (length <= 0 || length > s->length || first > MAX(0, length - c->config->window + 1)) return 0;
    c->states[state] = (kv_state){ .length = length, .first = first, .last_block = length == s->length ? s->last_block : 0 };
    move_rows(c, d, seq, state, length, true);
    return kv_state_least(c, length, first);
}

status kv_resume(kv *c, dev *d, const int32_t *pages, int32_t state, int32_t length, int32_t *seq, err *e)
{
    status st = OK;
    const kv_state *k = &c->states[state];
    if (length <= 0 || length > k->length || MAX(0, length - c->config->window + 1) < k->first)
        FAIL(e, E_ARG, "cannot go on behind %d tokens\nthe windows that were kept belong to %d", length, k->length);
    TRY(kv_seq_new(c, seq, e));
    kv_seq *s = &c->seqs[*seq];
    s->length = s->high = length;
    s->oldest = k->first;
    s->last_block = length == k->length ? k->last_block : 0;
    for (s->pages = 0; s->pages * DEV_BLOCK < length; s->pages++) {
        s->table[s->pages] = pages[s->pages];
        kv_page_hold(c, pages[s->pages]);
    }
    move_rows(c, d, *seq, state, length, false);
out:
    return st;
}
