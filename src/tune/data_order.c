/* In which order the examples of an epoch come: decided by seed and epoch alone, so that a place is all that a checkpoint needs. */
#include <math.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/rng.h"
#include "tune/data_int.h"

struct data_order {
    const data_set *d;
    int64_t *list, count;          /* the epoch's examples, each as often as its file's weight says */
    data_lot *lots;                     /* room for sorting */
    data_place place;
};

static int by_key(const void *a, const void *b)
{
    const data_lot *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

void data_order_draw(data_lot *lots, int64_t n, uint64_t seed, int64_t epoch, uint64_t purpose)
{
    uint32_t x[4];
    rng_philox(seed ^ purpose, (uint64_t)epoch, x);
    uint64_t key = (uint64_t)x[0] << 32 | x[1];
    for (int64_t i = 0; i < n; i++) {
        rng_philox(key, (uint64_t)i, x);
        lots[i].key = (uint64_t)x[0] << 32 | x[1];
        lots[i].at = i;
    }
    qsort(lots, (size_t)n, sizeof *lots, by_key);
}

/* Examples of a file that are trained; with lots, they are put there. */
static int64_t of_file(const data_set *d, int32_t file, data_lot *lots)
{
    int64_t n = 0;
    for (int64_t i = 0; i < d->example_count; i++) {
        if (d->examples[i].file != file || d->examples[i].held_out) continue;
        if (lots) lots[n] = (data_lot){ .value = i };
        n++;
    }
    return n;
}

static int64_t extra_of(const data_set *d, int32_t file, int64_t n)
{
    double w = d->files[file].weight;
    return llround((w - floor(w)) * (double)n);
}

static void make_epoch(data_order *o)
{
    const data_set *d = o->d;
    int64_t count = 0;
    for (int32_t f = 0; f < d->file_count; f++) {
        int64_t n = of_file(d, f, o->lots), extra = extra_of(d, f, n), whole = (int64_t)floor(d->files[f].weight);
        for (int64_t k = 0; k < whole; k++)
            for (int64_t i = 0; i < n; i++) o->list[count++] = o->lots[i].value;
        if (!extra) continue;
        data_order_draw(o->lots, n, d->opts.seed, o->place.epoch, 0x65787472u + ((uint64_t)f << 32));
        for (int64_t i = 0; i < extra; i++) o->list[count++] = o->lots[i].value;
    }
    for (int64_t i = 0; i < count; i++) o->lots[i].value = o->list[i];
    data_order_draw(o->lots, count, d->opts.seed, o->place.epoch, 0x6F726472u);
    for (int64_t i = 0; i < count; i++) o->list[i] = o->lots[i].value;
}

status data_order_new(data_order **out, const data_set *d, err *e)
{
    status st = OK;
    int64_t most = 1;
    data_order *o = mem_alloc(sizeof *o, MEM_TEXT);
    if (!o) FAIL(e, E_NOMEM, "could not order the training data\nout of memory");
    o->d = d;
    for (int32_t f = 0; f < d->file_count; f++) {
        int64_t n = of_file(d, f, NULL);
        o->count += n * (int64_t)floor(d->files[f].weight) + extra_of(d, f, n);
        most = MAX(most, n);
    }
    if (!o->count) FAIL(e, E_ARG, "cannot train with these weights\nan epoch would have no rows");
    o->list = mem_array((size_t)o->count, sizeof *o->list, MEM_TEXT);
    o->lots = mem_array((size_t)MAX(o->count, most), sizeof *o->lots, MEM_TEXT);
    if (!o->list || !o->lots) FAIL(e, E_NOMEM, "could not order the training data\nout of memory");
    make_epoch(o);
    *out = o;
    o = NULL;
out:
    data_order_free(o);
    return st;
}

void data_order_free(data_order *o)
{
    if (!o) return;
    mem_free(o->list);
    mem_free(o->lots);
    mem_free(o);
}

int64_t data_order_examples(const data_order *o) { return o->count; }

data_place data_order_place(const data_order *o) { return o->place; }

status data_order_seek(data_order *o, data_place p, err *e)
{
    if (p.epoch < 0 || p.at < 0 || p.at > o->count)
        return err_set(e, E_ARG, "cannot go on at row %lld of epoch %lld\nan epoch of this data has %lld", (long long)p.at, (long long)p.epoch, (long long)o->count);
    o->place = p;
    make_epoch(o);
    return OK;
}

void data_order_next(data_order *o, int64_t most, const int64_t **examples, int64_t *n)
{
    if (o->place.at == o->count) {
        o->place = (data_place){ o->place.epoch + 1, 0 };
        make_epoch(o);
    }
    *n = MIN(MAX(most, 1), o->count - o->place.at);
    *examples = o->list + o->place.at;
    o->place.at += *n;
}
