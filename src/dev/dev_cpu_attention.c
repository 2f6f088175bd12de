/* Attention over the cache's blocks.
 *
 * Keys are taken in chunks of DEV_CHUNK aligned to absolute positions.  Every (row, head) makes of a chunk its
 * maximum, its sum of exponentials and its unnormalised output, and chunks are merged in order of position.  So the
 * additions are the same whether a row stands alone or in a prompt, and whether one thread walks all chunks
 * (prompts) or several threads take some each and a second pass merges (one token, long context).
 *
 * Rows of one sequence that follow one another form a group that shares each pass over keys and values. */
#include "dev/dev_int.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"

static size_t block_at(const dev_kv *kv, const dev_span *s, int32_t head, int32_t pos)
{
    int32_t block = pos / DEV_BLOCK;
    int64_t stored = s->table ? s->table[block] : s->base + (s->ring ? block % s->ring : block);
    return (size_t)stored * kv->block_bytes + (size_t)head * kv->head_bytes + (size_t)(pos % DEV_BLOCK + s->skip) * kv->row_bytes;
}

typedef struct write_job {
    const dev_cpu *d;
    const dev_kv *kv;
    const dev_span *spans;
    const dev_attn_row *rows;
    const float *k, *v;
} write_job;

static void write_row(void *ctx, int64_t t, int worker)
{
    const write_job *j = ctx;
    const dev_kv *kv = j->kv;
    (void)worker;
    for (int32_t h = 0; h < kv->heads; h++) {
        size_t to = block_at(kv, &j->spans[j->rows[t].span], h, j->rows[t].pos);
        int64_t from = (t * kv->heads + h) * kv->d;
        if (kv->k) j->d->k.kv_store(kv->type, j->k + from, kv->d, kv->k + to);
        j->d->k.kv_store(kv->type, j->v + from, kv->d, kv->v + to);
    }
}

void dev_cpu_attention_write(dev *base, const dev_kv *kv, const dev_span *spans, const dev_attn_row *rows, int64_t T, const float *k, const float *v)
{
    write_job j = { (const dev_cpu *)base, kv, spans, rows, k, v };
    dev_cpu_each((dev_cpu *)base, T, T * kv->heads * kv->d, write_row, &j);
}

/* ---- one group of rows over one chunk of keys ---- */

typedef struct span_range { int32_t first, end; } span_range;

typedef struct attn_state {      /* of one (row, head) after some chunks: out = sum exp(s - max) V, not yet divided */
    float max, sum;
} attn_state;

typedef struct attn_scratch {    /* per thread */
    float *q;                    /* [DEV_QUERIES][d] the group's queries for one kv head */
    float *scores;               /* [DEV_QUERIES][DEV_CHUNK] */
    float *out;                  /* [DEV_QUERIES][d] of one chunk */
    float *sum_out;              /* [DEV_QUERIES][d] merged */
    float *keys;                 /* [DEV_BLOCK][d] rebuilt */
} attn_scratch;

static size_t scratch_floats(int64_t d) { return (size_t)(3 * DEV_QUERIES + DEV_BLOCK) * (size_t)align_up((size_t)d, 16) + (size_t)DEV_QUERIES * DEV_CHUNK; }

size_t dev_cpu_attention_scratch(const dev_work *w) { return scratch_floats(w->d_max) * sizeof(float); }

static attn_scratch scratch_of(const dev_cpu *d, int worker)
{
    attn_scratch s;
    size_t dp = align_up((size_t)d->work.d_max, 16);
    s.q = (float *)(void *)dev_cpu_scratch(d, worker);
    s.out = s.q + DEV_QUERIES * dp;
    s.sum_out = s.out + DEV_QUERIES * dp;
    s.keys = s.sum_out + DEV_QUERIES * dp;
    s.scores = s.keys + DEV_BLOCK * dp;
    return s;
}

typedef struct attn_group {      /* rows [row, row + rows) of one sequence */
    const dev_span *span;
    int64_t row;
    int32_t rows;
    span_range keys;             /* what any of them sees */
} attn_group;

typedef struct attn_job {
    dev_cpu *d;
    const dev_attn *a;
    int32_t nqk;                 /* query heads per kv head */
    int32_t group_rows;          /* most rows in a group */
    int64_t groups;
    int32_t chunk_first, chunks; /* split mode */
} attn_job;

/* Group number g: rows are cut every group_rows and where the sequence changes; the caller walks them in order. */
static attn_group group_at(const dev_attn *a, int64_t row, int32_t most)
{
    attn_group g = { .span = &a->spans[a->rows[row].span], .row = row, .keys = { a->rows[row].first, a->rows[row].last + 1 } };
    while (g.rows < most && row + g.rows < a->T && a->rows[row + g.rows].span == a->rows[row].span) {
        const dev_attn_row *r = &a->rows[row + g.rows];
        g.keys.first = MIN(g.keys.first, r->first);
        g.keys.end = MAX(g.keys.end, r->last + 1);
        g.rows++;
    }
    return g;
}

/* K of a K = V layer from its stored V: weighted, then rotated (architecture section 2.5). */
static void rebuild_keys(const dev_cpu *d, const dev_kv *kv, const uint8_t *values, int32_t pos, int32_t n, float *keys)
{
    for (int32_t i = 0; i < n; i++) {
        float *key = keys + (int64_t)i * kv->d;
        d->k.kv_load(kv->type, values + (size_t)i * kv->row_bytes, kv->d, key);
        for (int32_t c = 0; c < kv->d; c++) key[c] *= kv->k_norm[c];
        d->k.rope(key, kv->key_rope + (int64_t)(pos + i) * kv->pairs * 2, kv->d, kv->pairs);
    }
}

static void chunk_scores(const dev_cpu *d, const dev_attn *a, const attn_group *g, int32_t nqk, int32_t head, span_range keys, attn_scratch *s)
{
    const dev_kv *kv = a->kv;
    int32_t chunk = keys.first / DEV_CHUNK * DEV_CHUNK;
    for (int32_t pos = keys.first, n; pos < keys.end; pos += n) {
        n = MIN(DEV_BLOCK - pos % DEV_BLOCK, keys.end - pos);
        size_t at = block_at(kv, g->span, head, pos);
        float *scores = s->scores + (pos - chunk);
        int64_t nq = (int64_t)g->rows * nqk;
        if (kv->k) {
            d->k.attn_scores(kv->type, s->q, kv->d, nq, kv->d, kv->k + at, kv->row_bytes, n, scores, DEV_CHUNK);
            continue;
        }
        rebuild_keys(d, kv, kv->v + at, pos, n, s->keys);
        d->k.attn_scores(DTYPE_F32, s->q, kv->d, nq, kv->d, s->keys, (size_t)kv->d * sizeof(float), n, scores, DEV_CHUNK);
    }
}

/* Scores become exponentials; keys that a row does not see get 0.  part[j].sum == 0: the row sees none of them. */
static void chunk_softmax(const dev_cpu *d, const dev_attn *a, const attn_group *g, int32_t nqk, span_range keys, const attn_scratch *s, attn_state *part)
{
    int32_t chunk = keys.first / DEV_CHUNK * DEV_CHUNK;
    for (int32_t i = 0; i < g->rows * nqk; i++) {
        const dev_attn_row *r = &a->rows[g->row + i / nqk];
        int32_t first = MAX(r->first, keys.first), end = MIN(r->last + 1, keys.end);
        float *p = s->scores + (int64_t)i * DEV_CHUNK - chunk;
        part[i] = (attn_state){ -INFINITY, 0 };
        if (first >= end) first = end = keys.first;
        else part[i].max = d->k.exp_sum(p + first, end - first, &part[i].sum);
        memset(p + keys.first, 0, (size_t)(first - keys.first) * sizeof *p);
        memset(p + end, 0, (size_t)(keys.end - end) * sizeof *p);
    }
}

static void chunk_values(const dev_cpu *d, const dev_attn *a, const attn_group *g, int32_t nqk, int32_t head, span_range keys, attn_scratch *s)
{
    const dev_kv *kv = a->kv;
    int32_t chunk = keys.first / DEV_CHUNK * DEV_CHUNK;
    memset(s->out, 0, (size_t)g->rows * (size_t)nqk * (size_t)kv->d * sizeof *s->out);
    for (int32_t pos = keys.first, n; pos < keys.end; pos += n) {
        n = MIN(DEV_BLOCK - pos % DEV_BLOCK, keys.end - pos);
        d->k.attn_mix(kv->type, s->scores + (pos - chunk), DEV_CHUNK, (int64_t)g->rows * nqk, kv->d, kv->v + block_at(kv, g->span, head, pos),
                      kv->row_bytes, n, s->out, kv->d);
    }
}

static void one_chunk(const dev_cpu *d, const dev_attn *a, const attn_group *g, int32_t nqk, int32_t head, span_range keys, attn_scratch *s, attn_state *part)
{
    chunk_scores(d, a, g, nqk, head, keys, s);
    chunk_softmax(d, a, g, nqk, keys, s, part);
    chunk_values(d, a, g, nqk, head, keys, s);
}

/* The one way in which chunks come together. */
static void merge(const kern *k, attn_state *all, float *all_out, const attn_state *part, const float *part_out, int64_t d)
{
    if (!(part->sum > 0)) return;
    if (!(all->sum > 0)) {
        *all = *part;
        memcpy(all_out, part_out, (size_t)d * sizeof *all_out);
        return;
    }
    float old = 1, add = 1;
    if (part->max > all->max) {
        old = expf(all->max - part->max);
        all->max = part->max;
        k->scale(old, d, all_out);
    } else {
        add = expf(part->max - all->max);
    }
    all->sum = all->sum * old + part->sum * add;
    k->axpy(add, part_out, d, all_out);
}

static void collect_queries(const dev_attn *a, const attn_group *g, int32_t nqk, int32_t head, float *q)
{
    int64_t d = a->kv->d;
    for (int32_t r = 0; r < g->rows; r++)
        memcpy(q + (int64_t)r * nqk * d, a->q + ((g->row + r) * a->nq + (int64_t)head * nqk) * d, (size_t)(nqk * d) * sizeof *q);
}

static void finish(const kern *k, const attn_state *s, const float *out, int64_t d, float *y)
{
    memcpy(y, out, (size_t)d * sizeof *y);
    k->scale(1.0f / s->sum, d, y);
}

/* ---- whole mode: an item is one group and one kv head, over all its chunks ---- */

static void whole_item(void *ctx, int64_t item, int worker)
{
    attn_job *j = ctx;
    const dev_attn *a = j->a;
    int32_t head = (int32_t)(item % a->kv->heads), d = a->kv->d;
    int64_t row = 0;
    attn_group g = group_at(a, 0, j->group_rows);
    for (int64_t i = item / a->kv->heads; i > 0; i--) {
        row += g.rows;
        g = group_at(a, row, j->group_rows);
    }
    attn_scratch s = scratch_of(j->d, worker);
    attn_state all[DEV_QUERIES], part[DEV_QUERIES];
    int32_t count = g.rows * j->nqk;
    for (int32_t i = 0; i < count; i++) all[i] = (attn_state){ -INFINITY, 0 };
    collect_queries(a, &g, j->nqk, head, s.q);
    for (int32_t pos = g.keys.first, end; pos < g.keys.end; pos = end) {
        end = MIN((pos / DEV_CHUNK + 1) * DEV_CHUNK, g.keys.end);
        one_chunk(j->d, a, &g, j->nqk, head, (span_range){ pos, end }, &s, part);
        for (int32_t i = 0; i < count; i++) merge(&j->d->k, &all[i], s.sum_out + (int64_t)i * d, &part[i], s.out + (int64_t)i * d, d);
    }
    for (int32_t i = 0; i < count; i++)
        finish(&j->d->k, &all[i], s.sum_out + (int64_t)i * d, d, a->out + ((g.row + i / j->nqk) * a->nq + (int64_t)head * j->nqk + i % j->nqk) * d);
}

/* ---- split mode: a single row; an item is one kv head and one chunk ---- */

static float *partial_at(const attn_job *j, int32_t query, int32_t chunk)
{
    return j->d->partial + ((int64_t)query * j->chunks + chunk) * (j->a->kv->d + 2);
}

static void split_item(void *ctx, int64_t item, int worker)
{
    attn_job *j = ctx;
    const dev_attn *a = j->a;
    int32_t head = (int32_t)(item / j->chunks), chunk = (int32_t)(item % j->chunks), d = a->kv->d;
    attn_group g = group_at(a, 0, 1);
    attn_scratch s = scratch_of(j->d, worker);
    attn_state part[DEV_QUERIES];
    int32_t pos = (j->chunk_first + chunk) * DEV_CHUNK;
    span_range keys = { MAX(pos, g.keys.first), MIN(pos + DEV_CHUNK, g.keys.end) };
    collect_queries(a, &g, j->nqk, head, s.q);
    one_chunk(j->d, a, &g, j->nqk, head, keys, &s, part);
    for (int32_t i = 0; i < j->nqk; i++) {
        float *p = partial_at(j, head * j->nqk + i, chunk);
        p[0] = part[i].max;
        p[1] = part[i].sum;
        memcpy(p + 2, s.out + (int64_t)i * d, (size_t)d * sizeof *p);
    }
}

static void split_merge(void *ctx, int64_t query, int worker)
{
    attn_job *j = ctx;
    int32_t d = j->a->kv->d;
    attn_scratch s = scratch_of(j->d, worker);
    attn_state all = { -INFINITY, 0 };
    for (int32_t c = 0; c < j->chunks; c++) {
        const float *p = partial_at(j, (int32_t)query, c);
        attn_state part = { p[0], p[1] };
        merge(&j->d->k, &all, s.sum_out, &part, p + 2, d);
    }
    finish(&j->d->k, &all, s.sum_out, d, j->a->out + query * d);
}

size_t dev_cpu_attention_partial(const dev_work *w)
{
    return (size_t)w->nq_max * (size_t)(w->ctx / DEV_CHUNK + 2) * (size_t)(w->d_max + 2);
}

void dev_cpu_attention(dev *base, const dev_attn *a)
{
    dev_cpu *d = (dev_cpu *)base;
    attn_job j = { .d = d, .a = a, .nqk = a->nq / a->kv->heads };
    j.group_rows = MAX(DEV_QUERIES / j.nqk, 1);
    if (a->T == 1 && d->threads > 1) {
        j.chunk_first = a->rows[0].first / DEV_CHUNK;
        j.chunks = a->rows[0].last / DEV_CHUNK - j.chunk_first + 1;
        dev_cpu_each(d, (int64_t)j.chunks * a->kv->heads, (int64_t)(a->rows[0].last - a->rows[0].first + 1) * a->nq * a->kv->d / 4, split_item, &j);
        dev_cpu_each(d, a->nq, (int64_t)j.chunks * a->nq * a->kv->d / 4, split_merge, &j);
        return;
    }
    int64_t work = 0;
    for (int64_t row = 0; row < a->T; j.groups++) {
        attn_group g = group_at(a, row, j.group_rows);
        work += (int64_t)(g.keys.end - g.keys.first) * g.rows * a->nq * a->kv->d / 4;
        row += g.rows;
    }
    dev_cpu_each(d, j.groups * a->kv->heads, work, whole_item, &j);
}
