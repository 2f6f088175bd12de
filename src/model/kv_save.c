/* A sequence's state as bytes.
 *
 *   kv_header | for each layer with K and V of its own: K rows (unless rebuilt), then V rows | checksum (u64)
 *
 * Rows stand by head, then position; full layers from 0, sliding layers from the first position that a token taken
 * back could still need.  Rings of another length, and any free pages, can take them. */
#include "base/bits.h"
#include "base/hash.h"
#include "model/kv.h"

typedef struct kv_header {
    uint8_t magic[8];
    uint64_t model;             /* fingerprint of everything that gives the bytes their meaning */
    int32_t length, oldest, last_block, zero;
} kv_header;

static const uint8_t kv_magic[8] = { 'F', 'A', 'C', 'E', 'T', 'K', 'V', '1' };

uint64_t kv_fingerprint(const kv *c)
{
    uint64_t h = 0;
    int32_t head[] = { (int32_t)c->o.type, c->config->layer_count, c->config->hidden, c->config->window, c->o.keep_k };
    h = hash_bytes(head, sizeof head, h);
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const gemma_layer_config *g = &c->config->layers[l];
        int32_t layer[] = { g->full, g->k_eq_v, g->nkv, g->d, g->kv_source };
        h = hash_bytes(layer, sizeof layer, h);
    }
    return h;
}

static int32_t oldest_saved(const kv *c, const kv_seq *s)
{
    int32_t first = MAX(s->oldest, s->high - c->ring_blocks * DEV_BLOCK);
    return MAX(first, s->length - c->config->window - KV_TAKE_BACK + 1);
}

static size_t rows_bytes(const kv *c, int32_t length, int32_t oldest)
{
    size_t n = 0;
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const gemma_layer_config *g = &c->config->layers[l];
        const dev_kv *k = &c->layers[l];
        if (g->kv_source != l) continue;
        n += (size_t)(length - (g->full ? 0 : MAX(oldest, 0))) * (size_t)k->heads * k->row_bytes * (k->k ? 2 : 1);
    }
    return n;
}

size_t kv_save_bytes(const kv *c, int32_t seq)
{
    const kv_seq *s = &c->seqs[seq];
    return sizeof(kv_header) + rows_bytes(c, s->length, oldest_saved(c, s)) + sizeof(uint64_t);
}

/* Moves every row between the cache and p, in file order. */
static void move_rows(const kv *c, dev *d, int32_t seq, int32_t oldest, uint8_t *p, bool save)
{
    for (int32_t l = 0; l < c->config->layer_count; l++) {
        const gemma_layer_config *g = &c->config->layers[l];
        const dev_kv *k = &c->layers[l];
        if (g->kv_source != l) continue;
        dev_span span = kv_span(c, seq, g->full);
        for (int which = k->k ? 0 : 1; which < 2; which++)
            for (int32_t h = 0; h < k->heads; h++)
                for (int32_t pos = g->full ? 0 : MAX(oldest, 0); pos < c->seqs[seq].length; pos++) {
                    int64_t block = span.table ? span.table[pos / DEV_BLOCK] : span.base + pos / DEV_BLOCK % span.ring;
                    uint8_t *row = (which ? k->v : k->k) + (size_t)block * k->block_bytes + (size_t)h * k->head_bytes + (size_t)(pos % DEV_BLOCK) * k->row_bytes;
                    if (save) d->op->download(d, p, row, k->row_bytes);
                    else d->op->upload(d, row, p, k->row_bytes);
                    p += k->row_bytes;
                }
    }
}

void kv_save(const kv *c, dev *d, int32_t seq, uint8_t *out)
{
    const kv_seq *s = &c->seqs[seq];
    kv_header h = { .model = kv_fingerprint(c), .length = s->length, .oldest = MAX(oldest_saved(c, s), 0), .last_block = s->last_block };
    size_t n = kv_save_bytes(c, seq) - sizeof(uint64_t);
    memcpy(h.magic, kv_magic, sizeof h.magic);
    memcpy(out, &h, sizeof h);
    move_rows(c, d, seq, h.oldest, out + sizeof h, true);
    store_u64(out + n, hash_bytes(out, n, 0));
}

status kv_load(kv *c, dev *d, const uint8_t *p, size_t n, int32_t *seq, err *e)
{
    status st = OK;
    kv_header h;
    const char *cannot = "cannot restore the saved sequence";
    if (n < sizeof h + sizeof(uint64_t)) FAIL(e, E_FORMAT, "%s\n%zu bytes are too few", cannot, n);
    memcpy(&h, p, sizeof h);
    if (memcmp(h.magic, kv_magic, sizeof h.magic) != 0) FAIL(e, E_FORMAT, "%s\nit does not begin with FACETKV1", cannot);
    if (h.model != kv_fingerprint(c)) FAIL(e, E_ARG, "%s\nit was made with another model or another cache type", cannot);
    if (h.length < 0 || h.oldest < 0 || h.oldest > h.length || h.last_block < 0) FAIL(e, E_FORMAT, "%s\nits header is damaged", cannot);
    if (h.length > c->o.ctx) FAIL(e, E_ARG, "%s\nit has %d tokens, the context holds %d\nStart with a longer context.", cannot, h.length, c->o.ctx);
    if (h.oldest > MAX(0, h.length - c->config->window + 1)) FAIL(e, E_FORMAT, "%s\nits window is incomplete", cannot);
    if (n != sizeof h + rows_bytes(c, h.length, h.oldest) + sizeof(uint64_t)) FAIL(e, E_FORMAT, "%s\nits length is wrong", cannot);
    if (load_u64(p + n - 8) != hash_bytes(p, n - 8, 0)) FAIL(e, E_FORMAT, "%s\nthe checksum is wrong", cannot);
    if ((h.length + DEV_BLOCK - 1) / DEV_BLOCK > c->free_count) FAIL(e, E_BUSY, "%s\nthe cache is full", cannot);
    TRY(kv_seq_new(c, seq, e));
    kv_reserve(c, d, *seq, h.length);
    kv_commit(c, *seq, h.length, h.last_block);
    c->seqs[*seq].oldest = h.oldest;
    /* A shorter ring than the saver's holds fewer old tokens; rows are written in order, the newest last. */
    uint8_t *rows = (uint8_t *)(uintptr_t)(p + sizeof h);
    move_rows(c, d, *seq, h.oldest, rows, false);
out:
    return st;
}
