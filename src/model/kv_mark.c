/* The place that a sequence can always go back to, however long it has become since: what its sliding layers need there.
 *
 * Full layers keep every token, rings do not.  The rows of the window before the mark, and of KV_TAKE_BACK tokens more, are
 * copied away when they are about to be overwritten, not before: an answer that fits into the slack of the ring costs nothing,
 * and memory that was never touched is never taken from the system.
 *
 * marks: [seq][layer with a ring of its own][k, v][head][window + KV_TAKE_BACK - 1 rows] */
#include "base/bits.h"
#include "model/kv.h"

static int32_t mark_rows(const kv *c) { return c->config->window + KV_TAKE_BACK - 1; }

static bool has_ring(const kv *c, int32_t l) { return !c->config->layers[l].full && c->config->layers[l].kv_source == l; }

size_t kv_mark_bytes(const kv *c)
{
    size_t n = 0;
    if (!c->o.marks || c->o.no_cache || c->ring_blocks == c->pages_per_seq) return 0;   /* a ring that long is never overwritten */
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const gemma_layer_config *g = &c->config->layers[l];
        if (!has_ring(c, l)) continue;
        size_t row = dtype_row_bytes(c->o.type, g->d) * (size_t)g->nkv;
        n += row * (size_t)mark_rows(c) * (g->k_eq_v && !c->o.keep_k ? 1 : 2);
    }
    return n;
}

void kv_mark(kv *c, int32_t seq)
{
    kv_seq *s = &c->seqs[seq];
    s->mark = s->length;
    s->mark_first = MAX(kv_ring_first(c, s), s->length - mark_rows(c));
    s->mark_saved = false;
}

/* Copies the rows of [mark_first, mark) between the rings and marks. */
static void move_rows(const kv *c, dev *d, int32_t seq, bool save)
{
    const kv_seq *s = &c->seqs[seq];
    dev_span span = kv_span(c, seq, false);
    uint8_t *p = c->marks + (size_t)seq * kv_mark_bytes(c);
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const dev_kv *k = &c->layers[l];
        if (!has_ring(c, l)) continue;
        for (int i = k->k ? 0 : 1; i < 2; i++)
            for (int32_t h = 0; h < k->heads; h++, p += (size_t)mark_rows(c) * k->row_bytes)
                for (int32_t pos = s->mark_first, n; pos < s->mark; pos += n) {
                    n = MIN(DEV_BLOCK - pos % DEV_BLOCK, s->mark - pos);
                    uint8_t *ring = (i ? k->v : k->k) + (size_t)(span.base + pos / DEV_BLOCK % span.ring) * k->block_bytes +
                                    (size_t)h * k->head_bytes + (size_t)(pos % DEV_BLOCK) * k->row_bytes;
                    uint8_t *kept = p + (size_t)(pos - s->mark_first) * k->row_bytes;
                    d->op->copy(d, save ? kept : ring, save ? ring : kept, (size_t)n * k->row_bytes);
                }
    }
}

void kv_mark_keep(kv *c, dev *d, int32_t seq, int32_t high)
{
    kv_seq *s = &c->seqs[seq];
    if (!s->mark || s->mark_saved || high - c->ring_blocks * DEV_BLOCK <= s->mark_first) return;
    move_rows(c, d, seq, true);
    s->mark_saved = true;
}

bool kv_mark_return(kv *c, dev *d, int32_t seq, int32_t length)
{
    kv_seq *s = &c->seqs[seq];
    if (!s->mark_saved || length > s->mark || MAX(0, length - c->config->window + 1) < s->mark_first) return false;
    move_rows(c, d, seq, false);
    s->high = s->mark;
    s->oldest = s->mark_first;
    return true;
}

void kv_mark_drop(kv *c, int32_t seq)
{
    c->seqs[seq].mark = 0;
    c->seqs[seq].mark_saved = false;
}
