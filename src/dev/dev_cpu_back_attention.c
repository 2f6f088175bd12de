/* The gradient of attention: scores are made again, none are stored.
 *
 * Two passes.  The first walks query rows: the maximum and the sum of every softmax, dq, and the mean by which dscore = p (dp - mean).
 * The second walks blocks of keys and collects dk and dv from all rows that see them, in order.  Each result belongs to one item of
 * one pass, so nothing depends on the number of threads. */
#include "dev/dev_int.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"

enum { BACK_KEYS = 64 };         /* of a block; also the most queries of a group */

typedef struct back_attn {
    dev_cpu *d;
    const dev_attn_back *a;
    int32_t nqk;                 /* query heads of one key head */
    int32_t group;               /* rows of a group */
    float *top, *inv, *mean;     /* [nq][T] of every (head, row) */
} back_attn;

typedef struct back_room {       /* per thread */
    float *q, *dout;             /* [64][d] of a group's queries; the second pass: of its keys dk and dv */
    float *dq, *dv;              /* [64][d] */
    float *s, *dp;               /* [64][keys], [64][64] */
    float *top, *inv, *mean;     /* [64] */
} back_room;

static int64_t room_floats(int64_t d, int64_t keys)
{
    return 4 * BACK_KEYS * d + BACK_KEYS * (int64_t)align_up((size_t)MAX(keys, BACK_KEYS), BACK_KEYS) + BACK_KEYS * BACK_KEYS + 3 * BACK_KEYS;
}

size_t dev_cpu_back_attention_scratch(const dev_back_work *w) { return (size_t)room_floats(w->d, w->T) * sizeof(float); }
int64_t dev_cpu_back_attention_floats(const dev_back_work *w) { return 3 * w->T * w->nq; }

static back_room room_of(const back_attn *j, int worker)
{
    int64_t part = BACK_KEYS * (int64_t)j->a->d;
    back_room r;
    r.q = dev_cpu_back_scratch(j->d, worker);
    r.dout = r.q + part;
    r.dq = r.dout + part;
    r.dv = r.dq + part;
    r.dp = r.dv + part;
    r.top = r.dp + BACK_KEYS * BACK_KEYS;
    r.inv = r.top + BACK_KEYS;
    r.mean = r.inv + BACK_KEYS;
    r.s = r.mean + BACK_KEYS;
    return r;
}

static const float *key_at(const dev_attn_back *a, const float *all, int32_t head, int64_t key) { return all + (head * a->kv_rows + key) * a->d; }
static const float *query_at(const dev_attn_back *a, const float *all, int64_t row, int32_t head) { return all + (row * a->nq + head) * a->d; }

/* The queries of rows [row, row + n) that read one key head, one behind the other. */
static void collect(const back_attn *j, const float *all, int64_t row, int64_t n, int32_t head, float *out)
{
    for (int64_t r = 0; r < n; r++)
        memcpy(out + r * j->nqk * j->a->d, query_at(j->a, all, row + r, head * j->nqk), (size_t)j->nqk * (size_t)j->a->d * sizeof *out);
}

/* Of queries whose scores stand in s, rows of `stride`: exponentials, zero where a row does not see; and what both passes need. */
static void soften(const back_attn *j, int64_t row, int64_t n, int32_t head, int64_t first, int64_t stride, back_room *r)
{
    const dev_attn_back *a = j->a;
    for (int64_t i = 0; i < n * j->nqk; i++) {
        int64_t at = row + i / j->nqk, h = head * j->nqk + i % j->nqk, from = a->rows[at].first - first, end = a->rows[at].last + 1 - first;
        float *s = r->s + i * stride, sum = 0;
        r->top[i] = j->d->k.exp_sum(s + from, end - from, &sum);
        r->inv[i] = 1.0f / sum;
        r->mean[i] = (float)dev_cpu_back_dot_of(query_at(a, a->dout, at, (int32_t)h), query_at(a, a->out, at, (int32_t)h), a->d);
        memset(s, 0, (size_t)from * sizeof *s);
        memset(s + end, 0, (size_t)(stride - end) * sizeof *s);
        j->top[h * a->T + at] = r->top[i];
        j->inv[h * a->T + at] = r->inv[i];
        j->mean[h * a->T + at] = r->mean[i];
    }
}

/* One group of query rows and one key head. */
static void query_item(void *ctx, int64_t item, int worker)
{
    const back_attn *j = ctx;
    const dev_attn_back *a = j->a;
    const kern *k = &j->d->k;
    back_room r = room_of(j, worker);
    int32_t head = (int32_t)(item % a->heads);
    int64_t row = item / a->heads * j->group, n = MIN((int64_t)j->group, a->T - row), d = a->d, queries = n * j->nqk;
    int64_t first = a->rows[row].first, end = a->rows[row + n - 1].last + 1, stride = (int64_t)align_up((size_t)(end - first), BACK_KEYS);
    collect(j, a->q, row, n, head, r.q);
    collect(j, a->dout, row, n, head, r.dout);
    for (int64_t key = first; key < end; key += BACK_KEYS)
        k->attn_scores(DTYPE_F32, r.q, d, queries, d, key_at(a, a->k, head, key), (size_t)d * sizeof(float), NULL, MIN((int64_t)BACK_KEYS, end - key),
                       r.s + (key - first), stride);
    soften(j, row, n, head, first, stride, &r);
    memset(r.dq, 0, (size_t)(queries * d) * sizeof *r.dq);
    for (int64_t key = first; key < end; key += BACK_KEYS) {
        int64_t m = MIN((int64_t)BACK_KEYS, end - key);
        k->attn_scores(DTYPE_F32, r.dout, d, queries, d, key_at(a, a->v, head, key), (size_t)d * sizeof(float), NULL, m, r.dp, BACK_KEYS);
        for (int64_t i = 0; i < queries; i++) {
            float *ds = r.s + i * stride + (key - first), *dp = r.dp + i * BACK_KEYS, inv = r.inv[i], mean = r.mean[i];
            for (int64_t c = 0; c < m; c++) ds[c] = ds[c] * inv * (dp[c] - mean);
        }
        k->attn_mix(DTYPE_F32, r.s + (key - first), stride, queries, d, key_at(a, a->k, head, key), (size_t)d * sizeof(float), NULL, m, r.dq, d);
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(a->dq + ((row + i) * a->nq + (int64_t)head * j->nqk) * d, r.dq + i * j->nqk * d, (size_t)(j->nqk * d) * sizeof *a->dq);
}

/* Scores of n keys (rows) and the queries of m rows: what is not seen becomes 0 in both. */
static void hide(const back_attn *j, int64_t key, int64_t n, int64_t row, int64_t m, back_room *r)
{
    const dev_key_range *rows = j->a->rows + row;
    size_t all = (size_t)(m * j->nqk);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = 0, end = m;
        while (from < m && rows[from].last < key + i) from++;
        while (end > from && rows[end - 1].first > key + i) end--;
        size_t before = (size_t)(from * j->nqk), after = (size_t)(end * j->nqk);
        float *s = r->s + i * BACK_KEYS, *dp = r->dp + i * BACK_KEYS;
        memset(s, 0, before * sizeof *s);
        memset(dp, 0, before * sizeof *dp);
        memset(s + after, 0, (all - after) * sizeof *s);
        memset(dp + after, 0, (all - after) * sizeof *dp);
    }
}

/* One block of keys and one key head. */
static void key_item(void *ctx, int64_t item, int worker)
{
    const back_attn *j = ctx;
    const dev_attn_back *a = j->a;
    const kern *k = &j->d->k;
    back_room r = room_of(j, worker);
    int32_t head = (int32_t)(item % a->heads);
    int64_t key = item / a->heads * BACK_KEYS, n = MIN((int64_t)BACK_KEYS, a->keys - key), d = a->d, stride = a->heads * d;
    float *dk = a->dk + (key * a->heads + head) * d, *dv = a->dv + (key * a->heads + head) * d;
    for (int64_t row = 0, m; row < a->T; row += m) {
        m = MIN((int64_t)j->group, a->T - row);
        if (a->rows[row + m - 1].last < key || a->rows[row].first >= key + n) continue;
        int64_t queries = m * j->nqk;
        collect(j, a->q, row, m, head, r.q);
        collect(j, a->dout, row, m, head, r.dout);
        for (int64_t i = 0; i < queries; i++) {
            int64_t at = (int64_t)(head * j->nqk + i % j->nqk) * a->T + row + i / j->nqk;
            r.top[i] = j->top[at];
            r.inv[i] = j->inv[at];
            r.mean[i] = j->mean[at];
        }
        k->attn_scores(DTYPE_F32, key_at(a, a->k, head, key), d, n, d, r.q, (size_t)d * sizeof(float), NULL, queries, r.s, BACK_KEYS);
        k->attn_scores(DTYPE_F32, key_at(a, a->v, head, key), d, n, d, r.dout, (size_t)d * sizeof(float), NULL, queries, r.dp, BACK_KEYS);
        for (int64_t i = 0; i < n; i++) k->softmax_back(r.s + i * BACK_KEYS, r.dp + i * BACK_KEYS, r.top, r.inv, r.mean, queries);
        hide(j, key, n, row, m, &r);
        k->attn_mix(DTYPE_F32, r.s, BACK_KEYS, n, d, r.dout, (size_t)d * sizeof(float), NULL, queries, dv, stride);
        k->attn_mix(DTYPE_F32, r.dp, BACK_KEYS, n, d, r.q, (size_t)d * sizeof(float), NULL, queries, dk, stride);
    }
}

void dev_cpu_back_attention(dev *base, const dev_attn_back *a)
{
    dev_cpu *d = (dev_cpu *)base;
    back_attn j = { .d = d, .a = a, .nqk = a->nq / a->heads };
    int64_t work = 0;
    j.group = MAX(BACK_KEYS / j.nqk, 1);
    j.top = d->back_shared;
    j.inv = j.top + a->T * a->nq;
    j.mean = j.inv + a->T * a->nq;
    for (int64_t t = 0; t < a->T; t++) work += (int64_t)(a->rows[t].last + 1 - a->rows[t].first) * a->nq * a->d;
    dev_cpu_each(d, (a->T + j.group - 1) / j.group * a->heads, work, query_item, &j);
    if (a->dk) dev_cpu_each(d, (a->keys + BACK_KEYS - 1) / BACK_KEYS * a->heads, work, key_item, &j);
}
