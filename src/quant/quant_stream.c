/* Tensors go through: decoded, changed, encoded, measured, a batch of pieces at a time. */
#include <inttypes.h>
#include <math.h>

#include "base/bits.h"
#include "os/file.h"
#include "quant/quant_int.h"

enum { PIECE = 1 << 16 /* weights */, BATCH = 32 /* pieces */, COPY = 8 << 20 /* bytes at once */ };

/* What a thread needs for one row. */
typedef struct scratch { float *x, *y, *delta; } scratch;

typedef struct piece_result {
    quant_sum sum;
    int64_t bad;                 /* an element that is no number, -1: none */
    bool overflow;               /* a number that the new type cannot hold */
} piece_result;

struct quant_stream {
    pool *pool;
    scratch *scratch;            /* one for each thread, in one block of memory */
    float *floats;
    float *ones;                 /* an importance that is the same everywhere */
    int64_t cols_max;
    uint8_t *out;
    piece_result results[BATCH];
    /* progress */
    quant_progress fn;
    void *user;
    uint64_t done, total;
    /* the tensor in work */
    const quant_item *item;
    int64_t first_row, piece_rows;
};

/* ---- room ---------------------------------------------------------------------------------------- */

static int64_t rows_of_piece(const quant_item *t) { return MAX(1, PIECE / MAX(t->ne[0], 1)); }

status quant_stream_new(quant_stream **out, const quant_list *l, int threads, err *e)
{
    status st = OK;
    size_t bytes = 0;
    quant_stream *s = mem_alloc(sizeof *s, MEM_IO);
    if (!s) FAIL(e, E_NOMEM, "could not convert the model\nout of memory");
    TRY(pool_new(&s->pool, threads, e));
    for (size_t i = 0; i < l->count; i++) {
        const quant_item *t = &l->items[i];
        s->cols_max = MAX(s->cols_max, t->ne[0]);
        bytes = MAX(bytes, (size_t)rows_of_piece(t) * dtype_row_bytes(t->to, t->ne[0]) * BATCH);
    }
    size_t n = (size_t)pool_threads(s->pool), cols = align_up((size_t)s->cols_max, 16);
    s->scratch = mem_array(n, sizeof *s->scratch, MEM_IO);
    s->floats = mem_array(3 * n + 1, cols * sizeof *s->floats, MEM_IO);
    s->out = mem_alloc(bytes, MEM_IO);
    if (!s->scratch || !s->floats || !s->out) FAIL(e, E_NOMEM, "could not convert the model\nout of memory");
    for (size_t i = 0; i < n; i++) s->scratch[i] = (scratch){ s->floats + 3 * i * cols, s->floats + (3 * i + 1) * cols, s->floats + (3 * i + 2) * cols };
    s->ones = s->floats + 3 * n * cols;
    for (size_t i = 0; i < cols; i++) s->ones[i] = 1;
    *out = s;
    s = NULL;
out:
    quant_stream_free(s);
    return st;
}

void quant_stream_free(quant_stream *s)
{
    if (!s) return;
    pool_free(s->pool);
    mem_free(s->scratch);
    mem_free(s->floats);
    mem_free(s->out);
    mem_free(s);
}

void quant_stream_watch(quant_stream *s, quant_progress fn, void *user, uint64_t total)
{
    s->fn = fn;
    s->user = user;
    s->total = total;
    s->done = 0;
}

static status passed(quant_stream *s, const quant_item *t, size_t bytes, err *e)
{
    s->done += bytes;
    return s->fn ? s->fn(s->user, t->name, s->total ? (double)s->done / (double)s->total : -1, e) : OK;
}

/* ---- one piece ----------------------------------------------------------------------------------- */

/* With the same importance everywhere the small blocks get a searched scale instead of the one of their largest element: rounding errors
 * are a twentieth to a quarter smaller, and weights that lie on a grid of 4 bits stay there.  For the others it is a hundredth at most. */
static bool searched(dtype t) { return t == DTYPE_Q4_0 || t == DTYPE_Q4_1 || t == DTYPE_Q5_0 || t == DTYPE_Q5_1; }

static void read_row(const quant_item *t, int64_t row, float *x)
{
    dtype_of(t->from)->decode(t->data + (size_t)row * dtype_row_bytes(t->from, t->ne[0]), x, t->ne[0]);
    if (!t->factors) return;
    float f = t->factors[t->factor_count > 1 ? row / t->ne[1] : 0];
    for (int64_t i = 0; i < t->ne[0]; i++) x[i] *= f;
}

/* x and y: what should be stored and what was. */
static void measure(piece_result *r, const float *x, const float *y, const float *delta, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double diff = (double)y[i] - (double)x[i];
        r->sum.error += diff * diff;
        r->sum.power += (double)x[i] * (double)x[i];
        if (delta) {
            double d = (double)delta[i];
            r->sum.delta += d * d;
            r->sum.kept += d * (d + diff);
        }
    }
    if (!isfinite(r->sum.error)) r->overflow = true;
}

static void row(const quant_stream *s, const scratch *k, int64_t at, uint8_t *out, piece_result *r)
{
    const quant_item *t = s->item;
    const dtype_info *to = dtype_of(t->to);
    int64_t n = t->ne[0];
    bool changed = t->row && t->row(t->row_user, at, k->delta);
    if (!changed && t->from == t->to && !t->factors) {
        memcpy(out, t->data + (size_t)at * dtype_row_bytes(t->from, n), dtype_row_bytes(t->from, n));
        return;
    }
    read_row(t, at, k->x);
    for (int64_t i = 0; changed && i < n; i++) k->x[i] += k->delta[i];
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(k->x[i])) {
            r->bad = at * n + i;
            return;
        }
    to->encode(k->x, out, n, searched(t->to) ? s->ones : NULL);
    to->decode(out, k->y, n);
    measure(r, k->x, k->y, changed ? k->delta : NULL, n);
}

static void piece(void *ctx, int64_t i, int worker)
{
    quant_stream *s = ctx;
    piece_result *r = &s->results[i];
    size_t bytes = dtype_row_bytes(s->item->to, s->item->ne[0]);
    int64_t begin = s->first_row + i * s->piece_rows, end = MIN(begin + s->piece_rows, quant_rows(s->item));
    *r = (piece_result){ .bad = -1 };
    for (int64_t at = begin; at < end && r->bad < 0; at++) row(s, &s->scratch[worker], at, s->out + (size_t)(at - s->first_row) * bytes, r);
}

/* ---- one tensor ---------------------------------------------------------------------------------- */

static status collect(const quant_stream *s, int64_t pieces, quant_sum *sum, err *e)
{
    const quant_item *t = s->item;
    for (int64_t i = 0; i < pieces; i++) {
        const piece_result *r = &s->results[i];
        if (r->bad >= 0) return err_set(e, E_FORMAT, "tensor \"%s\" is damaged\nelement %" PRId64 " is no finite number", t->name, r->bad);
        if (r->overflow)
            return err_set(e, E_UNSUPPORTED, "cannot store tensor \"%s\" as %s\nit has numbers that are too large for this type\nTake another type: bf16 holds all.",
                           t->name, dtype_of(t->to)->name);
        sum->error += r->sum.error;
        sum->power += r->sum.power;
        sum->delta += r->sum.delta;
        sum->kept += r->sum.kept;
    }
    return OK;
}

static status copy(quant_stream *s, const quant_item *t, quant_sink sink, void *sink_user, err *e)
{
    status st = OK;
    size_t bytes = quant_bytes(t, t->from);
    for (size_t at = 0; at < bytes;) {
        size_t n = MIN(bytes - at, (size_t)COPY);
        TRY(sink(sink_user, t->data + at, n, e));
        at += n;
        TRY(passed(s, t, n, e));
    }
out:
    return st;
}

status quant_stream_item(quant_stream *s, const quant_item *t, quant_sink sink, void *sink_user, quant_sum *sum, err *e)
{
    status st = OK;
    int64_t rows = quant_rows(t);
    *sum = (quant_sum){ 0 };
    s->item = t;
    s->piece_rows = rows_of_piece(t);
    if (t->from == t->to && !t->factors && !t->row) {
        TRY(copy(s, t, sink, sink_user, e));
        goto done;
    }
    if (!dtype_of(t->to)->encode) FAIL(e, E_UNSUPPORTED, "cannot write tensor \"%s\" as %s\nthis program only reads that type\nTake another type.", t->name, dtype_of(t->to)->name);
    for (s->first_row = 0; s->first_row < rows; s->first_row += BATCH * s->piece_rows) {
        int64_t now = MIN(BATCH * s->piece_rows, rows - s->first_row), pieces = (now + s->piece_rows - 1) / s->piece_rows;
        pool_run(s->pool, pieces, piece, s);
        TRY(collect(s, pieces, sum, e));
        TRY(sink(sink_user, s->out, (size_t)now * dtype_row_bytes(t->to, t->ne[0]), e));
        TRY(passed(s, t, (size_t)now * dtype_row_bytes(t->from, t->ne[0]), e));
    }
done:
    if (t->mapped) file_map_drop(t->data, quant_bytes(t, t->from));
out:
    return st;
}
