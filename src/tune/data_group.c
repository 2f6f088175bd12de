/* Documents packed into micro-batches: best fit, longest first. */
#include <stdlib.h>

#include "base/bits.h"
#include "tune/data_group.h"

/* Documents that stay together: one, or both of a pair. */
typedef struct item { int64_t doc, count, at; int64_t n /* rows */; int64_t group; } item;

void data_groups_done(data_groups *g)
{
    mem_free(g->docs);
    mem_free(g->first);
    *g = (data_groups){ 0 };
}

static int longest_first(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

static int by_group(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

/* Gives every item a group.  room[k]: the last group with k tokens left, 1-based, and next[g] the one before it. */
static status assign(item *items, int64_t n, int32_t rows_max, int64_t *groups, err *e)
{
    status st = OK;
    int64_t *room = mem_array((size_t)rows_max + 1, sizeof *room, MEM_TEXT), *next = mem_array((size_t)n + 1, sizeof *next, MEM_TEXT), count = 0;
    if (!room || !next) FAIL(e, E_NOMEM, "could not pack the training data\nout of memory");
    for (int64_t i = 0; i < n; i++) {
        int64_t left = items[i].n;
        while (left < rows_max && !room[left]) left++;
        int64_t g = room[left];
        if (g) room[left] = next[g];
        else { g = ++count; left = rows_max; }
        items[i].group = g;
        left -= items[i].n;
        next[g] = room[left];
        room[left] = g;
    }
    *groups = count;
out:
    mem_free(room);
    mem_free(next);
    return st;
}

/* items in their order of coming, of `docs` documents in all; sorted here. */
static status pack(data_groups *out, const data_set *d, item *items, int64_t n, int64_t docs, int32_t rows_max, err *e)
{
    status st = OK;
    data_groups g = { 0 };
    int64_t k = 0;
    qsort(items, (size_t)n, sizeof *items, longest_first);
    if (n && items[0].n > rows_max)
        FAIL(e, E_ARG, "cannot pack %lld rows that belong together\na micro-batch has %d", (long long)items[0].n, rows_max);
    TRY(assign(items, n, rows_max, &g.count, e));
    qsort(items, (size_t)n, sizeof *items, by_group);
    g.docs = mem_array((size_t)docs, sizeof *g.docs, MEM_TEXT);
    g.first = mem_array((size_t)g.count + 1, sizeof *g.first, MEM_TEXT);
    if (!g.docs || !g.first) FAIL(e, E_NOMEM, "could not pack the training data\nout of memory");
    for (int64_t i = 0; i < n; i++) {
        for (int64_t doc = items[i].doc; doc < items[i].doc + items[i].count; doc++) {
            g.docs[k++] = doc;
            g.targets += d->docs[doc].targets;
        }
        g.first[items[i].group] = k;
        g.rows += items[i].n;
    }
    *out = g;
    g = (data_groups){ 0 };
out:
    data_groups_done(&g);
    return st;
}

int64_t data_rows_of(const data_set *d, int64_t doc, int64_t count)
{
    int64_t n = 0;
    for (int64_t i = doc; i < doc + count; i++) n += d->docs[i].n - 1;
    return n;
}

static status collect(data_groups *out, const data_set *d, const int64_t *examples, int64_t n, bool held_out, int32_t rows_max, err *e)
{
    status st = OK;
    int64_t count = 0, k = 0, docs = 0;
    for (int64_t i = 0; i < n; i++)
        if (examples || d->examples[i].held_out == held_out) count += d->examples[examples ? examples[i] : i].count;
    item *items = mem_array((size_t)count, sizeof *items, MEM_TEXT);
    if (!items) FAIL(e, E_NOMEM, "could not pack the training data\nout of memory");
    for (int64_t i = 0; i < n; i++) {
        const data_example *x = &d->examples[examples ? examples[i] : i];
        if (!examples && x->held_out != held_out) continue;
        docs += x->count;
        int64_t together = d->opts.pairs ? x->count : 1;
        for (int64_t doc = x->first; doc < x->first + x->count; doc += together, k++)
            items[k] = (item){ .doc = doc, .count = together, .at = k, .n = data_rows_of(d, doc, together) };
    }
    TRY(pack(out, d, items, k, docs, rows_max, e));
out:
    mem_free(items);
    return st;
}

status data_group(data_groups *out, const data_set *d, const int64_t *examples, int64_t n, int32_t rows_max, err *e)
{
    return collect(out, d, examples, n, false, rows_max, e);
}

status data_group_held_out(data_groups *out, const data_set *d, int32_t rows_max, err *e)
{
    return collect(out, d, NULL, d->example_count, true, rows_max, e);
}

int32_t data_fill(tune_row *rows, const data_set *d, const data_groups *groups, int64_t g)
{
    int32_t n = 0;
    for (int64_t i = groups->first[g]; i < groups->first[g + 1]; i++) {
        const int64_t doc = groups->docs[i];
        const int32_t *ids = data_ids(d, doc);
        const uint8_t *target = data_target(d, doc);
        for (int32_t k = 0; k + 1 < d->docs[doc].n; k++)
            rows[n++] = (tune_row){ .id = ids[k], .pos = k, .doc = (int32_t)(i - groups->first[g]), .label = target[k + 1] ? ids[k + 1] : -1 };
    }
    return n;
}
