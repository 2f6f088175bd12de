/* Attention over the cache's blocks.
 *
 * Keys are taken in chunks of DEV_CHUNK aligned to absolute positions.  Every (row, head) makes of a chunk its
 * maximum, its sum of exponentials and its unnormalised output, and chunks are merged in order of position.  So the
 * additions are the same whether a row stands alone or in a prompt, and whether one thread walks all chunks
 * (prompts) or several threads take some each and a second pass merges (few rows, long context).
 *
 * Rows of one sequence that follow one another form a group that shares each pass over keys and values.
 *
 * K = V layers store V alone: K = rope(k_norm * V).  Most elements of a head are not rotated: for these k_norm moves to
 * the query and V is used as it is.  The rotated ones are rebuilt, a few keys at a time that stay in L1. */
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

enum { REBUILT = 8 };            /* keys rebuilt at a time: 16 KB with heads of 512 */

typedef struct attn_scratch {    /* per thread */
    float *q;                    /* [DEV_QUERIES][d] the group's queries for one kv head */
    float *scores;               /* [DEV_QUERIES][DEV_CHUNK] */
    float *out;                  /* [DEV_QUERIES][d] of one chunk */
    float *sum_out;              /* [DEV_QUERIES][d] merged */
    float *keys;                 /* [REBUILT][d] */
} attn_scratch;

static size_t scratch_floats(int64_t d) { return (size_t)(3 * DEV_QUERIES + REBUILT) * (size_t)align_up((size_t)d, 16) + (size_t)DEV_QUERIES * DEV_CHUNK; }

size_t dev_cpu_attention_scratch(const dev_work *w) { return scratch_floats(w->d_max) * sizeof(float); }

static attn_scratch scratch_of(const dev_cpu *d, int worker)
{
    attn_scratch s;
    size_t dp = align_up((size_t)d->work.d_max, 16);
    s.q = (float *)(void *)dev_cpu_scratch(d, worker);
    s.out = s.q + DEV_QUERIES * dp;
    s.sum_out = s.out + DEV_QUERIES * dp;
    s.keys = s.sum_out + DEV_QUERIES * dp;
    s.scores = s.keys + REBUILT * dp;
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
    int64_t groups;              /* from row on, of this round */
    int64_t row;                 /* the first one that is not done */
    int32_t span;                /* chunks of an item, in split mode */
    int32_t chunks;              /* of the longest group of the round */
} attn_job;

/* The group that starts at a row: rows are cut every `most` and where the sequence changes. */
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

/* The group with a number, counted from a row on. */
static attn_group group_number(const dev_attn *a, int64_t row, int32_t most, int64_t number)
{
    attn_group g = group_at(a, row, most);
    for (; number > 0; number--) g = group_at(a, g.row + g.rows, most);
    return g;
}

/* A key of a K = V layer from stored V (architecture section 2.5), without k_norm where it is not rotated. */
static void rebuild_key(const dev_cpu *d, const dev_kv *kv, const uint8_t *value, int32_t pos, float *key)
{
    int32_t half = kv->d / 2;
    d->k.kv_load(kv->type, value, kv->d, key);
    for (int32_t c = 0; c < kv->pairs; c++) key[c] *= kv->k_norm[c];
    for (int32_t c = half; c < half + kv->pairs; c++) key[c] *= kv->k_norm[c];
    d->k.rope(key, kv->key_rope + (int64_t)pos * kv->pairs * 2, kv->d, kv->pairs);
}

static void rebuilt_scores(const dev_cpu *d, const dev_kv *kv, int64_t nq, const uint8_t *values, const uint8_t *ahead, int32_t pos, int32_t n, attn_scratch *s,
                           float *scores)
{
    for (int32_t i = 0, few; i < n; i += few) {
        few = MIN(n - i, (int32_t)REBUILT);
        for (int32_t k = i; k < i + few; k++) {
            for (size_t b = 0; ahead && b < kv->row_bytes; b += 64) __builtin_prefetch(ahead + (size_t)k * kv->row_bytes + b, 0, 2);
            rebuild_key(d, kv, values + (size_t)k * kv->row_bytes, pos + k, s->keys + (int64_t)(k - i) * kv->d);
        }
        d->k.attn_scores(DTYPE_F32, s->q, kv->d, nq, kv->d, s->keys, (size_t)kv->d * sizeof(float), NULL, few, scores + i, DEV_CHUNK);
    }
}

static void chunk_scores(const dev_cpu *d, const dev_attn *a, const attn_group *g, int32_t nqk, int32_t head, span_range keys, attn_scratch *s)
{
    const dev_kv *kv = a->kv;
    const uint8_t *base = kv->k ? kv->k : kv->v;
    int32_t chunk = keys.first / DEV_CHUNK * DEV_CHUNK;
    int64_t nq = (int64_t)g->rows * nqk;
    for (int32_t pos = keys.first, n; pos < keys.end; pos += n) {
        n = MIN(DEV_BLOCK - pos % DEV_BLOCK, keys.end - pos);
        const uint8_t *at = base + block_at(kv, g->span, head, pos), *ahead = NULL;
        float *scores = s->scores + (pos - chunk);
        if (pos + n < keys.end) ahead = base + block_at(kv, g->span, head, pos + n);
        else if (kv->k) ahead = kv->v + block_at(kv, g->span, head, keys.first);
        if (kv->k) d->k.attn_scores(kv->type, s->q, kv->d, nq, kv->d, at, kv->row_bytes, ahead, n, scores, DEV_CHUNK);
        else rebuilt_scores(d, kv, nq, at, ahead, pos, n, s, scores);
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

/* more: the chunk behind this one is read next.  Values of a K = V layer are in the cache already. */
static void chunk_values(const dev_cpu *d, const dev_attn *a, const attn_group *g, int32_t nqk, int32_t head, span_range keys, bool more, attn_scratch *s)
{
    const dev_kv *kv = a->kv;
    int32_t chunk = keys.first / DEV_CHUNK * DEV_CHUNK;
    memset(s->out, 0, (size_t)g->rows * (size_t)nqk * (size_t)kv->d * sizeof *s->out);
    for (int32_t pos = keys.first, n; pos < keys.end; pos += n) {
        n = MIN(DEV_BLOCK - pos % DEV_BLOCK, keys.end - pos);
        const uint8_t *ahead = NULL;
        if (pos + n < keys.end) ahead = kv->k ? kv->v + block_at(kv, g->span, head, pos + n) : NULL;
        else if (more) ahead = (kv->k ? kv->k : kv->v) + block_at(kv, g->span, head, keys.end);
        d->k.attn_mix(kv->type, s->scores + (pos - chunk), DEV_CHUNK, (int64_t)g->rows * nqk, kv->d, kv->v + block_at(kv, g->span, head, pos),
                      kv->row_bytes, ahead, n, s->out, kv->d);
    }
}

static void one_chunk(const dev_cpu *d, const dev_attn *a, const attn_group *g, int32_t nqk, int32_t head, span_range keys, bool more, attn_scratch *s,
                      attn_state *part)
{
    chunk_scores(d, a, g, nqk, head, keys, s);
    chunk_softmax(d, a, g, nqk, keys, s, part);
    chunk_values(d, a, g, nqk, head, keys, more, s);
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

static void fold_k_norm(const dev_kv *kv, int64_t nq, float *q)
{
    int32_t half = kv->d / 2;
    for (int64_t j = 0; j < nq; j++, q += kv->d) {
        for (int32_t c = kv->pairs; c < half; c++) q[c] *= kv->k_norm[c];
        for (int32_t c = half + kv->pairs; c < kv->d; c++) q[c] *= kv->k_norm[c];
    }
}

static void collect_queries(const dev_attn *a, const attn_group *g, int32_t nqk, int32_t head, attn_scratch *s)
{
    int64_t d = a->kv->d;
    for (int32_t r = 0; r < g->rows; r++)
        memcpy(s->q + (int64_t)r * nqk * d, a->q + ((g->row + r) * a->nq + (int64_t)head * nqk) * d, (size_t)(nqk * d) * sizeof *s->q);
    if (!a->kv->k) fold_k_norm(a->kv, (int64_t)g->rows * nqk, s->q);
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
    attn_group g = group_number(a, j->row, j->group_rows, item / a->kv->heads);
    attn_scratch s = scratch_of(j->d, worker);
    attn_state all[DEV_QUERIES], part[DEV_QUERIES];
    int32_t count = g.rows * j->nqk;
    for (int32_t i = 0; i < count; i++) all[i] = (attn_state){ -INFINITY, 0 };
    collect_queries(a, &g, j->nqk, head, &s);
    for (int32_t pos = g.keys.first, end; pos < g.keys.end; pos = end) {
        end = MIN((pos / DEV_CHUNK + 1) * DEV_CHUNK, g.keys.end);
        one_chunk(j->d, a, &g, j->nqk, head, (span_range){ pos, end }, end < g.keys.end, &s, part);
        for (int32_t i = 0; i < count; i++) merge(&j->d->k, &all[i], s.sum_out + (int64_t)i * d, &part[i], s.out + (int64_t)i * d, d);
    }
    for (int32_t i = 0; i < count; i++)
        finish(&j->d->k, &all[i], s.sum_out + (int64_t)i * d, d, a->out + ((g.row + i / j->nqk) * a->nq + (int64_t)head * j->nqk + i % j->nqk) * d);
}

/* ---- split mode, for few rows: an item is one group, one kv head and some chunks; then each (row, head) is merged ---- */

static int32_t chunks_of(const attn_group *g) { return (g->keys.end - 1) / DEV_CHUNK - g->keys.first / DEV_CHUNK + 1; }

static float *partial_at(const attn_job *j, int64_t query, int32_t chunk)
{
    return j->d->partial + (query * j->chunks + chunk) * (j->a->kv->d + 2);
}

static void split_item(void *ctx, int64_t item, int worker)
{
    attn_job *j = ctx;
    const dev_attn *a = j->a;
    int32_t heads = a->kv->heads, d = a->kv->d, head = (int32_t)(item % heads), first = (int32_t)(item / heads / j->groups) * j->span;
    attn_group g = group_number(a, j->row, j->group_rows, item / heads % j->groups);
    int32_t chunks = chunks_of(&g), begin = g.keys.first / DEV_CHUNK;
    attn_scratch s = scratch_of(j->d, worker);
    attn_state part[DEV_QUERIES];
    if (first < chunks) collect_queries(a, &g, j->nqk, head, &s);
    for (int32_t c = first; c < MIN(first + j->span, chunks); c++) {
        int32_t pos = (begin + c) * DEV_CHUNK;
        span_range keys = { MAX(pos, g.keys.first), MIN(pos + DEV_CHUNK, g.keys.end) };
        one_chunk(j->d, a, &g, j->nqk, head, keys, c + 1 < MIN(first + j->span, chunks), &s, part);
        for (int32_t i = 0; i < g.rows * j->nqk; i++) {
            float *p = partial_at(j, (g.row - j->row + i / j->nqk) * a->nq + (int64_t)head * j->nqk + i % j->nqk, c);
            p[0] = part[i].max;
            p[1] = part[i].sum;
            memcpy(p + 2, s.out + (int64_t)i * d, (size_t)d * sizeof *p);
        }
    }
}

static void split_merge(void *ctx, int64_t query, int worker)
{
    attn_job *j = ctx;
    const dev_attn *a = j->a;
    int32_t d = a->kv->d;
    attn_group g = group_at(a, j->row, j->group_rows);
    while (g.row + g.rows <= j->row + query / a->nq) g = group_at(a, g.row + g.rows, j->group_rows);
    attn_scratch s = scratch_of(j->d, worker);
    attn_state all = { -INFINITY, 0 };
    for (int32_t c = 0; c < chunks_of(&g); c++) {
        const float *p = partial_at(j, query, c);
        attn_state part = { p[0], p[1] };
        merge(&j->d->k, &all, s.sum_out, &part, p + 2, d);
    }
    finish(&j->d->k, &all, s.sum_out, d, a->out + (j->row * a->nq + query) * d);
}

enum { SPLIT_ITEMS = 8, SPLIT_SPAN = 8 };      /* items for each thread, as long as they are no longer than this many chunks */

/* As many groups as the room for parts takes; false when it is too small for the next one. */
static bool split_round(attn_job *j)
{
    const dev_attn *a = j->a;
    int64_t end = j->row, work = 0;
    j->groups = 0;
    j->chunks = 0;
    while (end < a->T) {
        attn_group g = group_at(a, end, j->group_rows);
        int32_t chunks = MAX(j->chunks, chunks_of(&g));
        if ((end + g.rows - j->row) * a->nq * chunks * (a->kv->d + 2) > (int64_t)j->d->partial_floats) break;
        j->chunks = chunks;
        j->groups++;
        end += g.rows;
        work += (int64_t)(g.keys.end - g.keys.first) * g.rows * a->nq * a->kv->d / 4;
    }
    if (end == j->row) return false;
    j->span = (int32_t)MIN(MAX(j->groups * j->chunks * a->kv->heads / (SPLIT_ITEMS * j->d->threads), 1), SPLIT_SPAN);
    dev_cpu_each(j->d, (j->chunks + j->span - 1) / j->span * j->groups * a->kv->heads, work, split_item, j);
    dev_cpu_each(j->d, (end - j->row) * a->nq, (end - j->row) * a->nq * j->chunks * a->kv->d / 4, split_merge, j);
    j->row = end;
    return true;
}

size_t dev_cpu_attention_partial(const dev_work *w)
{
    return (size_t)w->nq_max * (size_t)(w->ctx / DEV_CHUNK + 2) * (size_t)(w->d_max + 2);
}

/* ---- both ---- */

void dev_cpu_attention(dev *base, const dev_attn *a)
{
    dev_cpu *d = (dev_cpu *)base;
    attn_job j = { .d = d, .a = a, .nqk = a->nq / a->kv->heads };
    int64_t work = 0, longest = 0;
    j.group_rows = MAX(DEV_QUERIES / j.nqk, 1);
    for (int64_t row = 0; row < a->T;) {
        attn_group g = group_at(a, row, j.group_rows);
        int64_t one = (int64_t)(g.keys.end - g.keys.first) * g.rows * j.nqk * a->kv->d / 4;
        longest = MAX(longest, one);
        work += one * a->kv->heads;
        row += g.rows;
    }
    /* Split when one group would keep a thread busy while the others wait. */
    if (d->threads > 1 && longest * 2 * d->threads > work)
        while (j.row < a->T && split_round(&j)) {}
    j.groups = 0;
    for (int64_t row = j.row; row < a->T; j.groups++) row += group_at(a, row, j.group_rows).rows;
    dev_cpu_each(d, j.groups * a->kv->heads, work, whole_item, &j);
}
